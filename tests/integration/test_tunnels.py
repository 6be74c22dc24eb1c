"""Upgrades: a WebSocket client and server that nobody here wrote, and tunnels byte by byte."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from .backend import BLOCK, pattern
from .support import (
    LOOPBACK,
    PATIENCE,
    Backend,
    IntegrationTestCase,
    LoadBalancer,
    Process,
    ask,
    eventually,
    fields,
    free_port,
    read_all,
    read_exactly,
    read_head,
    settled,
)

MIB = 1 << 20
#: More than all the kernel's buffers on the way can hold.
TOO_MUCH = 64 * MIB
#: What the balancer's memory may grow by meanwhile.
ROOM = 16 * MIB

RESET = struct.pack("ii", 1, 0)
UPGRADE = b"Host: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"


def upgrade(how: str = "echo") -> bytes:
    """A request for a tunnel."""
    return b"GET /tunnel?how=%b HTTP/1.1\r\n" % how.encode() + UPGRADE


class WebSocketServer:
    """A process of ``websocket_server.py``."""

    def __init__(self, case: IntegrationTestCase) -> None:
        self.port = free_port()
        self.place = f"{LOOPBACK}:{self.port}"
        self.process = Process(case, [sys.executable, str(Path(__file__).with_name("websocket_server.py")), str(self.port)])

    def ready(self) -> WebSocketServer:
        """Wait until it takes connections."""
        eventually("the WebSocket server listens", lambda: self.process.ended or self._listens())
        if self.process.ended:
            raise AssertionError(self.process.output)
        return self

    def _listens(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class TunnelTestCase(IntegrationTestCase):
    """A balancer that carries tunnels."""

    def assertNothingLeft(self, balancer: LoadBalancer) -> None:
        """Neither an exchange nor a client's connection is left over."""

        def left() -> Any:
            status = balancer.admin("/status").json()
            pool = status["pools"][0]
            return (pool["in_flight"], status["connections"]["open"], [one["in_flight"] for one in pool["backends"]])

        eventually("all is over", lambda: not any([*left()[:2], *left()[2]]))


class WebSocketTests(TunnelTestCase):
    """WebSocket."""

    def start(self, servers: int = 1) -> LoadBalancer:
        """Start servers, and a balancer in front of them."""
        started = [WebSocketServer(self) for _ in range(servers)]
        self.servers = [server.ready() for server in started]
        return self.balancer("--probe-interval", "60", backends=[server.place for server in self.servers])

    def connect(self, balancer: LoadBalancer, path: str = "/") -> ClientConnection:
        """A client that has shaken hands."""
        url = f"ws://{LOOPBACK}:{balancer.port}{path}"
        client = connect(url, max_size=None, compression=None, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE)
        self.addCleanup(client.close)
        return client

    def test_messages_of_all_kinds(self) -> None:
        """Text, binary, ping and pong, of any size up to 8 MiB, both ways."""
        balancer = self.start()
        client = self.connect(balancer)
        for message in ("text, äöü", b"\0\1binary", "", b"x" * 125, b"x" * 126, os.urandom(70_000), os.urandom(8 * MIB), "last"):
            client.send(message)
            self.assertTrue(client.recv(PATIENCE) == message)
        self.assertTrue(client.ping(b"are you there").wait(PATIENCE), "the pong came")
        client.close(4000, "thanks")
        self.assertEqual((client.protocol.close_code, client.protocol.close_reason), (4000, "thanks"))
        self.assertNothingLeft(balancer)
        self.assertEqual(balancer.pool()["ends"], {"done": 1})

    def test_the_server_may_close_first(self) -> None:
        """Its code and its reason come through."""
        balancer = self.start()
        client = self.connect(balancer, "/leave")
        client.send("one")
        self.assertEqual(client.recv(PATIENCE), "one")
        with self.assertRaises(ConnectionClosed) as closed:
            client.recv(PATIENCE)
        received = closed.exception.rcvd
        assert received is not None
        self.assertEqual((received.code, received.reason), (4001, "enough"))
        self.assertNothingLeft(balancer)

    def test_many_at_once(self) -> None:
        """Fifty, who do not get each other's messages, and are counted."""
        balancer = self.start(2)
        together = threading.Barrier(50, timeout=PATIENCE)
        wrong: list[object] = []

        def converse(number: int) -> None:
            try:
                with self.connect(balancer) as client:
                    together.wait()
                    for turn in range(5):
                        client.send(f"{number} {turn}" * (turn * 100 + 1))
                        if client.recv(PATIENCE) != f"{number} {turn}" * (turn * 100 + 1):
                            wrong.append((number, turn))
            except Exception as error:
                wrong.append((number, repr(error)))

        threads = [threading.Thread(target=converse, args=[number], daemon=True) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        self.assertEqual(wrong, [])
        self.assertNothingLeft(balancer)
        self.assertEqual(balancer.pool()["ends"], {"done": 50})

    def test_a_refusal_is_told(self) -> None:
        """The client learns the status and the reason."""
        balancer = self.start()
        with self.assertRaises(InvalidStatus) as refused:
            self.connect(balancer, "/forbidden")
        response = refused.exception.response
        self.assertEqual((response.status_code, response.body), (403, b"not you\n"))
        self.assertNothingLeft(balancer)

    def test_a_server_that_is_killed_ends_the_client(self) -> None:
        """With SIGKILL, in mid-tunnel; the next client gets another server."""
        balancer = self.start(2)
        clients = [self.connect(balancer) for _ in range(2)]
        self.servers[0].process.signal(signal.SIGKILL)
        ended = 0
        for client in clients:
            try:
                client.send("are you there")
                client.recv(PATIENCE)
            except ConnectionClosedError:
                ended += 1
        self.assertEqual(ended, 1, "each server had one")
        for _ in range(3):  # passes over the dead one, which refuses connections
            client = self.connect(balancer)
            client.send("again")
            self.assertEqual(client.recv(PATIENCE), "again")
        self.assertGreater(balancer.pool()["retries"], 0)

    def test_a_client_that_is_killed_ends_the_server(self) -> None:
        """Its connection there does not stay."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        script = "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
        script += f"s.sendall({upgrade()!r}); print(s.recv(9)); time.sleep(60)"
        client = Process(self, [sys.executable, "-c", script, str(balancer.port)])
        eventually("the tunnel is open", lambda: client.ended or backend.seen()["tunnels"])
        client.signal(signal.SIGKILL)
        eventually("the backend's end is over", lambda: not backend.seen()["tunnels"])
        self.assertNothingLeft(balancer)

    def test_sigterm_lets_a_tunnel_end(self) -> None:
        """No new one is taken, and the one there is goes on within the grace time."""
        balancer = self.start()
        client = self.connect(balancer)
        balancer.begin_stop()
        eventually("no more connections are taken", lambda: not self.listens(balancer.port))
        client.send("still here")
        self.assertEqual(client.recv(PATIENCE), "still here")
        client.close()
        balancer.stop()

    def listens(self, port: int) -> bool:
        """Whether anything does there."""
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            return False
        return True


class RawTunnelTests(TunnelTestCase):
    """What may follow a 101, byte by byte."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.backend()
        self.lb = self.balancer(backends=[self.server])

    def tunnel(self, how: str = "echo", receive_buffer: int = 0, ahead: bytes = b"") -> socket.socket:
        """A client's end of a tunnel, behind the 101."""
        client = self.socket(self.lb.port, receive_buffer)
        client.sendall(upgrade(how) + ahead)
        head = read_head(client)
        self.assertTrue(head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"), head)
        self.assertEqual((fields(head)["connection"], fields(head)["upgrade"]), ("Upgrade", "raw"))
        return client

    def test_bytes_that_came_ahead(self) -> None:
        """A client that does not wait for the 101 loses nothing, also if it half-closes at once."""
        for ahead in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 200_000):
            client = self.tunnel(ahead=ahead)
            client.shutdown(socket.SHUT_WR)
            self.assertTrue(read_all(client) == ahead + b"the end")
        client = self.socket(self.lb.port)
        client.sendall(upgrade() + b"ahead")
        client.shutdown(socket.SHUT_WR)
        self.assertTrue(read_all(client).endswith(b"\r\n\r\naheadthe end"))
        self.assertNothingLeft(self.lb)

    def test_a_clients_half_close(self) -> None:
        """The backend learns of it, and what it says then still comes."""
        client = self.tunnel()
        for _ in range(3):
            client.sendall(b"ping")
            self.assertEqual(read_exactly(client, 4), b"ping")
        client.sendall(b"last words, ")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"last words, the end")
        self.assertNothingLeft(self.lb)
        self.assertEqual(self.lb.pool()["ends"], {"done": 1})

    def test_a_backends_half_close(self) -> None:
        """The client learns of it, and what it says then still arrives."""
        client = self.tunnel("half")
        self.assertEqual(read_all(client), b"hello")
        client.sendall(b"x" * MIB)
        client.shutdown(socket.SHUT_WR)
        eventually("all has arrived", lambda: self.server.seen()["received"] == MIB)
        self.assertNothingLeft(self.lb)
        self.assertEqual(self.lb.pool()["ends"], {"done": 1})

    def test_resets(self) -> None:
        """Of either side end the other, too; what was said before arrives."""
        client = self.tunnel("reset")
        self.assertEqual(read_exactly(client, 5), b"hello")
        self.server.direct("/step")
        self.assertEqual(read_all(client), b"")
        client = self.tunnel("half")
        client.sendall(b"said")
        eventually("it has arrived", lambda: self.server.seen()["received"] == 4)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        eventually("the backend's end is over", lambda: not self.server.seen()["tunnels"])
        self.assertNothingLeft(self.lb)
        self.assertEqual(self.lb.pool()["ends"], {"truncated": 1, "client-left": 1})

    def test_a_client_that_does_not_read(self) -> None:
        """Holds the backend back; memory stays bounded, and then all of it comes."""
        before = self.lb.process.rss()
        client = self.tunnel(f"flood&size={TOO_MUCH}", receive_buffer=64 * 1024)
        self.assertLess(settled(lambda: self.server.seen()["sent"]), TOO_MUCH, "the backend was not held up")
        self.assertLess(self.lb.process.rss() - before, ROOM)
        self.assertAnswered(ask(self.lb.port))  # others are served meanwhile
        digest = hashlib.sha256()
        while part := client.recv(len(BLOCK)):
            digest.update(part)
        self.assertEqual(digest.hexdigest(), hashlib.sha256(b"".join(pattern(TOO_MUCH))).hexdigest())
        self.assertLess(self.lb.process.rss() - before, ROOM)

    def test_a_backend_that_does_not_read(self) -> None:
        """Holds the client back in the same way."""
        before = self.lb.process.rss()
        client = self.tunnel("sink")
        sent = 0

        def fill() -> None:
            nonlocal sent
            for block in pattern(TOO_MUCH):
                client.sendall(block)
                sent += len(block)
            client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.assertLess(settled(lambda: sent), TOO_MUCH, "the client was not held up")
        self.assertLess(self.lb.process.rss() - before, ROOM)
        self.server.direct("/release")
        self.assertEqual(read_all(client).decode(), hashlib.sha256(b"".join(pattern(TOO_MUCH))).hexdigest())
        self.assertLess(self.lb.process.rss() - before, ROOM)

    def test_a_refused_upgrade_leaves_the_connection_as_it_was(self) -> None:
        """An answer of any other status is an ordinary one, and the next request may follow, or be here already."""
        client = self.socket(self.lb.port)
        for target, status in (("/status?code=403", 403), ("/", 200), ("/status?code=204", 204)):
            client.sendall(b"GET %b HTTP/1.1\r\n" % target.encode() + UPGRADE + b"GET /big?size=3 HTTP/1.1\r\nHost: a\r\n\r\n")
            head = read_head(client)
            self.assertEqual(int(head[9:12]), status)
            read_exactly(client, int(fields(head).get("content-length", 0)))
            self.assertEqual(fields(read_head(client))["content-length"], "3")
            self.assertEqual(read_exactly(client, 3), b"\0\1\2")
        status = self.lb.admin("/status").json()
        self.assertEqual((status["connections"]["accepted"], status["pools"][0]["ends"]), (1, {"done": 6}))

    def test_they_are_counted(self) -> None:
        """Those that are open, and all that there were."""
        clients = [self.tunnel() for _ in range(3)]
        self.assertEqual(self.tunnels(), (3, 3))
        clients[0].close()
        eventually("one is over", lambda: self.tunnels() == (2, 3))
        for client in clients[1:]:
            client.close()
        eventually("all are over", lambda: self.tunnels() == (0, 3))

    def tunnels(self) -> tuple[float, float]:
        """What ``/metrics`` says of tunnels, open and in all."""
        text = self.lb.admin("/metrics").body.decode()
        samples = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
        return samples["lbproxy_pool_tunnels"], samples["lbproxy_pool_tunnels_total"]

    def test_whatever_happens_nothing_is_left(self) -> None:
        """Ends of both sides in any order and at any moment, drawn from a seed."""
        draw = random.Random(3)
        for _ in range(60):
            self.one_odd_tunnel(draw)
        self.server.direct("/release")
        for _ in range(60):
            self.server.direct("/step")
        eventually("no tunnel is left at the backend", lambda: not self.server.seen()["tunnels"])
        self.assertNothingLeft(self.lb)
        self.assertAnswered(ask(self.lb.port))

    def one_odd_tunnel(self, draw: random.Random) -> None:
        """A client that breaks off after some of the usual steps, in one way or another."""
        client = self.socket(self.lb.port)
        request = upgrade(draw.choice(["echo", "half", "reset", "sink", f"flood&size={MIB}"]))
        steps = [
            lambda: client.sendall(request[: draw.randrange(1, len(request))] if draw.random() < 0.2 else request),
            lambda: client.sendall(b"x" * draw.choice([1, 1000, 300_000])),
            lambda: client.recv(draw.choice([1, 1000])),
            lambda: self.server.direct("/step"),
            lambda: client.shutdown(socket.SHUT_WR),
            lambda: client.shutdown(socket.SHUT_RD),
        ]
        client.settimeout(0.05)  # a step may wait for what never comes
        with contextlib.suppress(OSError):
            for step in steps[: draw.randrange(1, len(steps) + 1)]:
                if draw.random() < 0.8 or step is steps[0]:
                    step()
        if draw.random() < 0.5:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()


class PassedOverTests(TunnelTestCase):
    """Upgrades and backends that fail."""

    def test_a_backend_that_refuses_connections_is_passed_over(self) -> None:
        """An upgrade is tried elsewhere, as any request."""
        backends = self.backends("ab")
        balancer = self.balancer("--probe-interval", "60", backends=backends)
        backends[0].stop()
        self.check_all_go_to(backends[1], balancer)

    def test_a_backend_that_was_started_again_gets_it(self) -> None:
        """The idle connections to what it was before are no failure."""
        backend = self.backend()
        balancer = self.balancer("--probe-interval", "60", backends=[backend])
        self.assertAnswered(ask(balancer.port))
        backend.stop()
        backend.start()
        self.check_all_go_to(backend, balancer)

    def check_all_go_to(self, backend: Backend, balancer: LoadBalancer) -> None:
        """Four tunnels, one after the other."""
        for _ in range(4):
            client = self.socket(balancer.port)
            client.sendall(upgrade())
            self.assertEqual(fields(read_head(client)).get("x-backend"), backend.name)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(client), b"the end")
        self.assertNothingLeft(balancer)
