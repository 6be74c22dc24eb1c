"""Metrics for Prometheus: the data plane's plain counters, handed over when somebody asks.

A counter of ``prometheus_client`` costs 0.9 µs at each increment, a plain one 0.06; so the counters are plain, and a collector
turns them into metrics at scrape time. Names follow Prometheus's conventions: base units, ``_total`` for what only grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .access_log import AccessLog
from .backend_metrics import backend_families
from .configuration_metrics import configuration_families
from .families import from_zero, with_samples
from .pool_metrics import pool_families
from .route_metrics import route_families
from .running import Running
from .tls_metrics import tls_families
from .worker_metrics import worker_families

__all__ = ["CONTENT_TYPE", "PART_SAMPLES", "SiteCollector", "metrics_registry", "render_metrics"]

#: The media type of what :func:`render_metrics` gives.
CONTENT_TYPE: str = CONTENT_TYPE_LATEST

#: Samples in a part of what :func:`render_metrics` gives, or a few more: 4 ms.
PART_SAMPLES = 500

#: The causes of :class:`~lbproxy.errors.BadMessage` for requests.
_CAUSES = (
    "body-size", "chunk", "expect", "field-count", "framing", "head-size", "host", "method", "syntax", "target", "target-size",
    "trailer", "version",
)  # fmt: skip
_PHASES = ("body", "handshake", "head", "idle", "write")
_LIMITS = ("connections", "drain", "requests")


def metrics_registry(running: Running) -> CollectorRegistry:
    """A registry of the metrics of what runs, and of its process. It is its own, so that several sites live in one process. With
    workers, ``process_*`` is the supervisor's alone, and they have ``lbproxy_worker_*``."""
    registry = CollectorRegistry()
    registry.register(SiteCollector(running))
    ProcessCollector(registry=registry)  # process_*: CPU seconds, memory, file descriptors; nothing where there is no /proc
    return registry


def render_metrics(registry: CollectorRegistry) -> Iterator[bytes]:
    """All metrics as they are now, in Prometheus's text format: in parts, for each sample costs 7 µs, and 1,000 backends have
    34,000. Metrics are read when their part's turn comes."""
    text, samples = b"", 0
    for family in registry.collect():
        for start in range(0, len(family.samples) or 1, PART_SAMPLES):
            piece = copy(family)
            piece.samples = family.samples[start : start + PART_SAMPLES]
            lines = generate_latest(_Only(piece))
            text += lines.split(b"\n", 2)[2] if start else lines  # its help and its type stand once, before all of them
            samples += len(piece.samples)
            if samples >= PART_SAMPLES:
                yield text
                text, samples = b"", 0
    if text:
        yield text


class _Only:
    """A registry of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        return [self._family]


class SiteCollector(Collector):
    """Reads a site's and its listeners' counters each time it is asked to collect."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._listener = running.listener

    def collect(self) -> Iterator[Metric]:
        """Every metric, with the values of now."""
        running = self._running
        yield InfoMetricFamily("lbproxy_build", "The running version.", value={"version": running.version})
        yield from self._frontend()
        if running.watch is not None:
            yield from tls_families(running.watch, self._listener)
        yield from pool_families(running.balancers)
        yield from backend_families(running.balancers)
        yield from route_families(running.site.router)
        yield from configuration_families(running)
        yield self._access_log()
        workers = running.processes()
        if workers is not None:
            yield from worker_families(workers)

    def _frontend(self) -> Iterator[Metric]:
        counts = self._listener
        yield CounterMetricFamily("lbproxy_frontend_connections_total", "Client connections accepted.", value=counts.accepted)
        yield with_samples(
            CounterMetricFamily(
                "lbproxy_frontend_rejected_total",
                "Requests refused, by what was wrong with them. Where that was found in the body (body-size, chunk, trailer), "
                "a part may have gone to a backend.",
                labels=["cause"],
            ),
            from_zero(_CAUSES, counts.rejected),
        )
        yield with_samples(
            CounterMetricFamily(
                "lbproxy_frontend_timeouts_total",
                "Client connections ended by a time-out, by what was waited for.",
                labels=["phase"],
            ),
            from_zero(_PHASES, counts.timed_out),
        )
        yield with_samples(
            CounterMetricFamily(
                "lbproxy_frontend_limits_total",
                "What limits did. connections: the listeners paused; requests: a connection ended after its last request; "
                "drain: a connection was dropped.",
                labels=["limit"],
            ),
            from_zero(_LIMITS, counts.limited),
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

    def _access_log(self) -> Metric:
        logs = [observer for observer in self._running.site.router.observers if isinstance(observer, AccessLog)]
        return CounterMetricFamily(
            "lbproxy_access_log_dropped_total",
            "Access log lines that could not be written.",
            value=sum(log.dropped for log in logs),
        )
