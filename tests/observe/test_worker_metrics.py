"""The metrics of processes that carry exchanges."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.observe.processes import WorkerFigures, Workers, cpu_seconds, resident_bytes
from lbproxy.observe.worker_metrics import worker_families

from ..admin.test_worker_status import WORKERS
from ..support import START


class WorkerMetricsTests(SynchronousTestCase):
    """``worker_families``."""

    def samples(self, workers: Workers = WORKERS) -> dict[tuple[str, str], float]:
        """All of them, by name and worker."""
        return {
            (sample.name, sample.labels.get("worker", "")): sample.value
            for family in worker_families(workers)
            for sample in family.samples
        }

    def test_each_worker_has_its_own_figures(self) -> None:
        """By its number."""
        samples = self.samples()
        for name, value in (("connections", 7), ("requests_total", 40), ("restarts_total", 1), ("start_time_seconds", START - 4)):
            self.assertEqual(samples[f"lbproxy_worker_{name}", "0"], value, name)
        self.assertGreater(samples["lbproxy_worker_cpu_seconds_total", "0"], 0)
        self.assertGreater(samples["lbproxy_worker_resident_memory_bytes", "0"], 1 << 20)

    def test_what_cannot_be_known_has_no_sample(self) -> None:
        """A place without a process takes no time, and it has not begun."""
        names = {name for name, worker in self.samples() if worker == "1"}
        self.assertEqual(names, {f"lbproxy_worker_{name}" for name in ("connections", "requests_total", "restarts_total")})

    def test_one_that_drains_counts_with_its_successor(self) -> None:
        """A series stands once."""
        serving: WorkerFigures = WORKERS.each[0]
        draining = attrs.evolve(serving, state="draining", began=START - 90, connections=2)
        samples = self.samples(Workers((serving, draining), WORKERS.lost))
        self.assertEqual((samples["lbproxy_worker_connections", "0"], samples["lbproxy_workers", ""]), (9, 1))
        self.assertEqual(samples["lbproxy_worker_start_time_seconds", "0"], START - 4)

    def test_what_was_lost(self) -> None:
        """Of all that have ended."""
        samples = self.samples()
        names = ("exchanges_lost", "connections_lost", "exchanges_unreported")
        self.assertEqual([samples[f"lbproxy_workers_{name}_total", ""] for name in names], [3, 5, 2])


class ProcessTests(SynchronousTestCase):
    """What the system says of a process."""

    def test_of_this_process(self) -> None:
        """It has had time, as the system itself counts it."""
        times = os.times()
        seconds: Any = cpu_seconds(os.getpid())
        self.assertAlmostEqual(seconds, times.user + times.system, delta=1.0)
        self.assertGreater(resident_bytes(os.getpid()) or 0, 1 << 20)

    def test_of_none(self) -> None:
        """It is not known."""
        for pid in (None, 0, 1 << 40):
            self.assertEqual((cpu_seconds(pid), resident_bytes(pid)), (None, None))
