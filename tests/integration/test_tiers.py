"""Backends for when others are gone."""

from __future__ import annotations

from collections import Counter

from .support import IntegrationTestCase, LoadBalancer, send


class TierTests(IntegrationTestCase):
    """Two backends in the first tier, one in the second, one for when all else is gone."""

    def setUp(self) -> None:
        super().setUp()
        self.first, self.other, self.second, self.last = self.backends("abcd")
        backends = [self.first.place, self.other.place, f"{self.second.place}:tier=1", f"{self.last.place}:backup"]
        self.lb: LoadBalancer = self.balancer("--admin-writable", "--probe-interval", "0.2", backends=backends)

    def shares(self) -> Counter[str]:
        """Who answers a hundred requests."""
        connection = self.connection(self.lb.port)
        answers = [send(connection) for _ in range(100)]
        self.assertEqual({answer.status for answer in answers}, {200})
        return Counter(answer.backend for answer in answers)

    def tiers(self) -> list[tuple[int | str, float]]:
        """The share of each tier, as the status has it."""
        return [(tier["tier"], tier["share"]) for tier in self.lb.pool()["tiers"]]

    def test_half_of_a_tier_spills_over_and_takes_all_again(self) -> None:
        """With one of two gone, the first tier is good for half of 1.4; what it cannot take goes to the second."""
        self.assertEqual(self.shares(), {"a": 50, "b": 50})
        self.lb.wish(self.other, "drain")
        self.assertEqual(self.tiers(), [(0, 0.7), (1, 0.3), ("backup", 0)])
        self.assertEqual(self.shares(), {"a": 70, "c": 30})
        self.lb.wish(self.other, "ready")
        self.assertEqual(self.tiers(), [(0, 1), (1, 0), ("backup", 0)])
        self.assertEqual(self.shares(), {"a": 50, "b": 50})

    def test_each_tier_takes_over_when_those_before_it_are_dead(self) -> None:
        """The backup last of all; and back again, in the order in which they come back."""
        for backend in (self.first, self.other):
            backend.stop()
            self.lb.wait_state(backend, "down")
        self.assertEqual(self.shares(), {"c": 100})
        self.second.stop()
        self.lb.wait_state(self.second, "down")
        self.assertEqual(self.shares(), {"d": 100})
        self.second.start()
        self.lb.wait_state(self.second, "up")
        self.assertEqual(self.shares(), {"c": 100})
        for backend in (self.first, self.other):
            backend.start()
            self.lb.wait_state(backend, "up")
        self.assertEqual(self.shares(), {"a": 50, "b": 50})
        self.assertEqual(self.lb.pool()["statuses"], {"200": 400})
