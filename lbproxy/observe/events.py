"""Changes of state and their evidence: the last ones at hand for ``/events``, each also a line in the log."""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from ..balance.state import Change
from .times import iso_time

__all__ = ["EVENTS_KEPT", "LINES", "LINES_SECONDS", "EventLog"]

#: Changes that are kept: a megabyte at most.
EVENTS_KEPT = 1000

#: So many changes are written to the log in so many seconds; of the rest, when a whole network goes, the log says how many.
LINES = 100
LINES_SECONDS = 10.0

#: What is no good news.
_BAD = ("down", "panic")

_log = Logger()


class EventLog:
    """Remembers the last changes of state, numbered from 1 on, and writes each to the log: an observer of pools. Never raises.

    :param clock: says when the log has had enough, and when it may be told how much was left out.
    :param limit: how many changes are kept.
    :param silent: whether nothing is written to the log: another process does.
    :ivar last: the number of the last change; 0 before any.
    """

    def __init__(self, clock: IReactorTime, limit: int = EVENTS_KEPT, *, silent: bool = False) -> None:
        self.last = 0
        self._silent = silent
        self._clock = clock
        self._kept: deque[Change] = deque(maxlen=limit)
        self._lines = 0
        self._lines_until = 0.0
        self._left_out = 0
        self._telling: IDelayedCall | None = None

    def __call__(self, change: Change) -> None:
        """Take a change down."""
        self.last += 1
        self._kept.append(change)
        if self._silent:
            return
        now = self._clock.seconds()
        if now >= self._lines_until:
            self._tell_left_out()
            self._lines, self._lines_until = 0, now + LINES_SECONDS
        if self._lines < LINES:
            self._lines += 1
            _write(change)
        else:
            self._left_out += 1
            if self._telling is None:
                self._telling = self._clock.callLater(self._lines_until - now, self._tell_left_out)

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """The changes that are kept, the oldest first, ready for JSON: the attributes of
        :class:`~lbproxy.balance.state.Change`, with the time as ISO 8601 in UTC, and ``number``.

        :param since: only those after the one of this number.
        """
        first = self.last - len(self._kept) + 1
        return [
            {"number": number, **attrs.asdict(change), "time": iso_time(change.time)}
            for number, change in enumerate(self._kept, first)
            if number > since
        ]

    def dropped(self, since: int = 0) -> int:
        """How many changes after the one of this number are not kept any more."""
        return max(0, self.last - len(self._kept) - since)

    def stop(self) -> None:
        """Leave no call behind at the clock; what was left out of the log is told now."""
        self._tell_left_out()

    def _tell_left_out(self) -> None:
        telling, self._telling = self._telling, None
        if telling is not None and telling.active():
            telling.cancel()
        left_out, self._left_out = self._left_out, 0
        if left_out:
            _log.warn(
                "{count} further changes of state within {seconds:g} s were left out here; /events has the last {kept}",
                count=left_out,
                seconds=LINES_SECONDS,
                kept=self._kept.maxlen,
            )


def _write(change: Change) -> None:
    """Write a line such as ``10.0.0.1:8000 in pool default: up -> down (traffic): refused``."""
    _log.emit(
        LogLevel.warn if change.now in _BAD else LogLevel.info,
        "{who}: {was} -> {now} ({source}): {reason}",
        who=_who(change),
        was=change.was or "new",
        now=change.now or "gone",
        source=change.source,
        reason=_visible(change.reason.removeprefix(f"{change.source}: ")),
    )


def _who(change: Change) -> str:
    if not change.pool:
        return change.address  # a worker
    return f"{change.address} in pool {change.pool}" if change.address else f"pool {change.pool}"


def _visible(text: str) -> str:
    """The text as it may stand in a log. Evidence may quote what a backend or an operator sent, which must neither draw on
    whoever's terminal shows it, nor turn its text round, nor keep it from being written."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
