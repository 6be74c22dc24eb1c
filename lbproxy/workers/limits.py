"""How many attempts may run at a backend at once (``max-in-flight``), all workers together.

Each worker writes into its row of the board how many it has at each backend with a limit, and may have as many more as the limit
leaves. There is no lock: where several see the last place free in the same moment, all of them take it. So there may be one more
than the limit for each further worker, as long as these attempts run; and no more than that, as whoever looks later sees them.

Who waits in a worker's line learns within :data:`LOOK` that a place became free in another one. A worker whose line waits for a
place says so on the board. The others then leave it its share: they take a place that becomes free at theirs at once only below
that, and otherwise when they look the next time, like all who wait. With one place and several workers that wait it is idle so
for some milliseconds between two attempts.

Policies go by a worker's own attempts: what is least loaded for one is so for all, where clients are spread evenly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ..balance.backend import Backend
from ..balance.state import BackendState
from .board import FIRST_SLOT, Board

if TYPE_CHECKING:
    from ..proxy.balancer import Balancer

__all__ = ["LOOK", "LimitedState", "Limits", "LineWatch", "WorkerState"]

#: Seconds between two looks of a worker in which somebody waits for a place; each time up to a half more or less, lest one
#: worker always come first.
LOOK = 0.01

#: Added to a number on the board by a worker in which somebody waits for that backend.
_HUNGRY = 1 << 32
_COUNT = _HUNGRY - 1

_log = Logger()


class Limits:
    """A worker's part in the limits of all.

    :param number: the worker's; *workers*: how many there are.
    :ivar looking: whether those who wait are called because it is time to look, not because an attempt here has ended.
    """

    def __init__(self, board: Board, number: int, workers: int) -> None:
        self.board = board
        self.workers = workers
        self.row = board.row(number)
        self.looking = False
        self._slots: dict[str, dict[str, int]] = {}

    def told(self, pool: str, slots: dict[str, int]) -> None:
        """The supervisor says where the backends of a pool that have a limit have their places on the board, by their addresses.
        It is gone by when the pool is told its backends."""
        self._slots[pool] = slots

    def make_state(self, pool: str) -> Callable[..., BackendState]:
        """Makes the states of a pool's members."""
        return partial(WorkerState, self, pool)

    def attend(self, balancer: Balancer) -> None:
        """Have those who wait for its backends learn of places that others leave."""
        balancer.line.began = LineWatch(self, balancer).began

    def place(self, pool: str, backend: Backend) -> int | None:
        """A backend's place in a row; None for one that has no limit, or came when all places were taken."""
        slot = self._slots.get(pool, {}).get(backend.address) if backend.max_in_flight else None
        return None if slot is None else FIRST_SLOT + slot


class WorkerState(BackendState):
    """A backend's state in a worker. While the backend has a limit that holds for all workers, it is a :class:`LimitedState`;
    otherwise it costs what any :class:`~lbproxy.balance.state.BackendState` does. Where there was no place on the board, the
    limit is divided by the workers, and rounded up.
    """

    __slots__ = ("_column", "_hungry", "_limits", "_most", "_own", "_place", "_pool", "_row")

    def __init__(self, limits: Limits, pool: str, backend: Backend, now: float, *, up: bool = True) -> None:
        self._limits = limits
        self._pool = pool
        self._row = limits.row
        self._column = limits.row[:0]
        self._place: int | None = None
        self._hungry = False
        self._most: float = 0
        self._own = self.in_flight = 0
        super().__init__(backend, now, up=up)

    def configure(self, backend: Backend) -> None:
        """Take what the operator says of it now: with a limit, with another one, or without."""
        place = self._limits.place(self._pool, backend)
        if place != self._place:
            self._move(place)
        super().configure(backend)
        if backend.max_in_flight and place is None:
            self.limit = -(-backend.max_in_flight // self._limits.workers)

    def _move(self, place: int | None) -> None:
        """Its attempts are counted there from now on."""
        running = self.in_flight
        self.be_hungry(False)
        if place is not None:  # there first, lest others believe for a moment that it has none
            self._row[place] += running
            self._column = self._limits.board.column(place, self._limits.workers)
        if self._place is not None:
            self._row[self._place] -= running
        self._place = place
        self._own = running
        self.__class__ = WorkerState if place is None else LimitedState
        self.in_flight = running

    def be_hungry(self, hungry: bool) -> None:
        """Say on the board whether somebody here waits for a place at it."""
        if hungry is not self._hungry and self._place is not None:
            self._hungry = hungry
            self._row[self._place] += _HUNGRY if hungry else -_HUNGRY


class LimitedState(WorkerState):
    """That of a backend whose limit holds for all workers together.

    What it writes to the board are differences, so that a state that is on its way out, and its successor, count in one place.
    """

    __slots__ = ()

    @property
    def in_flight(self) -> int:
        """Attempts that this worker has at it."""
        return self._own

    @in_flight.setter
    def in_flight(self, running: int) -> None:
        self._row[self._place] += running - self._own  # type: ignore[index]
        self._own = running

    @property
    def limit(self) -> float:
        """How many of them there may be just now."""
        written = sum(self._column)
        left = self._most - (written & _COUNT) + self._own
        hungry = (written >> 32) - self._hungry
        if not hungry:
            return left
        most, waiting = int(self._most), hungry + 1
        return min(left, -(-most // waiting) if self._limits.looking else most // waiting)

    @limit.setter
    def limit(self, most: float) -> None:
        self._most = most


class LineWatch:
    """Looks on the board, while somebody waits in a balancer's line, whether others have left a place."""

    def __init__(self, limits: Limits, balancer: Balancer) -> None:
        self._limits = limits
        self._balancer = balancer
        self._hungry: set[LimitedState] = set()
        self._timer: IDelayedCall | None = None

    def began(self) -> None:
        """Somebody waits."""
        self._say()
        if self._timer is None:
            seconds = LOOK * (0.5 + self._balancer.random.random())
            self._timer = self._balancer.clock.callLater(seconds, self._look)

    def _members(self) -> list[LimitedState]:
        return [one for one in self._balancer.pool.members.values() if isinstance(one, LimitedState)]

    def _look(self) -> None:
        self._timer = None
        self._limits.looking = True
        try:
            if any(member.in_flight < member.limit for member in self._balancer.pool.members.values()):
                self._balancer.line.call()
        except Exception:  # of the policy's, which is a user's; the next look comes
            _log.failure("those who wait in pool {pool} could not be called", pool=self._balancer.pool.name)
        finally:
            self._limits.looking = False
        if self._balancer.line.waiting:
            self.began()
        else:
            self._say()

    def _say(self) -> None:
        """Who waits is hungry for those backends that are full; where there is a place that they have not taken, they cannot
        use it."""
        before, self._hungry = self._hungry, set()
        if self._balancer.line.waiting:
            looking, self._limits.looking = self._limits.looking, True
            self._hungry = {member for member in self._members() if member.in_flight >= member.limit}
            self._limits.looking = looking
        for member in before - self._hungry:
            member.be_hungry(False)
        for member in self._hungry:
            member.be_hungry(True)
