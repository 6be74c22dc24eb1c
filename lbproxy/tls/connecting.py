"""The side of a TLS session that connects: there is a connection only once the backend is known to be the right one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .backends import BackendPeer
from .failures import HandshakeFailed, alert_of, handshake_failed
from .layer import TlsLayer, has_socket
from .verification import VerifiedConnection
from .wire import TlsWire

__all__ = ["Connecting", "connect_tls", "session_of", "turned_away"]

_WORDS = {
    "alpn": "the backend does not speak HTTP/1.1 over TLS",
    "cipher": "the backend and we have no cipher suite in common",
    "closed": "the backend closed the connection in the TLS handshake",
    "not-tls": "the backend does not speak TLS",
    "plain-http": "the backend does not speak TLS",
    "version": "the backend speaks neither TLS 1.2 nor TLS 1.3",
}


def connect_tls(
    endpoint: IStreamClientEndpoint, build: Callable[[], Any], peer: BackendPeer, in_clear: bytes = b""
) -> Deferred[Any]:
    """Connect, and shake hands.

    :param build: makes the protocol, see :class:`Connecting`.
    :param in_clear: is sent before the session begins.
    :return: fires with the protocol, when something may be sent. Errbacks with a :class:`~.failures.HandshakeFailed`, with what
        was wrong in words for people, or with the endpoint's own errors. Can be cancelled.
    """
    factory = Factory.forProtocol(lambda: Connecting(build(), peer, in_clear))
    factory.noisy = False
    connecting: Deferred[Any] = endpoint.connect(factory)
    return connecting.addCallback(lambda layer: layer.secured)


@implementer(IOpenSSLClientConnectionCreator)
class Connecting(TlsLayer):
    """What a transport takes for its protocol while TLS is below the real one.

    :param protocol: the real one, an :class:`~twisted.internet.interfaces.IHandshakeListener`. It is given a Deferred as its
        ``secured``, and is to fire it with itself in ``handshakeCompleted``, and with the reason in ``connectionLost``.
    :ivar secured: that Deferred.
    """

    def __init__(self, protocol: Any, peer: BackendPeer, in_clear: bytes) -> None:
        super().__init__(protocol)
        self._peer = peer
        self._in_clear = in_clear
        self._tls: VerifiedConnection | None = None
        self.secured: Deferred[Any] = Deferred(self._give_up)
        self.secured.addCallbacks(self._check, self._explain)
        protocol.secured = self.secured

    def connectionMade(self) -> None:
        """Say hello, after what goes in the clear."""
        transport: Any = self.transport
        upper = self._upper
        if has_socket(transport):
            if self._in_clear:
                with suppress(OSError):  # as will be seen in the handshake; so little a new connection takes at once
                    transport.getHandle().send(self._in_clear)
            wire = TlsWire(transport, upper, self._connect)
            upper.makeConnection(wire)
            wire.begin()
        else:
            if self._in_clear:
                transport.write(self._in_clear)
            # Without a clock, which only a buffering needs that is not used here, Twisted would take the reactor.
            self._inner = TLSMemoryBIOProtocol(TLSMemoryBIOFactory(self, True, Factory(), Clock()), upper)
            self._inner.makeConnection(transport)

    def _connect(self, socket: Any = None) -> VerifiedConnection:
        self._tls = tls = self._peer.connect(socket)
        return tls

    def clientConnectionForTLS(self, tlsProtocol: Any) -> VerifiedConnection:
        """For Twisted's TLS."""
        return self._connect()

    def _give_up(self, _: object) -> None:
        self._upper.transport.abortConnection()

    def _check(self, protocol: Any) -> Any:
        """The callback of the verification has been asked, or this is a session from before. It cannot be otherwise, and nothing
        is sent if it is."""
        tls, self._tls = self._tls, None
        if tls is None or not tls.verification.passed:
            self._give_up(None)
            raise HandshakeFailed("certificate", "the backend's certificate was not verified")
        return protocol

    def _explain(self, failure: Failure) -> Failure:
        """A failed handshake in words for people."""
        tls, self._tls = self._tls, None
        if failure.check(CancelledError):
            return failure
        self._peer.forget()
        problem = "" if tls is None else tls.verification.problem
        if problem:
            raise HandshakeFailed("certificate", problem)
        raise _in_words(failure.value)


def _in_words(error: BaseException | None) -> HandshakeFailed:
    if isinstance(error, (ConnectionDone, ConnectionLost)):
        return HandshakeFailed("closed", _WORDS["closed"])
    failed = handshake_failed(error)
    if failed.cause in _WORDS:
        return HandshakeFailed(failed.cause, _WORDS[failed.cause])
    if failed.cause == "refused" or "unrecognized name" in str(failed):
        return HandshakeFailed("refused", f"the backend refused the TLS handshake: {failed}")
    return HandshakeFailed(failed.cause, f"the TLS handshake failed: {failed}")


def turned_away(error: BaseException | None) -> str:
    """In TLS 1.3 a session has come about for us before the other side has looked at our certificate. What it says if it does not
    like it, or wants one, in words; empty for another end of the connection. It has processed nothing then."""
    alert = alert_of(error)
    about_us = "certificate" in alert or "unknown ca" in alert or "access denied" in alert
    return f"the backend refused the TLS handshake: {alert}" if about_us else ""


def session_of(transport: Any) -> VerifiedConnection | None:
    """The TLS session's connection on the transport of a protocol that was connected here; None where it has gone."""
    tls = transport.tls if isinstance(transport, TlsWire) else transport.getHandle()
    return tls if isinstance(tls, VerifiedConnection) else None
