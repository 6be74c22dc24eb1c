"""The status of a backend says what it is, how it is, and why."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admin.backend_status import backend_status
from lbproxy.balance.state import Wish
from lbproxy.settings import Settings

from ..support import GET, Rig

FIRST = "10.0.0.1:8000"


class BackendStatusTests(SynchronousTestCase):
    """``backend_status`` of the first of two backends."""

    def setUp(self) -> None:
        """A balancer with two backends."""
        self.rig = Rig("10.0.0.1:8000:weight=5,10.0.0.2:8000", retries=0)

    def report(self, address: str = FIRST) -> dict[str, Any]:
        """What it says now."""
        return backend_status(self.rig.balancer, self.rig.member(address), self.rig.reactor.seconds())

    def test_one_that_nothing_has_happened_to(self) -> None:
        """It is up since it was added, and says so."""
        expected: dict[str, Any] = {
            "address": "10.0.0.1:8000",
            "scheme": "http",
            "verify": None,
            "verify_name": None,
            "state": "up",
            "up": True,
            "want": "ready",
            "reason": "not checked yet",
            "source": "start",
            "evidence": {},
            "last_change": "1970-01-01T00:16:40.000Z",
            "probe": None,
            "weight": 5,
            "effective_weight": 5.0,
            "warming": None,
            "tier": 0,
            "max_in_flight": None,
            "in_flight": 0,
            "requests": 0,
            "statuses": {},
            "latency": None,
            "failures": 0,
            "failing": 0,
            "ejected": None,
            "ejections": 0,
            "idle_connections": 0,
        }
        self.assertEqual(self.report(), expected)
        self.assertEqual(json.loads(json.dumps(expected)), expected)

    def test_how_tls_is_spoken_with_it(self) -> None:
        """Whether it is, whether its certificate is verified, and for whom it must be."""
        for place, expected in (
            ("http://a:443", ("http", None, None)),
            ("https://a:443", ("https", True, "a")),
            ("https://a:443:verify-name=b", ("https", True, "b")),
            ("https://a:443:verify=off", ("https", False, "a")),
        ):
            self.rig = Rig(place)
            report = self.report("a:443")
            self.assertEqual((report["scheme"], report["verify"], report["verify_name"]), expected)

    def test_one_that_refused(self) -> None:
        """It is down, with the reason, who found it, and when; the other one took over."""
        self.rig.client().send(GET)
        self.rig.reactor.advance(1)
        self.rig.refuse()
        report = self.report()
        self.assertEqual((report["state"], report["up"], report["want"], report["source"]), ("down", False, "ready", "traffic"))
        self.assertEqual((report["failures"], report["requests"], report["ejections"]), (1, 1, 1))
        self.assertTrue(report["reason"].startswith("refused: "))
        self.assertEqual(report["evidence"], {"traffic": report["reason"]})
        self.assertEqual(report["last_change"], "1970-01-01T00:16:41.000Z")
        self.assertEqual(self.report("10.0.0.2:8000")["in_flight"], 1)

    def test_one_that_the_operator_drains(self) -> None:
        """Its health stays visible beside the wish, which is why the state is what it is."""
        self.rig.mark(FIRST, up=True)
        for want, state in (("drain", "draining"), ("maintenance", "maintenance")):
            self.rig.pool.wish(Wish(FIRST, want))
            report = self.report()
            self.assertEqual((report["state"], report["want"], report["up"]), (state, want, True))
            self.assertEqual((report["source"], report["reason"]), ("operator", f"the operator wants it so: {want}"))

    def test_the_operators_words_are_the_reason(self) -> None:
        """Where the pool has kept them."""
        self.rig.pool.wish(Wish(FIRST, "drain"))
        self.rig.member().evidence["operator"] = "kernel update"
        self.assertEqual(self.report()["reason"], "kernel update")

    def test_one_that_is_down_while_it_drains(self) -> None:
        """It is down, and the reason is why."""
        self.rig.pool.wish(Wish(FIRST, "drain"))
        self.rig.mark(FIRST, up=False)
        report = self.report()
        self.assertEqual((report["state"], report["source"], report["reason"]), ("down", "probe", "as the test says"))

    def test_what_it_answered(self) -> None:
        """Statuses, and the mean of the seconds to their heads."""
        member = self.rig.member()
        for status, seconds in ((404, 0.5), (200, 0.1), (200, 0.3)):
            member.answered(status, seconds)
        report = self.report()
        self.assertEqual((report["statuses"], report["latency"]), ({"200": 2, "404": 1}, 0.3))

    def test_what_the_operator_set(self) -> None:
        """Its tier and its limit."""
        self.rig = Rig("10.0.0.1:8000:tier=3:max-in-flight=9")
        self.assertEqual((self.report()["tier"], self.report()["max_in_flight"]), (3, 9))
        self.rig = Rig("10.0.0.1:8000:backup")
        self.assertEqual(self.report()["tier"], "backup")

    def test_one_that_warms_up(self) -> None:
        """How much less it gets, and for how long."""
        self.rig.pool.settings = Settings(slow_start=10.0)
        self.rig.mark(FIRST, up=False)
        self.rig.mark(FIRST, up=True)
        self.assertEqual((self.report()["effective_weight"], self.report()["warming"]), (0.5, 10.0))
        self.rig.reactor.advance(4)
        self.rig.pool.tick()
        self.assertEqual((self.report()["weight"], self.report()["effective_weight"], self.report()["warming"]), (5, 2.0, 6.0))
        self.rig.reactor.advance(6)
        self.assertEqual(self.report()["warming"], 0.0)
        self.rig.pool.tick()
        self.assertEqual((self.report()["effective_weight"], self.report()["warming"]), (5.0, None))

    def test_its_last_probe(self) -> None:
        """What the schedule last found, when, how long it took, and how often in a row."""
        self.rig.balancer.start()
        self.rig.reactor.advance(1.5)
        self.rig.probe.checks[0][1].errback(ValueError("not the page that was hoped for"))
        self.assertEqual(
            self.report()["probe"],
            {
                "up": False,
                "evidence": "probe: not the page that was hoped for",
                "time": "1970-01-01T00:16:41.500Z",
                "seconds": 1.5,
                "in_a_row": 1,
            },
        )
        self.assertIsNone(self.report("10.0.0.2:8000")["probe"])
