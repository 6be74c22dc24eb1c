"""Sockets that a supervisor holds, and at which its workers accept."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from typing import Any
from unittest.mock import patch

from hypothesis.strategies import integers
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.plugins.twisted_core import systemdEndpointParser
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ListenError
from lbproxy.handover import Handover
from lbproxy.ports import PortGroup
from lbproxy.workers.given import Given, Waiting, given_endpoint
from lbproxy.workers.sockets import Holding, give, held_endpoint, open_sockets, share

from ..integration.certificates import certificate, write
from ..listening import LOOPBACK, ListeningCase, open_files
from ..support import given as examples_of

# Listens with the option that lets others listen too, and says where.
_OTHER = """
import socket, sys
one = socket.socket()
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
one.bind(("127.0.0.1", 0))
one.listen()
print(one.getsockname()[1], flush=True)
sys.stdin.read()
"""


class Sharing(SynchronousTestCase):
    """Who gets which sockets."""

    def test_as_many_as_workers(self) -> None:
        """One each."""
        self.assertEqual([share("ab", number, 2) for number in range(2)], [["a"], ["b"]])

    def test_more_than_workers(self) -> None:
        """All are somebody's."""
        self.assertEqual([share("abcde", number, 2) for number in range(2)], [["a", "c", "e"], ["b", "d"]])

    def test_fewer_than_workers(self) -> None:
        """Everybody has one."""
        self.assertEqual([share("ab", number, 5) for number in range(5)], [["a"], ["b"], ["a"], ["b"], ["a"]])

    @examples_of(integers(1, 9), integers(1, 9))
    def test_all_sockets_are_somebodys(self, sockets: int, workers: int) -> None:
        """And everybody has one; nobody has to share where there are enough."""
        shares = [share(range(sockets), number, workers) for number in range(workers)]
        taken = [one for part in shares for one in part]
        self.assertEqual((set(taken), all(shares)), (set(range(sockets)), True))
        if sockets >= workers:
            self.assertEqual(len(taken), sockets)


class Opening(ListeningCase):
    """What is opened at a TCP place."""

    def sockets(self, *arguments: Any) -> list[socket.socket]:
        opened = open_sockets(*arguments)
        for one in opened:
            self.addCleanup(one.close)
        return opened

    def test_they_are_all_at_one_place(self) -> None:
        """Also where the system chooses the port; none blocks, and none is left to other programs."""
        for interface, family in ((LOOPBACK, socket.AF_INET), ("::1", socket.AF_INET6), ("", socket.AF_INET)):
            opened = self.sockets(interface, 0, 50, 3)
            self.assertEqual(len(opened), 3)
            self.assertEqual(len({one.getsockname() for one in opened}), 1)
            self.assertEqual({(one.family, one.getblocking(), one.get_inheritable()) for one in opened}, {(family, False, False)})

    def test_nobody_else_may_be_there(self) -> None:
        """Not even one who would share."""
        other = subprocess.Popen([sys.executable, "-c", _OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with other:
            assert other.stdout is not None
            port = int(other.stdout.readline())
            self.assertRaises(OSError, open_sockets, LOOPBACK, port, 50, 2)
            self.assertRaises(OSError, open_sockets, LOOPBACK, port, 50, 1)

    def test_nor_another_one_of_the_same_kind(self) -> None:
        """Once one has several sockets, the next one gets none; what it had opened is closed (the case sees to it)."""
        port = self.sockets(LOOPBACK, 0, 50, 2)[0].getsockname()[1]
        self.assertRaises(OSError, open_sockets, LOOPBACK, port, 50, 2)

    def test_where_there_is_no_such_option(self) -> None:
        """One socket is for all."""
        with patch.object(socket, "SO_REUSEPORT", 9999):  # which the system does not know
            self.assertEqual(len(self.sockets(LOOPBACK, 0, 50, 3)), 1)
        option = socket.SO_REUSEPORT
        del socket.SO_REUSEPORT
        try:
            self.assertEqual(len(self.sockets(LOOPBACK, 0, 50, 3)), 1)
        finally:
            setattr(socket, "SO_REUSEPORT", option)  # noqa: B010 - it is final

    def test_the_backlog(self) -> None:
        """So many wait at each."""
        (one,) = self.sockets(LOOPBACK, 0, 3, 1)
        clients = []
        for _ in range(8):
            client = socket.socket()
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(one.getsockname())
            clients.append(client)
        _, connected, _ = select.select([], clients, [], 0.2)
        self.assertEqual(len(connected), 4)  # Linux takes one more than it is told

    def test_what_cannot_be(self) -> None:
        """Is an error, and leaves nothing open."""
        self.assertRaises(OSError, open_sockets, "::zz", 0, 50, 2)
        self.assertRaises(OSError, open_sockets, "192.0.2.1", 0, 50, 2)
        self.assertRaises(OverflowError, open_sockets, LOOPBACK, 70000, 50, 2)

    def test_how_connections_spread(self) -> None:
        """Linux takes a socket by a hash of the connection's addresses and ports, with equal probability for each: of 200
        connections to two sockets each gets 100, give or take 7 (the standard deviation of 200 tosses of a coin). Fewer than 50
        are seven times that off: no run will ever see it."""
        opened = self.sockets(LOOPBACK, 0, 256, 2)
        for _ in range(200):
            self.dial(opened[0].getsockname()[1])
        counts = [_waiting(one) for one in opened]
        self.assertEqual(sum(counts), 200)
        self.assertGreater(min(counts), 50)


def _waiting(listening: socket.socket) -> int:
    """Accept all that wait, and count them."""
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


class Held(ListeningCase):
    """The supervisor's side of every kind of endpoint."""

    def held(self, description: str, count: int = 2) -> PortGroup:
        group = self.opened(held_endpoint(self.reactor, description, count))
        self.assertIsInstance(group, PortGroup)
        self.assertTrue(group.held)
        self.assertEqual(group.description, description)
        return group  # type: ignore[no-any-return]

    def test_tcp(self) -> None:
        """A socket for each worker; who connects waits for one."""
        for description, count in (
            ("tcp:0:interface=127.0.0.1", 2),
            (r"tcp:0:interface=\:\:1", 3),
            (r"tcp6:port=0:interface=\:\:1", 1),
        ):
            group = self.held(description, count)
            self.assertEqual(len(group.ports), count)
            self.addCleanup(socket.create_connection((group.getHost().host, group.getHost().port)).close)  # type: ignore[attr-defined]
            self.turn()
            self.assertEqual(self.clients.served, 0)

    def test_somebody_else_is_there(self) -> None:
        """It is an error."""
        port = self.listen(self.clients)
        listening = held_endpoint(self.reactor, f"tcp:{port}:interface={LOOPBACK}", 2).listen(self.clients)
        self.failureResultOf(listening, CannotListenError)

    def test_a_unix_socket(self) -> None:
        """There is one, made by Twisted, with the rights and the lock that the description says."""
        group = self.held(f"unix:{self.path}:mode=600", 3)
        self.assertEqual(len(group.ports), 1)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertTrue(os.path.lexists(self.path + ".lock"))
        self.connect_unix(self.path)
        self.turn()
        self.assertEqual(self.clients.served, 0)
        group.stopListening()
        self.assertFalse(os.path.lexists(self.path + ".lock"))

    def test_one_of_systemds(self) -> None:
        """There is one, as it was given."""
        for family, domain in ((socket.AF_INET, "INET"), (socket.AF_UNIX, "UNIX")):
            given = socket.socket(family)
            given.bind((LOOPBACK, 0) if domain == "INET" else self.path)
            given.listen()
            self.addCleanup(given.close)
            with patch.object(systemdEndpointParser, "_sddaemon", ListenFDs([given.fileno()])):
                self.assertEqual(len(self.held(f"systemd:domain={domain}:index=0").ports), 1)

    def test_with_twisteds_tls(self) -> None:
        """Workers speak it; the sockets are the same."""
        for description in self.with_tls():
            self.assertEqual(len(self.held(description).ports), 2)

    def with_tls(self) -> tuple[str, str]:
        """Descriptions with certificates."""
        os.makedirs(self.path)
        made = certificate("a.example")
        pem = write(self.path, "a.example.pem", made.private_key_pem, *made.cert_chain_pems)
        return f"ssl:0:privateKey={pem}:interface={LOOPBACK}", f"tls:{os.path.abspath(self.path)}:0"

    def test_in_workers_with_twisteds_tls(self) -> None:
        """It is wrapped around what the sockets bring."""
        for description in self.with_tls():
            group = self.held(description)
            taken = [(os.dup(fd), family) for fd, family in group.descriptors()]
            port = self.opened(given_endpoint(self.reactor, description, {description: taken}.__getitem__))
            self.assertIsInstance(port.ports[0].factory, TLSMemoryBIOFactory)
            self.assertIs(port.ports[0].factory.wrappedFactory, self.clients)

    def test_what_has_no_sockets(self) -> None:
        """Is refused, with what can be done."""
        self.assertIn("--workers 1", str(self.assertRaises(ValueError, held_endpoint, self.reactor, "stdio:", 2)))

        class Strange:
            """Opens what nobody knows."""

            port: Any = None

            def listen(self, factory: Any) -> Any:
                return succeed(self.port)

        strange = Strange()
        strange.port = self.reactor.listenTCP(0, self.clients, interface=LOOPBACK)
        with patch("lbproxy.workers.sockets.server_endpoint", lambda *_: strange):
            failure = self.failureResultOf(held_endpoint(self.reactor, "strange:", 2).listen(self.clients), ListenError)
        self.assertIn("use tcp: or unix:, or --workers 1", str(failure.value))
        self.turn()

    def test_a_place_that_goes_to_another_listener(self) -> None:
        """All of its sockets do; each of the two closes its own."""

        class Leaving:
            port: Any = None

        leaving = Leaving()
        leaving.port = group = self.held(f"tcp:0:interface={LOOPBACK}")
        place = f"tcp:{group.getHost().port}:interface={LOOPBACK}"  # type: ignore[attr-defined]
        handover = Handover(self.reactor)
        handover.leaving.append(leaving)
        successor = self.opened(held_endpoint(handover, place, 2))
        inodes = [[os.fstat(fd).st_ino for fd, _ in one.descriptors()] for one in (group, successor)]
        self.assertEqual(inodes[0], inodes[1])
        self.assertEqual((handover.leaving, handover.shared), ([], [leaving]))
        self.failureResultOf(held_endpoint(handover, place, 2).listen(self.clients), CannotListenError)

    def test_a_reactor_for_endpoints(self) -> None:
        """What it does not do itself is the reactor's to do."""
        holding: Any = Holding(self.reactor, 2, "")
        self.assertEqual(holding.seconds, self.reactor.seconds)


class Worker:
    """Gets sockets.

    :ivar got: the descriptors, with what was said of each.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.got: list[dict[str, Any]] = []
        self.answers: list[Deferred[Any]] = []

    def call(self, command: Any, **arguments: Any) -> Deferred[Any]:
        self.got.append(arguments)
        self.answers.append(Deferred())
        return self.answers[-1]


class Listening:
    """A listener."""

    def __init__(self, port: Any) -> None:
        self.port = port


class Giving(ListeningCase):
    """Sockets on their way to workers."""

    def setUp(self) -> None:
        super().setUp()
        self.group = self.opened(held_endpoint(self.reactor, f"tcp:0:interface={LOOPBACK}", 2))

    def test_a_duplicate_is_kept_until_it_has_arrived(self) -> None:
        """Whatever becomes of the listener meanwhile, nothing else is sent in its place."""
        before = open_files()
        worker = Worker(1)
        give(worker, [Listening(self.group), Listening(None)], 2)
        (got,) = worker.got
        self.assertEqual((got["description"], got["family"]), (self.group.description, socket.AF_INET))
        inode = os.fstat(self.group.ports[1].fileno()).st_ino
        self.group.stopListening()
        self.assertEqual(os.fstat(got["fd"]).st_ino, inode)
        worker.answers[0].callback({})
        self.assertRaises(OSError, os.fstat, got["fd"])
        self.assertLess(len(open_files()), len(before))

    def test_one_who_has_ended(self) -> None:
        """Needs none, and nothing is left open."""
        worker = Worker(0)
        give(worker, [Listening(self.group)], 2)
        worker.answers[0].errback(ConnectionDone())
        before = open_files()

        def gone(*_: Any, **__: Any) -> Any:
            raise AttributeError("it has no transport")

        for call in (gone, lambda *_, **__: fail(ConnectionDone())):
            worker.call = call  # type: ignore[method-assign]
            give(worker, [Listening(self.group)], 2)
        self.assertEqual(open_files(), before)

    def test_listeners_are_told_apart(self) -> None:
        """Those that are described alike too."""
        worker, waiting = Worker(0), Waiting()
        other = self.opened(held_endpoint(self.reactor, f"tcp:0:interface={LOOPBACK}", 1))
        give(worker, [Listening(self.group), Listening(other)], 1)
        for got in worker.got:
            waiting.add(got["listener"], got["description"], os.dup(got["fd"]), got["family"])
        for answer in worker.answers:
            answer.callback({})
        self.assertEqual(waiting.take("tcp:1"), [])
        ports = []
        for _ in range(2):
            endpoint = given_endpoint(self.reactor, self.group.description, waiting.take)
            ports.append(self.opened(endpoint))
        places = [[one.getHost() for one in port.ports] for port in ports]
        self.assertEqual(places, [[self.group.getHost()] * 2, [other.getHost()]])
        self.failureResultOf(endpoint.listen(self.clients), ListenError)

    def test_what_nobody_takes_is_closed(self) -> None:
        """When it is clear that nobody will."""
        waiting = Waiting()
        before = open_files()
        for number, (fd, family) in enumerate(self.group.descriptors()):
            waiting.add(number, "tcp:0", os.dup(fd), family)
        waiting.close()
        self.assertEqual((open_files(), waiting.take("tcp:0")), (before, []))


class GivenSockets(ListeningCase):
    """A worker's side."""

    def test_places_are_not_read(self) -> None:
        """What systemd has given to the supervisor means nothing here."""
        for description in ("systemd:domain=INET:index=7", "tcp:1", "unix:/nowhere/at/all"):
            one = socket.create_server((LOOPBACK, 0))
            one.setblocking(False)
            place = one.getsockname()
            taken = [(one.detach(), socket.AF_INET)]
            port = self.opened(given_endpoint(self.reactor, description, {description: taken}.__getitem__))
            self.assertEqual((port.getHost().host, port.getHost().port, port.description), (*place, description))
            port.startListening()
            self.connect(port)
            self.until(lambda: self.clients.served > 0)
            self.clients.served = 0

    def test_what_cannot_be_read(self) -> None:
        """Is told when the endpoint is made."""
        self.assertRaises(ValueError, given_endpoint, self.reactor, "nonsense:1", list)

    def test_one_that_cannot_be_used(self) -> None:
        """All are closed."""
        before = open_files()
        ours, theirs = socket.socketpair()
        taken = [(ours.detach(), socket.AF_APPLETALK), (theirs.detach(), socket.AF_UNIX)]
        listening = Given(self.reactor, "tcp:0", lambda: taken).listen(self.clients)
        self.assertIsNotNone(self.failureResultOf(listening))
        self.assertEqual(open_files(), before)

    def test_the_listener_that_leaves_has_the_same_socket(self) -> None:
        """It is not to accept what waits there, nor to shut it down."""

        class Leaving:
            port: Any = None

        leaving, other = Leaving(), Leaving()
        leaving.port = self.reactor.listenTCP(0, self.clients, interface=LOOPBACK)
        other.port = self.reactor.listenTCP(0, self.clients, interface=LOOPBACK)
        handover = Handover(self.reactor)
        handover.leaving += [Leaving(), other, leaving]
        self.opened(given_endpoint(handover, "tcp:1", lambda _: [(os.dup(leaving.port.fileno()), socket.AF_INET)]))
        self.assertEqual(handover.shared, [leaving])


