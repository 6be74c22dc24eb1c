"""A load balancer that is told to end: nothing in flight is lost within the time it has, and it ends at once when told twice."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time

from .support import (
    LOOPBACK,
    PATIENCE,
    TWISTD,
    Backend,
    IntegrationTestCase,
    LoadBalancer,
    Process,
    ask,
    eventually,
    fields,
    free_port,
    read_all,
    send,
)


def refuses(port: int) -> bool:
    """Whether nothing listens there."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=PATIENCE).close()
    except OSError:
        return True
    return False


class Clients:
    """Clients that send one request after the other, each with a number of its own, until none gets through any more.

    :ivar answered: the paths that were answered 200 in full.
    :ivar closing: how many of these answers said that the connection ends.
    """

    def __init__(self, case: IntegrationTestCase, port: int, clients: int, keep: bool) -> None:
        self.answered: set[str] = set()
        self.closing = 0
        self._port, self._keep = port, keep
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]
        for thread in self._threads:
            thread.start()
        case.addCleanup(self.wait)

    def _run(self, client: int) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=PATIENCE)
        number = 0
        while True:
            number += 1
            path = f"/slow?seconds=0.02&of={client}.{number}.{self._keep}"
            fresh = connection.sock is None
            try:
                answer = send(connection, path)
            except OSError:
                connection.close()
                if fresh:
                    return
                continue  # a connection that was closed while it was idle: the request is for another one
            if answer.status == 200:
                self.answered.add(path)
                self.closing += answer.headers["Connection"] == "close"
            if not self._keep:
                connection.close()

    def wait(self) -> None:
        """Wait until none gets through any more."""
        for thread in self._threads:
            thread.join(PATIENCE)


class DrainTests(IntegrationTestCase):
    """SIGTERM."""

    def waiting(self, port: int, path: str) -> socket.socket:
        """A client that has sent a request."""
        client = self.socket(port)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return client

    def begun(self, backend: Backend, path: str) -> None:
        """Wait until a request has reached its backend."""
        eventually(f"{path} has begun", lambda: any(path in line for line in backend.seen()["requests"]))

    def test_under_load_nothing_is_lost(self) -> None:
        """Whatever a backend has seen was answered, over connections that are kept and over new ones alike."""
        backends = self.backends("ab")
        balancer = self.balancer(backends=backends)
        kept, single = Clients(self, balancer.port, 6, keep=True), Clients(self, balancer.port, 6, keep=False)
        eventually("there is traffic", lambda: len(kept.answered) > 100 and len(single.answered) > 100)
        balancer.stop()
        for clients in (kept, single):
            clients.wait()
        seen = {line.split()[1] for backend in backends for line in backend.seen()["requests"]}
        self.assertEqual(seen - kept.answered - single.answered, set())
        self.assertGreater(kept.closing, 0)

    def test_what_runs_ends_and_nothing_new_begins(self) -> None:
        """The request in flight is answered with word that the connection ends; health fails, new connections are refused."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        self.assertEqual(balancer.admin("/healthz").status, 200)
        client = self.waiting(balancer.port, "/slow?seconds=2")
        self.begun(backend, "/slow")
        balancer.begin_stop()
        eventually("health fails", lambda: balancer.admin("/healthz").status == 503)
        eventually("new connections are refused", lambda: refuses(balancer.port))
        self.assertEqual(balancer.admin("/healthz").body, b"draining\n")
        self.assertTrue(balancer.admin("/status").json()["draining"])
        answer = read_all(client)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertEqual(fields(answer)["connection"], "close")
        balancer.stop()
        output = balancer.process.output
        self.assertIn("draining: 1 exchange running, 0 tunnels among them, 1 connection open; 30 s left at most", output)
        self.assertIn("another SIGTERM or SIGINT ends it at once", output)
        self.assertNotIn("dropped", output)

    def test_a_request_that_outlives_the_drain_is_dropped(self) -> None:
        """Its client sees that nothing came, the log and the access log say why."""
        backend = self.backend()
        log = self.folder / "access.json"
        logging = ("--access-log", str(log), "--access-log-format", "json")
        balancer = self.balancer("--drain", "1", *logging, backends=[backend])
        client = self.waiting(balancer.port, "/slow?seconds=60")
        self.begun(backend, "/slow")
        begun = time.monotonic()
        balancer.stop()
        self.assertGreaterEqual(time.monotonic() - begun, 1)
        with self.assertRaises(ConnectionResetError):
            client.recv(1)
        self.assertIn("dropped 1 connection after 1 s (--drain)", balancer.process.output)
        (line,) = log.read_text().splitlines()
        self.assertEqual((json.loads(line)["end"], json.loads(line)["status"]), ("drain", 0))

    def test_health_fails_before_the_listeners_close(self) -> None:
        """For as long as --drain-delay says everything else goes on."""
        balancer = self.balancer("--drain-delay", "2", backends=[self.backend()])
        kept = self.connection(balancer.port)
        send(kept)
        begun = time.monotonic()
        balancer.begin_stop()
        eventually("health fails", lambda: balancer.admin("/healthz").status == 503)
        self.assertAnswered(ask(balancer.port))
        answer = send(kept)
        self.assertAnswered(answer)
        self.assertIsNone(answer.headers["Connection"])
        eventually("new connections are refused", lambda: refuses(balancer.port))
        self.assertGreaterEqual(time.monotonic() - begun, 2)
        balancer.stop()

    def test_who_waits_to_be_accepted_is_served(self) -> None:
        """A connection that was made is not reset because the one who made it came late."""
        balancer = self.balancer("--max-connections", "1", backends=[self.backend()])
        clients = [self.waiting(balancer.port, "/slow?seconds=0.1") for _ in range(20)]
        balancer.stop()
        for client in clients:
            self.assertTrue(read_all(client).startswith(b"HTTP/1.1 200 "))


class SecondSignalTests(IntegrationTestCase):
    """Whoever says it twice does not want to wait."""

    def setUp(self) -> None:
        super().setUp()
        # Who runs the tests in a shell's background ignores SIGINT, and so would its children.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        self.pidfile = self.folder / "pid"

    def start(self, *options: str) -> tuple[Process, int, socket.socket]:
        """A load balancer with a pidfile, its admin port, and a client whose request takes longer than any test."""
        backend = self.backend()
        port, admin = free_port(), free_port()
        twistd = [*TWISTD, "-n", f"--pidfile={self.pidfile}", "lbproxy", "-b", backend.place, "--drain", "600", *options]
        listen = [f"--listen=tcp:{port}:interface={LOOPBACK}", f"--admin=tcp:{admin}:interface={LOOPBACK}"]
        process = Process(self, [*twistd, *listen])
        eventually("it listens", lambda: process.ended or not refuses(port))
        client = self.socket(port)
        client.sendall(b"GET /slow?seconds=60 HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually("the request has begun", lambda: backend.seen()["requests"])
        return process, admin, client

    def assert_ended(self, process: Process, first: int) -> None:
        """In order, and with the status of the first signal."""
        self.assertIn(process.wait(), (0, -first))
        self.assertNotRegex(process.output, "Traceback|Unhandled")
        self.assertIn("Server Shut Down.", process.output)
        self.assertIn("dropped 1 connection at once, as it was told again to stop", process.output)
        self.assertFalse(self.pidfile.exists())

    def test_each_pair(self) -> None:
        """SIGTERM twice, ^C twice, and one after the other."""
        for first, second in (
            (signal.SIGTERM, signal.SIGTERM),
            (signal.SIGINT, signal.SIGINT),
            (signal.SIGTERM, signal.SIGINT),
        ):
            process, _, client = self.start()
            process.signal(first)
            eventually("it drains", lambda process=process: "draining: 1 exchange " in process.output)  # type: ignore[misc]
            self.assertTrue(self.pidfile.exists())
            process.signal(second)
            self.assert_ended(process, first)
            with self.assertRaises(ConnectionResetError):
                client.recv(1)

    def test_during_the_delay(self) -> None:
        """The second signal ends that too; a third one does no harm."""
        process, admin, _ = self.start("--drain-delay", "600")
        process.signal(signal.SIGTERM)
        eventually("health fails", lambda: ask(admin, "/healthz").status == 503)
        for _ in range(2):
            process.signal(signal.SIGTERM)
        self.assert_ended(process, signal.SIGTERM)

    def test_the_demo(self) -> None:
        """Its backends end with it."""
        balancer = LoadBalancer(self, "--demo", "--drain", "600", backends=[])
        client = self.socket(balancer.port)
        client.sendall(b"GET /slow?seconds=20 HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually("the request runs", lambda: balancer.pool()["in_flight"])
        balancer.begin_stop()
        eventually("it drains", lambda: "draining: 1 exchange " in balancer.process.output)
        os.kill(balancer.process.pid, signal.SIGINT)
        balancer.stop()
