"""``:max-in-flight``, and the line of those who wait for a place."""

from __future__ import annotations

import json
from concurrent.futures import Future

from .support import Answer, Backend, IntegrationTestCase, Load, LoadBalancer, ask, eventually


class LimitTests(IntegrationTestCase):
    """More requests than backends may have."""

    def test_a_limit_is_never_exceeded_and_nobody_is_turned_away(self) -> None:
        """Twelve clients at two backends that may have two requests each: these count themselves."""
        backends = self.backends("ab")
        balancer = self.balancer(backends=[f"{backend.place}:max-in-flight=2" for backend in backends])
        load = Load(self, balancer.port, clients=12)
        load.wait_for(400)
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertEqual([backend.seen()["most"] for backend in backends], [2, 2])
        queue = balancer.pool()["queue"]
        self.assertGreater(queue["queued"], 100)
        self.assertEqual((queue["waiting"], queue["turned_away"]), (0, 0))
        self.assertEqual(balancer.metrics()("lbproxy_pool_queued_total"), queue["queued"])

    def hold(self, balancer: LoadBalancer, number: int) -> Future[Answer]:
        """Ask for something that takes as long as the test wants."""
        return self.at_once(1, lambda: ask(balancer.port, f"/hold?{number}"))[0]

    def wait_in_line(self, balancer: LoadBalancer, number: int) -> list[Future[Answer]]:
        """Let so many join the line, one after the other."""
        waiting = []
        for count in range(1, number + 1):
            waiting.append(self.hold(balancer, count))
            self.waiting(balancer, count)
        return waiting

    def waiting(self, balancer: LoadBalancer, number: int) -> None:
        """Wait until so many are in line."""
        eventually(f"{number} wait", lambda: balancer.pool()["queue"]["waiting"] == number)

    def at_work(self, backend: Backend, number: int) -> None:
        """Wait until it has had so many requests."""
        eventually(f"{backend.name} has {number} requests", lambda: len(backend.seen()["requests"]) == number)

    def test_who_came_first_is_served_first_and_a_full_line_says_so_at_once(self) -> None:
        """Beyond ``--queue`` the answer is 503 with Retry-After, and the log has its word for it."""
        backend = self.backend()
        path = self.folder / "access.json"
        log = ["--access-log", str(path), "--access-log-format", "json"]
        balancer = self.balancer("--queue", "2", *log, backends=[f"{backend.place}:max-in-flight=1"])
        asked = [self.hold(balancer, 0)]
        self.at_work(backend, 1)
        asked += self.wait_in_line(balancer, 2)
        refused = ask(balancer.port, "/refused")
        self.assertAnswered(refused, 503)
        self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
        for count, answer in enumerate(asked, 1):
            self.at_work(backend, count)
            backend.direct("/step")
            self.assertAnswered(answer.result())
        self.assertEqual(backend.seen()["requests"], [f"GET /hold?{number} HTTP/1.1" for number in range(3)])
        self.assertEqual(backend.seen()["most"], 1)
        lines = eventually("all is logged", lambda: path.read_text().splitlines()[3:] and path.read_text().splitlines())
        ends = [(line["target"], line["status"], line["end"], line["attempts"] == []) for line in map(json.loads, lines)]
        wanted = [(f"/hold?{number}", 200, "done", False) for number in range(3)]
        self.assertEqual(ends, [("/refused", 503, "queue-full", True), *wanted])
        self.assertEqual(balancer.metrics()("lbproxy_pool_queue_full_total"), 1)

    def test_nobody_waits_longer_than_the_queue_timeout(self) -> None:
        """503, with Retry-After; the one that has the place keeps it."""
        backend = self.backend()
        balancer = self.balancer("--queue-timeout", "0.3", backends=[f"{backend.place}:max-in-flight=1"])
        first = self.hold(balancer, 0)
        self.at_work(backend, 1)
        refused = ask(balancer.port)
        self.assertAnswered(refused, 503)
        self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
        backend.direct("/step")
        self.assertAnswered(first.result())
        self.assertEqual(balancer.pool()["ends"], {"queue-timeout": 1, "done": 1})

    def test_a_killed_backends_waiters_go_elsewhere(self) -> None:
        """Those in line, and the one that was at it: all are answered by the other, one at a time."""
        dead, alive = self.backends("da")
        balancer = self.balancer(backends=[f"{backend.place}:max-in-flight=1" for backend in (dead, alive)])
        asked = [self.hold(balancer, 0), self.hold(balancer, 0)]
        for backend in (dead, alive):
            self.at_work(backend, 1)
        asked += self.wait_in_line(balancer, 2)
        dead.stop()
        for count in range(1, 5):
            self.at_work(alive, count)
            alive.direct("/step")
        answers = [answer.result() for answer in asked]
        self.assertEqual([(answer.status, answer.backend) for answer in answers], [(200, "a")] * 4)
        self.assertEqual(alive.seen()["most"], 1)
