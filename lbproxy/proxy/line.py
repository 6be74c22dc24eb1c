"""The waiting line: exchanges for which no backend has a place free just now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["WaitingLine"]


class Waiting(Protocol):
    """Who waits."""

    choosy: bool
    """Whether it can use some backends only: those behind it may find a place where it finds none."""

    def try_again(self) -> bool:
        """There may be a place; whoever finds one leaves the line. Returns whether it waits no longer."""


class WaitingLine:
    """Who has waited longest is served first. Pure: time-outs are its callers'.

    :param limit: how many may wait; 0: nobody.
    :ivar limit: the same; when it is lowered, who waits already waits on.
    :ivar waiting: who waits, who came first first.
    :ivar turned_away: how many were not let in because it was full.
    :ivar joined: how many have waited.
    :ivar began: is called when somebody waits, and nobody did before; None: it need not be known.
    """

    __slots__ = ("_again", "_calling", "began", "joined", "limit", "turned_away", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: dict[Waiting, None] = {}
        self.began: Callable[[], None] | None = None
        self._again = self._calling = False
        self.joined = 0
        self.turned_away = 0

    def join(self, one: Waiting) -> bool:
        """Wait at the end of the line. Returns whether there was room."""
        if len(self.waiting) >= self.limit:
            self.turned_away += 1
            return False
        self.waiting[one] = None
        self.joined += 1
        if self.began is not None and len(self.waiting) == 1:
            self.began()
        return True

    def leave(self, one: Waiting) -> None:
        """Wait no longer; one that does not wait is ignored."""
        self.waiting.pop(one, None)

    def call(self) -> None:
        """A place may have become free: let those at the front try, as long as one after the other finds one."""
        self._again = True
        if self._calling:
            return  # by one of those who are just being called
        self._calling = True
        try:
            while self._again:
                self._again = False
                self._call_each()
        finally:
            self._calling = False

    def _call_each(self) -> None:
        for one in list(self.waiting):
            if one in self.waiting and not one.try_again() and not one.choosy:
                break
