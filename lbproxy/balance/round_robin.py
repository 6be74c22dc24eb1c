"""Smooth weighted round robin, the default policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace

from .policy import Asking, Policy
from .state import BackendState

__all__ = ["RoundRobin"]


class RoundRobin(Policy):
    """Hand exchanges out in turn, each backend as often as its weight says, spread evenly in time.

    It is earliest deadline first (as in Envoy and Traefik): the n-th turn of a backend of weight w is due at
    ``(n + 1/2) / w`` and the earliest due is next, the first named among equals. With 5:1 that is a a a b a a, what nginx's
    subtraction gives, at the cost of the heap's logarithm instead of a walk over all backends for each request.
    """

    name = "round-robin"

    def __init__(self) -> None:
        super().__init__()
        # (due, place in the order given, turns taken, weight, member); the place is unique, so members are never compared.
        self._turns: list[tuple[float, int, int, int, BackendState]] = []

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Take these members from now on. Those that stay keep their place in the cycle; the new ones, and those whose weight
        changed, start at its present, so that nobody makes up for what it missed."""
        now = max(((turns - 0.5) / weight for _, _, turns, weight, _ in self._turns), default=0.0)
        kept = {(id(member), weight): turns for _, _, turns, weight, member in self._turns}
        self.members = members
        self._turns = []
        for place, member in enumerate(members):
            weight = member.backend.weight
            turns = kept.get((id(member), weight))
            if turns is None:
                turns = max(0, int(now * weight + 0.5))
            self._turns.append(((turns + 0.5) / weight, place, turns, weight, member))
        heapify(self._turns)

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        """The member whose turn it is, then the others in their order from there, each once."""
        if not self._turns:
            return
        members = self.members  # as they are now: the first may be taken out while it is being tried
        _, place, turns, weight, member = self._turns[0]
        heapreplace(self._turns, ((turns + 1.5) / weight, place, turns + 1, weight, member))
        yield member
        yield from members[place + 1 :]
        yield from members[:place]
