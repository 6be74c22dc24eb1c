"""What an exchange may wait for: a place at a backend, a place in the retry budget, the end of a back-off, the moment for a
hedge; and the times that bound an attempt and the exchange as a whole.

Few exchanges wait for anything; only those get one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall

from ..deadlines import NEVER
from ..errors import AttemptFailed, AttemptTimedOut
from .attempt import Attempt
from .retry import backoff

if TYPE_CHECKING:
    from .balancer import Balancer
    from .exchange import Exchange

__all__ = ["LONG_PATIENCE", "PATIENCE", "Waits"]

#: How often an exchange asks for a place in the retry budget, each further time after a back-off: for half a second on average,
#: and a second at most. Where a backend died, what it took with it is through by then; where all are slow, nobody should wait
#: longer.
PATIENCE = 7
#: The same while those that have a place are served: with back-offs of 125 ms on average half a minute, which is what a response
#: may take.
LONG_PATIENCE = 240


class Waits:
    """One exchange's waits.

    :ivar deadline: when :meth:`deadline_passed` is due.
    :ivar round: back-offs so far that each led to a further attempt, all backends having been tried.
    :ivar queued: seconds spent in the waiting line, before the present wait.
    :ivar paused: the seconds of each back-off, in order, those before a place in the budget included.
    :ivar budgeted: whether it has a place in the retry budget; ``took_budget``: or had one.
    :ivar choosy: whether it waits in the line for some backends only: it has tried others already, or there are sticky sessions,
        so that some may go on at a backend that drains, and others may not.
    """

    __slots__ = (
        "_asked", "_balancer", "_exchange", "_joined", "_timer", "_wants_budget", "budgeted", "choosy", "deadline", "paused",
        "queued", "round", "took_budget",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, balancer: Balancer) -> None:
        self._exchange = exchange
        self._balancer = balancer
        self._asked = 0
        self._joined: float | None = None
        self._timer: IDelayedCall | None = None
        self._wants_budget = False
        self.budgeted = self.took_budget = self.choosy = False
        self.deadline = NEVER
        self.paused: list[float] = []
        self.queued = 0.0
        self.round = 0
        balancer.waits.add(self)

    def over(self) -> None:
        """The exchange has ended: give back what it holds."""
        self.leave_line()
        self.answered()
        self._balancer.waits.discard(self)
        del self._exchange  # which knows this one, and so neither would be freed at once

    def answered(self) -> None:
        """A response has come: there are no more attempts, and nothing bounds it but what bounds its connection."""
        self.stop()
        self._give_back()
        self.deadline = NEVER
        self._balancer.sweep.watched.discard(self)

    def balancer_stopped(self) -> None:
        """Wait no longer for anything."""
        self.stop()
        self._exchange.guarded(self._exchange.balancer_stopped)

    def stop(self) -> None:
        """Wait no longer for what a timer was to bring."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._wants_budget:
            self._wants_budget = False
            self._balancer.budget.waiting -= 1

    def _after(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        def due() -> None:
            self.stop()
            self._exchange.guarded(what, *args)

        self._timer = self._balancer.clock.callLater(seconds, due)

    # The retry budget, and back-offs.

    def take_budget(self) -> bool:
        """Get a place in the retry budget, if there is one; a place is had until there is a response."""
        balancer = self._balancer
        if not self.budgeted and balancer.budget.take(balancer.counters.in_flight, balancer.seconds()):
            self.budgeted = self.took_budget = True
        return self.budgeted

    def take_another(self) -> bool:
        """The same for each attempt anew: the one for which there was a place has failed."""
        if self.budgeted:
            self.budgeted = False
            self._balancer.budget.failed(self._balancer.seconds())
        return self.take_budget()

    def _give_back(self) -> None:
        if self.budgeted:
            self.budgeted = False
            self._balancer.budget.give_back()

    def go_on_in_budget(self, failure: AttemptFailed) -> None:
        """Let the exchange try the next backend as soon as there is a place in the budget, or answer for *failure* when there has
        been none for too long."""
        if self.take_another():
            self._exchange.try_next(failure)
        elif (self._asked >= PATIENCE and not self._is_patient(failure)) or not self._balancer.running:
            self._balancer.budget.refused += 1
            self._exchange.answer(failure)
        else:
            self._back_off(self._asked, self.go_on_in_budget, failure)
            self._asked += 1
            self._wants_budget = True
            self._balancer.budget.waiting += 1

    def _is_patient(self, failure: AttemptFailed) -> bool:
        """Whether to wait on for a place: a backend that died takes many exchanges with it at once, which the others then serve
        in turn, however long each takes. Where places were had for nothing it is a storm instead; and a time-out has taken long
        enough."""
        budget = self._balancer.budget
        return failure.kind == "reset" and budget.active > 0 and not budget.cooling and self._asked < LONG_PATIENCE

    def another_round(self, failure: AttemptFailed) -> None:
        """Let the exchange go over the backends again after a back-off."""
        self._back_off(self.round, self._exchange.start_anew, failure)
        self.round += 1

    def _back_off(self, turn: int, what: Callable[..., None], failure: AttemptFailed) -> None:
        seconds = backoff(turn, self._balancer.random.random())
        self.paused.append(seconds)
        self._after(seconds, what, failure)

    # Hedging.

    def hedge_after(self, seconds: float) -> None:
        """Have a second backend asked as well if there is no response by then."""
        self._after(seconds, self._hedge)

    def _hedge(self) -> None:
        if not self.take_budget():
            return
        if self._exchange.hedge():
            self._balancer.counters.hedges += 1
        else:
            self._give_back()

    # The waiting line.

    def join_line(self) -> bool:
        """Wait until a backend has a place free. Returns whether there is room in the line."""
        if not self._balancer.line.join(self):
            return False
        self._give_back()  # while it waits here it repeats nothing; what it does then is bounded by the backends' places
        self._joined = self._balancer.seconds()
        self.choosy = bool(self._exchange.attempts) or self._balancer.sticky is not None
        self.set_deadline()
        return True

    def leave_line(self) -> None:
        """Wait for a place no longer."""
        if self._joined is not None:
            self._balancer.line.leave(self)
            self.queued += self._balancer.seconds() - self._joined
            self._joined = None

    def try_again(self) -> bool:
        """A place may be free. Returns whether the exchange waits no longer."""
        return self._exchange.try_again()

    # Times.

    def set_deadline(self) -> None:
        """Derive the deadline anew: of the exchange, of its attempts, of its place in the line."""
        settings, exchange = self._balancer.settings, self._exchange
        deadline = NEVER
        if settings.exchange_timeout:
            deadline = exchange.started + settings.exchange_timeout
        if settings.attempt_timeout:
            for attempt in exchange.attempts:
                if attempt.ended is None:
                    deadline = min(deadline, attempt.started + settings.attempt_timeout)
        if self._joined is not None:
            deadline = min(deadline, self._joined + settings.queue_timeout)
        self.deadline = deadline
        self._balancer.sweep.watched.add(self)

    def configured(self) -> None:
        """The settings are others: what has a deadline has it by those."""
        if self in self._balancer.sweep.watched:
            self.set_deadline()

    def deadline_passed(self) -> None:
        """Something took too long."""
        settings, exchange = self._balancer.settings, self._exchange
        now = self._balancer.seconds()
        if settings.exchange_timeout and exchange.started + settings.exchange_timeout <= now:
            exchange.guarded(exchange.out_of_time)
            return
        if self._joined is not None and self._joined + settings.queue_timeout <= now:
            exchange.guarded(exchange.queued_too_long)
            return
        for attempt in list(exchange.attempts) if settings.attempt_timeout else ():
            if attempt.ended is None and attempt.started + settings.attempt_timeout <= now:
                exchange.guarded(exchange.give_up, attempt, self._timed_out(attempt))
        if not exchange.end:
            self.set_deadline()

    def _timed_out(self, attempt: Attempt) -> AttemptTimedOut:
        words = "no response" if attempt.connection is not None else "no connection"
        seconds = self._balancer.settings.attempt_timeout
        return AttemptTimedOut(f"{words} within the {seconds:g} s of an attempt", attempt.connection is not None)
