"""Requests that must never reach a backend, each with the status that its sender gets.

Most of them are read differently by different servers, which is how one request is smuggled past a balancer inside another.
"""

from __future__ import annotations

__all__ = ["REFUSED"]

_HOST = b"Host: example.org\r\n"


def _post(*lines: bytes) -> bytes:
    """A POST over HTTP/1.1 with these field lines as they stand."""
    return b"POST / HTTP/1.1\r\n" + _HOST + b"".join(lines) + b"\r\n"


def _line(line: bytes) -> bytes:
    """A request with this request line."""
    return line + b"\r\n" + _HOST + b"\r\n"


#: What is wrong, the bytes, the status.
REFUSED: list[tuple[str, bytes, int]] = [
    # Where the body ends.
    ("length and coding", _post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
    ("coding and length", _post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400),
    ("two lengths", _post(b"Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
    ("one length twice", _post(b"Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
    ("list of lengths", _post(b"Content-Length: 5, 5\r\n"), 400),
    ("signed length", _post(b"Content-Length: +5\r\n"), 400),
    ("negative length", _post(b"Content-Length: -5\r\n"), 400),
    ("hexadecimal length", _post(b"Content-Length: 0x5\r\n"), 400),
    ("underscored length", _post(b"Content-Length: 1_0\r\n"), 400),
    ("length with a fraction", _post(b"Content-Length: 5.0\r\n"), 400),
    ("length with a space within", _post(b"Content-Length: 1 0\r\n"), 400),
    ("empty length", _post(b"Content-Length: \r\n"), 400),
    ("length that is no number", _post(b"Content-Length: five\r\n"), 400),
    ("length beyond 64 bits", _post(b"Content-Length: 18446744073709551621\r\n"), 400),
    ("length beyond 63 bits", _post(b"Content-Length: 9223372036854775808\r\n"), 400),
    ("length of a thousand digits", _post(b"Content-Length: " + b"9" * 1000 + b"\r\n"), 400),
    ("identity", _post(b"Transfer-Encoding: identity\r\n"), 400),
    ("xchunked", _post(b"Transfer-Encoding: xchunked\r\n"), 400),
    ("gzip, chunked", _post(b"Transfer-Encoding: gzip, chunked\r\n"), 400),
    ("chunked, identity", _post(b"Transfer-Encoding: chunked, identity\r\n"), 400),
    ("chunked, chunked", _post(b"Transfer-Encoding: chunked, chunked\r\n"), 400),
    ("chunked with a parameter", _post(b"Transfer-Encoding: chunked;q=1\r\n"), 400),
    ("quoted chunked", _post(b'Transfer-Encoding: "chunked"\r\n'), 400),
    ("chunked after a vertical tab", _post(b"Transfer-Encoding: \x0bchunked\r\n"), 400),
    ("empty coding", _post(b"Transfer-Encoding:\r\n"), 400),
    ("two codings", _post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
    ("two different codings", _post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400),
    ("coding in 1.0", b"POST / HTTP/1.0\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n", 400),
    # Where a line ends, and where a name does.
    ("bare LF after the request line", b"GET / HTTP/1.1\n" + _HOST + b"\r\n", 400),
    ("bare LF after a field", _post(b"X: 1\nY: 2\r\n"), 400),
    ("bare LF before the coding", _post(b"X: 1\nTransfer-Encoding: chunked\r\n"), 400),
    ("bare CR in a value", _post(b"X: 1\rTransfer-Encoding: chunked\r\n"), 400),
    ("bare CR in the request line", _line(b"GET / HTTP/1.1\r"), 400),
    ("folded line", _post(b"X: 1\r\n 2\r\n"), 400),
    ("line folded with a tab", _post(b"X: 1\r\n\t2\r\n"), 400),
    ("folded coding", _post(b"Transfer-Encoding:\r\n chunked\r\n"), 400),
    ("folded first line", b"GET / HTTP/1.1\r\n " + _HOST + b"\r\n", 400),
    ("space before the colon", _post(b"Content-Length : 5\r\n"), 400),
    ("tab before the colon", _post(b"Transfer-Encoding\t: chunked\r\n"), 400),
    ("space before a name", _post(b" X: 1\r\n"), 400),
    ("no name", _post(b": 1\r\n"), 400),
    ("no colon", _post(b"X\r\n"), 400),
    ("NUL in a value", _post(b"X: a\x00b\r\n"), 400),
    ("NUL in a name", _post(b"X\x00: a\r\n"), 400),
    ("control byte in a value", _post(b"X: a\x01b\r\n"), 400),
    ("DEL in a value", _post(b"X: a\x7fb\r\n"), 400),
    ("byte above 127 in a name", _post(b"X\xe4: a\r\n"), 400),
    ("brackets in a name", _post(b"X[0]: a\r\n"), 400),
    # Whose request it is.
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("one Host twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("two Hosts in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("list of Hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    ("Host with a space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("Host with a user", b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
    ("Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("Host with a scheme", b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400),
    ("Host with a port that is none", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    ("Host with two ports", b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400),
    ("Host with an open bracket", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    ("Host with markup", b"GET / HTTP/1.1\r\nHost: <a>\r\n\r\n", 400),
    ("Host above ASCII", b"GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", 400),
    # The request line.
    ("two spaces before the target", _line(b"GET  / HTTP/1.1"), 400),
    ("two spaces after the target", _line(b"GET /  HTTP/1.1"), 400),
    ("space at the end", _line(b"GET / HTTP/1.1 "), 400),
    ("space at the beginning", _line(b" GET / HTTP/1.1"), 400),
    ("tabs", _line(b"GET\t/\tHTTP/1.1"), 400),
    ("space in the target", _line(b"GET /a b HTTP/1.1"), 400),
    ("NUL in the target", _line(b"GET /\x00 HTTP/1.1"), 400),
    ("control byte in the target", _line(b"GET /\x1f HTTP/1.1"), 400),
    ("byte above 127 in the target", _line(b"GET /\xe4 HTTP/1.1"), 400),
    ("target that is none", _line(b"GET foo HTTP/1.1"), 400),
    ("no target", _line(b"GET HTTP/1.1"), 400),
    ("LF before the method", _line(b"\nGET / HTTP/1.1"), 400),
    ("CR before the method", _line(b"\rGET / HTTP/1.1"), 400),
    ("method in lower case", _line(b"get / HTTP/1.1"), 400),
    ("method that is no token", _line(b"G(T / HTTP/1.1"), 400),
    ("method of binary", _line(b"\x16\x03\x01 / HTTP/1.1"), 400),
    ("method nobody knows", _line(b"BREW / HTTP/1.1"), 501),
    ("tunnel", b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", 405),
    ("tunnel with fields", b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n", 405),
    ("tunnel in 1.0", b"CONNECT example.org:443 HTTP/1.0\r\n\r\n", 405),
    ("0.9", b"GET /\r\n\r\n", 400),
    ("0.9 said aloud", _line(b"GET / HTTP/0.9"), 505),
    ("1.2", _line(b"GET / HTTP/1.2"), 505),
    ("2.0", _line(b"GET / HTTP/2.0"), 505),
    ("3.0", _line(b"GET / HTTP/3.0"), 505),
    ("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\n", 505),
    ("version of two digits", _line(b"GET / HTTP/1.10"), 400),
    ("version in lower case", _line(b"GET / http/1.1"), 400),
    ("another protocol", _line(b"OPTIONS / RTSP/1.0"), 505),
    ("yet another protocol", _line(b"SOURCE / ICE/1.0"), 505),
    ("a response", b"HTTP/1.1 200 OK\r\n\r\n", 400),
    # Sizes.
    ("target too long", _line(b"GET /" + b"a" * 8192 + b" HTTP/1.1"), 414),
    ("target larger than any head", _line(b"GET /" + b"a" * 20_000 + b" HTTP/1.1"), 414),
    ("too many fields", _post(*[b"X-%d: 1\r\n" % number for number in range(100)]), 431),
    ("too many fields of one name", _post(*[b"X: 1\r\n"] * 101), 431),
    ("too many fields that do not go on", _post(*[b"X-Forwarded-For: 1\r\n"] * 101), 431),
    ("head too large", _post(b"X: " + b"a" * 17_000 + b"\r\n"), 431),
]
