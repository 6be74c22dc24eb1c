"""The waiting line: exchanges for which no backend has a place free just now."""

from __future__ import annotations

from typing import Protocol

__all__ = ["WaitingLine"]


class Waiting(Protocol):
    """Who waits."""

    def try_again(self) -> bool:
        """There may be a place. Returns whether it waits no longer."""


class WaitingLine:
    """Who has waited longest is served first. Pure: time-outs are its callers'.

    :param limit: how many may wait; 0: nobody.
    :ivar waiting: who waits, who came first first.
    :ivar turned_away: how many were not let in because it was full.
    :ivar joined: how many have waited.
    """

    __slots__ = ("_calling", "_limit", "joined", "turned_away", "waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.waiting: dict[Waiting, None] = {}
        self._calling = False
        self.joined = 0
        self.turned_away = 0

    def join(self, one: Waiting) -> bool:
        """Wait at the end of the line. Returns whether there was room."""
        if len(self.waiting) >= self._limit:
            self.turned_away += 1
            return False
        self.waiting[one] = None
        self.joined += 1
        return True

    def leave(self, one: Waiting) -> None:
        """Wait no longer; one that does not wait is ignored."""
        self.waiting.pop(one, None)

    def call(self) -> None:
        """A place may have become free: let those at the front try, as long as one after the other finds one."""
        if self._calling:
            return  # by one of those who are just being called; the loop below sees to the rest
        self._calling = True
        try:
            while self.waiting:
                first = next(iter(self.waiting))
                if not first.try_again():
                    break
                self.leave(first)
        finally:
            self._calling = False
