"""Requests are handed out in turn, and by weight."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from .support import IntegrationTestCase, ask, send


class DistributionTests(IntegrationTestCase):
    """Who gets how many."""

    def test_three_equal_backends_get_equal_shares(self) -> None:
        """300 requests are 100, 100, 100: as the client counts, as the backends count, and as ``/status`` says."""
        backends = self.backends("abc")
        balancer = self.balancer(backends=backends)
        connection = self.connection(balancer.port)
        shares = Counter(send(connection).backend for _ in range(300))
        self.assertEqual(shares, {"a": 100, "b": 100, "c": 100})
        self.assertEqual([len(backend.seen()["requests"]) for backend in backends], [100] * 3)
        self.assertEqual([about["requests"] for about in balancer.pool()["backends"]], [100] * 3)

    def test_equal_shares_over_many_connections(self) -> None:
        """A connection of its own for each request changes nothing."""
        balancer = self.balancer(backends=self.backends("abc"))
        shares = Counter(ask(balancer.port).backend for _ in range(60))
        self.assertEqual(shares, {"a": 20, "b": 20, "c": 20})

    def test_weights_are_honoured_smoothly(self) -> None:
        """5:1 is five of six, and the one comes in between: there are never more than five in a row."""
        heavy, light = self.backends("hl")
        balancer = self.balancer(backends=[f"{heavy.place}:weight=5", light])
        connection = self.connection(balancer.port)
        order = [send(connection).backend for _ in range(120)]
        self.assertEqual(Counter(order), {"h": 100, "l": 20})
        self.assertEqual({order[start : start + 6].count("l") for start in range(0, 120, 6)}, {1})
        self.assertLessEqual(max(len(list(run)) for _, run in groupby(order)), 5)

    def test_connections_to_backends_are_kept(self) -> None:
        """A hundred requests in a row need one connection to the backend, besides those of the probe."""
        backend = self.backend()
        balancer = self.balancer("--probe-interval", "60", backends=[backend])
        before = backend.seen()["connections"]
        for _ in range(100):
            ask(balancer.port)
        self.assertEqual(backend.seen()["connections"] - before, 2, "one for the requests, one for this look")
