"""Promises about thresholds: how many findings in a row make a verdict."""

from __future__ import annotations

from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.health.tally import Tally

from ..support import given


class Thresholds(SynchronousTestCase):
    """Rise and fall."""

    def verdicts(self, tally: Tally, findings: str) -> str:
        """What the tally says after each finding: ``+`` is well, and up."""
        return "".join("+" if tally.count(finding == "+") else "-" for finding in findings)

    def test_one_that_is_up_falls_after_so_many_failures_in_a_row(self) -> None:
        """A success in between begins the count anew."""
        self.assertEqual(self.verdicts(Tally(2, 3, up=True), "--+---"), "+++++-")

    def test_one_that_fell_rises_after_so_many_successes_in_a_row(self) -> None:
        """A failure in between begins the count anew."""
        self.assertEqual(self.verdicts(Tally(3, 1, up=True), "-++-+++"), "------+")

    def test_one_that_was_never_up_needs_one_success(self) -> None:
        """Whatever rise says, and however long it took to come up; once it was up, rise counts."""
        self.assertEqual(self.verdicts(Tally(3, 2, up=False), "+--+++"), "++---+")
        self.assertEqual(self.verdicts(Tally(3, 2, up=False), "---+"), "---+")

    def test_it_is_in_transition_until_the_verdict_follows(self) -> None:
        """On its way down, and on its way up."""
        tally = Tally(2, 2, up=True)
        self.assertFalse(tally.in_transition)
        seen = []
        for finding in "+-+--+-++":
            tally.count(finding == "+")
            seen.append(tally.in_transition)
        self.assertEqual(seen, [False, True, False, True, False, True, False, True, False])

    def test_it_says_how_many_in_a_row(self) -> None:
        """For people, who want to know how sure it is."""
        tally = Tally(1, 3, up=True)
        seen = []
        for finding in "++---+":
            tally.count(finding == "+")
            seen.append(tally.in_a_row)
        self.assertEqual(seen, [1, 2, 1, 2, 3, 1])

    @given(some.text("+-", max_size=60), some.integers(1, 5), some.integers(1, 5))
    def test_the_verdict_is_that_of_the_last_long_enough_run(self, findings: str, rise: int, fall: int) -> None:
        """Whatever is found: up since the last run of rise successes, if no run of fall failures came after it."""
        expected = max(("+" * rise in findings, findings.rfind("+" * rise)), (True, -1))[1]
        expected_up = expected >= findings.rfind("-" * fall)
        self.assertEqual(self.verdicts(Tally(rise, fall, up=True), findings)[-1:] in ("+", ""), expected_up)
