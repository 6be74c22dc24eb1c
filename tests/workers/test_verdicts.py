"""What a worker learns from traffic: the supervisor's order makes all of them agree, and ejections are decided once."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.state import WISHES, Change, Verdict, Wish
from lbproxy.workers.verdicts import Verdicts

from ..support import given
from .support import Fleet, known

NAMES = "abcd"
WORKERS = 3
_name = st.sampled_from([f"{name}:1" for name in NAMES])
_worker = st.integers(0, WORKERS - 1)
#: What may happen: of whom, and of what.
EVENTS = st.one_of(
    st.tuples(st.sampled_from(("hear", "be_told")), _worker),
    st.tuples(st.sampled_from(("hear", "be_told")), _worker),
    st.tuples(st.sampled_from(("refused", "fail")), _worker, _name),
    st.tuples(st.just("probe"), _name, st.booleans(), st.sampled_from(("connect", "answers"))),
    st.tuples(st.just("wish"), _name, st.sampled_from(WISHES)),
    st.tuples(st.just("set"), st.sets(st.sampled_from(NAMES), min_size=1), st.integers(1, 3), st.integers(0, 1)),
    st.tuples(st.just("restart"), _worker),
    st.tuples(st.just("wait"), st.sampled_from((0.25, 5.0, 40.0))),
)


class FleetCase(SynchronousTestCase):
    """A supervisor and its workers."""

    def make(self, workers: int = 2, backends: str = "a:1,b:1,c:1", **settings: Any) -> Fleet:
        self.fleet = fleet = Fleet(workers, backends, **settings)
        fleet.settle()
        self.told: list[Change] = []
        fleet.pool.observers.append(self.told.append)
        return fleet

    def assertAgreed(self) -> None:
        """All know what the supervisor knows."""
        self.assertEqual(len(self.fleet.pools), len(self.fleet.workers))
        for pool in self.fleet.pools:
            self.assertEqual(known(pool), known(self.fleet.pool))
            self.assertEqual(pool.panicking, self.fleet.pool.panicking)

    def out(self) -> str:
        """Whom the supervisor and, when all is heard, all workers have as down."""
        self.fleet.settle()
        self.assertAgreed()
        return "".join(member.address[0] for member in self.fleet.pool.members.values() if not member.up)


class Agreement(FleetCase):
    """All end with what the supervisor knows."""

    def happen(self, what: str, *how: Any) -> None:
        fleet = self.fleet
        if what == "probe":
            address, up, about = how
            fleet.pool.apply(Verdict(address, up, "as the probe says", "probe", about))
        elif what == "wish":
            fleet.pool.wish(Wish(*how))
        elif what == "set":
            names, weight, tier = how
            fleet.pool.set_backends(parse_backends([f"{one}:1:weight={weight}:tier={tier}" for one in sorted(names)]))
        else:
            getattr(fleet, what)(*how)

    @given(st.lists(EVENTS, min_size=30, max_size=120), st.sampled_from((0, 60)), st.sampled_from((0, 30)))
    def test_whatever_happens_and_whenever_it_is_heard(self, events: list[Any], panic: int, slow_start: int) -> None:
        """Verdicts of workers and probes, wishes, other backends and new workers, heard late or at once: when nothing is on its
        way any more, all of it is known alike."""
        self.make(WORKERS, "a:1,b:1,c:1", panic=panic, slow_start=slow_start, eject_failures=2)
        for what, *how in events:
            self.happen(what, *how)
        self.fleet.settle()
        self.fleet.wait(0)
        self.fleet.settle()
        self.assertAgreed()

    def test_the_supervisors_order_counts(self) -> None:
        """Two workers find different things of a backend at once. What came first to the supervisor holds for both."""
        fleet = self.make()
        fleet.refused(0, "a:1")
        fleet.fail(1, "a:1")
        fleet.be_told(1)
        self.assertEqual(self.out(), "a")
        self.assertEqual([pool.members["a:1"].ejected for pool in fleet.pools], ["answers", "answers"])

    def test_a_worker_goes_by_what_it_learnt_at_once(self) -> None:
        """And its siblings as soon as they hear it, with the name of who said it; it is added once."""
        fleet = self.make()
        fleet.refused(1, "a:1")
        self.assertEqual([pool.members["a:1"].up for pool in fleet.pools], [True, False])
        self.assertEqual(self.out(), "a")
        for pool in (fleet.pool, *fleet.pools):
            self.assertEqual(pool.members["a:1"].reason, "refused: as the test says (worker 1)")

    def test_a_hundred_attempts_that_fail_at_once_are_said_once(self) -> None:
        """A backend that dies does not flood the links."""
        fleet = self.make()
        for _ in range(100):
            fleet.refused(0, "a:1")
        self.assertEqual(len(fleet.workers[0].up), 1)
        fleet.settle()
        fleet.refused(0, "a:1")
        self.assertEqual((len(fleet.workers[0].up), self.out()), (0, "a"))

    def test_a_probe_brings_back_what_a_worker_took_out(self) -> None:
        """Everywhere, and it can be taken out again."""
        fleet = self.make()
        for _ in range(2):
            fleet.refused(0, "a:1")
            self.assertEqual(self.out(), "a")
            fleet.pool.apply(Verdict("a:1", True, "connects", "probe", "connect"))
            self.assertEqual(self.out(), "")
        self.assertEqual({pool.members["a:1"].ejections for pool in (fleet.pool, *fleet.pools)}, {2})

    def test_a_verdict_on_one_that_has_left_is_ignored(self) -> None:
        """The worker had not heard yet. The next one of that address is another one, of which the same may be said."""
        fleet = self.make()
        fleet.pool.set_backends(parse_backends(["b:1,c:1"]))
        fleet.refused(0, "a:1")
        self.assertEqual(self.out(), "")
        fleet.pool.set_backends(parse_backends(["a:1,d:1"]))
        fleet.settle()
        fleet.refused(0, "a:1")
        self.assertEqual(self.out(), "a")


class Robust(FleetCase):
    """What is odd is ignored."""

    def test_pools_that_are_not_there_and_other_calls(self) -> None:
        """A worker may speak of a pool that has left; and it has nothing to say but verdicts."""
        fleet = self.make()
        verdict = {"address": "a:1", "up": False, "reason": "", "source": "traffic", "about": "connect"}
        verdicts = Verdicts(lambda: {"default": fleet.supervisor})  # type: ignore[dict-item]
        self.assertEqual(verdicts.told(0, [["gone", "apply", verdict], ["default", "wish", {"address": "a:1"}]]), [])
        self.assertEqual(self.told, [])

    def test_an_observer_that_fails_keeps_nothing_from_the_workers(self) -> None:
        """They are told, and the next verdict is taken too."""
        fleet = self.make(backends="a:1,b:1,c:1,d:1")

        def fail(change: Change) -> None:
            raise ZeroDivisionError

        fleet.pool.observers.append(fail)
        fleet.refused(0, "a:1")
        fleet.fail(1, "b:1")
        self.assertEqual(self.out(), "ab")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class Ejections(FleetCase):
    """They are the machine's."""

    def reason(self, name: str) -> str:
        return self.fleet.pool.members[f"{name}:1"].reason

    def test_the_supervisor_says_for_how_long(self) -> None:
        """And ends it, for all; the next one is longer, whichever worker saw it."""
        fleet = self.make()
        for worker, seconds in enumerate((10, 20)):
            fleet.fail(worker, "a:1")
            self.assertEqual(self.out(), "a")
            self.assertEqual(
                self.reason("a"),
                f"3 failures in a row within 10 s, the last one: 502 (worker {worker}); ejected for {seconds} s",
            )
            fleet.wait(seconds - 0.25)
            self.assertEqual(self.out(), "a")
            fleet.wait(0.25)
            self.assertEqual(self.out(), "")
            self.assertEqual(self.reason("a"), f"ejected for {seconds} s, which are over")

    def test_it_ends_whatever_becomes_of_the_worker(self) -> None:
        """Whoever takes its place knows of it, and of its end."""
        fleet = self.make()
        fleet.fail(0, "a:1")
        fleet.settle()
        fleet.restart(0)
        self.assertEqual(self.out(), "a")
        fleet.wait(30)
        self.assertEqual(self.out(), "")

    def test_a_worker_alone_ends_none(self) -> None:
        """Its time is the supervisor's to say."""
        fleet = self.make()
        fleet.fail(0, "a:1")
        fleet.wait(3600)
        self.assertFalse(fleet.pools[0].members["a:1"].up)
        self.assertEqual(self.out(), "a")

    def test_two_workers_cannot_take_out_all(self) -> None:
        """Each of them leaves one; the supervisor takes the first and withholds the second, and so do they then."""
        fleet = self.make(backends="a:1,b:1")
        fleet.fail(0, "a:1")
        fleet.fail(1, "b:1")
        self.assertEqual(self.out(), "a")
        self.assertEqual(fleet.supervisor.traffic.withheld, 1)

    def test_the_share_is_that_of_all_together(self) -> None:
        """At most half are out, whoever found them so."""
        fleet = self.make(4, "a:1,b:1,c:1,d:1")
        for worker, name in enumerate(NAMES):
            fleet.fail(worker, f"{name}:1")
        self.assertEqual(self.out(), "ab")

    def test_two_workers_that_eject_the_same_one(self) -> None:
        """It is one ejection, and no longer for that."""
        fleet = self.make()
        fleet.fail(0, "a:1")
        fleet.fail(1, "a:1")
        self.assertEqual(self.out(), "a")
        self.assertEqual(fleet.supervisor.traffic.withheld, 0)
        fleet.wait(30)
        self.assertEqual(self.out(), "")

    def test_nobody_is_up_so_one_is_let_back(self) -> None:
        """Although a worker ejected it, and others were lost otherwise."""
        fleet = self.make()
        fleet.fail(0, "a:1")
        fleet.settle()
        fleet.refused(1, "b:1")
        fleet.refused(1, "c:1")
        self.assertEqual(self.out(), "abc")
        fleet.wait(0.25)
        self.assertEqual(self.out(), "bc")
        self.assertEqual(self.reason("a"), "no other backend is up; of 10 s ejected 9.75 s are left")

    def test_causes_are_counted_where_they_were_seen(self) -> None:
        """By the workers; the supervisor adds theirs to its own, which are those of outliers."""
        fleet = self.make()
        fleet.fail(0, "a:1", "lost")
        fleet.settle()
        counted = [worker.side.traffic.ejections for worker in fleet.workers if worker.side is not None]
        self.assertEqual((counted, fleet.supervisor.traffic.ejections), ([{"lost": 1}, {}], {}))

    def test_outliers_are_found_on_the_sums(self) -> None:
        """The supervisor ejects by the figures that it has of all, and the workers hear of it."""
        fleet = self.make(backends="a:1,b:1,c:1,d:1,e:1", outliers=("success-rate",))
        for member in fleet.pool.members.values():
            for number in range(200):
                member.answered(500 if member.address == "a:1" and number % 2 else 200, 0.01)
        fleet.wait(10)
        self.assertEqual(self.out(), "a")
        self.assertEqual(fleet.supervisor.traffic.ejections, {"success-rate": 1})

    def test_failures_count_anew_after_one_that_was_not_made(self) -> None:
        """A worker that was told no says so again only when as many have failed again."""
        fleet = self.make(backends="a:1,b:1")
        fleet.refused(0, "b:1")
        fleet.fail(1, "a:1")
        fleet.settle()
        fleet.fail(1, "a:1")
        self.assertEqual(self.out(), "b")
        fleet.pool.apply(Verdict("b:1", True, "connects", "probe", "connect"))
        fleet.settle()
        fleet.fail(1, "a:1")
        self.assertEqual(self.out(), "a")
