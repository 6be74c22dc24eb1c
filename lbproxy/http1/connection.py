"""A client's connection as such: opened, read and paused, half-closed, a tunnel, lingering, closed. What its bytes mean is said
in :mod:`.server`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from ..deadlines import NEVER
from ..wire import adopt, half_close, unsent_bytes
from .roles import TunnelEnd

if TYPE_CHECKING:
    from .factory import ServerFactory

__all__ = ["CLOSED", "EXCHANGE", "IDLE", "LINGER", "LINGERING", "LINGER_IN_ALL", "PROXY_HEADER", "TUNNEL", "ClientConnection"]

#: Seconds of silence for which a connection is still read, and what comes thrown away, after an answer that ends it early:
#: closing at once would reset it, and the reset could overtake the answer (RFC 9112 section 9.6; nginx's lingering_timeout).
LINGER = 5.0
#: The same in all, however much still comes (nginx's lingering_time).
LINGER_IN_ALL = 30.0

IDLE, EXCHANGE, TUNNEL, LINGERING, CLOSED, PROXY_HEADER = range(6)


class ClientConnection(TwistedProtocol):
    """One client's connection: at each time idle (or in a head), in an exchange, a tunnel, lingering before its end, or closed;
    and before all that, where the listener says so, in the PROXY protocol's header.

    The slots are for memory: there may be many thousands, most of them idle.

    :param state: :data:`PROXY_HEADER` for a connection that begins with such a header.
    :ivar deadline: when what is waited for just now is overdue.
    :ivar requests: begun on it so far.
    """

    __slots__ = (
        "_linger_until", "_read_closed", "_reading_paused", "_stalled", "_state", "_tunnel", "_unsent", "connected", "deadline",
        "factory", "requests", "transport",
    )  # fmt: skip

    transport: Any
    factory: Any

    def __init__(self, factory: ServerFactory, state: int = IDLE) -> None:
        self.factory = factory
        self.deadline = NEVER
        self.requests = 0
        self._state = state
        self._tunnel: TunnelEnd | None = None
        self._stalled = False  # whether the client does not read what was written
        self._reading_paused = False
        self._read_closed = False  # whether the client sends no more
        self._unsent = 0  # when it was last looked at
        self._linger_until = NEVER

    def connectionMade(self) -> None:
        """Take the socket over."""
        factory = self.factory
        self.transport = transport = adopt(self.transport, self)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        # Whoever sends the PROXY protocol's header does so at once; a client may think before its request.
        times = factory.times
        self.deadline = factory.seconds() + (times.header if self._state == PROXY_HEADER else times.idle)
        factory.opened(self)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """The client is gone."""
        self._state = CLOSED
        self.deadline = NEVER
        self.factory.closed(self)
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.lost(reason)

    # Reading.

    def _stop_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _read_on(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resumeProducing()

    def _linger_on(self) -> None:
        """More came of what nobody wants."""
        self.deadline = min(self.factory.seconds() + LINGER, self._linger_until)

    # A client that does not read.

    def _must_read(self) -> None:
        """From now on the client must take something within the time for it."""
        self._unsent = unsent_bytes(self.transport)
        self.deadline = self.factory.seconds() + self.factory.times.write

    def _reads(self) -> bool:
        """Whether the client has taken something since it was last looked at, however little: then it has as long again."""
        unsent = unsent_bytes(self.transport)
        if unsent >= self._unsent:
            return False
        self._unsent = unsent
        self.deadline = self.factory.seconds() + self.factory.times.write
        return True

    # Ends.

    def close(self) -> None:
        """Close when all that was written has been sent."""
        self._state = CLOSED
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._must_read()

    def close_if_idle(self) -> None:
        """Close unless an exchange or a tunnel runs."""
        if self._state in (IDLE, PROXY_HEADER):
            self.close()

    def abort(self) -> None:
        """Drop the connection with a reset."""
        self._state = CLOSED
        self.deadline = NEVER
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def _linger(self) -> None:
        """Half-close, and for a while throw away what still comes, so that no reset overtakes the answer."""
        if self._read_closed:
            self.close()
            return
        self._state = LINGERING
        self._linger_until = self.factory.seconds() + LINGER_IN_ALL
        self._linger_on()
        self.transport.unregisterProducer()
        self._read_on()
        half_close(self.transport)
