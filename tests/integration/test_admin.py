"""What operators see: ``/status``, ``/metrics``, ``/healthz``, and the access log."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import re
import select
import socket

from .support import IntegrationTestCase, ask, eventually


class AdminTests(IntegrationTestCase):
    """The administration listener."""

    def test_status_tells_each_backend_and_why_it_is_as_it_is(self) -> None:
        """The fields that are promised, with values that are true."""
        up, down = self.backends("ud")
        down.stop()
        balancer = self.balancer(backends=[f"{up.place}:weight=7", down])
        for _ in range(3):
            ask(balancer.port)
        answer = balancer.admin("/status")
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        (pool,) = answer.json()["pools"]
        self.assertLessEqual({"name", "policy", "backends"}, set(pool))
        first, second = pool["backends"]
        promised = {"address", "weight", "state", "in_flight", "requests", "failures", "last_change", "reason"}
        self.assertLessEqual(promised, set(first))
        self.assertEqual(
            [first[name] for name in ("address", "weight", "state", "in_flight", "requests", "failures")],
            [up.place, 7, "up", 0, 3, 0],
        )
        self.assertEqual((second["address"], second["weight"], second["state"]), (down.place, 1, "down"))
        self.assertIn("refused", second["reason"])
        changed = datetime.datetime.fromisoformat(second["last_change"].replace("Z", "+00:00"))
        self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - changed).total_seconds()), 60)

    def test_healthz(self) -> None:
        """200 while one backend is up, then 503, then 200 again."""
        backends = self.backends("ab")
        balancer = self.balancer("--probe-interval", "0.5", backends=backends)
        self.assertAnswered(balancer.admin("/healthz"))
        for backend, status in zip(backends, (200, 503), strict=True):
            backend.stop()
            balancer.wait_state(backend, "down")
            self.assertAnswered(balancer.admin("/healthz"), status)
        backends[0].start()
        balancer.wait_state(backends[0], "up")
        self.assertAnswered(balancer.admin("/healthz"))

    def test_metrics_add_up_with_what_was_sent(self) -> None:
        """They can be parsed, and each sum is that of the requests made here."""
        good, bad = self.backends("gb")
        balancer = self.balancer("--probe-interval", "60", backends=[good, bad])
        bad.stop()
        for _ in range(20):
            self.assertAnswered(ask(balancer.port))
        for _ in range(5):
            ask(balancer.port, "/", "POST", b"12345")
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            ask(balancer.port, "/cut?how=sized")
        ask(balancer.port, "/status?code=418")
        client = self.socket(balancer.port)
        client.sendall(b"nonsense\r\n\r\n")
        self.assertIn(b" 400 ", client.recv(1000))
        metrics = balancer.metrics()

        self.assertEqual(metrics("lbproxy_pool_requests_total", code="200"), 26)
        self.assertEqual(metrics("lbproxy_pool_requests_total", code="418"), 1)
        self.assertEqual(metrics("lbproxy_pool_requests_total"), 27)
        self.assertEqual(metrics("lbproxy_pool_ends_total", end="done"), 26)
        self.assertEqual(metrics("lbproxy_pool_ends_total", end="truncated"), 1)
        self.assertEqual(metrics("lbproxy_pool_request_duration_seconds_count"), 27)
        self.assertEqual(metrics("lbproxy_pool_request_duration_seconds_bucket", le="+Inf"), 27)
        self.assertEqual(metrics("lbproxy_pool_request_bytes_total"), 25)
        self.assertEqual(metrics("lbproxy_pool_in_flight"), 0)
        self.assertEqual(metrics("lbproxy_backend_requests_total", backend=good.place), 27)
        self.assertEqual(metrics("lbproxy_backend_failures_total", backend=good.place), 1)
        self.assertEqual(metrics("lbproxy_backend_requests_total", backend=bad.place), 4)
        self.assertEqual(metrics("lbproxy_backend_failures_total", backend=bad.place), 4)
        self.assertEqual(metrics("lbproxy_backend_up", backend=good.place), 1)
        self.assertEqual(metrics("lbproxy_backend_up", backend=bad.place), 0)
        self.assertEqual(metrics("lbproxy_frontend_connections_total"), 28)
        self.assertEqual(metrics("lbproxy_frontend_rejected_total"), 1)
        self.assertGreater(metrics("process_cpu_seconds_total"), 0)

    def test_it_is_read_only_and_tells_what_there_is(self) -> None:
        """Other methods are refused, other paths are answered 404; neither ever reaches a backend."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        for method in ("POST", "PUT", "DELETE"):
            self.assertAnswered(ask(balancer.admin_port, "/status", method, b""), 405)
        self.assertAnswered(balancer.admin("/elsewhere"), 404)
        self.assertEqual(ask(balancer.admin_port, "/status", "HEAD").body, b"")
        self.assertEqual(ask(balancer.port, "/status?code=200").backend, "a")  # not ours: a path like any other
        self.assertEqual(backend.seen()["requests"], ["GET /status?code=200 HTTP/1.1"])


class LimitTests(IntegrationTestCase):
    """More clients than there may be."""

    def test_clients_beyond_the_limit_wait_for_their_turn(self) -> None:
        """They are served when others leave; the administration answers all the time, and tells of it."""
        balancer = self.balancer("--max-connections", "3", backends=[self.backend()])
        clients = [self.socket(balancer.port) for _ in range(10)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        for count in range(3, 10):
            served = eventually(f"{count} are served", lambda: self.served(clients, 3))
            connections = balancer.admin("/status").json()["connections"]
            self.assertEqual((connections["open"], connections["accepted"], connections["limits"]["connections"]), (3, count, 3))
            served[0].close()
            clients.remove(served[0])
        metrics = balancer.metrics()
        self.assertEqual(metrics("lbproxy_frontend_connections_limit"), 3)
        self.assertGreaterEqual(metrics("lbproxy_frontend_limits_total", limit="connections"), 3)
        said = "3 client connections are open, as many as --max-connections allows"
        self.assertEqual(balancer.process.output.count(said), 1)

    @staticmethod
    def served(clients: list[socket.socket], number: int) -> list[socket.socket] | None:
        """Those for whom an answer is here, once there are that many."""
        served = select.select(clients, [], [], 0)[0]
        return served if len(served) == number else None


class AccessLogTests(IntegrationTestCase):
    """A line about each exchange."""

    def test_combined_to_a_file(self) -> None:
        """Each field in its place; what a client sent cannot forge a line."""
        path = self.folder / "access.log"
        backend = self.backend()
        balancer = self.balancer("--access-log", str(path), backends=[backend])
        ask(balancer.port, "/big?size=321", Referer="http://a.example/", User_Agent='evil" \\ \xe9')
        ask(balancer.port, "/", "POST", b"x")
        ask(balancer.port, "/status?code=204", "HEAD")
        lines = eventually("three lines are written", lambda: self.lines(path, 3))
        pattern = r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(.*)" (\d+) (\d+) "(.*)" "(.*)"'
        found = [re.fullmatch(pattern, line) for line in lines]
        self.assertEqual(
            found[0] and found[0].groups(),
            ("GET /big?size=321 HTTP/1.1", "200", "321", "http://a.example/", r"evil\x22 \x5C \xE9"),
        )
        self.assertEqual(found[1] and found[1].group(1, 2), ("POST / HTTP/1.1", "200"))
        self.assertEqual(found[2] and found[2].groups(), ("HEAD /status?code=204 HTTP/1.1", "204", "0", "-", "-"))

    def test_json_to_a_file(self) -> None:
        """Each line is an object, with all attempts in it."""
        path = self.folder / "access.json"
        good, bad = self.backends("gb")
        balancer = self.balancer(
            "--access-log", str(path), "--access-log-format", "json", "--probe-interval", "60", backends=[good, bad]
        )
        bad.stop()
        for _ in range(2):
            ask(balancer.port, "/", "PUT", b"12345", Host="example.org")
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            ask(balancer.port, "/cut?how=sized")
        lines = [json.loads(line) for line in eventually("three lines are written", lambda: self.lines(path, 3))]
        first = lines[0]
        self.assertEqual(
            [first[name] for name in ("client", "method", "target", "status", "host", "request_bytes", "end")],
            ["127.0.0.1", "PUT", "/", 200, "example.org", 5, "done"],
        )
        self.assertGreater(first["duration"], 0)
        self.assertEqual(lines[2]["end"], "truncated")
        attempts = [[attempt["backend"] for attempt in line["attempts"]] for line in lines]
        self.assertEqual(sorted(attempts[:2], key=len), [[good.place], [bad.place] * 4 + [good.place]])

    def test_standard_output(self) -> None:
        """Lines stand there as they are, without a log's prefix."""
        balancer = self.balancer("--access-log", "-", backends=[self.backend()])
        ask(balancer.port, "/seen")
        eventually(
            "the line is written",
            lambda: re.search(r'^127\.0\.0\.1 - - \[.*\] "GET /seen HTTP/1\.1" 200 ', balancer.process.output, re.MULTILINE),
        )

    def test_nothing_is_lost_at_the_end(self) -> None:
        """Lines of the last moment are written before the process ends."""
        path = self.folder / "access.log"
        balancer = self.balancer("--access-log", str(path), backends=[self.backend()])
        for _ in range(50):
            ask(balancer.port)
        balancer.stop()
        self.assertEqual(len(path.read_text().splitlines()), 50)

    @staticmethod
    def lines(path, number: int) -> list[str] | None:
        """The file's lines, once there are that many."""
        lines = path.read_text().splitlines() if path.exists() else []
        return lines if len(lines) >= number else None
