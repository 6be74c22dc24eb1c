"""Deadlines without a timer for each: one coarse sweep over everything that has one.

A ``callLater`` with its ``cancel`` costs 1.7 µs, and an exchange would need several; setting an attribute costs nothing. The
sweep looks a few times in the shortest time-out's span, so a deadline is at most that much late.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableSet
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["AT_ONCE", "NEVER", "DeadlineSweep", "HasDeadline", "InOrder"]

NEVER = float("inf")
#: Deadlines dealt with in one turn of the reactor. A thousand slow clients whose time is over at the same moment cost a tenth of
#: a second together, for which nobody else is to wait.
AT_ONCE = 10

_log = Logger()


class HasDeadline(Protocol):
    """Something with a deadline."""

    deadline: float
    """In the clock's seconds; :data:`NEVER` while there is none."""

    def deadline_passed(self) -> None:
        """The deadline has passed. It has been set to :data:`NEVER` before."""


class InOrder(MutableSet[HasDeadline]):
    """A set in the order in which things were added, so that those whose time is over together are told in the same order each
    time: a plain set's order is that of memory addresses, by which no run could be repeated."""

    __slots__ = ("_things",)

    def __init__(self) -> None:
        self._things: dict[HasDeadline, None] = {}

    def __contains__(self, thing: object) -> bool:
        return thing in self._things

    def __iter__(self) -> Iterator[HasDeadline]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def add(self, value: HasDeadline) -> None:
        self._things[value] = None

    def discard(self, value: HasDeadline) -> None:
        self._things.pop(value, None)


class DeadlineSweep:
    """Watches things that have a deadline.

    :param clock: gives the time and runs the sweep.
    :param shortest: the shortest time-out in use, in seconds; the sweep runs four times in it, between 20 times a second and
        once a second.
    """

    def __init__(self, clock: IReactorTime, shortest: float) -> None:
        self.watched: MutableSet[HasDeadline] = InOrder()
        self.interval = _interval(shortest)
        self._seconds = clock.seconds
        self._clock = clock
        self._loop = LoopingCall(self.sweep)
        self._loop.clock = clock
        self._late: list[HasDeadline] = []
        self._going_on: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to sweep."""
        if not self._loop.running:
            done: Deferred[LoopingCall] = self._loop.start(self.interval, now=False)
            done.addErrback(lambda failure: _log.failure("the sweep of deadlines stopped", failure))

    def configure(self, shortest: float) -> None:
        """Go by another shortest time-out from now on."""
        interval = _interval(shortest)
        if interval != self.interval:
            self.interval = interval
            if self._loop.running:
                self._loop.stop()
                self.start()

    def stop(self) -> None:
        """Sweep no more."""
        if self._loop.running:
            self._loop.stop()
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None

    def sweep(self) -> None:
        """Look for those whose deadline has passed, and tell them: :data:`AT_ONCE` now, the others in the turns that follow."""
        now = self._seconds()
        self._late = [watched for watched in self.watched if watched.deadline <= now]
        if self._going_on is None:
            self._tell()

    def _tell(self) -> None:
        """Tell some. What one of them raises is logged and does not touch the others."""
        self._going_on = None
        now = self._seconds()
        some, self._late = self._late[:AT_ONCE], self._late[AT_ONCE:]
        if self._late:
            self._going_on = self._clock.callLater(0, self._tell)
        for late in some:
            if late.deadline > now:
                continue  # what an earlier one set going, or itself, has given it a new deadline
            late.deadline = NEVER
            try:
                late.deadline_passed()
            except Exception:
                _log.failure("a deadline of {late!r} could not be dealt with", late=late)


def _interval(shortest: float) -> float:
    return min(1.0, max(0.05, shortest / 4))
