"""The examples run: each as a process of its own, before real backends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import shutil
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import lbproxy

CHECKOUT = Path(lbproxy.__file__).resolve().parent.parent
EXAMPLES = CHECKOUT / "examples"

#: Seconds for which anything is waited for at most; much more than it takes.
PATIENCE = 30


class Answering(BaseHTTPRequestHandler):
    """Answers with what it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""


class HangingUp(socketserver.BaseRequestHandler):
    """Takes a request and hangs up, so that a probe finds it well and traffic does not."""

    def handle(self) -> None:
        self.request.recv(65536)


class ExampleCase(SynchronousTestCase):
    """Starts an example and backends, and ends them."""

    def backend(self, server: Any) -> str:
        """Run a server in a thread; gives its address."""
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        self.addCleanup(serving.join, PATIENCE)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"127.0.0.1:{server.server_address[1]}"

    def answering(self) -> str:
        """A backend that is well."""
        return self.backend(ThreadingHTTPServer(("127.0.0.1", 0), Answering))

    def hanging_up(self) -> str:
        """A backend that is not."""
        return self.backend(socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangingUp))

    def start(self, example: str, *arguments: str) -> tuple[subprocess.Popen[str], queue.Queue[str]]:
        """Run an example; gives the process, and the lines it prints as they come, with an empty one at their end."""
        if not EXAMPLES.is_dir():
            raise SkipTest("this is not a checkout: there are no examples")
        return self.run_python(str(EXAMPLES / example), *arguments)

    def run_python(self, *arguments: str, path: str = "") -> tuple[subprocess.Popen[str], queue.Queue[str]]:
        """The same for anything that Python runs.

        :param path: where modules are looked for besides.
        """
        process = subprocess.Popen(
            [sys.executable, "-u", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), path]), "PYTHONIOENCODING": "utf-8"},
        )
        lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        reading = threading.Thread(target=self._read, args=(process.stdout, lines))
        reading.start()
        self.addCleanup(process.stdout.close)
        self.addCleanup(reading.join, PATIENCE)
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.kill)
        return process, lines

    @staticmethod
    def _read(stream: Iterable[str], lines: queue.Queue[str]) -> None:
        for line in stream:
            lines.put(line)
        lines.put("")

    def line(self, lines: queue.Queue[str], words: str) -> str:
        """The next line with these words."""
        seen: list[str] = []
        while True:
            seen.append(lines.get(timeout=PATIENCE))
            if words in seen[-1]:
                return seen[-1]
            self.assertNotEqual(seen[-1], "", f"it ended before it said {words!r}: {seen}")

    def ask(self, listening: str, path: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
        """A GET to the address that the example has said, over TLS with a *context*; gives the answer's status and body."""
        place = listening.strip().rpartition("//")[2].rstrip("/")
        connection = http.client.HTTPConnection(place, timeout=PATIENCE)
        if context is not None:
            connection = http.client.HTTPSConnection(place, timeout=PATIENCE, context=context)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def end(self, process: subprocess.Popen[str]) -> None:
        """End it as an operator does; it must agree."""
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)


class ExamplesTests(ExampleCase):
    """Each of them."""

    def test_resource_in_a_site(self) -> None:
        process, lines = self.start("resource_in_a_site.py", "0", self.answering())
        listening = self.line(lines, "listening on")
        self.assertEqual(self.ask(listening, "/api/x?y"), (200, b"/api/x?y"))
        status, body = self.ask(listening, "/")
        self.assertEqual(status, 200)
        self.assertIn(b"Served here", body)
        self.assertEqual(self.ask(listening, "/nowhere")[0], 404)
        self.end(process)

    def test_service_in_an_application(self) -> None:
        process, lines = self.start("service_in_an_application.py", "0", f"{self.hanging_up()},{self.answering()}")
        listening = self.line(lines, "listening on")
        for _ in range(2):
            self.assertEqual(self.ask(listening, "/x?y"), (200, b"/x?y"))
        said = self.line(lines, "after")
        self.assertIn("/x?y → 200 after", said)
        self.assertIn("(lost)", said)
        self.assertIn("(answered)", said)
        self.end(process)

    def test_site_in_an_application(self) -> None:
        first, second = self.answering(), self.answering()
        process, lines = self.start("site_in_an_application.py", "0", f"{self.hanging_up()},{first}")
        listening = self.line(lines, "listening on")
        self.assertEqual(self.ask(listening, "/orders"), (200, b"no orders yet\n"))
        self.assertEqual(self.ask(listening, "/old")[0], 308)
        for _ in range(4):
            self.assertEqual(self.ask(listening, "/x?y"), (200, b"/x?y"))
        place = listening.strip().rpartition("//")[2].rstrip("/")
        with contextlib.closing(http.client.HTTPConnection(place, timeout=PATIENCE)) as connection:

            def ask(method: str, path: str) -> tuple[int, str, str | None]:
                connection.request(method, path)
                response = connection.getresponse()
                return response.status, response.read().decode(), response.headers["X-Site"]

            self.assertEqual(ask("GET", "/x"), (200, "/x", "orders and more"))
            status, changes, _ = ask("POST", f"/orders/move?to={second}")
            self.assertEqual(status, 200, changes)
            self.assertIn(f"pool app: backend {first} leaves", changes)
            self.assertIn(f"pool app: backend {second} comes", changes)
            self.assertEqual(ask("GET", "/y"), (200, "/y", "orders and more"))
            status, mistake, _ = ask("POST", "/orders/move?to=nobody")
            self.assertEqual(status, 400)
            self.assertIn("backends[0]: 'nobody' was given", mistake)
            self.assertEqual(ask("GET", "/orders/"), (200, "no orders yet\n", "orders and more"))
        self.end(process)
        process, lines = self.start("site_in_an_application.py", "0", "nobody")
        self.line(lines, "backends[0]: 'nobody' was given")
        self.assertEqual(process.wait(PATIENCE), 1)

    def test_certificates_for_a_site(self) -> None:
        authority = trustme.CA()
        folder = Path(self.mktemp())
        folder.mkdir()
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(folder / "site.pem")
        process, lines = self.start("certificates_for_a_site.py", "0", str(folder))
        listening = self.line(lines, "listening on")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        self.assertEqual(self.ask(listening, "/", context), (200, b"hello from 127.0.0.1\n"))
        self.end(process)
        process, lines = self.start("certificates_for_a_site.py", "0", "/no/such.pem")
        self.line(lines, "'/no/such.pem'")
        self.assertEqual(process.wait(PATIENCE), 1)

    def test_policy_plugin(self) -> None:
        process, lines = self.start("policy_plugin.py")
        self.line(lines, "OK")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_policy_plugin_under_twistd(self) -> None:
        if not EXAMPLES.is_dir():
            raise SkipTest("this is not a checkout: there are no examples")
        directory = Path(self.mktemp()).resolve()
        plugins = directory / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        shutil.copy(EXAMPLES / "policy_plugin.py", plugins / "nearest_policy.py")
        near, far = self.answering(), self.answering()
        _, lines = self.run_python(
            *("-c", "from twisted.scripts.twistd import run; run()", "-n", f"--pidfile={directory / 'pid'}", "lbproxy"),
            *("-b", f"{far},{near}", "-l", "tcp:0:interface=127.0.0.1", "--policy", f"nearest:prefix={near}"),
            *("--access-log", "-", "--access-log-format", "json", "--access-log-explain"),
            path=str(directory),
        )
        port = self.line(lines, "Door starting on").rpartition(" ")[2].strip()
        self.assertEqual(self.ask(f"http://127.0.0.1:{port}/", "/x"), (200, b"/x"))
        explained = json.loads(self.line(lines, '"explain"'))["explain"]
        self.assertEqual(explained["policy"], "nearest")
        self.assertEqual([attempt["backend"] for attempt in explained["attempts"]], [near])

    def test_filter_plugin(self) -> None:
        process, lines = self.start("filter_plugin.py")
        self.line(lines, "OK")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_filter_plugin_is_found(self) -> None:
        if not EXAMPLES.is_dir():
            raise SkipTest("this is not a checkout: there are no examples")
        directory = Path(self.mktemp()).resolve()
        plugins = directory / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        shutil.copy(EXAMPLES / "filter_plugin.py", plugins / "turn_away_filter.py")
        code = "from lbproxy.routing.filters.plugins import plugin_spec; print(plugin_spec('turn-away', {'word': 'robot'}))"
        process, lines = self.run_python("-c", code, path=str(directory))
        self.line(lines, "type='turn-away'")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_an_occupied_port_is_said(self) -> None:
        port = self.answering().rpartition(":")[2]
        for example in ("resource_in_a_site.py", "service_in_an_application.py"):
            process, lines = self.start(example, port, "127.0.0.1:9")
            self.line(lines, "in use")
            self.assertNotEqual(process.wait(PATIENCE), 0)
