"""Ways to find out, without traffic, whether a backend is well."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from ..balance.backend import Backend
from ..endpoints import client_endpoint
from ..interfaces import IProbe

__all__ = ["ConnectProbe"]


class _HangUp(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


@implementer(IProbe)
class ConnectProbe:
    """A backend is well when it accepts a connection (HAProxy's default check)."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._endpoints: dict[str, IStreamClientEndpoint] = {}
        self._factory = Factory.forProtocol(_HangUp)
        self._factory.noisy = False

    def check(self, backend: Backend) -> Deferred[str]:
        """Connect, and hang up."""
        endpoint = self._endpoints.get(backend.address)
        if endpoint is None:
            endpoint = self._endpoints[backend.address] = client_endpoint(self._reactor, backend)
        connecting: Deferred[Any] = endpoint.connect(self._factory)
        return connecting.addCallback(lambda _: "probe: connected")
