"""Promises about deadlines: none is forgotten, none comes early, and one that goes wrong does not hold up the others."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.deadlines import AT_ONCE, NEVER, DeadlineSweep


class Watched:
    """Something with a deadline."""

    def __init__(self, clock: Clock, deadline: float, broken: bool = False) -> None:
        self._clock = clock
        self._broken = broken
        self.deadline = deadline
        self.passed: list[float] = []

    def deadline_passed(self) -> None:
        assert self.deadline == NEVER
        self.passed.append(self._clock.seconds())
        if self._broken:
            raise RuntimeError("a bug")


class Sweeps(SynchronousTestCase):
    """One coarse sweep over everything."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sweep = DeadlineSweep(self.clock, 4.0)
        self.sweep.start()

    def watch(self, deadline: float, broken: bool = False) -> Watched:
        watched = Watched(self.clock, deadline, broken)
        self.sweep.watched.add(watched)
        return watched

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 20)):
            self.clock.advance(0.05)

    def test_a_deadline_is_told_once_and_little_late(self) -> None:
        """Never before its time, and at most an interval after."""
        watched = self.watch(2.5)
        self.wait(10)
        self.assertEqual(len(watched.passed), 1)
        self.assertTrue(2.5 <= watched.passed[0] <= 2.5 + self.sweep.interval + 0.1)

    def test_one_that_has_none_is_left_alone(self) -> None:
        """For ever."""
        watched = self.watch(NEVER)
        self.wait(100)
        self.assertEqual(watched.passed, [])

    def test_one_that_raises_does_not_hold_up_the_others(self) -> None:
        """It is logged, and the sweep goes on."""
        broken, well, later = self.watch(1, broken=True), self.watch(1), self.watch(5)
        self.wait(8)
        self.assertEqual([len(watched.passed) for watched in (broken, well, later)], [1, 1, 1])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_one_that_takes_others_out_is_no_trouble(self) -> None:
        """A deadline's consequences may end other connections."""
        watched = self.watch(1)
        watched.deadline_passed = self.sweep.watched.clear  # type: ignore[method-assign]
        self.watch(1)
        self.wait(3)
        self.assertEqual(self.sweep.watched, set())

    def test_those_of_one_moment_are_told_in_the_order_in_which_they_came(self) -> None:
        """Each time, so that a run can be repeated."""
        told: list[int] = []
        for number in range(50):
            watched = self.watch(1)
            watched.deadline_passed = partial(told.append, number)  # type: ignore[method-assign]
        self.wait(3)
        self.assertEqual(told, list(range(50)))

    def test_many_at_once_are_told_in_turns(self) -> None:
        """So that whatever else is to be done comes between; all of them, each once, but for one that has got more time."""
        many = [self.watch(1) for _ in range(5 * AT_ONCE)]
        self.clock.rightNow += 2  # without the turns that advancing would bring
        self.sweep.sweep()
        told = [watched for watched in many if watched.passed]
        self.assertEqual(len(told), AT_ONCE)
        spared = next(watched for watched in many if not watched.passed)
        spared.deadline = NEVER
        self.wait(3)
        self.assertEqual([len(watched.passed) for watched in many if watched is not spared], [1] * (len(many) - 1))
        self.assertEqual(spared.passed, [])

    def test_a_stop_in_between_leaves_nothing(self) -> None:
        """Those that were not told yet are told by the next sweep."""
        many = [self.watch(1) for _ in range(5 * AT_ONCE)]
        self.clock.rightNow += 2
        self.sweep.sweep()
        self.sweep.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sweep.start()
        self.wait(3)
        self.assertEqual([len(watched.passed) for watched in many], [1] * len(many))

    def test_short_time_outs_are_watched_closely(self) -> None:
        """The sweep runs four times in the shortest, between 20 times a second and once a second."""
        intervals = [DeadlineSweep(self.clock, shortest).interval for shortest in (0.01, 2.0, 60.0)]
        self.assertEqual(intervals, [0.05, 0.5, 1.0])

    def test_a_stopped_sweep_leaves_nothing(self) -> None:
        """And can be started again, also twice."""
        self.sweep.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sweep.start()
        self.sweep.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
