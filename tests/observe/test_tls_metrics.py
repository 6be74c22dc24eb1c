"""The metrics of TLS: handshakes from zero on, and when certificates end."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.observe.metrics import SiteCollector, render_metrics
from lbproxy.tls.backends import BackendTls
from lbproxy.tls.failures import CAUSES
from lbproxy.tls.watch import CertificateWatch

from ..support import START, Rig
from ..tls.fake_store import FakeStore, Shown, Threads
from ..tls.servers import authority_file, certificate_file, issued

PREFIX = "lbproxy_frontend_tls_"


class TlsMetricsTests(SynchronousTestCase):
    """``tls_families``, as a scraper reads it."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.store = FakeStore()
        store: Any = self.store
        self.clock = Clock()
        self.clock.advance(START)
        self.watch: CertificateWatch | None = CertificateWatch(store, self.clock, 0, in_thread=Threads())
        self.watch.start()
        self.addCleanup(self.watch.stop)

    def samples(self) -> dict[Any, float]:
        """Names and labels of all samples, and their values."""
        registry = CollectorRegistry()
        registry.register(SiteCollector(self.rig.running(watch=self.watch)))
        families = text_string_to_metric_families(b"".join(render_metrics(registry)).decode())
        return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}

    def value(self, name: str, /, **labels: str) -> float | None:
        """Of one sample."""
        return self.samples().get((PREFIX + name, frozenset(labels.items())))

    def test_handshakes(self) -> None:
        """Those that came about, and those that did not; each cause is there before its first time."""
        self.rig.listener.handshakes = 7
        self.rig.listener.count_handshake("version")
        self.assertEqual(self.value("handshakes_total"), 7)
        for cause in set(CAUSES) - {"certificate"}:
            self.assertEqual(self.value("handshakes_failed_total", cause=cause), cause == "version", cause)
        self.assertIsNone(self.value("handshakes_failed_total", cause="certificate"))  # which is said of backends

    def test_ends(self) -> None:
        """Each certificate's, in seconds since the epoch, by its file and its first name."""
        self.store.certificates = (Shown(not_after=5e9), Shown(source="/b.pem", names=(), not_after=6e9))
        self.assertEqual(self.value("certificate_not_after_seconds", source="/etc/tls/a.pem", name="a.example"), 5e9)
        self.assertEqual(self.value("certificate_not_after_seconds", source="/b.pem", name=""), 6e9)

    def test_two_of_the_same_labels(self) -> None:
        """A scraper refuses a page on which a series stands twice: the end that comes first counts."""
        self.store.certificates = (Shown(not_after=6e9), Shown(not_after=5e9), Shown(not_after=7e9))
        ends = {labels: value for (name, labels), value in self.samples().items() if name.endswith("not_after_seconds")}
        self.assertEqual(list(ends.values()), [5e9])

    def test_reloads(self) -> None:
        """By how they ended, with the last one's, and when what is served was read."""
        assert self.watch is not None
        for result in ("success", "failure"):
            self.assertEqual(self.value("reloads_total", result=result), 0)
        self.assertEqual(self.value("last_reload_successful"), 1)
        self.clock.advance(5)
        self.watch.reload()
        self.clock.advance(5)
        self.store.wrong = "certificate: no"
        self.watch.reload()
        self.assertEqual([self.value("reloads_total", result=result) for result in ("success", "failure")], [1, 1])
        self.assertEqual(self.value("last_reload_successful"), 0)
        self.assertEqual(self.value("last_reload_success_timestamp_seconds"), START + 5)

    def test_backends(self) -> None:
        """What they are shown has a series of its own; without certificates for clients there are no handshakes with any."""
        end = datetime(2031, 1, 1, tzinfo=timezone.utc)
        path = certificate_file(self, issued("balancer.example", not_after=end))
        tls = BackendTls(ca=authority_file(self), certificate=path)
        self.watch = CertificateWatch(None, self.clock, 0, backend_tls=tls, in_thread=Threads())
        samples = self.samples()
        labels = frozenset({"source": os.path.abspath(path), "name": "balancer.example"}.items())
        self.assertEqual(samples["lbproxy_backend_tls_certificate_not_after_seconds", labels], end.timestamp())
        self.assertEqual(self.value("reloads_total", result="success"), 0)
        self.assertIsNone(self.value("handshakes_total"))

    def test_without_certificates(self) -> None:
        """There is nothing to be told of TLS."""
        self.watch = None
        self.assertEqual([name for name, _ in self.samples() if name.startswith(PREFIX)], [])
