"""What TLS with backends goes by is replaced, well and badly, and no request fails that need not."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import trustme
from cryptography import x509

from .support import PATIENCE, ask, eventually
from .test_tls_backends import TlsBackendCase
from .test_tls_reload import last_reload


class TlsBackendReloadCase(TlsBackendCase):
    """A server that demands a certificate, and a balancer that has one. By default files are read on ``SIGHUP`` alone."""

    check = "0"

    def setUp(self) -> None:
        super().setUp()
        self.shown = str(self.folder / "balancer.pem")
        self.number = self.renew()
        port = self.serve(self.certificate("a.example"), self.write("clients.pem", self.theirs.cert_pem))
        options = ("--backend-certificate", self.shown, "--certificate-check", self.check, "--probe", "tcp")
        self.proxy = self.before(port, ":verify-name=a.example", *options)

    def put(self, path: str, blob: trustme.Blob) -> None:
        """Replace a file, as who renews one does."""
        blob.write_to_path(f"{path}.new")
        os.replace(f"{path}.new", path)

    def renew(self) -> int:
        """Put a new certificate into the balancer's file; gives its number."""
        made = self.theirs.issue_cert("balancer.example")
        self.put(self.shown, made.private_key_and_cert_chain_pem)
        return x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes()).serial_number

    def seen(self, path: str = "/close") -> int:
        """The number of the certificate that the server was shown."""
        return int(ask(self.proxy.port, path).json()["client"]["serialNumber"], 16)

    def hang_up(self, ok: bool) -> Any:
        """Send the signal, and give what came of it."""
        before = last_reload(self.proxy)
        self.proxy.process.signal(signal.SIGHUP)
        eventually("files are read anew", lambda: last_reload(self.proxy) != before)
        last = last_reload(self.proxy)
        self.assertEqual(last["ok"], ok, last)
        return last


class Load:
    """Clients that send one GET after the other, over connections to the server that are kept and others that are not.

    :ivar answered: how many answers have come.
    :ivar failed: what happened otherwise, in words.
    """

    def __init__(self, case: TlsBackendReloadCase, clients: int = 4) -> None:
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
        number = 0
        while not self._stopping.wait(0.002):
            number += 1
            try:
                self._case.seen("/" if number % 3 else "/close")
            except Exception as error:
                self.failed.append(repr(error))
                return
            with self._counting:
                self.answered += 1

    def wait_for(self, number: int) -> None:
        """Wait until that many more answers have come."""
        aim = self.answered + number
        eventually(f"{number} more answers", lambda: self.answered >= aim or self.failed)

    def stop(self) -> None:
        """Let each client end its request, and stop."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)


class SignalTests(TlsBackendReloadCase):
    """``SIGHUP``."""

    def test_our_certificate_under_load(self) -> None:
        """New connections show the new one; no session from before is resumed, no connection used again; no request fails."""
        load = Load(self)
        load.wait_for(50)
        number = self.number
        for _ in range(3):
            new = self.renew()
            self.assertEqual((self.seen(), self.seen("/")), (number, number))
            self.hang_up(ok=True)
            self.assertEqual([self.seen(path) for path in ("/", "/close", "/")], [new] * 3)
            load.wait_for(50)
            number = new
        load.stop()
        self.assertEqual(load.failed, [])
        (shown,) = self.proxy.admin("/status").json()["tls"]["backends"]["certificates"]
        self.assertEqual((shown["names"], shown["source"]), (["balancer.example"], self.shown))
        self.assertGreater(self.proxy.metrics()("lbproxy_backend_tls_certificate_not_after_seconds"), 0)

    def test_a_mistake(self) -> None:
        """What was gone by before still is; /status and the log say which file is wrong, and why. Then it is made good."""
        self.put(self.ca, self.theirs.private_key_pem)
        (why,) = self.hang_up(ok=False)["errors"]
        self.assertIn(f"backend-ca: {self.ca!r} has no certificate in it", why)
        self.assertIn(why, self.proxy.process.output)
        self.assertEqual(self.seen(), self.number)
        self.put(self.ca, self.ours.cert_pem)
        new = self.renew()
        self.hang_up(ok=True)
        self.assertEqual(self.seen(), new)

    def test_an_authority_that_is_not_trusted_any_more(self) -> None:
        """The server that it vouched for gets no request, though there were connections to it and sessions with it."""
        self.assertEqual(self.seen("/"), self.number)
        self.put(self.ca, self.theirs.cert_pem)
        self.hang_up(ok=True)
        self.assertEqual(ask(self.proxy.port, "/").status, 503)
        self.assertIn("signed by no authority that is trusted here", self.about(self.proxy)["reason"])

    def test_under_nohup(self) -> None:
        """It is heard where it would be ignored, if there are files for backends alone."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which the process inherits
        try:
            self.proxy = self.balancer("--backend-ca", self.ca, backends=["https://127.0.0.1:1:verify-name=a.example"])
        finally:
            signal.signal(signal.SIGHUP, before)
        self.hang_up(ok=True)


class WatchTests(TlsBackendReloadCase):
    """Files that are looked at."""

    check = "0.2"

    def test_a_file_that_changes(self) -> None:
        """Nobody need send a signal."""
        new = self.renew()
        eventually("the new certificate is shown", lambda: self.seen("/") == new)
