"""The server side of HTTP/1.1: connections from clients, lean. From bytes to heads, from heads to exchanges and their bodies.

A connection reads one head at a time, makes an exchange of it, and streams the request's body into it. What a client pipelines
waits, unparsed, until the exchange before it is over, so that answers keep their order. The response comes back through the
connection's other half, :mod:`.downstream`; what does not depend on HTTP stands in the base of both, :mod:`.connection`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from zope.interface import implementer

from ..deadlines import NEVER
from ..endpoints import address_text, place
from ..errors import BadMessage
from ..proxy_protocol import read_proxy_header
from .body import ChunkedBody, SizedBody
from .connection import EXCHANGE, HANDSHAKE, IDLE, LINGERING, PROXY_HEADER, TUNNEL
from .downstream import Downstream
from .head import RequestHead
from .request_head import parse_request_head
from .roles import Place, RequestReceiver

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


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class ServerConnection(Downstream):
    """One client's connection, and the HTTP/1.1 on it."""

    __slots__ = ("_client", "_ends")

    def __init__(self, factory: ServerFactory, state: int = IDLE) -> None:
        super().__init__(factory, state)
        self._client: Any = None
        self._ends: tuple[Place, Place] | None = None  # whose connection it is, where its beginning has told that

    # What the wire calls.

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
            self._set_deadline()
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
        else:
            self._set_deadline()  # an early response goes on for a client that gave its body up (RFC 9112 section 9.5)

    def writeConnectionLost(self) -> None:
        """Our own half-close is done."""

    def _read_proxy_header(self, data: bytes) -> None:
        rest = self._take_proxy_header(data)
        if rest is None:
            return
        self._state = IDLE
        self._set_deadline()
        if rest:
            self._step(rest)

    def _take_proxy_header(self, data: bytes) -> bytes | None:
        """The beginning of a connection whose peer tells whose it is. One that does not is told nothing: it is misconfigured, or
        has no business here, and not even known to speak HTTP. Gives what follows the header; None while it is not all here."""
        try:
            header = read_proxy_header(data)
        except BadMessage as error:
            self._count_rejected(error)
            self.close()
            return None
        if header is None:
            self._buffer = data
            return None
        size, source, destination = header
        self._buffer = b""
        if source[0]:
            self._ends = source, destination
        return data[size:]

    # What a wire with TLS calls.

    def clear_data(self, data: bytes) -> int:
        """What stands before the handshake: a PROXY protocol header. Gives how many of these bytes are no part
        of the handshake."""
        rest = self._take_proxy_header(self._buffer + data)
        if rest is None:
            return len(data)
        self._state = HANDSHAKE
        self._set_deadline()
        self.transport.start_tls()
        return len(data) - len(rest)

    def handshakeCompleted(self) -> None:
        """The TLS session has come about."""
        self.factory.counters.handshakes += 1
        if self._state == HANDSHAKE:
            self._state = IDLE
            self._set_deadline()

    # From bytes to exchanges.

    def _step(self, data: bytes) -> None:
        """Make exchanges of what is here, one after the other, until one runs on or a head is not complete."""
        self._stepping = True
        try:
            while self._state == IDLE:
                if self._stalled:
                    self._wait_for_reader(data)
                    break
                end = data.find(b"\r\n\r\n") + 4  # less than 4: it is not here yet
                if end < 4 or end > self.factory.limits.size:
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
                if self._state == IDLE:  # it is over already: on to what was pipelined behind it
                    data, self._buffer = self._buffer, b""
        finally:
            self._stepping = False

    def _no_head(self, data: bytes, end: int) -> bytes:
        """There is no whole head yet, or none that is taken. Returns what is left to be looked at, if anything is."""
        limit = self.factory.limits.size
        if data[:2] == b"\r\n":
            return _without_empty_lines(data)
        if (len(data) if end < 4 else end) > limit:
            if b"\r\n" in data[:limit]:
                self._refuse(BadMessage("head-size", f"the head is larger than {limit} bytes", 431))
            else:
                self._refuse(BadMessage("target-size", f"the request line is longer than {limit} bytes", 414))
            return b""
        if data and _is_none(data):
            self._refuse(BadMessage("syntax", "these are no lines of HTTP/1.x, each ended by CR and LF"))
            return b""
        if data and not self._head_begun:
            self._head_begun = True
            self._set_deadline()
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
        self.deadline = NEVER  # as _set_deadline would for a request without a body: this is on the measured path
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
        secure = ISSLTransport.providedBy(transport)
        identity = self.factory.identify(transport) if secure and self.factory.identify is not None else b""
        if self._ends is not None:
            source, destination = self._ends
            return self.factory.maker.client(source[0], secure, source, destination, identity)
        peer = transport.getPeer()
        return self.factory.maker.client(address_text(peer), secure, place(peer), place(transport.getHost()), identity)

    def _begin_body(self, exchange: RequestReceiver, request: RequestHead, data: bytes) -> None:
        limits = self.factory.limits
        body = ChunkedBody(limits.body, limits.fields, limits.underscores) if request.chunked else SizedBody(request.length)
        self._body = body
        self._invited = bool(data) or not request.expects_continue
        self._set_deadline()
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

    def _body_done(self, exchange: RequestReceiver, body: SizedBody | ChunkedBody) -> None:
        self._body = None
        self._buffer = body.rest
        self._set_deadline()
        exchange.body_end(body.trailers)

    def _continue_body(self, body: SizedBody | ChunkedBody, data: bytes) -> None:
        """More of the body of the request whose exchange runs."""
        exchange = self._exchange
        assert exchange is not None
        if not self._invited:
            self._invited = True
            self._set_deadline()
        self._earn_time(len(data))
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
        self._say_last(error.status, str(error))
        self._linger()

    def _count_rejected(self, error: BadMessage) -> None:
        rejected = self.factory.counters.rejected
        rejected[error.cause] = rejected.get(error.cause, 0) + 1

    def _go_on(self) -> None:
        """Read on, and look at what was pipelined."""
        if self._stalled:
            return
        self._read_on()
        data, self._buffer = self._buffer, b""
        if data:
            self._step(data)
        if self._state == EXCHANGE and len(self._buffer) > PIPELINE_LIMIT:
            self._stop_reading()
        if self._read_closed and self._state == IDLE and not self._stalled:
            self.close()
