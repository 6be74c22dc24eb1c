"""When the successor of a worker begins."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.workers.backoff import AT_MOST, SOON, TELL_AFTER, Backoff

from ..support import given


class BackoffTests(SynchronousTestCase):
    """Promises on back-off."""

    def test_one_that_served_is_replaced_at_once(self) -> None:
        """However often that comes, the first try costs no time."""
        backoff = Backoff()
        self.assertEqual([backoff.died(SOON) for _ in range(5)], [0.0] * 5)
        self.assertEqual(backoff.early, 0)

    def test_early_deaths_in_a_row_are_answered_later_and_later(self) -> None:
        """0, 0.5, 1, 2, 4 … seconds, and never more than 30."""
        backoff = Backoff()
        waits = [backoff.died(1.0) for _ in range(10)]
        self.assertEqual(waits, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0])

    def test_who_has_served_for_a_while_ends_the_row(self) -> None:
        """After that all begins anew."""
        backoff = Backoff()
        for lived in (0.0, 0.0, 0.0, SOON):
            backoff.died(lived)
        self.assertEqual([backoff.died(0.0), backoff.died(0.0)], [0.0, 0.5])

    def test_the_operator_is_told_once_a_row(self) -> None:
        """After so many, and not with each one."""
        backoff, told = Backoff(), []
        for _ in range(3 * TELL_AFTER):
            backoff.died(0.0)
            told.append(backoff.to_be_told)
        self.assertEqual(told.index(True), TELL_AFTER - 1)
        self.assertEqual(told.count(True), 1)

    @given(st.lists(st.floats(0, 20), max_size=2000))
    def test_no_wait_is_longer_than_the_longest(self, lives: list[float]) -> None:
        """Whatever has come before, and however often."""
        backoff = Backoff()
        for lived in lives:
            self.assertTrue(0.0 <= backoff.died(lived) <= AT_MOST)
