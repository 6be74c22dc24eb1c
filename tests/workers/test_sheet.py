"""Sheets of numbers: what is added up is what there was."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.workers.sheet import GAUGES, added, difference, gauges_taken_off

from ..support import given

NAMES = st.sampled_from("abc")
NUMBERS = st.integers(-5, 5)
PARTS = st.dictionaries(NAMES, NUMBERS)

#: A name stands for a number in all sheets, or for a further sheet in all of them.
SHEETS = st.fixed_dictionaries(
    {},
    optional={
        "one": NUMBERS,
        "part": PARTS,
        "whole": st.fixed_dictionaries({}, optional={"two": NUMBERS, "inner": PARTS, GAUGES: PARTS}),
        GAUGES: PARTS,
    },
)


def summed(sheets: list[Any]) -> Any:
    """All together."""
    nothing: Any = {}
    return reduce(added, sheets, nothing)


def plain(sheet: Any) -> Any:
    """The same without what is 0."""
    return added(sheet, {})


class SheetTests(SynchronousTestCase):
    """``difference``, ``added``, ``gauges_taken_off``."""

    @given(st.lists(SHEETS))
    def test_the_sum_of_all_differences_is_the_last_sheet(self, sheets: list[Any]) -> None:
        """Whoever adds what came each time has what there is."""
        differences = [difference(now, before) for before, now in pairwise([{}, *sheets])]
        self.assertEqual(summed(differences), plain(sheets[-1]) if sheets else {})

    @given(st.lists(SHEETS), st.randoms())
    def test_the_order_of_workers_does_not_matter(self, sheets: list[Any], random: Any) -> None:
        """Sums are the same in whatever order they are made."""
        other = random.sample(sheets, len(sheets))
        self.assertEqual(summed(sheets), summed(other))

    @given(SHEETS)
    def test_a_difference_has_only_what_is_not_nought(self, sheet: Any) -> None:
        """What has not moved is not sent."""
        self.assertEqual(difference(sheet, sheet), {})
        self.assertEqual(difference(sheet, {}), plain(sheet))

    @given(SHEETS)
    def test_what_is_left_without_its_gauges_is_what_only_grows(self, sheet: Any) -> None:
        """Wherever they stand in it."""
        left = added(sheet, gauges_taken_off(sheet))
        self.assertEqual(left, plain(without_gauges(sheet)))


def without_gauges(sheet: Any) -> Any:
    """A sheet without them."""
    return {
        name: without_gauges(value) if isinstance(value, dict) else value for name, value in sheet.items() if name != GAUGES
    }
