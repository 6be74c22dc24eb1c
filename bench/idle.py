"""Clients that ask once and then keep their connection open without a word."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.backends import SMALL_BODY
from bench.connecting import Secure, connect
from bench.processes import Invalid

REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"

# Seconds for one answer.
LONGEST_ANSWER = 10.0

# Memory has settled when this many looks in a row, so far apart, differ by no more than so much.
LOOKS, BETWEEN_LOOKS, SETTLED_KIB, LONGEST_SETTLING = 4, 0.25, 32, 10.0


@contextmanager
def idle_connections(port: int, count: int, secure: Secure | None = None) -> Iterator[list[socket.socket]]:
    """Hold ``count`` connections open for a ``with`` block, each after one answered request."""
    with ExitStack() as stack:
        sockets = []
        for number in range(count):
            try:
                connection = stack.enter_context(connect(port, LONGEST_ANSWER, secure))
                sockets.append(connection)
                ask(connection)
            except OSError as error:
                raise Invalid(f"idle connection {number + 1} of {count}: {error}") from None
        yield sockets


def ask(connection: socket.socket, request: bytes = REQUEST) -> bytes:
    """Send one small request, read its answer whole and return it; raise OSError when it does not come."""
    connection.sendall(request)
    answer = b""
    while not answer.endswith(SMALL_BODY):
        received = connection.recv(65536)
        if not received:
            raise ConnectionError(f"closed by the balancer after {len(answer)} bytes of an answer")
        answer += received
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"answered with {answer[:40]!r}")
    return answer


def check_still_open(sockets: Sequence[socket.socket], every: int = 50) -> None:
    """Ask again on every so many-th connection: one that the balancer had closed would cost no memory."""
    for number, connection in list(enumerate(sockets))[::every]:
        try:
            ask(connection)
        except OSError as error:
            raise Invalid(f"idle connection {number + 1} of {len(sockets)} was not kept: {error}") from None


def settled(look: Callable[[], int]) -> int:
    """Return what ``look`` shows (KiB) once it has come to rest, or the last it showed when it never does."""
    seen = [look()]
    deadline = time.monotonic() + LONGEST_SETTLING
    while time.monotonic() < deadline:
        time.sleep(BETWEEN_LOOKS)
        seen = [*seen[-(LOOKS - 1) :], look()]
        if len(seen) == LOOKS and max(seen) - min(seen) <= SETTLED_KIB:
            break
    return seen[-1]
