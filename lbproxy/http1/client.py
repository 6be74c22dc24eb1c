"""The client side of HTTP/1.1: one connection to a backend, which carries one exchange at a time.

The module is long because the connection is one state machine, which every response runs through: what can be said of a head or a
body by itself stands in :mod:`.response_head` and :mod:`.body`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from ..balance.backend import Backend
from ..deadlines import NEVER
from ..errors import AttemptFailed, BadMessage, BadResponse, ResponseTimedOut, StaleConnection, TlsFailed, UpstreamLost
from ..tls.backends import BackendPeer
from ..tls.connecting import turned_away
from ..wire import adopt
from .body import LAST_CHUNK, ChunkedBody, SizedBody, UntilCloseBody, chunk, last_chunk
from .head import MessageLimits, RequestHead, ResponseHead
from .response_head import agrees, parse_response_head
from .roles import ConnectionOwner, Response, ResponseReceiver, TunnelEnd

__all__ = ["INTERIM_LIMIT", "UpstreamConnection", "UpstreamTimes"]

#: Interim responses in one exchange at most: a client that does not read them would have them pile up here.
INTERIM_LIMIT = 100


class UpstreamTimes:
    """Time-outs of connections to backends, in seconds: to a response's head, of silence in mid-body, of being kept idle. When
    they are configured anew, connections that are open go by them as well."""

    __slots__ = ("idle", "response", "silence")

    def __init__(self, response: float, silence: float, idle: float) -> None:
        self.configure(response, silence, idle)

    def configure(self, response: float, silence: float, idle: float) -> None:
        """Let them be these."""
        self.response = response
        self.silence = silence
        self.idle = idle


@implementer(IPushProducer, IHandshakeListener)
class UpstreamConnection(TwistedProtocol):
    """A connection to one backend.

    :meth:`request` begins an exchange on it; the Deferred it returns fires with the response's head, or errbacks with an
    :class:`~lbproxy.errors.AttemptFailed`. What follows the head goes to the receiver. When both messages are complete and
    the backend keeps the connection, it goes back to its owner; in all other cases it is closed.

    :ivar address: of the backend that it leads to, so that it is never used for another.
    :ivar host: the Host that a request gets whose client, being HTTP/1.0, sent none.
    :ivar single: whether it may carry one exchange only.
    :ivar backend: that backend, as it was described when the connection was made, or taken again.
    :ivar peer: whom TLS is spoken with on it; None: it is not.
    :ivar secured: while the TLS handshake lasts, fires when it is over.
    :ivar uses: exchanges begun on it.
    :ivar deadline: when :meth:`deadline_passed` is due.
    """

    transport: Any
    backend: Backend | None = None
    peer: BackendPeer | None = None
    secured: Deferred[Any] | None = None

    def __init__(
        self, owner: ConnectionOwner, address: str, limits: MessageLimits, times: UpstreamTimes, seconds: Callable[[], float]
    ) -> None:
        self.address = address
        self.host = b"localhost" if address.startswith("unix:") else address.encode("ascii")
        self.single = False
        self.uses = 0
        self.deadline = NEVER
        self._owner = owner
        self._limits = limits
        self._times = times
        self._seconds = seconds
        self._buffer = b""  # a response head's beginning
        self._heard = False  # whether anything came since the request, be it an interim response
        self._interim = 0  # interim responses since the request
        self._tunnel: TunnelEnd | None = None
        self._receiver: ResponseReceiver | None = None
        self._waiting: Deferred[Response] | None = None
        self._body: SizedBody | ChunkedBody | UntilCloseBody | None = None
        self._reusable = False
        self._request: RequestHead | None = None  # the last one
        self._held = False  # whether the request's body waits for the backend to ask for it
        self._sending = False  # whether more of the request's body is to come
        self._stalled = False  # whether the backend does not read what was written
        self._paused = False  # whether the client does not
        self._closing = False

    def connectionMade(self) -> None:
        """Take the socket over."""
        self.transport = adopt(self.transport, self)
        # The transport's word on a slow backend comes here as long as it lives; only push producers cost nothing a request.
        self.transport.registerProducer(self, True)

    def handshakeCompleted(self) -> None:
        """TLS with the backend has come about."""
        secured, self.secured = self.secured, None
        if secured is not None:
            secured.callback(self)

    # What the exchange calls.

    def request(self, request: RequestHead, data: bytes, ended: bool, receiver: ResponseReceiver) -> Deferred[Response]:
        """Begin an exchange.

        :param request: what is asked; its framing says how :meth:`write_body` writes.
        :param data: the head's bytes, and after them the part of the body that is here already, framed.
        :param ended: whether that is the whole request.
        :param receiver: gets what follows the response's head.
        :return: fires with (head, data, complete). Cancelling it does nothing; call :meth:`abort`.
        """
        self.uses += 1
        self._receiver = receiver
        self._request = request
        self._heard = False
        self._interim = 0
        waiting: Deferred[Response] = Deferred()
        self._waiting = waiting
        if ended:
            self._sending = False
            self.deadline = self._seconds() + self._times.response  # as _set_deadline, without the call
        else:
            self._sending = True
            self._held = request.expects_continue
            self._set_deadline()
        self.transport.write(data)
        return waiting

    def write_body(self, data: bytes) -> None:
        """Send a further, non-empty part of the request's body."""
        if self._held:
            self._body_comes()
        assert self._request is not None
        self.transport.write(chunk(data) if self._request.chunked else data)

    def _body_comes(self) -> None:
        """The body comes, asked for or not: the backend's time begins when all of it is here, unless its response has begun."""
        self._held = False
        if self._body is None and not self._stalled:  # one that does not read has a deadline for that
            self._set_deadline()

    def end_body(self, trailers: bytes = b"") -> None:
        """The request's body is complete; *trailers* are lines, each ended by CRLF."""
        self._sending = self._held = False
        assert self._request is not None
        if self._request.chunked:
            self.transport.write(last_chunk(trailers) if trailers else LAST_CHUNK)
        if self._body is None:
            self._set_deadline()

    def pause(self) -> None:
        """The client is slow: read no more of the response until :meth:`resume`."""
        if self._body is None:
            return
        self._paused = True
        self._set_deadline()
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Go on reading the response."""
        if self._body is None:
            return
        self._paused = False
        self._set_deadline()
        self.transport.resumeProducing()

    def abort(self) -> None:
        """Drop the connection, and with it whatever runs on it. The receiver hears no more."""
        self._forget()
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def close(self) -> None:
        """Close an idle connection; one whose backend does not even read what is unsent is dropped after a while."""
        self._forget()
        self._closing = True
        self.deadline = self._seconds() + self._times.idle
        self._owner.closing(self)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def switch(self, end: TunnelEnd) -> None:
        """From here on bytes are passed on raw, to *end* and to what it is given as its transport."""
        self._forget()
        self._tunnel = end
        end.transport = self.transport
        # An exchange's connection is over when its backend ends it, a tunnel is not. (A wire asks for this when it comes to it;
        # Twisted's own transports have been told long ago, and end the tunnel with the backend's half-close.)
        alsoProvides(self, IHalfCloseableProtocol)

    @property
    def stalled(self) -> bool:
        """Whether the backend does not read what was written."""
        return self._stalled

    def _forget(self) -> None:
        self._receiver = self._waiting = self._body = None
        self._reusable = False
        self.deadline = NEVER

    # What the wire calls.

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a response; without an exchange they are none that anybody asked for, and the connection is closed."""
        body = self._body
        if body is not None:
            self._continue(body, data)
        elif self._receiver is not None:
            self._head(data)
        elif self._tunnel is not None:
            self._tunnel.data(data)
        else:
            self.close()

    def readConnectionLost(self) -> None:
        """The backend sends no more through the tunnel."""
        assert self._tunnel is not None
        self._tunnel.half_closed()

    def writeConnectionLost(self) -> None:
        """Our own half-close is done."""

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """The connection has ended: perhaps the body with it, perhaps too early."""
        receiver, waiting, body = self._receiver, self._waiting, self._body
        stale = self.uses > 1 and not self._heard
        self._forget()
        self._owner.lost(self)
        secured, self.secured = self.secured, None
        if secured is not None:
            if not secured.called:  # it may have been given up
                secured.errback(reason)
        elif self._tunnel is not None:
            self._tunnel.lost(reason)
        elif waiting is not None:
            waiting.errback(self._end_of_attempt(reason, stale))
        elif receiver is not None and body is not None:
            if isinstance(body, UntilCloseBody) and reason.check(ConnectionDone):
                receiver.response_end(b"")
            else:
                receiver.response_lost(reason.getErrorMessage())

    def _end_of_attempt(self, reason: Failure, stale: bool) -> AttemptFailed:
        """What it is that the connection has ended before a response's head came."""
        if self.peer is not None and not self._heard and self.uses == 1 and (words := turned_away(reason.value)):
            return TlsFailed(words)
        words = reason.getErrorMessage()
        return StaleConnection(words) if stale else UpstreamLost(words)

    def _head(self, data: bytes) -> None:
        """Bytes of a response's head, or of interim responses before it."""
        self._heard = True
        request = self._request
        assert request is not None
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while True:
            end = data.find(b"\r\n\r\n") + 4  # less than 4: it is not here yet
            if (len(data) if end < 4 else end) > self._limits.size:
                self._fail(BadResponse(f"a response head of more than {self._limits.size} bytes"))
                return
            if end < 4:
                self._buffer = data
                return
            try:
                head = parse_response_head(data[:end], self._limits, request.method)
                if head.status < 200 and head.status != 101:
                    self._interim_response(head)
            except BadMessage as error:
                self._fail(BadResponse(str(error)))
                return
            data = data[end:]
            if head.status == 101:
                self._switching(request, head, data)
                return
            if head.status >= 200:
                self._begin(head, data)
                return
            if self._waiting is None:
                return  # the exchange has ended meanwhile

    def _interim_response(self, head: ResponseHead) -> None:
        """Hand a 1xx on. It buys no time, but for a 100: that begins when the body is here."""
        self._interim += 1
        if self._interim > INTERIM_LIMIT:
            raise BadMessage("interim", f"more than {INTERIM_LIMIT} interim responses")
        if head.status == 100 and self._held:
            self._body_comes()
        assert self._receiver is not None
        self._receiver.response_interim(head)

    def _switching(self, request: RequestHead, head: ResponseHead, data: bytes) -> None:
        """A 101: to be had only by a request that asked for it, and with what it asked for (RFC 9110 section 15.2.2)."""
        if not agrees(request.upgrade, head.upgrade):
            words = f"101 to {head.upgrade[:64]!r}, where {request.upgrade[:64]!r} was asked for"
            self._fail(BadResponse(f"upgrade: {words}"))
            return
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        self._set_deadline()
        waiting.callback((head, data, False))

    def _begin(self, head: ResponseHead, data: bytes) -> None:
        """The head is here: hand it over with what came after it."""
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        self._reusable = head.keep_alive
        if len(data) == head.length and not head.chunked:  # most small responses come whole
            self._complete(b"")
            waiting.callback((head, data, True))
            return
        body = self._body_of(head)
        try:
            data = body.feed(data)
        except BadMessage as error:
            self._waiting = waiting
            self._fail(BadResponse(str(error)))
            return
        if body.done and not body.trailers:
            self._complete(body.rest)
            waiting.callback((head, data, True))
        else:
            self._body = body
            self._set_deadline()
            waiting.callback((head, data, False))
            if body.done and self._body is body:  # only its trailers are still to be told
                assert self._receiver is not None
                self._end(body, self._receiver, b"")

    def _body_of(self, head: ResponseHead) -> SizedBody | ChunkedBody | UntilCloseBody:
        """What takes the body's framing off."""
        if head.chunked:
            return ChunkedBody(fields=self._limits.fields, underscores=True)
        return SizedBody(head.length) if head.length >= 0 else UntilCloseBody()

    def _continue(self, body: SizedBody | ChunkedBody | UntilCloseBody, data: bytes) -> None:
        """Bytes of the response's body."""
        receiver = self._receiver
        assert receiver is not None
        try:
            data = body.feed(data)
        except BadMessage as error:
            self.abort()
            receiver.response_lost(str(error))
            return
        if body.done:
            self._end(body, receiver, data)
            return
        if not self._paused:  # what was on its way when it was paused is no sign that more is waited for
            self.deadline = self._seconds() + self._times.silence  # as _set_deadline, without the call
        if data:
            receiver.response_data(data)

    def _end(self, body: SizedBody | ChunkedBody | UntilCloseBody, receiver: ResponseReceiver, data: bytes) -> None:
        if self._paused:  # the next exchange would wait for ever
            self.resume()
        self._complete(body.rest)
        receiver.response_end(data, body.trailers)

    def _complete(self, rest: bytes) -> None:
        """The response is whole: keep the connection if nothing speaks against it, before anyone is told, so that what
        follows from it can use the connection at once."""
        # A stalled one has said pause already, and would not say it again to the next exchange.
        if self._reusable and not (self._sending or self._stalled or self.single or rest):
            self._receiver = self._body = None
            self.deadline = self._seconds() + self._times.idle
            self._owner.release(self)
        elif self._sending or self._stalled:
            self.abort()
        else:
            self.close()

    def _fail(self, failure: AttemptFailed) -> None:
        waiting = self._waiting
        self.abort()
        if waiting is not None:
            waiting.errback(failure)

    # Time.

    def _set_deadline(self) -> None:
        """Wait from now on for what the backend is to send next in this exchange; what held it up before is forgiven. To be
        called wherever one of the flags changes that say what that is."""
        if self._waiting is not None:  # for the response's head, when the backend has been sent all that it needs for it
            self.deadline = NEVER if self._sending and not self._held else self._seconds() + self._times.response
        else:
            self.deadline = NEVER if self._body is None or self._paused else self._seconds() + self._times.silence

    def deadline_passed(self) -> None:
        """Nothing came for too long: an idle connection is closed, an answer that does not come is a failed attempt."""
        receiver = self._receiver
        if self._closing:
            self.abort()
        elif receiver is None:
            self.close()
        elif self._waiting is not None:
            self._fail(ResponseTimedOut(f"no response within {self._times.response:g} s"))
        else:
            self.abort()
            receiver.response_lost(f"nothing came for {self._times.silence:g} s in mid-body")

    # IPushProducer: what the wire says when the backend is slow to read.

    def pauseProducing(self) -> None:
        """The backend does not keep up with the request's body."""
        self._stalled = True
        if self._tunnel is not None:
            self._tunnel.pause()
        elif self._receiver is not None:
            if not self._paused:  # otherwise the client is waited for
                self.deadline = self._seconds() + self._times.silence  # to read on
            self._receiver.pause_request()

    def resumeProducing(self) -> None:
        """The backend has caught up."""
        self._stalled = False
        if self._tunnel is not None:
            self._tunnel.resume()
        elif self._receiver is not None:
            self._set_deadline()
            self._receiver.resume_request()

    def stopProducing(self) -> None:
        """The transport is gone; :meth:`connectionLost` says so."""
