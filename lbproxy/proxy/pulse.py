"""The pulse: what changes with time alone is looked at a few times a second, by one timer however many pools there are."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["PULSE", "Pulse"]

#: Seconds between two looks at what changes with time alone: ejections that end, backends that warm up.
PULSE = 0.25

_log = Logger()


class Pulse:
    """Calls what is in it each :data:`PULSE` seconds, while there is anything.

    :param clock: runs it.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._calls: dict[Callable[[], None], None] = {}
        self._loop = LoopingCall(self.beat)
        self._loop.clock = clock

    def __contains__(self, call: Callable[[], None]) -> bool:
        return call in self._calls

    def add(self, call: Callable[[], None]) -> None:
        """Call this as well; what is in it already is called once."""
        self._calls[call] = None
        if not self._loop.running:
            done: Deferred[LoopingCall] = self._loop.start(PULSE, now=False)
            done.addErrback(lambda failure: _log.failure("the pulse stopped", failure))

    def discard(self, call: Callable[[], None]) -> None:
        """Call this no more."""
        self._calls.pop(call, None)
        if not self._calls and self._loop.running:
            self._loop.stop()

    def beat(self) -> None:
        """Call them all. What one of them raises is logged and does not touch the others."""
        for call in list(self._calls):
            try:
                call()
            except Exception:
                _log.failure("{call!r} failed", call=call)
