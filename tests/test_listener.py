"""From a description to a listening port."""

from __future__ import annotations

import os
import socket
from typing import Any, cast
from unittest.mock import patch

from OpenSSL import crypto
from twisted.internet.defer import succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.plugins.twisted_core import systemdEndpointParser
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.filepath import FilePath
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.handover import Handover
from lbproxy.http1.factory import ProxyProtocolFactory, ServerFactory
from lbproxy.listener import BACKLOG, Listener, check_endpoints, descriptors_of, place_of
from lbproxy.ports import PortGroup, adopt_all, ports_of
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.settings import Settings
from lbproxy.tls.layer import Acceptor, TlsFactory
from lbproxy.wire import Wire

from .http1.support import FakeMaker
from .listening import LOOPBACK, ListeningCase
from .support import GET, ReactorCase
from .test_promises_tls import certificate


class BacklogTests(SynchronousTestCase):
    """A burst of clients waits to be accepted instead of being turned away."""

    def backlog(self, description: str) -> int:
        reactor = MemoryReactorClock()
        (endpoint,) = check_endpoints(reactor, [description])
        endpoint.listen(Factory())
        listening = reactor.tcpServers or reactor.sslServers or reactor.unixServers
        place = listening[0]
        return int(place[3] if reactor.sslServers else place[2])

    def test_the_default_is_ours(self) -> None:
        """For each kind of socket whose description does not say."""
        tcp = ("tcp:8080", "tcp:8080:interface=127.0.0.1", r"tcp:8080:interface=\:\:1")
        for description in (*tcp, "unix:/run/x.sock", "haproxy:tcp:8080"):
            self.assertEqual(self.backlog(description), BACKLOG, description)

    def test_what_the_operator_says_holds(self) -> None:
        """By name or by place."""
        self.assertEqual(self.backlog("tcp:8080:backlog=7"), 7)
        self.assertEqual(self.backlog("tcp:8080:127.0.0.1:9"), 9)
        self.assertEqual(self.backlog("haproxy:tcp:8080:backlog=7"), 7)


class Sockets(MemoryReactorClock):
    """A reactor in memory.

    :ivar opened: what was listened on, how, and the factory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[tuple[Any, ...]] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        self.opened.append(("tcp", port, interface, factory))

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Any:
        self.opened.append(("ssl", port, interface, factory))

    def listenUNIX(self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0) -> Any:
        self.opened.append(("unix", address, mode, factory))

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        self.opened.append(("adopted", fileDescriptor, int(addressFamily), factory))


class ProxyProtocolTests(SynchronousTestCase):
    """``haproxy:`` before a description is Twisted's syntax with Twisted's meaning, but connections of ours read the header."""

    def setUp(self) -> None:
        self.files = FilePath(self.mktemp())
        self.files.makedirs()
        self.pem = self.files.child("a.example.pem")
        made = certificate("a.example")
        self.pem.setContent(made.privateKey.dump(crypto.FILETYPE_PEM) + made.dumpPEM())

    def opened(self, description: str, admin: bool = False) -> tuple[Any, ...]:
        """What is listened on for a description."""
        reactor = Sockets()
        made = check_endpoints(reactor, ["tcp:1", description][not admin :], description if admin else None)
        made[-1].listen(Factory())
        return reactor.opened[-1]

    def twisted_opens(self, description: str) -> tuple[Any, ...]:
        """What Twisted would listen on for it."""
        reactor = Sockets()
        serverFromString(reactor, description).listen(Factory())
        return reactor.opened[-1]

    def test_any_description_may_follow(self) -> None:
        """With its escapes, and what it opens is what Twisted would."""
        for description in (
            "haproxy:tcp:8080",
            "HAProxy:tcp:8080:interface=127.0.0.1",
            r"haproxy:tcp:8080:interface=\:\:1",
            r"haproxy:tcp6:port=8080:interface=\:\:1",
            r"haproxy:unix:/run/a\:b\\c.sock:mode=660",
            r"haproxy:unix:address=/run/a\\\\\:b.sock",
            "haproxy:interface=127.0.0.1:tcp:8080",
            f"haproxy:ssl:8443:privateKey={self.pem.path}",
        ):
            *place, factory = self.opened(description)
            *expected, wrapper = self.twisted_opens(description)
            self.assertEqual(place, expected, description)
            self.assertIsInstance(factory, ProxyProtocolFactory)
            self.assertIsInstance(wrapper, HAProxyWrappingFactory)

    def test_a_socket_of_systemds(self) -> None:
        """Is one like any other."""
        with socket.socket() as given, patch.object(systemdEndpointParser, "_sddaemon", ListenFDs([given.fileno()])):
            for _ in range(2):  # it stays open for who is so described later
                *place, factory = self.opened("haproxy:systemd:INET:index=0")
                self.assertEqual(place, ["adopted", given.fileno(), 2])
            self.assertTrue(os.fstat(given.fileno()))
        self.assertIsInstance(factory, ProxyProtocolFactory)

    def test_over_tls_the_header_comes_inside(self) -> None:
        """As Twisted has it: what is wrapped in TLS is what reads the header."""
        description = f"haproxy:tls:{self.files.path}:8443"
        for opened, kind in ((self.opened, ProxyProtocolFactory), (self.twisted_opens, HAProxyWrappingFactory)):
            *place, factory = opened(description)
            self.assertEqual(place, ["tcp", 8443, "::"])
            self.assertIsInstance(factory, TLSMemoryBIOFactory)
            self.assertIsInstance(factory.wrappedFactory, kind)

    def test_the_admin_listener_has_twisteds_wrapper(self) -> None:
        """Its connections are not ours."""
        *place, factory = self.opened("haproxy:tcp:8081:interface=127.0.0.1", admin=True)
        self.assertEqual(place, ["tcp", 8081, "127.0.0.1"])
        self.assertIsInstance(factory, HAProxyWrappingFactory)

    def test_what_cannot_be_used_is_named(self) -> None:
        """As the operator wrote it."""
        for description in (
            "haproxy",
            "haproxy:",
            "haproxy:nonsense:1",
            "haproxy:tcp",
            "haproxy:haproxy:tcp:80",
            "haproxy:tcp:1\\",
        ):
            error = self.assertRaises(ConfigurationError, check_endpoints, Sockets(), [description])
            self.assertIn(f"--listen: {description!r} was given, which cannot be used (", str(error))
        error = self.assertRaises(ConfigurationError, check_endpoints, Sockets(), ["haproxy:haproxy:tcp:80"])
        self.assertIn("a connection has one PROXY protocol header", str(error))


class TlsTests(SynchronousTestCase):
    """``--tls-listen`` puts TLS on any plain endpoint."""

    def refused(self, description: str, acceptor: Any = True) -> str:
        """What is said of a description that cannot be used."""
        error = self.assertRaises(ConfigurationError, check_endpoints, Sockets(), [], tls_listen=[description], acceptor=acceptor)
        self.assertTrue(str(error).startswith(f"--tls-listen: {description!r} was given, which cannot be used ("), error)
        return str(error)

    def test_what_it_opens_is_what_the_description_says(self) -> None:
        """With our backlog, behind the PROXY protocol or not."""
        for description, place in (
            ("tcp:8443", ["tcp", 8443, ""]),
            (r"tcp:8443:interface=\:\:1", ["tcp", 8443, "::1"]),
            ("HAProxy:tcp:8443", ["tcp", 8443, ""]),
            ("haproxy:unix:/run/x.sock:mode=600", ["unix", "/run/x.sock", 0o600]),
        ):
            reactor = Sockets()
            (endpoint,) = check_endpoints(reactor, [], tls_listen=[description], acceptor=cast(Acceptor, object()))
            endpoint.listen(Factory())
            *opened, factory = reactor.opened[-1]
            self.assertEqual(opened, place)
            self.assertIsInstance(factory, TlsFactory)
            self.assertFalse(factory.noisy)

    def test_they_come_after_the_plain_ones(self) -> None:
        """And before the admin listener."""
        reactor = Sockets()
        made = check_endpoints(reactor, ["tcp:1"], "tcp:3", tls_listen=["tcp:2"], acceptor=cast(Acceptor, object()))
        for endpoint in made:
            endpoint.listen(Factory())
        self.assertEqual([opened[1] for opened in reactor.opened], [1, 2, 3])

    def test_what_cannot_be_used_is_named(self) -> None:
        """And why."""
        for description in ("ssl:8443:privateKey=x", "TLS:/x:8443", "haproxy:ssl:8443", "txacme:/x:tcp:1"):
            message = self.refused(description)
            self.assertIn("TLS is spoken here anyway, with what --certificate names; give the place alone", message)
            self.assertIn("such as tcp:8443, ", message)
        self.assertIn("a connection has one PROXY protocol header", self.refused("haproxy:haproxy:tcp:1"))
        self.assertIn("there is no certificate for it", self.refused("tcp:8443", None))
        self.refused("nonsense:1")
        self.refused("haproxy:")


class SocketTests(ReactorCase):
    """Behind the PROXY protocol a client is served as any other is."""

    def test_a_half_closed_client_is_answered_over_a_wire(self) -> None:
        """The socket is taken over, and who sends no more may still read."""
        maker = FakeMaker()
        factory = ServerFactory(maker, Settings(), self.reactor.seconds, set(), ListenerCounters())
        (endpoint,) = check_endpoints(self.reactor, ["haproxy:tcp:0:interface=127.0.0.1"])
        port: Any = self.successResultOf(endpoint.listen(factory))
        self.addCleanup(port.stopListening)
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(client.close)
        client.sendall(b"PROXY UNKNOWN\r\n" + GET)
        client.shutdown(socket.SHUT_WR)
        self.until(lambda: bool(maker.exchanges))
        (connection,) = factory.connections
        self.assertIsInstance(connection.transport, Wire)
        self.turn(3)
        maker.exchanges[0].respond()
        self.until(lambda: not factory.connections)
        self.assertTrue(client.recv(1000).startswith(b"HTTP/1.1 200 "))


class Place:
    """Where a listener of a test listens: at a port that was opened before."""

    def __init__(self, port: Any) -> None:
        self.port = port

    def listen(self, protocolFactory: Any) -> Any:
        """Have it."""
        return succeed(self.port)


class SharedSockets(ListeningCase):
    """Who has connected is served: by this process, or by another one that has the sockets too."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.turn)
        self.sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(2)]
        for one in self.sockets:
            one.setblocking(False)
            self.addCleanup(one.close)

    def listener(self, *, held: bool = False) -> Listener:
        """One that has both sockets."""
        given = [(one.fileno(), one.family) for one in self.sockets]
        group = PortGroup(adopt_all(Handover(self.reactor), given, self.clients), "tcp:0", held=held)
        listener = Listener(cast(Any, Place(group)), "tcp:0", self.clients, self.reactor)
        self.addCleanup(listener.stopService)
        return listener

    def waiting(self) -> list[socket.socket]:
        """Clients, three at each, who have not been accepted."""
        return [self.dial(one.getsockname()[1]) for one in self.sockets * 3]

    def test_clients_are_accepted_when_the_service_has_started(self) -> None:
        """Until then it may turn out that it is not to be."""
        listener = self.listener()
        listener.privilegedStartService()
        self.waiting()
        self.turn()
        self.assertEqual(self.clients.served, 0)
        listener.startService()
        self.until(lambda: self.clients.served == 6)

    def test_one_that_never_started_accepts_nobody(self) -> None:
        """When it is closed, either."""
        listener = self.listener()
        listener.privilegedStartService()
        self.waiting()
        listener.stopService()
        self.turn()
        self.assertEqual(self.clients.served, 0)

    def test_what_waits_is_accepted_before_all_is_closed(self) -> None:
        """At each socket; the supervisor's are closed before, so that nobody waits there who is not served."""
        held, listener = self.listener(held=True), self.listener()
        for one in (held, listener):
            one.startService()
        for mine in self.sockets:
            mine.close()
        place = listener.address
        for port in ports_of(listener.port):
            port.numberAccepts = 1
        clients = [self.dial(cast(Any, place).port) for _ in range(3)]
        held.stopService()
        listener.stopService()
        self.turn()
        self.assertEqual((self.clients.served, len(clients)), (3, 3))
        self.assertRaises(ConnectionRefusedError, self.dial, cast(Any, place).port)

    def test_what_others_go_on_with_is_theirs_to_accept(self) -> None:
        """A worker that is replaced leaves what waits, and closes nothing for its successor."""
        listener, successor = self.listener(), self.listener()
        listener.startService()
        self.waiting()
        listener.shared = True
        self.assertIsNone(self.successResultOf(listener.stopService()))
        self.turn()
        self.assertEqual(self.clients.served, 0)
        successor.startService()
        self.until(lambda: self.clients.served == 6)

    def test_after_it_was_left_to_others(self) -> None:
        """It is its own again when it listens anew."""
        listener = self.listener()
        listener.shared = True
        listener.startService()
        self.assertFalse(listener.shared)

    def test_its_sockets(self) -> None:
        """For another process: none while it does not listen."""
        listener = self.listener()
        self.assertEqual(descriptors_of(listener), [])
        listener.startService()
        self.assertEqual(descriptors_of(listener), [(port.fileno(), 2) for port in ports_of(listener.port)])

    def test_by_what_it_is_known(self) -> None:
        """The description of the plain endpoint."""
        self.assertEqual(place_of("HAProxy:tcp:80"), "tcp:80:backlog=1024")
        self.assertEqual(place_of(place_of("haproxy:unix:/x")), place_of("unix:/x"))
