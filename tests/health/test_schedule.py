"""Promises about the periodic probe: when it looks, what it concludes, and that nothing ends it."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectBindError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.health.schedule import ProbeSchedule
from lbproxy.interfaces import IProbe
from lbproxy.settings import Settings

from ..support import START, FakeProbe


@implementer(IProbe)
class ScriptedProbe:
    """A probe that does for each address what the test put there, and remembers when it was asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.script: dict[str, Any] = {}
        self.asked: dict[str, list[float]] = {}

    def check(self, backend: Backend) -> Deferred[str]:
        self.asked.setdefault(backend.address, []).append(self._clock.seconds() - START)
        found = self.script.get(backend.address)
        if isinstance(found, Deferred):
            return found
        if isinstance(found, Exception):
            return fail(found)
        if found is not None:
            return found()  # type: ignore[no-any-return]
        return succeed("probe: well")


class ScheduleCase(SynchronousTestCase):
    """Two backends, a clock, and a probe of the test's own."""

    settings = Settings(probe_interval=5, probe_timeout=2)

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.pool = Pool(parse_backends(["a:1,b:2"]), seconds=self.clock.seconds)
        self.probe: Any = ScriptedProbe(self.clock)
        self.schedule = self.make(self.probe)

    def make(self, probe: Any) -> ProbeSchedule:
        return ProbeSchedule(self.pool, self.clock, self.settings, probe, Random(1))

    def wait(self, seconds: float) -> None:
        self.clock.advance(0)
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

    def up(self) -> list[str]:
        return [member.address for member in self.pool.members.values() if member.up]


class Rounds(ScheduleCase):
    """When backends are probed."""

    def test_the_first_round_comes_at_once(self) -> None:
        """A balancer that has just started knows as soon as it can."""
        self.schedule.start()
        self.assertEqual(self.probe.asked, {"a:1": [0.0], "b:2": [0.0]})

    def test_then_every_interval_with_little_jitter(self) -> None:
        """Each has its turn once in an interval, late by at most a tenth of it; the second comes at most an interval after the
        first, and turns do not drift."""
        self.schedule.start()
        self.wait(101)
        for times in self.probe.asked.values():
            self.assertTrue(0 < times[1] <= 5.61, times[1])
            self.assertIn(len(times), (21, 22))
            turn = min(times[number] - (number - 1) * 5 for number in range(1, len(times)))
            for number, time in enumerate(times[1:]):
                self.assertTrue(0 <= time - number * 5 - turn <= 0.5 + 0.11, time)

    def test_backends_are_not_probed_in_step(self) -> None:
        """Jitter is drawn for each backend."""
        self.schedule.start()
        self.wait(101)
        self.assertNotEqual(self.probe.asked["a:1"], self.probe.asked["b:2"])

    def test_those_that_are_down_are_probed_too(self) -> None:
        """Otherwise nothing would bring them back."""
        self.probe.script["a:1"] = ValueError("no")
        self.schedule.start()
        self.wait(21)
        self.assertEqual(len(self.probe.asked["a:1"]), 5)

    def test_one_that_joins_is_probed_at_once(self) -> None:
        """A changed list of backends needs no restart, and who is new gets traffic as soon as a probe has found it well."""
        self.schedule.start()
        self.pool.set_backends(parse_backends(["a:1,c:3"]))
        self.clock.advance(0)
        self.assertEqual(self.probe.asked["c:3"], [0.0])
        self.assertEqual(self.up(), ["a:1", "c:3"])

    def test_one_that_leaves_is_forgotten(self) -> None:
        """It is not probed any more, nothing of it is kept, and a check of it that runs is given up."""
        checking: Deferred[str] = Deferred()
        self.probe.script["b:2"] = checking
        self.schedule.start()
        self.pool.set_backends(parse_backends(["a:1"]))
        self.assertTrue(checking.called)
        self.wait(20)
        self.assertEqual(self.probe.asked["b:2"], [0.0])
        self.assertIsNone(self.schedule.last("b:2"))
        self.assertEqual(list(self.schedule.counts), [("a:1", True)])

    def test_starting_twice_probes_once(self) -> None:
        """Whoever starts it, the first exchange or the service."""
        self.schedule.start()
        self.schedule.start()
        self.wait(5.6)
        self.assertEqual(len(self.probe.asked["a:1"]), 2)

    def test_stop_ends_it_and_cancels_what_runs(self) -> None:
        """After a stop nothing is asked, nothing is told, and no timer is left."""
        probe = FakeProbe()
        schedule = self.make(probe)
        schedule.start()
        schedule.stop()
        self.wait(30)
        self.assertEqual(len(probe.checks), 2)
        self.assertEqual((self.up(), self.clock.getDelayedCalls()), (["a:1", "b:2"], []))

    def test_stop_in_the_jitter_leaves_nothing(self) -> None:
        """Checks that wait for their moment are given up too."""
        self.schedule.start()
        self.clock.advance(5)
        self.schedule.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_can_be_started_again(self) -> None:
        """A service that is stopped and started probes as before, at once."""
        self.schedule.start()
        self.wait(1)
        self.schedule.stop()
        self.schedule.start()
        self.wait(5.6)
        self.assertEqual(len(self.probe.asked["a:1"]), 3)


class Findings(ScheduleCase):
    """What a probe concludes."""

    def test_down_on_the_first_failure(self) -> None:
        """One failed probe is enough, and the operator reads why."""
        self.schedule.start()
        self.wait(1)
        self.probe.script["a:1"] = ValueError("out of order")
        self.wait(5)
        self.assertEqual(self.up(), ["b:2"])
        member = self.pool.members["a:1"]
        self.assertEqual((member.source, member.reason), ("probe", "probe: out of order"))

    def test_up_on_the_first_success(self) -> None:
        """A backend is back in rotation within one interval."""
        self.probe.script["a:1"] = ValueError("no")
        self.schedule.start()
        self.assertEqual(self.up(), ["b:2"])
        del self.probe.script["a:1"]
        self.wait(5.6)
        self.assertEqual(self.up(), ["a:1", "b:2"])
        self.assertEqual(self.pool.members["a:1"].reason, "probe: well")

    def test_a_probe_that_never_answers_has_failed_after_its_time(self) -> None:
        """Silence for the time-out is a failure that says so."""
        self.probe.script["a:1"] = Deferred
        self.schedule.start()
        self.wait(1.9)
        self.assertEqual(self.up(), ["a:1", "b:2"])
        self.wait(0.2)
        self.assertEqual(self.up(), ["b:2"])
        self.assertIn("within 2 s", self.pool.members["a:1"].reason)

    def test_a_probe_that_refuses_to_be_cancelled_has_failed_too(self) -> None:
        """Whatever a probe does when it is cancelled, its time is over."""
        self.probe.script["a:1"] = lambda: Deferred(lambda deferred: deferred.errback(OSError("cancelled, my way")))
        self.schedule.start()
        self.wait(2.1)
        self.assertEqual(self.up(), ["b:2"])
        self.assertIn("within 2 s", self.pool.members["a:1"].reason)

    def test_findings_are_counted(self) -> None:
        """An operator sees how many probes passed and failed, for each backend."""
        self.probe.script["a:1"] = ValueError("no")
        self.schedule.start()
        self.wait(5.6)
        self.assertEqual(self.schedule.counts, {("a:1", False): 2, ("b:2", True): 2})


class Endurance(ScheduleCase):
    """Nothing that a probe does ends the probing."""

    def assert_it_goes_on(self) -> None:
        self.schedule.start()
        self.wait(12)
        self.assertEqual(self.up(), ["b:2"])
        del self.probe.script["a:1"]
        self.wait(8)
        self.assertEqual(self.up(), ["a:1", "b:2"])

    def test_a_probe_that_raises(self) -> None:
        """A bug in a probe is a failed check of one backend, no more."""

        def broken() -> Deferred[str]:
            raise RuntimeError("a bug")

        self.probe.script["a:1"] = broken
        self.assert_it_goes_on()

    def test_a_probe_for_which_there_was_no_socket(self) -> None:
        """A want of file descriptors here is no finding about a backend."""
        self.probe.script["a:1"] = ConnectBindError(24, "Too many open files")
        self.schedule.start()
        self.wait(6)
        self.assertEqual(self.up(), ["a:1", "b:2"])

    def test_a_probe_that_errbacks(self) -> None:
        """A failed check is followed by the next."""
        self.probe.script["a:1"] = ValueError("no")
        self.assert_it_goes_on()

    def test_a_probe_that_never_fires(self) -> None:
        """A hanging check holds up neither the others nor the next round."""
        self.probe.script["a:1"] = Deferred
        self.assert_it_goes_on()

    def test_an_observer_that_raises(self) -> None:
        """A bug in who listens to the pool does not end the probing either, and is logged."""

        def broken(member: object) -> None:
            raise RuntimeError("a bug in an observer")

        self.pool.observers.append(broken)
        self.probe.script["a:1"] = ValueError("no")
        self.assert_it_goes_on()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
