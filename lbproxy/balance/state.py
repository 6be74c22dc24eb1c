"""What is known of a backend just now. Kept beside the backend, never in it."""

from __future__ import annotations

import attrs

from .backend import Backend

__all__ = ["BackendState", "Verdict"]


@attrs.frozen
class Verdict:
    """What a check found, as a plain value that can cross a process boundary.

    :ivar address: the backend's :attr:`~lbproxy.balance.backend.Backend.address`.
    :ivar up: whether it can take exchanges.
    :ivar reason: the evidence, for the operator.
    :ivar source: ``"probe"`` (the periodic probe) or ``"traffic"`` (the per-request check).
    """

    address: str
    up: bool
    reason: str
    source: str


class BackendState:
    """A backend's live state and plain counters. Written by its pool and by the exchanges that use it.

    :ivar in_flight: attempts that run at the backend now.
    :ivar requests: attempts begun in all.
    :ivar failures: attempts that failed; stale connections and a want of sockets here are not counted.
    :ivar last_change: seconds since the epoch at which ``up`` last changed.
    :ivar source: who gave the last verdict that changed it; ``"start"`` before any.
    """

    __slots__ = (
        "address", "backend", "connects", "failures", "in_flight", "last_change", "reason", "requests", "source", "up",
    )  # fmt: skip

    def __init__(self, backend: Backend, now: float) -> None:
        self.backend = backend
        self.address = backend.address
        self.up = True
        self.reason = "not checked yet"
        self.source = "start"
        self.last_change = now
        self.in_flight = 0
        self.requests = 0
        self.failures = 0
        self.connects = 0

    def __repr__(self) -> str:
        return f"<BackendState {self.address} {'up' if self.up else 'down'}: {self.reason}>"
