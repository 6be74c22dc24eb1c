"""Promises about the retry budget's arithmetic."""

from __future__ import annotations

from math import inf

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.proxy.budget import COOLING, RetryBudget

from ..support import given


def taken(budget: RetryBudget, in_flight: int) -> int:
    """How many get a place, if all in flight want one and those who get none wait."""
    for _ in range(in_flight):
        if not budget.take(in_flight):
            budget.waiting += 1
    return budget.active


class Budgets(SynchronousTestCase):
    """How many may repeat work at once."""

    def test_a_share_of_the_others(self) -> None:
        """20 % of those that are neither at it themselves nor wait for it."""
        budget = RetryBudget(0.2, 3)
        self.assertEqual(budget.allowed(100), 20)
        for _ in range(16):
            self.assertTrue(budget.take(100))
        self.assertFalse(budget.take(100))  # a seventeenth would be more than 20 % of the other 84
        self.assertEqual(budget.allowed(100), 0.2 * 84)

    def test_those_who_wait_do_not_count(self) -> None:
        """They run nowhere: otherwise a queue of retries would be the reason for more of them."""
        budget = RetryBudget(0.2, 3)
        budget.waiting = 90
        self.assertEqual(budget.allowed(100), 3)

    def test_a_few_always(self) -> None:
        """However few the others are."""
        self.assertEqual(taken(RetryBudget(0.2, 3), 5), 3)
        self.assertEqual(taken(RetryBudget(0.0, 3), 1000), 3)

    def test_none_at_all(self) -> None:
        """0 and 0."""
        self.assertEqual(taken(RetryBudget(0.0, 0), 1000), 0)

    def test_any_number(self) -> None:
        """100 %."""
        budget = RetryBudget(1.0, 0)
        self.assertEqual((budget.allowed(0), taken(budget, 50)), (inf, 50))

    def test_a_place_that_is_given_back_is_free(self) -> None:
        """For the next one."""
        budget = RetryBudget(0.0, 1)
        self.assertEqual([budget.take(9), budget.take(9)], [True, False])
        budget.give_back()
        self.assertEqual([budget.active, budget.take(9)], [0, True])

    def test_one_that_was_had_for_nothing_is_free_after_a_while(self) -> None:
        """Though nobody has it, and it does not count as one of those at work."""
        budget = RetryBudget(0.0, 1)
        budget.take(9, 100.0)
        budget.failed(100.0)
        self.assertEqual(
            [budget.active, budget.take(9, 100.0 + COOLING - 0.1), budget.take(9, 100.0 + COOLING)], [0, False, True]
        )

    @given(st.floats(0, 0.99), st.integers(0, 10), st.lists(st.integers(1, 300), max_size=60))
    def test_whatever_comes(self, share: float, least: int, loads: list[int]) -> None:
        """Nobody gets a place beyond the least and the share of the others."""
        budget = RetryBudget(share, least)
        for in_flight in loads:
            others = in_flight - budget.active - budget.waiting
            if budget.take(in_flight):
                self.assertLessEqual(budget.active, max(least, share * others))
            else:
                self.assertGreater(budget.active + 1, max(least, share * others))
