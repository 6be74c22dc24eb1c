"""The status report names each worker, and what was lost with those that have ended."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred

from lbproxy.observe.processes import Loss, WorkerEnd, WorkerFigures, Workers

from ..support import START
from .support import SeveralCase

END = WorkerEnd(START - 5, "killed by SIGKILL", Loss(3, 5, 2))
#: One that serves, whose predecessor was killed, and a place that has no process just now.
WORKERS = Workers(
    (
        WorkerFigures(
            number=0, pid=os.getpid(), state="serving", began=START - 4, connections=7, in_flight=2, requests=40, restarts=1,
            last_end=END,
        ),
        WorkerFigures(
            number=1, pid=None, state="waiting", began=None, connections=0, in_flight=0, requests=0, restarts=0, last_end=None
        ),
    ),
    Loss(3, 5, 2),
)  # fmt: skip


class WorkerStatusTests(SeveralCase):
    """``/status`` of a supervisor."""

    def report(self, workers: Workers | None = WORKERS) -> Any:
        """What it says."""
        self.admin = self.make_site(processes=lambda: workers)
        return self.get_json("/status")

    def test_a_worker_is_known_by_its_figures(self) -> None:
        """And by what the system says of its process."""
        worker = self.report()["workers"][0]
        self.assertGreater(worker.pop("cpu"), 0)
        self.assertGreater(worker.pop("memory"), 1 << 20)
        self.assertEqual(worker.pop("age"), 4.0)
        end = worker.pop("last_end")
        self.assertEqual(worker, {
            "number": 0, "pid": os.getpid(), "state": "serving", "connections": 7, "in_flight": 2, "requests": 40, "restarts": 1,
        })  # fmt: skip
        self.assertEqual(end, {
            "time": "1970-01-01T00:16:35.000Z", "reason": "killed by SIGKILL", "exchanges_lost": 3, "connections_lost": 5,
            "unreported": 2,
        })  # fmt: skip

    def test_a_place_without_a_process_is_there(self) -> None:
        """What cannot be known of it is null."""
        worker = self.report()["workers"][1]
        self.assertEqual((worker["state"], worker["number"]), ("waiting", 1))
        self.assertEqual({worker[name] for name in ("pid", "age", "cpu", "memory", "last_end")}, {None})

    def test_what_was_lost_is_summed(self) -> None:
        """Of all that have ended so far."""
        self.assertEqual(self.report()["workers_lost"], {"exchanges": 3, "connections": 5, "unreported": 2})

    def test_the_supervisor_has_figures_of_its_own(self) -> None:
        """It carries nothing, and yet takes memory."""
        supervisor = self.report()["supervisor"]
        self.assertEqual(supervisor["pid"], os.getpid())
        self.assertGreater(supervisor["memory"], 1 << 20)

    def test_one_process_has_no_workers(self) -> None:
        """Then all of it is null."""
        report = self.report(None)
        self.assertEqual([report[name] for name in ("workers", "workers_lost", "supervisor")], [None] * 3)

    def test_pages_of_figures_wait_for_those_of_now(self) -> None:
        """And the others do not."""
        asked: list[Deferred[None]] = []

        def refresh() -> Deferred[None]:
            asked.append(Deferred())
            return asked[-1]

        self.admin = self.make_site(refresh=refresh)
        for path in ("/status", "/metrics", "/routes", "/pools", "/pools/app"):
            self.assertEqual(self.ask(path, method="GET"), b"", path)
        self.assertEqual(len(asked), 5)
        for path in ("/healthz", "/events", "/"):
            self.assertNotEqual(self.ask(path, method="GET"), b"", path)
        self.assertEqual(len(asked), 5)
