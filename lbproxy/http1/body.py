"""Bodies on the wire: where one ends, and its bytes without (or with) the framing of chunks.

A decoder is fed what arrives after a head and gives back the body's bytes, until :attr:`done`; what it did not take is left in
:attr:`rest`. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import re

from ..errors import BadMessage

__all__ = ["LAST_CHUNK", "ChunkedBody", "SizedBody", "UntilCloseBody", "chunk"]

#: The end of a chunked body, without trailers.
LAST_CHUNK = b"0\r\n\r\n"

# RFC 9112 section 7.1: 1*HEXDIG, then extensions, which a recipient must ignore. They are taken only as printable ASCII, and
# never forwarded. 15 digits are under 2**63.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e]*)?\Z")
# A size line may carry an extension nobody reads; the trailers are read and dropped. Both are bounded (llhttp has no bound).
_LINE_LIMIT = 256
_TRAILER_LIMIT = 8 * 1024
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\Z")


def chunk(data: bytes) -> bytes:
    """*data*, which must not be empty (an empty chunk ends the body), as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class SizedBody:
    """A body of a length that is known ahead (Content-Length)."""

    __slots__ = ("remaining", "rest")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.rest = b""

    @property
    def done(self) -> bool:
        """Whether the whole body has been given back."""
        return self.remaining == 0

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; give back the body's part of it."""
        size = len(data)
        if size <= self.remaining:
            self.remaining -= size
            return data
        size, self.remaining = self.remaining, 0
        self.rest = data[size:]
        return data[:size]


class UntilCloseBody:
    """A body that the end of its connection ends (a response's only)."""

    __slots__ = ()
    done = False
    rest = b""

    def feed(self, data: bytes) -> bytes:
        """Everything is body."""
        return data


class ChunkedBody:
    """A body in chunks (RFC 9112 section 7.1). Extensions and trailers are checked, bounded and dropped."""

    __slots__ = ("_buffer", "_left", "_state", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self._buffer = b""  # the beginning of a line that has not ended yet
        self._left = 0  # bytes of the current chunk still to come
        self._state = _SIZE
        self._trailers = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; give back the body's bytes in it, of all its chunks together, perhaps none.

        :raises BadMessage: for a chunk that is not one.
        """
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        parts: list[bytes] = []
        place = 0
        while not self.done:
            if self._state == _DATA:
                part = data[place : place + self._left]
                place += len(part)
                self._left -= len(part)
                if part:
                    parts.append(part)
                if self._left:
                    break
                self._state = _AFTER
            end = self._line_end(data, place)
            if end < 0:
                self._buffer = data[place:]
                break
            self._line(data[place:end])
            place = end + 2
        if self.done:
            self.rest = data[place:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _line_end(self, data: bytes, place: int) -> int:
        """Where the line that begins at *place* ends; -1 while its end is not here."""
        if self._state == _AFTER:
            found = data[place : place + 2]
            if found != b"\r\n"[: len(found)]:
                raise BadMessage("chunk", "a chunk's data is not ended by CRLF")
            return place if len(found) == 2 else -1
        end = data.find(b"\r\n", place)
        limit = _LINE_LIMIT if self._state == _SIZE else _TRAILER_LIMIT - self._trailers
        if (len(data) if end < 0 else end) - place > limit:
            raise BadMessage("chunk", "a chunk's size line or the trailers are too long")
        return end

    def _line(self, line: bytes) -> None:
        if self._state == _AFTER:
            self._state = _SIZE
        elif self._state == _SIZE:
            found = _CHUNK_LINE.match(line)
            if found is None:
                raise BadMessage("chunk", f"{line[:32]!r} is no chunk size")
            self._left = int(found[1], 16)
            self._state = _DATA if self._left else _TRAILERS
        elif not line:
            self.done = True
        else:
            self._trailers += len(line) + 2
            if not _TRAILER.match(line):
                raise BadMessage("chunk", f"{line[:32]!r} is no trailer field")


_SIZE, _DATA, _AFTER, _TRAILERS = range(4)
