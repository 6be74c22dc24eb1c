"""One client request and the response to it: the chain of attempts.

Each attempt is one Deferred, which fires with a response's head or errbacks with an :class:`~lbproxy.errors.AttemptFailed` that
says what happened on the wire; the retry rules turn that into the same backend, the next one, a wait, or an answer of our own.
Once a head has come that is to be given to the client there are no more attempts: the response goes to the client as it comes,
and if it breaks off, so does the client's connection, so that nobody takes a part for the whole.

The relay of bytes, and the ends, stand in the base, :mod:`.relay`; what an exchange may wait for between, in :mod:`.waits`;
what a failure says of a backend is told by the balancer.

The module is long because the chain is one state machine, which every request runs through: what is seldom needed has moved out,
and what is left are its steps, in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..balance.state import BackendState
from ..errors import AttemptFailed, BadStatus, NoSocket, StaleConnection, UpstreamLost
from ..http1.body import chunk, last_chunk
from ..http1.client import UpstreamConnection
from ..http1.fields import request_bytes
from ..http1.head import ResponseHead
from ..http1.roles import Response
from .attempt import Attempt
from .passing import FILTER_FAILED
from .retry import IDEMPOTENT, Next, after_failure, is_repeatable, repeats_work
from .serving import Serving
from .waits import Waits

if TYPE_CHECKING:
    from .balancer import Balancer

__all__ = ["Exchange"]

_log = Logger()

#: Answers that count as failures of the backend: it says itself that it cannot serve (Envoy's gateway errors).
_GATEWAY_ERRORS = frozenset((502, 503, 504))


class Exchange(Serving):
    """One exchange, from a request's head to its end.

    A listener makes it, may hand over body bytes that are here already, and then gives it to a balancer's ``forward``.
    """

    _failure: AttemptFailed | None = None  # of the attempt that failed last
    _mind = False  # whether there is more to a response's head than to pass it on
    _full = False  # whether one was passed over only because it has no place free
    _round_begins = 0  # how many attempts there were when the present round over the backends began
    _tries = 0  # attempts at the present backend so far

    def start(self, balancer: Balancer) -> None:
        """Begin, or go on from another desk; called by :meth:`Balancer.forward`."""
        if self.started:
            self._balancer.counters.in_flight -= 1
        else:
            self.request_id = self.client.request_id or balancer.next_request_id()
            self.started = balancer.seconds()
        self._balancer = balancer
        self.pool = balancer.pool.name
        balancer.counters.in_flight += 1
        try:
            if balancer.explaining or (self.client.trusted and b"x-lbproxy-explain" in self.request.known):
                self.decision = balancer.survey(self)
                self._mind = True
            self._candidates = balancer.candidates(self)
            self.try_next(None)
        except Exception:
            self._bug(Failure())

    # Whom to try.

    def next_fit(self) -> BackendState | None:
        """The policy's next candidate that is fit and has a place free."""
        for member in self._candidates:
            if member.fit or member is self.bound:
                if member.in_flight < member.limit:
                    return member
                self._full = True
        return None

    def try_next(self, failure: AttemptFailed | None) -> None:
        """Go to the next candidate; when there is none, wait, or answer for the last *failure*."""
        further = self.waits is not None and self.waits.round > 0  # all were tried before: one attempt after each back-off
        done = further and failure is not None and len(self.attempts) > self._round_begins and repeats_work(failure)
        member = None if done else self.next_fit()
        if member is None:
            self._nobody_left(failure)
            return
        self._tries = self._balancer.settings.retries if further else 0
        self.begin(member)

    def _nobody_left(self, failure: AttemptFailed | None) -> None:
        balancer = self._balancer
        settings = balancer.settings
        if self._full and balancer.running:
            self.pause_request()
            if self._waiting().join_line():
                if self.attempts:
                    balancer.line.call()  # while it was at them, a place may have become free
                return
            if failure is None:
                self._refuse("queue-full")
                return
        round = 0 if self.waits is None else self.waits.round
        # After a time-out no back-off is needed, and another round would take as long as the one before it.
        more = round < settings.backoffs and balancer.running
        if failure is not None and failure.status != 504 and more and self._some_fit():
            self._waiting().another_round(failure)
        else:
            self.answer(failure)

    def _some_fit(self) -> bool:
        return any(attempt.member.fit for attempt in self.attempts)

    def start_anew(self, failure: AttemptFailed | None) -> None:
        """Go over the backends again, those that were tried already too."""
        self._full = False
        self._round_begins = len(self.attempts)
        self._candidates = self._balancer.candidates(self)
        self.try_next(failure)

    def _waiting(self) -> Waits:
        """What this exchange waits with, made when it is first needed."""
        if self.waits is None:
            self.waits = Waits(self, self._balancer)
            self._mind = True
        return self.waits

    def try_again(self) -> bool:
        """In the waiting line: there may be a place, at a backend that was not tried in this round. Returns whether the exchange
        waits no longer."""
        waits = self._waiting()
        try:
            self._full = False
            tried = {attempt.member for attempt in self.attempts[self._round_begins :]}
            self._candidates = (member for member in self._balancer.candidates(self) if member not in tried)
            member = self.next_fit()
            if member is None and self._full:
                return False
            waits.leave_line()
            if member is None:
                self._nobody_left(self._failure)
            else:
                self._tries = self._balancer.settings.retries if waits.round else 0
                self.begin(member)
        except Exception:
            self._bug(Failure())
        return True

    # An attempt.

    def begin(self, member: BackendState, why: str = "retry") -> None:
        """Begin an attempt at a backend."""
        balancer = self._balancer
        self._tries = tries = self._tries + 1
        attempts = self.attempts
        if attempts:
            attempt = Attempt(member, balancer.seconds())
            attempt.why = why
            balancer.counters.retries += 1
        else:
            attempt = Attempt(member, self.started if self.waits is None else balancer.seconds())
        attempts.append(attempt)
        self._attempt = attempt
        member.requests += 1
        member.in_flight += 1
        try:
            member.policy.begun(member)
        except Exception:  # a user's; the exchange goes on
            _log.failure("{policy!r} could not be told of an attempt's beginning", policy=member.policy)
        if balancer.careful:
            self._watch(attempt)
        # A stale connection is followed by a new one: the other idle ones were most likely closed with it.
        connection = balancer.upstreams.idle(member) if tries == 1 else None
        response: Deferred[Response]
        if connection is not None:
            attempt.reused = True
            response = self._send(connection, attempt)
        else:
            self.pause_request()
            attempt.connecting = connecting = balancer.upstreams.connect(member, self.client)
            response = connecting.addCallback(self._send, attempt)
        response.addCallbacks(self._respond, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _watch(self, attempt: Attempt) -> None:
        """Bound the attempt's time, and have a slow one hedged, where the settings say so."""
        balancer = self._balancer
        if balancer.timed:
            self._waiting().set_deadline()
        hedging = balancer.hedging
        if hedging is None or hedging.delay is None or attempt.why or self._body is not None:
            return
        if self.request.method in IDEMPOTENT and not self.request.upgrade:
            self._waiting().hedge_after(hedging.delay)

    def hedge(self) -> bool:
        """Ask a second backend as well. Returns whether there is one."""
        member = self.next_fit()
        if member is None:
            return False
        self._tries = 0
        self.begin(member, "hedge")
        return True

    def _send(self, connection: UpstreamConnection, attempt: Attempt) -> Deferred[Response]:
        """Send the request and what is here of its body."""
        attempt.connection = self._connection = connection
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

    # A response's head.

    def _respond(self, response: Response, attempt: Attempt) -> None:
        """A response's head came: from here on there are no more attempts, unless its status is one to be tried again."""
        if attempt.ended is not None:
            return
        head, data, complete = response
        balancer = self._balancer
        now = balancer.seconds()
        member = attempt.member
        attempt.seconds = seconds = now - attempt.started
        try:
            member.answered(head.status, seconds)
            if (head.status >= 500 or member.failing or balancer.careful or self._mind) and self._weigh(attempt, head, complete):
                return
            self.responded = now
            self.status = head.status
            self.response_bytes = len(data)
            if balancer.adds_fields:
                head.fields += balancer.response_fields(self, head)
            if self.passing is not None:
                passed = self._pass_back(head, data, complete, attempt)
                if passed is None:
                    return
                data = passed
            if head.status == 101:
                self._switch(head, data)
                return
            if complete:
                self._let_go(attempt, now, False)
                self._finish("done", now)
                if balancer.line.waiting:
                    balancer.line.call()
            elif self._response_paused and self._connection is not None:
                self._connection.pause()
            self._downstream.respond(head, data, complete)
        except Exception:
            self._bug(Failure())

    def _pass_back(self, head: ResponseHead, data: bytes, complete: bool, attempt: Attempt) -> bytes | None:
        """Let the route's filters see a response. Gives what becomes of the beginning of its body; None: a filter failed, and the
        client has been told."""
        assert self.passing is not None
        try:
            data = self.passing.back(head, data, complete)
        except Exception:
            if complete:
                self._let_go(attempt, self._balancer.seconds(), False)
            self._give_up_all(self._balancer.seconds())
            self._answer(FILTER_FAILED)
            self._freed()
            return None
        self.status = head.status
        self.response_bytes = len(data)
        return data

    def _weigh(self, attempt: Attempt, head: ResponseHead, complete: bool) -> bool:
        """What is seldom to be done before a response is given to the client. Returns whether it is not given after all."""
        balancer, member = self._balancer, attempt.member
        if head.status in _GATEWAY_ERRORS:
            balancer.blame(member, str(head.status))
        elif member.failing and complete and head.status < 500:  # a success is one when it is whole
            balancer.traffic.succeeded(member)
        if balancer.retry_statuses and head.status in balancer.retry_statuses and self._ask_another(attempt, head, complete):
            return True
        if self.waits is not None:
            self.waits.answered()
        self._attempt = attempt
        began = attempt.started
        for other in self.attempts:
            if other.ended is None and other is not attempt:
                began = min(began, other.started)
                self._give_up(other, balancer.seconds())
                self._freed()
        self._connection = attempt.connection
        if balancer.hedging is not None and attempt.seconds is not None:
            # With the time that the slower one has had: a hedge that is answered soon makes nothing faster that was slow.
            balancer.hedging.note(attempt.started + attempt.seconds - began)
        head.fields += balancer.say_more(self, member)
        return False

    def _ask_another(self, attempt: Attempt, head: ResponseHead, complete: bool) -> bool:
        """The backend's status is one to be tried again. Returns whether it can be; otherwise the client gets it as it is."""
        body = self._body
        if not is_repeatable(self.request):
            return False
        if body is not None and not body.replayable:
            self._balancer.counters.replays_lost += 1
            return False
        others = any(other.ended is None and other is not attempt for other in self.attempts)
        member = None if others else self.next_fit()
        if not others and (member is None or not self._waiting().take_another()):
            return False
        attempt.failure = self._failure = BadStatus(head.status)
        if not complete and attempt.connection is not None:
            attempt.connection.abort()
        self._let_go(attempt, self._balancer.seconds(), True)
        if member is not None:
            self._waiting().stop()
            self._tries = 0
            self.begin(member, "status")
        self._freed()
        return True

    # A failure.

    def _failed(self, reason: Failure, attempt: Attempt) -> None:
        """An attempt failed: let the rules say what follows."""
        if attempt.ended is not None:
            return  # it was given up
        failure = reason.value
        if not isinstance(failure, AttemptFailed):
            _log.failure("an attempt failed unexpectedly", reason)
            failure = UpstreamLost(reason.getErrorMessage())
            if attempt.connection is not None:
                attempt.connection.abort()
        try:
            self._after_failure(attempt, failure)
        except Exception:
            self._bug(Failure())

    def _after_failure(self, attempt: Attempt, failure: AttemptFailed) -> None:
        member = attempt.member
        self._note_failure(attempt, failure)
        what = self._what_next(failure)
        if what is not Next.SAME:
            self._balancer.accuse(member, failure)
        elif member.in_flight < member.limit:
            self.begin(member)
            return
        else:  # it may have fewer than before; then it is as good as one that was full from the beginning
            self._full = True
            self._round_begins = len(self.attempts)
        self._freed()
        if self.end or any(other.ended is None for other in self.attempts):
            return  # the one beside it still runs
        if self.waits is not None:
            self.waits.stop()
        if what is Next.NONE:
            self.answer(failure)
            return
        self.pause_request()
        if repeats_work(failure):
            self._waiting().go_on_in_budget(failure)
        else:
            self.try_next(failure)

    def _note_failure(self, attempt: Attempt, failure: AttemptFailed) -> None:
        """The attempt is over. A failure that is not the backend's teaches the policy nothing."""
        now = self._balancer.seconds()
        attempt.failure = self._failure = failure
        blamed = not isinstance(failure, (StaleConnection, NoSocket))
        if blamed:
            attempt.seconds = now - attempt.started
            attempt.member.failures += 1
        self._let_go(attempt, now, blamed)
        attempt.seconds = now - attempt.started

    def _what_next(self, failure: AttemptFailed) -> Next:
        """What the rules say."""
        balancer, body = self._balancer, self._body
        replayable = body is None or body.replayable
        if failure.sent and not replayable and is_repeatable(self.request):
            balancer.counters.replays_lost += 1
        settings = balancer.settings
        return after_failure(
            failure,
            self.request,
            replayable=replayable,
            tries=self._tries,
            retries=settings.retries,
            retry_on=settings.retry_on,
        )

    def give_up(self, attempt: Attempt, failure: AttemptFailed) -> None:
        """An attempt that runs has taken too long: drop it, and go on as after any failure."""
        try:
            self._after_failure(attempt, failure)
        finally:
            self._drop(attempt)
