"""Promises about what puts TLS between a transport and a protocol."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.tls.layer import TlsFactory
from lbproxy.tls.wire import TlsWire

from ..support import Peer
from .sessions import Acceptor, Session, TlsCase


@implementer(IHandshakeListener)
class Listening(Session):
    """A protocol that Twisted's TLS tells of the handshake too."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = 0

    def connectionMade(self) -> None:
        self.connections += 1


class OnSockets(TlsCase):
    """Where there is a socket, a wire takes it over."""

    upper = Listening

    def test_a_wire_is_given(self) -> None:
        """Once, before the handshake."""
        client = self.client()
        self.until(lambda: bool(self.made))
        self.assertIsInstance(self.wire, TlsWire)
        self.assertEqual((self.session.connections, self.session.shaken), (1, 0))
        self.until(client.shake)
        self.until(lambda: bool(self.session.shaken))

    def test_a_session_that_cannot_be_made_ends_the_connection(self) -> None:
        """The protocol never hears of it, and the mistake is logged."""

        def fail(socket: Any) -> Any:
            raise SSL.Error("no memory")

        self.patch(self.acceptor, "accept", fail)
        client = self.client()

        def told() -> bool:
            client.shake()
            return bool(client.ended)

        self.until(told)
        self.assertEqual((self.session.connections, self.session.ends), (0, 0))
        self.assertEqual(len(self.flushLoggedErrors(SSL.Error)), 1)
        self.logged.clear()


class InMemory(SynchronousTestCase):
    """Where there is none, Twisted's TLS does the same."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.protocol = Listening()

    def connect(self, **settings: Any) -> Peer:
        factory = Factory()
        factory.buildProtocol = lambda addr: self.protocol  # type: ignore[method-assign]
        return Peer(self.clock).attach(TlsFactory(factory, Acceptor(), **settings).buildProtocol(None))

    def test_twisteds_tls_is_given(self) -> None:
        """The session comes about, and data go both ways."""
        peer = self.connect()
        self.assertIsInstance(self.protocol.transport, TLSMemoryBIOProtocol)
        tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        tls.set_connect_state()
        for _ in range(4):
            try:
                tls.do_handshake()
                break
            except SSL.WantReadError:
                peer.send(tls.bio_read(1 << 16))
                tls.bio_write(peer.received())
        tls.send(b"hello")
        peer.send(tls.bio_read(1 << 16))
        self.assertEqual((self.protocol.shaken, self.protocol.data), (1, b"hello"))
        peer.reset()
        self.assertEqual(self.protocol.ends, 1)

    def test_a_beginning_in_the_clear_is_refused(self) -> None:
        """Twisted's TLS knows none; the protocol hears neither of a connection nor of its end."""
        peer = self.connect(in_clear=True)
        self.assertTrue(peer.aborted)
        peer.send(b"PROXY UNKNOWN\r\n")
        self.clock.advance(0)
        self.assertEqual((self.protocol.connections, self.protocol.data, self.protocol.ends), (0, b"", 0))
