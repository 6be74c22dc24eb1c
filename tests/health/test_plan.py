"""Promises about when backends are probed: evenly, within their interval, and never too many at once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.health.plan import AT_ONCE, Plan

from ..support import START, given


class Run:
    """A plan that is carried out in virtual time.

    :ivar asked: of each backend, when it was probed.
    """

    def __init__(self, jitter: float = 0, concurrency: int = 10_000, seconds: float = 0.0) -> None:
        self.plan = Plan(concurrency, jitter, Random(4))
        self.now = START
        self.seconds = seconds
        self.interval = 5.0
        self.asked: dict[str, list[float]] = {}
        self.ends: list[tuple[float, str]] = []
        self.most = 0

    def add(self, *addresses: str) -> None:
        for address in addresses:
            self.plan.add(address, self.now)

    def until(self, end: float) -> None:
        """Carry it out until so many seconds have passed since the start."""
        while True:
            self._take()
            wake = self.plan.wake()
            events = [START + end, *([wake] if wake is not None else []), *([self.ends[0][0]] if self.ends else [])]
            self.now = max(self.now, min(events))
            if self.now >= START + end:
                return
            while self.ends and self.ends[0][0] <= self.now:
                self.plan.ended(self.ends.pop(0)[1], self.now, self.interval)

    def _take(self) -> None:
        while (address := self.plan.take(self.now)) is not None:
            self.asked.setdefault(address, []).append(self.now - START)
            self.most = max(self.most, self.plan.running)
            if self.seconds:
                self.ends.append((self.now + self.seconds, address))
            else:
                self.plan.ended(address, self.now, self.interval)

    def slices(self, begin: float, end: float, width: float = 0.1) -> list[int]:
        """How many probes began in each slice of that time."""
        counts = Counter(int(time / width) for times in self.asked.values() for time in times)
        return [counts[number] for number in range(round(begin / width), round(end / width))]


def names(count: int, first: int = 0) -> list[str]:
    return [f"backend-{number}" for number in range(first, first + count)]


class Spread(SynchronousTestCase):
    """A thousand backends, each once in 5 seconds: one every 5 milliseconds."""

    def test_the_first_round_is_at_once_and_the_next_are_even(self) -> None:
        """After the first round no tenth of a second has more than 3 % of the probes, nor less than 1 %; 2 % is the mean."""
        run = Run()
        run.add(*names(1000))
        run.until(60)
        self.assertGreaterEqual(run.slices(0, 0.1)[0], 1000)
        later = run.slices(0.1, 60)
        self.assertLessEqual(max(later), 30)
        self.assertGreaterEqual(min(later), 10)

    def test_they_are_spread_with_jitter_too(self) -> None:
        """Where each may be late by a tenth of the interval, chance adds a little: at most 4 %."""
        run = Run(jitter=10)
        run.add(*names(1000))
        run.until(60)
        self.assertLessEqual(max(run.slices(0.1, 60)), 40)

    def test_they_stay_spread_for_hours(self) -> None:
        """Nothing drifts together: after three hours it looks as in the first minute."""
        run = Run(jitter=10)
        run.add(*names(100))
        run.until(3 * 3600)
        late = run.slices(3 * 3600 - 60, 3 * 3600, 1.0)
        self.assertLessEqual(max(late), 30)
        self.assertGreaterEqual(min(late), 10)

    def test_half_of_them_leave_and_others_join(self) -> None:
        """Those that are left need not move for the probes to be even."""
        run = Run()
        run.add(*names(1000))
        run.until(20)
        for address in names(500):
            run.plan.remove(address)
        run.add(*names(500, 1000))
        run.until(40)
        later = run.slices(20.1, 40)
        self.assertLessEqual(max(later), 30)
        self.assertGreaterEqual(min(later), 10)

    def test_a_change_of_the_interval_leaves_them_spread(self) -> None:
        """All of them go down, are probed each second, and come back: no burst at any time."""
        run = Run()
        run.add(*names(1000))
        for end, interval, most in ((20, 5, 30), (40, 1, 120), (60, 5, 30)):
            run.interval = interval
            run.until(end)
            self.assertLessEqual(max(run.slices(end - 10, end)), most)

    def test_one_wake_up_serves_all_that_are_due(self) -> None:
        """They are as many as there are hundredths of a second, at most, and not as many as backends."""
        run = Run()
        run.add(*names(10_000))
        run.until(5)
        self.assertLessEqual(len({time for times in run.asked.values() for time in times}), 5 / AT_ONCE)


class Turns(SynchronousTestCase):
    """One backend's turns."""

    @given(some.integers(1, 20), some.floats(0, 50), some.floats(0.5, 60))
    def test_each_is_probed_once_an_interval(self, count: int, jitter: float, interval: float) -> None:
        """Late by its jitter at most, and the second time at most an interval after the first."""
        run = Run(jitter)
        run.interval = interval
        run.add(*names(count))
        run.until(interval * 10.9)
        late = interval * jitter / 100 + 2 * AT_ONCE
        for times in run.asked.values():
            self.assertIn(len(times), (10, 11, 12))
            self.assertLessEqual(times[1], interval + late)
            for before, after in pairwise(times[1:]):
                self.assertTrue(interval - late <= after - before <= interval + late, times)

    def test_each_is_late_by_chance(self) -> None:
        """By up to the jitter's share of the interval, half of it on average, so that balancers do not fall in step."""
        run = Run(jitter=20)
        run.add("a")
        run.until(1000)
        late = [time - number * 5 for number, time in enumerate(run.asked["a"])][1:]
        self.assertTrue(all(-AT_ONCE - 0.001 <= one <= 1 for one in late))
        self.assertTrue(0.4 < sum(late) / len(late) < 0.6)
        self.assertGreater(max(late) - min(late), 0.8)

    def test_a_lone_one_is_probed_every_interval(self) -> None:
        """As nobody could guess otherwise."""
        run = Run()
        run.add("a")
        run.until(21)
        self.assertEqual(len(run.asked["a"]), 5)
        for number, time in enumerate(run.asked["a"]):
            self.assertTrue(-AT_ONCE <= time - number * 5 <= 0, time)

    def test_a_missed_turn_is_left_out(self) -> None:
        """A probe that takes 12 seconds is followed by the next at its backend's place, not by those that were missed."""
        run = Run(seconds=12)
        run.add("a")
        run.until(31)
        self.assertEqual([round(time) for time in run.asked["a"]], [0, 15, 30])

    def test_who_joins_is_probed_at_once(self) -> None:
        """It waits for no round."""
        run = Run()
        run.add(*names(3))
        run.until(7.2)
        run.add("new")
        run.until(7.3)
        self.assertAlmostEqual(run.asked["new"][0], 7.2)

    def test_who_leaves_is_forgotten(self) -> None:
        """Also in the midst of a probe; who takes its place anew is another."""
        plan = Plan(1, 0, Random(1))
        plan.add("a", START)
        self.assertEqual(plan.take(START), "a")
        plan.remove("a")
        self.assertEqual((plan.running, plan.wake(), "a" in plan), (0, None, False))
        plan.add("a", START + 1)
        self.assertEqual([plan.take(START + 1), plan.take(START + 60)], ["a", None])

    def test_one_can_be_hurried(self) -> None:
        """It is probed at once and goes on from there; one that is being probed is not probed twice."""
        plan = Plan(10, 0, Random(1))
        plan.add("a", START)
        plan.take(START)
        plan.hurry("a", START)
        self.assertIsNone(plan.take(START))
        plan.ended("a", START, 5)
        plan.hurry("a", START + 1)
        self.assertEqual([plan.take(START + 1), plan.take(START + 1)], ["a", None])
        plan.ended("a", START + 1, 5)
        self.assertEqual(plan.wake(), START + 5)

    def test_those_that_come_and_go_leave_nothing(self) -> None:
        """However many do."""
        plan = Plan(10, 0, Random(1))
        for number in range(10_000):
            plan.add(str(number), START)
            plan.remove(str(number))
        self.assertLess(len(plan._heap), 200)


class AtOnce(SynchronousTestCase):
    """How many at once."""

    def test_never_more_than_so_many(self) -> None:
        """The first round is begun as places become free, the longest due first."""
        run = Run(concurrency=30, seconds=0.05)
        run.add(*names(1000))
        run.until(4)
        self.assertEqual(run.most, 30)
        order = sorted(run.asked, key=lambda address: (run.asked[address][0], int(address.partition("-")[2])))
        self.assertEqual(order, names(1000))
        self.assertAlmostEqual(max(times[0] for times in run.asked.values()), 33 * 0.05, places=3)

    def test_when_there_is_not_time_for_all_everybody_is_late_alike(self) -> None:
        """1,000 backends that fall silent take 20 seconds a round with 100 at once: none waits longer than others."""
        run = Run(concurrency=100, seconds=2)
        run.add(*names(1000))
        run.until(120)
        self.assertEqual(run.most, 100)
        counts = {len(times) for times in run.asked.values()}
        self.assertLessEqual(max(counts) - min(counts), 2)
        self.assertGreaterEqual(min(counts), 4)

    @given(
        some.lists(some.tuples(some.sampled_from("ardeh"), some.integers(0, 5), some.floats(0, 10)), max_size=80),
        some.integers(1, 3),
    )
    def test_whatever_happens(self, steps: list[tuple[str, int, float]], most: int) -> None:
        """Nobody is probed twice at once, or after it has left; never too many; and somebody is always next."""
        plan, now = Plan(most, 10, Random(1)), START
        members: set[str] = set()
        running: set[str] = set()
        for step, number, seconds in steps:
            address = str(number)
            if step == "a" and address not in members:
                plan.add(address, now)
                members.add(address)
            elif step == "r" and address in members:
                plan.remove(address)
                members.discard(address)
                running.discard(address)
            elif step == "d":
                now += seconds
            elif step == "e" and address in running:
                plan.ended(address, now, 5)
                running.discard(address)
            elif step == "h" and address in members:
                plan.hurry(address, now)
            while (taken := plan.take(now)) is not None:
                self.assertIn(taken, members - running)
                running.add(taken)
            self.assertEqual(plan.running, len(running))
            self.assertLessEqual(len(running), most)
            wake = plan.wake()
            self.assertEqual(wake is None, len(running) == most or members == running)
            self.assertTrue(wake is None or now < wake <= now + 5 * 1.1 + 1e-6)
