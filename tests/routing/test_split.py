"""A route's split: shares by chance, and keys that stay."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.keys import request_key
from lbproxy.proxy.client import Client
from lbproxy.routing.split import Shares, SplitTarget

from ..support import given, request

KEYS = [b"user-%d" % number for number in range(4000)]


class Asking:
    """A request with a key, or without one."""

    def __init__(self, user: bytes = b"") -> None:
        cookie = b"Cookie: user=%b\r\n" % user if user else b""
        self.request = request(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % cookie)
        self.client = Client("192.0.2.7", False, b"")


class Taker:
    """A target that counts."""

    def __init__(self) -> None:
        self.taken = 0

    def forward(self, exchange: Any) -> None:
        self.taken += 1


class SharesTests(SynchronousTestCase):
    """Which key is whose."""

    def test_exact_shares(self) -> None:
        """Each gets as many keys as its weight says, within what chance allows."""
        shares = Shares([("app", 95), ("canary", 5)])
        canary = sum(shares.of(key) == "canary" for key in KEYS)
        self.assertLess(abs(canary / len(KEYS) - 0.05), 0.011)  # three times the deviation of 4,000 draws

    def test_a_canary_grows(self) -> None:
        """From 5 to 10 percent, only 5 percent move, and none of them away from the canary."""
        before, after = Shares([("app", 95), ("canary", 5)]), Shares([("app", 90), ("canary", 10)])
        moved = [(before.of(key), after.of(key)) for key in KEYS if before.of(key) != after.of(key)]
        self.assertEqual(set(moved), {("app", "canary")})
        self.assertLess(abs(len(moved) / len(KEYS) - 0.05), 0.011)

    @given(strategies.lists(strategies.integers(0, 20), min_size=2, max_size=5), strategies.integers(0, 4), strategies.binary())
    def test_keys_move_to_who_grows_alone(self, weights: list[int], place: int, key: bytes) -> None:
        """Whichever weight grows, wherever it stands: a key stays, or moves there."""
        place %= len(weights)
        weights[0] = weights[0] or 1
        names = [f"pool{number}" for number in range(len(weights))]
        before = Shares(zip(names, weights, strict=True)).of(key)
        weights[place] += 7
        after = Shares(zip(names, weights, strict=True)).of(key)
        self.assertIn(after, (before, names[place]))

    def test_a_stated_choice(self) -> None:
        """The same in every process and release, as keys are to stay over a restart."""
        shares = Shares([("app", 1), ("canary", 1)])
        self.assertEqual([shares.of(key) for key in (b"ada", b"bob", b"cy", b"di")], ["app", "app", "canary", "canary"])


class SplitTargetTests(SynchronousTestCase):
    """Where exchanges go."""

    def split(self, *weights: float, by: str = "") -> tuple[SplitTarget, list[Taker]]:
        takers = [Taker() for _ in weights]
        targets = [(f"pool{place}", taker, weight) for place, (taker, weight) in enumerate(zip(takers, weights, strict=True))]
        return SplitTarget(targets, request_key(by) if by else None, Random(1)), takers

    def test_by_chance(self) -> None:
        """Without a key, each exchange goes by the weights; who has none gets nothing."""
        split, takers = self.split(3, 0, 1)
        for _ in range(4000):
            split.forward(Asking())  # type: ignore[arg-type]
        self.assertLess(abs(takers[0].taken - 3000), 85)
        self.assertEqual((takers[1].taken, split.taken), (0, {"pool0": takers[0].taken, "pool2": takers[2].taken}))

    def test_by_key(self) -> None:
        """The same key goes to the same target; a request without one goes by chance."""
        split, takers = self.split(1, 1, by="cookie:user")
        for _ in range(20):
            split.forward(Asking(b"ada"))  # type: ignore[arg-type]
        self.assertEqual(sorted(taker.taken for taker in takers), [0, 20])
        self.assertEqual(len({split.choose(Asking()) for _ in range(50)}), 2)  # type: ignore[arg-type]
