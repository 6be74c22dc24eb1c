"""What makes the connections of a listener, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory

from .head import MessageLimits
from .roles import ExchangeMaker, Gate, ListenerCounts
from .server import ServerConnection

__all__ = ["ServerFactory"]


class ServerFactory(Factory):
    """Makes a :class:`ServerConnection` for each client that connects.

    :param maker: makes and carries exchanges.
    :param limits: of request heads.
    :param idle_timeout: seconds of silence: without a request, in mid-head, in mid-body, and without reading a response.
    :param seconds: the clock.
    :param watched: the set of things whose deadlines are watched (:class:`lbproxy.deadlines.DeadlineSweep`).
    :param counters: what is counted.
    :ivar draining: whether connections are to be closed after the response that is being given.
    :ivar gate: is told of each connection; None: nobody is.
    """

    noisy = False

    def __init__(
        self,
        maker: ExchangeMaker,
        limits: MessageLimits,
        idle_timeout: float,
        seconds: Callable[[], float],
        watched: set[Any],
        counters: ListenerCounts,
    ) -> None:
        self.maker = maker
        self.limits = limits
        self.idle_timeout = idle_timeout
        self.seconds = seconds
        self.watched = watched
        self.counters = counters
        self.draining = False
        self.gate: Gate | None = None
        self.connections: set[ServerConnection] = set()

    def buildProtocol(self, addr: object) -> ServerConnection:
        """One for each client."""
        return ServerConnection(self)
