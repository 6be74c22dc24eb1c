"""Ways to find out, without traffic, whether a backend is well: a connection, or a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..balance.backend import Backend
from ..endpoints import client_endpoint
from ..errors import LBProxyError
from ..interfaces import IProbe
from ..proxy_protocol import proxy_header
from ..tls.backends import BackendTls
from ..tls.connecting import connect_tls, session_of
from .check import call

__all__ = ["OUR_OWN", "CallableProbe", "ConnectProbe", "NotWell"]

#: Of the PROXY protocol by version, that this connection is the proxy's own: UNKNOWN, and the command LOCAL (sections 2.1 and
#: 2.2).
OUR_OWN = {0: b"", 1: proxy_header(1, ("", 0), ("", 0)), 2: b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"}


class NotWell(LBProxyError):
    """What a probe found wrong with a backend; the message is the reason, for the operator."""


class _HangUp(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


@implementer(IHandshakeListener)
class _ShakeHands(Protocol):
    """Hangs up when the TLS handshake is over."""

    transport: Any
    secured: Deferred[Any]

    def handshakeCompleted(self) -> None:
        self.secured.callback(self)

    def end(self) -> str:
        """What was found."""
        tls = session_of(self.transport)
        self.transport.loseConnection()
        return "" if tls is None else tls.get_protocol_version_name()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.secured.called:
            self.secured.errback(reason)


@implementer(IProbe)
class ConnectProbe:
    """A backend is well when it accepts a connection (HAProxy's default check), and over TLS when it is the right one.

    :param tls: how TLS is spoken with backends.
    :param scheme: ``tcp``, ``tls``, or empty for whichever the backend is spoken to with: one that accepts connections and whose
        certificate has expired could otherwise be in and out by turns.
    :cvar about: what its evidence is about, :attr:`lbproxy.balance.state.Verdict.about`.
    """

    about = "connect"

    def __init__(self, reactor: Any, tls: BackendTls | None = None, scheme: str = "") -> None:
        self._reactor = reactor
        self._tls = BackendTls() if tls is None else tls
        self._scheme = scheme
        self._factory = Factory.forProtocol(_HangUp)
        self._factory.noisy = False

    def check(self, backend: Backend) -> Deferred[str]:
        """Connect, and hang up. A PROXY protocol header goes before the handshake, in which it says that the connection is the
        balancer's own."""
        endpoint = client_endpoint(self._reactor, backend)
        if self._scheme == "tls" or (backend.tls and not self._scheme):
            peer = self._tls.prober(backend)
            shaking = connect_tls(endpoint, _ShakeHands, peer, OUR_OWN[backend.proxy_protocol])
            return shaking.addCallback(lambda protocol: f"probe: connected with {protocol.end()}")
        connecting: Deferred[Any] = endpoint.connect(self._factory)
        return connecting.addCallback(lambda _: "probe: connected")


@implementer(IProbe)
class CallableProbe:
    """A backend is well when a function says so.

    :param function: gets the backend, and returns, or fires a Deferred or another awaitable with: None, True or a text, which is
        the evidence, when it is well; False when it is not. What it raises or errbacks with says that it is not, and why.
    """

    about = "answers"

    def __init__(self, function: Callable[[Backend], Any]) -> None:
        self._function = function

    def check(self, backend: Backend) -> Deferred[str]:
        """Call the function."""
        return call(self._function, backend).addCallback(_evidence)


def _evidence(found: object) -> str:
    if found is None or found is True:
        return "probe: well"
    if isinstance(found, str):
        return f"probe: {found}"
    if found is False:
        raise NotWell("the function says that it is not well")
    raise NotWell(f"the function gave {found!r}; allowed are None, True, False and a text")
