"""Metrics of pools' exchanges: how many, how they ended, how long they took, and what they waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ..proxy.balancer import Balancer
from .families import add_histogram, with_samples

__all__ = ["pool_families"]

_AT_THE_END = ", and a tunnel's bytes; added when the exchange ends."

_Value = Callable[[Balancer], float]

_GAUGES: tuple[tuple[str, str, _Value], ...] = (
    ("in_flight", "Exchanges running now.", lambda pool: pool.counters.in_flight),
    ("tunnels", "Tunnels open now.", lambda pool: pool.counters.tunnels),
    ("queue", "Exchanges that wait for a backend with a place free.", lambda pool: pool.gauges().queued),
    ("retry_budget_active", "Exchanges that have a place in the retry budget.", lambda pool: pool.gauges().active),
    ("retry_budget_waiting", "Exchanges that wait for one.", lambda pool: pool.gauges().waiting),
)
_COUNTERS: tuple[tuple[str, str, _Value], ...] = (
    ("retries_total", "Attempts beyond each exchange's first.", lambda pool: pool.counters.retries),
    ("hedges_total", "Those of them that were sent beside one that was slow.", lambda pool: pool.counters.hedges),
    ("replays_lost_total", "Retries not made: the body was too large to keep.", lambda pool: pool.counters.replays_lost),
    ("retry_budget_refused_total", "Retries not made: there was no place in the budget.", lambda pool: pool.budget.refused),
    ("queued_total", "Exchanges that waited for a backend with a place free.", lambda pool: pool.line.joined),
    ("queue_full_total", "Exchanges that found no room to wait.", lambda pool: pool.line.turned_away),
    ("ejections_withheld_total", "Ejections not made: too many were out already.", lambda pool: pool.traffic.withheld),
    ("tunnels_total", "Tunnels opened after an upgrade.", lambda pool: pool.counters.tunnels_total),
    ("interim_total", "Interim responses (1xx) passed on.", lambda pool: pool.counters.interim),
    ("request_bytes_total", f"Body bytes from clients{_AT_THE_END}", lambda pool: pool.counters.request_bytes),
    ("response_bytes_total", f"Body bytes to clients{_AT_THE_END}", lambda pool: pool.counters.response_bytes),
)
_LABELLED: tuple[tuple[str, str, str, Callable[[Balancer], Mapping[str, int] | Mapping[int, int]]], ...] = (
    (
        "requests_total",
        "Exchanges that have ended, by status; 0: without an answer.",
        "code",
        lambda pool: pool.counters.statuses,
    ),
    ("ends_total", "Exchanges by why they ended.", "end", lambda pool: pool.counters.ends),
    ("ejections_total", "Backends taken out by traffic, by what for.", "cause", lambda pool: pool.traffic.ejections),
)


def pool_families(balancers: Sequence[Balancer]) -> Iterator[Metric]:
    """All of them, with the values of now, of all these pools: Prometheus takes each metric once."""
    for metric, help, value in _GAUGES:
        gauge = GaugeMetricFamily(f"lbproxy_pool_{metric}", help, labels=["pool"])
        yield with_samples(gauge, (((one.pool.name,), value(one)) for one in balancers))
    for metric, help, value in _COUNTERS:
        counter = CounterMetricFamily(f"lbproxy_pool_{metric}", help, labels=["pool"])
        yield with_samples(counter, (((one.pool.name,), value(one)) for one in balancers))
    for metric, help, label, values in _LABELLED:
        counter = CounterMetricFamily(f"lbproxy_pool_{metric}", help, labels=["pool", label])
        yield with_samples(
            counter, (((one.pool.name, str(key)), count) for one in balancers for key, count in values(one).items())
        )
    yield _durations(balancers)


def _durations(balancers: Sequence[Balancer]) -> Metric:
    family = HistogramMetricFamily(
        "lbproxy_pool_request_duration_seconds",
        "From a request's head to the exchange's end; of an upgrade, to the tunnel's end.",
        labels=["pool"],
    )
    for one in balancers:
        add_histogram(family, (one.pool.name,), one.counters.buckets, one.counters.duration_sum)
    return family
