"""Metrics of what the balancer goes by: the configuration, the files that list members, and the state file."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..discovery.file import RESULTS, MembersFile
from ..state_file import StateFile
from .families import from_zero, with_samples
from .running import Reloader, Running

__all__ = ["configuration_families"]


def configuration_families(running: Running) -> Iterator[Metric]:
    """Those of what there is, with the values of now."""
    if running.reloader is not None:
        yield from _reloads(running.reloader, running.started)
    if running.memberships is not None and running.memberships.files:
        yield from _members(running.memberships.files)
    if running.state_file is not None:
        yield from _state(running.state_file)


def _reloads(reloader: Reloader, started: float) -> Iterator[Metric]:
    last = reloader.last
    yield with_samples(
        CounterMetricFamily(
            "lbproxy_config_reloads_total", "How often the configuration was read anew, by how that ended.", labels=["result"]
        ),
        from_zero(RESULTS, reloader.counts),
    )
    yield GaugeMetricFamily(
        "lbproxy_config_last_reload_success",
        "Whether the last time that the configuration was read went well: 1 or 0, and then the one from before is gone by.",
        value=last is None or last.ok,
    )
    yield GaugeMetricFamily(
        "lbproxy_config_last_reload_timestamp_seconds",
        "When the configuration was read last, whatever came of it; at first, when serving began.",
        value=started if last is None else last.when,
    )


def _members(files: dict[str, MembersFile]) -> Iterator[Metric]:
    yield with_samples(
        CounterMetricFamily(
            "lbproxy_members_file_reads_total",
            "How often the file was read that lists a pool's members, by how that ended.",
            labels=["pool", "result"],
        ),
        (((pool, result), count) for pool, file in files.items() for result, count in file.reads.items()),
    )
    yield with_samples(
        GaugeMetricFamily(
            "lbproxy_members_file_last_read_success",
            "Whether its last reading went well: 1 or 0, and then the members are those from before.",
            labels=["pool"],
        ),
        (((pool,), file.last is None or file.last.ok) for pool, file in files.items()),
    )
    yield with_samples(
        GaugeMetricFamily(
            "lbproxy_members_file_last_read_success_timestamp_seconds",
            "When the members were read from it that the pool has.",
            labels=["pool"],
        ),
        (((pool,), file.read_at) for pool, file in files.items()),
    )


def _state(file: StateFile) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "lbproxy_state_file_failures_total", "How often the state file could not be written.", value=file.failures
    )
    yield GaugeMetricFamily(
        "lbproxy_state_file_last_write_success",
        "Whether it could be written the last time: 1 or 0, and then what operators said since is not kept.",
        value=not file.error,
    )
