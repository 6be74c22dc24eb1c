"""Metrics of routes, of what their filters did, and of the exchanges that no pool got."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..routing.router import Router
from .families import from_zero, with_samples

__all__ = ["route_families"]


def route_families(router: Router) -> Iterator[Metric]:
    """All of them, with the values of now. The series are the routes' own: when a route goes, they end."""
    live, counters = list(router.live.values()), router.counters
    yield with_samples(
        CounterMetricFamily(
            "lbproxy_route_requests_total",
            "Exchanges that took the route and have ended, by status; 0: without an answer.",
            labels=["route", "code"],
        ),
        (((route.name, str(status)), count) for route in live for status, count in route.statuses.items()),
    )
    yield with_samples(
        CounterMetricFamily(
            "lbproxy_filter_actions_total", "What the route's filters did to exchanges.", labels=["route", "action"]
        ),
        (((route.name, action), count) for route in live for action, count in route.filtered.items()),
    )
    yield GaugeMetricFamily("lbproxy_unrouted_in_flight", "Exchanges that no pool got, running now.", value=counters.in_flight)
    yield with_samples(
        CounterMetricFamily(
            "lbproxy_unrouted_requests_total", "Exchanges that no pool got and that have ended, by status.", labels=["code"]
        ),
        (((str(status),), count) for status, count in counters.statuses.items()),
    )
    yield with_samples(
        CounterMetricFamily(
            "lbproxy_unrouted_ends_total",
            "Exchanges that no pool got, by why they ended; no-route: none is for them.",
            labels=["end"],
        ),
        from_zero(("no-route",), counters.ends),
    )
