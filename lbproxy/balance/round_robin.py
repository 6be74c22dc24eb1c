"""Smooth weighted round robin, the default policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace
from math import inf

from .policy import Asking, Policy
from .state import BackendState

__all__ = ["RoundRobin"]

#: (due, place in the order given, member, turns taken, weight, from when they are counted); the place is unique, so members are
#: never compared.
_Turn = tuple[float, int, BackendState, int, float, float]


class RoundRobin(Policy):
    """Hand exchanges out in turn, each backend as often as its weight says, spread evenly in time.

    It is earliest deadline first (as in Envoy and Traefik): the n-th turn of a backend of weight w is due at
    ``(n + 1/2) / w`` and the earliest due is next, the first named among equals. With 5:1 that is a a a b a a, what nginx's
    subtraction gives, at the cost of the heap's logarithm instead of a walk over all backends for each request.
    """

    name = "round-robin"

    def __init__(self) -> None:
        super().__init__()
        self._turns: list[_Turn] = []
        self._due: dict[BackendState, float] = {}
        self._now = 0.0  # when the last turn was due

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Take these members from now on. Those that stay keep their place in the cycle, those whose weight changed the fraction
        of their turn that they have waited, and new ones start at the cycle's present: nobody makes up for what it missed."""
        kept = {turn[2]: turn for turn in self._turns}
        self.members = members
        self._turns = [self._turn(kept.get(member), place, member) for place, member in enumerate(members)]
        self._due = {turn[2]: turn[0] for turn in self._turns}
        heapify(self._turns)

    def _turn(self, before: _Turn | None, place: int, member: BackendState) -> _Turn:
        weight, now = member.weight, self._now
        if before is None:
            return now + 0.5 / weight, place, member, 0, weight, now
        due, _, _, turns, was, start = before
        if weight == was:
            return due, place, member, turns, weight, start
        left = min(max((due - now) * was, 0.0), 1.0)
        return now + left / weight, place, member, 0, weight, now + (left - 0.5) / weight

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        """The member whose turn it is, then the others in their order from there, each once."""
        if not self._turns:
            return
        members = self.members  # as they are now: the first may be taken out while it is being tried
        self._now, place, member, turns, weight, start = self._turns[0]
        # Counted from the start and not added up, so that turns which fall together do so exactly.
        self._due[member] = due = start + (turns + 1.5) / weight
        heapreplace(self._turns, (due, place, member, turns + 1, weight, start))
        yield member
        yield from members[place + 1 :]
        yield from members[:place]

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """How long until the member's turn, in turns of a member of weight 1; the least is next."""
        return self._due.get(member, inf) - self._now
