"""When each backend is probed next: at once when it is new, then evenly spread over the interval. Pure.

Each backend has a place within the interval for as long as it stays, and is due there once in every interval, so that nothing
drifts and no two come to go together however long it runs. The places are the multiples of the golden ratio, less their whole
part: any number of them in a row is spread evenly (no gap is more than 2.7 times another), so that nobody has to move when
backends join or leave, and a change of the interval keeps them spread as well.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import floor, inf, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

__all__ = ["AT_ONCE", "Plan"]

#: Seconds by which a probe may be early, so that those which are due about the same time need one wake-up. (Measured for 1,000
#: backends every 5 s: 69 ms of CPU a second, 88 with half of that.)
AT_ONCE = 0.02

_GOLDEN = (sqrt(5) - 1) / 2


class _Turn:
    """One backend's turn.

    :ivar place: where in each interval it is due, 0 to 1.
    :ivar due: when it is due by its place; later by its jitter in the heap.
    :ivar number: of its entry in the heap that counts; 0 while it has none, since it is being probed.
    """

    __slots__ = ("due", "number", "place")

    def __init__(self, place: float) -> None:
        self.place = place
        self.due = -inf
        self.number = 0


class Plan:
    """Says whose turn it is. Times are seconds of any clock.

    :param concurrency: probes at once at most; who is due beyond that comes as places become free, the longest due first.
    :param jitter: percentage of the interval by which a probe may be late, so that balancers do not fall in step.
    :param random: source of the jitter.
    """

    def __init__(self, concurrency: int, jitter: float, random: Random) -> None:
        self.configure(concurrency, jitter)
        self._random = random
        self._turns: dict[str, _Turn] = {}
        # (when, number of the entry, whose, their turn). An entry that does not count any more stays until it comes up.
        self._heap: list[tuple[float, int, str, _Turn]] = []
        self._entries = 0
        self._places = 0
        self._began = 0.0
        self._running: set[str] = set()

    def configure(self, concurrency: int, jitter: float) -> None:
        """Go by these from now on."""
        self._concurrency = concurrency
        self._jitter = jitter / 100

    def __contains__(self, address: str) -> bool:
        return address in self._turns

    @property
    def running(self) -> int:
        """How many are being probed."""
        return len(self._running)

    def add(self, address: str, now: float) -> None:
        """Let one be probed at once, and from now on."""
        if not self._places:
            self._began = now
        turn = self._turns[address] = _Turn(self._places * _GOLDEN % 1)
        self._places += 1
        self._enter(address, turn, now)

    def remove(self, address: str) -> None:
        """Forget one; if it is being probed, it is no more."""
        del self._turns[address]
        self._running.discard(address)
        if len(self._heap) > 2 * len(self._turns) + 100:
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapify(self._heap)

    def hurry(self, address: str, now: float) -> None:
        """Let one be probed at once, unless it is being probed."""
        if address not in self._running:
            turn = self._turns[address]
            turn.due = now
            self._enter(address, turn, now)

    def advance(self, address: str, now: float, interval: float) -> None:
        """Let one have its next turn within this interval, which is shorter than before, unless it is being probed."""
        turn = self._turns[address]
        if address not in self._running and turn.due > now + interval:
            turn.due = now
            self.ended(address, now, interval)

    def take(self, now: float) -> str | None:
        """Whom to probe now, if there is a place free; asked until there is nobody. It counts as being probed until
        :meth:`ended`."""
        if len(self._running) >= self._concurrency or self._next() > now + AT_ONCE:
            return None
        _, _, address, turn = heappop(self._heap)
        turn.number = 0
        self._running.add(address)
        return address

    def ended(self, address: str, now: float, interval: float) -> None:
        """A probe is over: the next one is due at the backend's place within the interval. Where that was missed, because the
        probe took so long or because there was no place free, it is left out."""
        self._running.discard(address)
        turn = self._turns[address]
        after = max(now, turn.due)
        rounds = floor((after - self._began) / interval - turn.place)
        while (due := self._began + (rounds + turn.place) * interval) <= after:  # once or twice: division rounds either way
            rounds += 1
        turn.due = due
        self._enter(address, turn, turn.due + self._random.uniform(0, self._jitter * interval))

    def wake(self) -> float | None:
        """When somebody is due; None while nobody can be, before a probe is over or a backend joins."""
        if len(self._running) >= self._concurrency:
            return None
        when = self._next()
        return None if when == inf else when

    def _enter(self, address: str, turn: _Turn, when: float) -> None:
        self._entries += 1
        turn.number = self._entries
        heappush(self._heap, (when, self._entries, address, turn))

    def _next(self) -> float:
        while self._heap and not self._counts(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def _counts(self, entry: tuple[float, int, str, _Turn]) -> bool:
        _, number, address, turn = entry
        return turn.number == number and self._turns.get(address) is turn
