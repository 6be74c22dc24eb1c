"""Listeners that are opened together, and exchanged while they are in use."""

from __future__ import annotations

from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.drain import FIRST_REQUEST
from lbproxy.errors import ConfigurationError, ListenError
from lbproxy.http1.factory import Door, ProxyProtocolFactory, SecureFactory, ServerFactory
from lbproxy.listeners import AdminDoor, Listeners, Places, addresses_of
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.settings import Settings
from lbproxy.tls.layer import Acceptor, ReplaceableAcceptor

from .http1.support import FakeMaker
from .support import GET, Peer, response, status
from .test_service import Reactor


class ListenersCase(SynchronousTestCase):
    """Has listeners in memory, and exchanges that the test answers."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.maker = FakeMaker()
        self.counters = ListenerCounters()
        self.book = ServerFactory(self.maker, Settings(), self.reactor.seconds, set(), self.counters)
        self.parent = MultiService()
        self.listeners = Listeners(self.parent, self.reactor, self.reactor, self.book, Factory)
        self.parent.startService()

    def change(self, *plain: str, secure: tuple[str, ...] = (), admin: str | None = None, acceptor: Any = None) -> None:
        """Go over to these places."""
        opening = self.listeners.open(Places(plain, secure, admin), acceptor)
        self.listeners.replace(opening, acceptor)

    def client(self, number: int = 0) -> Peer:
        """Who connects to one of the ports."""
        return Peer(self.reactor).attach(self.reactor.ports[number].factory.buildProtocol(None))

    def asked(self, client: Peer) -> Any:
        """The exchange of a request that *client* sends."""
        client.send(GET)
        return self.maker.exchanges[-1]


class Exchanging(ListenersCase):
    """What is opened, what is closed, and what stays."""

    def test_what_stays_is_not_touched(self) -> None:
        """Its port is the same one, also where the system has chosen it."""
        self.change("tcp:0", "tcp:81")
        port = self.reactor.ports[0]
        self.change("tcp:82", "tcp:0")
        self.assertEqual(self.reactor.open_ports, [0, 82])
        self.assertIs(self.listeners.plain[1].port, port)
        self.assertEqual([listener.description for listener in self.listeners.all], ["tcp:82", "tcp:0"])

    def test_what_is_said_twice_is_there_twice(self) -> None:
        """A port that the system chooses may be wanted more than once."""
        self.change("tcp:0")
        self.change("tcp:0", "tcp:0")
        self.assertEqual(self.reactor.open_ports, [0, 0])
        self.change("tcp:0")
        self.assertEqual(self.reactor.open_ports, [0])

    def test_new_ones_are_opened_before_old_ones_are_closed(self) -> None:
        """Until they are exchanged, both listen."""
        self.change("tcp:80")
        opening = self.listeners.open(Places(("tcp:81",)), None)
        self.assertEqual(self.reactor.open_ports, [80, 81])
        self.listeners.replace(opening, None)
        self.assertEqual(self.reactor.open_ports, [81])

    def test_one_that_cannot_be_opened_changes_nothing(self) -> None:
        """Those that were opened for the same wish are closed again, and the error names it."""
        self.change("tcp:80")
        self.reactor.occupied = {83}
        error = self.assertRaises(ListenError, self.listeners.open, Places(("tcp:82", "tcp:83", "tcp:84")), None)
        self.assertEqual(str(error), "cannot listen on tcp:83: Address already in use")
        self.assertEqual(self.reactor.open_ports, [80])
        self.assertEqual([listener.description for listener in self.parent], ["tcp:80"])

    def test_a_place_goes_from_one_listener_to_another(self) -> None:
        """From plain to TLS, and for operators: each gets the socket of one that leaves, which is closed afterwards."""
        self.change("tcp:80", "tcp:81", admin="tcp:82")
        places = Places(("haproxy:tcp:81:interface=0.0.0.0",), ("tcp:80",), "tcp:82:interface=127.0.0.1")
        self.reactor.occupied = {81}
        acceptor = cast(Acceptor, object())
        self.listeners.replace(self.listeners.open(places, acceptor), acceptor)
        self.assertEqual(self.reactor.open_ports, [81, 80, 82])
        self.assertEqual([port.paused for port in self.reactor.ports], [True, True, False, False, False, False])
        self.assertEqual([type(one.factory).__name__ for one in self.reactor.ports[3:5]], ["ProxyProtocolFactory", "TlsFactory"])

    def test_a_place_is_not_taken_from_one_that_stays(self) -> None:
        """Nor does it go to two; and what was opened is closed again."""
        self.change("tcp:80", "tcp:81")
        acceptor = cast(Acceptor, object())
        for wrong in (Places(("tcp:80",), ("tcp:80",)), Places((), ("tcp:80", "tcp:80"))):
            error = self.assertRaises(ListenError, self.listeners.open, wrong, acceptor)
            self.assertEqual(str(error), "cannot listen on tcp:80: Address already in use")
            self.assertEqual(self.reactor.open_ports, [80, 81])

    def test_what_cannot_be_read_is_told_before_anything_is_opened(self) -> None:
        """All of it at once."""
        error = self.assertRaises(ConfigurationError, self.listeners.open, Places(("tcp:80", "x"), ("tcp:1",), "y"), None)
        self.assertEqual([line.partition(":")[0] for line in str(error).splitlines()], ["--listen", "--tls-listen", "--admin"])
        self.assertEqual(self.reactor.ports, [])

    def test_what_is_given_up_is_closed(self) -> None:
        """Where something else than a port has failed."""
        self.change("tcp:80")
        self.listeners.abandon(self.listeners.open(Places(("tcp:80", "tcp:81")), None))
        self.assertEqual(self.reactor.open_ports, [80])

    def test_others_go_on_with_them(self) -> None:
        """With the operators' too, when all are handed over."""
        self.change("tcp:80", admin="tcp:81")
        self.listeners.hand_over()
        self.assertEqual((self.reactor.open_ports, [one.shared for one in self.listeners.all]), ([], [True, True]))
        self.parent.stopService()
        self.listeners.end()

    def test_they_are_the_parents_children(self) -> None:
        """Which starts them, and stops them."""
        self.change("tcp:80", admin="tcp:81")
        self.change("tcp:82", admin="tcp:81")
        self.assertEqual(sorted(listener.description for listener in self.parent), ["tcp:81", "tcp:82"])
        self.parent.stopService()
        self.assertEqual(self.reactor.open_ports, [])

    def test_addresses(self) -> None:
        """In order, and the first of those over TLS is where clients are sent."""
        acceptor = cast(Acceptor, object())
        self.change("tcp:80", secure=("tcp:443", "tcp:444"), admin="tcp:81", acceptor=acceptor)
        ports = [getattr(address, "port", 0) for address in addresses_of(self.listeners.clients)]
        self.assertEqual((ports, self.listeners.https_port()), ([80, 443, 444], 443))
        self.assertEqual(self.listeners.described(), "tcp:80, tcp:443 (TLS), tcp:444 (TLS)")
        self.change("tcp:80")
        self.assertIsNone(self.listeners.https_port())

    def test_without_ports(self) -> None:
        """A service that does not run opens none, and has the listeners for when it does."""
        self.parent.stopService()
        opening = self.listeners.open(Places(("tcp:80",)), None, bind=False)
        self.listeners.replace(opening, None)
        self.assertEqual(self.reactor.ports, [])
        self.parent.startService()
        self.assertEqual(self.reactor.open_ports, [80])


class Leaving(ListenersCase):
    """What becomes of the connections of a listener that is closed."""

    def setUp(self) -> None:
        super().setUp()
        self.change("tcp:80", "tcp:81")

    def test_an_idle_one_is_closed_at_once(self) -> None:
        """If it has had a request; those of other listeners are left alone."""
        leaving, staying = self.client(0), self.client(1)
        for client in (leaving, staying):
            self.asked(client).respond()
        self.change("tcp:81")
        self.reactor.advance(0)
        self.assertEqual((leaving.lost, staying.lost), (True, False))
        self.assertEqual(self.counters.open, 1)

    def test_an_exchange_ends_as_it_began(self) -> None:
        """And the connection with it; the client is told so."""
        client = self.client()
        exchange = self.asked(client)
        self.change("tcp:81")
        exchange.respond()
        answer = client.received()
        self.assertEqual(status(answer), 200)
        self.assertIn(b"Connection: close\r\n", answer)
        self.reactor.advance(10)
        self.assertTrue(client.half_closed or client.lost)

    def test_one_without_a_request_has_a_moment_for_it(self) -> None:
        """Whoever was accepted last has connected to be served."""
        quick, silent = self.client(), self.client()
        self.change("tcp:81")
        self.reactor.advance(0)
        self.assertEqual((quick.lost, silent.lost), (False, False))
        self.asked(quick).respond()
        self.assertEqual(status(quick.received()), 200)
        self.reactor.advance(FIRST_REQUEST)
        self.assertTrue(silent.lost)

    def test_one_that_is_accepted_last_ends_too(self) -> None:
        """Ports accept what waits in their queues after they have been told to close."""
        self.change("tcp:81")
        client = self.client()
        self.asked(client).respond()
        self.assertIn(b"Connection: close\r\n", client.received())

    def test_half_a_request_is_waited_for(self) -> None:
        """It has begun, so it is served."""
        client = self.client()
        client.send(GET[:9])
        self.change("tcp:81")
        self.reactor.advance(FIRST_REQUEST)
        client.send(GET[9:])
        self.maker.exchanges[-1].respond()
        self.assertIn(b"Connection: close\r\n", client.received())

    def test_a_tunnel_goes_on(self) -> None:
        """As long as its ends like."""
        client = self.client()
        self.asked(client)
        heard: list[bytes] = []

        class End:
            transport: Any = None
            data = heard.append

        (connection,) = self.book.connections
        switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        connection.switch(response(switching), b"", cast(Any, End()))
        self.change("tcp:81")
        self.reactor.advance(100)
        client.send(b"still here")
        self.assertEqual((heard, client.lost), ([b"still here"], False))

    def test_they_are_in_the_same_books(self) -> None:
        """They count, and whoever stops all of them ends them too."""
        client = self.client()
        exchange = self.asked(client)
        self.change("tcp:81")
        self.assertEqual((self.counters.open, len(self.book.connections)), (1, 1))
        exchange.respond()
        client.hang_up()
        self.reactor.advance(0)
        self.assertEqual((self.counters.open, len(self.book.connections)), (0, 0))

    def test_nothing_is_left_when_all_ends(self) -> None:
        """No call waits for what has ended already."""
        self.change("tcp:81")
        self.listeners.end()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Doors(ListenersCase):
    """Whoever comes by a listener is known to have come by it, whatever stands before HTTP there."""

    def test_in_every_state(self) -> None:
        """In the clear, behind the PROXY protocol, over TLS."""
        door = Door(self.book)
        for factory in (door, ProxyProtocolFactory(door), SecureFactory(door, False), SecureFactory(door, True)):
            connection = factory.buildProtocol(None)
            self.assertIs(connection.door, door)
            self.assertIs(connection.factory, self.book)

    def test_operators(self) -> None:
        """They have a moment for the answer to what has closed their listener."""
        door = AdminDoor(cast(Any, _Echo()))
        client = Peer(self.reactor).attach(door.buildProtocol(None))
        door.leave()
        self.reactor.advance(0)
        self.assertFalse(client.lost)
        client.send(b"x")
        door.close_idle()
        self.reactor.advance(0)
        self.assertEqual((client.received(), client.lost), (b"x", True))


class _Echo:
    """What serves operators."""

    def buildProtocol(self, addr: object) -> Protocol:
        class Echo(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(data)

        return Echo()


class Acceptors(SynchronousTestCase):
    """Who makes TLS sessions can be another one, and listeners need not know."""

    def test_the_one_of_just_now_is_asked(self) -> None:
        """For both kinds of transport."""

        class Store:
            def __init__(self, name: str) -> None:
                self.name = name

            def accept(self, socket: object) -> str:
                return f"{self.name} accepts"

            def serverConnectionForTLS(self, protocol: object) -> str:
                return f"{self.name} serves"

        acceptor = ReplaceableAcceptor(cast(Any, Store("old")))
        self.assertEqual(acceptor.accept(None), "old accepts")
        acceptor.current = cast(Any, Store("new"))
        self.assertEqual((acceptor.accept(None), acceptor.serverConnectionForTLS(None)), ("new accepts", "new serves"))
