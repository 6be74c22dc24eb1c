"""Several workers under load: killing one costs what it had in hand and ``/status`` says so; reloads and upgrades cost nothing.

``LBPROXY_WORKERS_SECONDS=60`` kills for longer, every 5 seconds; ``LBPROXY_UPGRADES=20`` upgrades as often, and
``LBPROXY_RELOADS=20`` reloads.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.soak.clients import Client, Crowd, Tunnel, Upload
from bench.soak.engine import makers
from bench.soak.ledger import NOTICED, not_explained, not_owned_up
from bench.workers.looking import connections_of

from .support import LOOPBACK, TWISTD, Backend, IntegrationTestCase, LoadBalancer, Process, ask, eventually, free_port

SECONDS = float(os.environ.get("LBPROXY_WORKERS_SECONDS", "9"))
#: From one kill to the next.
EVERY = 5.0 if SECONDS >= 60 else 3.0
RELOADS = int(os.environ.get("LBPROXY_RELOADS", "8"))
UPGRADES = int(os.environ.get("LBPROXY_UPGRADES", "2"))
WORKERS = 2

#: Connections of these are ended by nobody but a worker's death.
LASTING = ((Client, 8, (0, 0), 0.003), (Upload, 3, (0, 0), 0.003), (Tunnel, 6, (0, 0), 0.003))
#: These come to their end, so that a drain does too.
PASSING = ((Client, 6, (0, 0), 0.003), (Upload, 3, (0, 0), 0.003), (Tunnel, 5, (10, 40), 0.003))


def seen_by(backends: list[Backend]) -> set[str]:
    """The targets that they have been asked for."""
    return {line.split()[1] for backend in backends for line in backend.seen()["requests"]}


class KillTests(IntegrationTestCase):
    """``kill -9``."""

    def crowd(self, port: int) -> Crowd:
        """Clients at work."""
        crowd = Crowd(port, list(makers(LASTING)))
        self.addCleanup(crowd.stop)
        answered = crowd.ledger.answered
        eventually("clients are at work", lambda: answered["get"] > 50 and answered["upload"] > 0)
        return crowd

    def wait_connected(self, balancer: LoadBalancer, restarts: int) -> Any:
        """Wait until so many workers have been replaced, and each client has its connection again; what ``/status`` says then."""
        clients = sum(count for _, count, *_ in LASTING)

        def connected() -> Any:
            status = balancer.admin("/status").json()
            workers = status["workers"]
            if sum(worker["restarts"] for worker in workers) < restarts or not all(worker["pid"] for worker in workers):
                return None
            return status if sum(connections_of(balancer.process.pid, balancer.port, status)) == clients else None

        return eventually("all clients are connected and all workers run", connected)

    def test_what_is_lost_is_what_killed_workers_had_in_hand(self) -> None:
        """Connections that broke are exactly those that ``/status`` says were lost. Clients close none themselves while workers
        are killed, and all are connected when one is, so none is on its way in or out; and those that wait in a dead worker's
        queue belong to its successor.

        Requests that failed are those that were lost, but for what cannot be known on both sides. One that no backend has seen
        may have been waiting for the worker to read it: it failed, and had not begun. And a worker may be killed between sending
        the end of an answer and counting it, once each time. All else succeeded: what failed did so when a worker was killed.
        """
        backends = self.backends("abc")
        balancer = self.balancer("--workers", str(WORKERS), backends=backends)
        crowd = self.crowd(balancer.port)
        ledger, kills, began = crowd.ledger, [], time.monotonic()
        for turn in range(int(SECONDS / EVERY)):
            time.sleep(max(0.0, began + turn * EVERY - time.monotonic()))
            status = self.wait_connected(balancer, turn)
            kills.append(time.monotonic())
            os.kill(status["workers"][turn % WORKERS]["pid"], signal.SIGKILL)
        status = self.wait_connected(balancer, len(kills))
        time.sleep(max(0.0, kills[-1] + NOTICED - time.monotonic()))
        failures, broken = list(ledger.failures), len(ledger.broken)
        crowd.stop()
        kinds = Counter(failure.kind for failure in failures)
        self.assertEqual(not_explained(failures, kills), [])
        self.assertEqual(status["workers_lost"]["connections"], broken, (status["workers_lost"], kinds))
        self.assertEqual(not_owned_up(failures, len(kills), status["workers_lost"], seen_by(backends)), "", kinds)
        self.assertGreater(kinds["tunnel"], 0)
        self.assertEqual(sum(worker["restarts"] for worker in status["workers"]), len(kills))


class UntroubledCase(IntegrationTestCase):
    """Reloads and upgrades of a balancer whose file says another thing each time."""

    def setUp(self) -> None:
        super().setUp()
        self.app = self.backends("abc")
        self.port, self.admin_port = free_port(), free_port()
        self.config, self.pidfile = self.folder / "lb.toml", self.folder / "lb.pid"
        self.write(0)
        options = ["-n", f"--pidfile={self.pidfile}", "lbproxy", "--config", str(self.config)]
        self.process = Process(self, [*TWISTD, *options])
        self.addCleanup(self.end)
        eventually("it answers", lambda: self.process.ended or self.answers())
        self.assertFalse(self.process.ended, self.process.output)
        self.crowd = Crowd(self.port, list(makers(PASSING)))
        self.addCleanup(self.crowd.stop)
        answered = self.crowd.ledger.answered
        eventually("all kinds of clients are at work", lambda: min(answered[kind] for kind in ("get", "upload", "tunnel")) > 1)

    def write(self, turn: int) -> None:
        """A file that differs from the one before."""
        said = {
            "listen": f"tcp:{self.port}:interface={LOOPBACK}",
            "admin": f"tcp:{self.admin_port}:interface={LOOPBACK}",
            "admin-writable": True,
            "workers": WORKERS,
            "retries": 3 + turn % 2,
            "backends": [f"{backend.place}:weight={1 + (turn + number) % 2}" for number, backend in enumerate(self.app)],
        }
        self.config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()))

    def answers(self) -> bool:
        """Whether its operators' listener does."""
        try:
            return ask(self.admin_port, "/healthz").status == 200
        except OSError:
            return False

    def pid(self) -> int:
        """Of the one that serves now; 0: it is not known just now."""
        try:
            return int(self.pidfile.read_text())
        except (OSError, ValueError):
            return 0

    def end(self) -> None:
        """End whoever serves."""
        pid = self.pid()
        if pid and runs(pid):
            os.kill(pid, signal.SIGTERM)
            eventually("it ends", lambda: not runs(pid))

    def go_on(self) -> None:
        """Let each client come some steps further."""
        aim = self.crowd.ledger.total + 50
        eventually("50 more answers", lambda: self.crowd.ledger.total >= aim)


def runs(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class UntroubledTests(UntroubledCase):
    """What clients do not notice."""

    def test_reloads_lose_nothing(self) -> None:
        """No request fails, no connection or tunnel breaks: workers go over while they serve."""
        for turn in range(1, RELOADS + 1):
            self.write(turn)
            answer = ask(self.admin_port, "/reload", "POST")
            self.assertEqual(answer.status, 200, answer.body)
            self.go_on()
        self.crowd.stop()
        self.assertEqual((self.crowd.ledger.failures, self.crowd.ledger.broken), ([], []))
        self.assertNotRegex(self.process.output, "Traceback|Unhandled")

    def test_upgrades_lose_nothing(self) -> None:
        """A process that is replaced ends idle connections, as any server does, and a client may have been about to use one: such
        a request is sent again. Nothing else fails, no tunnel breaks, and each time there is another process afterwards."""
        for _ in range(UPGRADES):
            before = self.pid()
            os.kill(before, signal.SIGUSR2)
            eventually("another process serves", lambda: self.pid() not in (0, before), 60)  # noqa: B023
            eventually("the old one has ended", lambda: not runs(before), 60)  # noqa: B023
            self.assertTrue(runs(self.pid()), self.process.output)
            self.go_on()
        self.crowd.stop()
        self.assertEqual([failure for failure in self.crowd.ledger.failures if not failure.repeated], [])
        self.assertNotRegex(self.process.output, "Traceback|Unhandled")
