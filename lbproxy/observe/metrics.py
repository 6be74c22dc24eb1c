"""Metrics for Prometheus: the data plane's plain counters, handed over when somebody asks.

A counter of ``prometheus_client`` costs 0.9 µs at each increment, a plain one 0.06; so the counters are plain, and a collector
turns them into metrics at scrape time. Names follow Prometheus's conventions: base units, ``_total`` for what only grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ..balance.state import DURATION_BOUNDS, BackendState
from ..proxy.balancer import Balancer
from ..proxy.counters import ListenerCounters
from .access_log import AccessLog

__all__ = ["CONTENT_TYPE", "BalancerCollector", "metrics_registry", "render_metrics"]

#: The media type of what :func:`render_metrics` gives.
CONTENT_TYPE: str = CONTENT_TYPE_LATEST

# Labels that are known ahead have their series from the beginning: Prometheus sees no increase in one that begins at 1.
# The causes are those of :class:`~lbproxy.errors.BadMessage` for requests.
_CAUSES = (
    "body-size", "chunk", "expect", "field-count", "framing", "head-size", "host", "method", "syntax", "target", "target-size",
    "trailer", "version",
)  # fmt: skip
_PHASES = ("body", "head", "idle", "write")
_LIMITS = ("connections", "drain", "requests")

_BOUNDS = [*map(floatToGoString, DURATION_BOUNDS), "+Inf"]

_AT_THE_END = ", and a tunnel's bytes; added when the exchange ends."

_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)


def metrics_registry(balancer: Balancer, listener: ListenerCounters, version: str) -> CollectorRegistry:
    """A registry of this balancer's metrics and its process's. It is its own, so that several balancers live in one process."""
    registry = CollectorRegistry()
    registry.register(BalancerCollector(balancer, listener, version))
    ProcessCollector(registry=registry)  # process_*: CPU seconds, memory, file descriptors; nothing where there is no /proc
    return registry


def render_metrics(registry: CollectorRegistry) -> bytes:
    """All metrics as they are now, in Prometheus's text format."""
    return generate_latest(registry)


class BalancerCollector(Collector):
    """Reads a balancer's and a listener's counters each time it is asked to collect."""

    def __init__(self, balancer: Balancer, listener: ListenerCounters, version: str) -> None:
        self._balancer = balancer
        self._listener = listener
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Every metric, with the values of now."""
        yield InfoMetricFamily("lbproxy_build", "The running version.", value={"version": self._version})
        yield from self._frontend()
        yield from self._pool()
        yield self._durations()
        yield from self._backends()
        yield self._access_log()

    def _frontend(self) -> Iterator[Metric]:
        counts = self._listener
        yield CounterMetricFamily("lbproxy_frontend_connections_total", "Client connections accepted.", value=counts.accepted)
        yield _with(
            CounterMetricFamily(
                "lbproxy_frontend_rejected_total",
                "Requests refused, by what was wrong with them. Where that was found in the body (body-size, chunk, trailer), "
                "a part may have gone to a backend.",
                labels=["cause"],
            ),
            _from_zero(_CAUSES, counts.rejected),
        )
        yield _with(
            CounterMetricFamily(
                "lbproxy_frontend_timeouts_total",
                "Client connections ended by a time-out, by what was waited for.",
                labels=["phase"],
            ),
            _from_zero(_PHASES, counts.timed_out),
        )
        yield _with(
            CounterMetricFamily(
                "lbproxy_frontend_limits_total",
                "What limits did. connections: the listeners paused; requests: a connection ended after its last request; "
                "drain: a connection was dropped.",
                labels=["limit"],
            ),
            _from_zero(_LIMITS, counts.limited),
        )
        yield CounterMetricFamily(
            "lbproxy_frontend_fields_dropped_total",
            "Request fields dropped because their names have underscores.",
            value=counts.fields_dropped,
        )
        yield GaugeMetricFamily("lbproxy_frontend_connections", "Client connections open now.", value=counts.open)
        yield GaugeMetricFamily(
            "lbproxy_frontend_connections_limit",
            "Client connections at which the listeners pause; 0: never.",
            value=counts.connections_limit,
        )

    def _pool(self) -> Iterator[Metric]:
        counts, name = self._balancer.counters, self._balancer.pool.name
        yield _with(
            CounterMetricFamily(
                "lbproxy_pool_requests_total",
                "Exchanges that have ended, by status; 0: without an answer.",
                labels=["pool", "code"],
            ),
            (((name, str(status)), count) for status, count in counts.statuses.items()),
        )
        yield _with(
            CounterMetricFamily("lbproxy_pool_ends_total", "Exchanges by why they ended.", labels=["pool", "end"]),
            (((name, end), count) for end, count in counts.ends.items()),
        )
        for metric, help, value in (
            ("lbproxy_pool_in_flight", "Exchanges running now.", counts.in_flight),
            ("lbproxy_pool_tunnels", "Tunnels open now.", counts.tunnels),
        ):
            yield _with(GaugeMetricFamily(metric, help, labels=["pool"]), [((name,), value)])
        for metric, help, value in (
            ("lbproxy_pool_retries_total", "Attempts beyond each exchange's first.", counts.retries),
            ("lbproxy_pool_replays_lost_total", "Retries not made: the body was too large to keep.", counts.replays_lost),
            ("lbproxy_pool_tunnels_total", "Tunnels opened after an upgrade.", counts.tunnels_total),
            ("lbproxy_pool_interim_total", "Interim responses (1xx) passed on.", counts.interim),
            ("lbproxy_pool_request_bytes_total", f"Body bytes from clients{_AT_THE_END}", counts.request_bytes),
            ("lbproxy_pool_response_bytes_total", f"Body bytes to clients{_AT_THE_END}", counts.response_bytes),
        ):
            yield _with(CounterMetricFamily(metric, help, labels=["pool"]), [((name,), value)])

    def _durations(self) -> Metric:
        counts = self._balancer.counters
        family = HistogramMetricFamily(
            "lbproxy_pool_request_duration_seconds",
            "From a request's head to the exchange's end; of an upgrade, to the tunnel's end.",
            labels=["pool"],
        )
        cumulative = list(zip(_BOUNDS, map(float, accumulate(counts.buckets)), strict=True))
        family.add_metric([self._balancer.pool.name], cumulative, counts.duration_sum)
        return family

    def _backends(self) -> Iterator[Metric]:
        members = list(self._balancer.pool.members.values())
        idle_count = self._balancer.upstreams.idle_count

        def gauge(name: str, help: str, values: Iterable[float]) -> Metric:
            return self._of_backends(GaugeMetricFamily(name, help, labels=["pool", "backend"]), members, values)

        def counter(name: str, help: str, values: Iterable[float]) -> Metric:
            return self._of_backends(CounterMetricFamily(name, help, labels=["pool", "backend"]), members, values)

        yield gauge("lbproxy_backend_up", "Whether the backend is up: 1 or 0.", (member.up for member in members))
        yield gauge("lbproxy_backend_in_flight", "Attempts running now.", (member.in_flight for member in members))
        yield gauge(
            "lbproxy_backend_idle_connections",
            "Connections kept for the next attempt.",
            (idle_count(member.address) for member in members),
        )
        yield gauge(
            "lbproxy_backend_last_change_timestamp_seconds",
            "When it last went up or down; at first, when it was added.",
            (member.last_change for member in members),
        )
        yield counter("lbproxy_backend_requests_total", "Attempts begun.", (member.requests for member in members))
        yield counter("lbproxy_backend_failures_total", "Attempts that failed.", (member.failures for member in members))
        yield counter("lbproxy_backend_connects_total", "Connections begun.", (member.connects for member in members))
        yield self._probes(members)

    def _of_backends(self, family: _Family, members: list[BackendState], values: Iterable[float]) -> _Family:
        name = self._balancer.pool.name
        return _with(family, (((name, member.address), float(value)) for member, value in zip(members, values, strict=True)))

    def _probes(self, members: list[BackendState]) -> Metric:
        # Of members only, though more addresses may have been probed: a series must end when its backend goes.
        name, counts = self._balancer.pool.name, self._balancer.probes.counts
        return _with(
            CounterMetricFamily(
                "lbproxy_backend_probes_total", "Periodic probes by what they found.", labels=["pool", "backend", "result"]
            ),
            (
                ((name, member.address, "up" if up else "down"), counts.get((member.address, up), 0))
                for member in members
                for up in (True, False)
            ),
        )

    def _access_log(self) -> Metric:
        logs = [observer for observer in self._balancer.observers if isinstance(observer, AccessLog)]
        return CounterMetricFamily(
            "lbproxy_access_log_dropped_total",
            "Access log lines that could not be written.",
            value=sum(log.dropped for log in logs),
        )


def _with(family: _Family, samples: Iterable[tuple[tuple[str, ...], float]]) -> _Family:
    """Add samples, each a tuple of label values and a value."""
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _from_zero(labels: Iterable[str], counts: Mapping[str, int]) -> Iterator[tuple[tuple[str], float]]:
    """Samples for all *labels*, and for those that were counted besides."""
    for label in dict.fromkeys((*labels, *counts)):
        yield (label,), counts.get(label, 0)
