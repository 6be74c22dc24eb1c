"""A connection to a backend, but for what is said on it: how it begins and ends, how long it waits, and which side is slow.

This is one half of a :class:`.client.UpstreamConnection`, which adds requests and responses. They are one object, because cut in
two every exchange would pay for another.
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
from ..errors import AttemptFailed, ResponseTimedOut, StaleConnection, TlsFailed, UpstreamLost
from ..tls.backends import BackendPeer
from ..tls.connecting import turned_away
from ..wire import adopt
from .body import ChunkedBody, SizedBody, UntilCloseBody
from .head import MessageLimits, RequestHead
from .roles import ConnectionOwner, Response, ResponseReceiver, TunnelEnd

__all__ = ["Upstream", "UpstreamTimes"]


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
class Upstream(TwistedProtocol):
    """A connection to one backend, but for what is said on it.

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
        self._owner.closing(self)  # type: ignore[arg-type]  # it is an UpstreamConnection
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

    def _fail(self, failure: AttemptFailed) -> None:
        waiting = self._waiting
        self.abort()
        if waiting is not None:
            waiting.errback(failure)

    # What the wire calls.

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
        self._owner.lost(self)  # type: ignore[arg-type]
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
