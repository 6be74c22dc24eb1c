"""The metrics of backends say of each member of the pool how it is, and nothing of those that have left."""

from __future__ import annotations

import re

from lbproxy.balance.state import Verdict, Wish
from lbproxy.settings import Settings

from ..support import Rig
from .test_metrics import FIRST, POOL, MetricsCase


class BackendMetricsTests(MetricsCase):
    """``render_metrics``, of backends and the pool's health."""

    def states(self) -> dict[str, float]:
        """Which state the first backend is in."""
        return {
            state: self.value("lbproxy_backend_state", {**FIRST, "state": state})
            for state in ("up", "down", "draining", "maintenance")
        }

    def backends(self) -> list[float]:
        """How many are in each state."""
        states = ("up", "down", "draining", "maintenance")
        return [self.value("lbproxy_pool_backends", {**POOL, "state": state}) for state in states]

    def test_up_and_down(self) -> None:
        """A backend is 1 while it is up and 0 while it is down, with the time of the change."""
        self.assertEqual(self.value("lbproxy_backend_up", FIRST), 1)
        self.rig.reactor.advance(5)
        self.rig.mark("10.0.0.1:8000", up=False)
        self.assertEqual(self.value("lbproxy_backend_up", FIRST), 0)
        self.assertEqual(self.value("lbproxy_backend_last_change_timestamp_seconds", FIRST), self.rig.reactor.seconds())

    def test_idle_connections(self) -> None:
        """Idle connections to a backend are shown."""
        self.assertEqual(self.value("lbproxy_backend_idle_connections", FIRST), 1)

    def test_probes(self) -> None:
        """Probes are counted by what they found, from nought on."""
        self.assertEqual(self.value("lbproxy_backend_probes_total", {**FIRST, "result": "up"}), 0)
        self.rig.probe.checks[0][1].callback("well")
        self.assertEqual(self.value("lbproxy_backend_probes_total", {**FIRST, "result": "up"}), 1)
        self.assertEqual(self.value("lbproxy_backend_probes_total", {**FIRST, "result": "down"}), 0)

    def test_backend_gone(self) -> None:
        """The series of a backend end when it leaves the pool."""
        self.rig.probe.checks[0][1].callback("well")
        rest = Rig("10.0.0.2:8000").pool.members.values()
        self.rig.pool.set_backends([member.backend for member in rest])
        self.assertNotIn("10.0.0.1:8000", self.text())

    def test_every_series_of_a_backend_ends(self) -> None:
        """Whatever it has answered; and none of those that stay does."""
        second = {"pool": "default", "backend": "10.0.0.2:8000"}
        both = self.rig = Rig("10.0.0.1:8000,10.0.0.2:8000")
        for address in both.pool.members:
            both.member(address).answered(200, 0.1)
            both.pool.apply(Verdict(address, False, "refused", "traffic"))
        text = self.text()
        of_each = [set(re.findall(rf"(lbproxy_\w+)\{{.*10\.0\.0\.{number}", text)) for number in (1, 2)]
        self.assertEqual(of_each[0], of_each[1])
        self.assertGreater(len(of_each[0]), 12)
        both.pool.set_backends([both.member("10.0.0.2:8000").backend])
        text = self.text()
        self.assertNotIn("10.0.0.1", text)
        self.assertEqual(set(re.findall(r"(lbproxy_\w+)\{.*10\.0\.0\.2", text)), of_each[1])
        self.assertEqual(self.value("lbproxy_backend_responses_total", {**second, "code": "200"}), 1)

    def test_states(self) -> None:
        """A backend is in one of four states, and the pool counts them."""
        self.assertEqual(self.states(), {"up": 1, "down": 0, "draining": 0, "maintenance": 0})
        for act, state in (
            (lambda: self.rig.pool.wish(Wish("10.0.0.1:8000", "drain")), "draining"),
            (lambda: self.rig.mark("10.0.0.1:8000", up=False), "down"),
            (lambda: self.rig.pool.wish(Wish("10.0.0.1:8000", "maintenance")), "maintenance"),
        ):
            act()
            self.assertEqual([word for word, value in self.states().items() if value], [state])
        self.rig = Rig("10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000,10.0.0.4:8000")
        self.rig.mark("10.0.0.1:8000", up=False)
        self.rig.pool.wish(Wish("10.0.0.4:8000", "maintenance"))
        self.assertEqual(self.backends(), [2, 1, 0, 1])

    def test_responses(self) -> None:
        """Responses are counted by status, each with the seconds to its head."""
        self.rig = Rig()
        for status, seconds in ((200, 0.002), (503, 0.3), (200, 20.0)):
            self.rig.member().answered(status, seconds)
        self.assertEqual(self.value("lbproxy_backend_responses_total", {**FIRST, "code": "200"}), 2)
        self.assertEqual(self.value("lbproxy_backend_responses_total", {**FIRST, "code": "503"}), 1)
        name = "lbproxy_backend_response_seconds"
        buckets = [self.value(f"{name}_bucket", {**FIRST, "le": bound}) for bound in ("0.001", "0.0025", "0.5", "10.0", "+Inf")]
        self.assertEqual(buckets, [0, 1, 2, 2, 3])
        self.assertEqual(self.value(f"{name}_count", FIRST), 3)
        self.assertAlmostEqual(self.value(f"{name}_sum", FIRST), 20.302)

    def test_what_a_client_got_is_a_response(self) -> None:
        """One that came through the balancer is among them."""
        self.assertEqual(self.value("lbproxy_backend_responses_total", {**FIRST, "code": "200"}), 1)
        self.assertEqual(self.value("lbproxy_backend_response_seconds_count", FIRST), 1)

    def test_ejections(self) -> None:
        """How often traffic took a backend out; what a probe found is none."""
        self.rig.mark("10.0.0.1:8000", up=False)
        self.rig.mark("10.0.0.1:8000", up=True)
        self.assertEqual(self.value("lbproxy_backend_ejections_total", FIRST), 0)
        self.rig.mark("10.0.0.1:8000", up=False, source="traffic")
        self.assertEqual(self.value("lbproxy_backend_ejections_total", FIRST), 1)

    def test_weight(self) -> None:
        """It is the effective one."""
        self.rig = Rig("10.0.0.1:8000:weight=5")
        self.assertEqual(self.value("lbproxy_backend_weight", FIRST), 5)
        self.rig.pool.settings = Settings(slow_start=10.0)
        self.rig.mark("10.0.0.1:8000", up=False)
        self.rig.mark("10.0.0.1:8000", up=True)
        self.assertEqual(self.value("lbproxy_backend_weight", FIRST), 0.5)

    def test_panic(self) -> None:
        """Whether health is ignored."""
        self.rig = Rig("10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000")
        self.assertEqual(self.value("lbproxy_pool_panic", POOL), 0)
        self.rig.pool.settings = Settings(panic=50)
        for address in ("10.0.0.1:8000", "10.0.0.2:8000"):
            self.rig.mark(address, up=False)
        self.assertEqual(self.value("lbproxy_pool_panic", POOL), 1)
