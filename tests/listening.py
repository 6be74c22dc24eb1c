"""What the tests of listening sockets share."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from .support import ReactorCase

LOOPBACK = "127.0.0.1"


class Clients(Factory):
    """Counts who is served."""

    noisy = False
    protocol = Protocol

    def __init__(self) -> None:
        self.served = 0
        self.uses = 0

    def doStart(self) -> None:
        self.uses += 1

    def doStop(self) -> None:
        self.uses -= 1

    def buildProtocol(self, addr: Any) -> Any:
        self.served += 1
        return super().buildProtocol(addr)


def open_files() -> set[str]:
    """The descriptors of this process, each with what it is of."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:  # that of the folder itself
            continue
    return found


class ListeningCase(ReactorCase):
    """Has a reactor, and listens on real sockets, none of which may be left open.

    :ivar clients: a factory.
    """

    def setUp(self) -> None:
        self.addCleanup(self._nothing_is_left, open_files())
        super().setUp()
        self.clients = Clients()
        self.path = os.path.relpath(self.mktemp())  # the name of a Unix socket is short

    def _nothing_is_left(self, before: set[str]) -> None:
        self.assertEqual(open_files() - before - self._reserved(), set())

    @staticmethod
    def _reserved() -> set[str]:
        """Twisted keeps a descriptor that it can give up."""
        return {one for one in open_files() if one.endswith(" /dev/null")}

    def connect(self, port: Any) -> socket.socket:
        """A client."""
        return self.dial(port.getHost().port)

    def connect_unix(self, path: str | Path) -> socket.socket:
        """A client of a Unix socket."""
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(str(path))
        return client

    def opened(self, endpoint: Any) -> Any:
        """What listens, until the test ends."""
        port: Any = self.successResultOf(endpoint.listen(self.clients))
        if getattr(port, "held", False):  # what accepts is known to the reactor, which closes it
            self.addCleanup(port.stopListening)
        return port

    def close(self, port: Any) -> None:
        """Close it, and wait until it is closed."""
        closed: list[Any] = []
        port.stopListening().addCallback(closed.append)
        self.until(lambda: bool(closed))
