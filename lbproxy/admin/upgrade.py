"""Going over to a new program without loss, asked for by POST, and what ``/status`` says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..observe.times import iso_time
from .changes import Order
from .pages import Answer, json_answer

__all__ = ["UpgradePage", "upgrade_status"]


class Result(Protocol):
    """What came of an upgrade."""

    @property
    def when(self) -> float:
        """Seconds since the epoch."""

    @property
    def ok(self) -> bool:
        """Whether the new program serves; otherwise the old one goes on."""

    @property
    def why(self) -> str:
        """What was wrong, a line each."""

    @property
    def pid(self) -> int:
        """The new program's process; 0: there is none."""


class Upgrader(Protocol):
    """Upgrades the program."""

    @property
    def running(self) -> bool:
        """Whether it is at it."""

    @property
    def last(self) -> Result | None:
        """What came of it the last time; None: it was not done yet."""

    def upgrade(self) -> Deferred[Any]:
        """Do it; fires with a :class:`Result`, and never fails."""


_NONE = Answer("Nothing can be upgraded here: lbproxy was not started by twistd, or it is a demo.\n", code=404)
_BUSY = Answer("An upgrade is under way already.\n", code=409)


def upgrade_status(upgrader: Upgrader | None) -> dict[str, Any] | None:
    """What is known of upgrades, ready for JSON.

    :return: of the last one its ``time`` (ISO 8601 in UTC), whether it was ``ok``, ``why`` it was not (null: it was), and the
        ``pid`` of the new program; null: there was none. A program that an upgrade has started tells of that one.
    """
    return None if upgrader is None or upgrader.last is None else _result(upgrader.last)


def _result(result: Result) -> dict[str, Any]:
    return {"time": iso_time(result.when), "ok": result.ok, "why": result.why or None, "pid": result.pid or None}


class UpgradePage(Order):
    """``/upgrade``: answers when it is decided, with the new program's process, or with what is wrong as text.

    :param upgrader: gives who does it; None: nobody.
    """

    def __init__(self, upgrader: Callable[[], Upgrader | None], writable: bool) -> None:
        super().__init__(writable)
        self._upgrader = upgrader

    def begin(self) -> Answer | Deferred[Answer]:
        """Upgrade."""
        upgrader = self._upgrader()
        if upgrader is None or upgrader.running:
            return _NONE if upgrader is None else _BUSY
        return upgrader.upgrade().addCallback(_answer)


def _answer(result: Result) -> Answer:
    return json_answer(_result(result)) if result.ok else Answer(f"{result.why}\n", code=422)
