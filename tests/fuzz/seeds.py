"""What fuzzing begins with: valid messages of every kind, known smuggling forms, and bytes that parsers stumble over."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

__all__ = ["BROKEN", "NASTY", "REFUSED", "REQUESTS", "RESPONSES"]

# The corpus is being moved: this falls back to its old place.
_corpus = import_module("tests.corpus.requests" if find_spec("tests.corpus") else "tests.http1.corpus")
#: Requests that must reach no backend: what is wrong, the bytes, the status.
REFUSED: list[tuple[str, bytes, int]] = _corpus.REFUSED
#: Odd ones that are taken.
TAKEN: list[bytes] = [one.data for one in getattr(_corpus, "TAKEN", [])]

_HOST = b"Host: a\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"

#: Valid requests, pipelines of them too.
REQUESTS: list[bytes] = [
    b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /a?b=c HTTP/1.0\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nHost: a:80\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhOST:\ta \r\nX:\r\nX: 1, 2\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\n" + _HOST + b"Cookie: a=b\r\nConnection: close, X\r\nX: 1\r\nTE: trailers\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: 0\r\n\r\nGET / HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"PUT /1 HTTP/1.1\r\n" + _HOST + _CHUNKED + b"\r\n5;a=\"b\"\r\nhello\r\nA;b\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n"
    b"DELETE /2 HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"PUT / HTTP/1.1\r\n" + _HOST + _CHUNKED + b"Trailer: X\r\nTE: trailers\r\nConnection: TE\r\n\r\n00\r\nX: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + _HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"PUT / HTTP/1.1\r\n" + _HOST + b"Connection: content-length, host\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT / HTTP/1.1\r\n" + _HOST + _CHUNKED + b"Connection: transfer-encoding, X\r\nX: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /chat HTTP/1.1\r\n" + _HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    *TAKEN,
    b"\r\n\r\nGET / HTTP/1.1\r\n" + _HOST + b"X-Forwarded-For: 1.2.3.4\r\nX_Under: 1\r\nKeep-Alive: 5\r\n\r\n",
]

#: Chunked bodies that are none: what no two readers need agree on.
BROKEN_BODIES: list[bytes] = [
    *(b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r\r\n0\r\n\r\n"),
    *(b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n"),
    *(b"5 5\r\nhello\r\n0\r\n\r\n", b"5_0\r\nhello\r\n0\r\n\r\n", b"\r\nhello\r\n0\r\n\r\n", b";a\r\nhello\r\n0\r\n\r\n"),
    *(b"5\nhello\n0\n\n", b"5\r\nhello\r\n0\n\n", b"5;a\nhello\r\n0\r\n\r\n"),
    *(b"5;\n\r\nhello\r\n0\r\n\r\n", b"5;\0\r\nhello\r\n0\r\n\r\n"),
    *(b"5\x0b\r\nhello\r\n0\r\n\r\n", b"5,\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    *(b"5\r\nhello\r\n0\r\nX\r\n\r\n", b"5\r\nhello\r\n0\r\nX : 1\r\n\r\n", b"5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n"),
    *(b"5\r\nhello\r\n0\r\nX: \n\r\n\r\n", b"5\r\nhello\r\n0\r\nX: 1\rY: 2\r\n\r\n", b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n"),
]
#: Requests that have such a body.
BROKEN: list[bytes] = [b"PUT / HTTP/1.1\r\n" + _HOST + _CHUNKED + b"\r\n" + body for body in BROKEN_BODIES]

#: Valid responses of every framing, some with interim ones before them, and some that must be refused.
RESPONSES: list[bytes] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\n" + _CHUNKED + b"\r\n2\r\nok\r\n5;a=b\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nConnection: X\r\nX: 1\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close, X\r\nX: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 999 \r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 500\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + _CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n" + _CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    b"HTTP/1.1 200 O\rK\r\nLocation: /\nX: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\x7fK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok",
    *(b"HTTP/1.1 200 OK\r\n" + _CHUNKED + b"\r\n" + body for body in BROKEN_BODIES),
    b"ICY 200 OK\r\n\r\n",
]

#: Bytes that are put where they do not belong.
NASTY: list[bytes] = [
    *(b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\t", b" ", b":", b";", b",", b"0x", b"+", b"-", b"_", b'"'),
    *(b"\r\n ", b"\r\n\t", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\x85", b"\xa0", b"\xff", b"0", b"00", b"f", b"0\r\n\r\n"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Connection: close\r\n"),
    *(b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Content-Length: +5\r\n"),
    *(b"Connection: content-length, host, transfer-encoding\r\n", b"Connection: x\r\n", b"Expect: 100-continue\r\n"),
    *(b"Upgrade: h2c\r\n", b"TE: trailers\r\n", b"Trailer: X\r\n", b" HTTP/1.0\r\n", b"HTTP/1.1 "),
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
]
