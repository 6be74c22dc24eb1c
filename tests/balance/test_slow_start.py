"""Promises about slow start: who begins with a tenth of its weight, and how that grows."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.policy import Policy
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import BackendState, Verdict, Wish
from lbproxy.settings import Settings

from ..support import START, given


class Weighing(Policy):
    """A policy that remembers the weights it was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[list[float]] = []

    def set_members(self, members: list[BackendState]) -> None:  # type: ignore[override]
        super().set_members(members)
        self.told.append([member.weight for member in members])


class SlowStart(SynchronousTestCase):
    """A pool whose backends warm up in 40 seconds."""

    def setUp(self) -> None:
        self.make()

    def make(self, slow_start: float = 40.0) -> None:
        self.now = START
        self.policy = Weighing()
        self.pool = Pool(
            parse_backends(["a:1:weight=10,b:1:weight=100"]),
            seconds=lambda: self.now,
            policy=self.policy,
            settings=Settings(slow_start=slow_start),
        )

    def tell(self, name: str, up: bool, source: str = "probe") -> None:
        self.pool.apply(Verdict(f"{name}:1", up, "evidence", source))

    def weight(self, name: str) -> float:
        return self.pool.members[f"{name}:1"].weight

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.pool.tick()

    def recover(self, name: str = "a") -> None:
        self.tell(name, False)
        self.tell(name, True)

    def ramp(self, name: str = "a") -> list[float]:
        """Its weight now and after each 4 seconds, until it is warm."""
        weights = [self.weight(name)]
        for _ in range(10):
            self.wait(4)
            weights.append(self.weight(name))
        return weights

    def assert_ramp(self, name: str = "a", whole: float = 10.0) -> None:
        """It begins to warm up now."""
        for weight, expected in zip(self.ramp(name), (1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), strict=True):
            self.assertAlmostEqual(weight, whole * expected / 10)
        self.assertEqual(self.weight(name), whole)
        self.assertIsNone(self.pool.members[f"{name}:1"].warm_from)

    def test_not_at_the_start_of_the_process(self) -> None:
        """All are cold then, so that nobody could take the rest; nor do their first probes begin it."""
        self.tell("a", True)
        self.assertEqual([self.weight("a"), self.weight("b")], [10, 100])

    def test_one_that_recovered_grows_linearly_from_a_tenth(self) -> None:
        """Whoever took it out, and whoever brought it back."""
        for down, up in (("probe", "probe"), ("traffic", "traffic"), ("traffic", "probe")):
            self.tell("a", False, down)
            self.wait(100)
            self.tell("a", True, up)
            self.assert_ramp()

    def test_one_that_was_added_grows_from_its_first_verdict_on(self) -> None:
        """Not from when it was named."""
        self.pool.set_backends(parse_backends(["a:1:weight=10,n:1:weight=20"]))
        self.wait(1000)
        self.tell("n", True)
        self.assert_ramp("n", 20.0)

    def test_one_that_is_back_from_maintenance_grows(self) -> None:
        """It was most likely restarted; straight to ready, or by way of a drain."""
        for way in (["ready"], ["drain", "ready"]):
            self.pool.wish(Wish("a:1", "maintenance"))
            self.wait(100)
            for want in way:
                self.pool.wish(Wish("a:1", want))
            self.assert_ramp()

    def test_one_that_only_drained_has_all_of_it_at_once(self) -> None:
        """It never stopped."""
        self.pool.wish(Wish("a:1", "drain"))
        self.pool.wish(Wish("a:1", "ready"))
        self.assertEqual(self.weight("a"), 10)

    def test_one_that_is_down_when_maintenance_ends_grows_when_it_is_up(self) -> None:
        """It waits for its recovery."""
        self.tell("a", False)
        self.pool.wish(Wish("a:1", "maintenance"))
        self.pool.wish(Wish("a:1", "ready"))
        self.assertIsNone(self.pool.members["a:1"].warm_from)
        self.wait(100)
        self.tell("a", True)
        self.assert_ramp()

    def test_one_that_goes_down_while_it_warms_up_starts_anew(self) -> None:
        """Half-warm counts for nothing."""
        self.recover()
        self.wait(20)
        self.assertEqual(self.weight("a"), 5)
        self.recover()
        self.assert_ramp()

    def test_a_repeated_verdict_does_not_start_it_anew(self) -> None:
        """Probes go on saying that it is well."""
        self.recover()
        self.wait(20)
        self.tell("a", True)
        self.tell("a", True, "traffic")
        self.assertEqual(self.weight("a"), 5)

    def test_a_changed_weight_counts_at_once(self) -> None:
        """Half of the new whole, half way; it does not begin anew."""
        self.recover()
        self.wait(20)
        self.pool.set_backends(parse_backends(["a:1:weight=40,b:1:weight=100"]))
        self.assertEqual(self.weight("a"), 20)
        self.wait(20)
        self.assertEqual(self.weight("a"), 40)

    def test_the_policy_hears_of_each_step_and_of_nothing_after_it(self) -> None:
        """Of the effective weights, as they grow; a tick without news is none to it."""
        self.recover()
        self.wait(20)
        self.wait(20)
        self.assertEqual(self.policy.told, [[10, 100], [100], [1, 100], [5, 100], [10, 100]])
        self.wait(20)
        self.assertEqual(len(self.policy.told), 5)

    def test_without_it_all_comes_at_once(self) -> None:
        """The default."""
        self.make(slow_start=0)
        self.recover()
        self.assertEqual((self.weight("a"), self.policy.told[-1]), (10, [10, 100]))

    def test_one_that_left_is_not_kept_for_its_warmth(self) -> None:
        """And comes back as a stranger, who is to be checked first."""
        self.recover()
        self.pool.set_backends(parse_backends(["b:1:weight=100"]))
        self.assertEqual(self.pool._warming, set())
        self.wait(20)
        self.assertEqual(self.policy.told[-1], [100])

    def test_a_clock_that_is_set_back_makes_nobody_lighter_than_a_tenth(self) -> None:
        """As NTP may do."""
        self.recover()
        self.wait(-1000)
        self.assertEqual(self.weight("a"), 1)

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("tell"), st.sampled_from("ab"), st.booleans()),
                st.tuples(st.just("wish"), st.sampled_from("ab"), st.sampled_from(("ready", "drain", "maintenance"))),
                st.tuples(st.just("wait"), st.just(""), st.floats(0, 50)),
            ),
            max_size=40,
        )
    )
    def test_whatever_happens_it_is_between_a_tenth_and_the_whole(self, events: list[tuple]) -> None:
        """Weights never leave these bounds, are what the policy was told last, and all are warm in the end."""
        self.make()
        for what, name, value in events:
            if what == "tell":
                self.tell(name, value)
            elif what == "wish":
                self.pool.wish(Wish(f"{name}:1", value))
            else:
                self.wait(value)
            for member in self.pool.members.values():
                whole = member.backend.weight
                self.assertTrue(whole * 0.1 - 1e-9 <= member.weight <= whole)
            self.assertEqual(self.policy.told[-1], [member.weight for member in self.policy.members])
        self.wait(41)
        self.assertEqual([self.weight("a"), self.weight("b")], [10, 100])
        self.assertEqual(self.pool._warming, set())
