"""Several workers know of their backends what the supervisor knows: what one learns, probes find, and operators say."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

from .support import Backend, LoadBalancer, ask, eventually
from .test_config import ConfigCase

#: Connections that are made one after the other, so that all workers get some.
MANY = 40
#: Probes that do not come while a test lasts.
RARELY = ("--probe-interval", "3600", "--probe-down-interval", "3600")


def reached(port: int, path: str = "/") -> set[str]:
    """Who answers over many new connections."""
    return {ask(port, path).backend for _ in range(MANY)}


def reaches(port: int, names: str, path: str = "/") -> float:
    """Wait until these backends answer, and no others; gives how many seconds it took until the connections began that showed
    it."""
    began = time.monotonic()

    def so() -> float | None:
        now = time.monotonic()
        return now - began + 1e-9 if reached(port, path) == set(names) else None

    return eventually(f"{names} answer, and nobody else", so)


def children(pid: int) -> list[int]:
    """The processes that it has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Trap:
    """Listens where a backend was, and counts who comes: none of those who know that it is gone."""

    def __init__(self, place: str) -> None:
        host, _, port = place.rpartition(":")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, int(port)))
        self._socket.listen(100)

    def caught(self) -> int:
        """How many came since it was asked last; each is sent away."""
        count = 0
        while select.select([self._socket], [], [], 0)[0]:
            self._socket.accept()[0].close()
            count += 1
        return count

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


class WorkersCase(ConfigCase):
    """A load balancer with two workers."""

    def workers(self, *options: str, backends: list[Backend]) -> LoadBalancer:
        balancer = self.balancer("--workers", "2", *options, backends=backends)
        self.assertTwo(balancer)
        return balancer

    def assertTwo(self, balancer: LoadBalancer) -> None:
        self.assertEqual(len(children(balancer.process.pid)), 2)

    def told(self, balancer: LoadBalancer, method: str, path: str, body: str = "") -> Any:
        answer = ask(balancer.admin_port, path, method, body.encode())
        self.assertIn(answer.status, (200, 201, 204), answer.body)
        return answer


class OperatorTests(WorkersCase):
    """What an operator says reaches all workers."""

    def test_what_is_wanted_of_backends_and_who_they_are(self) -> None:
        """Drained, back again, another one, and gone: over many new connections, whichever worker takes them, a moment after it
        was said."""
        a, b, c = self.backends("abc")
        balancer = self.workers("--admin-writable", *RARELY, backends=[a, b])
        port = balancer.port
        self.assertEqual(reached(port), {"a", "b"})
        balancer.wish(a, "drain")
        seconds = reaches(port, "b")
        self.assertEqual(reached(port), {"b"})
        self.assertLess(seconds, 2)  # the promise is 0.1; a machine that has much to do must not fail the test
        balancer.wish(a, "ready")
        reaches(port, "ab")
        self.told(balancer, "POST", "/pools/default/backends", c.place)
        balancer.wait_state(c, "up")
        reaches(port, "abc")
        self.told(balancer, "POST", f"/pools/default/backends/{a.place}/weight", "1000")
        eventually("the heavy one gets nearly all", lambda: [ask(port).backend for _ in range(MANY)].count("a") >= MANY - 4)
        self.told(balancer, "DELETE", f"/pools/default/backends/{a.place}")
        reaches(port, "bc")

    def test_a_new_worker_knows_what_was_said_before(self) -> None:
        """Each in its turn is killed: no connection leads to who is drained, or was found down, or has been taken out."""
        a, b, c, d = self.backends("abcd")
        balancer = self.workers("--admin-writable", *RARELY, backends=[a, b, c, d])
        balancer.wish(a, "drain")
        self.told(balancer, "DELETE", f"/pools/default/backends/{b.place}")
        c.stop()
        eventually("it is found down", lambda: reached(balancer.port) == {"d"} and balancer.of(c)["state"] == "down")
        trap = Trap(c.place)
        self.addCleanup(trap.close)
        for worker in children(balancer.process.pid):
            self.kill(balancer, worker)
            self.assertEqual(reached(balancer.port), {"d"})
        self.assertEqual(trap.caught(), 0)

    def kill(self, balancer: LoadBalancer, worker: int) -> None:
        """Another one takes its place."""

        def replaced() -> bool:
            found = children(balancer.process.pid)
            return worker not in found and len(found) == 2

        os.kill(worker, signal.SIGKILL)
        eventually("there is another one", replaced)

    def test_a_file_of_backends_and_pools_that_come_and_go(self) -> None:
        """A change of the file is every worker's; so is a pool that a reload brings, whose backends a file names, and takes."""
        a, b, c = self.backends("abc")
        self.write(f'["{a.place}"]', "app.json")
        self.write(f'["{c.place}"]', "new.json")
        top = "workers = 2\nadmin-writable = true\n[pools.app]\nbackends = { file = 'app.json' }\n"
        more = "[pools.new]\nbackends = { file = 'new.json' }\n[[routes]]\npath-prefix = '/new'\npool = 'new'\n"
        last = "[[routes]]\npool = 'app'\n"
        self.write(top + last)
        balancer = self.serving()
        self.assertTwo(balancer)
        self.assertEqual(reached(balancer.port), {"a"})
        self.write(f'["{b.place}"]', "app.json")
        reaches(balancer.port, "b")
        for _ in range(2):
            self.write(top + more + last)
            self.assertTrue(self.reload(balancer)["ok"])
            self.assertEqual((reached(balancer.port, "/new"), reached(balancer.port)), ({"c"}, {"b"}))
            self.told(balancer, "POST", "/pools/new/backends", a.place)
            reaches(balancer.port, "ac", "/new")
            self.write(top + last)
            self.assertTrue(self.reload(balancer)["ok"])
            self.assertEqual(reached(balancer.port, "/new"), {"b"})


class TrafficTests(WorkersCase):
    """What one worker learns from traffic, all know."""

    def test_one_finds_a_backend_gone_and_all_leave_it_alone(self) -> None:
        """The supervisor says which of them it was; and a moment later nobody goes there, though somebody listens again."""
        a, b = self.backends("ab")
        balancer = self.workers(*RARELY, backends=[a, b])
        a.stop()
        self.assertEqual({ask(balancer.port).backend for _ in range(2)}, {"b"})  # at least one of them was retried
        about = balancer.wait_state(a, "down")
        self.assertRegex(about["reason"], r"^refused: .* \(worker [01]\)$")
        self.assertEqual(about["source"], "traffic")
        self.assertEqual([event["reason"] for event in balancer.events() if event["now"] == "down"], [about["reason"]])
        trap = Trap(a.place)
        self.addCleanup(trap.close)
        eventually("nobody goes there", lambda: reached(balancer.port) == {"b"} and not trap.caught())
        self.assertEqual((reached(balancer.port), trap.caught()), ({"b"}, 0))

    def test_a_probe_lets_it_back_everywhere(self) -> None:
        """What traffic took out is probed soon, by the supervisor; when it is well, all workers use it again."""
        a, b = self.backends("ab")
        balancer = self.workers("--probe-interval", "3600", "--probe-down-interval", "0.2", backends=[a, b])
        a.stop()
        self.assertEqual(reached(balancer.port), {"b"})
        balancer.wait_state(a, "down")
        a.start()
        balancer.wait_state(a, "up")
        reaches(balancer.port, "ab")
        self.assertEqual(balancer.of(a)["source"], "probe")

    def test_an_ejection_is_everybodys_and_ends(self) -> None:
        """One that answers 502 is out for its time, by which of the workers it may be, and is tried again then."""
        a, b = self.backends("ab")
        balancer = self.workers("--eject-time", "1", "--eject-failures", "2", *RARELY, backends=[a, b])
        a.direct("/fault?kind=status&code=502")
        eventually("it is out", lambda: (ask(balancer.port), balancer.of(a)["state"] == "down")[1])
        self.assertRegex(balancer.of(a)["reason"], r"^2 failures in a row .*: 502 \(worker [01]\); ejected for [1248] s$")
        a.direct("/fault?kind=none")
        balancer.wait_state(a, "up")
        reaches(balancer.port, "ab")

    def test_two_workers_do_not_take_out_all(self) -> None:
        """Both backends fail, and both workers see it: one stays, for the machine."""
        a, b = self.backends("ab")
        balancer = self.workers("--eject-time", "60", "--eject-limit", "60", "--eject-failures", "1", *RARELY, backends=[a, b])
        for backend in (a, b):
            backend.direct("/fault?kind=status&code=502")
        for _ in range(MANY):
            ask(balancer.port)
        states = [one["state"] for one in balancer.pool()["backends"]]
        self.assertEqual(sorted(states), ["down", "up"])


