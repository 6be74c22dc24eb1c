"""Requests that must never reach a backend, each with the status that its sender gets; and odd ones that must, each with what
is to arrive there.

Most of the refused are read differently by different servers, which is how one request is smuggled past a balancer inside
another. Their names are those of the literature: CL.TE is a request whose end a first server finds by Content-Length and a
second by Transfer-Encoding, CL.0 one whose body the second takes for the next request.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["REFUSED", "TAKEN", "Taken"]

_HOST = b"Host: example.org\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"


def _post(*lines: bytes) -> bytes:
    """A POST over HTTP/1.1 with these field lines as they stand."""
    return b"POST / HTTP/1.1\r\n" + _HOST + b"".join(lines) + b"\r\n"


def _line(line: bytes) -> bytes:
    """A request with this request line."""
    return line + b"\r\n" + _HOST + b"\r\n"


#: A request inside another's body.
_INNER = b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"


def _absolute(target: bytes, host: bytes = b"example.org", method: bytes = b"GET") -> bytes:
    """A request whose target is a URL."""
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, target, host)


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
    # The same with what would be smuggled in.
    ("CL.TE", _post(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\nG", 400),
    ("TE.CL", _post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n") + b"5c\r\n" + _INNER + b"0\r\n\r\n", 400),
    ("CL.TE with other fields between", _post(b"Content-Length: 6\r\nX: y\r\nTransfer-Encoding: chunked\r\n"), 400),
    ("CL.TE of no length", _post(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400),
    ("CL.TE of an empty length", _post(b"Transfer-Encoding: chunked\r\nContent-Length:\r\n"), 400),
    ("CL.TE in a GET", b"GET / HTTP/1.1\r\n" + _HOST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("CL.TE in 1.0", b"POST / HTTP/1.0\r\n" + _HOST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("CL.TE with the coding named away", _post(b"Connection: transfer-encoding\r\nContent-Length: 6\r\n", _CHUNKED), 400),
    ("CL.TE with the length named away", _post(b"Connection: content-length\r\nContent-Length: 6\r\n", _CHUNKED), 400),
    ("CL.TE with an upgrade", _post(b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 6\r\n", _CHUNKED), 400),
    ("CL.CL", _post(b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(_INNER)) + _INNER, 400),
    ("CL.CL in one field", _post(b"Content-Length: %d, 0\r\n" % len(_INNER)) + _INNER, 400),
    ("CL.CL in another case", _post(b"Content-Length: 0\r\ncontent-length: %d\r\n" % len(_INNER)) + _INNER, 400),
    ("length that goes on after a comma", _post(b"Content-Length: 5,\r\n"), 400),
    ("length with a parameter", _post(b"Content-Length: 5;a\r\n"), 400),
    ("length of letters", _post(b"Content-Length: 1e1\r\n"), 400),
    ("length before a NUL", _post(b"Content-Length: 5\x00\r\n"), 400),
    ("length after a NUL", _post(b"Content-Length: \x005\r\n"), 400),
    ("length before a vertical tab", _post(b"Content-Length: 5\x0b\r\n"), 400),
    ("length after a form feed", _post(b"Content-Length: \x0c5\r\n"), 400),
    ("length in digits of another script", _post("Content-Length: \u0665\r\n".encode()), 400),
    ("folded length", _post(b"Content-Length:\r\n 5\r\n"), 400),
    ("length in a folded line", _post(b"X: y\r\n Content-Length: 5\r\n"), 400),
    ("length before the first field, indented", b"POST / HTTP/1.1\r\n Content-Length: 5\r\n" + _HOST + b"\r\n", 400),
    ("TE.TE with another", _post(_CHUNKED, b"Transfer-Encoding: x\r\n"), 400),
    ("TE.TE in another case", _post(_CHUNKED, b"transfer-encoding: cow\r\n"), 400),
    ("TE.TE with an empty one", _post(_CHUNKED, b"Transfer-Encoding:\r\n"), 400),
    ("coding after another", _post(b"Transfer-Encoding: x, chunked\r\n"), 400),
    ("coding before another", _post(b"Transfer-Encoding: chunked, x\r\n"), 400),
    ("identity, chunked", _post(b"Transfer-Encoding: identity, chunked\r\n"), 400),
    ("coding that ends in chunked", _post(b"Transfer-Encoding: nochunked\r\n"), 400),
    ("coding that begins with chunked", _post(b"Transfer-Encoding: chunkedx\r\n"), 400),
    ("coding before a comma", _post(b"Transfer-Encoding: chunked,\r\n"), 400),
    ("coding after a comma", _post(b"Transfer-Encoding: ,chunked\r\n"), 400),
    ("coding before a semicolon", _post(b"Transfer-Encoding: chunked;\r\n"), 400),
    ("coding in single quotes", _post(b"Transfer-Encoding: 'chunked'\r\n"), 400),
    ("coding with a space within", _post(b"Transfer-Encoding: chunk ed\r\n"), 400),
    ("coding with a control byte within", _post(b"Transfer-Encoding: chu\x96nked\r\n"), 400),
    ("coding after a form feed", _post(b"Transfer-Encoding: \x0cchunked\r\n"), 400),
    ("coding after a no-break space", _post(b"Transfer-Encoding: \xa0chunked\r\n"), 400),
    ("coding before a NUL", _post(b"Transfer-Encoding: chunked\x00\r\n"), 400),
    ("coding after a bare CR", _post(b"X: y\r\n\rTransfer-Encoding: chunked\r\n"), 400),
    ("coding behind a bare LF", _post(b"Transfer-Encoding:\nchunked\r\n"), 400),
    ("coding whose name ends in NUL", _post(b"Transfer-Encoding\x00: chunked\r\n"), 400),
    ("coding whose name ends in a no-break space", _post(b"Transfer-Encoding\xa0: chunked\r\n"), 400),
    ("coding whose name has a space", _post(b"Transfer Encoding: chunked\r\n"), 400),
    ("coding whose name has an equals sign", _post(b"Transfer-Encoding=: chunked\r\n"), 400),
    ("coding with a semicolon for the colon", _post(b"Transfer-Encoding; chunked\r\n"), 400),
    ("coding behind an indented colon", _post(b"Transfer-Encoding\r\n : chunked\r\n"), 400),
    ("coding whose name is folded", _post(b"Transfer-\r\n Encoding: chunked\r\n"), 400),
    ("coding indented by a tab", _post(b"\tTransfer-Encoding: chunked\r\n"), 400),
    # What the client waits for.
    ("expectation nobody knows", _post(b"Content-Length: 5\r\nExpect: miracles\r\n"), 417),
    ("expectation behind a word", _post(b"Content-Length: 5\r\nExpect: y 100-continue\r\n"), 417),
    ("expectation before another", _post(b"Content-Length: 5\r\nExpect: 100-continue, x\r\n"), 417),
    ("expectation twice in one", _post(b"Content-Length: 5\r\nExpect: 100-continue, 100-continue\r\n"), 417),
    ("expectation with a parameter", _post(b"Content-Length: 5\r\nExpect: 100-continue;q=1\r\n"), 417),
    ("expectation that goes on", _post(b"Content-Length: 5\r\nExpect: 100-continued\r\n"), 417),
    ("empty expectation", _post(b"Content-Length: 5\r\nExpect:\r\n"), 417),
    ("expectation nobody knows without a body", b"GET / HTTP/1.1\r\n" + _HOST + b"Expect: 200-ok\r\n\r\n", 417),
    ("two expectations", _post(b"Content-Length: 5\r\nExpect: x\r\nExpect: 100-continue\r\n"), 400),
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
    ("Host with a port of six digits", b"GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n", 400),
    ("Host with a fragment", b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", 400),
    ("Host with a backslash", b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400),
    ("Host before a NUL", b"GET / HTTP/1.1\r\nHost: a\x00.example.org\r\n\r\n", 400),
    ("folded Host", b"GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n", 400),
    ("indented Host", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("Host before a second that is indented", b"GET / HTTP/1.1\r\nHost: a\r\n Host: b\r\n\r\n", 400),
    ("two Hosts, one empty", b"GET / HTTP/1.1\r\nHost:\r\nHost: b\r\n\r\n", 400),
    ("two Hosts in different cases", b"GET / HTTP/1.1\r\nHost: a\r\nhOsT: b\r\n\r\n", 400),
    ("no Host but an underscored one", b"GET / HTTP/1.1\r\n_Host: a\r\n\r\n", 400),
    ("no Host beside a URL", b"GET http://example.org/ HTTP/1.1\r\n\r\n", 400),
    ("URL of another host", _absolute(b"http://other.org/"), 400),
    ("URL of another host in 1.0", b"GET http://other.org/ HTTP/1.0\r\n" + _HOST + b"\r\n", 400),
    ("URL of a host that begins alike", _absolute(b"http://example.org.evil/"), 400),
    ("URL of a host that ends alike", _absolute(b"http://evil.example.org/"), 400),
    ("URL of another port", _absolute(b"http://example.org:8080/"), 400),
    ("URL without the port", _absolute(b"http://example.org/", b"example.org:8080"), 400),
    ("URL with the other scheme's port", _absolute(b"http://example.org:443/"), 400),
    ("secure URL with the other scheme's port", _absolute(b"https://example.org:80/"), 400),
    ("URL beside an empty Host", _absolute(b"http://example.org/", b""), 400),
    ("URL with a user", _absolute(b"http://user@example.org/"), 400),
    ("URL with a user and a password", _absolute(b"http://user:word@example.org/"), 400),
    ("URL with an empty user", _absolute(b"http://@example.org/"), 400),
    ("URL with the Host for a user", _absolute(b"http://example.org@other.org/"), 400),
    ("URL without a host", _absolute(b"http:///x"), 400),
    ("URL without anything", _absolute(b"http://"), 400),
    ("URL without a host, beside an empty Host", _absolute(b"http:///x", b""), 400),
    ("URL with a port alone", _absolute(b"http://:80/", b":80"), 400),
    ("URL with one slash", _absolute(b"http:/example.org/"), 400),
    ("URL without slashes", _absolute(b"http:example.org"), 400),
    ("URL of a Host in brackets that is none", _absolute(b"http://[::1/", b"[::1"), 400),
    ("URL of another scheme", _absolute(b"ftp://example.org/"), 400),
    ("URL of a WebSocket", _absolute(b"ws://example.org/"), 400),
    ("URL of a scheme that begins alike", _absolute(b"httpx://example.org/"), 400),
    ("URL of a file", _absolute(b"file:///etc/passwd"), 400),
    ("URL with a fragment", _absolute(b"http://example.org/#x"), 400),
    ("URL with a fragment behind its host", _absolute(b"http://example.org#x"), 400),
    ("URL with a backslash for a slash", _absolute(b"http://example.org\\x"), 400),
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
    ("target with a host and a port", _line(b"GET example.org:80 HTTP/1.1"), 400),
    ("target that is a query", _line(b"GET ?x HTTP/1.1"), 400),
    ("target with a fragment", _line(b"GET /a#b HTTP/1.1"), 400),
    ("target with an empty fragment", _line(b"GET /a# HTTP/1.1"), 400),
    ("target with a fragment in its query", _line(b"GET /a?b#c HTTP/1.1"), 400),
    ("asterisk in a GET", _line(b"GET * HTTP/1.1"), 400),
    ("asterisk in a POST", _post().replace(b" / ", b" * "), 400),
    ("asterisk and more", _line(b"OPTIONS */x HTTP/1.1"), 400),
    ("asterisk with a parameter", _line(b"OPTIONS *;x HTTP/1.1"), 400),
    ("asterisk with a fragment", _line(b"OPTIONS *#x HTTP/1.1"), 400),
    ("NUL before the method", _line(b"\x00GET / HTTP/1.1"), 400),
    ("NUL after the method", _line(b"GET\x00 / HTTP/1.1"), 400),
    ("NUL before the version", _line(b"GET / \x00HTTP/1.1"), 400),
    ("NUL before the first field", b"GET / HTTP/1.1\r\n\x00" + _HOST + b"\r\n", 400),
    ("byte order mark before the method", _line(b"\xef\xbb\xbfGET / HTTP/1.1"), 400),
    ("tunnel to a path", _line(b"CONNECT / HTTP/1.1"), 405),
    ("tunnel to an asterisk", _line(b"CONNECT * HTTP/1.1"), 405),
    ("tunnel to a URL", _absolute(b"http://example.org/", method=b"CONNECT"), 405),
    ("tunnel with a body", _post(b"Content-Length: 5\r\n").replace(b"POST / ", b"CONNECT a:1 "), 405),
    ("tunnel with an upgrade", _line(b"CONNECT a:1 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket"), 405),
    ("method of streaming", _line(b"DESCRIBE / HTTP/1.1"), 501),
    ("method of HTTP/2's beginning", _line(b"PRI / HTTP/1.1"), 400),
    ("version twice", _line(b"GET / HTTP/1.1 HTTP/1.1"), 400),
    ("version with leading nought", _line(b"GET / HTTP/01.1"), 400),
    ("version with a sign", _line(b"GET / HTTP/+1.1"), 400),
    ("version without its end", _line(b"GET / HTTP/1."), 400),
    ("version with a space", _line(b"GET / HTTP /1.1"), 400),
    ("version before a vertical tab", _line(b"GET / HTTP/1.1\x0b"), 400),
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


class Taken(NamedTuple):
    """A request that is to reach a backend, and how.

    :ivar name: what is odd about it.
    :ivar data: all of its bytes, the body's included.
    :ivar target: what the backend is asked for.
    :ivar body: the body that arrives, without its framing.
    :ivar absent: names of fields that must not arrive.
    :ivar present: field lines that must, as they are here.
    :ivar upgrade: the protocols that the backend is offered.
    """

    name: str
    data: bytes
    target: bytes = b"/"
    body: bytes = b""
    absent: tuple[bytes, ...] = ()
    present: tuple[bytes, ...] = ()
    upgrade: bytes = b""


def _get(*lines: bytes) -> bytes:
    """A GET over HTTP/1.1 with these field lines as they stand."""
    return b"GET / HTTP/1.1\r\n" + _HOST + b"".join(lines) + b"\r\n"


def _upgrading(protocols: bytes, connection: bytes = b"Upgrade", *lines: bytes) -> bytes:
    """A GET that asks for other protocols."""
    return _get(b"Connection: %b\r\nUpgrade: %b\r\n" % (connection, protocols), *lines)


_SIZED = b"Content-Length: 5\r\n"
_H2C = (b"upgrade", b"http2-settings", b"connection")

TAKEN: list[Taken] = [
    # Bodies.
    Taken("CL.0", _post(b"Content-Length: %d\r\n" % len(_INNER)) + _INNER, body=_INNER),
    Taken("GET with a body", _get(b"Content-Length: %d\r\n" % len(_INNER)) + _INNER, body=_INNER),
    Taken("GET with a chunked body", _get(_CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n", body=b"hello"),
    Taken("HEAD with a body", _post(_SIZED).replace(b"POST", b"HEAD") + b"hello", body=b"hello"),
    Taken("request in a chunk", _post(_CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(_INNER), _INNER), body=_INNER),
    Taken("body that looks like chunks", _post(_SIZED) + b"0\r\n\r\n", body=b"0\r\n\r\n"),
    Taken("chunked in another case after tabs", _post(b"transfer-ENCODING:\t \tChUnKeD \r\n") + b"0\r\n\r\n"),
    Taken("chunk sizes with leading noughts", _post(_CHUNKED) + b"00005\r\nhello\r\n000\r\n\r\n", body=b"hello"),
    Taken("chunk extensions", _post(_CHUNKED) + b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n', body=b"hello"),
    Taken("trailer that would frame", _post(_CHUNKED) + b"0\r\nContent-Length: 5\r\n\r\n", absent=(b"content-length",)),
    Taken("trailer that would route", _post(_CHUNKED) + b"0\r\nHost: other.org\r\n\r\n", present=(_HOST,)),
    Taken("length with noughts before it", _post(b"Content-Length: 0005\r\n") + b"hello", body=b"hello"),
    Taken("content coding that is called chunked", _post(b"Content-Encoding: chunked\r\n"), absent=(b"transfer-encoding",)),
    # Names that are nearly others.
    Taken(
        "underscored coding beside a length",
        _post(_SIZED, b"Transfer_Encoding: chunked\r\n") + b"hello",
        body=b"hello",
        absent=(b"transfer_encoding",),
        present=(_SIZED,),
    ),
    Taken(
        "underscored length beside a coding",
        _post(_CHUNKED, b"Content_Length: 5\r\n") + b"0\r\n\r\n",
        absent=(b"content_length", b"content-length"),
    ),
    Taken("underscored length alone", _post(b"Content_Length: 5\r\n"), absent=(b"content_length", b"content-length")),
    Taken(
        "underscored names",
        _get(b"X_Forwarded_For: 10.0.0.1\r\n_: 1\r\nX-Real_IP:2\r\nHTTP_HOST:3\r\nA:_\r\nCookie: a_b=c_d:e\r\n"),
        absent=(b"x_forwarded_for", b"_", b"x-real_ip", b"http_host"),
        present=(b"A:_\r\n", b"Cookie: a_b=c_d:e\r\n"),
    ),
    Taken(
        "what a client says of itself",
        _get(b"X-Forwarded-For: 1\r\nForwarded: for=1\r\nx-real-ip: 1\r\nX-Request-ID: 1\r\nX-Forwarded-Port:1\r\n"),
        absent=(b"x-real-ip", b"x-forwarded-port"),
    ),
    # What Connection names.
    Taken(
        "length named away",
        _post(b"Connection: content-length\r\n", _SIZED) + b"hello",
        body=b"hello",
        absent=(b"connection",),
        present=(_SIZED,),
    ),
    Taken("Host named away", _get(b"Connection: close, Host\r\n"), absent=(b"connection",), present=(_HOST,)),
    Taken(
        "coding named away",
        _post(b"Connection: transfer-encoding\r\n", _CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n",
        body=b"hello",
        absent=(b"content-length",),
    ),
    Taken(
        "expectation named away",
        _post(b"Connection: expect\r\nExpect: 100-continue\r\n", _SIZED) + b"hello",
        body=b"hello",
        present=(b"Expect: 100-continue\r\n",),
    ),
    Taken(
        "fields named away in two lines",
        _get(b"X-One: 1\r\nConnection: x-one,,\r\nX-Two: 2\r\nConnection: \tX-TWO , x-three\r\nX-Four: 4\r\n"),
        absent=(b"x-one", b"x-two", b"connection"),
        present=(b"X-Four: 4\r\n",),
    ),
    # What the client waits for.
    Taken(
        "expectation in another case",
        _post(b"expect:100-CONTINUE\r\n", _SIZED) + b"hello",
        body=b"hello",
        present=(b"expect:100-CONTINUE\r\n",),
    ),
    Taken("expectation without a body", _get(b"Expect: 100-continue\r\n"), absent=(b"expect",)),
    Taken("expectation of an empty body", _post(b"Content-Length: 0\r\nExpect: 100-continue\r\n"), absent=(b"expect",)),
    Taken(
        "expectation in 1.0",
        b"POST / HTTP/1.0\r\n" + _HOST + _SIZED + b"Expect: 100-continue\r\n\r\nhello",
        body=b"hello",
        absent=(b"expect",),
    ),
    # Upgrades.
    Taken("WebSocket", _upgrading(b"websocket"), upgrade=b"websocket", absent=(b"upgrade", b"connection")),
    Taken("upgrade among other options", _upgrading(b"x/1, y", b"keep-alive, UPGRADE"), upgrade=b"x/1, y"),
    Taken("upgrade with an empty body", _upgrading(b"x", b"upgrade", b"Content-Length: 0\r\n"), upgrade=b"x"),
    Taken("upgrade that Connection does not name", _upgrading(b"websocket", b"keep-alive"), absent=(b"upgrade",)),
    Taken("upgrade to nothing", _get(b"Connection: Upgrade\r\n"), absent=(b"connection",)),
    Taken("upgrade with a body", _upgrading(b"x", b"upgrade", _SIZED) + b"hello", body=b"hello", absent=(b"upgrade",)),
    Taken("upgrade that is no list of protocols", _upgrading(b"web socket"), absent=(b"upgrade",)),
    Taken("upgrade in 1.0", _upgrading(b"websocket").replace(b"HTTP/1.1", b"HTTP/1.0"), absent=(b"upgrade",)),
    Taken("h2c", _upgrading(b"h2c", b"Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk\r\n"), absent=_H2C),
    Taken("h2c without its settings named", _upgrading(b"h2c", b"Upgrade", b"HTTP2-Settings: AAMAAABk\r\n"), absent=_H2C),
    Taken("h2c behind another", _upgrading(b"websocket, H2C"), absent=_H2C),
    Taken("h2c in a line of its own", _upgrading(b"websocket", b"Upgrade", b"Upgrade: h2c\r\n"), absent=_H2C),
    Taken("HTTP/2.0", _upgrading(b"HTTP/2.0"), absent=_H2C),
    Taken("TLS", _upgrading(b"TLS/1.0, HTTP/1.1"), absent=_H2C),
    # Targets.
    Taken("URL", _absolute(b"http://example.org/a?b"), target=b"/a?b", present=(_HOST,)),
    Taken("URL without a path", _absolute(b"http://example.org")),
    Taken("URL with a query alone", _absolute(b"http://example.org?a/b"), target=b"/?a/b"),
    Taken("URL in another case", _absolute(b"HTTP://EXAMPLE.org/"), present=(_HOST,)),
    Taken("URL with the default port", _absolute(b"http://example.org:80/"), present=(_HOST,)),
    Taken("URL with an empty port", _absolute(b"http://example.org:/"), present=(_HOST,)),
    Taken("URL whose Host has the default port", _absolute(b"https://a/", b"A:443"), present=(b"Host: A:443\r\n",)),
    Taken("URL of an address", _absolute(b"http://[::1]/x", b"[::1]:80"), target=b"/x"),
    Taken("URL with an @ in its path", _absolute(b"http://example.org/@x?y@z"), target=b"/@x?y@z"),
    Taken("URL whose path is one of its own", _absolute(b"http://example.org//other.org/"), target=b"//other.org/"),
    Taken("URL in 1.0", b"GET http://a:8/b HTTP/1.0\r\n\r\n", target=b"/b", present=(b"Host: a:8\r\n",)),
    Taken("URL of a server's options", _absolute(b"http://example.org", method=b"OPTIONS"), target=b"*"),
    Taken("URL of the root's options", _absolute(b"http://example.org/", method=b"OPTIONS")),
    Taken("a server's options", _line(b"OPTIONS * HTTP/1.1"), target=b"*"),
    Taken("dots, doubled slashes and escapes", _line(b"GET //a/../%2e%2f?? HTTP/1.1"), target=b"//a/../%2e%2f??"),
    Taken("URL in a path", _line(b"GET /http://other.org/ HTTP/1.1"), target=b"/http://other.org/"),
]
