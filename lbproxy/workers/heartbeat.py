"""Notices that a worker does not answer any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["REPORT", "Heartbeat"]

#: Seconds between two questions.
REPORT = 0.5

_log = Logger()


class Heartbeat:
    """Asks a worker every :data:`REPORT` seconds; the next time when it has answered.

    What counts as silence is time in which this process has been awake itself: after it was stopped, or the whole machine was,
    its workers must have a chance to answer.

    :param ask: asks; its Deferred fires when an answer has come, and may fail.
    :param silent: is called once, when no answer has come for too long.
    :param limit: seconds that are too long, as the settings are just now.
    """

    def __init__(
        self,
        ask: Callable[[], Deferred[Any]],
        silent: Callable[[], object],
        limit: Callable[[], float],
        clock: IReactorTime,
    ) -> None:
        self._ask = ask
        self._silent = silent
        self._limit = limit
        self._clock = clock
        self._asked = False
        self._silence = self._looked = 0.0
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Begin, with a question at once."""
        self._looked = self._clock.seconds()
        self._looking.start(REPORT).addErrback(lambda failure: _log.failure("the heartbeat of a worker stopped", failure))

    def stop(self) -> None:
        """End."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        now = self._clock.seconds()
        awake, self._looked = min(max(0.0, now - self._looked), 2 * REPORT), now
        if not self._asked:
            self._asked, self._silence = True, 0.0
            self._ask().addBoth(self._answered)
            return
        self._silence += awake
        if self._silence >= self._limit():
            self.stop()
            self._silent()

    def _answered(self, _: object) -> None:
        self._asked = False
