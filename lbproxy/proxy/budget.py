"""The retry budget: how much of a pool's work may be work done again. Pure."""

from __future__ import annotations

from collections import deque

__all__ = ["COOLING", "RetryBudget"]

#: Seconds for which a place stays taken whose attempt has failed as well. Where a backend died, the others answer, and places
#: are free at once for all whom it took with it; where all fail at once, hardly anything is in flight, and without this the few
#: places that there always are would be had again and again.
COOLING = 1.0


class RetryBudget:
    """Bounds how many exchanges at once are at an attempt that repeats what a backend may have done already.

    Where all backends are slow or broken, each request would otherwise be sent to each of them, just when they have least to
    spare (a retry storm). Attempts that repeat nothing, because a backend refused the connection, are not counted: they go to
    another backend and cost none of them anything.

    :param share: of the exchanges that are not at such an attempt themselves, the share that may be; 1 or more: any number
        (Envoy's ``retry_budget``: 20 %).
    :param least: so many may be, however few the others are (Envoy's ``min_retry_concurrency``: 3).
    :ivar active: exchanges at such an attempt now.
    :ivar cooling: when each place that was had for nothing is free again, the first first.
    :ivar waiting: exchanges that wait for a place now; they are none that count as running.
    :ivar refused: exchanges that were answered with their failure because there was no place.
    """

    __slots__ = ("_least", "_share", "active", "cooling", "refused", "waiting")

    def __init__(self, share: float, least: int) -> None:
        self.configure(share, least)
        self.cooling: deque[float] = deque()
        self.active = 0
        self.waiting = 0
        self.refused = 0

    def configure(self, share: float, least: int) -> None:
        """Go by these from now on. Places that are taken stay so."""
        self._share = share
        self._least = least

    def allowed(self, in_flight: int) -> float:
        """How many may be active while so many exchanges are in flight in all."""
        if self._share >= 1:
            return float("inf")
        return max(self._least, self._share * (in_flight - self.active - self.waiting))

    def take(self, in_flight: int, now: float = 0.0) -> bool:
        """Take a place, if there is one."""
        cooling = self.cooling
        while cooling and not now < cooling[0] <= now + COOLING:  # beyond that, the clock was set back
            cooling.popleft()
        if self.active + len(cooling) + 1 > self.allowed(in_flight):
            return False
        self.active += 1
        return True

    def failed(self, now: float) -> None:
        """The attempt for which a place was taken has failed: it is free only after a while."""
        self.active -= 1
        self.cooling.append(now + COOLING)

    def give_back(self) -> None:
        """The exchange that took a place has a response, or is over without one."""
        self.active -= 1
