"""A day in a pool's life: one backend gets slow, one dies and comes back, one is drained; under load, and nothing is lost."""

from __future__ import annotations

import datetime
import time
from typing import Any

from .support import Backend, IntegrationTestCase, Load, LoadBalancer, eventually

#: An attempt is given up after this many seconds; the slow backend takes twice as many.
ATTEMPT = 0.5
EJECTION = 1.0


class StoryTests(IntegrationTestCase):
    """Three backends, and eight clients that ask one thing after the other over connections that they keep."""

    def setUp(self) -> None:
        super().setUp()
        self.slow, self.dead, self.drained = self.all = self.backends("abc")
        # While it is up a backend is probed once: its clients find out what becomes of it. A death costs each of the eight one
        # request at most, which is too few for an ejection: it is refused connections that tell of it.
        self.lb: LoadBalancer = self.balancer(
            "--admin-writable", "--attempt-timeout", str(ATTEMPT), "--eject-time", str(EJECTION),
            "--probe-interval", "600", "--probe-down-interval", "0.2",
            "--eject-failures", "9", backends=self.all,
        )  # fmt: skip
        self.load = Load(self, self.lb.port, clients=8)
        self.load.wait_for(100)

    def test_one_is_slow_one_is_killed_one_is_drained_and_nothing_is_lost(self) -> None:
        """No request fails; the status says at each step who is out, why and since when; the events tell it all in order, and
        the metrics agree."""
        self.one_gets_slow()
        self.one_is_killed()
        self.one_is_drained()
        self.load.stop()
        self.assertEqual(self.load.failed, [])
        self.the_events_tell_it()
        self.the_metrics_agree()

    def one_gets_slow(self) -> None:
        """Its clients wait for it no longer than an attempt may take; then it is left alone for a while."""
        began = time.time()
        self.slow.direct(f"/fault?kind=slow&seconds={2 * ATTEMPT}")
        self.lb.wait_state(self.slow, "down")
        self.slow.direct("/fault?kind=none")
        self.told(self.slow, "down", "traffic", "9 failures in a row .* attempt-timeout; ejected for 1 s", began)
        self.load.wait_for(50)
        self.lb.wait_state(self.slow, "up")
        self.told(self.slow, "up", "traffic", "ejected for 1 s, which are over", began + EJECTION)
        self.load.wait_for(20, self.slow)

    def one_is_killed(self) -> None:
        """Whoever is at it goes on elsewhere; a probe brings it back."""
        began = time.time()
        self.dead.stop()
        self.lb.wait_state(self.dead, "down")
        self.told(self.dead, "down", "traffic|probe", "refused", began)  # the events tell who was the first
        eventually("a probe finds it dead too", lambda: not self.lb.of(self.dead)["probe"]["up"])
        self.load.wait_for(100)
        began = time.time()
        self.dead.start()
        self.lb.wait_state(self.dead, "up")
        self.told(self.dead, "up", "probe", "connected", began)
        self.load.wait_for(20, self.dead)

    def one_is_drained(self) -> None:
        """What is under way there is finished, and nothing follows; what the operator said is to be read."""
        began = time.time()
        self.lb.wish(self.drained, "drain", "a new kernel")
        self.told(self.drained, "draining", "operator", "a new kernel", began)
        eventually("its exchanges have ended", lambda: not self.lb.of(self.drained)["in_flight"])
        before = len(self.drained.seen()["requests"])
        self.load.wait_for(200)
        self.assertEqual(len(self.drained.seen()["requests"]), before)
        began = time.time()
        self.assertEqual(self.lb.wish(self.drained, "ready")["state"], "up")
        self.assertGreaterEqual(changed(self.lb.of(self.drained)), began - 0.001)
        self.load.wait_for(20, self.drained)

    def told(self, backend: Backend, state: str, source: str, reason: str, began: float) -> None:
        """The status says of a backend how it is, why, and since when; of the others that they are up."""
        about = self.lb.of(backend)
        self.assertEqual(about["state"], state)
        self.assertRegex(about["source"], f"^({source})$")
        self.assertRegex(about["reason"], reason)
        self.assertTrue(began - 0.001 <= changed(about) <= time.time(), about)
        self.assertEqual([self.lb.of(other)["state"] for other in self.all if other is not backend], ["up"] * 2)

    def the_events_tell_it(self) -> None:
        """Each change once, in order, with its evidence."""
        slow, dead, drained = (backend.place for backend in self.all)
        told = [
            (slow, "up", "down", "traffic", "9 failures in a row within 10 s, the last one: attempt-timeout; ejected for 1 s"),
            (slow, "down", "up", "traffic", "ejected for 1 s, which are over"),
            (dead, "up", "down", "traffic", "refused"),
            (dead, "down", "up", "probe", "connected"),
            (drained, "up", "draining", "operator", "a new kernel"),
            (drained, "draining", "up", "operator", "the operator wants it so: ready"),
        ]
        events = self.lb.events()
        self.assertEqual(
            [tuple(event[name] for name in ("address", "was", "now", "source")) for event in events], [one[:4] for one in told]
        )
        for event, one in zip(events, told, strict=True):
            self.assertIn(one[4], event["reason"])
        self.assertEqual([event["number"] for event in events], [*range(1, 7)])
        self.assertEqual(sorted(events, key=lambda event: str(event["time"])), events)

    def the_metrics_agree(self) -> None:
        """Ejections, states and answers, by backend."""
        metrics = self.lb.metrics()
        for backend, ejections in zip(self.all, (1, 1, 0), strict=True):
            name = backend.place
            self.assertEqual(metrics("lbproxy_backend_ejections_total", backend=name), ejections)
            self.assertEqual(metrics("lbproxy_backend_state", backend=name, state="up"), 1)
            self.assertEqual(metrics("lbproxy_backend_state", backend=name), 1)
            self.assertEqual(metrics("lbproxy_backend_responses_total", backend=name), self.load.answered[backend.name])
        self.assertEqual(metrics("lbproxy_pool_ejections_total", cause="attempt-timeout"), 1)
        self.assertEqual(metrics("lbproxy_pool_requests_total"), sum(self.load.answered.values()))
        self.assertEqual(metrics("lbproxy_pool_retry_budget_refused_total"), 0)


def changed(about: Any) -> float:
    """When a backend's state last changed, in seconds since the epoch."""
    return datetime.datetime.fromisoformat(about["last_change"].replace("Z", "+00:00")).timestamp()
