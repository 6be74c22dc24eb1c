"""The server side of HTTP/1.1: connections from clients, lean.

A connection reads one head at a time, makes an exchange of it, streams the request's body into it, and writes the response that
comes back. What a client pipelines waits, unparsed, until the exchange before it is over, so that answers keep their order.

One class, and a long one, because it is one state machine on the measured path: cut in two, every byte would pass another call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ..deadlines import NEVER
from ..errors import BadMessage
from ..interfaces import IDownstream
from ..wire import adopt, half_close
from .answers import last_answer
from .body import LAST_CHUNK, ChunkedBody, SizedBody, chunk
from .head import RequestHead, ResponseHead, parse_request_head
from .roles import RequestReceiver

if TYPE_CHECKING:
    from .factory import ServerFactory

__all__ = ["LINGER", "PIPELINE_LIMIT", "ServerConnection"]

#: Pipelined bytes that wait at most; beyond this the client is read no further until its turn comes.
PIPELINE_LIMIT = 64 * 1024
#: Seconds for which a connection is still read, and what comes thrown away, after an answer that ends it early: closing at once
#: would reset it, and the reset could overtake the answer (RFC 9112 section 9.6; nginx's lingering_timeout is 5).
LINGER = 2.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@implementer(IDownstream, IPushProducer)
class ServerConnection(TwistedProtocol):
    """One client's connection: at each time idle, in a head, in an exchange, or lingering before its end.

    The slots are for memory: there may be many thousands, most of them idle.
    """

    __slots__ = (
        "_body", "_buffer", "_chunked", "_client", "_exchange", "_head_begun", "_keep", "_reading_paused", "_request",
        "_responding", "_stalled", "_state", "_stepping", "connected", "deadline", "factory", "requests", "transport",
    )  # fmt: skip

    transport: Any
    factory: Any

    def __init__(self, factory: ServerFactory) -> None:
        self.factory = factory
        self.deadline = NEVER
        self.requests = 0
        self._state = _IDLE
        self._buffer = b""  # bytes that nobody has looked at yet: a head's beginning, or what was pipelined
        self._head_begun = False
        self._exchange: RequestReceiver | None = None
        self._request: RequestHead | None = None
        self._body: SizedBody | ChunkedBody | None = None  # while more of the request's body is to come
        self._client: Any = None
        self._responding = False
        self._chunked = False  # how the response's body is framed
        self._keep = True
        self._stepping = False
        self._stalled = False  # whether the client does not read what was written
        self._reading_paused = False

    # What the wire calls.

    def connectionMade(self) -> None:
        """Take the socket over, and remember who it is."""
        transport: Any = self.transport
        factory = self.factory
        secure = ISSLTransport.providedBy(transport)
        peer = transport.getPeer()
        address = getattr(peer, "host", None) or ("unix" if hasattr(peer, "name") else "unknown")
        self._client = factory.maker.client(address, secure)
        self.transport = transport = adopt(transport, self)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self.deadline = factory.seconds() + factory.idle_timeout
        factory.counters.accepted += 1
        factory.counters.open += 1
        factory.connections.add(self)
        factory.watched.add(self)
        if factory.gate is not None:
            factory.gate.opened()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """The client is gone, and with it the exchange that runs."""
        self._state = _CLOSED
        self.deadline = NEVER
        factory = self.factory
        factory.counters.open -= 1
        factory.connections.discard(self)
        factory.watched.discard(self)
        exchange, self._exchange = self._exchange, None
        self._buffer = b""
        if factory.gate is not None:
            factory.gate.closed()
        if exchange is not None:
            exchange.client_lost()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client: a head, a body, or more than its turn."""
        state = self._state
        if state == _IDLE:
            if self._buffer:
                data, self._buffer = self._buffer + data, b""
            self._step(data)
        elif state == _EXCHANGE:
            if self._body is not None:
                self._continue_body(self._body, data)
            else:
                self._buffer += data
                if len(self._buffer) > PIPELINE_LIMIT:
                    self._stop_reading()
        # Lingering or closed: thrown away.

    # From bytes to exchanges.

    def _step(self, data: bytes) -> None:
        """Make exchanges of what is here, one after the other, until one runs on or a head is not complete."""
        self._stepping = True
        try:
            while self._state == _IDLE:
                if self._stalled:
                    self._wait_for_reader(data)
                    break
                end = data.find(b"\r\n\r\n") + 4
                if end <= 4 or end > self.factory.limits.size:
                    data = self._no_head(data, end)
                    if not data:
                        break
                    continue
                try:
                    request = parse_request_head(data[:end], self.factory.limits)
                except BadMessage as error:
                    if data[:2] == b"\r\n":
                        data = data.lstrip(b"\r\n")  # RFC 9112 section 2.2: empty lines before a request are ignored
                        continue
                    self._refuse(error)
                    break
                self._begin(request, data[end:])
                data, self._buffer = (self._buffer, b"") if self._state == _IDLE else (b"", self._buffer)
        finally:
            self._stepping = False

    def _no_head(self, data: bytes, end: int) -> bytes:
        """There is no whole head yet, or none that is taken. Returns what is left to be looked at, if anything is."""
        limit = self.factory.limits.size
        if data[:2] == b"\r\n":
            return data.lstrip(b"\r\n")
        if max(end, len(data) if end < 4 else 0) > limit:
            if b"\r\n" in data[:limit]:
                self._refuse(BadMessage("head-size", f"the head is larger than {limit} bytes", 431))
            else:
                self._refuse(BadMessage("target-size", f"the request line is longer than {limit} bytes", 414))
            return b""
        if data and not self._head_begun:
            # The head's time runs from its first byte, however slowly the others come.
            self._head_begun = True
            self.deadline = self.factory.seconds() + self.factory.idle_timeout
        self._buffer = data
        return b""

    def _wait_for_reader(self, data: bytes) -> None:
        """The client sends requests but reads no answers: make it wait, or its answers would pile up here."""
        self._buffer = data
        self._stop_reading()

    def _stop_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _begin(self, request: RequestHead, data: bytes) -> None:
        """An exchange begins: give it what is here of its body, then let it be carried."""
        factory = self.factory
        self._state = _EXCHANGE
        self._request = request
        self.requests += 1
        self._keep = request.keep_alive
        self._responding = self._head_begun = False
        self.deadline = NEVER
        self._exchange = exchange = factory.maker.exchange(self, request, self._client)
        if request.has_body:
            self._body = ChunkedBody() if request.chunked else SizedBody(request.length)
            self._begin_body(exchange, self._body, data)
        else:
            self._buffer = data
        if self._exchange is exchange:
            factory.maker.forward(exchange)
            if request.expects_continue and self._body is not None and not data and not self._responding:
                self.transport.write(_CONTINUE)

    def _begin_body(self, exchange: RequestReceiver, body: SizedBody | ChunkedBody, data: bytes) -> None:
        self.deadline = self.factory.seconds() + self.factory.idle_timeout
        try:
            data = body.feed(data)
        except BadMessage as error:
            self._exchange = None
            self._refuse(error)
            return
        if data:
            exchange.body_data(data)
        if body.done:
            self._body_done(exchange, body)

    def _body_done(self, exchange: RequestReceiver, body: SizedBody | ChunkedBody) -> None:
        self._body = None
        self._buffer = body.rest
        self.deadline = NEVER
        exchange.body_end()

    def _continue_body(self, body: SizedBody | ChunkedBody, data: bytes) -> None:
        """More of the body of the request whose exchange runs."""
        exchange = self._exchange
        assert exchange is not None
        if not self._reading_paused:
            self.deadline = self.factory.seconds() + self.factory.idle_timeout
        try:
            data = body.feed(data)
        except BadMessage as error:
            self._exchange = None
            exchange.client_lost("bad-request", 400)
            if self._responding:
                self.abort()
            else:
                self._refuse(error)
            return
        if data:
            exchange.body_data(data)
        if body.done and self._exchange is exchange:
            self._body_done(exchange, body)

    def _refuse(self, error: BadMessage) -> None:
        """Answer a malformed request, and end the connection: nothing after it can be trusted."""
        rejected = self.factory.counters.rejected
        rejected[error.cause] = rejected.get(error.cause, 0) + 1
        self.transport.write(last_answer(error.status, str(error)))
        self._linger()

    # IDownstream: what the exchange calls.

    def respond(self, head: ResponseHead, data: bytes, complete: bool) -> None:
        """Send the response's head, framed for this client, and the beginning of its body."""
        if self._state != _EXCHANGE:
            return
        request = self._request
        assert request is not None
        self._responding = True
        framing = b""
        self._chunked = False
        if self._body is not None or self.factory.draining:
            self._keep = False  # an early response: whatever still comes of the body would be taken for a request
        if head.length < 0:
            if request.minor:
                self._chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
                data = (chunk(data) if data else b"") + (LAST_CHUNK if complete else b"")
            else:
                self._keep = False  # HTTP/1.0 knows no chunks: the connection's end ends the body
        if not self._keep:
            framing += b"Connection: close\r\n"
        elif not request.minor:
            framing += b"Connection: keep-alive\r\n"
        self.transport.write(
            b"HTTP/1.1 %d %b\r\n%b%b\r\n%b" % (head.status, head.reason, head.fields, framing, data)
        )
        if complete:
            self._response_done()

    def write(self, data: bytes) -> None:
        """Send a further part of the body."""
        self.transport.write(chunk(data) if self._chunked else data)

    def finish(self) -> None:
        """The response is whole."""
        if self._state != _EXCHANGE:
            return
        if self._chunked:
            self.transport.write(LAST_CHUNK)
        self._response_done()

    def abort(self) -> None:
        """Drop the connection with a reset."""
        self._exchange = None
        self._state = _CLOSED
        self.deadline = NEVER
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def pause_body(self) -> None:
        """Read no more of the request's body; the client's silence is no fault of its own until it is read on."""
        if not self._reading_paused:
            self.deadline = NEVER
            self._stop_reading()

    def resume_body(self) -> None:
        """Read on."""
        if self._reading_paused:
            self._reading_paused = False
            if self._body is not None:
                self.deadline = self.factory.seconds() + self.factory.idle_timeout
            self.transport.resumeProducing()

    def _response_done(self) -> None:
        """The exchange is over: on to what was pipelined, or to the connection's end."""
        self._exchange = self._request = None
        if self._body is not None:
            self._linger()
        elif not self._keep or self.factory.draining:
            self.close()
        else:
            self._state = _IDLE
            self.deadline = self.factory.seconds() + self.factory.idle_timeout
            if not self._stepping and (self._buffer or self._reading_paused):
                self._go_on()

    def _go_on(self) -> None:
        """Read on, and look at what was pipelined."""
        if self._stalled:
            return
        self.resume_body()
        data, self._buffer = self._buffer, b""
        if data:
            self._step(data)

    # Ends.

    def close(self) -> None:
        """Close when all that was written has been sent."""
        self._state = _CLOSED
        self.deadline = self.factory.seconds() + self.factory.idle_timeout
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def close_if_idle(self) -> None:
        """Close unless an exchange runs, or a head has begun."""
        if self._state == _IDLE and not self._head_begun:
            self.close()

    def drop(self) -> None:
        """Reset the connection, and end the exchange that runs: the drain is over."""
        exchange = self._exchange
        self.abort()
        if exchange is not None:
            exchange.client_lost("drain")

    def _linger(self) -> None:
        """Half-close, and for a while throw away what still comes, so that no reset overtakes the answer."""
        self._state = _LINGERING
        self._body = None
        self._buffer = b""
        self.deadline = self.factory.seconds() + LINGER
        self.transport.unregisterProducer()
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resumeProducing()
        half_close(self.transport)

    def deadline_passed(self) -> None:
        """The client was silent, or did not read, for too long."""
        state, exchange = self._state, self._exchange
        if state == _LINGERING:
            self.close()
            return
        if state == _CLOSED:
            self.transport.abortConnection()
            return
        silent_in = self._silent_in()
        timed_out = self.factory.counters.timed_out
        timed_out[silent_in] = timed_out.get(silent_in, 0) + 1
        self._exchange = None
        if exchange is not None:
            exchange.client_lost("client-timeout", 408)
        if silent_in == "idle":
            self.close()
        elif self._responding and exchange is not None:
            self.abort()
        else:
            self.transport.write(last_answer(408, f"nothing came for {self.factory.idle_timeout:g} s"))
            self._linger()

    def _silent_in(self) -> str:
        """In what the client has been silent, as it is counted."""
        if self._exchange is None:
            return "head" if self._buffer else "idle"
        return "write" if self._body is None else "body"

    # IPushProducer: what the wire says when the client is slow to read.

    def pauseProducing(self) -> None:
        """The client does not keep up with the response."""
        self._stalled = True
        if self._exchange is not None:
            self.deadline = self.factory.seconds() + self.factory.idle_timeout
            self._exchange.pause_response()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._stalled = False
        if self._exchange is not None:
            waiting = self._body is None or self._reading_paused
            self.deadline = NEVER if waiting else self.factory.seconds() + self.factory.idle_timeout
            self._exchange.resume_response()
        elif self._state == _IDLE:
            self._go_on()

    def stopProducing(self) -> None:
        """The transport is gone; :meth:`connectionLost` says so."""


_IDLE, _EXCHANGE, _LINGERING, _CLOSED = range(4)
