"""Promises about the waiting line."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.proxy.line import WaitingLine

from ..support import given


class One:
    """Somebody who waits, for one of a counter's places, and notes that it was served."""

    choosy = False

    def __init__(self, name: int, line: WaitingLine, places: list[int], served: list[int]) -> None:
        self.name = name
        self._line = line
        self._places = places
        self._served = served
        self.then: Callable[[], None] = lambda: None

    def try_again(self) -> bool:
        if not self._places:
            return False
        self._places.pop()
        self._line.leave(self)
        self._served.append(self.name)
        self.then()
        return True


class Lines(SynchronousTestCase):
    """Who comes first is served first, and nobody is forgotten."""

    def setUp(self) -> None:
        self.places: list[int] = []
        self.served: list[int] = []
        self.make(10)

    def make(self, limit: int) -> None:
        self.line = WaitingLine(limit)

    def join(self, name: int) -> One:
        one = One(name, self.line, self.places, self.served)
        self.line.join(one)
        return one

    def free(self, places: int) -> None:
        self.places += [1] * places
        self.line.call()

    def test_as_many_are_served_as_there_are_places(self) -> None:
        """In the order in which they came."""
        for name in range(5):
            self.join(name)
        self.free(2)
        self.assertEqual(self.served, [0, 1])
        self.free(1)
        self.assertEqual((self.served, len(self.line.waiting)), ([0, 1, 2], 2))

    def test_it_is_full_at_its_limit(self) -> None:
        """And who was turned away is counted, but waits for nothing."""
        self.make(2)
        for name in range(4):
            self.join(name)
        self.assertEqual((self.line.turned_away, self.line.joined, len(self.line.waiting)), (2, 2, 2))
        self.free(9)
        self.assertEqual(self.served, [0, 1])

    def test_nobody_may_wait_where_there_is_none(self) -> None:
        """A limit of 0."""
        self.make(0)
        self.assertFalse(self.line.join(One(1, self.line, self.places, self.served)))

    def test_who_leaves_is_not_called(self) -> None:
        """Whoever does not wait may leave as well."""
        first = self.join(1)
        self.join(2)
        self.line.leave(first)
        self.line.leave(first)
        self.free(1)
        self.assertEqual(self.served, [2])

    def test_who_is_choosy_holds_nobody_up(self) -> None:
        """Those behind it are called too; behind one that would take any place nobody is."""
        self.join(1).choosy = True
        self.join(2)
        third = self.join(3)
        calls: list[int] = []

        def note(one: One) -> bool:
            calls.append(one.name)
            return False

        self.patch(One, "try_again", note)
        self.line.call()
        self.assertEqual((calls, third in self.line.waiting), ([1, 2], True))

    def test_a_place_that_becomes_free_meanwhile_is_not_lost(self) -> None:
        """One that is served may end at once, while the others are being called."""
        first = self.join(1)
        self.join(2)
        first.then = lambda: self.free(1)
        self.free(1)
        self.assertEqual(self.served, [1, 2])

    def test_who_leaves_meanwhile_is_not_called(self) -> None:
        """One that is served may have others leave."""
        first, second = self.join(1), self.join(2)
        self.join(3)
        first.then = lambda: self.line.leave(second)
        self.free(2)
        self.assertEqual(self.served, [1, 3])

    def test_one_may_wait_again_at_once(self) -> None:
        """At the end of the line; it is not taken out for having been served."""
        first = self.join(1)
        self.join(2)
        first.then = lambda: self.assertTrue(self.line.join(first))
        self.free(1)
        self.assertEqual([one.name for one in self.line.waiting], [2, 1])  # type: ignore[attr-defined]

    def test_after_an_error_it_can_be_called_again(self) -> None:
        """It is its caller's."""

        def broken(one: One) -> bool:
            raise ZeroDivisionError

        self.join(1)
        patch = self.patch(One, "try_again", broken)
        self.assertRaises(ZeroDivisionError, self.line.call)
        patch.restore()
        self.free(1)
        self.assertEqual(self.served, [1])

    @given(st.lists(st.tuples(st.sampled_from(["join", "leave", "free"]), st.integers(0, 3)), max_size=40), st.integers(0, 5))
    def test_whatever_happens(self, steps: list[tuple[str, int]], limit: int) -> None:
        """It is a queue: a plain list says who is served, and when."""
        self.setUp()
        self.make(limit)
        waiting: list[One] = []
        served: list[int] = []
        for number, (step, count) in enumerate(steps):
            if step == "join":
                one = One(number, self.line, self.places, self.served)
                if self.line.join(one):
                    waiting.append(one)
            elif step == "leave" and waiting:
                self.line.leave(waiting.pop(count % len(waiting)))
            elif step == "free":
                self.places.clear()
                self.free(count)
                served += [one.name for one in waiting[:count]]
                del waiting[:count]
            self.assertEqual((self.served, list(self.line.waiting)), (served, waiting))
            self.assertLessEqual(len(self.line.waiting), limit)
