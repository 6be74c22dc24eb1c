"""Moves bytes through tunnels, in one direction, for a given time; prints how many and how long as JSON.

As cheap as Python can: the kernel sends from a file and throws away what is received, so that the balancer
is what holds up the traffic.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import IO

from bench.clients.bounds import client_parser, end_in_time
from bench.handshake import NotSwitched, open_tunnel

CHUNK = 1024 * 1024
DOWN, UP = "/down", "/up"

# Seconds after which a blocked call looks at the clock.
LOOK_UP = 0.2


def look_up_often(connection: socket.socket) -> None:
    """Let blocking calls return after :data:`LOOK_UP` by the kernel's own time-out.

    Python's would make the socket non-blocking, and each call two.
    """
    wait = struct.pack("ll", 0, int(LOOK_UP * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, wait)


def receive(connection: socket.socket, end: float) -> Iterator[int]:
    """Receive until the clock says ``end`` or the other side has ended; yield how many bytes came each time."""
    buffer = bytearray(CHUNK)
    while time.monotonic() < end:
        try:
            # With MSG_TRUNC Linux counts the bytes of a TCP stream without copying them.
            received = connection.recv_into(buffer, CHUNK, socket.MSG_WAITALL | socket.MSG_TRUNC)
        except BlockingIOError:
            continue
        if not received:
            return
        yield received


def send(connection: socket.socket, end: float) -> Iterator[int]:
    """Send until the clock says ``end``; yield how many bytes went into the socket each time."""
    with payload() as source:
        while time.monotonic() < end:
            try:
                yield os.sendfile(connection.fileno(), source.fileno(), 0, CHUNK)
            except BlockingIOError:
                continue


def move(connection: socket.socket, path: str, end: float) -> int:
    """Use one tunnel until the clock says ``end``; return how many bytes it moved."""
    moved = sum((receive if path == DOWN else send)(connection, end))
    if time.monotonic() < end:
        raise ConnectionError(f"it was ended after {moved} bytes")
    return moved


def payload() -> IO[bytes]:
    """Open a file in memory that holds one chunk."""
    source = os.fdopen(os.memfd_create("payload"), "w+b")
    source.write(b"x" * CHUNK)
    source.flush()
    return source


def move_all(port: int, path: str, tunnels: int, seconds: float) -> dict[str, float]:
    """Open the tunnels and use them all at once; return ``bytes`` and ``seconds``."""
    with ExitStack() as stack:
        connections = [stack.enter_context(open_tunnel(port, path)) for _ in range(tunnels)]
        for connection in connections:
            look_up_often(connection)
        started = time.monotonic()
        with ThreadPoolExecutor(tunnels) as pool:
            moved = sum(pool.map(lambda connection: move(connection, path, started + seconds), connections))
        return {"bytes": float(moved), "seconds": time.monotonic() - started}


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = client_parser()
    parser.add_argument("--path", choices=(DOWN, UP), required=True)
    parser.add_argument("--tunnels", type=int, required=True)
    options = parser.parse_args()
    end_in_time(options.seconds)
    try:
        print(json.dumps(move_all(options.port, options.path, options.tunnels, options.seconds)))
    except NotSwitched as answer:
        print(f"did not answer 101 but {answer}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"broke a tunnel: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
