"""The metrics say what the counters say, in words that Prometheus takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy import http1
from lbproxy.http1.client import UpstreamConnection
from lbproxy.observe.access_log import AccessLog
from lbproxy.observe.metrics import PART_SAMPLES, SiteCollector, metrics_registry, render_metrics

from ..support import GET, OK, Rig, post

#: The modules that refuse requests.
SOURCES = "".join(path.read_text() for path in Path(http1.__file__).parent.glob("*.py"))

POOL = {"pool": "default"}
FIRST = {"pool": "default", "backend": "10.0.0.1:8000"}


class MetricsCase(SynchronousTestCase):
    """A balancer that has carried an exchange, and what a scraper reads of it."""

    def setUp(self) -> None:
        """A balancer with one finished exchange."""
        self.rig = Rig()
        self.rig.kept_alive()

    def registry(self) -> CollectorRegistry:
        """The registry of the rig's site, without the process's own metrics."""
        registry = CollectorRegistry()
        registry.register(SiteCollector(self.rig.running("1.2.3")))
        return registry

    def text(self) -> str:
        """What a scraper gets."""
        return b"".join(render_metrics(self.registry())).decode()

    def value(self, name: str, labels: dict[str, str] | None = None) -> Any:
        """What a scraper reads for one sample."""
        families = text_string_to_metric_families(self.text())
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples
        }
        return samples.get((name, frozenset((labels or {}).items())))

    def answer(self) -> None:
        """Every backend that was connected to answers."""
        for watched in list(self.rig.balancer.sweep.watched):
            if isinstance(watched, UpstreamConnection):
                watched.dataReceived(OK)


class MetricsTests(MetricsCase):
    """``render_metrics`` as a whole, and of clients' side."""

    def test_valid(self) -> None:
        """A scraper can read all of it, every metric has a help text, and all counters end in _total."""
        families = list(text_string_to_metric_families(self.text()))
        self.assertGreater(len(families), 20)
        for family in families:
            self.assertTrue(family.documentation, family.name)
            if family.type == "counter":
                self.assertTrue(all(sample.name.endswith("_total") for sample in family.samples), family.name)

    def test_in_parts(self) -> None:
        """Together the parts are what the library writes, each metric in one piece; and none of them is large."""
        self.rig = Rig(",".join(f"10.0.0.{number}:8000" for number in range(1, 100)))
        parts = list(render_metrics(self.registry()))
        self.assertEqual(b"".join(parts), generate_latest(self.registry()))
        self.assertGreater(len(parts), 4)
        for part in parts:
            self.assertLess(part.count(b"lbproxy_") - part.count(b"# "), 2 * PART_SAMPLES)

    def test_few_backends_are_one_part(self) -> None:
        """A scrape of them is answered at once."""
        self.rig = Rig("10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000")
        self.assertEqual(len(list(render_metrics(self.registry()))), 1)

    def test_build_info(self) -> None:
        """The version is a label."""
        self.assertEqual(self.value("lbproxy_build_info", {"version": "1.2.3"}), 1)

    def test_connections(self) -> None:
        """Clients' connections are counted: all of them, and those open now."""
        self.rig.client().reset()
        self.assertEqual(self.value("lbproxy_frontend_connections_total"), 2)
        self.assertEqual(self.value("lbproxy_frontend_connections"), 1)

    def test_rejected(self) -> None:
        """Requests refused at the door are counted by cause."""
        self.rig.client().send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(self.value("lbproxy_frontend_rejected_total", {"cause": "host"}), 1)

    def test_timeouts(self) -> None:
        """Connections ended by a time-out are counted by what was waited for."""
        self.rig.listener.timed_out["head"] = 3
        self.assertEqual(self.value("lbproxy_frontend_timeouts_total", {"phase": "head"}), 3)

    def test_from_the_beginning(self) -> None:
        """What has not struck yet is 0, so that its first time shows as an increase; every cause of a refusal is among it."""
        for name, label, words in (
            ("rejected", "cause", set(re.findall(r'BadMessage\("([a-z-]+)"', SOURCES)) - {"interim", "upgrade"}),
            ("timeouts", "phase", {"idle", "head", "body", "write", "handshake"}),
            ("limits", "limit", {"connections", "requests", "drain"}),
        ):
            self.assertGreaterEqual(len(words), 3)
            for word in words:
                self.assertEqual(self.value(f"lbproxy_frontend_{name}_total", {label: word}), 0, word)
        self.rig.listener.rejected["new"] = 1
        self.assertEqual(self.value("lbproxy_frontend_rejected_total", {"cause": "new"}), 1)

    def test_limits(self) -> None:
        """What the limits did is counted by limit, and the limit of connections is shown."""
        self.rig.listener.limited["connections"] = 2
        self.rig.listener.fields_dropped = 4
        self.rig.listener.connections_limit = 1000
        self.assertEqual(self.value("lbproxy_frontend_limits_total", {"limit": "connections"}), 2)
        self.assertEqual(self.value("lbproxy_frontend_fields_dropped_total"), 4)
        self.assertEqual(self.value("lbproxy_frontend_connections_limit"), 1000)

    def test_tunnels(self) -> None:
        """Tunnels are shown while they are open and counted for ever, and so are interim responses."""
        counters = self.rig.counters
        counters.tunnels, counters.tunnels_total, counters.interim = 1, 2, 3
        self.assertEqual(self.value("lbproxy_pool_tunnels", POOL), 1)
        self.assertEqual(self.value("lbproxy_pool_tunnels_total", POOL), 2)
        self.assertEqual(self.value("lbproxy_pool_interim_total", POOL), 3)

    def test_requests(self) -> None:
        """Exchanges are counted by status and by end."""
        self.assertEqual(self.value("lbproxy_pool_requests_total", {**POOL, "code": "200"}), 1)
        self.assertEqual(self.value("lbproxy_pool_ends_total", {**POOL, "end": "done"}), 1)

    def test_in_flight(self) -> None:
        """What runs now is shown for the pool and for the backend."""
        self.rig.client().send(GET)
        self.assertEqual(self.value("lbproxy_pool_in_flight", POOL), 1)
        self.assertEqual(self.value("lbproxy_backend_in_flight", FIRST), 1)

    def test_durations(self) -> None:
        """Durations are a histogram: cumulative buckets, and their sum in seconds."""
        self.rig.client().send(GET)
        self.rig.reactor.advance(0.3)
        self.answer()
        name = "lbproxy_pool_request_duration_seconds"
        buckets = [self.value(f"{name}_bucket", {**POOL, "le": bound}) for bound in ("0.001", "0.25", "0.5", "10.0", "+Inf")]
        self.assertEqual(buckets, [1, 1, 2, 2, 2])
        self.assertEqual(self.value(f"{name}_count", POOL), 2)
        self.assertAlmostEqual(self.value(f"{name}_sum", POOL), 0.3)

    def test_bytes(self) -> None:
        """Bodies are counted in both directions."""
        client = self.rig.client()
        client.send(post(b"hello"))
        self.answer()
        self.assertEqual(self.value("lbproxy_pool_request_bytes_total", POOL), 5)
        self.assertEqual(self.value("lbproxy_pool_response_bytes_total", POOL), 4)

    def test_retries(self) -> None:
        """Retries are counted, and the failures that made them, by backend."""
        rig = self.rig = Rig()
        rig.client().send(GET)
        rig.refuse(2)
        self.assertEqual(self.value("lbproxy_pool_retries_total", POOL), 2)
        self.assertEqual(self.value("lbproxy_pool_replays_lost_total", POOL), 0)
        self.assertEqual(self.value("lbproxy_backend_failures_total", FIRST), 2)
        self.assertEqual(self.value("lbproxy_backend_requests_total", FIRST), 3)
        self.assertEqual(self.value("lbproxy_backend_connects_total", FIRST), 3)

    def test_lost_log_lines(self) -> None:
        """Lines that the access log lost are counted."""
        log = AccessLog("/dev/full", "combined", Clock())
        log.open()
        self.addCleanup(log.close)
        log.exchange_finished(self.rig.ended[0])
        log.flush()
        self.rig.resource.site.router.observers = (log,)
        self.assertEqual(self.value("lbproxy_access_log_dropped_total"), 1)

    def test_own_registry(self) -> None:
        """Several balancers can be in one process: each has a registry of its own and the global one stays as it is."""
        before = list(REGISTRY._collector_to_names)
        registries = [metrics_registry(self.rig.running()) for _ in range(2)]
        for registry in registries:
            self.assertIn(b"lbproxy_build_info", next(render_metrics(registry)))
        self.assertEqual(list(REGISTRY._collector_to_names), before)

    def test_process(self) -> None:
        """The process's own figures are there too."""
        text = b"".join(render_metrics(metrics_registry(self.rig.running())))
        self.assertIn(b"process_cpu_seconds_total", text)
