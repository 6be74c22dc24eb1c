"""What is known of a backend just now. Kept beside the backend, never in it."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

import attrs

from ..errors import ConfigurationError
from .backend import Backend

if TYPE_CHECKING:
    from ..interfaces import IPolicy

__all__ = ["DURATION_BOUNDS", "WISHES", "BackendState", "Change", "Verdict", "Wish"]

#: Upper bounds of the duration histograms' buckets in seconds (Prometheus's default buckets with 1 and 2.5 ms added).
DURATION_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: What an operator may want of a backend: that it takes exchanges; no new ones but for its sticky sessions; none at all.
WISHES = ("ready", "drain", "maintenance")

#: The reason of one that nobody has said anything of.
UNCHECKED = "not checked yet"


@attrs.frozen
class Verdict:
    """What a check found, as a plain value that can cross a process boundary.

    :ivar address: the backend's :attr:`~lbproxy.balance.backend.Backend.address`.
    :ivar up: whether it can take exchanges.
    :ivar reason: the evidence, for the operator.
    :ivar source: ``"probe"`` (the periodic probe) or ``"traffic"`` (the per-request check).
    :ivar about: what the evidence is about: ``"connect"`` (whether it can be connected to) or ``"answers"`` (what it answers). A
        probe that only connects re-admits nobody whom traffic took out for its answers.
    """

    address: str
    up: bool
    reason: str
    source: str
    about: str = "answers"


@attrs.frozen
class Wish:
    """What the operator wants of a backend, kept apart from its health: as a plain value.

    :ivar want: one of :data:`WISHES`.
    :ivar reason: why, in the operator's words; may be empty.
    """

    address: str
    want: str
    reason: str = ""

    def __attrs_post_init__(self) -> None:
        if self.want not in WISHES:
            raise ConfigurationError(f"backend {self.address}: {self.want!r} was wanted; allowed are {', '.join(WISHES)}")


@attrs.frozen
class Change:
    """A change of a backend's state, or of its pool's, with its evidence: as a plain value.

    :ivar time: seconds since the epoch.
    :ivar pool: the pool's name; empty for a worker.
    :ivar address: the backend's; empty for a change of the pool as a whole. Of a worker ``worker`` and its number.
    :ivar was: the state before: ``up``, ``down``, ``draining`` or ``maintenance``; empty for a backend that is new. Of a pool:
        ``normal`` or ``panic``.
    :ivar now: the state after; empty for a backend that has left. The same as before where the word does not show what changed:
        health during maintenance, or what is wanted of one that is down.
    :ivar reason: the evidence.
    :ivar source: who says so: ``probe``, ``traffic``, ``operator``, ``configuration`` or ``pool``; of a worker,
        ``supervisor``.
    """

    time: float
    pool: str
    address: str
    was: str
    now: str
    reason: str
    source: str


class BackendState:
    """A backend's live state and plain counters. Written by its pool and by the exchanges that use it.

    :ivar weight: its effective weight: the backend's own, less while it warms up.
    :ivar limit: how many attempts may run at it at once; infinite when there is no limit.
    :ivar up: whether it is well, by all that is known: the probe's verdict and traffic's.
    :ivar probed_up: the probe's verdict alone.
    :ivar ejected: what traffic took it out for, ``"connect"`` or ``"answers"``; empty while it has not.
    :ivar want: what the operator wants of it, one of :data:`WISHES`, whatever its health.
    :ivar fit: whether it may take new exchanges: judged by its pool alone.
    :ivar policy: is told of its attempts.
    :ivar warm_from: seconds since the epoch at which it began to warm up; None when it is warm.
    :ivar in_flight: attempts that run at the backend now.
    :ivar requests: attempts begun in all.
    :ivar failures: attempts that failed; stale connections and a want of sockets here are not counted.
    :ivar failing: failures in a row, by the rules of the verdict of traffic.
    :ivar ejections: how often traffic took it out.
    :ivar statuses: responses by status.
    :ivar buckets: responses by seconds to their head, one place for each bound of :data:`DURATION_BOUNDS` and one for the rest.
    :ivar latency_sum: these seconds together.
    :ivar last_change: seconds since the epoch at which ``state`` last changed.
    :ivar evidence: why the probe's word and traffic's are what they are; and the operator's, while it is not ``ready``.
    :ivar reason: why its health is what it is.
    :ivar source: who gave the last verdict that changed it; ``"start"`` before any.
    """

    __slots__ = (
        "address", "backend", "buckets", "connects", "ejected", "ejections", "evidence", "failing", "failures", "fit",
        "in_flight", "last_change", "latency_sum", "limit", "policy", "probed_up", "reason", "requests", "source", "statuses",
        "up", "want", "warm_from", "weight",
    )  # fmt: skip

    backend: Backend
    limit: float
    policy: IPolicy

    def __init__(self, backend: Backend, now: float, *, up: bool = True) -> None:
        self.address = backend.address
        self.weight = float(backend.weight)
        self.configure(backend)
        self.up = self.probed_up = self.fit = up
        self.ejected = ""
        self.want = "ready"
        self.warm_from: float | None = None
        self.reason = UNCHECKED
        self.source = "start"
        self.evidence: dict[str, str] = {}
        self.last_change = now
        self.in_flight = 0
        self.requests = 0
        self.failures = 0
        self.failing = 0
        self.ejections = 0
        self.connects = 0
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(DURATION_BOUNDS) + 1)
        self.latency_sum = 0.0

    def configure(self, backend: Backend) -> None:
        """Take what the operator says of it now."""
        self.backend = backend
        self.limit = backend.max_in_flight or math.inf

    def learn(self, verdict: Verdict) -> bool:
        """Take a verdict into what is known. A probe's success re-admits what traffic took out, if it is about the same.

        :return: whether anything but the evidence has changed.
        """
        before = (self.probed_up, self.ejected, self.source)
        self._weigh(verdict)
        self.up = self.probed_up and not self.ejected
        if before[:2] != (self.probed_up, self.ejected) or self.source == "start":
            # Otherwise the first evidence stays: it is why the state is what it is.
            self.evidence[verdict.source] = verdict.reason
            self.source = verdict.source if self.up else self._accuser()
            self.reason = self.evidence.get(self.source, UNCHECKED)
        return before != (self.probed_up, self.ejected, self.source)

    def _weigh(self, verdict: Verdict) -> None:
        if verdict.source != "probe":
            self.ejections += not verdict.up and not self.ejected
            self.ejected = "" if verdict.up else self.ejected or verdict.about
            return
        self.probed_up = verdict.up
        if verdict.up and self.ejected and verdict.about in (self.ejected, "answers"):
            self.ejected = ""
            self.evidence.pop("traffic", None)  # it has nothing against it any more

    def _accuser(self) -> str:
        """Whose word it is that it is down: a probe's before traffic's."""
        if not self.probed_up and "probe" in self.evidence:
            return "probe"
        return "traffic" if self.ejected else "start"

    @property
    def state(self) -> str:
        """In a word, for people: ``up``, ``down``, ``draining`` or ``maintenance``."""
        if self.want == "maintenance":
            return "maintenance"
        if not self.up:
            return "down"
        return "draining" if self.want == "drain" else "up"

    def answered(self, status: int, seconds: float) -> None:
        """Count a response's head."""
        statuses = self.statuses
        statuses[status] = statuses.get(status, 0) + 1
        self.buckets[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self.latency_sum += seconds

    def __repr__(self) -> str:
        return f"<BackendState {self.address} {self.state}: {self.reason}>"
