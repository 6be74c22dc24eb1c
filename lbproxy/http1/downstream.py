"""The client's connection as an exchange sees it: where the response goes, and what says whether the request's body may come on.

This is one half of a :class:`.server.ServerConnection`, the half that is called by the exchange (and by the wire, when the client
is slow to read). The other half, which makes exchanges of the client's bytes, is :mod:`.server`. They are one object, because cut
in two every response would pass another call on the measured path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ..interfaces import IDownstream
from .body import LAST_CHUNK, chunk, last_chunk
from .connection import EXCHANGE, IDLE, TUNNEL, ClientConnection
from .head import RequestHead, ResponseHead
from .roles import TunnelEnd

if TYPE_CHECKING:
    from .factory import ServerFactory

__all__ = ["Downstream"]


@implementer(IDownstream, IPushProducer)
class Downstream(ClientConnection):
    """A client's connection that takes the response to one request after the other."""

    __slots__ = ("_chunked", "_keep", "_request", "_stepping")

    def __init__(self, factory: ServerFactory, state: int = IDLE) -> None:
        super().__init__(factory, state)
        self._request: RequestHead | None = None
        self._chunked = False  # how the response's body is framed
        self._keep = True
        self._stepping = False  # whether what follows a response is looked at by the caller

    def _go_on(self) -> None:
        """Look at what was pipelined; said in :mod:`.server`."""
        raise NotImplementedError

    # IDownstream: what the exchange calls.

    def inform(self, head: ResponseHead) -> None:
        """Send an interim response; HTTP/1.0 knows none (RFC 9110 section 15.2)."""
        request = self._request
        if request is None or not request.minor or self._responding:
            return
        self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, head.fields))
        if head.status == 100 and not self._invited:
            self._invited = True
            self._set_deadline()

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
        self._set_deadline()
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

    def pause_body(self) -> None:
        """Read no more of the request's body; the client's silence is no fault of its own until it is read on. That it does not
        read still is."""
        if not self._reading_paused:
            self._stop_reading()
            self._set_deadline()

    def resume_body(self) -> None:
        """Read on."""
        if self._reading_paused:
            self._read_on()
            self._set_deadline()

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
            if not self._stalled:  # as _set_deadline, without its calls: this is on the measured path
                self.deadline = self.factory.seconds() + self.factory.times.idle
            if not self._stepping and (self._buffer or self._reading_paused or self._read_closed):
                self._go_on()

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
        self._set_deadline()
        if self._tunnel is not None:
            self._tunnel.resume()
        elif self._exchange is not None:
            self._exchange.resume_response()
        elif self._state == IDLE:
            self._go_on()

    def stopProducing(self) -> None:
        """The transport is gone; :meth:`connectionLost` says so."""
