"""A program listens at the sockets of the one that it takes the place of."""

from __future__ import annotations

import os
import socket
from typing import Any

from lbproxy.listener import Listener, check_endpoints, descriptors_of
from lbproxy.role import Role
from lbproxy.workers.inherited import Inherited
from lbproxy.workers.sockets import held_endpoint

from ..listening import LOOPBACK, ListeningCase, open_files

PLACE = f"tcp:0:interface={LOOPBACK}:backlog=1024"


class InheritedCase(ListeningCase):
    """Has listeners, whose sockets a successor gets."""

    def listener(self, description: str, count: int = 0) -> Listener:
        """One that listens; with sockets for so many workers."""
        class Holder(Role):
            def endpoint(self, reactor: Any, description: str) -> Any:
                return held_endpoint(reactor, description, count)

        (endpoint,) = check_endpoints(self.reactor, [description], role=Holder() if count else None)
        listener = Listener(endpoint, description, self.clients, self.reactor)
        listener.startService()
        self.addCleanup(self.turn)
        self.addCleanup(listener.stopService)
        return listener

    def inherited(self, *listeners: Listener) -> Inherited:
        """What the successor gets of these: as if it were another process, with descriptors of its own."""
        sockets: dict[str, Any] = {}
        for listener in listeners:
            copies = [(os.dup(fd), family) for fd, family in descriptors_of(listener)]
            sockets.setdefault(listener.description, []).extend(copies)
        return Inherited(sockets)

    def leave(self, listener: Listener) -> None:
        """The predecessor goes."""
        listener.shared = True
        listener.stopService()
        self.turn()


class Using(InheritedCase):
    """What was inherited is used, all of it, and closed when it is not."""

    def test_all_sockets_are_listened_at(self) -> None:
        """Also by a single process; who has connected before is served."""
        before = self.listener("haproxy:" + PLACE, 3)
        for _ in range(20):
            self.dial(before.address.port)  # type: ignore[union-attr]
        inherited = self.inherited(before)
        after = self.opened(inherited.endpoint(self.reactor, PLACE))
        self.assertEqual((len(after.ports), after.getHost()), (3, before.address))
        after.startListening()
        self.leave(before)
        self.until(lambda: self.clients.served == 20)

    def test_they_are_held_for_workers(self) -> None:
        """None is added: whoever had come by it would be lost if this program were given up."""
        before = self.listener(PLACE)
        group = self.opened(self.inherited(before).endpoint(self.reactor, PLACE, hold=True, count=4))
        self.assertEqual((group.held, len(group.ports)), (True, 1))
        self.assertEqual(os.fstat(group.fileno()).st_ino, os.fstat(descriptors_of(before)[0][0]).st_ino)

    def test_what_was_not_inherited(self) -> None:
        """Is opened as ever."""
        inherited = Inherited({})
        port = self.opened(inherited.endpoint(self.reactor, PLACE))
        self.assertFalse(hasattr(port, "ports"))
        self.assertEqual(len(self.opened(inherited.endpoint(self.reactor, PLACE, hold=True, count=2)).ports), 2)

    def test_listeners_that_are_described_alike(self) -> None:
        """Each gets the sockets of one port, and who comes later one of its own."""
        first, second = self.listener(PLACE, 2), self.listener(PLACE, 2)
        inherited = self.inherited(first, second)
        ports = [self.opened(inherited.endpoint(self.reactor, PLACE)) for _ in range(3)]
        self.assertEqual([one.getHost() for one in ports[:2]], [first.address, second.address])
        self.assertNotIn(ports[2].getHost(), (first.address, second.address))

    def test_what_is_not_used_is_closed(self) -> None:
        """When it is clear that it will not be."""
        before = self.listener(PLACE, 2)
        files = open_files()
        self.inherited(before).close_unused()
        self.assertEqual(open_files(), files)

    def test_what_systemd_had_given(self) -> None:
        """Is not asked for again, neither now nor at a reload."""
        with socket.create_server((LOOPBACK, 0)) as given:
            inherited = Inherited({"systemd:domain=INET:index=5": [(os.dup(given.fileno()), socket.AF_INET)]})
            inherited.endpoint(self.reactor, "systemd:domain=INET:index=5")
            port = self.opened(inherited.endpoint(self.reactor, "systemd:domain=INET:index=5"))
            self.assertEqual(port.getHost().port, given.getsockname()[1])
        later = inherited.endpoint(self.reactor, "systemd:domain=INET:index=5")
        self.assertIsNotNone(self.failureResultOf(later.listen(self.clients)))

    def test_what_cannot_be_read(self) -> None:
        """Is told when the endpoint is made."""
        before = self.listener(PLACE)
        inherited = self.inherited(before)
        self.assertRaises(ValueError, inherited.endpoint, self.reactor, "nonsense:1")
        inherited.close_unused()


class TakingOver(InheritedCase):
    """A Unix socket's file, and its lock, are the successor's from then on."""

    def names(self) -> tuple[bool, str]:
        """Whether the file is there, and whom the lock names."""
        lock = self.path + ".lock"
        return os.path.exists(self.path), os.readlink(lock) if os.path.lexists(lock) else ""

    def test_it_goes_well(self) -> None:
        """The old one removes nothing, the new one both, and who connects meanwhile is served."""
        for hold in (False, True):
            before = self.listener(f"unix:{self.path}:mode=600")
            os.replace(_link("1", self.path), self.path + ".lock")  # as if the old program were another process
            inherited = self.inherited(before)
            after = self.opened(inherited.endpoint(self.reactor, f"unix:{self.path}:mode=600:backlog=1024", hold))
            self.assertEqual(self.names(), (True, "1"))
            self.leave(before)
            self.assertEqual(self.names(), (True, "1"))
            inherited.take_over()
            self.assertEqual(self.names(), (True, str(os.getpid())))
            self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
            self.connect_unix(self.path)
            self.clients.served = 0
            after.startListening()
            self.turn()
            self.assertEqual(self.clients.served, 0 if hold else 1)
            after.stopListening()
            self.turn()
            self.assertEqual(self.names(), (False, ""))

    def test_the_new_one_fails(self) -> None:
        """It removes nothing, and the old one goes on."""
        before = self.listener(f"unix:{self.path}")
        after = self.opened(self.inherited(before).endpoint(self.reactor, f"unix:{self.path}"))
        after.startListening()
        self.close(after)
        self.assertEqual(self.names(), (True, str(os.getpid())))
        self.connect_unix(self.path)
        self.until(lambda: self.clients.served == 1)

    def test_one_that_comes_later(self) -> None:
        """Is this program's own as well, once it has taken over."""
        before = self.listener(f"unix:{self.path}")
        inherited = self.inherited(before)
        inherited.take_over()
        after = self.opened(inherited.endpoint(self.reactor, f"unix:{self.path}"))
        self.leave(before)
        self.close(after)
        self.assertEqual(self.names(), (False, ""))

    def test_one_of_systemds(self) -> None:
        """Stays systemd's."""
        with socket.socket(socket.AF_UNIX) as given:
            given.bind(self.path)
            given.listen()
            inherited = Inherited({"systemd:domain=UNIX:name=web": [(os.dup(given.fileno()), socket.AF_UNIX)]})
        after = self.opened(inherited.endpoint(self.reactor, "systemd:domain=UNIX:name=web"))
        inherited.take_over()
        self.close(after)
        self.assertEqual(self.names(), (True, ""))


def _link(says: str, path: str) -> str:
    os.symlink(says, path + ".new")
    return path + ".new"
