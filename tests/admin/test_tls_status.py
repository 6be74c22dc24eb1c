"""The status report says who is shown which certificate until when, and how handshakes and reloads went."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admin.json_parts import json_parts
from lbproxy.admin.status import status
from lbproxy.admin.tls_status import tls_status
from lbproxy.tls.backends import BackendTls
from lbproxy.tls.watch import CertificateWatch

from ..support import START, Rig
from ..tls.fake_store import DAY, FakeStore, Shown, Threads
from ..tls.servers import authority_file, certificate_file, issued


class TlsStatusTests(SynchronousTestCase):
    """``tls_status``, and its place in ``status``."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.store = FakeStore(Shown(not_after=START + 13.5 * DAY), Shown(source="/b.pem", names=("b.example", "*.b.example")))
        store: Any = self.store
        clock = Clock()
        clock.advance(START)
        self.watch = CertificateWatch(store, clock, 0, in_thread=Threads())
        self.watch.start()
        self.addCleanup(self.watch.stop)

    def status(self) -> dict[str, Any]:
        """The report."""
        return tls_status(self.watch, self.rig.listener, START)

    def test_certificates(self) -> None:
        """All that is served, in the operator's order, with the one that others get."""
        first, second = self.status()["certificates"]
        self.assertEqual(
            first,
            {
                "names": ["a.example"],
                "issuer": "CN=Test CA",
                "key_type": "ECDSA",
                "not_before": "1970-01-01T00:00:00.000Z",
                "not_after": "1970-01-14T12:16:40.000Z",
                "days_left": 13.5,
                "source": "/etc/tls/a.pem",
                "fingerprint": "ab" * 32,
                "default": True,
            },
        )
        self.assertEqual((second["names"], second["default"]), (["b.example", "*.b.example"], False))

    def test_an_expired_one(self) -> None:
        """It has less than no days left."""
        self.store.certificates = (Shown(not_after=START - 2 * DAY),)
        self.assertEqual(self.status()["certificates"][0]["days_left"], -2)

    def test_backends(self) -> None:
        """Who vouches for them, and what they are shown; with certificates for clients, and without."""
        self.assertIsNone(self.status()["backends"])
        store: Any = self.store
        ca, ours = authority_file(self), certificate_file(self, issued("balancer.example"))
        tls = BackendTls(ca=ca, certificate=ours)
        for self.watch in (
            CertificateWatch(store, Clock(), 0, backend_tls=tls, in_thread=Threads()),
            CertificateWatch(None, Clock(), 0, backend_tls=tls, in_thread=Threads()),
        ):
            backends = self.status()["backends"]
            self.assertEqual(backends["ca"], os.path.abspath(ca))
            (shown,) = backends["certificates"]
            self.assertEqual((shown["names"], shown["source"]), (["balancer.example"], os.path.abspath(ours)))
            self.assertNotIn("default", shown)
        report = self.status()
        self.assertEqual((report["profile"], report["client_auth"]), (None, None))
        self.assertEqual((report["certificates"], report["warnings"]), ([], []))

    def test_handshakes(self) -> None:
        """How many came about, and how many did not, by why."""
        self.rig.listener.handshakes = 7
        self.rig.listener.count_handshake("version")
        self.rig.listener.count_handshake("name")
        report = self.status()
        self.assertEqual((report["handshakes"], report["handshakes_failed"]), (7, {"name": 1, "version": 1}))

    def test_what_is_asked_of_clients(self) -> None:
        """The profile, and whether clients are asked for certificates."""
        self.assertEqual((self.status()["profile"], self.status()["client_auth"]), ("intermediate", None))
        self.store.client_auth = "optional"
        self.assertEqual(self.status()["client_auth"], "optional")

    def test_reloads(self) -> None:
        """The last one: when, whether it went well, and what was wrong with which file."""
        self.assertIsNone(self.status()["last_reload"])
        self.watch.reload()
        self.assertEqual(self.status()["last_reload"], {"time": "1970-01-01T00:16:40.000Z", "ok": True, "errors": []})
        self.store.wrong = "certificate: '/a.pem' has no key\ncertificate: '/b.pem' is empty"
        self.watch.reload()
        last = self.status()["last_reload"]
        self.assertEqual((last["ok"], last["errors"]), (False, self.store.wrong.splitlines()))

    def test_warnings(self) -> None:
        """What is no mistake, and yet may not be meant."""
        self.assertEqual(self.status()["warnings"], [])
        self.store.warnings = ("certificate: '/b.pem' is not shown for a.example",)
        self.assertEqual(self.status()["warnings"], list(self.store.warnings))

    def test_its_place(self) -> None:
        """It stands in /status as tls, which is null where there are no certificates."""
        running = self.rig.running(watch=self.watch)
        self.assertEqual(status(running, START)["tls"], self.status())
        self.assertIsNone(status(self.rig.running(), START)["tls"])

    def test_plain_values(self) -> None:
        """JSON can hold it."""
        report = self.status()
        self.assertEqual(json.loads(json.dumps(report)), report)

    def test_a_thousand_certificates(self) -> None:
        """They are written out in parts, between which exchanges have their turns."""
        self.store.certificates = tuple(Shown(names=(f"{number}.example",), source=f"/{number}.pem") for number in range(1000))
        report = self.status()
        parts = list(json_parts(report))
        self.assertEqual(json.loads(b"".join(parts)), report)
        self.assertGreater(len(parts), 4)
