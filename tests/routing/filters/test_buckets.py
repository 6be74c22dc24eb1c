"""Promises of token buckets: what they give, and what they forget."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.routing.filters.buckets import Buckets

from ...support import given

RATES = some.floats(0.01, 1000)
BURSTS = some.integers(1, 20)
KEYS = some.sampled_from([b"a", b"b", b"c"])
#: Seconds that pass before somebody asks, by a clock that may go back.
STEPS = some.lists(some.tuples(some.floats(-2, 2), KEYS), max_size=150)


class Clock:
    """Seconds as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TakingTests(SynchronousTestCase):
    """Who gets a token."""

    def setUp(self) -> None:
        self.clock = Clock()

    def buckets(self, rate: float = 1.0, burst: int = 3, limit: int = 100) -> Buckets:
        self.struck = 0

        def strike() -> None:
            self.struck += 1

        return Buckets(rate, burst, self.clock, limit, strike)

    def allowed(self, buckets: Buckets, key: bytes = b"a", times: int = 10) -> int:
        return sum(buckets.take(key).allowed for _ in range(times))

    @given(RATES, BURSTS, STEPS)
    def test_never_more_than_burst_and_rate(self, rate: float, burst: int, steps: list[tuple[float, bytes]]) -> None:
        """In any stretch of time a key gets the burst and what has come meanwhile at most; time in which the clock went back
        does not count."""
        clock = Clock()
        buckets = Buckets(rate, burst, clock, 100)
        passed = 0.0
        given_at: dict[bytes, list[float]] = {}
        for seconds, key in steps:
            clock.now += seconds
            passed += max(seconds, 0.0)
            if buckets.take(key).allowed:
                given_at.setdefault(key, []).append(passed)
        for times in given_at.values():
            for first in range(len(times)):
                for last in range(first, len(times)):
                    self.assertLessEqual(last - first + 1, burst + rate * (times[last] - times[first]) + 0.001)

    @given(RATES, BURSTS)
    def test_all_that_is_promised_is_given(self, rate: float, burst: int) -> None:
        """The burst at once, and then one whenever its time has come: as long as is said to wait, and not less."""
        clock = Clock()
        buckets = Buckets(rate, burst, clock, 100)
        for number in range(burst):
            self.assertEqual((buckets.take(b"a").allowed, buckets._full_at.keys()), (True, {b"a"}), number)
        for _ in range(5):
            refused = buckets.take(b"a")
            self.assertEqual((refused.allowed, refused.remaining), (False, 0))
            clock.now += refused.wait * 0.9
            self.assertFalse(buckets.take(b"a").allowed)
            clock.now += refused.wait * 0.101
            self.assertTrue(buckets.take(b"a").allowed)

    @given(BURSTS, some.integers(0, 30))
    def test_what_is_left_is_what_is_given(self, burst: int, asked: int) -> None:
        """As many more as are said to remain."""
        buckets = Buckets(0.01, burst, Clock(), 100)
        for _ in range(asked):
            buckets.take(b"a")
        left = buckets.take(b"a").remaining
        self.assertEqual(sum(buckets.take(b"a").allowed for _ in range(50)), left)

    @given(RATES, BURSTS, some.lists(some.tuples(some.floats(0, 2), some.integers(0, 30)), max_size=40))
    def test_what_is_given_elsewhere_is_missing_here(self, rate: float, burst: int, steps: list[tuple[float, int]]) -> None:
        """Tokens that were taken here and there together are no more than the burst and what has come, whenever one is given
        here."""
        clock = Clock()
        buckets = Buckets(rate, burst, clock, 100)
        passed, given = 0.0, 0
        for seconds, count in steps:
            clock.now += seconds
            passed += seconds
            buckets.take_elsewhere(b"a", count)
            given += count
            if buckets.take(b"a").allowed:
                given += 1
                self.assertLessEqual(given, burst + rate * passed + 0.001)

    @given(RATES, BURSTS, some.integers(0, 50))
    def test_a_debt_is_waited_for(self, rate: float, burst: int, count: int) -> None:
        """As long as is said, and not longer."""
        clock = Clock()
        buckets = Buckets(rate, burst, clock, 100)
        buckets.take_elsewhere(b"a", burst + count)
        refused = buckets.take(b"a")
        self.assertEqual((refused.allowed, refused.remaining), (False, 0))
        clock.now += refused.wait * 0.99 - 1e-5 / rate
        self.assertFalse(buckets.take(b"a").allowed)
        clock.now += refused.wait * 0.011 + 2e-5 / rate
        self.assertTrue(buckets.take(b"a").allowed)

    def test_what_is_given_elsewhere_takes_no_more_memory(self) -> None:
        """Than what is given here: there are as many buckets as may be, and full ones go."""
        buckets = self.buckets(limit=5)
        for number in range(20):
            buckets.take_elsewhere(b"%d" % number, 1)
        self.assertEqual((len(buckets), self.struck), (5, 15))
        self.clock.now += 2
        buckets.take_elsewhere(b"x", 1)
        self.assertLess(len(buckets), 5)

    def test_keys_do_not_share(self) -> None:
        """What one has taken, another has not."""
        buckets = self.buckets()
        self.assertEqual([self.allowed(buckets, key) for key in (b"a", b"b", b"a")], [3, 3, 0])

    def test_a_clock_that_goes_back_locks_nobody_out(self) -> None:
        """It goes on from there."""
        buckets = self.buckets()
        self.allowed(buckets)
        self.clock.now -= 3600
        self.assertEqual(self.allowed(buckets), 0)
        self.clock.now += 1
        self.assertEqual(self.allowed(buckets), 1)

    def test_a_full_bucket_holds_no_more_than_the_burst(self) -> None:
        """However long nobody asks."""
        buckets = self.buckets()
        self.allowed(buckets)
        self.clock.now += 3600
        self.assertEqual(self.allowed(buckets), 3)

    # Memory.

    def test_memory_is_bounded(self) -> None:
        """Of any number of keys no more are kept than the limit."""
        buckets = self.buckets(limit=50)
        for number in range(5000):
            buckets.take(b"%d" % number)
            self.assertLessEqual(len(buckets), 50)
            self.assertLessEqual(len(buckets._soonest), 101)
        self.assertEqual(self.struck, 4950)

    def test_full_ones_are_forgotten_first(self) -> None:
        """One that is full goes before one that was asked earlier and is not, and that counts as no harm."""
        buckets = self.buckets(limit=2)
        self.allowed(buckets, b"greedy")
        self.clock.now += 0.5
        buckets.take(b"modest")
        self.clock.now += 1.5  # the modest one is full, the greedy one lacks a token
        buckets.take(b"new")
        self.assertEqual(self.struck, 0)
        self.assertEqual(self.allowed(buckets, b"greedy"), 2)

    def test_then_those_asked_least_recently(self) -> None:
        """Asking in vain is asking: who is refused and goes on is not forgotten for it."""
        buckets = self.buckets(limit=2)
        self.allowed(buckets, b"greedy")
        self.allowed(buckets, b"other")
        self.assertFalse(buckets.take(b"greedy").allowed)
        buckets.take(b"new")
        self.assertEqual(self.struck, 1)
        self.assertFalse(buckets.take(b"greedy").allowed)

    def test_memory_shrinks_with_the_traffic(self) -> None:
        """Full ones go as others come, before the limit is near."""
        buckets = self.buckets(limit=1000)
        for number in range(500):
            buckets.take(b"%d" % number)
        self.clock.now += 10
        for number in range(300):
            buckets.take(b"late %d" % number)
        self.assertEqual((len(buckets), self.struck), (300, 0))

    # Changes.

    def test_what_was_given_stays_given(self) -> None:
        """With another rate and burst as many tokens are missing as were."""
        buckets = self.buckets(rate=1, burst=10)
        for _ in range(8):
            buckets.take(b"a")
        buckets.change(rate=2, burst=20, limit=100)
        self.assertEqual(self.allowed(buckets, times=30), 12)
        self.clock.now += 1
        self.assertEqual(self.allowed(buckets, times=30), 2)
        buckets.change(rate=1, burst=3, limit=100)
        self.clock.now += 1
        self.assertEqual(self.allowed(buckets, times=30), 1)

    def test_a_lower_limit_holds_at_once(self) -> None:
        """Those that are too many go."""
        buckets = self.buckets()
        for number in range(10):
            buckets.take(b"%d" % number)
        buckets.change(rate=1, burst=3, limit=4)
        self.assertEqual((len(buckets), self.struck), (4, 6))

    @given(some.lists(some.tuples(some.floats(0, 1), some.integers(0, 30)), max_size=200), some.integers(1, 10))
    def test_the_books_agree(self, steps: list[tuple[float, int]], limit: int) -> None:
        """Every bucket can be found when it is full, whatever came before; so all are forgotten in the end but the last."""
        clock = Clock()
        counted: Counter[str] = Counter()
        buckets = Buckets(2.0, 3, clock, limit, lambda: counted.update(["struck"]))
        for seconds, key in steps:
            clock.now += seconds
            buckets.take(b"%d" % key)
            self.assertLessEqual(buckets._full_at.keys(), {key for _, key in buckets._soonest})
        clock.now += 100
        for _ in range(20):
            buckets.take(b"x%d" % _)
        self.assertLessEqual(len(buckets), limit)
