"""What workers report is the machine's: added up once, and taken off when it is no more."""

from __future__ import annotations

from functools import reduce
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.state import Verdict
from lbproxy.config.model import Configuration
from lbproxy.observe.processes import Loss
from lbproxy.routing.model import Route, Split
from lbproxy.workers.figures import BALANCER, LISTENER, MEMBER, Kind
from lbproxy.workers.reports import PATIENCE, _in_words
from lbproxy.workers.sheet import added

from ..proxy.waiting import LONG, SWITCHING, UPGRADE
from ..sites import configuration, pool, route
from ..support import GET, OK, given
from ..test_site import at
from .figures import FiguresCase, Working

ONE, TWO = "10.0.0.1:8000", "10.0.0.2:8000"
#: Each exchange has a connection of its own.
FRESH: Any = {"upstream_idle": 0}


def totals(kind: Kind, objects: list[Any]) -> Any:
    """What all these objects have together."""
    nothing: Any = {}
    return reduce(added, map(kind.read, objects), nothing)


class SumTests(FiguresCase):
    """All figures of all workers."""

    def assert_summed(self) -> None:
        """The supervisor has what all have together."""
        self.assert_same(LISTENER, self.rig.listener, [one.rig.listener for one in self.workers])
        for name, balancer in self.rig.site.balancers.items():
            theirs = [one.rig.balancer_of(name) for one in self.workers]
            self.assert_same(BALANCER, balancer.counters, [one.counters for one in theirs])
            for address, member in balancer.pool.members.items():
                self.assert_same(MEMBER, member, [one.pool.members[address] for one in theirs])
                idle = sum(one.idle_connections(address) for one in theirs)
                self.assertEqual(balancer.idle_connections(address), idle)
        theirs = [one.rig.site.router for one in self.workers]
        self.assert_same(BALANCER, self.rig.site.router.counters, [one.counters for one in theirs])

    def assert_same(self, kind: Kind, mine: Any, theirs: list[Any]) -> None:
        """But for how the last digits of seconds are rounded."""
        for one, other in zip(flat(kind.read(mine)), flat(totals(kind, theirs)), strict=True):
            self.assertEqual(one[0], other[0])
            self.assertAlmostEqual(one[1], other[1], msg=one[0])

    @given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["begin", "end", "break", "leave", "wait", "report"]))))
    def test_whatever_workers_do_the_sums_are_right(self, steps: list[tuple[int, str]]) -> None:
        """Reports may come at any time, in any order."""
        self.start(configuration(f"{ONE},{TWO}", backoffs=0), 3)
        running: list[list[Any]] = [[], [], []]
        for number, what in steps:
            self.do(self.workers[number], running[number], what)
        self.report()
        self.assert_summed()
        self.report()
        self.assert_summed()

    def do(self, worker: Working, running: list[Any], what: str) -> None:
        """One step of one worker."""
        rig = worker.rig
        if what == "begin":
            client = rig.client()
            client.send(GET)
            running.append((client, rig.accept() if rig.connects else None))
        elif what == "wait":
            rig.reactor.advance(0.25)
        elif what == "report":
            self.report(worker)
        elif running:
            client, backend = running.pop()
            if what == "leave" or backend is None:
                client.reset()
            elif what == "break":
                backend.send(LONG)
                backend.reset()
            else:
                backend.send(OK)
            rig.turn()

    def test_what_only_routes_and_logs_know_is_summed(self) -> None:
        """Routes by status and split, exchanges without a pool, lines that were lost."""
        pools = (pool(ONE, "app"), pool(TWO, "canary"))
        routes = (Route(name="mixed", split=Split(pools={"app": 50, "canary": 50})), route("none", "app", path="/x"))
        self.start(configuration(*pools, routes=routes), 2)
        for worker in self.workers:
            for _ in range(5):
                worker.rig.client().send(at("/"))
            worker.log.dropped += 7
        self.report()
        self.report()
        mixed: Any = self.rig.site.router.live["mixed"]
        self.assertEqual((mixed.taken, sum(mixed.target.taken.values())), (10, 10))
        self.assertEqual(self.service.access_log.dropped, 14)

    def test_what_changes_while_an_exchange_runs_is_reported(self) -> None:
        """Though nothing begins or ends: a response comes, a tunnel opens."""
        self.start(configuration(ONE))
        (worker,) = self.workers
        worker.rig.client().send(UPGRADE)
        backend = worker.rig.accept()
        self.report()
        backend.send(SWITCHING)
        self.report()
        counters, member = self.rig.balancer_of().counters, self.rig.balancer_of().pool.members[ONE]
        self.assertEqual(member.statuses, {101: 1})
        self.assertEqual((counters.tunnels, counters.tunnels_total, counters.in_flight), (1, 1, 1))

    def test_gauges_of_a_pool_have_every_workers_share(self) -> None:
        """Who waits in line anywhere is shown."""
        self.start(configuration(f"{ONE}:max-in-flight=1", queue=10), 2)
        for worker in self.workers:
            for _ in range(3):
                worker.rig.client().send(GET)
        self.report()
        balancer = self.rig.balancer_of()
        self.assertEqual((balancer.gauges().queued, balancer.line.joined, balancer.counters.in_flight), (4, 4, 6))
        self.reports.ended(self.workers[0])  # type: ignore[arg-type]
        self.assertEqual((balancer.gauges().queued, balancer.line.joined, balancer.counters.in_flight), (2, 4, 3))


class ChangeTests(FiguresCase):
    """Pools, members and routes come and go."""

    def begin(self, worker: Any, path: str = "/") -> Any:
        """An exchange begins; gives its backend."""
        worker.rig.client().send(at(path))
        return worker.rig.accept()

    def two(self, *names: str) -> Configuration:
        """Pools of these names, each with a route."""
        routes = tuple(route(name, name, path=f"/{name}") for name in names)
        return configuration(*(pool(ONE, name) for name in names), routes=routes, **FRESH)

    def test_a_pool_that_comes_back_begins_at_nought(self) -> None:
        """What was counted in the one before is counted once, and nothing of it in the new one."""
        self.start(self.two("a", "b"), 2)
        for worker in self.workers:
            self.begin(worker, "/a").send(OK)
            self.begin(worker, "/a")
        self.report()
        before = self.rig.balancer_of("a")
        self.assertEqual((before.counters.in_flight, before.counters.statuses), (2, {200: 2}))
        self.change(self.two("b"))
        self.change(self.two("a", "b"))
        self.begin(self.workers[0], "/a").send(OK)
        self.report()
        after = self.rig.balancer_of("a")
        self.assertIsNot(after, before)
        self.assertEqual((after.counters.in_flight, after.counters.statuses), (0, {200: 1}))
        self.assertEqual(before.counters.in_flight, 0, "the one before is never seen off")

    def test_a_report_that_comes_late_is_about_a_pool_that_is_no_more(self) -> None:
        """It is counted nowhere, and what runs is right when the next one has come."""
        self.start(self.two("a", "b"), 1)
        (worker,) = self.workers
        self.begin(worker, "/a")
        self.report()
        self.begin(worker, "/a")
        late = worker.sheet()
        self.rig.change(self.two("b"))
        self.reports.take(worker, late)  # type: ignore[arg-type]
        worker.change(self.two("b"))
        self.report()
        self.assertEqual(self.rig.site.router.counters.in_flight, 0)
        self.assertFalse(any(one.counters.in_flight for one in self.rig.site.leaving))

    def test_a_pool_that_has_left_is_seen_off(self) -> None:
        """Here: in the workers, what runs in it goes on."""
        self.start(self.two("a", "b"), 2)
        for worker in self.workers:
            self.begin(worker, "/a")
        self.report()
        self.change(self.two("b"))
        self.assertEqual(len(self.rig.site.leaving), 1)
        self.report()
        self.rig.wait(1)
        self.assertEqual(self.rig.site.leaving, [])
        self.assertEqual([len(worker.rig.site.leaving) for worker in self.workers], [1, 1])

    def test_what_ran_at_a_member_that_left_is_no_more(self) -> None:
        """Nor is it when the member comes back later."""
        self.start(configuration(f"{ONE},{TWO}"), 1)
        (worker,) = self.workers
        for _ in range(2):
            self.begin(worker)
        self.report()
        self.change(configuration(TWO))
        self.report()
        self.change(configuration(f"{ONE},{TWO}"))
        worker.rig.balancer_of().pool.apply(Verdict(ONE, True, "connected", "probe"))
        for _ in range(2):
            self.begin(worker)
        self.report()
        member = self.rig.balancer_of().pool.members[ONE]
        self.assertEqual((member.in_flight, member.requests), (1, 1))

    def test_a_member_that_comes_back_is_another_one(self) -> None:
        """Its numbers begin at nought everywhere."""
        self.start(configuration(f"{ONE},{TWO}"), 1)
        (worker,) = self.workers
        for _ in range(2):
            self.begin(worker)
        self.report()
        for wanted in (TWO, f"{ONE},{TWO}"):
            self.change(configuration(wanted))
        self.report()
        member = self.rig.balancer_of().pool.members[ONE]
        self.assertEqual((member.in_flight, member.requests), (0, 0))

    def test_a_member_that_the_supervisor_made_anew_gets_the_whole_share(self) -> None:
        """Of what goes up and down; what was counted for the one before stays with that."""
        self.start(configuration(ONE), 1)
        (worker,) = self.workers
        self.begin(worker)
        self.report()
        mine = self.rig.balancer_of().pool
        mine.set_backends(parse_backends([TWO]))
        mine.set_backends(parse_backends([ONE]))
        self.begin(worker)
        self.report()
        self.assertEqual((mine.members[ONE].in_flight, mine.members[ONE].requests), (2, 1))

    def test_a_route_that_was_changed_counts_on(self) -> None:
        """As it does in one process."""
        self.start(self.two("a", "b"), 1)
        (worker,) = self.workers
        self.begin(worker, "/a").send(OK)
        self.report()
        routes = (route("a", "b", path="/a"), route("b", "b", path="/b"))
        changed = configuration(pool(ONE, "a"), pool(ONE, "b"), routes=routes, **FRESH)
        self.change(changed)
        self.begin(worker, "/a").send(OK)
        self.report()
        live = self.rig.site.router.live["a"]
        self.assertEqual((live.taken, live.statuses), (2, {200: 2}))

    def test_a_split_whose_part_was_away_counts_that_from_nought(self) -> None:
        """The others count on."""
        both = (pool(ONE, "app"), pool(TWO, "canary"))

        def split(**weights: int) -> Configuration:
            return configuration(*both, routes=(Route(name="mixed", split=Split(pools=weights)),))

        self.start(split(app=50, canary=50), 1)
        (worker,) = self.workers
        for _ in range(10):
            self.begin(worker)
        self.report()
        self.change(split(app=100))
        self.report()
        self.change(split(app=50, canary=50))
        for _ in range(10):
            self.begin(worker)
        self.report()
        mine: Any = self.rig.site.router.live["mixed"].target
        theirs: Any = worker.rig.site.router.live["mixed"].target
        self.assertEqual(mine.taken, theirs.taken)


class EndTests(FiguresCase):
    """A worker ends."""

    def killed(self) -> Loss:
        """One with three exchanges in hand that it has not reported, and two that it has."""
        self.start(configuration(ONE, **FRESH), 2)
        worker, other = self.workers
        for _ in range(2):
            worker.rig.client().send(GET)
            worker.rig.accept().send(OK)
        self.report()
        for _ in range(3):
            worker.rig.client().send(GET)
        other.rig.client().send(GET)
        self.report(other)
        return self.reports.ended(worker, "killed by SIGKILL")  # type: ignore[arg-type]

    def test_what_it_had_in_its_hands_is_lost(self) -> None:
        """Exchanges and connections, as the board has them."""
        self.assertEqual(self.killed(), Loss(3, 5, 0))
        self.assertEqual(self.reports.figures().lost, Loss(3, 5, 0))

    def test_what_ended_since_its_last_report_is_said(self) -> None:
        """It is in no other figure."""
        self.start(configuration(ONE))
        (worker,) = self.workers
        self.report()
        worker.rig.client().send(GET)
        worker.rig.accept().send(OK)
        self.assertEqual(self.reports.ended(worker, "killed"), Loss(0, 1, 1))  # type: ignore[arg-type]
        self.assertEqual(self.rig.balancer_of().counters.statuses, {})

    def test_nothing_of_what_goes_up_and_down_is_its_any_more(self) -> None:
        """What it has counted stays, and a report that still comes is not taken."""
        self.killed()
        balancer = self.rig.balancer_of()
        self.assertEqual((balancer.counters.in_flight, self.rig.listener.open, self.rig.listener.accepted), (1, 1, 3))
        self.report(self.workers[0])
        self.assertEqual((balancer.counters.in_flight, self.rig.listener.open, self.rig.listener.accepted), (1, 1, 3))

    def test_its_beginning_its_end_and_its_successor_are_events(self) -> None:
        """With what was lost."""
        self.killed()
        successor = Working(0, configuration(ONE), self.board)
        self.report(successor)
        mine = [one for one in self.events if one.address == "worker 0"]
        self.assertEqual([(one.pool, one.was, one.now, one.source) for one in mine], [
            ("", "", "up", "supervisor"), ("", "up", "down", "supervisor"), ("", "down", "up", "supervisor"),
        ])  # fmt: skip
        self.assertEqual([one.reason for one in mine], [
            "process 1000 serves",
            "killed by SIGKILL; lost: 3 exchanges, 5 connections",
            "process 1000 serves in the place of the one before",
        ])  # fmt: skip

    def test_losses_in_words(self) -> None:
        """Of one there is one, and what is none is not named."""
        told = [_in_words(Loss(*figures)) for figures in ((0, 0, 0), (1, 1, 0), (0, 2, 1), (2, 0, 2))]
        self.assertEqual(told, [
            "nothing was lost",
            "lost: 1 exchange, 1 connection",
            "lost: 2 connections; 1 exchange that had ended is in no figure",
            "lost: 2 exchanges; 2 exchanges that had ended are in no figure",
        ])  # fmt: skip

    def test_one_that_was_told_to_end_is_no_bad_news(self) -> None:
        """It has lost nothing."""
        self.start(configuration(ONE))
        self.report()
        self.workers[0].state = "draining"
        self.reports.ended(self.workers[0], "ended in order")  # type: ignore[arg-type]
        self.assertEqual((self.events[-1].now, self.events[-1].reason), ("", "ended in order; nothing was lost"))

    def test_a_place_that_waits_for_a_process_is_shown(self) -> None:
        """With how the one before ended."""
        self.killed()
        self.posts[0].processes.clear()
        first, second = self.reports.figures().each
        assert first.last_end is not None
        self.assertEqual((first.pid, first.state, first.requests, first.last_end.loss), (None, "waiting", 0, Loss(3, 5, 0)))
        self.assertEqual((second.pid, second.state, second.in_flight, second.connections), (1001, "serving", 1, 1))


class RefreshTests(FiguresCase):
    """Figures are brought up to now."""

    def setUp(self) -> None:
        self.start(configuration(ONE), 2)
        for worker in self.workers:
            worker.answers = False
            worker.rig.client().send(GET)

    def refresh(self) -> Deferred[None]:
        """Ask for it."""
        return self.reports.refresh()

    def taken(self) -> int:
        """Whose connections are known."""
        return self.rig.listener.open

    def test_all_are_asked_and_waited_for(self) -> None:
        """It fires when the last one has reported."""
        refreshing = self.refresh()
        self.workers[1].answer()
        self.assertNoResult(refreshing)
        self.workers[0].answer()
        self.successResultOf(refreshing)
        self.assertEqual(self.taken(), 2)
        again = self.refresh()
        self.rig.reactor.advance(PATIENCE / 2)
        self.assertNoResult(again)

    def test_one_that_is_silent_is_left_out(self) -> None:
        """What it says later is taken then, for it says it only once."""
        refreshing = self.refresh()
        self.workers[0].answer()
        self.rig.reactor.advance(PATIENCE)
        self.successResultOf(refreshing)
        self.assertEqual(self.taken(), 1)
        self.workers[1].answer()
        self.assertEqual(self.taken(), 2)

    def test_who_asks_meanwhile_waits_for_the_same(self) -> None:
        """Workers are asked once."""
        first, second = self.refresh(), self.refresh()
        self.assertEqual([len(worker.asked) for worker in self.workers], [1, 1])
        for worker in self.workers:
            worker.answer()
        self.successResultOf(first)
        self.successResultOf(second)

    def test_one_that_ends_is_not_waited_for(self) -> None:
        """The others are shown."""
        refreshing = self.refresh()
        self.workers[0].asked.pop().errback(ConnectionError("gone"))
        self.workers[1].answer()
        self.successResultOf(refreshing)

    def test_one_that_does_not_serve_yet_is_not_asked(self) -> None:
        """It has nothing to say."""
        for worker in self.workers:
            worker.serving = False
        self.successResultOf(self.refresh())


def flat(sheet: Any, path: str = "") -> list[tuple[str, float]]:
    """A sheet's numbers, but for those that are 0, by where they stand."""
    found: list[tuple[str, float]] = []
    for name, value in sorted(sheet.items()):
        if isinstance(value, dict):
            found += flat(value, f"{path}/{name}")
        elif value:
            found.append((f"{path}/{name}", value))
    return found
