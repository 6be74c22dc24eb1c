"""The relay of one exchange: bytes of the response to the client, bytes of the request's body to the backend, and how it ends.

Bytes go from one connection to the other in the call that brought them. Each side's transport says when it is full, and the other
side's reading is paused until it is not; nothing is queued here but the request's body for another attempt.

This is one half of an :class:`.exchange.Exchange`, which adds the chain of attempts. They are one object, because cut in two
every exchange would pay for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from ..balance.state import BackendState
from ..errors import AttemptFailed
from ..http1.answers import Answer
from ..http1.client import UpstreamConnection
from ..http1.head import RequestHead, ResponseHead
from ..interfaces import IDownstream
from .attempt import Attempt
from .client import Client
from .passing import FILTER_FAILED
from .redirect import secure_location
from .replay import RequestBody
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .balancer import Balancer
    from .desk import Desk
    from .explain import Decision
    from .passing import Passing, Server
    from .waits import Waits

__all__ = ["Relay"]

_log = Logger()

_NOBODY: Iterator[BackendState] = iter(())


class Relay:
    """One exchange, but for its attempts.

    :ivar request: the request's head, as it goes on.
    :ivar target: the request's target as the client sent it, where a filter has changed it since; otherwise None.
    :ivar route: the name of the route that it takes; empty where nothing is routed.
    :ivar statuses: counts that route's exchanges by their status; None where nothing is routed.
    :ivar pool: the name of the pool that has it, or had it; empty while none has.
    :ivar passing: its way through its route's filters, while it runs; None for most, whose route has none.
    :ivar observed: whether the observers are told of its end.
    :ivar client: who asks.
    :ivar request_id: its name in the logs of all who take part in it.
    :ivar attempts: in order; empty until it is forwarded.
    :ivar bound: the backend that a sticky session binds it to, if it has a valid binding.
    :ivar decision: who could have been chosen, and why they were not; None unless somebody wants to know.
    :ivar status: what the client was or will be answered; 0 while that is open.
    :ivar started: the clock's seconds when it was forwarded, ``responded`` when its response's head came (None: never),
        ``finished`` when it ended.
    :ivar response_bytes: body bytes given to the client.
    :ivar waits: what it has waited for; None for most, which wait for nothing.
    :ivar end: how it ended, in a word: ``done``; ``client-left``; ``client-timeout`` (it was silent, or did not read, for too
        long); ``truncated`` (the backend cut its response short); ``no-backend`` (none was up); ``queue-full`` and
        ``queue-timeout`` (all were busy, and too many waited already, or it had waited for too long); ``exchange-timeout`` (no
        response in the time that an exchange may take in all); ``bad-request`` (the request's body broke its framing);
        ``too-large`` (the request's body was); ``filter`` (a filter of the route failed), or what a filter that answered calls
        it; ``route`` (the route itself answered), ``no-route`` (there was none);
        ``redirect`` (it came in the clear and was sent to ``https``, or could not be,
        since it named no host); ``tunnel-idle`` (neither side of a tunnel said anything for too long); ``drain``
        (the balancer was stopping and could wait no longer); ``bug`` (an error of ours, with a traceback in the log); or the
        cause of the last failed attempt: ``refused``, ``connect-timeout``, ``no-socket``, ``tls``, ``stale``, ``lost``,
        ``response-timeout``, ``attempt-timeout``, ``bad-response``. Empty while it runs.
    """

    # Defaults stand in the class, not in slots: most exchanges change few of them, and setting each costs.
    attempts: list[Attempt]
    bound: BackendState | None = None
    decision: Decision | None = None
    end = ""
    target: bytes | None = None
    route = ""
    pool = ""
    passing: Passing | None = None
    observed = True
    statuses: dict[int, int] | None = None
    request_id = b""
    finished = 0.0
    responded: float | None = None
    response_bytes = 0
    started = 0.0
    status = 0
    _attempt: Attempt | None = None  # the one that answers; before that, the latest
    _balancer: Balancer  # while it is at another desk, that one: it asks no more of it than of any desk
    _body: RequestBody | None = None
    _candidates: Iterator[BackendState]
    _connection: UpstreamConnection | Server | None = None
    _invited = False
    _paused = False
    _response_paused = False
    _server: Server | None = None
    _tunnel: Tunnel | None = None
    waits: Waits | None = None

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

    @property
    def body_here(self) -> bytes:
        """What is here of the request's body, for who joins before the exchange is carried on."""
        return b"" if self._body is None else self._body.here

    @property
    def body_ended(self) -> bool:
        """Whether all of the request's body is here; also where there is none."""
        return self._body is None or self._body.ended

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

    def response_data(self, data: bytes) -> None:
        """A further part of the response's body came."""
        if self.passing is not None:
            try:
                data = self.passing.through(data)
            except Exception:
                self.answer_with(FILTER_FAILED)
                return
            if not data:
                return
        self.response_bytes += len(data)
        self._downstream.write(data)

    def _switch(self, head: ResponseHead, data: bytes) -> None:
        """Client and backend go over to another protocol, which is none of ours: from here on their bytes are passed on."""
        connection, self._connection = self._connection, None
        assert isinstance(connection, UpstreamConnection)
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
        if self.passing is not None:
            try:
                data, trailers = self.passing.last(data, trailers)
            except Exception:
                self._end_relay("filter")
                self._downstream.abort()
                return
        self.response_bytes += len(data)
        self._end_relay("done")  # first of all: what is written may pause this exchange, but no longer the connection
        if data:
            self._downstream.write(data)
        self._downstream.finish(trailers)

    def response_lost(self, reason: str) -> None:
        """The response broke off: break the client's connection off too."""
        attempt = self._attempt
        assert attempt is not None
        attempt.member.failures += 1
        self._end_relay("truncated")
        self._balancer.blame(attempt.member, "truncated")
        self._downstream.abort()

    def _end_relay(self, end: str) -> None:
        now = self._balancer.seconds()
        attempt = self._attempt
        assert attempt is not None
        self._let_go(attempt, now, end == "truncated")
        if attempt.member.failing and end == "done" and self.status < 500:
            self._balancer.traffic.succeeded(attempt.member)
        self._finish(end, now)
        self._freed()

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
        if body is None or self.end or (self.passing is not None and not self.passing.takes(data)):
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
        if self.passing is not None:
            self.passing.body_ended(trailers)
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

    def _let_go(self, attempt: Attempt, now: float, failed: bool) -> None:
        """An attempt is over: its backend has one exchange less."""
        self._connection = None
        attempt.ended = now
        member = attempt.member
        member.in_flight -= 1
        try:
            member.policy.ended(member, attempt.seconds, failed)
        except Exception:  # a user's; the exchange goes on
            _log.failure("{policy!r} could not be told of an attempt's end", policy=member.policy)

    def _freed(self) -> None:
        """A backend has one exchange less: it may be another's turn."""
        if self.pool and self._balancer.line.waiting:
            self._balancer.line.call()

    def _give_up(self, attempt: Attempt, now: float) -> None:
        """Drop an attempt that runs: nothing of it is wanted any more."""
        self._let_go(attempt, now, False)
        self._drop(attempt)

    def _drop(self, attempt: Attempt) -> None:
        """Drop the connection of an attempt that is over, made or not."""
        if attempt.connection is not None:
            attempt.connection.abort()
        elif attempt.connecting is not None:
            attempt.connecting.cancel()  # its errback finds the attempt over

    def _give_up_all(self, now: float) -> None:
        for attempt in self.attempts:
            if attempt.ended is None:
                self._give_up(attempt, now)

    def answer(self, failure: AttemptFailed | None) -> None:
        """Answer in our own name: nothing is left to be tried."""
        status, end = (503, "no-backend") if failure is None else (failure.status, failure.cause)
        self._answer_with(status, end, self._balancer.settings.probe_interval if status == 503 else None)

    def out_of_time(self) -> None:
        """The exchange has taken too long in all."""
        self._give_up_all(self._balancer.seconds())
        seconds = self._balancer.settings.exchange_timeout
        self._answer_with(504, "exchange-timeout", why=f"No backend answered within {seconds:g} seconds.")
        self._freed()

    def queued_too_long(self) -> None:
        """No place became free while it waited."""
        self._refuse("queue-timeout")

    def balancer_stopped(self) -> None:
        """Nobody looks after those who wait any more."""
        if all(attempt.ended is not None for attempt in self.attempts):
            self._answer_with(503, "drain", self._balancer.settings.probe_interval, "The balancer is stopping.")

    def _refuse(self, end: str) -> None:
        seconds = self._balancer.settings.queue_timeout
        self._answer_with(503, end, seconds, "All backends have as many requests as they may.")

    def enter(self, desk: Desk) -> None:
        """Begin at a desk which answers it, or sends it on to a pool."""
        self._balancer = desk  # type: ignore[assignment]
        self.request_id = self.client.request_id or desk.next_request_id()
        self.started = desk.seconds()
        desk.counters.in_flight += 1

    def redirect(self, desk: Desk) -> None:
        """Answer a request that came in the clear with where to come instead; no backend hears of it."""
        self.enter(desk)
        self.guarded(self._redirect, desk.https_port())

    def _redirect(self, port: int | None) -> None:
        location = secure_location(self.request, self.client, port)
        if location is None:
            self._answer_with(400, "redirect", why="This is served over https only, and no host was named.")
        else:
            fields = b"Location: %b\r\n" % location
            self._answer_with(308, "redirect", why="This is served over https only.", fields=fields)

    def answer_with(self, answer: Answer) -> None:
        """Answer in our own name whatever runs. Where the client has a part of a response already, it gets nothing more."""
        if self.end:
            return
        self._give_up_all(self._balancer.seconds())
        if self.responded is not None:
            self._finish(answer.end, self._balancer.seconds())
            self._downstream.abort()
        else:
            self._answer(answer)
        self._freed()

    def _answer_with(
        self, status: int, end: str, retry_after: float | None = None, why: str = "", fields: bytes = b""
    ) -> None:
        self._answer(Answer(status=status, end=end, retry_after=retry_after, why=why, fields=fields))

    def _answer(self, answer: Answer) -> None:
        self.status = answer.status
        if self.waits is not None:
            self.waits.leave_line()
        head, data = answer.message()
        if self._balancer.hsts and self.client.secure:
            head.fields += self._balancer.hsts
        if self.decision is not None:
            head.fields += self._balancer.explanation(self, answer.end)  # type: ignore[arg-type]  # it is an Exchange
        if self.request.method == b"HEAD":
            data = b""
        if self.passing is not None:
            try:
                data = self.passing.back(head, data, True)
            except Exception:
                self._answer(FILTER_FAILED)  # seen by those alone that are asked after the one that failed
                return
            self.status = head.status
        self.response_bytes = len(data)
        self._finish(answer.end, self._balancer.seconds())
        self._downstream.respond(head, data, True)

    def client_lost(self, end: str = "client-left", status: int = 0) -> None:
        """The client is gone, or cannot be served any more: drop the attempts that run, upstream too.

        :param end: how the exchange ends.
        :param status: what the listener answers in its own name, if it still does.
        """
        if self.end:
            return
        self.status = self.status or status
        now = self._balancer.seconds()
        self._give_up_all(now)
        self._finish(end, now)
        self._freed()

    def guarded(self, what: Callable[..., object], *args: Any) -> None:
        """Do what a timer brings; if it fails, the client does not wait for ever."""
        try:
            what(*args)
        except Exception:
            self._bug(Failure())

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
        self._candidates = _NOBODY  # a policy's generator knows the exchange, which would keep both from being freed
        if self.waits is not None:
            self.waits.over()
        if self.passing is not None:
            passing, self.passing = self.passing, None
            passing.over()
        if self._server is not None:
            server, self._server = self._server, None
            self._connection = None
            server.over()
        if self.statuses is not None:
            self.statuses[self.status] = self.statuses.get(self.status, 0) + 1
        balancer = self._balancer
        counters = balancer.counters
        counters.in_flight -= 1
        counters.response_bytes += self.response_bytes
        counters.request_bytes += self.request_bytes
        counters.count(self.status, end, now - self.started if self._tunnel is None else None)
        for observer in balancer.observers if self.observed else ():
            try:
                observer.exchange_finished(self)  # type: ignore[arg-type]  # it is an Exchange
            except Exception:
                _log.failure("{observer!r} failed to observe an exchange", observer=observer)
