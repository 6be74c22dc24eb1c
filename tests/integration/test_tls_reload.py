"""Certificates of a process that serves are replaced, well and badly, and no client notices but by what it is shown."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import threading
from pathlib import Path
from typing import Any

import trustme

from .support import (
    LOOPBACK,
    PATIENCE,
    Backend,
    IntegrationTestCase,
    LoadBalancer,
    eventually,
    free_port,
    send,
)

NAME = "www.example.com"


class TlsClients:
    """Clients that send one GET after the other over TLS, each on a connection that is kept.

    :ivar answered: how many whole answers have come.
    :ivar failed: what happened otherwise, in words.
    """

    def __init__(self, case: TlsReloadCase, clients: int = 4) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._case = case
        self._counting = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()
        case.addCleanup(self.stop)

    def _run(self) -> None:
        number, connection = 0, self._case.connect()
        while not self._stopping.wait(0.002):
            number += 1
            if not number % 20:  # some handshakes fall into the very moment
                connection.close()
                connection = self._case.connect()
            try:
                answer = send(connection, "/slow?seconds=0.01")
                assert answer.status == 200, answer.status
            except Exception as error:
                self.failed.append(repr(error))
                return
            with self._counting:
                self.answered += 1
        connection.close()

    def wait_for(self, number: int) -> None:
        """Wait until that many more answers have come."""
        aim = self.answered + number
        eventually(f"{number} more answers", lambda: self.answered >= aim or self.failed)

    def stop(self) -> None:
        """Let each client end its request, and stop."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)


class TlsReloadCase(IntegrationTestCase):
    """A load balancer with one certificate, and an authority whose certificates clients believe."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = trustme.CA()
        self.trust = ssl.create_default_context()
        self.authority.configure_trust(self.trust)
        self.path = self.folder / "site.pem"
        self.tls_port = free_port()

    def replace(self) -> bytes:
        """Put a new certificate into the file, as who renews one does, and give what clients will be shown."""
        made = self.authority.issue_cert(NAME)
        written = self.folder / "new"
        made.private_key_and_cert_chain_pem.write_to_path(str(written))
        os.replace(written, self.path)
        return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())

    def spoil(self, text: str = "no certificate at all") -> None:
        """Put something else there."""
        self.path.write_text(text)

    def start(self, *options: str, backends: list[Backend | str] | None = None, **more: Any) -> LoadBalancer:
        """Start the load balancer."""
        listening = ("--tls-listen", f"tcp:{self.tls_port}:interface={LOOPBACK}", "--certificate", str(self.path))
        return self.balancer(*listening, *options, backends=backends or [self.backend()], **more)

    def connect(self) -> http.client.HTTPSConnection:
        """A new connection, whose certificate was good."""
        connection = _Connection(LOOPBACK, self.tls_port, timeout=PATIENCE, context=self.trust)
        connection.connect()
        return connection

    def shown(self) -> bytes:
        """The certificate that a new connection is shown."""
        connection = self.connect()
        try:
            return shown_on(connection)
        finally:
            connection.close()


class _Connection(http.client.HTTPSConnection):
    """Goes to an address, and asks for a name."""

    auto_open = 0  # a connection that has ended is to be noticed

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=NAME)


def shown_on(connection: Any) -> bytes:
    """The certificate that was shown on a connection."""
    shown: bytes = connection.sock.getpeercert(binary_form=True)
    return shown


def last_reload(balancer: LoadBalancer) -> Any:
    """What the status report says of it."""
    return balancer.admin("/status").json()["tls"]["last_reload"]


class SignalTests(TlsReloadCase):
    """``SIGHUP``. Files are not looked at otherwise."""

    def hang_up(self, balancer: LoadBalancer, ok: bool) -> Any:
        """Send the signal, and give what came of it."""
        before = last_reload(balancer)
        balancer.process.signal(signal.SIGHUP)

        def reloaded() -> Any:
            last = last_reload(balancer)
            return last if last != before else None

        last = eventually("certificates are read anew", reloaded)
        self.assertEqual(last["ok"], ok, last)
        return last

    def test_under_load(self) -> None:
        """New connections get the new certificate; those that there are go on with theirs; no request fails of it."""
        old = self.replace()
        balancer = self.start("--certificate-check", "0")
        kept = self.connect()
        self.addCleanup(kept.close)
        self.assertEqual((send(kept).status, shown_on(kept)), (200, old))
        clients = TlsClients(self)
        clients.wait_for(100)
        for _ in range(3):
            new = self.replace()
            self.assertNotEqual(self.shown(), new)
            self.hang_up(balancer, ok=True)
            self.assertEqual(self.shown(), new)
            clients.wait_for(50)
        self.assertEqual((send(kept).status, shown_on(kept)), (200, old))
        clients.stop()
        self.assertEqual(clients.failed, [])
        total = balancer.metrics()
        self.assertEqual(total("lbproxy_frontend_tls_handshakes_failed_total"), 0)
        self.assertEqual(total("lbproxy_frontend_tls_reloads_total", result="success"), 3)

    def test_a_mistake(self) -> None:
        """What was served stays; /status and the log say which file is wrong, and why. Then it is made good."""
        old = self.replace()
        balancer = self.start("--certificate-check", "0")
        self.spoil()
        (why,) = self.hang_up(balancer, ok=False)["errors"]
        self.assertIn(str(self.path), why)
        self.assertIn(why, balancer.process.output)
        self.assertEqual(self.shown(), old)
        new = self.replace()
        self.assertEqual(self.hang_up(balancer, ok=True)["errors"], [])
        self.assertEqual(self.shown(), new)

    def test_a_relative_path(self) -> None:
        """It stays where it was when the process goes elsewhere, as twistd --rundir makes it."""
        self.replace()
        absolute, self.path = self.path, Path(self.path.name)
        (self.folder / "elsewhere").mkdir()
        balancer = self.start("--certificate-check", "0", twistd=["--rundir", str(self.folder / "elsewhere")])
        self.path = absolute
        new = self.replace()
        self.hang_up(balancer, ok=True)
        self.assertEqual(self.shown(), new)

    def test_under_nohup(self) -> None:
        """Whoever starts it so that a hang-up is ignored has it heard nevertheless, and it ends nothing."""
        self.replace()
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which the process inherits
        try:
            balancer = self.start("--certificate-check", "0")
        finally:
            signal.signal(signal.SIGHUP, before)
        new = self.replace()
        self.hang_up(balancer, ok=True)
        self.assertEqual(self.shown(), new)

    def test_without_certificates(self) -> None:
        """It ends nothing there either, and the log says that there is nothing to be done."""
        balancer = self.balancer(backends=[self.backend()])
        balancer.process.signal(signal.SIGHUP)
        eventually("it says so", lambda: "there is nothing to be read anew" in balancer.process.output)
        self.assertEqual(balancer.admin("/healthz").status, 200)


class WatchTests(TlsReloadCase):
    """Files that are looked at."""

    def test_a_file_that_changes(self) -> None:
        """Nobody need send a signal; a mistake changes nothing, is said once, and goes as it came."""
        self.replace()
        balancer = self.start("--certificate-check", "0.2")
        new = self.replace()
        eventually("the new certificate is served", lambda: self.shown() == new)
        self.spoil()
        last = eventually("the mistake is seen", lambda: (last := last_reload(balancer)) and not last["ok"] and last)
        (why,) = last["errors"]
        self.assertIn(str(self.path), why)
        self.assertEqual(self.shown(), new)
        failures = "lbproxy_frontend_tls_reloads_total"
        eventually("it is tried again", lambda: balancer.metrics()(failures, result="failure") > 2)
        self.assertEqual(balancer.process.output.count(why), 1)
        newer = self.replace()
        eventually("it is made good", lambda: self.shown() == newer)
        self.assertTrue(last_reload(balancer)["ok"])
