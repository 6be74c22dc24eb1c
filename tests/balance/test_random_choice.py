"""Promises of ``random`` and ``two-choices``."""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.random_choice import RandomChoice
from lbproxy.balance.two_choices import TwoChoices

from .support import begin, firsts, members, named


class Always:
    """A source of chance that gives the same number again and again."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number

    def expovariate(self, rate: float) -> float:
        return self.number / rate


class RandomChoiceTests(SynchronousTestCase):
    """Chance, by weight."""

    def test_the_others_are_drawn_by_weight_too(self) -> None:
        """Where the first cannot be taken, the second is nobody's favourite: of those left, each by its weight."""
        policy, given = RandomChoice(Random(3)), members(1, 3, 1)
        policy.set_members(given)
        seconds = Counter(orders[1] for orders in (named(list(policy.candidates())) for _ in range(20_000)) if orders[0] == "n0")
        whole = sum(seconds.values())
        self.assertLess(abs(seconds["n1"] / whole - 0.75), 0.02)

    def test_the_end_of_the_range_is_a_member(self) -> None:
        """A number that rounds up to the whole sum is the last member's, not nobody's."""
        policy: RandomChoice = RandomChoice(Always(1.0))  # type: ignore[arg-type]
        policy.set_members(members(1, 1, 1))
        self.assertEqual(firsts(policy, 1), ["n2"])

    def test_the_figure_is_a_probability(self) -> None:
        """It is the member's share, and all sum to 1."""
        policy, given = RandomChoice(Random(3)), members(1, 3)
        policy.set_members(given)
        self.assertEqual([policy.figure(one) for one in given], [0.25, 0.75])


class TwoChoicesTests(SynchronousTestCase):
    """The better of two."""

    def test_of_two_the_less_loaded_is_always_chosen(self) -> None:
        """In a pool of two both are always looked at."""
        policy, given = TwoChoices(Random(3)), members(1, 1)
        policy.set_members(given)
        begin(policy, given[0])
        self.assertEqual(set(firsts(policy, 200)), {"n1"})

    def test_load_is_for_weight(self) -> None:
        """Two in flight of weight 5 are less than one of weight 1."""
        policy, given = TwoChoices(Random(3)), members(5, 1)
        policy.set_members(given)
        begin(policy, given[0], 2)
        begin(policy, given[1], 1)
        self.assertEqual(set(firsts(policy, 200)), {"n0"})

    def test_the_most_loaded_is_never_chosen(self) -> None:
        """Whoever it is drawn with is better."""
        policy, given = TwoChoices(Random(3)), members(1, 1, 1, 1)
        policy.set_members(given)
        begin(policy, given[2])
        counted = Counter(firsts(policy, 3000))
        self.assertNotIn("n2", counted)
        self.assertEqual(len(counted), 3)

    def test_the_two_are_never_the_same(self) -> None:
        """Not even where one has nearly all of the weight, or a number is at the end of its range."""
        for number in (0.0, 0.5, 0.999_999, 1.0):
            policy = TwoChoices(Always(number))  # type: ignore[arg-type]
            for weights in ((1000, 1), (1, 1000), (1, 1, 1)):
                given = members(*weights)
                policy.set_members(given)
                self.assertEqual(sorted(named(list(policy.candidates()))), named(given))

    def test_the_other_one_of_the_two_is_next(self) -> None:
        """If the better of two cannot be taken, the other one is tried before the rest."""
        policy, given = TwoChoices(Random(3)), members(*[1] * 10)
        policy.set_members(given)
        for one in given[2:]:
            begin(policy, one, 5)
        begin(policy, given[1])
        for _ in range(500):
            order = named(list(policy.candidates()))
            if order[0] == "n0" and order[1] == "n1":
                return
        self.fail("the two idle ones were never drawn together")
