"""Plain counters of the data plane. They are handed over to the metrics when somebody asks, never before: an increment here
costs 0.06 µs, one of a metrics library 0.9."""

from __future__ import annotations

from bisect import bisect_left

from ..balance.state import DURATION_BOUNDS

__all__ = ["BalancerCounters", "ListenerCounters", "PoolGauges"]


class BalancerCounters:
    """What a balancer counts of its exchanges.

    :ivar statuses: exchanges by the status the client got (0: none, the client left before).
    :ivar ends: exchanges by their end's cause word (see :class:`lbproxy.proxy.exchange.Exchange`).
    :ivar buckets: exchanges by duration, one place for each bound of :data:`DURATION_BOUNDS` and one for the rest.
    :ivar duration_sum: seconds of all exchanges together.
    :ivar in_flight: exchanges that run now.
    :ivar retries: attempts beyond each exchange's first.
    :ivar hedges: those of them that were sent beside one that was slow.
    :ivar replays_lost: retries that could not be made because the body was no longer at hand.
    :ivar request_bytes: body bytes from clients.
    :ivar response_bytes: body bytes to clients.
    :ivar tunnels: tunnels open now.
    :ivar tunnels_total: tunnels in all.
    :ivar interim: interim responses (1xx) passed on.
    """

    __slots__ = (
        "buckets", "duration_sum", "ends", "hedges", "in_flight", "interim", "replays_lost", "request_bytes", "response_bytes",
        "retries", "statuses", "tunnels", "tunnels_total",
    )  # fmt: skip

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.ends: dict[str, int] = {}
        self.buckets = [0] * (len(DURATION_BOUNDS) + 1)
        self.duration_sum = 0.0
        self.in_flight = 0
        self.retries = 0
        self.hedges = 0
        self.replays_lost = 0
        self.request_bytes = 0
        self.response_bytes = 0
        self.tunnels = 0
        self.tunnels_total = 0
        self.interim = 0

    def count(self, status: int, end: str, duration: float | None) -> None:
        """Count a finished exchange. One without a duration is a tunnel: its hours say nothing of how fast answers are."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.ends[end] = self.ends.get(end, 0) + 1
        if duration is not None:
            self.buckets[bisect_left(DURATION_BOUNDS, duration)] += 1
            self.duration_sum += duration


class PoolGauges:
    """What goes up and down in a pool, beside what its exchanges count.

    :ivar queued: exchanges that wait for a backend with a place free.
    :ivar active: exchanges that have a place in the retry budget; *waiting*: those that wait for one; *cooling*: places that were
        had for nothing and are not yet free.
    :ivar idle: connections kept for the next attempt, by the backend's address; no address has none.
    """

    __slots__ = ("active", "cooling", "idle", "queued", "waiting")

    def __init__(self) -> None:
        self.queued = 0
        self.active = 0
        self.waiting = 0
        self.cooling = 0
        self.idle: dict[str, int] = {}


class ListenerCounters:
    """What a listener counts of its connections.

    :ivar accepted: connections in all.
    :ivar open: connections now.
    :ivar rejected: requests refused at the door, by cause; ``proxy-protocol``: connections that did not begin with its header,
        where they must.
    :ivar timed_out: connections ended by a time-out, by what they were silent in: ``idle``, ``head``, ``body``, ``write``,
        ``handshake``.
    :ivar limited: what a limit did, by limit: ``connections``: how often the listeners paused; ``requests``: connections ended
        after their last request; ``drain``: connections dropped when a drain had lasted long enough.
    :ivar fields_dropped: header fields of requests that were dropped because their names have underscores.
    :ivar handshakes: TLS sessions that came about.
    :ivar handshakes_failed: TLS handshakes that failed, by cause (:data:`lbproxy.tls.failures.CAUSES`).
    :ivar connections_limit: how many connections there may be; 0: any number.
    """

    __slots__ = (
        "accepted", "connections_limit", "fields_dropped", "handshakes", "handshakes_failed", "limited", "open", "rejected",
        "timed_out",
    )  # fmt: skip

    def __init__(self) -> None:
        self.accepted = 0
        self.open = 0
        self.rejected: dict[str, int] = {}
        self.timed_out: dict[str, int] = {}
        self.limited: dict[str, int] = {}
        self.fields_dropped = 0
        self.handshakes = 0
        self.handshakes_failed: dict[str, int] = {}
        self.connections_limit = 0

    def count_handshake(self, cause: str) -> None:
        """Count a TLS handshake that failed."""
        self.handshakes_failed[cause] = self.handshakes_failed.get(cause, 0) + 1
