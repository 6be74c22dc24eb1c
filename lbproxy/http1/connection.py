"""A client's connection as such: opened, read and paused, waited for, ended.

Here stand its state and the flags beside it, and what follows from them alone: for what the client is waited for, and until when.
What the exchange sends on it is said in :mod:`.downstream`, what the client's bytes mean in :mod:`.server`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from ..deadlines import NEVER
from ..tls.failures import handshake_failed
from ..wire import adopt, half_close, unsent_bytes
from .answers import last_answer
from .body import ChunkedBody, SizedBody
from .roles import RequestReceiver, TunnelEnd

if TYPE_CHECKING:
    from .factory import Door, ServerFactory

__all__ = [
    "CLOSED",
    "CLOSING",
    "EXCHANGE",
    "HANDSHAKE",
    "IDLE",
    "LINGER",
    "LINGERING",
    "LINGER_IN_ALL",
    "PROXY_HEADER",
    "TUNNEL",
    "ClientConnection",
]

#: Seconds of silence for which a connection is still read, and what comes thrown away, after an answer that ends it early:
#: closing at once would reset it, and the reset could overtake the answer (RFC 9112 section 9.6; nginx's lingering_timeout).
LINGER = 5.0
#: The same in all, however much still comes (nginx's lingering_time).
LINGER_IN_ALL = 30.0

PROXY_HEADER, HANDSHAKE, IDLE, EXCHANGE, TUNNEL, LINGERING, CLOSING, CLOSED = range(8)


class ClientConnection(TwistedProtocol):
    """One client's connection: at each time idle (or in a head), in an exchange, a tunnel, lingering before its end, closing (the
    last bytes are not sent yet), or closed; and before all that, where the listener says so, in the PROXY protocol's header or in
    the TLS handshake, or first in the one and then in the other.

    The slots are for memory: there may be many thousands, most of them idle.

    :param state: :data:`PROXY_HEADER` for a connection that begins with such a header, :data:`HANDSHAKE` for one that begins with
        the handshake.
    :ivar door: by which listener it came, where that is known.
    :ivar deadline: when what is waited for just now is overdue.
    :ivar requests: begun on it so far.
    """

    __slots__ = (
        "_body", "_buffer", "_exchange", "_head_begun", "_invited", "_linger_until", "_read_closed", "_reading_paused",
        "_responding", "_stalled", "_state", "_tunnel", "_unsent", "connected", "deadline", "door", "factory", "requests",
        "transport",
    )  # fmt: skip

    transport: Any
    factory: Any

    def __init__(self, factory: ServerFactory, state: int = IDLE) -> None:
        self.factory = factory
        self.door: Door | None = None
        self.deadline = NEVER
        self.requests = 0
        self._state = state
        self._exchange: RequestReceiver | None = None
        self._tunnel: TunnelEnd | None = None
        self._buffer = b""  # bytes that nobody has looked at yet: a head's beginning, or what was pipelined
        self._head_begun = False
        self._body: SizedBody | ChunkedBody | None = None  # while more of the request's body is to come
        self._invited = True  # whether the client may be expected to send its body: not while it waits for 100
        self._responding = False  # whether the response's head was sent
        self._stalled = False  # whether the client does not read what was written
        self._reading_paused = False
        self._read_closed = False  # whether the client sends no more
        self._unsent = 0  # when it was last looked at
        self._linger_until = NEVER

    def connectionMade(self) -> None:
        """Take the socket over."""
        self.transport = transport = adopt(self.transport, self)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self._set_deadline()
        self.factory.opened(self)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """The client is gone, and with it the exchange or the tunnel that runs."""
        if self._state == HANDSHAKE:
            self.factory.counters.count_handshake(handshake_failed(reason.value).cause)
        self._state = CLOSED
        self.deadline = NEVER
        self.factory.closed(self)
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.lost(reason)
        exchange, self._exchange = self._exchange, None
        self._buffer = b""
        if exchange is not None:
            exchange.client_lost()

    # Reading.

    def _stop_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _read_on(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resumeProducing()

    # Lateness: what the client is waited for, until when, and what follows.

    def _set_deadline(self) -> None:
        """Wait from now on for what the client is to do next; what held it up before is forgiven. To be called wherever the
        state changes, or a flag that says what that is."""
        now = self.factory.seconds()
        if self._state == LINGERING:
            self.deadline = min(now + LINGER, self._linger_until)
        elif not (self._stalled or self._state == CLOSING):  # these have theirs from _must_read, whatever else changes
            self.deadline = now + self._time_for_next()

    def _time_for_next(self) -> float:
        """Seconds that the client has for what it is to send next; :data:`NEVER` while it is to send nothing."""
        times = self.factory.times
        if self._state == IDLE:
            # A head's time runs from its first byte, however slowly the others come.
            return times.header if self._head_begun else times.idle  # type: ignore[no-any-return]
        if self._state == PROXY_HEADER:
            return times.header  # type: ignore[no-any-return]  # who sends it does so at once; a client may think first
        if self._state == HANDSHAKE:
            return times.handshake  # type: ignore[no-any-return]
        body_comes = self._body is not None and self._invited and not (self._reading_paused or self._read_closed)
        return times.body if self._state == EXCHANGE and body_comes else NEVER

    def _earn_time(self, size: int) -> None:
        """So many bytes of the body came: each of them buys time for the others, unless the body is not waited for just now."""
        if not (self._reading_paused or self._stalled):
            times = self.factory.times
            self.deadline = min(self.deadline + size * times.per_byte, self.factory.seconds() + times.idle)

    def _must_read(self) -> None:
        """From now on the client must take something within the time for it."""
        self._unsent = unsent_bytes(self.transport)
        self.deadline = self.factory.seconds() + self.factory.times.write

    def _reads(self) -> bool:
        """Whether the client has taken something since it was last looked at, however little: then it has as long again."""
        if unsent_bytes(self.transport) >= self._unsent:
            return False
        self._must_read()
        return True

    def deadline_passed(self) -> None:
        """The client was silent, or did not read, for too long."""
        if self._state == LINGERING:
            if unsent_bytes(self.transport) and self.factory.seconds() < self._linger_until:
                self._set_deadline()  # it has not taken all of the answer yet
            else:
                self.close()
        elif self._state == CLOSING:
            if not self._reads():
                self.transport.abortConnection()
        else:
            waited_for = self._waited_for()
            if waited_for != "write" or not self._reads():
                self._give_up(waited_for)

    def _waited_for(self) -> str:
        """What the client is late with, as it is counted."""
        if self._stalled:
            return "write"
        if self._state == HANDSHAKE:
            return "handshake"
        if self._exchange is None:
            return "head" if self._buffer or self._state == PROXY_HEADER else "idle"
        return "body"

    def _give_up(self, waited_for: str) -> None:
        """408 where a request was begun, silence where none was."""
        timed_out = self.factory.counters.timed_out
        timed_out[waited_for] = timed_out.get(waited_for, 0) + 1
        if waited_for == "handshake":
            self.factory.counters.count_handshake("timeout")
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost("client-timeout", 408)
        if self._tunnel is not None:
            self._tunnel.drop("client-timeout")
        elif waited_for == "idle":
            self.close()
        elif waited_for in ("write", "handshake") or self._state == PROXY_HEADER or (self._responding and exchange is not None):
            self.abort()
        else:
            self._say_last(408, f"the request's {waited_for} did not come in time")
            self._linger()

    # Ends.

    def _say_last(self, status: int, why: str) -> None:
        """Answer outside any exchange."""
        hsts = self.factory.hsts if ISSLTransport.providedBy(self.transport) else b""
        self.transport.write(last_answer(status, why, hsts))

    def close(self) -> None:
        """Close when all that was written has been sent."""
        self._state = CLOSING
        self.transport.unregisterProducer()
        self._must_read()
        self.transport.loseConnection()

    def close_if_idle(self) -> None:
        """Close unless something runs, has begun, or waits for its turn."""
        if self._state in (IDLE, PROXY_HEADER, HANDSHAKE) and not self._buffer:
            self.close()

    def drop(self) -> None:
        """End at once, whatever runs."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost("drain")
        if self._tunnel is not None:
            self._tunnel.drop("drain")
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection with a reset."""
        self._exchange = None
        self._state = CLOSED
        self.deadline = NEVER
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def _linger(self) -> None:
        """Half-close, and for a while throw away what still comes, so that no reset overtakes the answer."""
        self._body = None
        self._buffer = b""
        if self._read_closed:
            self.close()
            return
        self._state = LINGERING
        self._linger_until = self.factory.seconds() + LINGER_IN_ALL
        self._set_deadline()
        self.transport.unregisterProducer()
        self._read_on()
        half_close(self.transport)
