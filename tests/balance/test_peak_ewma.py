"""Promises of ``peak-ewma``."""

from __future__ import annotations

from collections import Counter
from math import exp
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.peak_ewma import ASSUMED, FAILED, PeakEwma
from lbproxy.balance.state import BackendState
from lbproxy.errors import ConfigurationError

from .support import begin, end, firsts, member, members


class PeakEwmaTests(SynchronousTestCase):
    """A peak at once, a decay in time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.policy = PeakEwma(Random(5), self.clock.seconds)
        self.one, self.two = self.given = members(1, 1)
        self.policy.set_members(self.given)

    def sample(self, seconds: float | None, *, failed: bool = False) -> None:
        """One attempt at the first member."""
        begin(self.policy, self.one)
        end(self.policy, self.one, seconds=seconds, failed=failed)

    def test_before_a_sample_it_assumes(self) -> None:
        """A new member's latency is taken for 10 ms."""
        self.assertAlmostEqual(self.policy.figure(self.one), ASSUMED)

    def test_a_peak_counts_at_once(self) -> None:
        """One slow answer is enough."""
        self.sample(0.5)
        self.assertAlmostEqual(self.policy.figure(self.one), 0.5)

    def test_a_lower_latency_decays_in(self) -> None:
        """After one decay time the past weighs 1/e."""
        self.sample(0.5)
        self.clock.advance(10)
        self.sample(0.1)
        self.assertAlmostEqual(self.policy.figure(self.one), 0.5 * exp(-1) + 0.1 * (1 - exp(-1)))

    def test_the_decay_is_an_option(self) -> None:
        """A tenth of the time, ten times as fast."""
        self.policy = PeakEwma(Random(5), self.clock.seconds, decay=1.0)
        self.policy.set_members(self.given)
        self.sample(0.5)
        self.clock.advance(1)
        self.assertAlmostEqual(self.policy.figure(self.one), 0.5 * exp(-1))

    def test_one_that_was_slow_once_comes_back(self) -> None:
        """While it gets nothing its figure falls below that of those at work, within a minute."""
        self.sample(2.0)
        begin(self.policy, self.two)
        end(self.policy, self.two, seconds=0.02)
        self.assertEqual(set(firsts(self.policy, 50)), {"n1"})
        for _ in range(60):
            self.clock.advance(1)
            begin(self.policy, self.two)
            end(self.policy, self.two, seconds=0.02)
        self.assertEqual(set(firsts(self.policy, 50)), {"n0"})

    def test_a_new_one_among_fast_ones_is_tried(self) -> None:
        """What is assumed of it decays too: it is not avoided for ever for a latency that nobody has measured."""
        self.sample(0.001)
        for _ in range(30):
            self.clock.advance(1)
            self.sample(0.001)
        self.assertLess(self.policy.figure(self.two), self.policy.figure(self.one))

    def test_what_is_in_flight_counts(self) -> None:
        """With two in flight a member costs three times as much."""
        begin(self.policy, self.one, 2)
        self.assertAlmostEqual(self.policy.figure(self.one), 3 * ASSUMED)

    def test_what_is_in_flight_counts_after_a_long_rest_too(self) -> None:
        """However far a figure has fallen, of two that fell alike the one with less to do is chosen."""
        self.clock.advance(1_000_000)
        begin(self.policy, self.one, 3)
        self.assertEqual(set(firsts(self.policy, 50)), {"n1"})

    def test_weight_divides(self) -> None:
        """A member of four times the weight costs a quarter."""
        heavy = member("heavy", 4)
        self.policy.set_members([*self.given, heavy])
        self.assertAlmostEqual(self.policy.figure(heavy), ASSUMED / 4)

    def test_a_failure_does_not_look_fast(self) -> None:
        """One that is refused within a millisecond counts as slow; it never makes an average better."""
        self.sample(0.001, failed=True)
        self.assertAlmostEqual(self.policy.figure(self.one), FAILED)
        self.sample(5.0)
        self.sample(0.001, failed=True)
        self.assertAlmostEqual(self.policy.figure(self.one), 5.0)

    def test_one_that_was_given_up_says_nothing(self) -> None:
        """A client that left is no evidence of anything."""
        self.sample(0.3)
        self.sample(None)
        self.sample(None, failed=True)
        self.assertAlmostEqual(self.policy.figure(self.one), 0.3)

    def test_a_clock_set_back_does_no_harm(self) -> None:
        """What was learnt before decays on from there, as if no time had been lost."""
        self.clock.advance(10_000)
        self.sample(0.5)
        self.clock.rightNow -= 9_000
        self.assertAlmostEqual(self.policy.figure(self.one), 0.5)
        for _ in range(60):
            self.clock.advance(1)
            begin(self.policy, self.two)
            end(self.policy, self.two, seconds=0.02)
        self.assertAlmostEqual(self.policy.figure(self.one), 0.5 * exp(-6))
        self.assertEqual(set(firsts(self.policy, 50)), {"n0"})

    def test_no_time_at_all_is_a_latency(self) -> None:
        """A coarse clock may see none pass."""
        self.sample(0.5)
        self.clock.advance(100_000)
        self.sample(0.0)
        self.assertLess(self.policy.figure(self.one), 0.001)

    def test_the_choice_is_by_the_figure(self) -> None:
        """What is shown to people is what is compared, at any time and with anything in flight."""
        random, given = Random(11), members(1, 3)
        self.policy.set_members(given)
        for _ in range(300):
            self.clock.advance(random.random() * 5)
            one = given[random.randrange(2)]
            begin(self.policy, one)
            if random.random() < 0.8:
                end(self.policy, one, seconds=random.random(), failed=random.random() < 0.1)
            first, second = map(self.policy.figure, self.policy.candidates())
            self.assertLessEqual(first, second)

    def test_a_change_of_members_keeps_what_is_known(self) -> None:
        """Those that stay are known; one that left and came back is not."""
        self.sample(0.5)
        self.policy.set_members([self.one])
        self.policy.set_members(self.given)
        self.assertAlmostEqual(self.policy.figure(self.one), 0.5)
        self.policy.set_members([self.two])
        self.policy.set_members(self.given)
        self.assertAlmostEqual(self.policy.figure(self.one), ASSUMED)

    def test_the_slow_one_of_many_is_spared(self) -> None:
        """A backend ten times as slow gets far less than its share of steady traffic."""
        given, counted = members(*[1] * 5), Counter[str]()
        running: list[tuple[float, BackendState, float]] = []
        self.policy.set_members(given)
        for _ in range(5000):
            self.clock.advance(0.002)
            while running and running[0][0] <= self.clock.seconds():
                _, ready, latency = running.pop(0)
                end(self.policy, ready, seconds=latency)
            chosen = next(self.policy.candidates())
            latency = 0.2 if chosen is given[0] else 0.02
            begin(self.policy, chosen)
            running.append((self.clock.seconds() + latency, chosen, latency))
            running.sort(key=lambda one: one[0])
            counted[chosen.backend.host] += 1
        self.assertLess(counted["n0"], 5000 / 5 / 5)

    def test_a_decay_that_is_none_is_refused(self) -> None:
        """The message says what is allowed."""
        for decay in (0.0, -1.0, 3601.0, float("nan")):
            error = self.assertRaises(ConfigurationError, PeakEwma, Random(), self.clock.seconds, decay=decay)
            self.assertIn("allowed is a number from 0.1 to 3600 (seconds)", str(error))
