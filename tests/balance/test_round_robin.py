"""Promises about shares: who gets how many requests, and in which order."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.balance.round_robin import RoundRobin
from lbproxy.balance.state import BackendState
from lbproxy.interfaces import IPolicy

from ..support import given
from .support import firsts, member, members


class Shares(SynchronousTestCase):
    """Each backend gets the share that its weight says."""

    def policy(self, given: list[BackendState]) -> RoundRobin:
        policy = RoundRobin()
        policy.set_members(given)
        return policy

    def test_it_is_a_policy(self) -> None:
        """It provides what pools ask of a policy."""
        verifyObject(IPolicy, RoundRobin())

    def test_three_equal_backends_share_evenly(self) -> None:
        """300 requests to three equal backends are 100, 100, 100."""
        counted = Counter(firsts(self.policy(members(1, 1, 1)), 300))
        self.assertEqual(counted, {"n0": 100, "n1": 100, "n2": 100})

    def test_equal_backends_take_turns_in_the_order_given(self) -> None:
        """The operator's order is the order of turns."""
        self.assertEqual(firsts(self.policy(members(1, 1, 1)), 6), ["n0", "n1", "n2"] * 2)

    def test_weights_are_honoured_smoothly(self) -> None:
        """5:1 is a a a b a a, again and again, never five in a row and then one."""
        policy = self.policy([member("a", 5), member("b", 1)])
        self.assertEqual("".join(firsts(policy, 12)), "aaabaa" * 2)

    @given(st.lists(st.integers(1, 1000), min_size=1, max_size=8))
    def test_shares_are_exact_over_a_cycle(self, weights: list[int]) -> None:
        """After as many requests as the weights' sum each backend has had exactly its weight."""
        counted = Counter(firsts(self.policy(members(*weights)), sum(weights)))
        self.assertEqual([counted[f"n{number}"] for number in range(len(weights))], weights)

    @given(st.lists(st.integers(1, 50), min_size=2, max_size=6), st.integers(1, 200))
    def test_shares_are_never_far_off(self, weights: list[int], count: int) -> None:
        """At every moment each backend is within a few requests of its share."""
        counted = Counter(firsts(self.policy(members(*weights)), count))
        for number, weight in enumerate(weights):
            self.assertLess(abs(counted[f"n{number}"] - count * weight / sum(weights)), len(weights))

    @given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 30))
    def test_each_backend_is_a_candidate_once(self, weights: list[int], past: int) -> None:
        """An exchange that has to go on is offered every backend, none twice."""
        given = members(*weights)
        policy = self.policy(given)
        firsts(policy, past)
        self.assertEqual(sorted(map(id, policy.candidates())), sorted(map(id, given)))

    def test_a_thousand_backends_share_evenly(self) -> None:
        """The share does not depend on how many there are."""
        counted = Counter(firsts(self.policy(members(*[1] * 1000)), 3000))
        self.assertEqual(set(counted.values()), {3})

    def test_without_members_there_is_no_candidate(self) -> None:
        """An empty set is no error."""
        self.assertEqual(list(self.policy([]).candidates()), [])

    def test_a_look_at_the_others_does_not_take_their_turn(self) -> None:
        """Falling back to the next backend once does not shift anybody's share."""
        policy = self.policy(members(1, 1, 1))
        list(policy.candidates())
        self.assertEqual(firsts(policy, 2), ["n1", "n2"])


class ChangingMembers(SynchronousTestCase):
    """Backends come and go without anybody being flooded or starved."""

    def setUp(self) -> None:
        self.given = members(1, 1, 1)
        self.policy = RoundRobin()
        self.policy.set_members(self.given)
        firsts(self.policy, 3000)

    def test_a_share_of_one_that_leaves_goes_to_the_others_evenly(self) -> None:
        """Of 300 requests the two that are left take 150 each."""
        self.policy.set_members([self.given[0], self.given[2]])
        self.assertEqual(Counter(firsts(self.policy, 300)), {"n0": 150, "n2": 150})

    def test_one_that_comes_back_gets_its_share_and_no_burst(self) -> None:
        """What a backend missed while it was away is not made up for."""
        self.policy.set_members(self.given[:2])
        firsts(self.policy, 1000)
        self.policy.set_members(self.given)
        self.assertEqual(Counter(firsts(self.policy, 300)), {"n0": 100, "n1": 100, "n2": 100})

    def test_a_new_one_gets_its_share_and_no_burst(self) -> None:
        """A backend that joins late is an equal from its first moment."""
        self.policy.set_members([*self.given, member("new")])
        for _ in range(10):
            self.assertEqual(set(firsts(self.policy, 4)), {"n0", "n1", "n2", "new"})

    def test_a_heavy_new_one_gets_its_share_and_no_burst(self) -> None:
        """A weight of 3 beside three of 1 is half of the requests, spread evenly."""
        self.policy.set_members([*self.given, member("new", 3)])
        for _ in range(10):
            self.assertEqual(Counter(firsts(self.policy, 6))["new"], 3)

    def test_a_light_one_that_waits_its_turn_causes_no_burst(self) -> None:
        """A heavy backend that joins shares with the other heavy one from the start, whatever a light one is still due."""
        policy = RoundRobin()
        given = [member("heavy", 1000), member("light", 1)]
        policy.set_members(given)
        firsts(policy, 1500)
        policy.set_members([*given, member("new", 1000)])
        counted = Counter(firsts(policy, 100))
        self.assertLessEqual(abs(counted["heavy"] - counted["new"]), 2)

    def test_a_changed_weight_counts_from_now_on(self) -> None:
        """A weight raised from 1 to 10 is ten twelfths at once: no burst for it, no famine for the others."""
        self.given[0].weight = 10.0
        self.policy.set_members(self.given)
        for _ in range(10):
            self.assertEqual(Counter(firsts(self.policy, 12)), {"n0": 10, "n1": 1, "n2": 1})

    def test_a_lowered_weight_does_not_starve(self) -> None:
        """A weight lowered from 10 to 1 is served again in the next cycle, not after ten times what it has had."""
        heavy = [member("a", 10), member("b", 10)]
        policy = RoundRobin()
        policy.set_members(heavy)
        firsts(policy, 2000)
        heavy[0].weight = 1.0
        policy.set_members(heavy)
        counted = Counter(firsts(policy, 110))
        self.assertEqual(counted, {"a": 10, "b": 100})

    def test_one_that_leaves_in_mid_exchange_hides_no_other(self) -> None:
        """The backend that is next in line is tried although the first one has just been taken out."""
        candidates = self.policy.candidates()
        first = next(candidates)
        left = [one for one in self.given if one is not first]
        self.policy.set_members(left)
        self.assertEqual(sorted(map(id, candidates)), sorted(map(id, left)))

    @given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 40)), max_size=20))
    def test_no_change_lets_anybody_have_more_than_its_share(self, changes: list[tuple[int, int]]) -> None:
        """Whoever comes and goes, equal backends that are there get turns within one of each other, soon after."""
        given = members(1, 1, 1)
        policy = RoundRobin()
        for mask, count in changes:
            present = [one for place, one in enumerate(given) if mask >> place & 1]
            policy.set_members(present)
            if present:
                counted = Counter(firsts(policy, count))
                shares = [counted[one.backend.host] for one in present]
                self.assertLessEqual(max(shares) - min(shares), 2)


class WarmingUp(SynchronousTestCase):
    """Effective weights change while turns are taken."""

    def test_one_that_warms_up_is_not_put_off_again_and_again(self) -> None:
        """Its weight changes after every exchange, and still its turn comes: as often as its weights say together."""
        warming, warm = members(100, 100)
        policy = RoundRobin()
        counted, due = 0, 0.0
        for exchange in range(1000):
            warming.weight = 10 + 90 * exchange / 1000
            policy.set_members([warming, warm])
            due += warming.weight / (warming.weight + warm.weight)
            counted += firsts(policy, 1) == ["n0"]
        self.assertLess(abs(counted - due), 2)

    def test_the_fraction_of_a_turn_that_was_waited_is_kept(self) -> None:
        """One that is half way to its turn is half way to it with another weight."""
        slow, fast = members(1, 10)
        policy = RoundRobin()
        policy.set_members([slow, fast])
        self.assertEqual(firsts(policy, 3), ["n1"] * 3)
        left = policy.figure(slow) * slow.weight
        slow.weight = 0.5
        policy.set_members([slow, fast])
        self.assertAlmostEqual(policy.figure(slow) * slow.weight, left)

    def test_the_figure_says_who_is_next(self) -> None:
        """The member with the least figure is chosen."""
        given = members(5, 3, 1)
        policy = RoundRobin()
        policy.set_members(given)
        for _ in range(100):
            least = min(given, key=policy.figure)
            self.assertIs(next(policy.candidates()), least)
