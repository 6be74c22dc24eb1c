"""What is fuzzed: each target takes any bytes, makes a case of them, and raises when a promise is not kept.

The first bytes of an input say how the others come; with noughts they come in one piece, from one client or backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

from .requests import BACKENDS, check_requests
from .responses import ENDINGS, Asked, check_responses
from .routes import SEEDS, check_route
from .seeds import BROKEN, REFUSED, REQUESTS, RESPONSES

__all__ = ["TARGETS", "Target", "cut"]

_METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS")


def cut(data: bytes, size: int) -> list[bytes]:
    """The data in pieces of this size; 0: in one."""
    size = size or len(data) or 1
    return [data[place : place + size] for place in range(0, len(data), size)]


def server(data: bytes) -> None:
    """A client sends these bytes. First byte: the size of the pieces that they come in, and how backends are."""
    if data:
        check_requests(cut(data[1:], data[0] & 0x3F), BACKENDS[(data[0] >> 6) % 3])


def client(data: bytes) -> None:
    """A backend answers with these bytes. First byte: the size of the pieces; second: what is asked, and how it ends."""
    if len(data) < 2:
        return
    size, how = data[:2]
    asked = Asked(_METHODS[how & 3], cut(data[2:], size), ENDINGS[(how >> 2) % 3])
    check_responses([asked] * (1 + (how >> 4) % 4), 1 - (how >> 6) % 2, how < 0x80)


def routes(data: bytes) -> None:
    """A client asks for something. First byte: the routes; then the target, the host and further fields, a line each."""
    if data:
        target, host, fields = (*data[1:].split(b"\n", 2), b"", b"")[:3]
        check_route(data[0], target, host, fields)


class Target:
    """A target.

    :ivar name: as it is called on the command line.
    :ivar run: takes one input.
    :ivar seeds: inputs to begin with.
    """

    def __init__(self, name: str, run: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
        self.name = name
        self.run = run
        self.seeds = list(seeds)


_requests = [*REQUESTS, *BROKEN, *(data for _, data, _ in REFUSED if len(data) < 2000)]

#: By name.
TARGETS = {
    target.name: target
    for target in (
        Target("server", server, [size + data for size, data in product((b"\0", b"\x07", b"\x60", b"\xa0"), _requests)]),
        Target("client", client, [how + data for how, data in product((b"\0\0", b"\x05\x14", b"\0\x61", b"\0\x90"), RESPONSES)]),
        Target("routes", routes, SEEDS),
    )
}
