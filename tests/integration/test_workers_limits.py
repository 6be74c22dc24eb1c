"""Limits that are the machine's, with real workers."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import socket
import time
from collections import Counter
from typing import Any

from .support import LOOPBACK, PATIENCE, Answer, IntegrationTestCase, Load, LoadBalancer, ask, eventually, send, settled

WORKERS = 2


class WorkersLimitsTests(IntegrationTestCase):
    """Two workers keep to what one would, within what is said."""

    def workers(self, *options: str, text: str = "", backends: Any) -> LoadBalancer:
        """Two of them that serve, with what further stands in the file."""
        path = self.folder / "lbproxy.toml"
        path.write_text(f"workers = {WORKERS}\n{text}")
        balancer = self.balancer("--config", str(path), *options, backends=backends)
        eventually("both serve", lambda: self.serving(balancer) == WORKERS, 2 * PATIENCE)
        return balancer

    def serving(self, balancer: LoadBalancer) -> int:
        """How many workers do."""
        return sum(worker["state"] == "serving" for worker in balancer.admin("/status").json()["workers"])

    def spread(self, balancer: LoadBalancer, count: int) -> list[http.client.HTTPConnection]:
        """So many connections, which the system spreads over the workers."""
        connections = [self.connection(balancer.port) for _ in range(count)]
        for connection in connections:
            connection.connect()
        return connections

    def test_attempts_in_flight(self) -> None:
        """A backend that may have three never has more than one more for the second worker, and all that it may; who waits is
        served, whichever worker it came to."""
        backend = self.backend()
        balancer = self.workers(backends=[f"{backend.place}:max-in-flight=3"])
        load = Load(self, balancer.port, clients=20)
        load.wait_for(300)
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertIn(backend.seen()["most"], (3, 3 + WORKERS - 1))

    def test_places_of_workers_that_were_killed(self) -> None:
        """They are free at once: for the others, and for those that take the place of the dead."""
        backend = self.backend()
        balancer = self.workers(backends=[f"{backend.place}:max-in-flight=2"])
        for connection in self.spread(balancer, 2):
            connection.request("GET", "/hold")
        eventually("both places are taken", lambda: backend.seen()["active"] == 2)
        waiting = self.at_once(1, lambda: ask(balancer.port, "/waits"))[0]
        eventually("somebody waits", lambda: balancer.pool()["queue"]["waiting"] == 1)
        before = {worker["pid"] for worker in balancer.admin("/status").json()["workers"]}
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        self.assertIsNotNone(waiting.exception(PATIENCE))  # it was in the hands of one of them
        for _ in range(10):
            self.assertAnswered(self.ask_again(balancer))

    def ask_again(self, balancer: LoadBalancer) -> Answer:
        """On a connection of its own, as soon as there is a worker that takes it."""

        def answer() -> Answer | None:
            try:
                return ask(balancer.port)
            except (OSError, http.client.HTTPException):
                return None  # it came to a worker that was about to be killed

        return eventually("an answer", answer)

    def test_a_rate(self) -> None:
        """A client that comes over twenty connections gets the burst and what has come meanwhile. What both workers gave before
        they knew of each other is made good by then; each may have given a token or two in the last moment."""
        rate, burst = 5.0, 20
        filters = f'[filters.rate]\ntype = "rate-limit"\nrate = {rate}\nburst = {burst}\n'
        text = filters + '[[routes]]\nname = "all"\npool = "default"\nfilters = ["rate"]\n'
        backend = self.backend()
        balancer = self.workers(text=text, backends=[backend])
        connections = itertools.cycle(self.spread(balancer, 20))
        answers: Counter[int] = Counter()
        began, passed = time.monotonic(), 0.0
        while passed < 3.0:
            answers[send(next(connections), "/").status] += 1
            passed = time.monotonic() - began
            time.sleep(0.01)  # a client that takes its time
        self.assertLessEqual(answers[200], burst + rate * passed + rate)
        self.assertGreaterEqual(answers[200], burst)
        self.assertEqual(answers.keys(), {200, 429})

    def test_connections(self) -> None:
        """There are no more than may be, but for what one worker accepts before it looks; the others wait and come in when there
        is room."""
        most = 6
        backend = self.backend()
        balancer = self.workers("--max-connections", str(most), backends=[backend])
        asking = [socket.create_connection((LOOPBACK, balancer.port), timeout=PATIENCE) for _ in range(20)]
        for one in asking:
            self.addCleanup(one.close)
            one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            one.setblocking(False)

        def answered() -> list[socket.socket]:
            return [one for one in asking if _here(one)]

        eventually("as many are served as may be", lambda: len(answered()) >= most)
        count = settled(lambda: len(answered()))
        self.assertEqual(balancer.metrics()("lbproxy_frontend_connections_limit"), most)
        self.assertLessEqual(count, most + WORKERS * max(1, most // WORKERS))
        served = 0
        while asking:
            here = eventually("the next ones come in", answered)
            served += len(here)
            for one in here:
                asking.remove(one)
                one.close()
        self.assertEqual(served, 20)


def _here(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
