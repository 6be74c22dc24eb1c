"""Responses that must never reach a client, each with the cause that speaks against it.

A backend that sends one is answered for with 502, and its connection is not used again.
"""

from __future__ import annotations

__all__ = ["REFUSED"]


def _line(line: bytes) -> bytes:
    """A response with this status line."""
    return line + b"\r\nContent-Length: 0\r\n\r\n"


def _ok(*lines: bytes) -> bytes:
    """A 200 with these field lines as they stand."""
    return b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"\r\n"


_CHUNKED = b"Transfer-Encoding: chunked\r\n"

#: What is wrong, the bytes, the cause.
REFUSED: list[tuple[str, bytes, str]] = [
    # The status line.
    ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "syntax"),
    ("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "syntax"),
    ("nothing", b"\r\n\r\n", "version"),
    ("TLS", b"\x16\x03\x01\x02\x00\r\n\r\n", "syntax"),
    ("an empty line first", b"\r\n" + _line(b"HTTP/1.1 200 OK"), "version"),
    ("LF first", _line(b"\nHTTP/1.1 200 OK"), "version"),
    ("space first", _line(b" HTTP/1.1 200 OK"), "syntax"),
    ("2.0", _line(b"HTTP/2.0 200 OK"), "version"),
    ("0.9", _line(b"HTTP/0.9 200 OK"), "version"),
    ("1.2", _line(b"HTTP/1.2 200 OK"), "version"),
    ("version of two digits", _line(b"HTTP/1.10 200 OK"), "syntax"),
    ("version in lower case", _line(b"http/1.1 200 OK"), "syntax"),
    ("a relative's version", _line(b"ICE/1.0 200 OK"), "version"),
    ("another relative's version", _line(b"RTSP/1.0 200 OK"), "version"),
    ("no version", _line(b"200 OK"), "syntax"),
    ("no status", _line(b"HTTP/1.1"), "syntax"),
    ("no status but a space", _line(b"HTTP/1.1 "), "syntax"),
    ("no status but a reason", _line(b"HTTP/1.1 OK"), "syntax"),
    ("status of one digit", _line(b"HTTP/1.1 2 OK"), "syntax"),
    ("status of two digits", _line(b"HTTP/1.1 20 OK"), "syntax"),
    ("status of two digits alone", _line(b"HTTP/1.1 20"), "syntax"),
    ("status of four digits", _line(b"HTTP/1.1 2000 OK"), "syntax"),
    ("status of four digits alone", _line(b"HTTP/1.1 2000"), "syntax"),
    ("status with a letter", _line(b"HTTP/1.1 2x0 OK"), "syntax"),
    ("status with a sign", _line(b"HTTP/1.1 -20 OK"), "syntax"),
    ("status with a space within", _line(b"HTTP/1.1 2 0 OK"), "syntax"),
    ("status in hexadecimal", _line(b"HTTP/1.1 0xc8 OK"), "syntax"),
    ("status of noughts", _line(b"HTTP/1.1 000 OK"), "syntax"),
    ("status below 100", _line(b"HTTP/1.1 099 OK"), "syntax"),
    ("status below 100 alone", _line(b"HTTP/1.1 020"), "syntax"),
    ("two spaces before the status", _line(b"HTTP/1.1  200 OK"), "syntax"),
    ("two spaces before the status alone", _line(b"HTTP/1.1  200"), "syntax"),
    ("tab before the status", _line(b"HTTP/1.1\t200 OK"), "syntax"),
    ("tab after the status", _line(b"HTTP/1.1 200\tOK"), "syntax"),
    ("no space after the status", _line(b"HTTP/1.1 200OK"), "syntax"),
    ("NUL in the reason", _line(b"HTTP/1.1 200 O\x00K"), "syntax"),
    ("control byte in the reason", _line(b"HTTP/1.1 200 O\x01K"), "syntax"),
    ("DEL in the reason", _line(b"HTTP/1.1 200 O\x7fK"), "syntax"),
    ("bare CR in the reason", _line(b"HTTP/1.1 200 OK\rA: b"), "syntax"),
    ("bare CR after the reason", _line(b"HTTP/1.1 200 OK\r"), "syntax"),
    ("bare LF after the reason", b"HTTP/1.1 200 OK\nA: b\r\n\r\n", "syntax"),
    # Where a line ends, and where a name does.
    ("space before the colon", _ok(b"A : b\r\n"), "syntax"),
    ("space before the colon of the length", _ok(b"Content-Length : 5\r\n"), "syntax"),
    ("space in a name", _ok(b"A b: c\r\n"), "syntax"),
    ("space before a name", _ok(b" A: b\r\n"), "syntax"),
    ("byte above 127 in a name", _ok(b"A\xe4: b\r\n"), "syntax"),
    ("no name", _ok(b": b\r\n"), "syntax"),
    ("no colon", _ok(b"A\r\n"), "syntax"),
    ("folded line", _ok(b"A: b\r\n c\r\n"), "syntax"),
    ("line folded with a tab", _ok(b"A: b\r\n\tc\r\n"), "syntax"),
    ("folded empty value", _ok(b"A:\r\n b\r\n"), "syntax"),
    ("bare LF in a value", _ok(b"A: b\nC: d\r\n"), "syntax"),
    ("bare CR in a value", _ok(b"A: b\rC: d\r\n"), "syntax"),
    ("two CRs after a value", _ok(b"A: b\r\r\n"), "syntax"),
    ("NUL in a value", _ok(b"A: \x00\r\n"), "syntax"),
    ("NUL in a name", _ok(b"A\x00: b\r\n"), "syntax"),
    ("control byte in a value", _ok(b"A: b\x1bc\r\n"), "syntax"),
    ("DEL in a value", _ok(b"A: b\x7f\r\n"), "syntax"),
    # Where the body ends.
    ("one length twice", _ok(b"Content-Length: 5\r\n" * 2), "framing"),
    ("two lengths", _ok(b"Content-Length: 5\r\nContent-Length: 6\r\n"), "framing"),
    ("two lengths in different cases", _ok(b"Content-Length: 5\r\ncontent-length: 5\r\n"), "framing"),
    ("list of lengths", _ok(b"Content-Length: 5, 5\r\n"), "framing"),
    ("negative length", _ok(b"Content-Length: -5\r\n"), "framing"),
    ("signed length", _ok(b"Content-Length: +5\r\n"), "framing"),
    ("hexadecimal length", _ok(b"Content-Length: 0x5\r\n"), "framing"),
    ("empty length", _ok(b"Content-Length:\r\n"), "framing"),
    ("length beyond 64 bits", _ok(b"Content-Length: 18446744073709551621\r\n"), "framing"),
    ("length beyond 63 bits", _ok(b"Content-Length: 9223372036854775808\r\n"), "framing"),
    ("length and coding", _ok(b"Content-Length: 5\r\n", _CHUNKED), "framing"),
    ("coding and length", _ok(_CHUNKED, b"Content-Length: 5\r\n"), "framing"),
    ("length and coding where there is no body", b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n" + _CHUNKED + b"\r\n", "framing"),
    ("gzip, chunked", _ok(b"Transfer-Encoding: gzip, chunked\r\n"), "framing"),
    ("chunked, chunked", _ok(b"Transfer-Encoding: chunked, chunked\r\n"), "framing"),
    ("chunked twice", _ok(_CHUNKED, _CHUNKED), "framing"),
    ("identity", _ok(b"Transfer-Encoding: identity\r\n"), "framing"),
    ("xchunked", _ok(b"Transfer-Encoding: xchunked\r\n"), "framing"),
    ("empty coding", _ok(b"Transfer-Encoding:\r\n"), "framing"),
    ("length in a 100", b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", "framing"),
    ("coding in a 103", b"HTTP/1.1 103 Early Hints\r\n" + _CHUNKED + b"\r\n", "framing"),
    ("length in a 101", b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\n", "framing"),
    # Upgrades.
    ("101 without an Upgrade", b"HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", "upgrade"),
    ("101 with an empty Upgrade", b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n", "upgrade"),
    ("101 without a word", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "upgrade"),
    ("101 whose Connection is silent", b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", "upgrade"),
    ("101 to what is no protocol", b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: web socket\r\n\r\n", "upgrade"),
    ("101 over 1.0", b"HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "upgrade"),
    # Sizes.
    ("too many fields", _ok(b"A: b\r\n" * 101), "field-count"),
]
