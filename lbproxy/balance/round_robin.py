"""Smooth weighted round robin, the default policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace

from zope.interface import implementer

from ..interfaces import IPolicy
from .state import BackendState

__all__ = ["RoundRobin"]


@implementer(IPolicy)
class RoundRobin:
    """Hand exchanges out in turn, each backend as often as its weight says, spread evenly in time.

    It is earliest deadline first (as in Envoy and Traefik): the n-th turn of a backend of weight w is due at
    ``(n + 1/2) / w`` and the earliest due is next, the first named among equals. With 5:1 that is a a a b a a, what nginx's
    subtraction gives, at the cost of the heap's logarithm instead of a walk over all backends for each request.
    """

    name = "round-robin"

    def __init__(self) -> None:
        # (due, place in the order given, turns taken, member); the place is unique, so members are never compared.
        self._turns: list[tuple[float, int, int, BackendState]] = []
        self._members: Sequence[BackendState] = ()

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Take these members from now on. Those that stay keep their place in the cycle; the new ones start at its present."""
        kept = {id(member): turns for _, _, turns, member in self._turns}
        now = min((turns / member.backend.weight for _, _, turns, member in self._turns), default=0.0)
        self._members = members
        self._turns = [
            self._turn(place, kept.get(id(member), round(now * member.backend.weight)), member)
            for place, member in enumerate(members)
        ]
        heapify(self._turns)

    def candidates(self) -> Iterator[BackendState]:
        """The member whose turn it is, then the others in their order from there, each once."""
        if not self._turns:
            return
        _, place, turns, member = self._turns[0]
        heapreplace(self._turns, self._turn(place, turns + 1, member))
        yield member
        members = self._members
        yield from members[place + 1 :]
        yield from members[:place]

    @staticmethod
    def _turn(place: int, turns: int, member: BackendState) -> tuple[float, int, int, BackendState]:
        return (turns + 0.5) / member.backend.weight, place, turns, member
