"""What makes the connections of a listener, and what they share."""

from __future__ import annotations

from collections.abc import Callable, MutableSet
from copy import copy
from math import inf
from typing import Any

from twisted.internet.protocol import Factory

from ..settings import Settings
from .answers import hsts_line
from .connection import HANDSHAKE, IDLE, PROXY_HEADER
from .head import MessageLimits
from .roles import ExchangeMaker, Gate, ListenerCounts
from .server import ServerConnection

__all__ = ["ClientTimes", "Door", "ProxyProtocolFactory", "SecureFactory", "ServerFactory"]


class ClientTimes:
    """For how long a client is waited for, in seconds.

    :ivar handshake: for a TLS handshake, from the connection's beginning or the end of its PROXY protocol header.
    :ivar header: for a request's head, from its first byte.
    :ivar idle: for a request, and in mid-body at any time.
    :ivar write: for a client that reads nothing.
    :ivar body: for a request's body before its rate counts.
    :ivar per_byte: that each byte of a body earns; so a body is at no time further behind its least rate than :attr:`body`, and
        none earns more than :attr:`idle` ahead.
    """

    __slots__ = ("body", "handshake", "header", "idle", "per_byte", "write")

    def __init__(self, settings: Settings) -> None:
        self.handshake = settings.handshake_timeout
        self.header = settings.header_timeout
        self.idle = settings.idle_timeout
        self.write = settings.write_timeout
        self.body = min(settings.body_grace, self.idle) if settings.body_rate else self.idle
        self.per_byte = 1 / settings.body_rate if settings.body_rate else inf


class ServerFactory(Factory):
    """Makes a :class:`ServerConnection` for each client that connects.

    :param maker: makes and carries exchanges.
    :param settings: limits and times.
    :param seconds: the clock.
    :param watched: the set of things whose deadlines are watched (:class:`lbproxy.deadlines.DeadlineSweep`).
    :param counters: what is counted.
    :ivar gate: keeps the number of connections within its limit; None: there is no limit.
    :ivar identify: gives what a backend is told of a client's certificate, as lines of a head each ended by CRLF, of the
        connection's transport; None: backends are told nothing.
    :ivar draining: whether connections are to be closed after the response that is being given.
    :ivar connections: all that are open.
    """

    noisy = False

    def __init__(
        self,
        maker: ExchangeMaker,
        settings: Settings,
        seconds: Callable[[], float],
        watched: MutableSet[Any],
        counters: ListenerCounts,
    ) -> None:
        self.maker = maker
        self.configure(settings)
        self.seconds = seconds
        self.watched = watched
        self.counters = counters
        self.gate: Gate | None = None
        self.identify: Callable[[Any], bytes] | None = None
        self.draining = False
        self.connections: set[ServerConnection] = set()

    def configure(self, settings: Settings) -> None:
        """Go by these from now on. A head, a body or a wait that has begun goes on as it began, or by these: either is right."""
        self.limits = MessageLimits.of(settings)
        self.times = ClientTimes(settings)
        self.hsts = hsts_line(settings.hsts)
        self.last_request = settings.connection_requests
        self.abort_on_close = settings.abort_on_close

    def buildProtocol(self, addr: object) -> ServerConnection:
        """One for each client."""
        return ServerConnection(self)

    def connection(self, state: int) -> ServerConnection:
        """One that begins in *state*."""
        return ServerConnection(self, state)

    def opened(self, connection: ServerConnection) -> None:
        """A client has connected."""
        self.counters.accepted += 1
        self.counters.open += 1
        self.connections.add(connection)
        self.watched.add(connection)
        if self.gate is not None:
            self.gate.opened()

    def closed(self, connection: ServerConnection) -> None:
        """A client's connection has ended."""
        self.counters.open -= 1
        self.connections.discard(connection)
        self.watched.discard(connection)
        if self.gate is not None:
            self.gate.closed()


class Door(Factory):
    """Makes connections for a factory that are known to have come by one listener. They are that factory's in every other
    respect: counted, limited and drained with all of its.

    :param factory: theirs.
    """

    noisy = False

    def __init__(self, factory: ServerFactory) -> None:
        self._factory = self._book = factory

    def buildProtocol(self, addr: object) -> ServerConnection:
        """One for each client."""
        return self.connection(IDLE)

    def connection(self, state: int) -> ServerConnection:
        """One that begins in *state*."""
        connection = ServerConnection(self._factory, state)
        connection.door = self
        return connection

    def leave(self) -> None:
        """Have the connections that came by this listener end with the exchange they have; those that are idle, at once. Tunnels
        go on, and so do exchanges. Whoever has connected to be served is: a connection without any request yet stays for its
        first one until :meth:`close_idle` is called."""
        self._factory = copy(self._book)  # its books are the same ones
        self._factory.draining = True
        for connection in self._connections():
            connection.factory = self._factory
            if connection.requests:
                connection.close_if_idle()

    def close_idle(self) -> None:
        """Close those of its connections on which nothing happens."""
        for connection in self._connections():
            connection.close_if_idle()

    def _connections(self) -> list[ServerConnection]:
        return [connection for connection in self._book.connections if connection.door is self]


class ProxyProtocolFactory(Factory):
    """Makes connections for another factory, each of which begins with a PROXY protocol header. They are that factory's in every
    other respect: counted, limited and drained with all of its.

    :param factory: theirs.
    """

    noisy = False

    def __init__(self, factory: ServerFactory | Door) -> None:
        self._factory = factory

    def buildProtocol(self, addr: object) -> ServerConnection:
        """One for each client."""
        return self._factory.connection(PROXY_HEADER)


class SecureFactory(Factory):
    """Makes connections for another factory that have TLS below them: one waits for the handshake before it reads HTTP.

    :param factory: theirs.
    :param proxied: whether a PROXY protocol header comes before the handshake.
    """

    noisy = False

    def __init__(self, factory: ServerFactory | Door, proxied: bool) -> None:
        self._factory = factory
        self._state = PROXY_HEADER if proxied else HANDSHAKE

    def buildProtocol(self, addr: object) -> ServerConnection:
        """One for each client."""
        return self._factory.connection(self._state)
