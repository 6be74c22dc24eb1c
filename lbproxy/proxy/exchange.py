"""One client request and the response to it: the chain of attempts, then the relay of bytes both ways.

The chain. Each attempt is one Deferred, which fires with a response's head or errbacks with an
:class:`~lbproxy.errors.AttemptFailed` that says what happened on the wire; the retry rules turn that into the same backend, the
next one, or an answer of our own. Once a head has come there are no more attempts: the response goes to the client as it comes,
and if it breaks off, so does the client's connection, so that nobody takes a part for the whole.

The relay. Bytes go from one connection to the other in the call that brought them. Each side's transport says when it is full,
and the other side's reading is paused until it is not; nothing is queued here but the request's body for a replay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..balance.state import BackendState, Verdict
from ..errors import AttemptFailed, NoSocket, StaleConnection, UpstreamLost
from ..http1.answers import own_answer
from ..http1.body import chunk, last_chunk
from ..http1.client import UpstreamConnection
from ..http1.fields import request_bytes
from ..http1.head import RequestHead, ResponseHead
from ..http1.roles import Response
from ..interfaces import IDownstream
from .attempt import Attempt
from .client import Client
from .replay import RequestBody
from .retry import Next, after_failure, is_repeatable, marks_down
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .balancer import Balancer

__all__ = ["Exchange"]

_log = Logger()


class Exchange:
    """One exchange, from a request's head to its end.

    A listener makes it, may hand over body bytes that are here already, and then gives it to a balancer's ``forward``.

    :ivar request: the request's head.
    :ivar client: who asks.
    :ivar request_id: its name in the logs of all who take part in it.
    :ivar attempts: in order; empty until it is forwarded.
    :ivar status: what the client was or will be answered; 0 while that is open.
    :ivar started: the clock's seconds when it was forwarded, ``responded`` when its response's head came (None: never),
        ``finished`` when it ended.
    :ivar response_bytes: body bytes given to the client.
    :ivar end: how it ended, in a word: ``done``; ``client-left``; ``client-timeout`` (it was silent, or did not read, for too
        long); ``truncated`` (the backend cut its response short); ``no-backend`` (none was up); ``bad-request`` (the request's
        body broke its framing); ``too-large`` (the request's body was); ``tunnel-idle`` (neither side of a tunnel said anything
        for too long); ``drain`` (the balancer was stopping and could wait no longer); ``bug`` (an error of ours, with a
        traceback in the log); or the cause of the last failed attempt: ``refused``, ``connect-timeout``, ``stale``, ``lost``,
        ``response-timeout``, ``bad-response``. Empty while it runs.
    """

    # Defaults stand in the class, not in slots: most exchanges change few of them, and setting each costs.
    attempts: list[Attempt]
    end = ""
    request_id = b""
    finished = 0.0
    responded: float | None = None
    response_bytes = 0
    started = 0.0
    status = 0
    _balancer: Balancer
    _body: RequestBody | None = None
    _candidates: Iterator[BackendState]
    _connecting: Deferred[UpstreamConnection] | None = None
    _connection: UpstreamConnection | None = None
    _invited = False
    _paused = False
    _response_paused = False
    _tries = 0
    _tunnel: Tunnel | None = None

    def __init__(self, downstream: IDownstream, request: RequestHead, client: Client, replay_limit: int) -> None:
        self._downstream = downstream
        self.request = request
        self.client = client
        self.attempts = []
        if request.has_body:
            self._body = RequestBody(replay_limit)

    @property
    def request_bytes(self) -> int:
        """Bytes of the request's body that have come so far; of a tunnel, those from the client."""
        if self._body is not None:
            return self._body.size
        return 0 if self._tunnel is None else self._tunnel.client.bytes

    # The chain of attempts.

    def start(self, balancer: Balancer) -> None:
        """Begin; called by :meth:`Balancer.forward`."""
        self._balancer = balancer
        self.request_id = self.client.request_id or balancer.next_request_id()
        self.started = balancer.seconds()
        balancer.counters.in_flight += 1
        try:
            self._candidates = balancer.pool.candidates(self)
            self._try_next(None)
        except Exception:
            self._bug(Failure())

    def _try_next(self, failure: AttemptFailed | None) -> None:
        """Go to the policy's next candidate that is fit; when there is none, answer for the last *failure*."""
        for member in self._candidates:
            if member.fit and member.in_flight < member.limit:
                self._tries = 0
                self._attempt(member)
                return
        self._answer(failure)

    def _attempt(self, member: BackendState) -> None:
        self._tries = tries = self._tries + 1
        member.requests += 1
        member.in_flight += 1
        if self.attempts:
            self._balancer.counters.retries += 1
        attempt = Attempt(member)
        self.attempts.append(attempt)
        # A stale connection is followed by a new one: the other idle ones were most likely closed with it.
        connection = self._balancer.upstreams.idle(member) if tries == 1 else None
        response: Deferred[Response]
        if connection is not None:
            attempt.reused = True
            response = self._send(connection)
        else:
            self.pause_request()
            self._connecting = connecting = self._balancer.upstreams.connect(member, self.client)
            response = connecting.addCallback(self._send)
        response.addCallbacks(self._respond, self._failed)

    def _send(self, connection: UpstreamConnection) -> Deferred[Response]:
        """Send the request and what is here of its body."""
        self._connecting = None
        self._connection = connection
        request, body = self.request, self._body
        data = request_bytes(request, self.client, self.request_id, connection.host)
        if body is None:
            return connection.request(request, data, True, self)
        here = body.take()
        if request.chunked:
            here = (chunk(here) if here else b"") + (last_chunk(body.trailers) if body.ended else b"")
        was_paused, self._paused = self._paused, False  # the request may find the connection full, and pause anew
        response = connection.request(request, data + here, body.ended, self)
        if was_paused and not self._paused:
            self._downstream.resume_body()
        return response

    def _failed(self, reason: Failure) -> None:
        """An attempt failed: let the rules say what follows."""
        try:
            self._after_failure(reason)
        except Exception:
            self._bug(Failure())

    def _after_failure(self, reason: Failure) -> None:
        failure = reason.value
        if not isinstance(failure, AttemptFailed):
            _log.failure("an attempt failed unexpectedly", reason)
            failure = UpstreamLost(reason.getErrorMessage())
            if self._connection is not None:
                self._connection.abort()
        attempt = self.attempts[-1]
        attempt.failure = failure
        member = attempt.member
        self._let_go()
        if self.end:
            return
        if not isinstance(failure, (StaleConnection, NoSocket)):
            member.failures += 1
        body = self._body
        replayable = body is None or body.replayable
        if failure.sent and not replayable and is_repeatable(self.request):
            self._balancer.counters.replays_lost += 1
        retries = self._balancer.settings.retries
        what = after_failure(failure, self.request, replayable=replayable, tries=self._tries, retries=retries)
        if what is Next.SAME:
            self._attempt(member)
            return
        if marks_down(failure):
            self._mark_down(member, failure)
        if what is Next.OTHER:
            self.pause_request()
            self._try_next(failure)
        else:
            self._answer(failure)

    def _mark_down(self, member: BackendState, failure: AttemptFailed) -> None:
        try:
            self._balancer.pool.apply(Verdict(member.address, False, f"{failure.cause}: {failure}", "traffic", "connect"))
        except Exception:  # of an observer's or the policy's, which are users'; the exchange goes on
            _log.failure("the pool could not be told that {address} is down", address=member.address)

    def _answer(self, failure: AttemptFailed | None) -> None:
        """Answer in our own name: nothing is left to be tried."""
        status = 503 if failure is None else failure.status
        self.status = status
        head, data = own_answer(status, retry_after=self._balancer.settings.probe_interval if status == 503 else None)
        if self.request.method == b"HEAD":
            data = b""
        self.response_bytes = len(data)
        end = "no-backend" if failure is None else failure.cause
        self._finish(end, self._balancer.seconds())
        self._downstream.respond(head, data, True)

    # The relay of the response.

    def response_interim(self, head: ResponseHead) -> None:
        """An interim response came: pass it on. The client is invited to send its body once, however many attempts it takes."""
        if head.status == 100:
            if self._invited:
                return
            self._invited = True
        self._balancer.counters.interim += 1
        try:
            self._downstream.inform(head)
        except Exception:
            self._bug(Failure())

    def _respond(self, response: Response) -> None:
        """A response's head came: from here on there are no more attempts."""
        head, data, complete = response
        if self.end:
            return
        self.responded = now = self._balancer.seconds()
        self.status = head.status
        self.response_bytes = len(data)
        try:
            if self._balancer.response_via:
                head.fields += self._balancer.response_via
            if head.status == 101:
                self._switch(head, data)
                return
            if complete:
                self._connection = None
                self.attempts[-1].member.in_flight -= 1  # as _let_go, without the call
                self._finish("done", now)
            elif self._response_paused and self._connection is not None:
                self._connection.pause()
            self._downstream.respond(head, data, complete)
        except Exception:
            self._bug(Failure())

    def response_data(self, data: bytes) -> None:
        """A further part of the response's body came."""
        self.response_bytes += len(data)
        self._downstream.write(data)

    def _switch(self, head: ResponseHead, data: bytes) -> None:
        """Client and backend go over to another protocol, which is none of ours: from here on their bytes are passed on."""
        connection, self._connection = self._connection, None
        assert connection is not None
        self._tunnel = tunnel = Tunnel(self._balancer, self._tunnel_over)
        tunnel.backend.bytes = len(data)
        connection.switch(tunnel.backend)
        self._downstream.switch(head, data, tunnel.client)
        tunnel.begin()
        if connection.stalled:  # before there was anyone to be told
            tunnel.backend.pause()

    def _tunnel_over(self, end: str) -> None:
        assert self._tunnel is not None
        self.response_bytes = self._tunnel.backend.bytes
        self._end_relay(end)

    def response_end(self, data: bytes, trailers: bytes = b"") -> None:
        """The response is whole, with this last part of its body."""
        self.response_bytes += len(data)
        self._end_relay("done")  # first of all: what is written may pause this exchange, but no longer the connection
        if data:
            self._downstream.write(data)
        self._downstream.finish(trailers)

    def response_lost(self, reason: str) -> None:
        """The response broke off: break the client's connection off too."""
        member = self.attempts[-1].member
        member.failures += 1
        self._end_relay("truncated")
        self._downstream.abort()

    def _end_relay(self, end: str) -> None:
        self._let_go()
        self._finish(end, self._balancer.seconds())

    def pause_response(self) -> None:
        """The client is slow: read no more of the response."""
        if not self._response_paused:
            self._response_paused = True
            if self._connection is not None and self.status:
                self._connection.pause()

    def resume_response(self) -> None:
        """The client has caught up."""
        if self._response_paused:
            self._response_paused = False
            if self._connection is not None and self.status:
                self._connection.resume()

    # The relay of the request's body.

    def body_data(self, data: bytes) -> None:
        """A part of the request's body came; never empty."""
        body = self._body
        if body is None or self.end:
            return
        body.add(data)
        if self._connection is not None:
            body.sent()
            self._connection.write_body(data)

    def body_end(self, trailers: bytes = b"") -> None:
        """The request's body is complete."""
        body = self._body
        if body is None or self.end:
            return
        body.ended = True
        body.trailers = trailers
        if self._connection is not None:
            self._connection.end_body(trailers)

    def pause_request(self) -> None:
        """Take no more of the request's body: the backend is slow, or there is none at the moment."""
        if self._body is not None and not self._body.ended and not self._paused:
            self._paused = True
            self._downstream.pause_body()

    def resume_request(self) -> None:
        """The backend has caught up."""
        if self._paused:
            self._paused = False
            self._downstream.resume_body()

    # Ends.

    def _let_go(self) -> None:
        """The attempt that runs is over: its backend has one exchange less."""
        self._connection = self._connecting = None
        self.attempts[-1].member.in_flight -= 1

    def client_lost(self, end: str = "client-left", status: int = 0) -> None:
        """The client is gone, or cannot be served any more: drop the attempt that runs, upstream too.

        :param end: how the exchange ends.
        :param status: what the listener answers in its own name, if it still does.
        """
        if self.end:
            return
        self.status = self.status or status
        connecting, connection = self._connecting, self._connection
        if connection is not None:
            self._let_go()
        self._connecting = None
        self._finish(end, self._balancer.seconds())
        if connection is not None:
            connection.abort()
        elif connecting is not None:
            connecting.cancel()  # its errback lets go of the backend

    def _bug(self, failure: Failure) -> None:
        """Something here, or in the downstream, is wrong; the client must not wait for it."""
        _log.failure("an exchange failed unexpectedly", failure)
        if self._tunnel is None:
            self.client_lost("bug")
        else:
            self._tunnel.client.drop("bug")
        self._downstream.abort()

    def _finish(self, end: str, now: float) -> None:
        """Count, and tell who wants to know."""
        self.end = end
        self.finished = now
        balancer = self._balancer
        counters = balancer.counters
        counters.in_flight -= 1
        counters.response_bytes += self.response_bytes
        counters.request_bytes += self.request_bytes
        counters.count(self.status, end, now - self.started if self._tunnel is None else None)
        for observer in balancer.observers:
            try:
                observer.exchange_finished(self)
            except Exception:
                _log.failure("{observer!r} failed to observe an exchange", observer=observer)
