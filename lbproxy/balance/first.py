"""Fill in order."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from .policy import Asking, Policy
from .state import BackendState

__all__ = ["First"]


class First(Policy):
    """The first member takes all exchanges until it is full, then the second one takes what is left, and so on (HAProxy's and
    Caddy's ``first``), so that those at the end may be switched off. Only a ``max-in-flight`` makes a member full; whoever asks
    for candidates passes those over that are.
    """

    name = "first"

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[BackendState, int] = {}

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Fill these from now on, in this order."""
        self.members = members
        self._places = {member: place for place, member in enumerate(members)}

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """The member's place in the order; the least is next."""
        return self._places.get(member, inf)
