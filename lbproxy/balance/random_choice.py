"""Weighted random choice."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from .policy import Asking, Policy
from .state import BackendState

if TYPE_CHECKING:
    from random import Random

__all__ = ["RandomChoice"]


class RandomChoice(Policy):
    """Choose at random, each member as probable as its weight says.

    :param random: the source of chance.
    """

    name = "random"

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._sums: list[float] = []  # the weights up to each member, its own included

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Choose among these from now on."""
        self.members = members
        self._sums = list(accumulate(member.weight for member in members))

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        """The members in a random order, each once."""
        members, sums = self.members, self._sums
        if not members:
            return
        # A product rounded up to the whole sum would be past the last one.
        first = members[bisect_right(sums, self._random.random() * sums[-1], 0, len(sums) - 1)]
        yield first
        yield from self._shuffled([member for member in members if member is not first])

    def _shuffled(self, members: list[BackendState]) -> list[BackendState]:
        """The members as if drawn one after the other, by weight: the order in which clocks of these rates first ring."""
        expovariate = self._random.expovariate
        rings = {member: expovariate(member.weight) for member in members}
        return sorted(members, key=rings.__getitem__)

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """How probable the member is, 0 to 1."""
        return member.weight / self._sums[-1] if self._sums else 0.0
