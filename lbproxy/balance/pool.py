"""A pool: a named set of interchangeable backends with one policy, and where the two planes meet.

The data plane asks it for candidates; the control plane tells it plain values, a list of backends or a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import time

from zope.interface import implementer

from ..errors import ConfigurationError
from ..interfaces import IPolicy, IPoolControl
from .backend import Backend
from .round_robin import RoundRobin
from .state import BackendState, Verdict

__all__ = ["Pool"]


@implementer(IPoolControl)
class Pool:
    """Backends, what is known of them, and the policy that orders them.

    :param backends: at least one, no address twice.
    :param name: what logs and metrics call it.
    :param policy: an :class:`~lbproxy.interfaces.IPolicy` provider of its own; smooth weighted round robin by default.
    :param seconds: wall-clock seconds, for the time of the last change.
    :raises ConfigurationError: for no backend or one named twice.
    """

    def __init__(
        self,
        backends: Iterable[Backend],
        *,
        name: str = "default",
        policy: IPolicy | None = None,
        seconds: Callable[[], float] = time,
    ) -> None:
        self.name = name
        self.policy: IPolicy = RoundRobin() if policy is None else policy
        self.members: dict[str, BackendState] = {}
        self.observers: list[Callable[[BackendState], None]] = []
        self._seconds = seconds
        self.set_backends(backends)

    def set_backends(self, backends: Iterable[Backend]) -> None:
        """Let the pool consist of these. A backend that stays keeps its state; one whose weight changed keeps it as well."""
        wanted: dict[str, Backend] = {}
        for backend in backends:
            if backend.address in wanted:
                raise ConfigurationError(f"pool {self.name}: backend {backend.address} is named twice; name each once")
            wanted[backend.address] = backend
        if not wanted:
            raise ConfigurationError(f"pool {self.name}: no backend was given; at least one is needed")
        now = self._seconds()
        self.members = {address: self.members.get(address) or BackendState(backend, now) for address, backend in wanted.items()}
        for address, member in self.members.items():
            member.backend = wanted[address]
        self._tell_policy()

    def apply(self, verdict: Verdict) -> None:
        """Take a check's verdict. One on an address that is not in the pool (any more) is ignored."""
        member = self.members.get(verdict.address)
        if member is None:
            return
        changed = member.up != verdict.up
        if changed:
            member.up = verdict.up
            member.last_change = self._seconds()
        if changed or (verdict.source == "probe" and member.source != "probe"):
            # Otherwise the first evidence stays: it is why the state is what it is.
            member.reason, member.source = verdict.reason, verdict.source
            self._tell_policy()
        if changed:
            for observer in list(self.observers):
                observer(member)

    def candidates(self) -> Iterator[BackendState]:
        """The members to be tried for one exchange, in the policy's order, each at most once.

        Whoever takes one asks :meth:`is_fit` first: a member may have gone down since the policy was told.
        """
        return self.policy.candidates()

    def is_fit(self, member: BackendState) -> bool:
        """Whether a member may be tried: judged here alone, so that no policy needs to know of health.

        A pool's only backend may be tried even when it is down, as long as that is known from traffic alone: refusing unseen
        would make one lost connection an outage until the next probe.
        """
        return member.up or (len(self.members) == 1 and member.source == "traffic")

    @property
    def available(self) -> bool:
        """Whether at least one backend is up."""
        return any(member.up for member in self.members.values())

    def _tell_policy(self) -> None:
        # Members that are not fit are withheld from the policy, so that a pool that is mostly down costs a pick nothing.
        self.policy.set_members([member for member in self.members.values() if self.is_fit(member)])
