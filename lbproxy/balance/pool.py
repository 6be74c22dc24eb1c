"""A pool: a named set of interchangeable backends with one policy, and where the two planes meet.

The data plane asks it for candidates; the control plane tells it plain values: a list of backends, a verdict, an operator's wish.
Who is fit to take exchanges is judged here alone, on every change and not on every exchange, so that no policy knows of health
and a pick costs what its policy costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import time

from zope.interface import implementer

from ..errors import ConfigurationError
from ..interfaces import IPolicy, IPoolControl
from ..settings import Settings
from .backend import Backend
from .known import Known
from .policy import Asking, Policy
from .round_robin import RoundRobin
from .state import BackendState, Change, Verdict, Wish
from .tiers import Tier, Tiers

__all__ = ["WARM_LEAST", "Pool"]

#: The share of its weight that a backend starts with when it warms up (Envoy's ``min_weight_percent``: 10 %).
WARM_LEAST = 0.1


@implementer(IPoolControl)
class Pool:
    """Backends that can stand in for each other.

    :param backends: at least one, none named twice. They count as up until the contrary is known; those that :meth:`set_backends`
        adds later are down until a check has found them well, unless nobody else stays.
    :param name: for operators.
    :param policy: orders candidates: a policy, or what makes one (a pool with tiers has one for each); by default smooth weighted
        round robin.
    :param seconds: the clock, in seconds since the epoch.
    :param settings: of these, ``slow_start`` and ``panic`` concern a pool; without any it takes those of its balancer.
    :param make_state: makes a member's state of its backend, the time, and ``up=``.
    :ivar members: the backends' states by address, in the order given.
    :ivar observers: are called with each :class:`~lbproxy.balance.state.Change`.
    :ivar followers: are told the same as the pool, in the same order, whenever it has taken it, and before any observer hears
        what came of it. They stand for the pool of this name in other processes.
    :ivar panicking: whether health is ignored because too few backends are up.
    :raises ConfigurationError: for no backends, for one named twice, and for one policy object where there are several tiers.
    """

    def __init__(
        self,
        backends: Iterable[Backend],
        *,
        name: str = "default",
        policy: IPolicy | Callable[[], IPolicy] | None = None,
        seconds: Callable[[], float] = time,
        settings: Settings | None = None,
        make_state: Callable[..., BackendState] = BackendState,
    ) -> None:
        self.name = name
        self.members: dict[str, BackendState] = {}
        self.observers: list[Callable[[Change], None]] = []
        self.followers: list[IPoolControl] = []
        self.panicking = False
        self.settings = settings
        self._make_state = make_state
        self._seconds = seconds
        self._warming: set[BackendState] = set()
        self._untold: deque[tuple[Change, Callable[[Change], None]]] = deque()
        self._telling = False
        self._tiers = Tiers(RoundRobin if policy is None else policy)
        self._take({backend.address: backend for backend in self._checked(backends)})

    @property
    def policy(self) -> IPolicy:
        """The policy, of the first tier where there are several."""
        return self._tiers.first.policy

    @property
    def tiers(self) -> Mapping[int, Tier]:
        """The tiers by their numbers, in order."""
        return self._tiers.by_number

    @property
    def memories(self) -> dict[str, str]:
        """What the policies of tiers go by that comes of their past (:class:`~lbproxy.balance.policy.Policy`), by the tiers'
        numbers as texts."""
        found = {str(number): tier.policy.memory for number, tier in self.tiers.items() if isinstance(tier.policy, Policy)}
        return {number: memory for number, memory in found.items() if memory}

    def recall(self, memories: Mapping[str, str]) -> None:
        """Have the policies go by the past of the pool of this name elsewhere."""
        for number, tier in self.tiers.items():
            memory = memories.get(str(number))
            if memory and isinstance(tier.policy, Policy):
                tier.policy.recall(memory)

    # What the control plane tells.

    def set_backends(self, backends: Iterable[Backend], source: str = "configuration") -> None:
        """Let the pool consist of these. A backend that stays keeps its state; one whose weight changed keeps it as well. A new
        one gets no exchanges before a check has found it well; but where nobody stays, they count as up, as at the start:
        there is nobody else who could be asked meanwhile."""
        self._take({backend.address: backend for backend in self._checked(backends)}, source)

    def check(self, backends: Iterable[Backend]) -> None:
        """See whether the pool could consist of these.

        :raises ConfigurationError: if it could not.
        """
        self._tiers.check(self._checked(backends))

    def set_policy(self, make: Callable[[], IPolicy]) -> None:
        """Let candidates be ordered by another policy, made for each tier. What a tier's former one has learnt is lost; attempts
        that run end at the one that they began with."""
        self._tiers.replace_policies(make)
        self._tiers.update()

    def configure(self, settings: Settings) -> None:
        """Go by these from now on: who warms up does so by the new span, and whether it is a panic is said anew."""
        self.settings = settings
        now = self._seconds()
        for member in self._warming.copy():
            self._warm(member, now)
        self._tell(self._judge())

    def _checked(self, backends: Iterable[Backend]) -> list[Backend]:
        wanted: list[Backend] = list(backends)
        seen: set[str] = set()
        for backend in wanted:
            if backend.address in seen:
                raise ConfigurationError(f"pool {self.name}: backend {backend.address} is named twice; name each once")
            seen.add(backend.address)
        if not wanted:
            raise ConfigurationError(f"pool {self.name}: no backend was given; at least one is needed")
        return wanted

    def _repeat(self, call: str, *args: object) -> None:
        for follower in self.followers:
            getattr(follower, call)(*args)

    def _take(self, wanted: dict[str, Backend], source: str = "configuration") -> None:
        self._tiers.check(wanted.values())
        now = self._seconds()
        before = self.members
        up = wanted.keys().isdisjoint(before)
        make = self._make_state
        members = {address: before.get(address) or make(backend, now, up=up) for address, backend in wanted.items()}
        for address, member in members.items():
            member.configure(wanted[address])
            self._warm(member, now)
        self._tiers.assign(members.values())  # before anybody comes or goes: a user's policy may fail to be made
        self.members = members
        gone = [member for address, member in before.items() if address not in members]
        for member in gone:
            member.fit = False
            self._warming.discard(member)
        self._repeat("set_backends", list(wanted.values()), source)
        panic = self._judge()
        new = [member for address, member in members.items() if before and address not in before]
        self._tell(
            [
                *(self._change(member, member.state, "", "taken out of the pool", source) for member in gone),
                *(self._change(member, "", member.state, "added to the pool", source) for member in new),
                *panic,
            ]
        )

    def _change(self, member: BackendState, was: str, now: str, reason: str, source: str) -> Change:
        return Change(self._seconds(), self.name, member.address, was, now, reason, source)

    def apply(self, verdict: Verdict) -> None:
        """Take a check's verdict. One on an address that is not in the pool (any more) is ignored.

        A probe's success re-admits what traffic took out, if it is about the same (:attr:`Verdict.about`)."""
        member = self.members.get(verdict.address)
        if member is None:
            return
        was, was_up = member.state, member.up
        news = member.learn(verdict)
        if member.up and not was_up:
            self._begin_to_warm(member)
        self._repeat("apply", verdict)
        if member.up != was_up:
            self._changed(member, was, verdict.reason, verdict.source)
        elif news and len(self.members) == 1:  # which is a last resort, or is one no more
            self._tell(self._judge())

    def wish(self, wish: Wish) -> None:
        """Take what the operator wants of a backend, whatever its health. A backend that is not in the pool is ignored."""
        member = self.members.get(wish.address)
        if member is None or member.want == wish.want:
            return
        was, back = member.state, member.want == "maintenance"
        member.want = wish.want
        if back and member.up:
            self._begin_to_warm(member)
        reason = wish.reason or f"the operator wants it so: {wish.want}"
        if wish.want == "ready":
            member.evidence.pop("operator", None)
        else:
            member.evidence["operator"] = reason
        self._repeat("wish", wish)
        self._changed(member, was, reason, "operator")

    def know(self, known: Known) -> None:
        """Let the same be known and wanted of a member as elsewhere, whatever was here. A backend that is not in the pool is
        ignored."""
        member = self.members.get(known.address)
        if member is None:
            return
        was, before = member.state, Known.of(member)
        known.bring(member)
        self._warm(member, self._seconds())
        self._repeat("know", known)
        if known.want != before.want:
            self._changed(member, was, known.evidence.get("operator", f"the operator wants it so: {known.want}"), "operator")
        elif known.up != before.up:
            self._changed(member, was, known.reason, known.source)
        elif known != before:
            self._tell(self._judge())

    def _changed(self, member: BackendState, was: str, reason: str, source: str) -> None:
        if member.state != was:
            member.last_change = self._seconds()
        panic = self._judge()
        self._tell([self._change(member, was, member.state, reason, source), *panic])

    def _tell(self, changes: list[Change]) -> None:
        """Tell the observers. What one of them brings about is told to all after what they are being told; what one raises keeps
        nothing from the others, and is raised in the end."""
        self._untold.extend((change, observer) for change in changes for observer in self.observers)
        if self._telling:
            return
        self._telling = True
        errors = []
        try:
            while self._untold:
                change, observer = self._untold.popleft()
                try:
                    observer(change)
                except Exception as error:
                    errors.append(error)
        finally:
            self._telling = False
        if errors:
            raise errors[0]

    # Who is fit.

    def _judge(self) -> list[Change]:
        """Judge anew who may take exchanges, and tell the policies. Returns whether that began or ended a panic, as a change."""
        ready = [member for member in self.members.values() if member.want == "ready"]
        up = [member for member in ready if member.up]
        panicked, self.panicking = self.panicking, self._is_panic(len(up), len(ready))
        fit = set(ready if self.panicking else up or self._last_resort(ready))
        for member in self.members.values():
            member.fit = member in fit
        self._tiers.update()
        return [] if self.panicking == panicked else [self._panic_change(len(up), len(ready))]

    def _is_panic(self, up: int, ready: int) -> bool:
        """Whether too few of those that are wanted are up. Where several tiers can take all exchanges together as they are, it is
        for them to do so (as in Envoy): backups are there for when the others are down."""
        panic = 0 if self.settings is None else self.settings.panic
        return 0 < up * 100 < panic * ready and not self._tiers.spill_suffices

    def _last_resort(self, ready: list[BackendState]) -> list[BackendState]:
        """A pool's only backend may be tried even when it is down, as long as that is known from traffic alone: refusing unseen
        would make one lost connection an outage until the next probe."""
        return ready if len(self.members) == 1 and ready and ready[0].probed_up else []

    def _panic_change(self, up: int, ready: int) -> Change:
        words = ("normal", "panic") if self.panicking else ("panic", "normal")
        what = "health is ignored" if self.panicking else "health counts again"
        return Change(self._seconds(), self.name, "", *words, f"{up} of {ready} backends are up: {what}", "pool")

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        """The members to be tried for one exchange, in the policy's order, each at most once.

        Whoever takes one asks whether it still is :attr:`~BackendState.fit`, and has a place free: both may have changed since
        the policy was told.
        """
        return self._tiers.candidates(exchange)

    @property
    def available(self) -> bool:
        """Whether at least one backend is up, and wanted."""
        return any(member.up and member.want == "ready" for member in self.members.values())

    def standing(self, member: BackendState) -> str:
        """Why the member would be passed over just now, in words; empty when it would not be."""
        if self.members.get(member.address) is not member:
            return "no longer in the pool"
        if not member.fit:
            return f"{member.state}: {member.reason}" if member.state == "down" else member.state
        if member.in_flight >= member.limit:
            return f"full: {member.in_flight} in flight, at most {member.limit:g}"
        return ""

    # Slow start.

    def _begin_to_warm(self, member: BackendState) -> None:
        if self.settings is not None and self.settings.slow_start:
            member.warm_from = now = self._seconds()
            self._warm(member, now)

    def _warm(self, member: BackendState, now: float) -> None:
        """Set the member's effective weight: linear from 10 % on."""
        span = 0.0 if self.settings is None else self.settings.slow_start
        if member.warm_from is not None and (not span or now - member.warm_from >= span):
            member.warm_from = None
        if member.warm_from is None:
            member.weight = float(member.backend.weight)
            self._warming.discard(member)
            return
        grown = max(WARM_LEAST, (now - member.warm_from) / span)
        member.weight = member.backend.weight * grown
        self._warming.add(member)

    def tick(self) -> None:
        """Let those that warm up have more; to be called a few times a second."""
        if self._warming:
            now = self._seconds()
            for member in list(self._warming):
                self._warm(member, now)
            self._tiers.update()
