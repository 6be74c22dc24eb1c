"""Token buckets, as many as there are keys, in bounded memory. Pure.

A bucket holds *burst* tokens at most and gets *rate* of them a second; each request takes one. What is kept of a bucket is when
it will be full again: a full one needs no memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace

import attrs

__all__ = ["Buckets", "Taken"]

#: A token that has come but for so much of it is there: the rest is lost in sums of floats.
_ROUNDING = 1e-6


@attrs.frozen
class Taken:
    """How a request fared.

    :ivar allowed: whether there was a token for it.
    :ivar remaining: whole tokens that are left.
    :ivar wait: seconds until there is a token again; 0 where there is one.
    :ivar full: seconds until the bucket is full.
    """

    allowed: bool
    remaining: int
    wait: float
    full: float


class Buckets:
    """Buckets by key. In no stretch of *t* seconds a bucket gives more than ``burst + rate * t`` tokens, as long as it is kept.

    Several processes may each have buckets of the same keys, and tell each other what they have given
    (:meth:`take_elsewhere`). All of a key together then give no more than that, and what was asked of the others, up to
    *burst* each and *rate* for the time, before it was known here.

    A clock that goes back stands still for the time it went back by, and goes on from there.

    :param seconds: the clock.
    :param limit: buckets that are kept. For a further one those are forgotten that are full, and where none is, the one that was
        asked least recently.
    :param struck: called when a bucket was forgotten that was not full.
    """

    def __init__(
        self, rate: float, burst: int, seconds: Callable[[], float], limit: int, struck: Callable[[], None] = lambda: None
    ) -> None:
        self.rate = rate
        self.burst = burst
        self.limit = limit
        self._seconds = seconds
        self._struck = struck
        self._last = seconds()
        self._gone_back = 0.0
        # The least recently asked first. A plain dict finds its first the slower, the more has been taken from its beginning.
        self._full_at: OrderedDict[bytes, float] = OrderedDict()
        # One entry a bucket, with a time at which it was to be full: it may be later by now, and never is earlier.
        self._soonest: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: bytes) -> Taken:
        """Take a token."""
        now = self._now()
        full_at = self._full_at.get(key)
        missing = 0.0 if full_at is None or full_at <= now else (full_at - now) * self.rate
        allowed = missing <= self.burst - 1 + _ROUNDING
        if full_at is None:
            self._make_room(now)
            heappush(self._soonest, (now + 1 / self.rate, key))
        else:
            self._full_at.move_to_end(key)
        if allowed:
            missing += 1
            self._full_at[key] = now + missing / self.rate
        left = self.burst - missing
        wait = 0.0 if left >= 1 - _ROUNDING else (1 - left) / self.rate
        return Taken(allowed, max(int(left + _ROUNDING), 0), wait, missing / self.rate)

    def take_elsewhere(self, key: bytes, count: int) -> None:
        """So many tokens were taken of the buckets of this key that others have: they are missing here as well, into debt where
        there are not so many. So all give together what one would, but for what is asked of them before they know of each
        other.
        """
        now = self._now()
        full_at = self._full_at.get(key)
        if full_at is None:
            self._make_room(now)
            heappush(self._soonest, (now + count / self.rate, key))
        else:
            self._full_at.move_to_end(key)
        self._full_at[key] = max(full_at or now, now) + count / self.rate

    def change(self, rate: float, burst: int, limit: int) -> None:
        """Go by these from now on. What each bucket has given stays given: as many tokens as were missing are, up to all."""
        now = self._now()
        old, self.rate, self.burst, self.limit = self.rate, rate, burst, limit
        for key, full_at in self._full_at.items():
            missing = min(max(full_at - now, 0.0) * old, burst)
            self._full_at[key] = now + missing / rate
        self._sort()
        while len(self._full_at) > limit:
            self._forget_one(now)

    def _now(self) -> float:
        now = self._seconds()
        if now < self._last:
            self._gone_back += self._last - now
        self._last = now
        return now + self._gone_back

    # Memory.

    def _make_room(self, now: float) -> None:
        """Before a new bucket comes: two that are full go, if there are any, so that memory shrinks with the traffic."""
        if self._forget_full(now):
            self._forget_full(now)
        while len(self._full_at) >= self.limit:
            self._forget_one(now)
        if len(self._soonest) > 2 * self.limit:
            self._sort()

    def _forget_one(self, now: float) -> None:
        if not self._forget_full(now):
            self._full_at.popitem(last=False)
            self._struck()

    def _forget_full(self, now: float) -> bool:
        """Forget the bucket that has been full for longest. Returns whether one is."""
        soonest = self._soonest
        while soonest and soonest[0][0] <= now:
            key = soonest[0][1]
            full_at = self._full_at.get(key)
            if full_at is not None and full_at > now:
                heapreplace(soonest, (full_at, key))  # it was asked again meanwhile
                continue
            heappop(soonest)
            if full_at is not None:
                del self._full_at[key]
                return True
        return False

    def _sort(self) -> None:
        self._soonest = sorted((full_at, key) for key, full_at in self._full_at.items())
