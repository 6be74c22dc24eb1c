"""``python -m bench policies`` measures every policy and says where a goal is missed."""

# mypy: allow-untyped-calls

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.policies import GOALS, POLICIES, SIZES, measure_policy, table
from lbproxy.policies import POLICY_NAMES


class PoliciesTests(SynchronousTestCase):
    """Figures, and a table."""

    def test_every_policy_is_measured(self) -> None:
        """None is forgotten, and the sizes that have a goal are among those measured."""
        self.assertEqual({text.partition(":")[0] for text in POLICIES}, set(POLICY_NAMES))
        self.assertLessEqual(set(GOALS), set(SIZES))

    def test_a_cost_is_measured(self) -> None:
        """By number of backends, in µs."""
        for text in POLICIES:
            costs = measure_policy(text, (3, 20), batches=1)
            self.assertEqual(list(costs), [3, 20])
            self.assertTrue(all(0 < cost < 1e6 for cost in costs.values()))

    def test_goals_stand_beside_the_figures(self) -> None:
        """Those that miss theirs are marked."""
        lines = table({"quick": {3: 2.0, 10: 9.0, 1000: 7.0}, "slow": {3: 3.01, 10: 9.0, 1000: 8.0}}).splitlines()
        self.assertEqual(
            [line.split() for line in lines[1:]],
            [
                ["goal", "≤", "3", "≤", "8"],
                ["quick", "2.00", "9.00", "7.00"],
                ["slow", "3.01", "!", "9.00", "8.00"],
            ],
        )
