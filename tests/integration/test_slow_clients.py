"""Five hundred clients that are slow on purpose: each gets its end in time, and the others are served."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .support import LOOPBACK, PATIENCE, TWISTD, Backend, IntegrationTestCase, Load, LoadBalancer, Process, eventually, free_port

#: Seconds for a head, for a body before its rate counts, for a client that does not read, and for an idle one.
HEADER, GRACE, WRITE, IDLE = 2.0, 2.5, 2.0, 6.0
#: Bytes a second that a body must come at after that.
RATE = 1024
#: Seconds between two bytes of one that drips: far less than any time-out, so that silence is not what ends it.
DRIP = 0.25
#: Seconds by which an end may be late, for the sweep and for a busy machine; still sooner than what is idle ends. One that does
#: not read is late only when the kernel's buffers are full.
LATE = {"head": 3.0, "body": 3.0, "write": 6.0}
#: What the balancer's memory may grow by: for each that does not read twice what is read at once, for all others a few KiB.
ROOM = 16 << 20
#: Bytes of a response that the kernel takes from the balancer even when its client does not read, at most.
KERNEL = 4 << 20
with contextlib.suppress(OSError):
    KERNEL = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2])

# As an embedder would start it, with settings that are none of the command line's.
_TAC = """\
from lbproxy import LoadBalancerService, Pool, Settings, parse_backends
from twisted.application.service import Application
from twisted.internet import reactor

application = Application("slow")
LoadBalancerService(
    Pool(parse_backends([{backends!r}])),
    listen=("tcp:{port}:interface=127.0.0.1",),
    reactor=reactor,
    settings=Settings({settings}),
    admin="tcp:{admin_port}:interface=127.0.0.1",
).setServiceParent(application)
"""


class EmbeddedBalancer(LoadBalancer):
    """A balancer that an application has built for itself, in a process of its own.

    :param settings: its :class:`~lbproxy.Settings`.
    """

    def __init__(self, case: IntegrationTestCase, backends: Iterable[Backend], **settings: Any) -> None:
        places = ",".join(backend.place for backend in backends)
        named = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        for _ in range(5):  # what was a free port may be taken a moment later
            self.port, self.admin_port = free_port(), free_port()
            script = case.folder / "balancer.tac"
            script.write_text(_TAC.format(backends=places, port=self.port, admin_port=self.admin_port, settings=named))
            self.process = Process(case, [*TWISTD, "-n", "--pidfile=", "-y", str(script)])
            eventually("the load balancer answers", lambda: self.process.ended or self._answers())
            if not self.process.ended:
                break
            if "in use" not in self.process.output:
                raise AssertionError(f"the load balancer does not start; it wrote:\n{self.process.output}")
        self._case = case
        self._stopping = self._stopped = False
        case.addCleanup(self.stop)


class SlowClient:
    """A connection that says something at first, drips bytes after it, and waits for its end.

    :ivar phase: what the balancer will count it under.
    :ivar lasted: seconds until its end came; None while it has not.
    :ivar heard: what came before.
    """

    def __init__(self, port: int, phase: str, first: bytes, drip: bytes, *, reads: bool = True) -> None:
        self.phase = phase
        self.lasted: float | None = None
        self.heard = b""
        self._drip = drip
        self._reads = reads
        self.socket = socket.socket()
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((LOOPBACK, port))
        self.socket.setblocking(False)
        self.socket.send(first)
        self.began = time.monotonic()

    @property
    def events(self) -> int:
        """What it waits for; a reset and an end both ways are told in any case."""
        return select.POLLIN if self._reads else 0

    def say(self) -> None:
        """One byte more, if it is one that drips."""
        if self._drip and self.lasted is None:
            try:
                self.socket.send(self._drip)
            except OSError:
                self.end()

    def hear(self) -> None:
        """Something has come: bytes, or the end."""
        if self._reads:
            try:
                data = self.socket.recv(65536)
            except OSError:
                data = b""
            self.heard += data
            if data:
                return
        self.end()

    def end(self) -> None:
        """Its end has come, or is not waited for any longer."""
        if self.lasted is None:
            self.lasted = time.monotonic() - self.began
            self.socket.close()


class SlowCrowd:
    """Many of them in one thread."""

    def __init__(self) -> None:
        self.clients: list[SlowClient] = []
        self._polled = select.poll()
        self._of: dict[int, SlowClient] = {}

    def add(self, client: SlowClient) -> None:
        """One more."""
        self.clients.append(client)
        self._of[client.socket.fileno()] = client
        self._polled.register(client.socket, client.events)

    def run(self, seconds: float) -> None:
        """Drip until all have come to their end; for so long at most."""
        deadline = time.monotonic() + seconds
        due = 0.0
        while self._of and time.monotonic() < deadline:
            if time.monotonic() >= due:
                due = time.monotonic() + DRIP
                for fd, client in list(self._of.items()):
                    self._act(fd, client.say)
            for fd, _ in self._polled.poll(max(0.0, due - time.monotonic()) * 1000):
                self._act(fd, self._of[fd].hear)

    def _act(self, fd: int, act: Any) -> None:
        act()
        if self._of[fd].lasted is not None:
            self._polled.unregister(fd)
            del self._of[fd]

    def close(self) -> None:
        """Leave none behind."""
        for client in self.clients:
            client.end()


class SlowClientTests(IntegrationTestCase):
    """They get their answer, and nobody else's."""

    def test_each_gets_its_end_and_the_others_are_served(self) -> None:
        """300 that drip heads and 100 that drip bodies are answered 408, 100 that do not read are dropped, all within their
        time; each is counted by what it was late with; ordinary requests do not fail; nothing is left.

        Half of those that do not read ask for so little that the kernel takes all of it: to the balancer they are idle.
        """
        backends = self.backends("ab")
        balancer = EmbeddedBalancer(
            self, backends, header_timeout=HEADER, body_grace=GRACE, body_rate=RATE, write_timeout=WRITE, idle_timeout=IDLE
        )
        balancer.wait_probed()
        first = balancer.process.rss()
        load = Load(self, balancer.port, path="/")
        load.wait_for(50)
        crowd = SlowCrowd()
        self.addCleanup(crowd.close)
        for number in range(100):
            for client in self.slow_ones(balancer.port, number):
                crowd.add(client)
        largest = [balancer.process.rss()]
        deadline = time.monotonic() + PATIENCE
        while any(client.lasted is None and client.phase != "idle" for client in crowd.clients) and time.monotonic() < deadline:
            crowd.run(0.25)
            largest.append(balancer.process.rss())
        load.wait_for(50)
        load.stop()
        self.assertEqual(load.failed, [])
        self.check_clients(crowd)
        self.check_counted(balancer)
        self.assertLess(max(largest) - first, ROOM)

    def slow_ones(self, port: int, number: int) -> list[SlowClient]:
        """One of each kind, and of those that drip heads one at the beginning, one in a field, one just before its end."""
        head = b"GET / HTTP/1.1\r\nHost: a\r\n"
        phase, size = ("write", KERNEL + (2 << 20)) if number % 2 else ("idle", 1 << 20)
        return [
            *(SlowClient(port, "head", said, b"x") for said in (b"G", head + b"X: ", head + b"X: y\r\nY: ")),
            SlowClient(port, phase, b"GET /big?size=%d HTTP/1.1\r\nHost: a\r\n\r\n" % size, b"", reads=False),
            SlowClient(port, "body", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"x"),
        ]

    def check_clients(self, crowd: SlowCrowd) -> None:
        """What became of them, as they saw it. (An end behind what is not read cannot be seen.)"""
        for client in crowd.clients:
            if client.phase == "idle":
                continue
            least, status = {"head": (HEADER, b"408"), "body": (GRACE, b"408"), "write": (WRITE, b"")}[client.phase]
            self.assertIsNotNone(client.lasted, client.phase)
            self.assertTrue(least - 0.1 < (client.lasted or 0) < least + LATE[client.phase], (client.phase, client.lasted))
            self.assertEqual(client.heard[9:12], status, client.heard[:200])

    def check_counted(self, balancer: LoadBalancer) -> None:
        """What became of them, as the balancer says. Those that do not read have not closed their ends, and yet are gone."""
        eventually("no connection is open", lambda: balancer.admin("/status").json()["connections"]["open"] == 0)
        wanted = {"head": 300, "write": 50, "idle": 50, "body": 100}
        self.assertEqual(balancer.admin("/status").json()["connections"]["timed_out"], wanted)
        metrics = balancer.admin("/metrics").body.decode()
        counted = re.findall(r'^lbproxy_frontend_timeouts_total\{phase="(\w+)"\} (\S+)$', metrics, re.MULTILINE)
        self.assertEqual({phase: float(count) for phase, count in counted}, {**wanted, "handshake": 0})
        pool = balancer.pool()
        self.assertEqual((pool["in_flight"], [about["in_flight"] for about in pool["backends"]]), (0, [0, 0]))
        self.assertEqual(pool["ends"].get("client-timeout"), 150)
