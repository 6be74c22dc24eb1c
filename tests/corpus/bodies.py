"""Chunked bodies that must be refused, each with the status that a client gets which sends one."""

from __future__ import annotations

__all__ = ["REFUSED"]

_END = b"0\r\n\r\n"


def _size(line: bytes) -> bytes:
    """A chunk whose size line is this, with CRLF."""
    return line + b"\r\nhello\r\n" + _END


def _trailer(*lines: bytes) -> bytes:
    """An empty body with these trailers."""
    return b"0\r\n" + b"".join(lines) + b"\r\n"


#: What is wrong, the bytes, the status.
REFUSED: list[tuple[str, bytes, int]] = [
    # Sizes.
    ("empty size", b"\r\n" + _END, 400),
    ("no size but an extension", _size(b";a=b"), 400),
    ("size that is no number", _size(b"g"), 400),
    ("size that ends in no digit", _size(b"5g"), 400),
    ("negative size", _size(b"-5"), 400),
    ("negative nought", b"-0\r\n\r\n", 400),
    ("signed size", _size(b"+5"), 400),
    ("size with 0x", _size(b"0x5"), 400),
    ("size with 0X", _size(b"0X5"), 400),
    ("end with 0x", b"0x0\r\n\r\n", 400),
    ("size with h", _size(b"5h"), 400),
    ("space before the size", _size(b" 5"), 400),
    ("tab before the size", _size(b"\t5"), 400),
    ("space within the size", _size(b"0 5"), 400),
    ("underscore in the size", _size(b"0_5"), 400),
    ("comma after the size", _size(b"5,"), 400),
    ("dot after the size", _size(b"5.0"), 400),
    ("quoted size", _size(b'"5"'), 400),
    ("NUL before the size", _size(b"\x005"), 400),
    ("NUL after the size", _size(b"5\x00"), 400),
    ("vertical tab after the size", _size(b"5\x0b"), 400),
    ("no-break space after the size", _size(b"5\xa0"), 400),
    ("size in digits of another script", _size("\u0665".encode()), 400),
    ("size with leading noughts without end", _size(b"0" * 15 + b"5"), 400),
    ("noughts without end", b"0" * 300, 400),
    ("size of 61 bits", _size(b"1" + b"0" * 15), 400),
    ("size beyond 64 bits that wraps round", _size(b"1" + b"0" * 15 + b"5"), 400),
    ("size of all 64 bits", _size(b"f" * 16), 400),
    ("size beyond 32 bits of noughts and 64 bits", _size(b"100000000" * 2), 400),
    ("digits without end", b"1" * 300, 400),
    # Extensions.
    ("NUL in an extension", _size(b"5;\x00"), 400),
    ("control byte in an extension", _size(b"5;a\x1b"), 400),
    ("byte above 127 in an extension", _size(b"5;a=\xff"), 400),
    ("bare CR in an extension", _size(b"5;a\rb"), 400),
    ("bare CR before CRLF", _size(b"5;a\r"), 400),
    ("bare LF in an extension", _size(b"5;a\nb"), 400),
    ("bare LF after an extension", b"5;a\nhello\r\n" + _END, 400),
    ("extension of 300 bytes", _size(b"5;" + b"a" * 300), 400),
    ("extension without end", b"5;" + b"a" * 300, 400),
    ("extensions of many chunks", (b"1;" + b"a" * 250 + b"\r\nx\r\n") * 100 + _END, 400),
    ("spaces after the sizes of many chunks", (b"1" + b" " * 250 + b"\r\nx\r\n") * 100 + _END, 400),
    # Where a line ends, and where a chunk does.
    ("size ended by LF", b"5\nhello\n0\n\n", 400),
    ("size ended by LF alone, then silence", b"5\n", 400),
    ("size ended by CR", b"5\rhello\r0\r\r", 400),
    ("size ended by CR and more", b"5\rX\nhello\r\n" + _END, 400),
    ("size ended by two CRs", b"5\r\r\nhello\r\n" + _END, 400),
    ("LF and CR the wrong way round", b"5\n\rhello\r\n" + _END, 400),
    ("data longer than its size", b"4\r\nhello\r\n" + _END, 400),
    ("data shorter than its size", b"6\r\nhello\r\n" + _END, 400),
    ("data ended by LF", b"5\r\nhello\n" + _END, 400),
    ("data ended by CR", b"5\r\nhello\r" + _END, 400),
    ("data ended by two others", b"5\r\nhelloXX" + _END, 400),
    ("data ended by two CRs", b"5\r\nhello\r\r\n" + _END, 400),
    ("data without an end", b"5\r\nhello" + _END, 400),
    ("empty line after a chunk", b"5\r\nhello\r\n\r\n" + _END, 400),
    ("end ended by LF", b"0\n\n", 400),
    ("end ended by CRLF and LF", b"0\r\n\n", 400),
    ("request behind the last size", b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    # Trailers.
    ("trailer without a colon", _trailer(b"no trailer\r\n"), 400),
    ("trailer without a name", _trailer(b": no name\r\n"), 400),
    ("trailer with a space before the colon", _trailer(b"A : b\r\n"), 400),
    ("trailer with a space before its name", _trailer(b" A: b\r\n"), 400),
    ("folded trailer", _trailer(b"A: b\r\n folded\r\n"), 400),
    ("trailer with NUL", _trailer(b"A: \x00\r\n"), 400),
    ("trailer with a control byte", _trailer(b"A: \x08\r\n"), 400),
    ("trailer with DEL", _trailer(b"A: \x7f\r\n"), 400),
    ("trailer with a bare LF", _trailer(b"A: b\nC: d\r\n"), 400),
    ("trailer with a bare CR", _trailer(b"A: b\rC: d\r\n"), 400),
    ("trailer ended by LF", b"0\r\nA: b\n\r\n", 400),
    ("trailer with a byte above 127 in its name", _trailer(b"A\xe4: b\r\n"), 400),
    ("trailer without end", b"0\r\nA: " + b"b" * 9000, 431),
    ("trailers too large", _trailer(*[b"A: %b\r\n" % (b"b" * 1000)] * 9), 431),
    ("too many trailers", _trailer(*[b"A: b\r\n"] * 101), 431),
]
