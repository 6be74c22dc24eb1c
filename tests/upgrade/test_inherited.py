"""Sockets that were handed on are listened at, by whoever is described as the one who did."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.unix import Port as UnixPort
from twisted.trial.unittest import TestCase

from lbproxy.role import Role
from lbproxy.upgrade.inherited import Inherited
from lbproxy.workers.sockets import PortGroup, open_sockets


class InheritedTests(TestCase):
    """Real sockets, which nobody connects to."""

    def listening(self, count: int = 1) -> tuple[list[tuple[int, int]], int]:
        """The descriptors of sockets of one port, as a new program has them, and the port."""
        opened = open_sockets("127.0.0.1", 0, 50, count)
        port = int(opened[0].getsockname()[1])
        return [(one.detach(), int(socket.AF_INET)) for one in opened], port

    def inherit(self, sockets: dict[str, Any]) -> Inherited:
        """These."""
        inherited = Inherited(sockets)
        self.addCleanup(inherited.settle)
        return inherited

    def listen(self, inherited: Inherited, description: str) -> Any:
        """What listens then."""
        role = Role()
        role.inherited = inherited
        port: Any = self.successResultOf(role.endpoint(reactor, description).listen(Factory.forProtocol(Protocol)))
        self.addCleanup(port.stopListening)
        return port

    def test_one_socket(self) -> None:
        """Is listened at where it is, whatever the port was that was described; its first descriptor is closed."""
        found, number = self.listening()
        port = self.listen(self.inherit({"tcp:0:backlog=7": found}), "tcp:0:backlog=7")
        self.assertEqual(port.getHost().port, number)
        self.assertRaises(OSError, os.fstat, found[0][0])

    def test_several_of_one_place(self) -> None:
        """Those of several workers go to one listener, together."""
        found, number = self.listening(3)
        port = self.listen(self.inherit({"tcp:80": found}), "tcp:80")
        self.assertIsInstance(port, PortGroup)
        self.assertEqual({one.getHost().port for one in port.ports}, {number})
        self.assertEqual(len(port.ports), 3)

    def test_several_places_of_one_description(self) -> None:
        """Each listener has its own port again, and one that is new binds."""
        (one, first), (other, second) = self.listening(2), self.listening()
        inherited = self.inherit({"tcp:0": [*one, *other]})
        numbers = [self.listen(inherited, "tcp:0").getHost().port for _ in range(3)]
        self.assertEqual(numbers[:2], [first, second])
        self.assertNotIn(numbers[2], numbers[:2])

    def test_what_systemd_has_opened(self) -> None:
        """Can be described after systemd's variables have gone; but not listened at twice."""
        found, number = self.listening()
        inherited = self.inherit({"systemd:domain=INET:index=0": found})
        self.assertEqual(self.listen(inherited, "systemd:domain=INET:index=0").getHost().port, number)
        again = inherited.endpoint(reactor, "systemd:domain=INET:index=0").listen(Factory())
        self.assertIn("taken", self.failureResultOf(again).getErrorMessage())

    def test_what_nobody_wants(self) -> None:
        """Is closed when the old program has left; what is listened at is not."""
        (wanted, _), (unwanted, _) = self.listening(), self.listening(2)
        inherited = self.inherit({"tcp:1": wanted, "tcp:2": unwanted})
        port = self.listen(inherited, "tcp:1")
        inherited.settle()
        for fd, _ in unwanted:
            self.assertRaises(OSError, os.fstat, fd)
        self.assertTrue(port.connected)

    def test_a_unix_socket(self) -> None:
        """Keeps its rights all the time; its lock is the old program's until that has left."""
        path = Path(self.mktemp())
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(path))
            path.chmod(0o600)
            opened.listen()
            opened.setblocking(False)
            fd = os.dup(opened.fileno())
        lock = Path(f"{path}.lock")
        lock.symlink_to("1")
        place = f"unix:{path}:mode=600"
        inherited = self.inherit({place: [(fd, int(socket.AF_UNIX))]})
        port = self.listen(inherited, place)
        self.assertIsInstance(port, UnixPort)
        self.assertEqual((path.stat().st_mode & 0o777, os.readlink(lock)), (0o600, "1"))
        inherited.settle()
        self.assertEqual(os.readlink(lock), str(os.getpid()))
