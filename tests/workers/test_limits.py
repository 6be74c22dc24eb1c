"""Promises about attempts in flight at backends that have a limit, of all workers together."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.workers.board import FIRST_SLOT
from lbproxy.workers.limits import LOOK, LimitedState, Limits, WorkerState

from ..sites import configuration, pool
from ..support import GET, OK, given, status
from .limited import WorkersCase

ONE = "10.0.0.1:8000"


def backend(limit: int = 0) -> Backend:
    """The only one, with a limit or without."""
    return Backend("10.0.0.1", 8000, max_in_flight=limit)


class StateTests(WorkersCase):
    """On the states of one backend in several workers."""

    def setUp(self) -> None:
        super().setUp()
        self.limits = [Limits(self.board, number, 3) for number in range(3)]

    def states(self, limit: int = 5, slots: Any = None) -> list[Any]:
        made = []
        for one in self.limits:
            one.told("default", {ONE: 7} if slots is None else slots)
            made.append(one.make_state("default")(backend(limit), 0.0, up=True))
        return made

    def test_each_may_have_what_the_others_leave(self) -> None:
        """Their attempts count where they are written, and no others do."""
        a, b, _ = self.states()
        a.in_flight += 2
        b.in_flight += 1
        self.assertEqual(([a.in_flight, b.in_flight], [a.limit, b.limit]), ([2, 1], [4, 3]))
        self.assertEqual(self.board.sum(FIRST_SLOT + 7, 3), 3)
        a.in_flight -= 2
        self.assertEqual((a.limit, b.limit), (4, 5))

    @given(some.lists(some.integers(0, 2), max_size=60), some.integers(1, 6))
    def test_never_more_than_the_limit(self, workers: list[int], limit: int) -> None:
        """As long as they do not look in the same moment; and the last place is taken."""
        states = self.states(limit)
        taken = 0
        for worker in workers:
            if states[worker].in_flight < states[worker].limit:
                states[worker].in_flight += 1
                taken += 1
        self.assertEqual(taken, min(limit, len(workers)))
        for state in states:
            state.in_flight = 0

    def test_without_a_limit_a_state_is_any_other(self) -> None:
        """Nothing is written, and nothing read."""
        (state, *_) = self.states(0, {})
        state.in_flight += 3
        self.assertIs(type(state), WorkerState)
        self.assertEqual((state.limit, state.in_flight, WorkerState.in_flight), (math.inf, 3, type(state).__mro__[1].in_flight))
        self.assertEqual(sum(state._row), 0)

    def test_a_limit_that_comes_counts_what_runs(self) -> None:
        """And one that leaves takes it off."""
        a, b, _ = self.states(0, {})
        a.in_flight += 3
        for one, state in zip(self.limits, (a, b)):
            one.told("default", {ONE: 1})
            state.configure(backend(5))
        self.assertEqual((type(a), a.in_flight, a.limit, b.limit), (LimitedState, 3, 5, 2))
        a.configure(backend(4))
        self.assertEqual((a.limit, b.limit), (4, 2))
        a.configure(backend())
        self.assertEqual((type(a), a.in_flight, a.limit, b.limit), (WorkerState, 3, math.inf, 5))
        a.in_flight -= 3
        self.assertEqual(self.board.sum(FIRST_SLOT + 1, 3), 0)

    def test_another_place(self) -> None:
        """All that it has there goes along."""
        a, b, _ = self.states()
        a.in_flight += 2
        a.be_hungry(True)
        self.limits[0].told("default", {ONE: 8})
        a.configure(backend(5))
        self.assertEqual([self.board.sum(FIRST_SLOT + slot, 3) for slot in (7, 8)], [0, 2])
        self.assertEqual((a.in_flight, b.limit), (2, 5))

    def test_without_a_place_the_limit_is_divided(self) -> None:
        """Rounded up, so that nobody has none."""
        (state, *_) = self.states(7, {})
        self.assertEqual((type(state), state.limit), (WorkerState, 3))

    def test_one_that_leaves_and_its_successor_count_together(self) -> None:
        """In the same worker, at the same place."""
        old, b, _ = self.states()
        old.in_flight += 2
        new = self.limits[0].make_state("default")(backend(5), 0.0)
        new.in_flight += 1
        self.assertEqual((new.limit, b.limit), (3, 2))
        old.in_flight -= 2
        self.assertEqual((new.limit, b.limit), (5, 4))

    def test_what_one_that_was_killed_had_is_free(self) -> None:
        """When its row is."""
        a, b, _ = self.states()
        a.in_flight += 5
        self.assertEqual(b.limit, 0)
        self.board.clear(0)
        self.assertEqual(b.limit, 5)

    def test_who_is_hungry_is_left_a_share(self) -> None:
        """Rounded down when a place becomes free, and up when it is time to look; but it is no more than is left."""
        a, b, c = self.states(5)
        b.be_hungry(True)
        self.assertEqual((a.limit, b.limit), (2, 5))
        self.limits[0].looking = True
        self.assertEqual(a.limit, 3)
        b.in_flight += 3
        self.assertEqual(a.limit, 2)
        for state in (b, c):
            state.be_hungry(True)
        self.assertEqual((a.limit, b.limit), (2, 2))
        for state in (b, c):
            state.be_hungry(False)
        self.assertEqual(a.limit, 2)


class LineTests(WorkersCase):
    """On the sites of two workers."""

    def work_with(self, limit: int, workers: int = 2) -> Any:
        return self.work(configuration(f"{ONE}:max-in-flight={limit}", queue=20), workers)

    def test_a_place_that_another_leaves_is_taken(self) -> None:
        """Within 15 ms at most, and nobody looks any more then."""
        one, two = self.work_with(1)
        (first,) = self.ask(one, GET)
        upstream = one.accept()
        (second,) = self.ask(two, GET)
        self.advance(1)
        self.assertEqual(two.connects, [])
        upstream.send(OK)
        self.assertEqual((status(first.received()), two.connects), (200, []))
        self.advance(LOOK * 1.5)
        two.accept().send(OK)
        self.assertEqual(status(second.received()), 200)
        self.advance(LOOK * 3)
        self.assertEqual([self.board.sum(FIRST_SLOT, 2), self.timers(two)], [0, 0])

    def timers(self, site: Any) -> int:
        """Looks that are to come."""
        return sum("_look" in repr(call.func) for call in site.reactor.getDelayedCalls())

    def test_nobody_looks_while_nobody_waits(self) -> None:
        """Exchanges that find a place cost no timer."""
        one, _ = self.work_with(2)
        self.ask(one, GET, 2)
        self.assertEqual(self.timers(one), 0)
        self.ask(one, GET)
        self.assertEqual(self.timers(one), 1)

    def test_one_whose_line_never_ends_leaves_others_their_share(self) -> None:
        """Although it is the first to know of each place that becomes free."""
        sites = self.work_with(1)
        clients = [self.ask(site, GET, 10) for site in sites]
        answered = [0, 0]
        for _ in range(300):
            for site in sites:
                for _ in range(len(site.connects)):
                    site.accept().send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            answered = [sum(bool(client.value()) for client in asked) for asked in clients]
            if sum(answered) == 10:
                break
            self.advance(0.01, 10)
        self.assertEqual(sum(answered), 10)
        self.assertGreaterEqual(min(answered), 2)

    def test_who_cannot_use_a_place_keeps_it_from_nobody(self) -> None:
        """It says so when it has looked."""
        one, two = self.work(configuration(pool(f"{ONE}:max-in-flight=2,10.0.0.2:8000:max-in-flight=1", queue=20)))
        a, b = (site.balancer_of().pool.members for site in (one, two))
        b["10.0.0.2:8000"].in_flight += 1
        b[ONE].in_flight += 2

        class Choosy:
            choosy = True

            def try_again(self) -> bool:
                return False

        two.balancer_of().line.join(Choosy())
        self.assertEqual((a[ONE].limit, a["10.0.0.2:8000"].limit), (0, 0))
        b[ONE].in_flight -= 2
        self.assertEqual(a[ONE].limit, 1)
        self.advance(LOOK * 3)
        self.assertEqual((a[ONE].limit, a["10.0.0.2:8000"].limit), (2, 0))

    def test_a_backend_that_is_taken_out_is_hungry_no_more(self) -> None:
        """Nothing of it stays on the board."""
        one, _two = self.work_with(1)
        self.ask(one, GET, 2)
        upstream = one.accept()
        self.tell_backends(parse_backends(["10.0.0.9:8000"]))
        self.advance(LOOK * 3)
        upstream.send(OK)
        self.assertEqual(self.board.sum(FIRST_SLOT, 2), 0)

    def test_a_reload_gives_and_takes_a_limit(self) -> None:
        """Of what runs, too."""
        one, two = self.work(configuration(ONE, queue=20))
        self.ask(one, GET, 2)
        self.tell_backends(parse_backends([f"{ONE}:max-in-flight=2"]))
        (client,) = self.ask(two, GET)
        self.assertEqual(two.connects, [])
        self.tell_backends(parse_backends([ONE]))
        self.advance(LOOK * 3)
        two.accept().send(OK)
        self.assertEqual(status(client.received()), 200)


class CostTests(SynchronousTestCase):
    """What is not limited is not asked."""

    def test_slots_are_those_of_a_plain_state(self) -> None:
        """A worker's state of a backend without a limit has the plain descriptors, that Python reads at full speed."""
        plain = WorkerState.__mro__[1]
        self.assertEqual([name for name in ("in_flight", "limit") if getattr(WorkerState, name) is not getattr(plain, name)], [])
