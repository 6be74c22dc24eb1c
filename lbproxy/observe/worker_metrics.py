"""Metrics of the processes that carry exchanges. What all of them do together is in the other metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .families import with_samples
from .processes import WorkerFigures, Workers, cpu_seconds, resident_bytes

__all__ = ["worker_families"]

_Value = Callable[[WorkerFigures], float | None]

_GAUGES: tuple[tuple[str, str, _Value], ...] = (
    ("connections", "Client connections open now at the worker.", lambda one: one.connections),
    ("resident_memory_bytes", "Memory that the worker has in use.", lambda one: resident_bytes(one.pid)),
)
_COUNTERS: tuple[tuple[str, str, _Value], ...] = (
    ("requests_total", "Exchanges that have ended at the worker since it began.", lambda one: one.requests),
    ("cpu_seconds_total", "Processor time that the worker has had since it began.", lambda one: cpu_seconds(one.pid)),
)


def worker_families(workers: Workers) -> Iterator[Metric]:
    """All of them, with the values of now, by the workers' numbers: one that drains counts with its successor."""
    each = {str(number): list(same) for number, same in groupby(workers.each, lambda one: one.number)}
    for name, help, value in _GAUGES:
        yield with_samples(GaugeMetricFamily(f"lbproxy_worker_{name}", help, labels=["worker"]), _sums(each, value))
    for name, help, value in _COUNTERS:
        yield with_samples(CounterMetricFamily(f"lbproxy_worker_{name}", help, labels=["worker"]), _sums(each, value))
    yield with_samples(
        GaugeMetricFamily("lbproxy_worker_start_time_seconds", "When the worker began.", labels=["worker"]),
        (((number,), same[0].began) for number, same in each.items() if same[0].began is not None),
    )
    yield with_samples(
        CounterMetricFamily("lbproxy_worker_restarts_total", "How often the worker was replaced.", labels=["worker"]),
        (((number,), same[0].restarts) for number, same in each.items()),
    )
    yield GaugeMetricFamily("lbproxy_workers", "Workers that serve.", value=sum(one.state == "serving" for one in workers.each))
    yield CounterMetricFamily(
        "lbproxy_workers_exchanges_lost_total",
        "Exchanges that were running in workers when these ended.",
        value=workers.lost.exchanges,
    )
    yield CounterMetricFamily(
        "lbproxy_workers_exchanges_unreported_total",
        "Exchanges that had ended in workers when these did, and are in no other metric: they had not been reported.",
        value=workers.lost.unreported,
    )
    yield CounterMetricFamily(
        "lbproxy_workers_connections_lost_total",
        "Client connections that were open at workers when these ended.",
        value=workers.lost.connections,
    )


def _sums(each: dict[str, list[WorkerFigures]], value: _Value) -> Iterator[tuple[tuple[str], float]]:
    """Where there is nothing to be known there is no sample."""
    for number, same in each.items():
        known = [found for found in map(value, same) if found is not None]
        if known:
            yield (number,), sum(known)
