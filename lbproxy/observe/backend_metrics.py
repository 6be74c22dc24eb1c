"""The metrics of backends, and of a pool's health. The series are its members' own: when a backend leaves, they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ..balance.state import BackendState
from ..proxy.balancer import Balancer
from .families import add_histogram, with_samples

__all__ = ["backend_families"]

#: The words of :attr:`lbproxy.balance.state.BackendState.state`.
_STATES = ("up", "down", "draining", "maintenance")

_LABELS = ("pool", "backend")

_Value = Callable[[BackendState], float]

_GAUGES: tuple[tuple[str, str, _Value], ...] = (
    ("up", "Whether the backend is well, whatever the operator wants of it: 1 or 0.", lambda member: member.up),
    ("in_flight", "Attempts running now.", lambda member: member.in_flight),
    ("weight", "Its weight; less than the operator's while it warms up.", lambda member: member.weight),
    (
        "last_change_timestamp_seconds",
        "When its state last changed; at first, when it was added.",
        lambda member: member.last_change,
    ),
)
_COUNTERS: tuple[tuple[str, str, _Value], ...] = (
    ("requests_total", "Attempts begun.", lambda member: member.requests),
    ("failures_total", "Attempts that failed.", lambda member: member.failures),
    ("connects_total", "Connections begun.", lambda member: member.connects),
    ("ejections_total", "How often traffic took the backend out.", lambda member: member.ejections),
)


def backend_families(balancer: Balancer) -> Iterator[Metric]:
    """Every metric of the balancer's backends, with the values of now."""
    pool, members = balancer.pool.name, list(balancer.pool.members.values())
    idle_count = balancer.upstreams.idle_count
    idle: tuple[str, str, _Value] = (
        "idle_connections",
        "Connections kept for the next attempt.",
        lambda member: idle_count(member.address),
    )
    for name, help, value in (*_GAUGES, idle):
        gauge = GaugeMetricFamily(f"lbproxy_backend_{name}", help, labels=_LABELS)
        yield with_samples(gauge, (((pool, member.address), value(member)) for member in members))
    for name, help, value in _COUNTERS:
        counter = CounterMetricFamily(f"lbproxy_backend_{name}", help, labels=_LABELS)
        yield with_samples(counter, (((pool, member.address), value(member)) for member in members))
    yield _states(pool, members)
    yield _responses(pool, members)
    yield _response_seconds(pool, members)
    yield _probes(balancer, members)
    yield from _health(balancer, members)


def _states(pool: str, members: list[BackendState]) -> Metric:
    family = GaugeMetricFamily("lbproxy_backend_state", "1 for the state it is in, 0 for the others.", labels=(*_LABELS, "state"))
    for member in members:
        now = member.state
        for state in _STATES:
            family.add_metric((pool, member.address, state), state == now)
    return family


def _responses(pool: str, members: list[BackendState]) -> Metric:
    family = CounterMetricFamily(
        "lbproxy_backend_responses_total",
        "Responses begun, those that are tried again too, by status.",
        labels=(*_LABELS, "code"),
    )
    for member in members:
        for status, count in member.statuses.items():
            family.add_metric((pool, member.address, str(status)), count)
    return family


def _response_seconds(pool: str, members: list[BackendState]) -> Metric:
    family = HistogramMetricFamily(
        "lbproxy_backend_response_seconds", "From an attempt's beginning to its response's head.", labels=_LABELS
    )
    for member in members:
        add_histogram(family, (pool, member.address), member.buckets, member.latency_sum)
    return family


def _probes(balancer: Balancer, members: list[BackendState]) -> Metric:
    # Of members only, though more addresses may have been probed: a series must end when its backend goes.
    pool, counts = balancer.pool.name, balancer.probes.counts
    return with_samples(
        CounterMetricFamily("lbproxy_backend_probes_total", "Periodic probes by what they found.", labels=(*_LABELS, "result")),
        (
            ((pool, member.address, "up" if up else "down"), counts.get((member.address, up), 0))
            for member in members
            for up in (True, False)
        ),
    )


def _health(balancer: Balancer, members: list[BackendState]) -> Iterator[Metric]:
    """Of the pool as a whole."""
    pool = balancer.pool
    yield with_samples(
        GaugeMetricFamily(
            "lbproxy_pool_panic", "Whether health is ignored because too few backends are up: 1 or 0.", labels=("pool",)
        ),
        [((pool.name,), pool.panicking)],
    )
    states = [member.state for member in members]
    yield with_samples(
        GaugeMetricFamily("lbproxy_pool_backends", "Backends by state.", labels=("pool", "state")),
        (((pool.name, state), states.count(state)) for state in _STATES),
    )
