"""Promises about backends' places on the board."""

from __future__ import annotations

import os

from hypothesis import strategies as some
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.workers import slots
from lbproxy.workers.board import FIRST_SLOT, Board
from lbproxy.workers.slots import Slots, SlotTable, SlotTeller

from ..support import given

NAMES = some.sets(some.sampled_from("abcdef"))


class SlotTableTests(SynchronousTestCase):
    """Numbers for those who need one."""

    @given(some.lists(some.tuples(some.sampled_from(["one", "two"]), NAMES, some.sets(some.integers(0, 4)))))
    def test_nobody_shares_and_nobody_moves(self, steps: list[tuple[str, set[str], set[int]]]) -> None:
        """A number is one backend's alone; it keeps it as long as it stays; and where something still counts, no other one gets
        it."""
        busy: set[int] = set()
        table = SlotTable(5, busy.__contains__)
        now: dict[str, dict[str, int]] = {}
        last: dict[int, tuple[str, str]] = {}
        for pool, names, counting in steps:
            busy.clear()
            busy.update(counting)
            before = now.get(pool, {})
            now[pool] = given = table.give(pool, sorted(names))
            self.assertLessEqual(given.keys(), names)
            self.assertEqual({name: slot for name, slot in before.items() if name in names}.items() - given.items(), set())
            taken = [slot for one in now.values() for slot in one.values()]
            self.assertEqual(len(taken), len(set(taken)))
            for name, slot in given.items():
                if last.get(slot, (pool, name)) != (pool, name):
                    self.assertNotIn(slot, counting)
                last[slot] = (pool, name)

    def test_who_comes_back_counts_on(self) -> None:
        """It has the number that it had, with what still runs at it."""
        table = SlotTable(9, lambda slot: True)
        before = table.give("default", ["a", "b"])
        table.give("default", ["b", "c"])
        self.assertEqual(table.give("default", ["a", "b"]), before)

    def test_all_are_taken(self) -> None:
        """The next one has none, until somebody has left for good."""
        busy = {0}
        table = SlotTable(2, busy.__contains__)
        table.give("default", ["a", "b"])
        self.assertEqual(table.give("default", ["b", "c"]), {"b": 1})
        busy.clear()
        self.assertEqual(table.give("default", ["b", "c"]), {"b": 1, "c": 0})

    def test_pools_that_are_gone_leave_theirs(self) -> None:
        """To others."""
        table = SlotTable(1, lambda slot: False)
        table.give("default", ["a"])
        self.assertEqual(table.give("other", ["a"]), {})
        table.keep(["other"])
        self.assertEqual(table.give("other", ["a"]), {"a": 0})


class SlotsTests(SynchronousTestCase):
    """What workers are told."""

    def setUp(self) -> None:
        self.board = Board()
        self.addCleanup(os.close, self.board.fd)

    def pool(self, backends: str) -> Pool:
        return Pool(parse_backends([backends]))

    def test_those_with_a_limit_have_a_place(self) -> None:
        """Others need none."""
        pool = self.pool("10.0.0.1:8000:max-in-flight=3,10.0.0.2:8000,10.0.0.3:8000:max-in-flight=1")
        self.assertEqual(Slots(self.board, 2).calls([pool]), [["default", "slots", {"10.0.0.1:8000": 0, "10.0.0.3:8000": 1}]])

    def test_too_many_are_said_once(self) -> None:
        """By the name of one that has none."""
        self.patch(slots, "SLOTS", 1)
        given = Slots(self.board, 2)
        with capturedLogs() as events:
            for _ in range(2):
                given.calls([self.pool("10.0.0.1:8000:max-in-flight=3,10.0.0.2:8000:max-in-flight=3")])
        self.assertEqual([event["address"] for event in events], ["10.0.0.2:8000"])

    def test_a_place_at_which_something_runs_is_nobody_elses(self) -> None:
        """Not before the last worker has ended it there."""
        self.patch(slots, "SLOTS", 1)
        given = Slots(self.board, 2)
        given.calls([self.pool("10.0.0.1:8000:max-in-flight=3")])
        self.board.row(1)[FIRST_SLOT] = 2
        self.assertEqual(given.calls([self.pool("10.0.0.2:8000:max-in-flight=3")])[0][2], {})
        self.board.clear(1)
        self.assertEqual(given.calls([self.pool("10.0.0.2:8000:max-in-flight=3")])[0][2], {"10.0.0.2:8000": 0})

    def test_workers_hear_of_places_before_they_hear_of_backends(self) -> None:
        """The pool's followers are told in their order."""
        told = []
        pool = self.pool("10.0.0.1:8000")
        pool.followers.append(SlotTeller("default", lambda name, backends: told.append((name, list(backends)))))
        backends = parse_backends(["10.0.0.1:8000:max-in-flight=2"])
        pool.set_backends(backends)
        self.assertEqual(told, [("default", backends)])
