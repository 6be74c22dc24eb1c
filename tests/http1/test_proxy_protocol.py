"""Promises about connections that begin with a PROXY protocol header."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.logger import capturedLogs
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

from lbproxy.http1.factory import ProxyProtocolFactory

from ..support import GET, OK, Peer, post, status
from .support import IDLE, FakeMaker, ServerCase

LINE = b"PROXY TCP4 192.0.2.77 198.51.100.1 56324 443\r\n"
UNKNOWN = b"PROXY UNKNOWN\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BLOCK = SIGNATURE + b"\x21\x11\x00\x0c" + b"\xc0\x00\x02\x4d\xc6\x33\x64\x01\xdc\x04\x01\xbb"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"

CLAIMED = ("192.0.2.77", ("192.0.2.77", 56324), ("198.51.100.1", 443))
OWN = ("192.0.2.7", ("192.0.2.7", 40000), ("10.0.0.99", 12345))


class Maker(FakeMaker):
    """Remembers a client's ends."""

    def client(self, address: str, secure: bool, source: Any, destination: Any, identity: bytes = b"") -> Any:
        return address, source, destination


class HeaderCase(ServerCase):
    """A connection of a listener whose peers send the header."""

    def setUp(self) -> None:
        super().setUp()
        self.factory.maker = self.maker = Maker()

    def connect(self) -> Peer:
        peer = Peer(self.clock)
        peer.hostAddr = IPv4Address("TCP", "10.0.0.99", 12345)
        return peer.attach(ProxyProtocolFactory(self.factory).buildProtocol(None))


class Headers(HeaderCase):
    """From the header to the first request."""

    def test_the_claimed_ends_are_the_clients(self) -> None:
        """For all requests of the connection."""
        for header in (LINE, BLOCK):
            self.client = self.connect()
            for data in (header + GET, GET):
                self.client.send(data)
                self.assertEqual(self.exchange.client, CLAIMED)
                self.exchange.respond()
        self.assertEqual(self.client.received(), OK * 2)

    def test_where_none_are_claimed_the_connections_own_hold(self) -> None:
        """They are the proxy's: of its own connection, or since it knows no better."""
        for header in (UNKNOWN, LOCAL, SIGNATURE + b"\x21\x00\x00\x00"):
            self.client = self.connect()
            self.client.send(header + GET)
            self.assertEqual(self.exchange.client, OWN)

    def test_it_may_come_in_any_pieces(self) -> None:
        """Byte by byte, or with all that follows it in one read."""
        for header in (LINE, BLOCK, UNKNOWN, LOCAL):
            data = header + post(b"hello") + GET
            for parts in ([data], [data[place : place + 1] for place in range(len(data))], [header, data[len(header) :]]):
                self.client = self.connect()
                before = len(self.exchanges)
                self.client.send(*parts)
                self.exchange.respond()
                posted, got = self.exchanges[before:]
                self.assertEqual((posted.head.method, posted.body, got.head.method), (b"POST", b"hello", b"GET"))

    def test_a_header_comes_once(self) -> None:
        """A second one is a request of a version that nobody knows."""
        self.client.send(LINE + LINE + GET)
        self.assertEqual((status(self.client.received()), self.exchanges), (501, []))

    def test_a_half_close_after_it_is_no_disconnect(self) -> None:
        """What was asked for is answered."""
        self.client.send(LINE + GET)
        self.client.half_close()
        self.exchange.respond()
        self.assertEqual(status(self.client.received()), 200)

    def test_it_is_no_request(self) -> None:
        """It counts for nothing that counts requests; the connection counts as any."""
        self.client.send(LINE)
        (connection,) = self.factory.connections
        self.assertEqual((connection.requests, self.counters.accepted, self.counters.open), (0, 1, 1))


class NoHeaders(HeaderCase):
    """Whoever sends none has no business here."""

    def test_nothing_is_answered(self) -> None:
        """The connection is closed, what came with it is nobody's, and it is counted."""
        for number, data in enumerate((GET, b"PROXY TCP4 a b c d\r\n" + GET, b"PROXY \xff\r\n", b"x", b"PROXY " + b"x" * 200), 1):
            self.client = self.connect()
            self.client.send(data)
            self.clock.advance(0)
            self.assertEqual((self.client.received(), self.client.lost), (b"", True), data)
            self.assertEqual(self.counters.rejected, {"proxy-protocol": number})
        self.assertEqual((self.exchanges, self.counters.open), ([], 1))

    def test_no_stranger_fills_the_log(self) -> None:
        """Anyone who can connect can send what is no header."""
        with capturedLogs() as logged:
            self.client.send(b"PROXY TCP4 \xff\xff 198.51.100.1 x 443\r\n")
            self.clock.advance(0)
        self.assertEqual((self.client.lost, list(logged)), (True, []))

    def test_half_of_one_then_the_end(self) -> None:
        """A probe of the proxy's, as like as not: nothing to be counted."""
        for begun in (b"", LINE[:-1]):
            self.client = self.connect()
            self.client.send(begun)
            self.client.half_close()
            self.clock.advance(0)
            self.assertEqual((self.client.received(), self.client.lost), (b"", True))
        self.assertEqual((self.counters.rejected, self.counters.timed_out), ({}, {}))

    def test_a_reset(self) -> None:
        """Is the end of it."""
        self.client.send(LINE[:9])
        self.client.reset()
        self.assertEqual((self.counters.open, self.factory.connections), (0, set()))


class Times(HeaderCase):
    """The header has a request head's time, from the connection's beginning."""

    def test_silence(self) -> None:
        """Nothing is answered, since nothing was asked."""
        self.wait(9)
        self.assertFalse(self.client.closed)
        self.wait(2)
        self.assertEqual((self.client.received(), self.client.aborted, self.client.lost), (b"", True, True))
        self.assertEqual((self.counters.timed_out, self.counters.open), ({"head": 1}, 0))

    def test_dripping(self) -> None:
        """What comes by the byte earns no more time."""
        for place in range(20):
            self.client.send(LINE[place : place + 1])
            self.wait(1)
        self.assertEqual((self.client.received(), self.client.aborted, self.counters.timed_out), (b"", True, {"head": 1}))

    def test_the_first_request_has_its_own(self) -> None:
        """From the header on the connection is one like any other: it may think, and is closed in silence."""
        self.client.send(LINE)
        self.wait(IDLE - 2)
        self.assertFalse(self.client.closed)
        self.client.send(GET[:5])
        self.wait(9)
        self.client.send(GET[5:])
        self.assertEqual((self.exchange.client, self.counters.timed_out), (CLAIMED, {}))
        self.exchange.respond()
        self.wait(IDLE + 2)
        self.assertEqual(self.counters.timed_out, {"idle": 1})

    def test_a_request_that_begins_with_it(self) -> None:
        """Its time begins there."""
        self.wait(8)
        self.client.send(LINE + GET[:5])
        self.wait(8)
        self.assertFalse(self.client.closed)
        self.wait(3)
        self.assertEqual((status(self.client.received()), self.counters.timed_out), (408, {"head": 1}))


class Ends(HeaderCase):
    """A drain's ends."""

    def test_who_has_said_nothing_is_closed(self) -> None:
        """Before the header, or after it."""
        for header in (b"", LINE):
            self.client = self.connect()
            self.client.send(header)
            for connection in self.factory.connections:
                connection.close_if_idle()
            self.clock.advance(0)
            self.assertEqual((self.client.lost, self.client.aborted, self.factory.connections), (True, False, set()))

    def test_who_has_begun_may_go_on(self) -> None:
        """As with a head."""
        self.client.send(LINE[:5])
        (connection,) = self.factory.connections
        connection.close_if_idle()
        self.client.send(LINE[5:] + GET)
        self.assertEqual(self.exchange.client, CLAIMED)

    def test_who_is_dropped_is_gone(self) -> None:
        """At once."""
        self.client.send(LINE[:5])
        (connection,) = self.factory.connections
        connection.drop()
        self.clock.advance(0)
        self.assertEqual((self.client.aborted, self.counters.open), (True, 0))


class WrappedByOthers(HeaderCase):
    """Twisted's own wrapper for the protocol, around a factory that knows nothing of it."""

    def test_its_ends_are_the_clients(self) -> None:
        """It learns of them after the connection is made, and is not asked before the first request."""
        peer = Peer(self.clock)
        peer.attach(HAProxyWrappingFactory(self.factory).buildProtocol(IPv4Address("TCP", "192.0.2.7", 40000)))
        peer.send(LINE, GET)
        self.assertEqual(self.exchange.client, CLAIMED)
        self.exchange.respond()
        self.assertEqual(peer.received(), OK)
