"""Which backend with a limit has which place on the board: the supervisor's to say, the same for all workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from ..balance.backend import Backend
from ..balance.known import Known
from ..balance.pool import Pool
from ..balance.state import Verdict, Wish
from ..interfaces import IPoolControl
from .board import FIRST_SLOT, SLOTS, Board
from .calls import Call

__all__ = ["SlotTable", "SlotTeller", "Slots"]

_log = Logger()


class SlotTable:
    """Gives numbers to backends: each keeps its own as long as it stays, and gets the same when it comes back, if that is still
    there. Pure.

    :param slots: how many there are.
    :param busy: whether something still counts at one; only where nothing does, another backend gets it.
    """

    def __init__(self, slots: int, busy: Callable[[int], bool]) -> None:
        self._slots = slots
        self._busy = busy
        self._next = 0
        self._given: dict[str, dict[str, int]] = {}
        self._left: dict[tuple[str, str], int] = {}  # who left first, first

    def give(self, pool: str, addresses: Iterable[str]) -> dict[str, int]:
        """These are the backends of a pool that need one.

        :return: the numbers by address; those are missing for which there was none.
        """
        wanted = list(addresses)
        before = self._given.pop(pool, {})
        given = {address: before[address] for address in wanted if address in before}
        for address in wanted:
            slot = given[address] if address in given else self._take((pool, address))
            if slot is not None:
                given[address] = slot
        self._left.update({(pool, address): slot for address, slot in before.items() if address not in given})
        if given:
            self._given[pool] = given
        return dict(given)

    def keep(self, pools: Iterable[str]) -> None:
        """There are no pools but these."""
        for gone in self._given.keys() - set(pools):
            self.give(gone, ())

    def _take(self, who: tuple[str, str]) -> int | None:
        slot = self._left.pop(who, None)
        if slot is not None:
            return slot
        if self._next < self._slots:
            self._next += 1
            return self._next - 1
        free = next((one for one, slot in self._left.items() if not self._busy(slot)), None)
        return None if free is None else self._left.pop(free)


class Slots:
    """The supervisor's: says to the workers which backend has which place, always before they hear of the backends themselves.

    :param workers: how many there are.
    """

    def __init__(self, board: Board, workers: int) -> None:
        self._table = SlotTable(SLOTS, lambda slot: board.sum(FIRST_SLOT + slot, workers) != 0)
        self._complained = False

    def call(self, pool: str, backends: Iterable[Backend]) -> Call:
        """What is to be told of a pool of these backends."""
        limited = [backend.address for backend in backends if backend.max_in_flight]
        given = self._table.give(pool, limited)
        if len(given) < len(limited) and not self._complained:
            self._complained = True
            _log.warn(
                "more than {slots} backends have a limit of attempts in flight; of the others, such as {address}, each worker "
                "keeps to its share of the limit",
                slots=SLOTS,
                address=next(address for address in limited if address not in given),
            )
        return [pool, "slots", given]

    def calls(self, pools: Iterable[Pool]) -> list[Call]:
        """What is to be told when these are all pools that there are."""
        pools = list(pools)
        self._table.keep(pool.name for pool in pools)
        return [self.call(pool.name, (member.backend for member in pool.members.values())) for pool in pools]


@implementer(IPoolControl)
class SlotTeller:
    """Follows a pool, and is told before those who tell the workers.

    :param tell: is called with the pool's name and its backends.
    """

    def __init__(self, pool: str, tell: Callable[[str, Iterable[Backend]], Any]) -> None:
        self._pool = pool
        self._tell = tell

    def set_backends(self, backends: Iterable[Backend], source: str = "configuration") -> None:
        """It is to consist of these."""
        self._tell(self._pool, backends)

    def apply(self, verdict: Verdict) -> None:
        """Which does not matter here."""

    def wish(self, wish: Wish) -> None:
        """Nor does this."""

    def know(self, known: Known) -> None:
        """Nor does this."""
