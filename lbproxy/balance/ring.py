"""A ring of points: consistent hashing for pools of any size."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import shake_128
from struct import unpack

from ..errors import ConfigurationError
from .state import BackendState

__all__ = ["Ring"]

#: Points of a member of mean weight: 160 (ketama's, and nginx's) in large pools, and up to four times as many in smaller ones,
#: whose shares they make more even: a share is off by 1 / √points, 8 % and 4 %.
FEWEST, MOST = 160, 640
#: The points together, as far as these bounds let them be.
TOGETHER = 160_000

# A point is one number of 64 bits: its position on the ring, which member it belongs to (a slot), and which of the member's
# points it is (its rank). A member's first points are the same ones however many it has.
_SLOT, _POSITION = 16, 32
_LOW = 0xFFFF
_SLOTS, _RANKS = 1 << 16, 1 << 16


class Ring:
    """Members on a ring, each at as many points as its weight asks for. A key belongs to the first point at or after it.

    Points stay when their member leaves or weighs less: a search passes over those that do not count. So a change of members
    costs a look at each member, and only points that were never there before are put in. Once more than three of four are of
    members that have left, the ring is made anew.

    How many points a weight is worth is settled when the first members come, and stays so (a change would move keys of all
    members) until it is off by more than four times.

    :param scale: how many points a weight of 1 is worth; 0: the first members settle it.
    """

    def __init__(self, scale: float = 0.0) -> None:
        self._clear(scale)

    @property
    def scale(self) -> float:
        """How many points a weight of 1 is worth; 0: it is not settled yet."""
        return self._scale

    def _clear(self, scale: float) -> None:
        self._scale = scale  # points for a unit of weight; 0: not settled yet
        self._points = array("Q")
        self._owners: list[BackendState] = []
        self._slots: dict[BackendState, int] = {}
        self._ranks: list[int] = []  # by slot: how many points are there
        self._counting: list[int] = []  # by slot: how many of these count; none of a member that has left
        self._count = 0  # members

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Let the ring consist of these.

        :raises ConfigurationError: for more than 65,536.
        """
        if len(members) > _SLOTS:
            raise ConfigurationError(f"hash: a ring was asked for {len(members)} members; allowed are {_SLOTS}")
        self._keep_scale(members)
        if len(self._owners) > 4 * len(members) + 16 or len(self._owners) + len(members) > _SLOTS:
            self._clear(self._scale)
        fresh: list[int] = []
        for member in members:
            fresh += self._grow(member)
        if fresh:
            self._points = _merged(self._points, sorted(fresh))
        counting = [0] * len(self._owners)
        for member in members:
            counting[self._slots[member]] = self._points_for(member.weight)
        # Anew, and not changed: whoever still goes round the ring goes on as it was.
        self._counting = counting
        self._count = len(members)

    def _keep_scale(self, members: Sequence[BackendState]) -> None:
        if not members:
            return
        mean = sum(member.backend.weight for member in members) / len(members)
        wanted = min(max(TOGETHER // len(members), FEWEST), MOST) / mean
        if not FEWEST / 4 <= self._scale * mean <= MOST * 4:
            self._clear(wanted)

    def _points_for(self, weight: float) -> int:
        return min(max(round(weight * self._scale), 1), _RANKS)

    def _grow(self, member: BackendState) -> list[int]:
        """The points that the member needs, at its whole weight, and that are not there yet."""
        slot = self._slots.get(member)
        if slot is None:
            slot = self._slots[member] = len(self._owners)
            self._owners.append(member)
            self._ranks.append(0)
        there, needed = self._ranks[slot], self._points_for(max(member.weight, member.backend.weight))
        if needed <= there:
            return []
        self._ranks[slot] = needed
        positions = unpack(f">{needed}I", shake_128(member.address.encode()).digest(4 * needed))
        return [positions[rank] << _POSITION | slot << _SLOT | rank for rank in range(there, needed)]

    def order(self, digest: int) -> Iterator[BackendState]:
        """The members in the order in which a key of this digest (64 bits) meets them, each once."""
        left = self._count
        if not left:
            return
        points, owners, counting = self._points, self._owners, self._counting
        place, size = bisect_left(points, digest & ~0xFFFFFFFF), len(points)
        seen: set[int] = set()
        while True:
            point = points[place if place < size else place - size]
            slot = point >> _SLOT & _LOW
            if point & _LOW < counting[slot] and slot not in seen:
                yield owners[slot]
                left -= 1
                if not left:
                    return
                seen.add(slot)
            place += 1


def _merged(points: array[int], fresh: list[int]) -> array[int]:
    """Both together, sorted. A few fresh points are put in between slices of the others, which is a copy and no sorting."""
    if 8 * len(fresh) > len(points):
        return array("Q", sorted([*points, *fresh]))
    merged, begin = array("Q"), 0
    for point in fresh:
        end = bisect_left(points, point, begin)
        merged += points[begin:end]
        merged.append(point)
        begin = end
    return merged + points[begin:]
