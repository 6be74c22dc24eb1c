"""Promises about clients' connections, of all workers together."""

from __future__ import annotations

import os
import resource
from random import Random
from typing import Any

from hypothesis import strategies as some
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admission import ConnectionLimit, connections_for
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.workers.board import CONNECTIONS, Board
from lbproxy.workers.connections import LOOK, SharedConnectionLimit

from ..support import given
from ..test_admission import Port


class Worker:
    """One worker's limit, with a port."""

    def __init__(self, board: Board, number: int, workers: int) -> None:
        self.clock = Clock()
        self.counters = ListenerCounters()
        self.port = Port()
        ports: Any = [self.port]
        self.limit = SharedConnectionLimit(
            self.counters, lambda: ports, self.clock, board=board, number=number, workers=workers, random=Random(number)
        )

    def start(self, limit: int) -> None:
        self.limit.start(limit)
        self.clock.advance(0)

    def accept(self, waiting: int) -> int:
        """The port accepts as many at once as it may of those who wait. Gives how many."""
        count = 0 if self.port.paused else min(waiting, self.port.numberAccepts)
        for _ in range(count):
            self.limit.opened()
        self.clock.advance(0)
        return count

    def look(self) -> None:
        """It is time to look."""
        self.clock.advance(LOOK * 1.5)


class SharedLimitTests(SynchronousTestCase):
    """Ports of several workers pause and resume."""

    def workers(self, limit: int, count: int = 2) -> list[Worker]:
        self.board = Board()
        self.addCleanup(os.close, self.board.fd)
        made = [Worker(self.board, number, count) for number in range(count)]
        for worker in made:
            worker.start(limit)
        return made

    def paused(self, *workers: Worker) -> list[bool]:
        return [worker.port.paused for worker in workers]

    def test_what_others_have_counts(self) -> None:
        """Whoever reaches the limit pauses at once; the others when they look."""
        a, b = self.workers(6)
        self.assertEqual((a.accept(2), b.accept(3)), (2, 3))
        self.assertEqual(self.paused(a, b), [False, False])
        a.look()
        self.assertEqual(a.accept(9), 1)
        self.assertEqual((self.paused(a, b), self.board.sum(CONNECTIONS, 2)), ([True, False], 6))
        b.look()
        self.assertEqual((self.paused(a, b), b.counters.limited), ([True, True], {"connections": 1}))

    def test_who_has_less_than_its_share_resumes_at_once(self) -> None:
        """Others when they look, so that they do not take all that becomes free."""
        a, b = self.workers(4)
        a.accept(1)
        for _ in range(3):
            b.accept(1)
        a.look()
        self.assertEqual(self.paused(a, b), [True, True])
        b.limit.closed()
        self.assertEqual(self.paused(a, b), [True, True])
        a.look()
        self.assertEqual(self.paused(a, b), [False, True])
        a.accept(1)
        self.assertEqual(self.paused(a, b), [True, True])
        a.limit.closed()
        self.assertEqual(self.paused(a, b), [False, True])

    @given(some.lists(some.tuples(some.integers(0, 2), some.sampled_from(["come", "go", "look"]), some.integers(1, 30))))
    def test_the_limit_is_kept_within_what_is_said(self, steps: list[tuple[int, str, int]]) -> None:
        """Each further worker passes it by what its port accepts at once since it looked last, at most."""
        workers = self.workers(20, 3)
        for number, what, count in steps:
            worker = workers[number]
            if what == "look":
                worker.look()
            elif what == "come":
                room = 20 - self.board.sum(CONNECTIONS, 3)
                came = worker.accept(count)
                self.assertLessEqual(came, max(room, 6))  # a third of the limit: the most that it can have seen free
                if room <= 0:
                    self.assertTrue(worker.port.paused or not came)
            else:
                for _ in range(min(count, worker.limit.open)):
                    worker.limit.closed()
            self.assertLessEqual(self.board.sum(CONNECTIONS, 3), 20 + 2 * 6)
            self.assertEqual(self.board.row(number)[CONNECTIONS], worker.limit.open)

    def test_a_worker_that_ended_leaves_its_room(self) -> None:
        """To the others."""
        a, b = self.workers(2)
        for worker in (a, b):
            worker.accept(1)
        a.look()
        self.assertEqual(self.paused(a, b), [True, True])
        self.board.clear(0)
        b.look()
        self.assertEqual(self.paused(b), [False])

    def test_files_bound_each_worker_by_itself(self) -> None:
        """What another has does not count there."""
        self.patch(resource, "getrlimit", lambda _: (120, 120))
        a, b = self.workers(0)
        self.assertEqual(a.counters.connections_limit, 2 * connections_for(120))
        while a.accept(1):
            pass
        self.assertEqual((a.limit.open, self.paused(a, b)), (10, [True, False]))
        b.accept(1)
        self.assertEqual(self.paused(b), [False])

    def test_without_any_limit_nobody_looks(self) -> None:
        """Where files have none."""
        unlimited = resource.RLIM_INFINITY, resource.RLIM_INFINITY
        self.patch(resource, "getrlimit", lambda _: unlimited)
        a, _ = self.workers(0)
        self.assertEqual((a.clock.getDelayedCalls(), a.port.numberAccepts), ([], 100))
        a.limit.opened()
        self.assertFalse(a.port.paused)

    def test_a_limit_that_comes_by_a_reload(self) -> None:
        """It is looked for from then on, once however often it changes."""
        a, _ = self.workers(50)
        for limit in (40, 30):
            a.start(limit)
        self.assertEqual(len(a.clock.getDelayedCalls()), 1)


class SupervisorsLimitTests(SynchronousTestCase):
    """The supervisor shows the figure, and warns."""

    def test_the_files_of_all(self) -> None:
        """Each process has its own."""
        self.patch(resource, "getrlimit", lambda _: (1024, 1024))
        counters = ListenerCounters()
        limit = ConnectionLimit(counters, list, Clock(), processes=4)
        limit.start(0)
        self.assertEqual(counters.connections_limit, 4 * 462)
        with capturedLogs() as events:
            limit.start(1800)
            self.assertEqual(events, [])
            limit.start(1900)
        self.assertIn("each of the 4 workers", events[0]["who"])
