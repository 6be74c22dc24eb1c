"""Ways to find out, without traffic, whether a backend is well: a connection, or a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from ..balance.backend import Backend
from ..endpoints import client_endpoint
from ..errors import LBProxyError
from ..interfaces import IProbe
from .check import call

__all__ = ["CallableProbe", "ConnectProbe", "NotWell"]


class NotWell(LBProxyError):
    """What a probe found wrong with a backend; the message is the reason, for the operator."""


class _HangUp(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


@implementer(IProbe)
class ConnectProbe:
    """A backend is well when it accepts a connection (HAProxy's default check).

    :cvar about: what its evidence is about, :attr:`lbproxy.balance.state.Verdict.about`.
    """

    about = "connect"

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._factory = Factory.forProtocol(_HangUp)
        self._factory.noisy = False

    def check(self, backend: Backend) -> Deferred[str]:
        """Connect, and hang up."""
        connecting: Deferred[Any] = client_endpoint(self._reactor, backend).connect(self._factory)
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
