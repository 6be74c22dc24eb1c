"""The metrics of backends, and of pools' health. The series are its members' own: when a backend leaves, they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

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


#: Each pool's balancer with its members, as they were when all of this was asked for.
_Pools = list[tuple[Balancer, list[BackendState]]]


def backend_families(balancers: Iterable[Balancer]) -> Iterator[Metric]:
    """Every metric of these pools' backends, with the values of now."""
    pools = [(balancer, list(balancer.pool.members.values())) for balancer in balancers]
    for name, help, value in _GAUGES:
        gauge = GaugeMetricFamily(f"lbproxy_backend_{name}", help, labels=_LABELS)
        yield with_samples(gauge, ((labels, value(member)) for labels, member, _ in _each(pools)))
    yield with_samples(
        GaugeMetricFamily("lbproxy_backend_idle_connections", "Connections kept for the next attempt.", labels=_LABELS),
        ((labels, balancer.idle_connections(member.address)) for labels, member, balancer in _each(pools)),
    )
    for name, help, value in _COUNTERS:
        counter = CounterMetricFamily(f"lbproxy_backend_{name}", help, labels=_LABELS)
        yield with_samples(counter, ((labels, value(member)) for labels, member, _ in _each(pools)))
    yield _states(pools)
    yield _responses(pools)
    yield _response_seconds(pools)
    yield _probes(pools)
    yield from _health(pools)


def _each(pools: _Pools) -> Iterator[tuple[tuple[str, str], BackendState, Balancer]]:
    for balancer, members in pools:
        name = balancer.pool.name
        for member in members:
            yield (name, member.address), member, balancer


def _states(pools: _Pools) -> Metric:
    family = GaugeMetricFamily("lbproxy_backend_state", "1 for the state it is in, 0 for the others.", labels=(*_LABELS, "state"))
    for labels, member, _ in _each(pools):
        now = member.state
        for state in _STATES:
            family.add_metric((*labels, state), state == now)
    return family


def _responses(pools: _Pools) -> Metric:
    family = CounterMetricFamily(
        "lbproxy_backend_responses_total",
        "Responses begun, those that are tried again too, by status.",
        labels=(*_LABELS, "code"),
    )
    for labels, member, _ in _each(pools):
        for status, count in member.statuses.items():
            family.add_metric((*labels, str(status)), count)
    return family


def _response_seconds(pools: _Pools) -> Metric:
    family = HistogramMetricFamily(
        "lbproxy_backend_response_seconds", "From an attempt's beginning to its response's head.", labels=_LABELS
    )
    for labels, member, _ in _each(pools):
        add_histogram(family, labels, member.buckets, member.latency_sum)
    return family


def _probes(pools: _Pools) -> Metric:
    # Of members only, though more addresses may have been probed: a series must end when its backend goes.
    return with_samples(
        CounterMetricFamily("lbproxy_backend_probes_total", "Periodic probes by what they found.", labels=(*_LABELS, "result")),
        (
            ((*labels, "up" if up else "down"), balancer.probes.counts.get((member.address, up), 0))
            for labels, member, balancer in _each(pools)
            for up in (True, False)
        ),
    )


def _health(pools: _Pools) -> Iterator[Metric]:
    """Of the pools as wholes."""
    yield with_samples(
        GaugeMetricFamily(
            "lbproxy_pool_panic", "Whether health is ignored because too few backends are up: 1 or 0.", labels=("pool",)
        ),
        (((balancer.pool.name,), balancer.pool.panicking) for balancer, _ in pools),
    )
    family = GaugeMetricFamily("lbproxy_pool_backends", "Backends by state.", labels=("pool", "state"))
    for balancer, members in pools:
        states = [member.state for member in members]
        for state in _STATES:
            family.add_metric((balancer.pool.name, state), states.count(state))
    yield family
