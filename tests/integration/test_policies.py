"""Every policy in a process of its own, as an operator names it."""

from __future__ import annotations

import os
from collections import Counter

from .support import Backend, IntegrationTestCase, Load, LoadBalancer, ask, eventually, send

#: A user's policy, as its file would stand beside an application.
PLUGIN = '''\
from twisted.plugin import IPlugin
from zope.interface import implementer

from lbproxy import Policy
from lbproxy.interfaces import IPolicyMaker


class Last(Policy):
    """The last one given takes all."""

    name = "last"

    def candidates(self, exchange=None):
        yield from reversed(self.members)


@implementer(IPlugin, IPolicyMaker)
class Maker:
    name = "last"
    help = "the last one given takes all"

    def make(self, options, random, seconds):
        return Last()


maker = Maker()
'''

#: Seconds that the slow backend takes for each request: many times what the others do.
SLOW = 0.3


class SharesTests(IntegrationTestCase):
    """Three backends; the first has twice the weight of each of the others."""

    def setUp(self) -> None:
        super().setUp()
        self.all = self.backends("abc")
        self.places = [f"{self.all[0].place}:weight=2", self.all[1].place, self.all[2].place]

    def policy(self, name: str) -> LoadBalancer:
        """A balancer with that policy."""
        balancer = self.balancer("--policy", name, backends=self.places)
        self.assertEqual(balancer.pool()["policy"], name)
        return balancer

    def shares(self, balancer: LoadBalancer) -> Counter[str]:
        """Who answers 240 requests, one after the other."""
        connection = self.connection(balancer.port)
        return Counter(send(connection).backend for _ in range(240))

    def share_of_the_slow_one(self, balancer: LoadBalancer) -> float:
        """Six clients at once, and the last backend is slow: of 300 answers, its share."""
        self.all[2].direct(f"/fault?kind=slow&seconds={SLOW}")
        load = Load(self, balancer.port, path="/")
        load.wait_for(300)
        load.stop()
        self.all[2].direct("/fault?kind=none")
        self.assertEqual(load.failed, [])
        return load.answered["c"] / sum(load.answered.values())

    def test_turns_are_exact_by_weight(self) -> None:
        """Round robin, and least connections where nobody is busy."""
        for name in ("round-robin", "least-connections"):
            self.assertEqual(self.shares(self.policy(name)), {"a": 120, "b": 60, "c": 60}, name)

    def test_chance_is_as_the_weights_say(self) -> None:
        """A half and two quarters of 240, give or take five standard deviations."""
        for name in ("random", "two-choices"):
            shares = self.shares(self.policy(name))
            self.assertTrue(81 < shares["a"] < 159, f"{name}: {shares}")
            self.assertTrue(all(26 < shares[backend] < 94 for backend in "bc"), f"{name}: {shares}")

    def test_a_slow_backend_gets_fewer_than_its_turn(self) -> None:
        """Not half of the quarter that it gets by turns."""
        for name in ("least-connections", "two-choices", "peak-ewma"):
            self.assertLess(self.share_of_the_slow_one(self.policy(name)), 0.125, name)
        connection = self.connection(self.policy("round-robin").port)
        self.all[2].direct("/fault?kind=slow&seconds=0.02")
        self.assertEqual(Counter(send(connection).backend for _ in range(40))["c"], 10)


class HashTests(IntegrationTestCase):
    """A key of the request says who takes it."""

    def where(self, balancer: LoadBalancer) -> dict[str, str]:
        """Which backend each of sixty users gets, whom they must get each time."""
        connection = self.connection(balancer.port)
        users = [f"user-{number}" for number in range(60)]
        found = [{user: send(connection, X_User=user).backend for user in users} for _ in range(2)]
        self.assertEqual(found[0], found[1])
        return found[0]

    def test_users_stay_whoever_balances_and_only_a_dead_ones_users_move(self) -> None:
        """Two processes agree on every user, before one of the backends dies, while it is dead, and after."""
        backends = self.backends("abc")
        balancers = [
            self.balancer("--policy", "hash:key=header:X-User", "--probe-interval", "0.3", backends=backends) for _ in range(2)
        ]
        before = self.where(balancers[0])
        self.assertEqual(set(before.values()), {"a", "b", "c"})
        self.assertEqual(self.where(balancers[1]), before)
        backends[1].stop()
        for balancer in balancers:
            balancer.wait_state(backends[1], "down")
        meanwhile = self.where(balancers[0])
        self.assertEqual(self.where(balancers[1]), meanwhile)
        moved = {user for user in before if meanwhile[user] != before[user]}
        self.assertEqual(moved, {user for user in before if before[user] == "b"})
        self.assertEqual({meanwhile[user] for user in moved}, {"a", "c"})
        backends[1].start()
        for balancer in balancers:
            balancer.wait_state(backends[1], "up")
            self.assertEqual(self.where(balancer), before)


class OrderTests(IntegrationTestCase):
    """Policies that say who comes first."""

    def wait_at_work(self, backends: list[Backend], wanted: list[int]) -> None:
        """Wait until each has had so many requests."""
        eventually(f"{wanted} requests", lambda: [len(backend.seen()["requests"]) for backend in backends] == wanted)

    def test_first_fills_in_order(self) -> None:
        """Each until it has as many as it may; whoever has a place free first in the order gets the next."""
        backends = self.backends("abc")
        places = [f"{backend.place}:max-in-flight=2" for backend in backends]
        balancer = self.balancer("--policy", "first", backends=places)
        asked = []
        for wanted in ([1, 0, 0], [2, 0, 0], [2, 1, 0], [2, 2, 0], [2, 2, 1]):
            asked += self.at_once(1, lambda: ask(balancer.port, "/hold"))
            self.wait_at_work(backends, wanted)
        backends[0].direct("/step")
        eventually("one is answered", lambda: sum(one.done() for one in asked) == 1)
        self.assertEqual([ask(balancer.port).backend for _ in range(3)], ["a"] * 3)
        for backend in (0, 1, 1, 2):
            backends[backend].direct("/step")
        self.assertEqual({one.result().status for one in asked}, {200})

    def test_a_users_own_is_found_in_a_plugin_file(self) -> None:
        """It needs no more than to stand on the Python path."""
        plugins = self.folder / "own" / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "last_policy.py").write_text(PLUGIN)
        path = os.pathsep.join(filter(None, [str(self.folder / "own"), os.environ.get("PYTHONPATH", "")]))
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": path})
        backends = self.backends("abc")
        balancer = self.balancer("--policy", "last", backends=backends)
        self.assertEqual(balancer.pool()["policy"], "last")
        self.assertEqual([ask(balancer.port).backend for _ in range(5)], ["c"] * 5)
        backends[2].stop()
        self.assertEqual([ask(balancer.port).backend for _ in range(5)], ["b"] * 5)
