"""When a request is sent to a second backend as well. Pure."""

from __future__ import annotations

from collections import deque

__all__ = ["Hedging"]

#: Responses that are looked back at, and how many there must be before anything is said of a percentile.
_LOOK_BACK = 1000
_ENOUGH = 100


class Hedging:
    """Says after how long a request is taken for a slow one: at a percentile of the latest responses' latencies.

    :param percentile: 50 to 99.9.
    """

    def __init__(self, percentile: float) -> None:
        self.percentile = percentile
        self._latest: deque[float] = deque(maxlen=_LOOK_BACK)
        self._noted = 0
        #: Seconds from an attempt's beginning; None while too little is known.
        self.delay: float | None = None

    def configure(self, percentile: float) -> None:
        """Go by this percentile from now on, of what has been noted so far as well."""
        if percentile != self.percentile:
            self.percentile = percentile
            if len(self._latest) >= _ENOUGH:
                self._look_back()

    def note(self, seconds: float) -> None:
        """A response's head came so long after its attempt's beginning."""
        self._latest.append(seconds)
        self._noted += 1
        if self._noted >= _ENOUGH:
            self._noted = 0
            self._look_back()

    def _look_back(self) -> None:
        in_order = sorted(self._latest)
        self.delay = in_order[min(len(in_order) - 1, int(len(in_order) * self.percentile / 100))]
