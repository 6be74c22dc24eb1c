"""Promises about the periodic probe: when it looks, what it concludes, and that nothing ends it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectBindError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Change, Verdict, Wish
from lbproxy.health.schedule import Finding, ProbeSchedule
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


class Verdicts(ScheduleCase):
    """What the pool is told, and when."""

    settings = Settings(probe_interval=5, probe_timeout=2, probe_rise=2, probe_fall=3, probe_jitter=0)

    def setUp(self) -> None:
        super().setUp()
        self.told: list[Verdict] = []
        apply = self.pool.apply
        self.pool.apply = lambda verdict: (self.told.append(verdict), apply(verdict))  # type: ignore

    @property
    def member(self) -> Any:
        return self.pool.members["a:1"]

    def turn(self, well: bool) -> None:
        """Let the backend a:1 be probed once."""
        self.probe.script["a:1"] = None if well else ValueError("no")
        asked = len(self.probe.asked.get("a:1", ()))
        self.schedule.start()
        while len(self.probe.asked["a:1"]) == asked:
            self.clock.advance(0.1)

    def eject(self, about: str = "answers", up: bool = False) -> None:
        self.pool.apply(Verdict("a:1", up, "as traffic says", "traffic", about))

    def test_rise_and_fall(self) -> None:
        """Down after three failures in a row, up after two successes; in between it is told of nothing."""
        seen = []
        for finding in "--+---+-++":
            self.turn(finding == "+")
            seen.append(self.member.up)
        self.assertEqual(seen, [True, True, True, True, True, False, False, False, False, True])
        told = [verdict.up for verdict in self.told if verdict.address == "a:1"]
        self.assertEqual(told, [True, False, True])

    def test_one_that_is_new_is_up_on_its_first_success(self) -> None:
        """Whatever rise says; the pool gives it no traffic before."""
        self.schedule.start()
        self.probe.script["c:3"] = ValueError("starting")
        self.pool.set_backends(parse_backends(["a:1,c:3"]))
        self.wait(1)
        member = self.pool.members["c:3"]
        self.assertEqual((member.up, member.reason), (False, "probe: starting"))
        del self.probe.script["c:3"]
        self.wait(5)
        self.assertTrue(member.up)

    def test_healthy_ones_are_told_once(self) -> None:
        """A thousand backends that are well cost their probes, and nothing else."""
        self.schedule.start()
        self.wait(60)
        self.assertEqual([(verdict.address, verdict.about) for verdict in self.told], [("a:1", "answers"), ("b:2", "answers")])

    def test_a_success_re_admits_what_traffic_took_out(self) -> None:
        """Although nothing is new for the probe, which has found it well all the time."""
        self.schedule.start()
        self.eject()
        self.assertFalse(self.member.up)
        self.turn(True)
        self.assertTrue(self.member.up)

    def test_a_probe_that_connects_re_admits_for_that_alone(self) -> None:
        """What a probe is about goes with its verdict."""
        self.probe.about = "connect"
        self.eject("answers")
        self.turn(True)
        self.assertFalse(self.member.up)
        self.eject(up=True)
        self.eject("connect")
        self.turn(True)
        self.assertTrue(self.member.up)
        self.assertEqual({verdict.about for verdict in self.told if verdict.source == "probe"}, {"connect"})

    def test_one_that_is_on_its_way_down_is_not_re_admitted(self) -> None:
        """After a fall, one success of two is not enough."""
        for _ in range(3):
            self.turn(False)
        self.eject()
        self.turn(True)
        self.assertEqual(self.member.ejected, "answers")
        self.turn(True)
        self.assertTrue(self.member.up)

    def test_a_probe_that_began_before_an_ejection_does_not_lift_it(self) -> None:
        """What traffic has learnt meanwhile is newer; the next probe may lift it."""
        self.turn(True)
        checking: Deferred[str] = Deferred()
        self.probe.script["a:1"] = checking
        self.wait(5)
        self.eject()
        checking.callback("probe: well")
        self.assertFalse(self.member.up)
        self.turn(True)
        self.assertTrue(self.member.up)

    def test_a_finding_about_one_whose_place_was_taken_is_dropped(self) -> None:
        """Who left and joined again is another, and is probed anew."""
        old: Deferred[str] = Deferred(lambda deferred: None)
        self.probe.script["a:1"] = old
        self.schedule.start()
        self.pool.set_backends(parse_backends(["b:2"]))
        self.pool.set_backends(parse_backends(["a:1,b:2"]))
        again: Deferred[str] = Deferred()
        self.probe.script["a:1"] = again
        if not old.called:
            old.callback("probe: the old one")
        self.wait(1)
        self.assertEqual((self.member.up, self.schedule.last("a:1")), (False, None))
        again.callback("probe: the new one")
        self.assertEqual((self.member.up, self.member.reason), (True, "probe: the new one"))

    def test_the_last_finding_can_be_asked_for(self) -> None:
        """What was found, when, in what time, and how often in a row, also before it makes a verdict."""
        self.assertIsNone(self.schedule.last("a:1"))
        for _ in range(2):
            self.turn(False)
        found = self.schedule.last("a:1")
        self.assertEqual(found, Finding(False, "probe: no", self.clock.seconds(), 0.0, 2))
        self.assertTrue(self.member.up)
        checking: Deferred[str] = Deferred()
        self.probe.script["a:1"] = checking
        self.wait(5)
        self.clock.advance(0.25)
        checking.callback("probe: slow")
        found = self.schedule.last("a:1")
        assert found is not None
        self.assertEqual((found.up, found.evidence, found.in_a_row), (True, "probe: slow", 1))
        self.assertTrue(0.25 <= found.seconds < 0.5)

    def test_a_verdict_outlives_a_stop(self) -> None:
        """Who was down when it was stopped needs as many successes as ever."""
        for _ in range(3):
            self.turn(False)
        self.schedule.stop()
        self.turn(True)
        self.assertFalse(self.member.up)
        self.turn(True)
        self.assertTrue(self.member.up)


class Intervals(ScheduleCase):
    """How often who is probed."""

    settings = Settings(
        probe_interval=10,
        probe_fast_interval=1,
        probe_down_interval=3,
        probe_fall=3,
        probe_rise=3,
        probe_timeout=2,
        probe_jitter=0,
    )

    def gaps(self, address: str = "a:1") -> list[int]:
        return [round(after - before) for before, after in pairwise(self.probe.asked[address])]

    def test_fast_in_transition_and_as_is_said_while_down(self) -> None:
        """Each second on the way down and on the way up, each three seconds while down, and each ten while up."""
        self.schedule.start()
        self.wait(20.05)
        self.probe.script["a:1"] = ValueError("no")
        self.wait(18)
        self.assertEqual(self.gaps(), [10, 10, 10, 1, 1, 1, 3])
        del self.probe.script["a:1"]
        self.wait(13)
        self.assertEqual(self.gaps()[7:11], [3, 1, 1, 9])
        self.assertEqual(set(self.gaps("b:2")[1:]), {10})

    def test_who_was_taken_out_by_traffic_is_down_as_well(self) -> None:
        """It is probed within three seconds, not at the end of the ten, and each three from then on."""
        self.schedule.start()
        self.wait(20.05)
        self.pool.apply(Verdict("a:1", False, "three failures", "traffic", "answers"))
        self.probe.about = "connect"  # so that it stays out
        self.wait(9)
        asked = [round(when) for when in self.probe.asked["a:1"]]
        self.assertEqual(asked, [0, 10, 20, 21, 24, 27])
        self.assertEqual(set(self.gaps("b:2")[1:]), {10})

    def test_maintenance_is_left_alone(self) -> None:
        """The operator is at work there: it is not probed, and when that is over it is at once."""
        self.schedule.start()
        self.pool.wish(Wish("a:1", "maintenance"))
        self.wait(57)
        self.assertEqual(self.probe.asked["a:1"], [0.0])
        self.pool.wish(Wish("a:1", "ready"))
        self.clock.advance(0)
        self.assertEqual(len(self.probe.asked["a:1"]), 2)
        self.wait(10)
        self.assertEqual(len(self.probe.asked["a:1"]), 3)

    def test_who_is_being_drained_is_probed(self) -> None:
        """It still serves those that are bound to it."""
        self.schedule.start()
        self.pool.wish(Wish("a:1", "drain"))
        self.wait(31)
        self.assertEqual(len(self.probe.asked["a:1"]), 4)


class ManyBackends(SynchronousTestCase):
    """A thousand backends in memory, probed in virtual time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        backends = [Backend(f"10.0.{number // 250}.{number % 250 + 1}", 80) for number in range(1000)]
        self.pool = Pool(backends, seconds=self.clock.seconds)
        self.settings = Settings(probe_concurrency=50)
        self.random = Random(5)
        self.began: list[float] = []
        self.running = self.most = 0
        self.dead: set[str] = set()

    def check(self, backend: Backend) -> Deferred[str]:
        """A probe that takes 1 to 40 milliseconds; for ever with those that are dead."""
        self.began.append(self.clock.seconds() - START)
        self.running += 1
        self.most = max(self.most, self.running)
        checking: Deferred[str] = Deferred()
        if backend.address not in self.dead:
            self.clock.callLater(self.random.uniform(0.001, 0.04), checking.callback, "well")
        return checking.addBoth(self.done)

    def done(self, result: object) -> Any:
        self.running -= 1
        return result

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 200)):
            self.clock.advance(0.005)

    def test_they_are_probed_evenly_and_never_too_many_at_once(self) -> None:
        """The first round is over within a second, 50 at a time; then no tenth of a second has more than 4 % of the interval's
        probes (2 % is the mean), and each backend is probed once in an interval."""
        schedule = ProbeSchedule(self.pool, self.clock, self.settings, self.check, Random(1))
        schedule.start()
        self.wait(1)
        self.assertEqual(len({address for address, _ in schedule.counts}), 1000)
        self.assertEqual(self.most, 50)
        self.wait(19)
        slices = Counter(int(time * 10) for time in self.began if time > 1)
        self.assertLessEqual(max(slices.values()), 40)
        self.assertGreaterEqual(min(slices[number] for number in range(11, 200)), 8)
        self.assertTrue(all(4 <= count <= 5 for count in schedule.counts.values()))
        schedule.stop()
        self.assertEqual(self.running, 0)

    def test_a_rack_that_falls_silent(self) -> None:
        """300 of them hang until their time-out and take all places: the others are probed nevertheless, and the dead are known
        within a few intervals."""
        schedule = ProbeSchedule(self.pool, self.clock, self.settings, self.check, Random(1))
        schedule.start()
        self.wait(2)
        self.dead = {member.address for number, member in enumerate(self.pool.members.values()) if number % 10 < 3}
        self.wait(25)
        self.assertEqual({member.address for member in self.pool.members.values() if not member.up}, self.dead)
        self.assertEqual(self.most, 50)
        counts = [schedule.counts[address, True] for address in self.pool.members if address not in self.dead]
        self.assertGreaterEqual(min(counts), 2)
        schedule.stop()

    def test_probes_that_answer_at_once(self) -> None:
        """They take no place, and no turn of the reactor each."""
        schedule = ProbeSchedule(self.pool, self.clock, Settings(probe_concurrency=1), lambda backend: None, Random(1))
        schedule.start()
        self.assertEqual(len(schedule.counts), 1000)
        schedule.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


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

    def test_a_probe_that_changes_the_pool_or_ends_the_probing(self) -> None:
        """A probe that takes its own backend out, or stops it all, in its check."""

        def leave() -> Deferred[str]:
            self.pool.set_backends(parse_backends(["b:2"]))
            return Deferred()

        self.probe.script["a:1"] = leave
        self.schedule.start()
        self.wait(6)
        self.assertEqual((list(self.pool.members), len(self.probe.asked["b:2"])), (["b:2"], 2))
        checking: Deferred[str] = Deferred()

        def stop() -> Deferred[str]:
            self.schedule.stop()
            return checking

        self.probe.script["b:2"] = stop
        self.wait(20)
        self.assertEqual((len(self.probe.asked["b:2"]), checking.called), (3, True))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_probe_that_raises_when_it_is_cancelled(self) -> None:
        """Its time is over all the same, and the bug is logged."""

        def cancelled(deferred: Deferred[str]) -> None:
            raise ZeroDivisionError("a bug in a canceller")

        self.probe.script["a:1"] = lambda: Deferred(cancelled)
        self.assert_it_goes_on()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_an_observer_that_takes_out_who_is_down(self) -> None:
        """As a discovery of one's own may do: in the midst of the finding's way."""

        def take_out(change: Change) -> None:
            if change.now == "down" and change.address == "a:1":
                self.pool.set_backends(parse_backends(["b:2"]))

        self.pool.observers.append(take_out)
        self.probe.script["a:1"] = ValueError("no")
        self.schedule.start()
        self.wait(12)
        self.assertEqual((self.up(), self.probe.asked["a:1"], len(self.probe.asked["b:2"])), (["b:2"], [0.0], 3))

    def test_an_observer_that_hides_who_joins(self) -> None:
        """One that raises before the schedule hears of the change: who joined is found at the next turn."""

        def broken(change: object) -> None:
            raise RuntimeError("a bug in an observer")

        self.pool.observers.append(broken)
        self.schedule.start()
        was = self.schedule.last("a:1")
        for backends in ("b:2", "a:1,b:2,c:3"):  # a:1 leaves and joins again
            self.assertRaises(RuntimeError, self.pool.set_backends, parse_backends([backends]))
        self.wait(5.6)
        self.assertIn("c:3", self.probe.asked)
        self.assertIsNot(self.schedule.last("a:1"), was)
        self.assertTrue(self.pool.members["a:1"].up)
        self.flushLoggedErrors(RuntimeError)

    def test_a_probe_for_which_there_was_no_socket(self) -> None:
        """A want of file descriptors here is no finding about a backend."""
        self.probe.script["a:1"] = self.probe.script["b:2"] = ConnectBindError(24, "Too many open files")
        with capturedLogs() as logged:
            self.schedule.start()
            self.wait(4.9)
        self.assertEqual(self.up(), ["a:1", "b:2"])
        self.assertIsNone(self.schedule.last("a:1"))
        (event,) = logged  # one line an interval, however many there are
        self.assertEqual(formatEvent(event), "a:1 could not be probed: Couldn't bind: 24: Too many open files.")

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
