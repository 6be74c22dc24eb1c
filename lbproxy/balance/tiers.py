"""Tiers: which of a pool's backends come first, and when the others take over.

A tier takes all exchanges as long as enough of it is fit; then the next one takes what it cannot, by Envoy's rule for priorities:
a tier is good for the fit share of its backends times 1.4, so that it spills over below 71.4 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ..errors import ConfigurationError
from ..interfaces import IPolicy
from .backend import Backend
from .policy import Asking
from .state import BackendState

__all__ = ["OVER_PROVISIONING", "Tier", "Tiers", "shares"]

#: Envoy's ``overprovisioning_factor``.
OVER_PROVISIONING = 1.4


def shares(health: list[float]) -> list[float]:
    """Of all exchanges, the share that each tier takes.

    :param health: of each tier, in order, the share of its backends that are fit, 0 to 1.
    :return: shares that sum to 1; all 0 when nobody is fit.
    """
    left = 1.0
    taken: list[float] = []
    for fit in health:
        share = min(left, fit * OVER_PROVISIONING)
        taken.append(share)
        left -= share
    whole = sum(taken)
    return [share / whole for share in taken] if whole else taken


class Tier:
    """The backends of one tier, and the policy that chooses among those that are fit.

    :ivar share: of all exchanges, what it takes.
    :ivar credit: of its share, what it has not taken yet.
    """

    __slots__ = ("credit", "members", "policy", "share", "told")

    def __init__(self, policy: IPolicy) -> None:
        self.policy = policy
        self.members: list[BackendState] = []
        self.share = 1.0
        self.credit = 0.0
        self.told: list[tuple[BackendState, float]] = []

    @property
    def health(self) -> float:
        """The share of its members that are up and wanted, 0 to 1. In a panic more of them are fit, but no more are well."""
        return sum(member.up and member.want == "ready" for member in self.members) / len(self.members)

    def update(self) -> None:
        """Tell the policy who is fit and how heavy, if that is news."""
        fit = [(member, member.weight) for member in self.members if member.fit]
        if fit != self.told:
            self.policy.set_members([member for member, _ in fit])
            self.told = fit  # not before: a user's policy that fails is told again


class Tiers:
    """All tiers of a pool, the first first.

    :param policy: one for a pool that never has more than one tier, or what makes one for each.
    """

    def __init__(self, policy: IPolicy | Callable[[], IPolicy]) -> None:
        self._make: Callable[[], IPolicy] | None = None
        if IPolicy.providedBy(policy):
            made: IPolicy = policy
        else:
            self._make = policy
            made = self._make()
        self._spare: Tier | None = Tier(made)
        self._by_number: dict[int, Tier] = {}
        self._order: list[Tier] = []

    @property
    def by_number(self) -> Mapping[int, Tier]:
        """All of them by their numbers, in order; replaced as a whole when backends come or go."""
        return self._by_number

    @property
    def first(self) -> Tier:
        """The first one."""
        return self._order[0]

    def check(self, backends: Iterable[Backend]) -> None:
        """See whether there can be a policy for each tier.

        :raises ConfigurationError: if there cannot.
        """
        if self._make is None and len({backend.tier for backend in backends}) > 1:
            raise ConfigurationError(
                "one policy object was given for a pool with several tiers; each needs its own, so give what makes one: a "
                "function without arguments, such as the policy's class"
            )

    def assign(self, members: Iterable[BackendState]) -> None:
        """Let the tiers consist of these. Each keeps its policy and what it has learnt, whichever others come and go."""
        by_number: dict[int, list[BackendState]] = {}
        for member in members:
            by_number.setdefault(member.backend.tier, []).append(member)
        tiers = {number: self._by_number.get(number) or self._new() for number in sorted(by_number)}
        for number, tier in tiers.items():
            tier.members = by_number[number]
            for member in tier.members:
                member.policy = tier.policy
        self._by_number = tiers
        self._order = list(tiers.values())  # another list: exchanges that are on their way through the old one go on in it

    def replace_policies(self, make: Callable[[], IPolicy]) -> None:
        """Let each tier, and those that come, have a policy that this makes. It is told who is fit with the next update."""
        made = [make() for _ in self._order]  # before anything changes: a user's may fail to be made
        self._make, self._spare = make, None
        for tier, policy in zip(self._order, made, strict=True):
            tier.policy = policy
            tier.told = []
            for member in tier.members:
                member.policy = policy

    def _new(self) -> Tier:
        """A tier that is new; with one policy object it is always the same one, whatever its number."""
        spare = self._spare
        if self._make is None:
            assert spare is not None
            return spare
        self._spare = None
        return spare or Tier(self._make())

    def update(self) -> None:
        """Tell the policies who is fit and how heavy, and say anew how much goes to which tier."""
        for tier in self._order:
            tier.update()
        self._share_out()

    def _share_out(self) -> None:
        found = shares([tier.health for tier in self._order]) if len(self._order) > 1 else [1.0]
        if found != [tier.share for tier in self._order]:
            for tier, share in zip(self._order, found, strict=True):
                tier.share = share
                tier.credit = 0.0  # what was left of another share is nobody's due

    @property
    def spill_suffices(self) -> bool:
        """Whether several tiers, as far as they are well, can take all exchanges together."""
        return len(self._order) > 1 and sum(tier.health for tier in self._order) * OVER_PROVISIONING >= 1.0

    def candidates(self, exchange: Asking | None) -> Iterator[BackendState]:
        """Of the tier whose turn it is, then of the others in order."""
        if len(self._order) == 1:
            return self._order[0].policy.candidates(exchange)
        return self._of_several(exchange)

    def _of_several(self, exchange: Asking | None) -> Iterator[BackendState]:
        order, chosen = self._order, self._turn()
        if chosen is not order[0]:
            order = [chosen, *(tier for tier in order if tier is not chosen)]
        given: set[BackendState] = set()  # some may move to a tier that comes later
        for tier in order:
            for member in tier.policy.candidates(exchange):
                if member not in given:
                    given.add(member)
                    yield member

    def _turn(self) -> Tier:
        """The tier whose turn it is, each as often as its share says, spread evenly (nginx's smooth weighted round robin)."""
        for tier in self._order:
            tier.credit += tier.share
        chosen = max(self._order, key=lambda tier: tier.credit)
        chosen.credit -= 1.0
        return chosen
