"""The server side of HTTP/1.1: connections from clients, lean.

A connection reads one head at a time, makes an exchange of it, streams the request's body into it, and writes the response that
comes back. What a client pipelines waits, unparsed, until the exchange before it is over, so that answers keep their order.

One class, and a long one, because it is one state machine on the measured path: cut in two, every byte would pass another call.
What does not depend on HTTP stands in its base, :class:`.connection.ClientConnection`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from ..deadlines import NEVER
from ..endpoints import address_text, place
from ..errors import BadMessage
from ..interfaces import IDownstream
from ..proxy_protocol import read_proxy_header
from .answers import last_answer
from .body import LAST_CHUNK, ChunkedBody, SizedBody, chunk, last_chunk
from .connection import CLOSED, EXCHANGE, IDLE, LINGERING, PROXY_HEADER, TUNNEL, ClientConnection
from .head import RequestHead, ResponseHead
from .request_head import parse_request_head
from .roles import RequestReceiver, TunnelEnd

if TYPE_CHECKING:
    from .factory import ServerFactory

__all__ = ["PIPELINE_LIMIT", "ServerConnection"]

#: Pipelined bytes that wait at most; beyond this the client is read no further until its turn comes.
PIPELINE_LIMIT = 64 * 1024


_EMPTY_LINES = re.compile(rb"(?:\r\n)*")


def _without_empty_lines(data: bytes) -> bytes:
    """What follows the empty lines at its beginning, which are whole ones: a CR or LF alone is none."""
    return data[_EMPTY_LINES.match(data).end() :]  # type: ignore[union-attr]  # it always matches


_METHODS_BEGIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ\r")  # or there is an empty line before


def _is_none(data: bytes) -> bool:
    """Whether a head's beginning can be none, so that its end is not waited for: TLS on a plain port, lines ended by LF."""
    return data[0] not in _METHODS_BEGIN or data.count(b"\n") != data.count(b"\r\n")


@implementer(IDownstream, IPushProducer, IHalfCloseableProtocol)
class ServerConnection(ClientConnection):
    """One client's connection, and the HTTP/1.1 on it."""

    __slots__ = (
        "_body", "_buffer", "_chunked", "_client", "_exchange", "_head_begun", "_invited", "_keep", "_request", "_responding",
        "_stepping",
    )  # fmt: skip

    def __init__(self, factory: ServerFactory, state: int = IDLE) -> None:
        super().__init__(factory, state)
        self._buffer = b""  # bytes that nobody has looked at yet: a head's beginning, or what was pipelined
        self._head_begun = False
        self._exchange: RequestReceiver | None = None
        self._request: RequestHead | None = None
        self._body: SizedBody | ChunkedBody | None = None  # while more of the request's body is to come
        self._invited = True  # whether the client may be expected to send its body: not while it waits for 100
        self._client: Any = None
        self._responding = False
        self._chunked = False  # how the response's body is framed
        self._keep = True
        self._stepping = False

    # What the wire calls.

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """The client is gone, and with it the exchange that runs."""
        super().connectionLost(reason)
        exchange, self._exchange = self._exchange, None
        self._buffer = b""
        if exchange is not None:
            exchange.client_lost()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client: a head, a body, or more than its turn."""
        state = self._state
        if state == IDLE:
            if self._buffer:
                data, self._buffer = self._buffer + data, b""
            self._step(data)
        elif state == EXCHANGE:
            if self._body is not None:
                self._continue_body(self._body, data)
            else:
                self._buffer += data
                if len(self._buffer) > PIPELINE_LIMIT:
                    self._stop_reading()
        elif state == TUNNEL:
            assert self._tunnel is not None
            self._tunnel.data(data)
        elif state == LINGERING:
            self._linger_on()
        elif state == PROXY_HEADER:
            self._read_proxy_header(self._buffer + data)

    def readConnectionLost(self) -> None:
        """The client sends no more. It may still read: what it has asked for is answered (RFC 9112 section 9.6)."""
        self._read_closed = True
        state, exchange = self._state, self._exchange
        if state == TUNNEL:
            assert self._tunnel is not None
            self._tunnel.half_closed()
        elif state in (LINGERING, PROXY_HEADER) or (state == IDLE and not self._stalled):
            self.close()  # one that does not read yet may have more waiting here for its turn
        elif exchange is not None and (self.factory.abort_on_close or (self._body is not None and not self._responding)):
            self._exchange = None
            exchange.client_lost()
            self.abort()
        elif not self._stalled:
            self.deadline = NEVER  # an early response goes on for a client that gave its body up (RFC 9112 section 9.5)

    def writeConnectionLost(self) -> None:
        """Our own half-close is done."""

    def _read_proxy_header(self, data: bytes) -> None:
        """The beginning of a connection whose peer tells whose it is. One that does not is told nothing: it is misconfigured, or
        has no business here, and not even known to speak HTTP."""
        try:
            header = read_proxy_header(data)
        except BadMessage as error:
            self._count_rejected(error)
            self.close()
            return
        if header is None:
            self._buffer = data
            return
        size, source, destination = header
        self._buffer = b""
        self._state = IDLE
        self.deadline = self.factory.seconds() + self.factory.times.idle
        if source[0]:
            secure = ISSLTransport.providedBy(self.transport)
            self._client = self.factory.maker.client(source[0], secure, source, destination)
        if len(data) > size:
            self._step(data[size:])

    # From bytes to exchanges.

    def _step(self, data: bytes) -> None:
        """Make exchanges of what is here, one after the other, until one runs on or a head is not complete."""
        self._stepping = True
        try:
            while self._state == IDLE:
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
                        data = _without_empty_lines(data)  # RFC 9112 section 2.2: empty lines before a request are ignored
                        continue
                    self._refuse(error)
                    break
                self._begin(request, data[end:])
                data, self._buffer = (self._buffer, b"") if self._state == IDLE else (b"", self._buffer)
        finally:
            self._stepping = False

    def _no_head(self, data: bytes, end: int) -> bytes:
        """There is no whole head yet, or none that is taken. Returns what is left to be looked at, if anything is."""
        limit = self.factory.limits.size
        if data[:2] == b"\r\n":
            return _without_empty_lines(data)
        if max(end, len(data) if end < 4 else 0) > limit:
            if b"\r\n" in data[:limit]:
                self._refuse(BadMessage("head-size", f"the head is larger than {limit} bytes", 431))
            else:
                self._refuse(BadMessage("target-size", f"the request line is longer than {limit} bytes", 414))
            return b""
        if data and _is_none(data):
            self._refuse(BadMessage("syntax", "these are no lines of HTTP/1.x, each ended by CR and LF"))
            return b""
        if data and not self._head_begun:
            # The head's time runs from its first byte, however slowly the others come.
            self._head_begun = True
            self.deadline = self.factory.seconds() + self.factory.times.header
        self._buffer = data
        return b""

    def _wait_for_reader(self, data: bytes) -> None:
        """The client sends requests but reads no answers: make it wait, or its answers would pile up here."""
        self._buffer = data
        self._stop_reading()

    def _begin(self, request: RequestHead, data: bytes) -> None:
        """An exchange begins: give it what is here of its body, then let it be carried."""
        factory = self.factory
        self._state = EXCHANGE
        self._request = request
        self._keep = request.keep_alive
        self._responding = self._head_begun = False
        self.deadline = NEVER
        self.requests = requests = self.requests + 1
        if requests == factory.last_request or request.fields_dropped:
            self._note(request)
        client = self._client
        if client is None:
            client = self._client = self._meet()
        self._exchange = exchange = factory.maker.exchange(self, request, client)
        if request.has_body:
            self._begin_body(exchange, request, data)
        else:
            self._buffer = data
        if self._exchange is exchange:
            factory.maker.forward(exchange)

    def _note(self, request: RequestHead) -> None:
        """Count what is seldom: a connection's last request, and one from which fields were dropped."""
        counters = self.factory.counters
        if self.requests == self.factory.last_request:
            self._keep = False
            counters.limited["requests"] = counters.limited.get("requests", 0) + 1
        counters.fields_dropped += request.fields_dropped

    def _meet(self) -> Any:
        """Who the client is, by the connection's own ends. Not asked before its first request: Twisted's wrapper for the PROXY
        protocol learns of them after the connection is made."""
        transport = self.transport
        peer = transport.getPeer()
        secure = ISSLTransport.providedBy(transport)
        return self.factory.maker.client(address_text(peer), secure, place(peer), place(transport.getHost()))

    def _begin_body(self, exchange: RequestReceiver, request: RequestHead, data: bytes) -> None:
        limits = self.factory.limits
        body = ChunkedBody(limits.body, limits.fields, limits.underscores) if request.chunked else SizedBody(request.length)
        self._body = body
        self._invited = bool(data) or not request.expects_continue
        self._expect_body()
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
        elif self._read_closed:  # the rest will never come
            self._exchange = None
            self.close()

    def _expect_body(self) -> None:
        """From here on the rest of the client's body must come, and not too slowly, unless it is not to be sent just now. What
        held it up before is forgiven."""
        held = self._reading_paused or self._stalled or self._read_closed
        if self._body is not None and self._invited and not held:
            self.deadline = self.factory.seconds() + self.factory.times.body

    def _body_done(self, exchange: RequestReceiver, body: SizedBody | ChunkedBody) -> None:
        self._body = None
        self._buffer = body.rest
        if not self._stalled:
            self.deadline = NEVER
        exchange.body_end(body.trailers)

    def _continue_body(self, body: SizedBody | ChunkedBody, data: bytes) -> None:
        """More of the body of the request whose exchange runs."""
        exchange = self._exchange
        assert exchange is not None
        if not self._invited:
            self._invited = True
            self._expect_body()
        if not (self._reading_paused or self._stalled):
            times = self.factory.times
            self.deadline = min(self.deadline + len(data) * times.per_byte, self.factory.seconds() + times.idle)
        try:
            data = body.feed(data)
        except BadMessage as error:
            self._exchange = None
            exchange.client_lost("too-large" if error.status == 413 else "bad-request", error.status)
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
        self._count_rejected(error)
        self.transport.write(last_answer(error.status, str(error)))
        self._linger()

    def _count_rejected(self, error: BadMessage) -> None:
        rejected = self.factory.counters.rejected
        rejected[error.cause] = rejected.get(error.cause, 0) + 1

    # IDownstream: what the exchange calls.

    def inform(self, head: ResponseHead) -> None:
        """Send an interim response; HTTP/1.0 knows none (RFC 9110 section 15.2)."""
        request = self._request
        if request is None or not request.minor or self._responding:
            return
        self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, head.fields))
        if head.status == 100 and not self._invited:
            self._invited = True
            self._expect_body()

    def respond(self, head: ResponseHead, data: bytes, complete: bool) -> None:
        """Send the response's head, framed for this client, and the beginning of its body."""
        if self._state != EXCHANGE:
            return
        request = self._request
        assert request is not None
        self._responding = True
        framing = b""
        self._chunked = False
        if self._body is not None or self.factory.draining or (self._read_closed and not self._buffer):
            self._keep = False  # an early response: whatever still comes of the body would be taken for a request
        if head.length < 0:
            if request.minor:
                self._chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
                data = (chunk(data) if data else b"") + (LAST_CHUNK if complete else b"")
            else:
                self._keep = False  # HTTP/1.0 knows no chunks: the connection's end ends the body
        if head.status == 426 and head.upgrade:
            framing += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade  # RFC 9110 section 15.5.22
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

    def finish(self, trailers: bytes = b"") -> None:
        """The response is whole."""
        if self._state != EXCHANGE:
            return
        if self._chunked:
            self.transport.write(last_chunk(trailers) if trailers else LAST_CHUNK)
        self._response_done()

    def switch(self, head: ResponseHead, data: bytes, end: TunnelEnd) -> None:
        """Send the 101; from here on bytes are passed on raw, what the client has sent ahead first of all."""
        self._state = TUNNEL
        self._tunnel = end
        self._exchange = self._request = None
        self.deadline = NEVER
        end.transport = self.transport
        self.transport.write(
            b"HTTP/1.1 101 %b\r\n%bConnection: Upgrade\r\nUpgrade: %b\r\n\r\n%b" % (head.reason, head.fields, head.upgrade, data)
        )
        self._read_on()
        ahead, self._buffer = self._buffer, b""
        if ahead:
            end.data(ahead)
        if self._stalled:
            self._must_read()
            end.pause()
        if self._read_closed:
            end.half_closed()

    def abort(self) -> None:
        """Drop the connection with a reset."""
        self._exchange = None
        super().abort()

    def _linger(self) -> None:
        self._body = None
        self._buffer = b""
        super()._linger()

    def close_if_idle(self) -> None:
        """Close unless something runs, has begun, or waits for its turn."""
        if not self._buffer:
            super().close_if_idle()

    def drop(self) -> None:
        """End at once, whatever runs."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost("drain")
        if self._tunnel is not None:
            self._tunnel.drop("drain")
        else:
            self.abort()

    def pause_body(self) -> None:
        """Read no more of the request's body; the client's silence is no fault of its own until it is read on. That it does not
        read still is."""
        if not self._reading_paused:
            if not self._stalled:
                self.deadline = NEVER
            self._stop_reading()

    def resume_body(self) -> None:
        """Read on."""
        if self._reading_paused:
            self._read_on()
            self._expect_body()

    def _response_done(self) -> None:
        """The exchange is over: on to what was pipelined, or to the connection's end."""
        request, self._exchange, self._request = self._request, None, None
        if not self._keep or self.factory.draining:
            assert request is not None
            # Unless the client wants the end itself and has sent no more, more may come, and a reset would answer it.
            if request.keep_alive or self._body is not None or self._buffer or self._reading_paused:
                self._linger()
            else:
                self.close()
        else:
            self._state = IDLE
            if not self._stalled:  # the answer is to be read first
                self.deadline = self.factory.seconds() + self.factory.times.idle
            if not self._stepping and (self._buffer or self._reading_paused or self._read_closed):
                self._go_on()

    def _go_on(self) -> None:
        """Read on, and look at what was pipelined."""
        if self._stalled:
            return
        self._read_on()
        data, self._buffer = self._buffer, b""
        if data:
            self._step(data)
        if len(self._buffer) > PIPELINE_LIMIT:
            self._stop_reading()
        if self._read_closed and self._state == IDLE and not self._stalled:
            self.close()

    # Time.

    def deadline_passed(self) -> None:
        """The client was silent, or did not read, for too long."""
        if self._state == LINGERING:
            self.close()
        elif self._state == CLOSED:
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
        if self._exchange is None:
            return "head" if self._buffer or self._state == PROXY_HEADER else "idle"
        return "body"

    def _give_up(self, waited_for: str) -> None:
        """408 where a request was begun, silence where none was."""
        timed_out = self.factory.counters.timed_out
        timed_out[waited_for] = timed_out.get(waited_for, 0) + 1
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost("client-timeout", 408)
        if self._tunnel is not None:
            self._tunnel.drop("client-timeout")
        elif waited_for == "idle":
            self.close()
        elif waited_for == "write" or self._state == PROXY_HEADER or (self._responding and exchange is not None):
            self.abort()
        else:
            self.transport.write(last_answer(408, f"the request's {waited_for} did not come in time"))
            self._linger()

    # IPushProducer: what the wire says when the client is slow to read.

    def pauseProducing(self) -> None:
        """The client does not keep up with what is written to it."""
        self._stalled = True
        self._must_read()
        if self._tunnel is not None:
            self._tunnel.pause()
        elif self._exchange is not None:
            self._exchange.pause_response()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._stalled = False
        self.deadline = NEVER
        if self._tunnel is not None:
            self._tunnel.resume()
        elif self._exchange is not None:
            self._expect_body()
            self._exchange.resume_response()
        elif self._state == IDLE:
            self.deadline = self.factory.seconds() + self.factory.times.idle
            self._go_on()

    def stopProducing(self) -> None:
        """The transport is gone; :meth:`connectionLost` says so."""
