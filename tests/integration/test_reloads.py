"""A hundred reloads under load, each changing another thing: nobody notices whom it does not concern."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trustme
from websockets.sync.client import connect

from .support import (
    LOOPBACK,
    PATIENCE,
    TWISTD,
    Backend,
    IntegrationTestCase,
    Process,
    ask,
    eventually,
    free_port,
    send,
)

#: How many reloads; in how many seconds at most.
RELOADS = int(os.environ.get("LBPROXY_RELOADS", "100"))
SECONDS = 60
NAME = "www.example.com"
MIB = 1 << 20


class Site:
    """A configuration file that changes, one thing at a time."""

    def __init__(self, case: ReloadsCase) -> None:
        self.case = case
        self.backends = [f"{backend.place}:weight=2" for backend in case.app]
        self.retries = 3
        self.routes = ["/never"]
        self.value = "0"
        self.rate = 1000
        self.listeners = [case.port]
        self.certificate = case.new_certificate()
        self.policy = "round-robin"

    def write(self) -> None:
        """Put it where it is read, all at once."""
        case = self.case
        listen = [f"tcp:{port}:interface={LOOPBACK}" for port in self.listeners]
        lines = [
            f"listen = {json.dumps(listen)}",
            f"tls-listen = 'tcp:{case.tls_port}:interface={LOOPBACK}'",
            f"certificate = {json.dumps(self.certificate)}",
            f"admin = 'tcp:{case.admin_port}:interface={LOOPBACK}'",
            "admin-writable = true",
            f"retries = {self.retries}",
            "[pools.app]",
            f"backends = {json.dumps(self.backends)}",
            f"policy = {json.dumps(self.policy)}",
            "[pools.sockets]",
            f"backends = ['{LOOPBACK}:{case.socket_port}']",
            "[filters.limit]",
            "type = 'rate-limit'",
            f"rate = {self.rate}",
            "burst = 100000",
            "[filters.mark]",
            "type = 'headers'",
            f"response-set = {{ X-Mark = {json.dumps(self.value)} }}",
            "[[routes]]",
            "name = 'sockets'",
            "path-prefix = '/socket'",
            "pool = 'sockets'",
        ]
        for path in self.routes:
            lines += ["[[routes]]", f"path = '{path}'", "answer = { status = 204 }"]
        lines += ["[[routes]]", "name = 'app'", "filters = ['limit', 'mark']", "pool = 'app'", ""]
        written = case.folder / "lb.toml.new"
        written.write_text("\n".join(lines))
        os.replace(written, case.config)

    def changes(self) -> Iterator[Callable[[int], None]]:
        """One change after the other, each of another kind than the one before it."""
        return itertools.cycle(
            (
                self.change_weight,
                self.change_route,
                self.change_filter,
                self.change_backends,
                self.change_certificate,
                self.change_limit,
                self.change_listeners,
                self.change_setting,
                self.change_policy,
            )
        )

    def change_weight(self, turn: int) -> None:
        """Another share for the first backend."""
        self.backends[0] = f"{self.case.app[0].place}:weight={turn % 9 + 1}"

    def change_route(self, turn: int) -> None:
        """Another route beside the others, or one less."""
        self.routes = [f"/never/{turn}"] if turn % 2 else [f"/never/{turn}", "/nowhere"]

    def change_filter(self, turn: int) -> None:
        """Another value in a filter."""
        self.value = str(turn)

    def change_limit(self, turn: int) -> None:
        """A larger limit."""
        self.rate = 1000 + turn

    def change_backends(self, turn: int) -> None:
        """One backend leaves, or comes back."""
        last = self.case.app[-1].place
        kept = [text for text in self.backends if not text.startswith(last)]
        self.backends = kept if len(kept) < len(self.backends) else [*kept, last]

    def change_certificate(self, turn: int) -> None:
        """Another certificate, in another file."""
        self.certificate = self.case.new_certificate()

    def change_listeners(self, turn: int) -> None:
        """A further listener, or none."""
        self.listeners = self.listeners[:1] if len(self.listeners) > 1 else [*self.listeners, free_port()]

    def change_setting(self, turn: int) -> None:
        """A setting of all pools."""
        self.retries = turn % 5

    def change_policy(self, turn: int) -> None:
        """Another policy."""
        self.policy = ("round-robin", "two-choices", "least-connections")[turn % 3]


class Load:
    """Clients that ask without a pause, until they are told to stop.

    :ivar answered: whole answers so far.
    :ivar failed: what went wrong.
    """

    def __init__(self, case: ReloadsCase) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._case = case
        self._counting = threading.Lock()
        self._stopping = threading.Event()
        kinds = (self._get, self._get, self._over_tls, self._upload, self._anew)
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]
        self._threads += [threading.Thread(target=self._socket, daemon=True) for _ in range(5)]
        for thread in self._threads:
            thread.start()
        case.addCleanup(self.stop)

    def stop(self) -> None:
        """Let each end what it does."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self, kind: Callable[[http.client.HTTPConnection], int]) -> None:
        connection = self._connection(kind)
        while not self._stopping.wait(0.003):
            try:
                status = kind(connection)
            except Exception as error:
                self.failed.append(f"{kind.__name__}: {error!r}")
                connection.close()
                connection = self._connection(kind)
                continue
            if status != 200:
                self.failed.append(f"{kind.__name__}: {status}")
            with self._counting:
                self.answered += 1
        connection.close()

    def _connection(self, kind: Callable[[http.client.HTTPConnection], int]) -> http.client.HTTPConnection:
        if kind == self._over_tls:
            trust = self._case.trust
            return _Named(LOOPBACK, self._case.tls_port, timeout=PATIENCE, context=trust)
        return http.client.HTTPConnection(LOOPBACK, self._case.port, timeout=PATIENCE)

    def _get(self, connection: http.client.HTTPConnection) -> int:
        return send(connection, "/slow?seconds=0.01").status

    def _over_tls(self, connection: http.client.HTTPConnection) -> int:
        return send(connection, "/").status

    def _upload(self, connection: http.client.HTTPConnection) -> int:
        return send(connection, "/", "PUT", bytes(300_000)).status

    def _anew(self, connection: http.client.HTTPConnection) -> int:
        return ask(self._case.port, "/").status

    def _socket(self) -> None:
        """One WebSocket, from the beginning to the end."""
        try:
            with connect(f"ws://{LOOPBACK}:{self._case.port}/socket", compression=None) as talking:
                for turn in itertools.count():
                    talking.send(str(turn))
                    if talking.recv(PATIENCE) != str(turn):
                        raise AssertionError("another message came back")
                    with self._counting:
                        self.answered += 1
                    if self._stopping.wait(0.05):
                        return
        except Exception as error:
            self.failed.append(f"WebSocket: {error!r}")


class _Named(http.client.HTTPSConnection):
    """Goes to an address, and asks for a name."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=NAME)  # type: ignore[attr-defined]


class ReloadsCase(IntegrationTestCase):
    """A site with everything that can change."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = trustme.CA()
        self.trust = ssl.create_default_context()
        self.authority.configure_trust(self.trust)
        self.app: list[Backend] = self.backends("abc")
        self.port, self.tls_port, self.admin_port, self.socket_port = (free_port() for _ in range(4))
        server = Path(__file__).with_name("websocket_server.py")
        Process(self, [sys.executable, str(server), str(self.socket_port)])
        self.config = self.folder / "lb.toml"
        self._certificates = itertools.count()

    def new_certificate(self) -> str:
        """A certificate for the site in a file of its own."""
        path = self.folder / f"site{next(self._certificates)}.pem"
        self.authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    def start(self) -> Process:
        """Start it, and wait until it answers."""
        process = Process(self, [*TWISTD, "-n", "--pidfile=", "lbproxy", "--config", str(self.config)])
        eventually("the load balancer answers", lambda: process.ended or self._answers())
        self.assertFalse(process.ended, process.output)
        eventually("the WebSocket server answers", lambda: self._connects(self.socket_port))
        return process

    def _answers(self) -> bool:
        try:
            return ask(self.admin_port, "/healthz").status == 200
        except OSError:
            return False

    def _connects(self, port: int) -> bool:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            return False
        return True

    def reload(self) -> Any:
        """Ask for a reload, and give what came of it."""
        answer = ask(self.admin_port, "/reload", "POST")
        self.assertEqual(answer.status, 200, answer.body)
        return answer


class UnderLoad(ReloadsCase):
    """The promise of a reload."""

    def test_a_hundred_reloads_lose_nothing(self) -> None:
        """No request fails, no WebSocket breaks, memory stays level, and none of them takes long."""
        site = Site(self)
        site.write()
        process = self.start()
        load = Load(self)
        eventually("the clients are at work", lambda: load.answered > 100 or load.failed)
        began, memory = time.monotonic(), []
        for turn, change in zip(range(1, RELOADS + 1), site.changes()):
            change(turn)
            site.write()
            self.reload()
            self.assertEqual(load.failed, [], f"after {turn} reloads, the last one {change.__name__}")
            memory.append(process.rss())
            time.sleep(max(0.0, began + turn * SECONDS / 2 / 100 - time.monotonic()))
        took = time.monotonic() - began
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertLess(took, SECONDS * RELOADS / 100)
        status = json.loads(ask(self.admin_port, "/status").body)
        self.assertEqual(status["reload"]["counts"]["success"], RELOADS, status["reload"])
        third = len(memory) // 3
        if third >= 10:
            self.assertLess(max(memory[-third:]), max(memory[:third]) + 8 * MIB, memory)
        process.signal(15)
        process.wait()
        self.assertNotRegex(process.output, "Traceback|Unhandled")
