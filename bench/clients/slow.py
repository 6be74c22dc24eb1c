"""Slow clients: half drip a request's head byte by byte, half ask for a large response and do not read it.

One process for all. Who is cut off connects again. Prints each second, as a line of JSON, how many are
connected and how many were cut so far.
"""

from __future__ import annotations

import heapq
import json
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from bench.backends import LARGE_BODY_PATH
from bench.clients.bounds import client_parser, end_in_time
from bench.connecting import HOST
from bench.processes import raise_file_limit

# Seconds: between two bytes of a head; within which all connect at first; until one that was cut connects again.
BETWEEN_BYTES, RAMP, BACK_AFTER, BETWEEN_LINES = 1.0, 2.0, 0.1, 1.0

DRIPPED = b"GET / HTTP/1.1\r\nHost: bench.example\r\nX-Slow: " + b"x" * 8000
UNREAD = b"GET " + LARGE_BODY_PATH.encode() + b" HTTP/1.1\r\nHost: bench.example\r\n\r\n"

# What a client that does not read lets the kernel take for it, at most: Linux makes a few KiB of it.
RECEIVE_BUFFER = 4096

# The largest segment it takes, as over Ethernet. Loopback's own of 64 KiB makes the kernel begin with a send buffer of
# 2.5 MiB on the other side: it would take the whole response, and the balancer would not notice who does not read.
SEGMENT = 1448

# Behind the normal client on a core that both share, which would wait for these otherwise.
NICE = 10


class SlowClient:
    """One of them.

    :ivar drips: whether it sends slowly; otherwise it does not read.
    :ivar connection: its socket, from connecting on.
    :ivar connected: whether the connection stands.
    :ivar sent: bytes of the head.
    :ivar number: of what it does next, see :meth:`SlowClients.later`.
    """

    __slots__ = ("connected", "connection", "drips", "number", "sent")

    def __init__(self, drips: bool, number: int) -> None:
        """Start without a connection."""
        self.drips, self.number = drips, number
        self.connection: socket.socket | None = None
        self.connected = False
        self.sent = 0

    def close(self) -> None:
        """End the connection."""
        if self.connection is not None:
            self.connection.close()
        self.connection, self.connected, self.sent = None, False, 0


class SlowClients:
    """All of them: what is due when, and who is connected.

    :ivar open: how many are connected.
    :ivar cut: how many connections the server has ended or refused so far.
    """

    def __init__(self, port: int, count: int) -> None:
        """Spread the first connections evenly over :data:`RAMP`, of both kinds in turn."""
        self.port, self.open, self.cut = port, 0, 0
        self.poller = select.epoll()
        self.by_file: dict[int, SlowClient] = {}
        now = time.monotonic()
        # A heap of when, number (later ones come after, where times are equal) and who.
        self.due = [
            (now + RAMP * number / count, number, SlowClient(number % 2 == 0, number)) for number in range(count)
        ]
        self.number = count

    def run(self, seconds: float, tell: Callable[[str], None]) -> None:
        """Be slow for so long, then close every connection; ``tell`` gets each line."""
        end = time.monotonic() + seconds
        line_due = 0.0
        try:
            while (now := time.monotonic()) < end:
                if now >= line_due:
                    tell(self.line())
                    line_due = now + BETWEEN_LINES
                self.act(now)
                wake = min(end, line_due, self.due[0][0] if self.due else end)
                for file, events in self.poller.poll(max(wake - time.monotonic(), 0)):
                    self.happened(file, events)
            tell(self.line())
        finally:
            for client in [*self.by_file.values()]:
                client.close()
            self.poller.close()

    def line(self) -> str:
        """Return the counts as JSON."""
        return json.dumps({"open": self.open, "cut": self.cut})

    def act(self, now: float) -> None:
        """Do all that is due: connect, or send a byte."""
        while self.due and self.due[0][0] <= now:
            _, number, client = heapq.heappop(self.due)
            if number != client.number:
                continue
            if client.connection is None:
                self.connect(client)
            else:
                self.speak(client)

    def later(self, seconds: float, client: SlowClient) -> None:
        """Have a client act after a while, and not when it was to before."""
        self.number += 1
        client.number = self.number
        heapq.heappush(self.due, (time.monotonic() + seconds, self.number, client))

    def connect(self, client: SlowClient) -> None:
        """Have a client begin to connect."""
        client.connection = connection = socket.socket()
        connection.setblocking(False)
        if not client.drips:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        self.by_file[connection.fileno()] = client
        self.poller.register(connection, select.EPOLLOUT)
        # A refusal comes from the poller too, and is counted there.
        with suppress(OSError):
            connection.connect((HOST, self.port))

    def speak(self, client: SlowClient) -> None:
        """Have a client send the next byte of its head, or the request whose answer it will not read."""
        assert client.connection is not None
        with suppress(OSError):
            if client.drips:
                client.sent += client.connection.send(DRIPPED[client.sent : client.sent + 1])
            else:
                client.connection.send(UNREAD)
        if client.drips:
            self.later(BETWEEN_BYTES, client)

    def happened(self, file: int, events: int) -> None:
        """Take note that a connection stands, or that it was ended: whoever drips is owed no answer but that."""
        client = self.by_file[file]
        if client.connected or events != select.EPOLLOUT:
            self.end(file, client)
            return
        client.connected = True
        self.open += 1
        self.poller.modify(file, select.EPOLLRDHUP | (select.EPOLLIN if client.drips else 0))
        self.speak(client)

    def end(self, file: int, client: SlowClient) -> None:
        """Count a connection that was cut; its client comes back."""
        self.open -= client.connected
        self.cut += 1
        del self.by_file[file]
        client.close()
        self.later(BACK_AFTER, client)


def main() -> None:
    """Do what the command line asks."""
    parser = client_parser()
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    end_in_time(options.seconds)
    raise_file_limit()
    os.nice(NICE)
    SlowClients(options.port, options.connections).run(options.seconds, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
