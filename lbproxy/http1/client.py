"""The client side of HTTP/1.1: one connection to a backend, which carries one exchange at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ..deadlines import NEVER
from ..errors import AttemptFailed, BadMessage, BadResponse, ResponseTimedOut, StaleConnection, UpstreamLost
from ..wire import adopt
from .body import LAST_CHUNK, ChunkedBody, SizedBody, UntilCloseBody, chunk
from .head import MessageLimits, RequestHead, ResponseHead, parse_response_head

__all__ = ["ConnectionOwner", "ResponseReceiver", "UpstreamConnection", "UpstreamTimes"]

Response = tuple[ResponseHead, bytes, bool]
"""A response's head, the body bytes that came with it, and whether they are the whole body."""


class ResponseReceiver(Protocol):
    """Who gets the response: the exchange that runs on the connection."""

    def response_data(self, data: bytes) -> None:
        """A further part of the body, never empty."""

    def response_end(self, data: bytes) -> None:
        """The body has ended as its framing said, with this last part of it, perhaps empty. The connection may carry another
        exchange already: it is not to be touched any more."""

    def response_lost(self, reason: str) -> None:
        """The body was cut short."""

    def pause_request(self) -> None:
        """The backend takes no more of the request's body for now."""

    def resume_request(self) -> None:
        """The backend takes more."""


class ConnectionOwner(Protocol):
    """Who keeps connections between exchanges."""

    def release(self, connection: UpstreamConnection) -> None:
        """The connection is free for another exchange."""

    def closing(self, connection: UpstreamConnection) -> None:
        """The connection is about to be closed."""

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection has ended."""


class UpstreamTimes:
    """Time-outs of a connection to a backend, in seconds: to a response's head, of silence in mid-body, of being kept idle."""

    __slots__ = ("idle", "response", "silence")

    def __init__(self, response: float, silence: float, idle: float) -> None:
        self.response = response
        self.silence = silence
        self.idle = idle


@implementer(IPushProducer)
class UpstreamConnection(TwistedProtocol):
    """A connection to one backend.

    :meth:`request` begins an exchange on it; the Deferred it returns fires with the response's head, or errbacks with an
    :class:`~lbproxy.errors.AttemptFailed`. What follows the head goes to the receiver. When both messages are complete and
    the backend keeps the connection, it goes back to its owner; in all other cases it is closed.

    :ivar address: of the backend that it leads to, so that it is never used for another.
    :ivar host: the Host that a request gets whose client, being HTTP/1.0, sent none.
    :ivar uses: exchanges begun on it.
    :ivar deadline: when :meth:`deadline_passed` is due.
    """

    transport: Any

    def __init__(
        self, owner: ConnectionOwner, address: str, limits: MessageLimits, times: UpstreamTimes, seconds: Callable[[], float]
    ) -> None:
        self.address = address
        self.host = b"localhost" if address.startswith("unix:") else address.encode("ascii")
        self.uses = 0
        self.deadline = NEVER
        self._owner = owner
        self._limits = limits
        self._times = times
        self._seconds = seconds
        self._buffer = b""  # a response head's beginning
        self._heard = False  # whether anything came since the request, be it an interim response
        self._receiver: ResponseReceiver | None = None
        self._waiting: Deferred[Response] | None = None
        self._body: SizedBody | ChunkedBody | UntilCloseBody | None = None
        self._reusable = False
        self._method = b""
        self._chunked = False  # how the request's body is framed
        self._sending = False  # whether more of the request's body is to come
        self._stalled = False  # whether the backend does not read what was written
        self._paused = False  # whether the client does not
        self._closing = False

    def connectionMade(self) -> None:
        """Take the socket over."""
        self.transport = adopt(self.transport, self)
        # The transport's word on a slow backend comes here as long as it lives; only push producers cost nothing a request.
        self.transport.registerProducer(self, True)

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
        self._method = request.method
        self._chunked = request.chunked
        self._sending = not ended
        self._heard = False
        self.deadline = self._seconds() + self._times.response if ended else NEVER
        waiting: Deferred[Response] = Deferred()
        self._waiting = waiting
        self.transport.write(data)
        return waiting

    def write_body(self, data: bytes) -> None:
        """Send a further, non-empty part of the request's body."""
        self.transport.write(chunk(data) if self._chunked else data)

    def end_body(self) -> None:
        """The request's body is complete."""
        self._sending = False
        if self._chunked:
            self.transport.write(LAST_CHUNK)
        if self._body is None:
            self.deadline = self._seconds() + self._times.response

    def pause(self) -> None:
        """The client is slow: read no more of the response until :meth:`resume`."""
        if self._body is None:
            return
        self._paused = True
        self.deadline = NEVER
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Go on reading the response."""
        if self._body is None:
            return
        self._paused = False
        self.deadline = self._seconds() + self._times.silence
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
        else:
            self.close()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """The connection has ended: perhaps the body with it, perhaps too early."""
        receiver, waiting, body = self._receiver, self._waiting, self._body
        stale = self.uses > 1 and not self._heard
        self._forget()
        self._owner.lost(self)
        if waiting is not None:
            words = reason.getErrorMessage()
            waiting.errback(StaleConnection(words) if stale else UpstreamLost(words))
        elif receiver is not None and body is not None:
            if isinstance(body, UntilCloseBody) and reason.check(ConnectionDone):
                receiver.response_end(b"")
            else:
                receiver.response_lost(reason.getErrorMessage())

    def _head(self, data: bytes) -> None:
        """Bytes of a response's head, or of interim responses before it."""
        self._heard = True
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if (end if end > 3 else len(data)) > self._limits.size:
                self._fail(BadResponse(f"a response head of more than {self._limits.size} bytes"))
                return
            if end < 4:
                self._buffer = data
                return
            try:
                head = parse_response_head(data[:end], self._limits, self._method)
                if head.status == 101:
                    raise BadMessage("upgrade", "101 although no upgrade was asked for")
                if head.status >= 200:
                    self._begin(head, data[end:])
                    return
            except BadMessage as error:
                self._fail(BadResponse(str(error)))
                return
            data = data[end:]

    def _begin(self, head: ResponseHead, data: bytes) -> None:
        """The head is here: hand it over with what came after it."""
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        self._reusable = head.keep_alive
        if len(data) == head.length and not head.chunked:  # most small responses come whole
            self._complete(b"")
            waiting.callback((head, data, True))
            return
        body = ChunkedBody() if head.chunked else SizedBody(head.length) if head.length >= 0 else UntilCloseBody()
        try:
            data = body.feed(data)
        except BadMessage as error:
            self._waiting = waiting
            self._fail(BadResponse(str(error)))
            return
        if body.done:
            self._complete(body.rest)
            waiting.callback((head, data, True))
        else:
            self._body = body
            self.deadline = self._seconds() + self._times.silence
            waiting.callback((head, data, False))

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
            self._complete(body.rest)
            receiver.response_end(data)
            return
        self.deadline = self._seconds() + self._times.silence
        if data:
            receiver.response_data(data)

    def _complete(self, rest: bytes) -> None:
        """The response is whole: keep the connection if nothing speaks against it, before anyone is told, so that what
        follows from it can use the connection at once."""
        # A stalled one has said pause already, and would not say it again to the next exchange.
        if self._reusable and not self._sending and not self._stalled and not rest:
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
        if self._receiver is not None:
            self.deadline = self._seconds() + self._times.silence
            self._receiver.pause_request()

    def resumeProducing(self) -> None:
        """The backend has caught up."""
        self._stalled = False
        if self._receiver is not None:
            if self._waiting is not None:
                self.deadline = NEVER if self._sending else self._seconds() + self._times.response
            else:
                self.deadline = NEVER if self._paused else self._seconds() + self._times.silence
            self._receiver.resume_request()

    def stopProducing(self) -> None:
        """The transport is gone; :meth:`connectionLost` says so."""
