"""Much data from a fast side to one that is a hundred times slower: memory does not grow by what the slow one has not taken.

32 MiB each way in an ordinary run, 1 GiB with ``LBPROXY_GIBIBYTE=1``. How fast the fast side could be is measured: it is what a
sender of such blocks gets through a loopback connection to a reader that does nothing else, about 1 GiB/s. The slow side takes a
hundredth of that. So 32 MiB take 32 / (1024 / 100), about 3 seconds, and 1 GiB takes 100 seconds on such a machine; the two
transfers of a test run at the same time, and the bound on memory is for both together.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from .backend import BLOCK, Pace, pattern
from .support import LOOPBACK, PATIENCE, Backend, IntegrationTestCase, LoadBalancer, ask, eventually, send

MIB = 1 << 20
SIZE = 1024 * MIB if os.environ.get("LBPROXY_GIBIBYTE") == "1" else 32 * MIB
#: How many times slower the slow side is.
SLOWER = 100
#: What the balancer's memory may grow by.
ROOM = 16 * MIB
#: Seconds for which the fast side is measured.
MEASURED = 0.3


@cache
def digest() -> str:
    """Of what is sent."""
    whole = hashlib.sha256()
    for block in pattern(SIZE):
        whole.update(block)
    return whole.hexdigest()


@cache
def slow_rate() -> float:
    """Bytes a second that the slow side takes: a hundredth of what the fast one can send."""
    with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname()) as sender:
        receiver, _ = server.accept()
        thread = threading.Thread(target=_swallow, args=[receiver], daemon=True)
        thread.start()
        sent, began = 0, time.monotonic()
        while time.monotonic() - began < MEASURED:
            sender.sendall(BLOCK)
            sent += len(BLOCK)
        rate = sent / (time.monotonic() - began)
    thread.join(PATIENCE)
    return rate / SLOWER


def _swallow(receiver: socket.socket) -> None:
    room = bytearray(MIB)
    with receiver:
        while receiver.recv_into(room):
            pass


class Job:
    """Something done in a thread of its own.

    :ivar moved: bytes so far.
    """

    def __init__(self, work: Callable[[Job], Any]) -> None:
        self.moved = 0
        self._work = work
        self._given: list[Any] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._given.append(self._work(self))
        except Exception as error:
            self._given.append(error)

    def result(self) -> Any:
        """What came of it. It is waited for as long as something moves."""
        last, since = self.moved, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self.moved != last:
                last, since = self.moved, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                raise AssertionError(f"nothing moved for {PATIENCE:g} s, after {self.moved} bytes")
        given = self._given[0]
        if isinstance(given, Exception):
            raise given
        return given

    def take(self, read: Callable[[int], bytes]) -> str:
        """Read slowly to the end; gives the digest of what came."""
        whole, pace = hashlib.sha256(), Pace(slow_rate())
        while data := read(len(BLOCK)):
            whole.update(data)
            self.moved += len(data)
            pace.took(len(data))
        return whole.hexdigest()

    def give(self):
        """The blocks that are sent, counted as they go."""
        for block in pattern(SIZE):
            yield block
            self.moved += len(block)


class Memory:
    """Watches the memory of a process from now on.

    :ivar growth: bytes by which it has been larger than at first, at most.
    """

    def __init__(self, balancer: LoadBalancer) -> None:
        self.growth = 0
        self._balancer = balancer
        self._first = balancer.process.rss()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            self.growth = max(self.growth, self._balancer.process.rss() - self._first)

    def stop(self) -> int:
        """Watch no more; gives the growth."""
        self._stopping.set()
        self._thread.join(PATIENCE)
        return self.growth


class GibibyteTests(IntegrationTestCase):
    """A slow side holds the fast one up."""

    def setUp(self) -> None:
        """A balancer with one backend, watched before it has done anything."""
        super().setUp()
        slow_rate(), digest()
        self.server: Backend = self.backend()
        self.lb: LoadBalancer = self.balancer(backends=[self.server])
        self.memory = Memory(self.lb)
        self.addCleanup(self.memory.stop)

    def dial(self) -> socket.socket:
        """A connection of a client that reads slowly: little fits between it and the balancer."""
        return self.socket(self.lb.port, receive_buffer=64 * 1024)

    def check(self, jobs: list[Job]) -> list[Any]:
        """All come to their end, others are served meanwhile, and memory keeps within bounds."""
        eventually("a quarter has moved", lambda: all(job.moved > SIZE // 4 for job in jobs), seconds=2 * SIZE / slow_rate())
        self.assertAnswered(ask(self.lb.port))
        results = [job.result() for job in jobs]
        self.assertLess(self.memory.stop(), ROOM)
        eventually("nothing is in flight", lambda: self.lb.pool()["in_flight"] == 0)
        self.assertEqual(self.lb.pool()["ends"], {"done": len(jobs) + 1})
        return results

    def test_down_to_a_slow_client(self) -> None:
        """Sized and chunked: each client gets every byte, and the backend had to wait."""

        def download(job: Job, more: str) -> str:
            client = self.dial()
            client.sendall(f"GET /big?size={SIZE}{more} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            response = http.client.HTTPResponse(client)
            response.begin()
            return job.take(response.read1)

        jobs = [Job(partial(download, more=more)) for more in ("", "&chunked=1")]
        eventually("a quarter has come", lambda: jobs[0].moved > SIZE // 4, seconds=2 * SIZE / slow_rate())
        self.assertLess(self.server.seen()["sent"], 2 * SIZE, "the backend was not held up")
        self.assertEqual(self.check(jobs), [digest()] * 2)

    def test_up_to_a_slow_backend(self) -> None:
        """Sized and chunked: the backend gets every byte, and each client had to wait."""

        def upload(job: Job, framing: dict[str, str]) -> str:
            connection = http.client.HTTPConnection(LOOPBACK, self.lb.port, timeout=PATIENCE)
            answer = send(connection, f"/pace?rate={slow_rate()}", "POST", job.give(), **framing)
            connection.close()
            self.assertAnswered(answer)
            return str(answer.json()["sha256"])

        framings = ({"Content-Length": str(SIZE)}, {"Transfer-Encoding": "chunked"})
        jobs = [Job(partial(upload, framing=framing)) for framing in framings]
        eventually("an eighth has come", lambda: self.server.seen()["received"] > SIZE // 4, seconds=2 * SIZE / slow_rate())
        self.assertLess(sum(job.moved for job in jobs), 2 * SIZE, "the clients were not held up")
        self.assertEqual(self.check(jobs), [digest()] * 2)

    def test_through_a_tunnel(self) -> None:
        """One to a slow client, and one to a slow backend: the same."""

        def switch(path: str) -> tuple[socket.socket, Any]:
            client = self.dial()
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n".encode())
            reader = client.makefile("rb")
            self.assertIn(b" 101 ", reader.readline())
            while reader.readline() != b"\r\n":
                pass
            return client, reader

        def down(job: Job) -> str:
            client, reader = switch(f"/upgrade?size={SIZE}")
            taken = job.take(reader.read1)
            client.shutdown(socket.SHUT_WR)
            return taken

        def up(job: Job) -> str:
            client, reader = switch(f"/upgrade?rate={slow_rate()}")
            for block in job.give():
                client.sendall(block)
            client.shutdown(socket.SHUT_WR)
            return str(json.loads(reader.read())["sha256"])

        self.assertEqual(self.check([Job(down), Job(up)]), [digest()] * 2)
