"""With several workers, what operators see is the machine's: summed, and with what was lost."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from .support import PATIENCE, Backend, IntegrationTestCase, LoadBalancer, ask, eventually, send


class WorkersTestCase(IntegrationTestCase):
    """Two workers before one backend."""

    def start(self, backend: Backend, *lines: str) -> LoadBalancer:
        """A balancer of two workers, which both serve."""
        path = self.folder / "lbproxy.toml"
        text = "\n".join(["workers = 2", f'backends = ["{backend.place}"]', *lines, ""])
        path.write_text(text)
        balancer = self.balancer("--config", str(path), backends=[])
        self.serving(balancer)
        return balancer

    def serving(self, balancer: LoadBalancer) -> list[Any]:
        """Wait until both serve, and return what ``/status`` says of them."""

        def both() -> Any:
            workers = balancer.admin("/status").json()["workers"]
            return workers if [one["state"] for one in workers] == ["serving", "serving"] else None

        return list(eventually("both workers serve", both))

    def whole_lines(self, path: Path, count: int) -> list[str]:
        """Wait until the log has so many lines, and return them; each must be whole."""
        eventually(f"{count} lines", lambda: path.exists() and path.read_bytes().count(b"\n") >= count)
        lines = path.read_text().splitlines()
        for line in lines:
            self.assertRegex(line, r'\A127\.0\.0\.1 - - \[[^]]*\] "GET /\S* HTTP/1\.1" 200 \d+ "-" "[^"]*"\Z')
        return lines


class SumTests(WorkersTestCase):
    """What all have done together."""

    def test_status_metrics_and_the_access_log_agree_on_what_all_workers_did(self) -> None:
        """300 requests over 60 connections: each is counted once, and has its line."""
        backend, log = self.backend(), self.folder / "access.log"
        balancer = self.start(backend, f'access-log = "{log}"')
        for client in range(60):
            connection = self.connection(balancer.port)
            for number in range(5):
                self.assertAnswered(send(connection, f"/{client}/{number}"))
        status = balancer.admin("/status").json()
        (pool,) = status["pools"]
        (member,) = pool["backends"]
        self.assertEqual((pool["requests"], pool["statuses"], pool["in_flight"]), (300, {"200": 300}, 0))
        self.assertEqual((member["requests"], member["statuses"], member["in_flight"]), (300, {"200": 300}, 0))
        self.assertEqual((status["connections"]["accepted"], status["connections"]["open"]), (60, 60))
        self.assert_workers(status)
        self.assertEqual(balancer.metrics()("lbproxy_backend_connects_total"), member["idle_connections"])
        self.assert_metrics(balancer)
        lines = self.whole_lines(log, 300)
        wanted = sorted(f"/{client}/{number}" for client in range(60) for number in range(5))
        self.assertEqual(sorted(line.split()[6] for line in lines), wanted)

    def assert_workers(self, status: Any) -> None:
        """Each is known by its own figures, and these sum up."""
        workers = status["workers"]
        self.assertEqual([one["number"] for one in workers], [0, 1])
        self.assertEqual(sum(one["requests"] for one in workers), 300)
        self.assertEqual(sum(one["connections"] for one in workers), 60)
        self.assertTrue(all(one["requests"] for one in workers), "one of them had nothing to do")
        self.assertEqual(len({one["pid"] for one in workers} | {status["supervisor"]["pid"]}), 3)
        for one in (*workers, status["supervisor"]):
            self.assertGreater(one["cpu"], 0)
            self.assertGreater(one["memory"], 1 << 20)
        self.assertEqual([(one["restarts"], one["last_end"], one["in_flight"]) for one in workers], [(0, None, 0)] * 2)
        self.assertEqual(status["workers_lost"], {"exchanges": 0, "connections": 0, "unreported": 0})

    def assert_metrics(self, balancer: LoadBalancer) -> None:
        """They say the same."""
        total = balancer.metrics()
        for name, value in (
            ("lbproxy_pool_requests_total", 300),
            ("lbproxy_pool_request_duration_seconds_count", 300),
            ("lbproxy_backend_responses_total", 300),
            ("lbproxy_frontend_connections_total", 60),
            ("lbproxy_frontend_connections", 60),
            ("lbproxy_worker_requests_total", 300),
            ("lbproxy_worker_connections", 60),
            ("lbproxy_workers", 2),
            ("lbproxy_workers_exchanges_lost_total", 0),
            ("lbproxy_access_log_dropped_total", 0),
        ):
            self.assertEqual(total(name), value, name)
        self.assertGreater(total("lbproxy_worker_cpu_seconds_total", worker="1"), 0)

    def test_all_workers_follow_a_log_that_is_renamed(self) -> None:
        """After a rotation, the lines of both are in the new file."""
        backend, log = self.backend(), self.folder / "access.log"
        balancer = self.start(backend, f'access-log = "{log}"')
        self.ask_often(balancer, 40)
        self.whole_lines(log, 40)
        moved = log.rename(self.folder / "access.log.1")
        self.ask_often(balancer, 40)
        self.whole_lines(log, 40)
        self.assertEqual(len(moved.read_text().splitlines()), 40)

    def test_a_reload_takes_all_workers_to_another_log(self) -> None:
        """Each line is in the log that was the right one when its exchange ended."""
        backend, first, second = self.backend(), self.folder / "first.log", self.folder / "second.log"
        balancer = self.start(backend, f'access-log = "{first}"', "watch = false")
        self.ask_often(balancer, 20)
        config = self.folder / "lbproxy.toml"
        config.write_text(config.read_text().replace("first.log", "second.log"))
        balancer.process.signal(signal.SIGHUP)
        eventually("the reload is over", lambda: balancer.admin("/status").json()["reload"]["last"])
        self.ask_often(balancer, 20)
        self.whole_lines(second, 20)
        self.assertEqual(len(self.whole_lines(first, 20)), 20)
        self.assertEqual(balancer.pool()["requests"], 40)

    def ask_often(self, balancer: LoadBalancer, times: int) -> None:
        """Ask on connections of their own."""
        for _ in range(times):
            self.assertAnswered(ask(balancer.port))


class LossTests(WorkersTestCase):
    """A worker is killed."""

    def test_what_was_in_a_killed_workers_hands_is_counted(self) -> None:
        """As many exchanges are lost as the clients say, and nothing of them runs on in the figures."""
        backend = self.backend()
        balancer = self.start(backend)
        asked = self.at_once(12, lambda: _fate(balancer.port))
        eventually("all twelve run", lambda: balancer.pool()["in_flight"] == 12)
        before = balancer.admin("/status").json()["workers"]
        victim = max(before, key=lambda one: one["in_flight"])
        self.assertEqual(sum(one["in_flight"] for one in before), 12)
        os.kill(victim["pid"], signal.SIGKILL)
        eventually("it is replaced", lambda: balancer.admin("/status").json()["workers"][victim["number"]]["restarts"])
        self.serving(balancer)
        for _ in range(12):
            backend.direct("/step")
        fates = [one.result(PATIENCE) for one in asked]
        lost = fates.count("lost")
        self.assertEqual((lost, fates.count("200")), (victim["in_flight"], 12 - victim["in_flight"]))
        self.assert_booked(balancer, victim, lost)

    def assert_booked(self, balancer: LoadBalancer, victim: Any, lost: int) -> None:
        """``/status``, ``/metrics`` and ``/events`` say what was lost."""
        status = eventually("all have ended", lambda: _idle(balancer.admin("/status").json()))
        self.assertEqual(status["workers_lost"], {"exchanges": lost, "connections": lost, "unreported": 0})
        end = status["workers"][victim["number"]]["last_end"]
        self.assertEqual((end["exchanges_lost"], end["connections_lost"], end["unreported"]), (lost, lost, 0))
        self.assertEqual(status["pools"][0]["requests"], 12 - lost)
        self.assertEqual((status["connections"]["accepted"], status["connections"]["open"]), (12, 0))
        self.assertEqual(status["pools"][0]["backends"][0]["in_flight"], 0)
        self.assertEqual(balancer.metrics()("lbproxy_workers_exchanges_lost_total"), lost)
        events = [one for one in balancer.events() if one["address"] == f"worker {victim['number']}"]
        self.assertEqual([(one["was"], one["now"]) for one in events], [("", "up"), ("up", "down"), ("down", "up")])
        self.assertIn(f"{lost} exchanges", events[1]["reason"])
        self.assertTrue(re.search(rf"worker {victim['number']}: up -> down \(supervisor\): ", balancer.process.output))


def _idle(status: Any) -> Any:
    """The status once nothing runs and nobody is connected."""
    return status if not (status["pools"][0]["in_flight"] or status["connections"]["open"]) else None


def _fate(port: int) -> str:
    """What becomes of a request that takes as long as the test wants."""
    try:
        return str(ask(port, "/hold").status)
    except OSError:
        return "lost"
