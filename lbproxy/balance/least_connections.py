"""Least connections: who has the fewest attempts in flight for its weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from .policy import Asking, Policy
from .state import BackendState

__all__ = ["LeastConnections"]

#: (load, due, place in the order given, member); two entries that are equal up to the member are of the same one.
_Entry = tuple[float, float, int, BackendState]

#: Entries beyond two for each member at which those that are outdated are cleared away.
_SPARE = 64


class LeastConnections(Policy):
    """Choose the member with the fewest attempts in flight for its weight, and take turns among equals.

    Turns are due as in round robin, so that an idle pool of equal weights is served least recently chosen first, and one of
    unequal weights as the weights say (as nginx does; HAProxy leaves the weights out of the ties). A member that was too busy
    for its turn does not make up for it.

    The members stand in a heap whose entries may be outdated. One that shows too low a load is corrected when it comes to the
    top; a load that falls below its entry gets a further entry, and the old one is dropped when it comes to the top.
    """

    name = "least-connections"

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[_Entry] = []
        self._entries: dict[BackendState, _Entry] = {}
        self._weights: dict[BackendState, float] = {}
        self._now = 0.0

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Take these members from now on; those that stay keep the part of their turn that they have waited."""
        entries, weights, now = self._entries, self._weights, self._now
        dues = [
            now + (entries[member][1] - now) * weights[member] / member.weight if member in entries else now + 0.5 / member.weight
            for member in members
        ]
        self.members = members
        self._weights = {member: member.weight for member in members}
        self._entries = {
            member: (member.in_flight / member.weight, due, place, member)
            for place, (member, due) in enumerate(zip(members, dues, strict=True))
        }
        self._heap = list(self._entries.values())
        heapify(self._heap)

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        """The least loaded member, then the others by load, each once."""
        if not self._heap:
            return
        members = self.members
        load, due, place, member = self._least()
        if due > self._now:
            self._now = due
        self._entries[member] = entry = (load, self._now + 1 / member.weight, place, member)
        heapreplace(self._heap, entry)
        yield member
        others = [other for other in members if other is not member]
        others.sort(key=self.figure)
        yield from others

    def _least(self) -> _Entry:
        """The least entry, brought to the top and corrected."""
        heap, entries = self._heap, self._entries
        while True:
            entry = heap[0]
            load, due, place, member = entry
            if entries[member] is not entry:
                heappop(heap)
                continue
            load_now = member.in_flight / member.weight
            if load_now <= load:
                return entry
            entries[member] = entry = (load_now, due, place, member)
            heapreplace(heap, entry)

    def ended(self, member: BackendState, seconds: float | None, failed: bool) -> None:
        """An attempt is over: the member may be less loaded than its entry says."""
        entry = self._entries.get(member)
        if entry is None:
            return
        load = member.in_flight / member.weight
        if load < entry[0]:
            self._entries[member] = entry = (load, *entry[1:])
            heappush(self._heap, entry)
            if len(self._heap) > 2 * len(self._entries) + _SPARE:
                self._heap = list(self._entries.values())
                heapify(self._heap)

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """Attempts in flight for each unit of weight; the least is next."""
        return member.in_flight / member.weight
