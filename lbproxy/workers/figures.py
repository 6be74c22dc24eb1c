"""Which of a balancer's numbers exchanges make: where they stand in its objects, and under which names in a sheet.

By these the worker reads them, and the supervisor adds them to its own objects of the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from .sheet import GAUGES, Sheet

__all__ = [
    "BALANCER",
    "BUDGET",
    "EXCHANGES",
    "FILTER",
    "IDLE",
    "LINE",
    "LISTENER",
    "LOG",
    "MEMBER",
    "POOL",
    "ROUTE",
    "SPLIT",
    "TRAFFIC",
    "Kind",
]


@attrs.frozen(kw_only=True)
class Kind:
    """The figures of a kind of object, by the names of its attributes.

    :ivar counters: numbers that only grow.
    :ivar words: dicts of such numbers by words; *codes*: by whole numbers.
    :ivar places: lists of such numbers.
    :ivar gauges: numbers that go up and down.
    :ivar gauge_words: the one dict of such numbers by words; then there are no other gauges.
    """

    counters: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    gauges: tuple[str, ...] = ()
    gauge_words: str = ""

    def read(self, one: Any) -> Sheet:
        """An object's figures."""
        sheet: Sheet = {name: getattr(one, name) for name in self.counters}
        for name in self.words:
            sheet[name] = dict(getattr(one, name))
        for name in self.codes:
            sheet[name] = {str(code): count for code, count in getattr(one, name).items()}
        for name in self.places:
            sheet[name] = {str(place): count for place, count in enumerate(getattr(one, name)) if count}
        if self.gauge_words:
            sheet[GAUGES] = dict(getattr(one, self.gauge_words))
        elif self.gauges:
            sheet[GAUGES] = {name: getattr(one, name) for name in self.gauges}
        return sheet

    def add_counters(self, one: Any, sheet: Mapping[str, Any]) -> None:
        """Add to what only grows."""
        for name in self.counters:
            if name in sheet:
                setattr(one, name, getattr(one, name) + sheet[name])
        for name in self.words:
            _add(getattr(one, name), sheet.get(name, {}))
        for name in self.codes:
            _add(getattr(one, name), {int(code): count for code, count in sheet.get(name, {}).items()})
        for name in self.places:
            places = getattr(one, name)
            for place, count in sheet.get(name, {}).items():
                places[int(place)] += count

    def add_gauges(self, one: Any, gauges: Mapping[str, Any]) -> None:
        """Add to what goes up and down."""
        if self.gauge_words:
            counts = getattr(one, self.gauge_words)
            _add(counts, gauges)
            for name in gauges:
                if not counts[name]:
                    del counts[name]
            return
        for name, count in gauges.items():
            setattr(one, name, getattr(one, name) + count)


def _add(counts: dict[Any, Any], more: Mapping[Any, Any]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


#: Of :class:`~lbproxy.proxy.counters.ListenerCounters`, but for the limit, which is each process's own.
LISTENER = Kind(
    counters=("accepted", "fields_dropped", "handshakes"),
    words=("handshakes_failed", "limited", "rejected", "timed_out"),
    gauges=("open",),
)
#: Of :class:`~lbproxy.proxy.counters.BalancerCounters`: of pools, and of the exchanges that no pool got.
BALANCER = Kind(
    counters=(
        "duration_sum", "hedges", "interim", "replays_lost", "request_bytes", "response_bytes", "retries", "tunnels_total",
    ),
    codes=("statuses",),
    words=("ends",),
    places=("buckets",),
    gauges=("in_flight", "tunnels"),
)  # fmt: skip
#: Of :class:`~lbproxy.proxy.counters.PoolGauges`; *IDLE* has its connections.
POOL = Kind(gauges=("active", "cooling", "queued", "waiting"))
IDLE = Kind(gauge_words="idle")
#: Of :class:`~lbproxy.proxy.line.WaitingLine`.
LINE = Kind(counters=("joined", "turned_away"))
#: Of :class:`~lbproxy.proxy.budget.RetryBudget`.
BUDGET = Kind(counters=("refused",))
#: Of :class:`~lbproxy.health.traffic.TrafficCheck`.
TRAFFIC = Kind(counters=("withheld",), words=("ejections",))
#: Of :class:`~lbproxy.balance.state.BackendState`. Ejections are not among them: all processes learn of each by its verdict.
MEMBER = Kind(
    counters=("connects", "failures", "latency_sum", "requests"),
    codes=("statuses",),
    places=("buckets",),
    gauges=("failing", "in_flight"),
)
#: Of :class:`~lbproxy.routing.router.LiveRoute`; *SPLIT*: of a :class:`~lbproxy.routing.split.SplitTarget`.
ROUTE = Kind(counters=("taken",), codes=("statuses",), words=("filtered",))
SPLIT = Kind(words=("taken",))
#: Of :class:`~lbproxy.site_parts.LiveFilter`.
FILTER = Kind(words=("counts",))
#: Of :class:`~lbproxy.observe.access_log.AccessLog`.
LOG = Kind(counters=("dropped",))
#: Of a worker's exchanges as the board has them, so that it is known how many of those have been reported.
EXCHANGES = Kind(counters=("ended",))
