"""Requests and answers with a number each, so that whatever arrives tells whose it is, and bodies that are like no other."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import attrs

__all__ = ["ANSWERS", "REQUESTS", "SWITCHING", "UNASKED", "Answer", "Asked", "Outbox", "body_of", "number_of", "with_cookie"]

#: The number of the request that an answer gives which nobody has asked for.
UNASKED = 0

_SOURCE = random.Random("bodies").randbytes(1 << 20)
_STRIDE = 1009


def body_of(number: int, size: int) -> bytes:
    """So many bytes that are nobody else's; a piece that is lost, doubled or out of place makes them other bytes."""
    begin = number * _STRIDE % (len(_SOURCE) - size)
    return _SOURCE[begin : begin + size]


def number_of(head: bytes) -> int:
    """The number of the request that begins like this; 0 when it has none."""
    found = re.match(rb"[A-Z]+ /(\d+) HTTP/1", head)
    return int(found[1]) if found else 0


class Outbox:
    """What a peer will send, in its natural parts.

    :ivar torn: whether a part of it was sent in part.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.torn = False

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, *parts: bytes) -> None:
        """Let these follow."""
        self._parts += [part for part in parts if part]

    def part(self) -> bytes:
        """The next part, or what is left of it."""
        self.torn = False
        return self._parts.pop(0) if self._parts else b""

    def piece(self, rng: random.Random) -> bytes:
        """A piece of the next part."""
        part = self.part()
        size = rng.randrange(1, len(part)) if len(part) > 1 else len(part)
        if part[size:]:
            self.torn = True
            self._parts.insert(0, part[size:])
        return part[:size]

    def rest(self) -> bytes:
        """All of it."""
        parts, self._parts, self.torn = self._parts, [], False
        return b"".join(parts)

    def forget(self) -> None:
        """Send none of it."""
        self.rest()


def _chunks(body: bytes, trailers: bytes = b"") -> list[bytes]:
    size = max(1, len(body) // 3)
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n%b\r\n" % trailers]


@attrs.define(eq=False)
class Asked:
    """One request of a client's.

    :ivar parts: its bytes, in the parts in which they may come.
    :ivar head_ends: how many bytes its client has sent when its head is sent; ``ends``: when all of it is.
    :ivar broken: whether its client broke its body's framing.
    """

    number: int
    method: bytes
    head: bytes
    body: bytes = b""
    framed: list[bytes] = attrs.field(factory=list)
    upgrade: bool = False
    head_ends: int = 0
    ends: int = 0
    broken: bool = False

    @property
    def parts(self) -> list[bytes]:
        """Its bytes, in the parts in which they may come."""
        return [self.head, *self.framed]


def _plain(method: bytes, *fields: bytes, minor: int = 1, upgrade: bool = False) -> Callable[[int], Asked]:
    def ask(number: int) -> Asked:
        lines = (b"%b /%d HTTP/1.%d" % (method, number, minor), b"Host: a", *fields, b"", b"")
        return Asked(number, method, b"\r\n".join(lines), upgrade=upgrade)

    return ask


def _sized(method: bytes, size: int, *fields: bytes) -> Callable[[int], Asked]:
    def ask(number: int) -> Asked:
        asked = _plain(method, b"Content-Length: %d" % size, *fields)(number)
        asked.body = body_of(number, size)
        asked.framed = [asked.body[place : place + 30_000] for place in range(0, size, 30_000)]
        return asked

    return ask


def _chunked(method: bytes, size: int, *fields: bytes, trailers: bytes = b"") -> Callable[[int], Asked]:
    def ask(number: int) -> Asked:
        asked = _plain(method, b"Transfer-Encoding: chunked", *fields)(number)
        asked.body = body_of(number, size)
        asked.framed = _chunks(asked.body, trailers)
        return asked

    return ask


def with_cookie(asked: Asked, cookie: bytes) -> None:
    """Let the request carry it."""
    asked.head = asked.head.replace(b"\r\n\r\n", b"\r\nCookie: %b\r\n\r\n" % cookie)


_EXPECT = b"Expect: 100-continue"

#: What clients ask, by how a trace calls it.
REQUESTS: dict[str, Callable[[int], Asked]] = {
    "GET": _plain(b"GET"),
    "GET, the last": _plain(b"GET", b"Connection: close"),
    "GET of HTTP/1.0": _plain(b"GET", minor=0),
    "GET of HTTP/1.0, kept alive": _plain(b"GET", b"Connection: keep-alive", minor=0),
    "HEAD": _plain(b"HEAD"),
    "POST": _sized(b"POST", 10),
    "PUT": _sized(b"PUT", 10),
    "POST, large": _sized(b"POST", 200_000),
    "PUT, large": _sized(b"PUT", 200_000),
    "PUT after 100": _sized(b"PUT", 10, _EXPECT),
    "POST, chunked": _chunked(b"POST", 15),
    "PUT, chunked": _chunked(b"PUT", 15),
    "PUT, chunked, large": _chunked(b"PUT", 200_000),
    "POST, chunked, after 100": _chunked(b"POST", 15, _EXPECT),
    "PUT, chunked, with trailers": _chunked(b"PUT", 15, b"TE: trailers", b"Connection: TE", trailers=b"X-Sum: 7\r\n"),
    "upgrade": _plain(b"GET", b"Connection: Upgrade", b"Upgrade: websocket", upgrade=True),
}


@attrs.define(eq=False)
class Answer:
    """One answer of a backend's, to the request numbered ``to``.

    :ivar until_close: whether its connection's end ends it.
    :ivar last: whether its backend takes no more requests after it.
    :ivar whole: whether all of it has been sent, the connection's end included where that belongs to it.
    """

    number: int
    to: int
    head: bytes
    body: bytes = b""
    framed: list[bytes] = attrs.field(factory=list)
    until_close: bool = False
    last: bool = False
    whole: bool = False


def _answer(status: bytes, *fields: bytes, size: int = 0, framing: str = "sized", trailers: bytes = b"") -> Callable[..., Answer]:
    def answer(number: int, to: int, method: bytes) -> Answer:
        lines = [b"HTTP/1.1 " + status, b"X-Number: %d" % to, b"X-Answer: %d" % number, *fields]
        body = body_of(number, size)
        framed = [body[place : place + 30_000] for place in range(0, size, 30_000)]
        if framing == "sized":
            lines.append(b"Content-Length: %d" % size)
        elif framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            framed = _chunks(body, trailers)
        head = b"\r\n".join((*lines, b"", b""))
        if method == b"HEAD":
            body, framed = b"", []
        until_close = framing == "close" and method != b"HEAD"
        return Answer(number, to, head, body, framed, until_close, until_close or b"Connection: close" in fields)

    return answer


#: What backends answer, by how a trace calls it; each is made of its number, its request's, and that one's method.
ANSWERS: dict[str, Callable[[int, int, bytes], Answer]] = {
    "200": _answer(b"200 OK", size=20),
    "200, large": _answer(b"200 OK", size=200_000),
    "200, chunked": _answer(b"200 OK", size=20, framing="chunked"),
    "200, chunked, large": _answer(b"200 OK", size=200_000, framing="chunked"),
    "200, chunked, with trailers": _answer(b"200 OK", size=20, framing="chunked", trailers=b"X-Sum: 7\r\n"),
    "200 until its end": _answer(b"200 OK", size=20, framing="close"),
    "200 until its end, large": _answer(b"200 OK", size=200_000, framing="close"),
    "204": _answer(b"204 No Content", framing="none"),
    "503": _answer(b"503 Service Unavailable", size=20),
    "503, large": _answer(b"503 Service Unavailable", size=200_000),
    "503, chunked, with trailers": _answer(b"503 Busy", size=20, framing="chunked", trailers=b"X-Sum: 7\r\n"),
    "503 until its end": _answer(b"503 Service Unavailable", size=20, framing="close"),
    "413, the last": _answer(b"413 Content Too Large", b"Connection: close", size=2),
    "426": _answer(b"426 Upgrade Required", b"Connection: Upgrade", b"Upgrade: websocket"),
}
SWITCHING = _answer(b"101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: websocket", framing="none")
