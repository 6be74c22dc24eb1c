"""Promises of ``least-connections``."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.least_connections import LeastConnections

from ..support import given
from .support import begin, end, firsts, member, members, named
from .test_conformance import operations


class LeastConnectionsTests(SynchronousTestCase):
    """Fewest in flight for its weight, ties by turn."""

    def setUp(self) -> None:
        self.policy = LeastConnections()
        self.given = members(1, 1, 1)
        self.policy.set_members(self.given)

    def test_the_least_loaded_is_chosen(self) -> None:
        """Whoever has fewest in flight comes first, the others by load."""
        begin(self.policy, self.given[0], 2)
        begin(self.policy, self.given[2], 1)
        self.assertEqual(named(list(self.policy.candidates())), ["n1", "n2", "n0"])

    def test_load_is_for_weight(self) -> None:
        """Five in flight of weight 10 are less than one of weight 1."""
        heavy, light = members(10, 1)
        self.policy.set_members([heavy, light])
        begin(self.policy, heavy, 5)
        begin(self.policy, light)
        self.assertEqual(firsts(self.policy, 1), ["n0"])

    def test_ties_are_taken_in_turn(self) -> None:
        """Among equals the least recently chosen is next."""
        self.assertEqual(firsts(self.policy, 6), ["n0", "n1", "n2"] * 2)

    def test_ties_are_taken_in_turn_by_weight(self) -> None:
        """An idle pool is served as its weights say."""
        self.policy.set_members([member("a", 5), member("b", 1)])
        self.assertEqual("".join(firsts(self.policy, 12)), "aaabaa" * 2)

    def test_one_that_was_busy_does_not_catch_up(self) -> None:
        """A member that missed its turns because it was busy gets no burst of them."""
        begin(self.policy, self.given[0])
        firsts(self.policy, 1000)
        end(self.policy, self.given[0])
        self.assertLessEqual(firsts(self.policy, 9).count("n0"), 4)

    def test_a_load_that_falls_is_noticed(self) -> None:
        """A member whose attempts end is chosen again at once."""
        for one in self.given:
            begin(self.policy, one, 3)
        firsts(self.policy, 5)
        end(self.policy, self.given[1])
        self.assertEqual(firsts(self.policy, 1), ["n1"])

    def test_a_load_that_others_made_is_noticed(self) -> None:
        """Attempts that were not chosen here, such as those of a sticky session, count."""
        begin(self.policy, self.given[0], 5)
        self.assertNotIn("n0", firsts(self.policy, 10))

    def test_the_heap_does_not_grow_without_bounds(self) -> None:
        """However much traffic there is, there are a few entries for each member at most."""
        random, running = Random(1), []
        for _ in range(5000):
            chosen = next(self.policy.candidates())
            begin(self.policy, chosen)
            running.append(chosen)
            if len(running) > 50:
                end(self.policy, running.pop(random.randrange(50)))
        self.assertLessEqual(len(self.policy._heap), 2 * 3 + 64)

    @given(operations)
    def test_the_choice_is_the_least_of_all(self, operations: list[tuple[str, int]]) -> None:
        """The heap finds what a look at every member would find, in whatever order attempts begin and end."""
        policy, given, running = LeastConnections(), members(1, 2, 5, 1), []
        policy.set_members(given)
        for word, number in operations:
            if word == "begin":
                running.append(given[number % 4])
                begin(policy, running[-1])
            elif running and word == "end":
                end(policy, running.pop(number % len(running)))
            chosen = next(policy.candidates())
            self.assertEqual(policy.figure(chosen), min(map(policy.figure, given)))
