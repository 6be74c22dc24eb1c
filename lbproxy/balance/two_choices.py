"""The better of two random choices."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from .policy import Asking
from .random_choice import RandomChoice
from .state import BackendState

__all__ = ["TwoChoices"]


class TwoChoices(RandomChoice):
    """Draw two members at random by weight, and choose the one with fewer attempts in flight for its weight: the first drawn on a
    tie, so that an idle pool is served as the weights say.

    Two looks do nearly as well as a look at all, and many balancers that choose so do not all run to the same idle backend
    (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001; nginx's ``random two``, Envoy's
    ``choice_count``).
    """

    name = "two-choices"

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        """The better of the two drawn, the other one, then the others in a random order, each once."""
        members = self.members
        if len(members) < 2:
            yield from members
            return
        one, two = self._two()
        if self._is_better(two, one):
            one, two = two, one
        yield one
        yield two
        yield from self._shuffled([member for member in members if member is not one and member is not two])

    def _two(self) -> tuple[BackendState, BackendState]:
        """Two members drawn by weight, in the order in which they were drawn."""
        members, sums, random = self.members, self._sums, self._random.random
        last = len(sums) - 1
        place = bisect_right(sums, random() * sums[-1], 0, last)
        # The second one is drawn from what is left of the whole without the first.
        below = sums[place - 1] if place else 0.0
        weight = sums[place] - below
        drawn = random() * (sums[-1] - weight)
        other = bisect_right(sums, drawn if drawn < below else drawn + weight, 0, last)
        if other == place:  # by rounding
            other = place - 1 if place else 1
        return members[place], members[other]

    def _is_better(self, other: BackendState, one: BackendState) -> bool:
        return other.in_flight / other.weight < one.in_flight / one.weight

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """Attempts in flight for each unit of weight; of the two drawn, the lesser one is chosen."""
        return member.in_flight / member.weight
