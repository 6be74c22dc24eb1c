"""Metrics of a pool's exchanges: how many, how they ended, how long they took, and what they waited for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ..proxy.balancer import Balancer
from .families import add_histogram, with_samples

__all__ = ["pool_families"]

_AT_THE_END = ", and a tunnel's bytes; added when the exchange ends."


def pool_families(balancer: Balancer) -> Iterator[Metric]:
    """All of them, with the values of now."""
    name = balancer.pool.name
    for metric, help, value in _gauges(balancer):
        yield with_samples(GaugeMetricFamily(f"lbproxy_pool_{metric}", help, labels=["pool"]), [((name,), value)])
    for metric, help, value in _counters(balancer):
        yield with_samples(CounterMetricFamily(f"lbproxy_pool_{metric}", help, labels=["pool"]), [((name,), value)])
    for metric, help, label, values in _labelled(balancer):
        family = CounterMetricFamily(f"lbproxy_pool_{metric}", help, labels=["pool", label])
        yield with_samples(family, (((name, key), count) for key, count in values.items()))
    yield _durations(balancer)


def _gauges(balancer: Balancer) -> tuple[tuple[str, str, float], ...]:
    counts = balancer.counters
    return (
        ("in_flight", "Exchanges running now.", counts.in_flight),
        ("tunnels", "Tunnels open now.", counts.tunnels),
        ("queue", "Exchanges that wait for a backend with a place free.", len(balancer.line.waiting)),
        ("retry_budget_active", "Exchanges that have a place in the retry budget.", balancer.budget.active),
        ("retry_budget_waiting", "Exchanges that wait for one.", balancer.budget.waiting),
    )


def _counters(balancer: Balancer) -> tuple[tuple[str, str, float], ...]:
    counts = balancer.counters
    return (
        ("retries_total", "Attempts beyond each exchange's first.", counts.retries),
        ("hedges_total", "Those of them that were sent beside one that was slow.", counts.hedges),
        ("replays_lost_total", "Retries not made: the body was too large to keep.", counts.replays_lost),
        ("retry_budget_refused_total", "Retries not made: there was no place in the budget.", balancer.budget.refused),
        ("queued_total", "Exchanges that waited for a backend with a place free.", balancer.line.joined),
        ("queue_full_total", "Exchanges that found no room to wait.", balancer.line.turned_away),
        ("ejections_withheld_total", "Ejections not made: too many were out already.", balancer.traffic.withheld),
        ("tunnels_total", "Tunnels opened after an upgrade.", counts.tunnels_total),
        ("interim_total", "Interim responses (1xx) passed on.", counts.interim),
        ("request_bytes_total", f"Body bytes from clients{_AT_THE_END}", counts.request_bytes),
        ("response_bytes_total", f"Body bytes to clients{_AT_THE_END}", counts.response_bytes),
    )


def _labelled(balancer: Balancer) -> tuple[tuple[str, str, str, dict[str, int]], ...]:
    counts = balancer.counters
    statuses = {str(status): count for status, count in counts.statuses.items()}
    return (
        ("requests_total", "Exchanges that have ended, by status; 0: without an answer.", "code", statuses),
        ("ends_total", "Exchanges by why they ended.", "end", counts.ends),
        ("ejections_total", "Backends taken out by traffic, by what for.", "cause", balancer.traffic.ejections),
    )


def _durations(balancer: Balancer) -> Metric:
    counts = balancer.counters
    family = HistogramMetricFamily(
        "lbproxy_pool_request_duration_seconds",
        "From a request's head to the exchange's end; of an upgrade, to the tunnel's end.",
        labels=["pool"],
    )
    add_histogram(family, (balancer.pool.name,), counts.buckets, counts.duration_sum)
    return family
