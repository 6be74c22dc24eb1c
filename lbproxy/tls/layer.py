"""TLS between a transport and a protocol: on a wire of our own where there is a socket, else by Twisted's TLS."""

from __future__ import annotations

from typing import Any, Protocol, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorFDSet
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.tcp import Connection as TcpConnection
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .wire import TlsWire

__all__ = ["Acceptor", "ReplaceableAcceptor", "TlsFactory", "TlsLayer"]


class Acceptor(Protocol):
    """Makes the sessions of a listener: a :class:`~.store.CertificateStore`."""

    def accept(self, socket: Any) -> SSL.Connection:
        """A session on a connected socket, in the state to accept."""

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """The same for Twisted's TLS (:class:`twisted.internet.interfaces.IOpenSSLServerConnectionCreator`)."""


@implementer(IOpenSSLServerConnectionCreator)
class ReplaceableAcceptor:
    """Whoever makes the sessions just now: listeners that hold this need not be told when it is another one.

    :ivar current: who that is; None while nobody listens for TLS.
    """

    def __init__(self, current: Acceptor | None = None) -> None:
        self.current = current

    def accept(self, socket: Any) -> SSL.Connection:
        """A session on a connected socket, in the state to accept."""
        assert self.current is not None
        return self.current.accept(socket)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """The same for Twisted's TLS."""
        assert self.current is not None
        return self.current.serverConnectionForTLS(tlsProtocol)


class TlsLayer(TwistedProtocol):
    """What a transport takes for its protocol, where another one is to have TLS below it.

    :param protocol: that one. It provides :class:`twisted.internet.interfaces.IHandshakeListener`.
    """

    __slots__ = ("_inner", "_upper", "connected", "factory", "transport")

    def __init__(self, protocol: Any) -> None:
        self._upper = protocol
        self._inner: Any = protocol  # what the transport's bytes go to, where it brings them here

    def dataReceived(self, data: bytes) -> None:
        """Of a transport that no wire could take over."""
        self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection has ended. Where Twisted has ended it itself, the wire hears of it here: OpenSSL knows the socket by its
        number, which may be another's from now on."""
        wire = getattr(self._upper, "transport", None)
        if isinstance(wire, TlsWire):
            wire.let_go()
        self._inner.connectionLost(reason)


def has_socket(transport: Any) -> bool:
    """Whether a wire can take the transport's socket over."""
    return isinstance(transport, TcpConnection) and not transport.TLS and IReactorFDSet.providedBy(transport.reactor)


class _Accepting(TlsLayer):
    __slots__ = ("_acceptor", "_in_clear", "_to_http")

    def __init__(self, protocol: Any, acceptor: Acceptor, in_clear: bool, to_http: bytes) -> None:
        super().__init__(protocol)
        self._acceptor = acceptor
        self._in_clear = in_clear
        self._to_http = to_http

    def connectionMade(self) -> None:
        transport: Any = self.transport
        upper = self._upper
        if has_socket(transport):
            self._inner = TwistedProtocol()  # until there is a wire: if there never is, the other one hears of nothing
            try:
                wire = TlsWire(transport, upper, self._acceptor.accept, in_clear=self._in_clear, to_http=self._to_http)
            except Exception:
                transport.abortConnection()
                raise
            self._inner = upper
            upper.makeConnection(wire)
        elif self._in_clear:
            self._inner = TwistedProtocol()
            transport.abortConnection()
        else:
            factory = TLSMemoryBIOFactory(cast(IOpenSSLServerConnectionCreator, self._acceptor), False, Factory())
            self._inner = TLSMemoryBIOProtocol(factory, upper)
            self._inner.makeConnection(transport)


class TlsFactory(Factory):
    """Makes another factory's connections, each with a TLS session below it.

    :param factory: theirs.
    :param acceptor: makes the sessions.
    :param in_clear: whether each begins in the clear, with a PROXY protocol header.
    :param to_http: what a peer is told, in the clear, that speaks HTTP without TLS.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory, acceptor: Acceptor, *, in_clear: bool = False, to_http: bytes = b"") -> None:
        self._factory = factory
        self._acceptor = acceptor
        self._in_clear = in_clear
        self._to_http = to_http

    def buildProtocol(self, addr: Any) -> TlsLayer:
        """One for each client."""
        return _Accepting(self._factory.buildProtocol(addr), self._acceptor, self._in_clear, self._to_http)
