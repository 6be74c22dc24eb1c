"""Promises of ``first``."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.first import First

from .support import firsts, members, named


class FirstTests(SynchronousTestCase):
    """Fill in order."""

    def test_the_order_is_the_operators(self) -> None:
        """Always the first, then the others as they were named."""
        policy, given = First(), members(1, 9, 1)
        policy.set_members(given)
        self.assertEqual(firsts(policy, 3), ["n0"] * 3)
        self.assertEqual(named(list(policy.candidates())), ["n0", "n1", "n2"])

    def test_the_figure_is_the_place(self) -> None:
        """0, 1, 2; one that has left has none."""
        policy, given = First(), members(1, 1, 1)
        policy.set_members(given)
        self.assertEqual([policy.figure(one) for one in given], [0, 1, 2])
        policy.set_members(given[1:])
        self.assertEqual([policy.figure(one) for one in given], [inf, 0, 1])
