"""Listening ports on sockets that others may have as well."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.interfaces import IListeningPort
from zope.interface.verify import verifyObject

from lbproxy.admission import ConnectionLimit
from lbproxy.handover import Handover
from lbproxy.ports import PortGroup, accepting, adopt, adopt_all, descriptors, let_go
from lbproxy.proxy.counters import ListenerCounters

from .listening import LOOPBACK, ListeningCase


class PortsCase(ListeningCase):
    """Opens sockets, and ports on them."""

    def sockets(self, count: int = 2) -> list[socket.socket]:
        """Each at a place of its own."""
        opened = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
        for one in opened:
            one.setblocking(False)
            self.addCleanup(one.close)
        return opened

    def group(self, sockets: list[socket.socket], **more: Any) -> PortGroup:
        """A group on duplicates of these."""
        given = [(one.fileno(), one.family) for one in sockets]
        return PortGroup(adopt_all(Handover(self.reactor), given, self.clients), "tcp:0", **more)

    def unix_socket(self) -> socket.socket:
        """One with a file that only its owner may use."""
        one = socket.socket(socket.AF_UNIX)
        self.addCleanup(one.close)
        one.bind(self.path)
        os.chmod(self.path, 0o600)
        one.listen(7)
        one.setblocking(False)
        return one

    def served(self, number: int) -> None:
        """So many clients are served, and no more."""
        self.until(lambda: self.clients.served >= number)
        self.turn()
        self.assertEqual(self.clients.served, number)


class Groups(PortsCase):
    """Several sockets are as one port."""

    def test_it_is_a_port(self) -> None:
        """Where its first one is."""
        sockets = self.sockets()
        group = self.group(sockets)
        verifyObject(IListeningPort, group)
        host: Any = group.getHost()
        self.assertEqual((host.host, host.port), sockets[0].getsockname())
        self.assertEqual((group.fileno(), group.addressFamily), (group.ports[0].fileno(), socket.AF_INET))
        self.assertEqual(group.descriptors(), [(port.fileno(), socket.AF_INET) for port in group.ports])
        self.assertIs(group.socket, group.ports[0].socket)

    def test_it_accepts_when_it_is_told_to(self) -> None:
        """At all of its sockets."""
        sockets = self.sockets()
        group = self.group(sockets)
        for one in sockets:
            self.dial(one.getsockname()[1])
        group.resumeProducing()
        self.turn()
        self.assertEqual(self.clients.served, 0)
        group.startListening()
        self.served(2)

    def test_what_is_only_held_never_accepts(self) -> None:
        """Whoever says so."""
        sockets = self.sockets()
        group = self.group(sockets, held=True)
        group.startListening()
        group.resumeProducing()
        group.doRead()
        self.dial(sockets[0].getsockname()[1])
        self.turn()
        self.assertEqual((self.clients.served, accepting(group)), (0, []))

    def test_it_pauses(self) -> None:
        """And goes on."""
        (one,) = sockets = self.sockets(1)
        group = self.group(sockets)
        group.startListening()
        group.pauseProducing()
        self.dial(one.getsockname()[1])
        self.turn()
        self.assertEqual(self.clients.served, 0)
        group.resumeProducing()
        self.served(1)

    def test_a_burst_is_shared_out(self) -> None:
        """As ports have it that are narrowed by a limit; each may take one at least."""
        group = self.group(self.sockets(3))
        self.assertEqual(group.numberAccepts, 300)
        group.numberAccepts = 31
        self.assertEqual([port.numberAccepts for port in group.ports], [10, 10, 10])
        group.numberAccepts = 1
        self.assertEqual(group.numberAccepts, 3)

    def test_a_limit_of_connections_holds(self) -> None:
        """For all of its sockets together."""
        sockets = self.sockets()
        group = self.group(sockets)
        limit = ConnectionLimit(ListenerCounters(), lambda: [group], self.reactor)
        build = self.clients.buildProtocol

        def gate(address: Any) -> Any:
            limit.opened()
            return build(address)

        self.patch(self.clients, "buildProtocol", gate)
        limit.start(3)
        group.startListening()
        for one in sockets * 3:
            self.dial(one.getsockname()[1])
        self.served(3)
        for _ in range(3):
            limit.closed()
        self.served(6)

    def test_when_it_is_closed_others_go_on(self) -> None:
        """It shuts nothing down, in the next turn."""
        (one,) = sockets = self.sockets(1)
        leaving, staying = self.group(sockets), self.group(sockets)
        leaving.startListening()
        staying.startListening()
        self.close(leaving)
        self.assertEqual((leaving.connected, staying.connected), (False, True))
        self.dial(one.getsockname()[1])
        self.served(1)
        self.assertEqual(self.clients.uses, 1)

    def test_what_is_only_held_is_closed_at_once(self) -> None:
        """Whoever accepts is to have the last one."""
        sockets = self.sockets()
        group = self.group(sockets, held=True)
        self.successResultOf(group.stopListening())
        self.assertEqual((group.connected, self.clients.uses), (False, 0))

    def test_a_file_of_a_held_unix_socket(self) -> None:
        """Twisted has made it, and takes it away with its lock; the socket is not shut down."""
        group = PortGroup([self.reactor.listenUNIX(self.path, self.clients, wantPID=True)], "unix:", held=True)
        worker = adopt(self.reactor, *group.descriptors()[0], self.clients)
        self.connect_unix(self.path)
        self.successResultOf(group.stopListening())
        self.served(1)
        self.assertFalse(os.path.exists(self.path) or os.path.lexists(self.path + ".lock"))
        self.assertTrue(worker.connected)

    def test_one_that_cannot_be_opened(self) -> None:
        """Then none is."""
        (one,) = self.sockets(1)
        given = [(one.fileno(), one.family), (one.fileno(), socket.AF_APPLETALK)]
        self.assertRaises(Exception, adopt_all, Handover(self.reactor), given, self.clients)
        self.assertEqual(self.clients.uses, 0)


class Adopting(PortsCase):
    """A Unix socket of somebody else's stays as it is."""

    def test_its_file_and_its_queue(self) -> None:
        """Rights, and the file after the end; another one who has it goes on."""
        given = self.unix_socket()
        first, second = (adopt(self.reactor, given.fileno(), given.family, self.clients) for _ in range(2))
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertEqual(first.getHost().name, os.fsencode(self.path))
        self.close(first)
        self.connect_unix(self.path)
        self.served(1)
        self.close(second)
        self.assertTrue(os.path.exists(self.path))

    def test_it_is_taken_over(self) -> None:
        """Its lock names this process from then on, and both go at the end."""
        lock = self.path + ".lock"
        os.symlink("1", lock)
        given = self.unix_socket()
        port = adopt(self.reactor, given.fileno(), given.family, self.clients)
        port.take_over()
        self.assertEqual(os.readlink(lock), str(os.getpid()))
        self.close(port)
        self.assertFalse(os.path.exists(self.path) or os.path.lexists(lock))

    def test_one_that_had_no_lock(self) -> None:
        """Gets none, and another one's is left alone."""
        given = self.unix_socket()
        port = adopt(self.reactor, given.fileno(), given.family, self.clients)
        port.take_over()
        self.assertFalse(os.path.lexists(self.path + ".lock"))
        os.symlink("1", self.path + ".lock")
        self.close(port)
        self.assertEqual(os.readlink(self.path + ".lock"), "1")
        self.assertFalse(os.path.exists(self.path))

    def test_one_without_a_file(self) -> None:
        """There is nothing to be removed."""
        with socket.socket(socket.AF_UNIX) as given:
            given.bind(b"\0lbproxy-test-%d" % os.getpid())
            given.listen()
            port = adopt(self.reactor, given.fileno(), given.family, self.clients)
        port.take_over()
        self.close(port)
        self.assertFalse(port.owns)


class LettingGo(PortsCase):
    """What another process goes on with is closed here, and nothing else."""

    def test_a_port_of_twisteds(self) -> None:
        """TCP: who has connected waits for the other one."""
        port = self.reactor.listenTCP(0, self.clients, interface=LOOPBACK)
        with socket.fromfd(port.fileno(), *_STREAM) as kept:
            self.connect(port)
            let_go(port)
            self.turn()
            self.assertEqual(self.clients.served, 0)
            self.reactor.adoptStreamPort(kept.fileno(), kept.family, self.clients)
        self.served(1)

    def test_a_unix_socket_of_twisteds(self) -> None:
        """Its file stays, and so does the lock; nothing is done about them later either."""
        port = self.reactor.listenUNIX(self.path, self.clients, wantPID=True)
        ((fd, family),) = descriptors(port)
        successor = adopt(self.reactor, fd, family, self.clients)
        let_go(port)
        self.assertIsNone(port.stopListening())
        self.turn()
        self.assertTrue(os.path.lexists(self.path + ".lock"))
        self.connect_unix(self.path)
        self.served(1)
        successor.take_over()

    def test_a_group(self) -> None:
        """All of it, and the factory knows."""
        group = self.group(self.sockets())
        let_go(group)
        self.assertEqual((group.connected, self.clients.uses), (False, 0))


_STREAM = socket.AF_INET, socket.SOCK_STREAM
