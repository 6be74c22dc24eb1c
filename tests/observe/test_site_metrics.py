"""The metrics of several pools, of routes, and of what the site goes by."""

from __future__ import annotations

from typing import Any

import attrs
from prometheus_client.parser import text_string_to_metric_families

from lbproxy.discovery.file import LOOK_INTERVAL
from lbproxy.observe.metrics import metrics_registry, render_metrics
from lbproxy.state_file import StateFile

from ..admin.support import POOLS, Reloads, SeveralCase
from ..support import START
from ..tls.fake_store import Threads


@attrs.frozen
class Result:
    """What came of a reload."""

    when: float
    ok: bool
    errors: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


class SiteMetricsTests(SeveralCase):
    """``render_metrics`` of a site with three pools."""

    def text(self, **more: Any) -> str:
        """What a scraper gets."""
        return b"".join(render_metrics(metrics_registry(self.running(memberships=self.memberships, **more)))).decode()

    def families(self, **more: Any) -> list[Any]:
        """What it reads of it."""
        return list(text_string_to_metric_families(self.text(**more)))

    def value(self, name: str, /, *, more: Any = None, **labels: str) -> float | None:
        """Of one sample; None: there is no such series."""
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families(**(more or {}))
            for sample in family.samples
        }
        return samples.get((f"lbproxy_{name}", frozenset(labels.items())))

    def test_every_family_once_with_all_pools(self) -> None:
        """Prometheus takes no page where a family stands twice."""
        types = [line for line in self.text().splitlines() if line.startswith("# TYPE")]
        self.assertEqual(len(types), len(set(types)))
        self.assertGreater(len(types), 50)
        for family in self.families():
            if family.name.startswith("lbproxy_pool_") and family.samples and "pool" in family.samples[0].labels:
                self.assertEqual({sample.labels["pool"] for sample in family.samples}, set(POOLS), family.name)

    def test_backends_by_pool(self) -> None:
        """One that several pools have is shown for each."""
        self.mark_down("app")
        self.assertEqual(self.value("backend_up", pool="app", backend="both:1"), 0)
        self.assertEqual(self.value("backend_up", pool="canary", backend="both:1"), 1)
        self.assertEqual(self.value("pool_backends", pool="app", state="down"), 2)
        self.assertEqual(self.value("pool_backends", pool="shadow", state="up"), 1)

    def test_exchanges_by_pool(self) -> None:
        """Each pool's are its own."""
        self.pool("app").counters.count(200, "done", 0.2)
        self.pool("canary").counters.count(503, "refused", 0.2)
        self.assertEqual(self.value("pool_requests_total", pool="app", code="200"), 1)
        self.assertEqual(self.value("pool_requests_total", pool="canary", code="503"), 1)
        self.assertIsNone(self.value("pool_requests_total", pool="app", code="503"))
        self.assertEqual(self.value("pool_request_duration_seconds_count", pool="app"), 1)

    def test_a_pool_that_goes(self) -> None:
        """Its series end."""
        del self.site.balancers["canary"]
        self.assertIsNone(self.value("pool_in_flight", pool="canary"))
        self.assertEqual(self.value("pool_in_flight", pool="app"), 0)

    def test_routes(self) -> None:
        """What came of the exchanges that took them, and what their filters did; a route that goes takes its series along."""
        live = self.route()
        live["mixed"].statuses, live["mixed"].filtered = {200: 2, 429: 1}, {"rate-limited": 1}
        self.assertEqual(self.value("route_requests_total", route="mixed", code="429"), 1)
        self.assertEqual(self.value("filter_actions_total", route="mixed", action="rate-limited"), 1)
        self.site.router.route(self.site.router.table, {})
        self.assertIsNone(self.value("route_requests_total", route="mixed", code="429"))

    def test_unrouted(self) -> None:
        """Exchanges that no pool got; that there was no route is counted from nought on."""
        self.assertEqual(self.value("unrouted_ends_total", end="no-route"), 0)
        counters = self.site.router.counters
        counters.count(404, "no-route", 0.1)
        counters.in_flight = 2
        self.assertEqual(self.value("unrouted_ends_total", end="no-route"), 1)
        self.assertEqual(self.value("unrouted_requests_total", code="404"), 1)
        self.assertEqual(self.value("unrouted_in_flight"), 2)

    def test_reloads(self) -> None:
        """How the last one went, and how many did; where the configuration was in no file there are none."""
        self.assertIsNone(self.value("config_last_reload_success"))
        more = {"reloader": Reloads()}
        self.assertEqual(self.value("config_last_reload_success", more=more), 1)
        self.assertEqual(self.value("config_last_reload_timestamp_seconds", more=more), START)
        self.assertEqual(self.value("config_reloads_total", more=more, result="failure"), 0)
        more["reloader"].last, more["reloader"].counts = Result(START + 9, False), {"failure": 2, "success": 1}
        self.assertEqual(self.value("config_last_reload_success", more=more), 0)
        self.assertEqual(self.value("config_last_reload_timestamp_seconds", more=more), START + 9)
        self.assertEqual(self.value("config_reloads_total", more=more, result="failure"), 2)

    def test_files_that_list_members(self) -> None:
        """How reading them went, by pool."""
        self.memberships.configure(self.pool("app").pool, (), "/nowhere")
        self.assertEqual(self.value("members_file_last_read_success", pool="app"), 1)
        self.memberships.start()
        self.addCleanup(self.memberships.stop)
        self.reactor.advance(LOOK_INTERVAL)
        self.assertEqual(self.value("members_file_last_read_success", pool="app"), 0)
        self.assertEqual(self.value("members_file_reads_total", pool="app", result="failure"), 2)
        self.assertEqual(self.value("members_file_reads_total", pool="app", result="success"), 0)
        self.assertEqual(self.value("members_file_last_read_success_timestamp_seconds", pool="app"), START)
        self.assertIsNone(self.value("members_file_last_read_success", pool="canary"))

    def test_a_state_file(self) -> None:
        """Whether it is written."""
        self.assertIsNone(self.value("state_file_last_write_success"))
        state = StateFile("/nowhere/state.json", self.memberships, self.reactor, Threads())
        more = {"state_file": state}
        self.assertEqual(self.value("state_file_last_write_success", more=more), 1)
        state.error, state.failures = "disk full", 3
        self.assertEqual(self.value("state_file_last_write_success", more=more), 0)
        self.assertEqual(self.value("state_file_failures_total", more=more), 3)
