"""Deadlines without a timer for each: one coarse sweep over everything that has one.

A ``callLater`` with its ``cancel`` costs 1.7 µs, and an exchange would need several; setting an attribute costs nothing. The
sweep looks a few times in the shortest time-out's span, so a deadline is at most that much late.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["NEVER", "DeadlineSweep", "HasDeadline"]

NEVER = float("inf")

_log = Logger()


class HasDeadline(Protocol):
    """Something with a deadline."""

    deadline: float
    """In the clock's seconds; :data:`NEVER` while there is none."""

    def deadline_passed(self) -> None:
        """The deadline has passed. It has been set to :data:`NEVER` before."""


class DeadlineSweep:
    """Watches things that have a deadline.

    :param clock: gives the time and runs the sweep.
    :param shortest: the shortest time-out in use, in seconds; the sweep runs four times in it, between 20 times a second and
        once a second.
    """

    def __init__(self, clock: IReactorTime, shortest: float) -> None:
        self.watched: set[HasDeadline] = set()
        self.interval = min(1.0, max(0.05, shortest / 4))
        self._seconds = clock.seconds
        self._loop = LoopingCall(self.sweep)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to sweep."""
        if not self._loop.running:
            done: Deferred[LoopingCall] = self._loop.start(self.interval, now=False)
            done.addErrback(lambda failure: _log.failure("the sweep of deadlines stopped", failure))

    def stop(self) -> None:
        """Sweep no more."""
        if self._loop.running:
            self._loop.stop()

    def sweep(self) -> None:
        """Tell all whose deadline has passed. What one of them raises is logged and does not touch the others."""
        now = self._seconds()
        for late in [watched for watched in self.watched if watched.deadline <= now]:
            if late.deadline > now:
                continue  # what an earlier one set going has given it a new deadline
            late.deadline = NEVER
            try:
                late.deadline_passed()
            except Exception:
                _log.failure("a deadline of {late!r} could not be dealt with", late=late)
