"""Promises about tiers: who comes first, how much spills over to the next, and what moves when the operator moves them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from lbproxy.balance.backend import BACKUP_TIER, parse_backends
from lbproxy.balance.policy import Policy
from lbproxy.balance.pool import Pool
from lbproxy.balance.round_robin import RoundRobin
from lbproxy.balance.state import BackendState, Verdict, Wish
from lbproxy.balance.tiers import shares
from lbproxy.errors import ConfigurationError
from lbproxy.settings import Settings

from ..support import given
from .test_pool import PoolCase


class Shares(PoolCase):
    """Envoy's rule for priorities on values: a tier is good for its fit share times 1.4."""

    def test_three_of_four_take_all(self) -> None:
        """1.4 × 75 % is more than enough; so is 5 of 7, just."""
        self.assertEqual(shares([0.75, 1.0]), [1.0, 0.0])
        self.assertEqual(shares([5 / 7, 1.0]), [1.0, 0.0])

    def test_half_take_seventy_percent(self) -> None:
        """The next tier takes the rest."""
        first, second, third = shares([0.5, 1.0, 1.0])
        self.assertAlmostEqual(first, 0.7)
        self.assertAlmostEqual(second, 0.3)
        self.assertEqual(third, 0.0)

    def test_the_third_takes_what_the_second_cannot(self) -> None:
        """A quarter of each: 35 %, 35 %, and the rest."""
        for share, expected in zip(shares([0.25, 0.25, 1.0]), (0.35, 0.35, 0.3), strict=True):
            self.assertAlmostEqual(share, expected)

    def test_what_nobody_can_take_is_shared_out(self) -> None:
        """A quarter of each of two tiers: half of all to each."""
        self.assertEqual(shares([0.25, 0.25]), [0.5, 0.5])

    def test_nobody_fit_is_no_share(self) -> None:
        """And no division by nought."""
        self.assertEqual(shares([0.0, 0.0]), [0.0, 0.0])

    @given(st.lists(st.integers(0, 20).map(lambda fit: fit / 20), min_size=1, max_size=6))
    def test_shares_sum_to_one(self, health: list[float]) -> None:
        """If anybody is fit; a tier with nobody has none, and none has more than it is good for if another has room."""
        found = shares(health)
        self.assertAlmostEqual(sum(found), 1.0 if any(health) else 0.0)
        for share, fit in zip(found, health, strict=True):
            self.assertTrue(0 <= share <= 1 and (fit or not share))
            if sum(health) * 1.4 >= 1:
                self.assertLessEqual(share, fit * 1.4 + 1e-9)


class Spill(PoolCase):
    """What real exchanges see of it."""

    backends = "a:1,b:1,c:1,d:1,x:1:tier=1,y:1:tier=1,z:1:backup"

    def firsts(self, count: int) -> str:
        """Whom so many exchanges would try first."""
        return "".join(next(self.pool.candidates()).address[0] for _ in range(count))

    def down(self, *names: str) -> None:
        for name in names:
            self.tell(f"{name}:1", False)

    def up(self, *names: str) -> None:
        for name in names:
            self.tell(f"{name}:1", True)

    def test_the_first_tier_takes_all_while_three_of_four_are_fit(self) -> None:
        """The others idle."""
        self.down("a")
        self.assertEqual(Counter(self.firsts(300)), {"b": 100, "c": 100, "d": 100})

    def test_half_of_it_takes_seventy_percent(self) -> None:
        """To the exchange."""
        self.down("a", "b")
        counted = Counter(self.firsts(1000))
        self.assertEqual((counted["c"] + counted["d"], counted["x"] + counted["y"], counted["z"]), (700, 300, 0))

    def test_the_spill_is_smooth(self) -> None:
        """Never more than one in a row of the smaller share, in any ten three."""
        self.down("a", "b")
        spilt = "".join("-" if name in "cd" else "x" for name in self.firsts(100))
        self.assertNotIn("xx", spilt)
        self.assertEqual({spilt[start : start + 10].count("x") for start in range(90)}, {3})

    def test_the_backup_is_last(self) -> None:
        """It takes nothing while the tier before it is fit, and all when nobody else is."""
        self.down("a", "b", "c", "d")
        self.assertEqual(set(self.firsts(100)), {"x", "y"})
        self.down("x", "y")
        self.assertEqual(set(self.firsts(100)), {"z"})
        self.assertEqual(self.pool.members["z:1"].backend.tier, BACKUP_TIER)

    def test_once_the_first_tier_is_well_no_exchange_goes_to_the_next(self) -> None:
        """Wherever in its turns the spill was when it ended: 14 %, 42 % and 44 % went to three tiers."""
        names = [f"n{number}:1:tier={number // 10}" for number in range(30)]
        for count in range(20):
            self.pool = Pool(parse_backends(names))
            down = [member for number, member in enumerate(self.pool.members.values()) if number not in (0, 10, 11, 12)]
            for member in down[:16]:
                self.tell(member.address, False)
            for _ in range(count):
                next(self.pool.candidates())
            for member in down:
                self.tell(member.address, True)
            self.assertEqual({next(self.pool.candidates()).backend.tier for _ in range(5)}, {0})

    def test_what_leaves_the_shares_as_they_are_leaves_the_turns(self) -> None:
        """A backend that warms up, or evidence that changes, all the time: still three of ten spill over."""
        self.pool.settings = Settings(slow_start=1000)
        self.down("a", "b", "c")
        self.up("c")
        firsts = ""
        for _ in range(100):
            self.now += 1
            self.pool.tick()
            firsts += self.firsts(1)
        self.assertEqual(sum(name in "xy" for name in firsts), 30)

    def test_refusals_leave_no_mark_on_the_turns(self) -> None:
        """Exchanges that found nobody fit do not count as a tier's."""
        everyone = "abcdxyz"
        self.down(*everyone)
        for _ in range(1000):
            self.assertEqual(self.tried(), [])
        self.up(*everyone)
        self.down("a", "b")
        self.assertEqual(sum(name in "cd" for name in self.firsts(10)), 7)

    def test_retries_go_on_to_the_next_tiers_in_order(self) -> None:
        """Each backend once: the tier whose turn it is, then the others from the first on."""
        self.assertEqual(self.tried(), ["a:1", "b:1", "c:1", "d:1", "x:1", "y:1", "z:1"])
        self.down("a", "b")
        for _ in range(10):
            tried = self.tried()
            tiers = [self.pool.members[address].backend.tier for address in tried]
            self.assertIn(tiers, ([0, 0, 1, 1, 100], [1, 1, 0, 0, 100]))
            self.assertEqual(len(set(tried)), 5)

    def test_those_that_an_operator_took_out_count_as_unfit(self) -> None:
        """What a tier cannot take spills over, whoever is the cause."""
        self.pool.wish(Wish("a:1", "drain"))
        self.pool.wish(Wish("b:1", "maintenance"))
        counted = Counter(self.firsts(100))
        self.assertEqual(counted["x"] + counted["y"], 30)

    def test_a_tier_keeps_the_fairness_among_its_own(self) -> None:
        """Each tier's policy has turns of its own."""
        self.down("a", "b")
        counted = Counter(self.firsts(1000))
        self.assertEqual([counted[name] for name in "cdxy"], [350, 350, 150, 150])


class PanicWithTiers(PoolCase):
    """Panic ignores health among a tier's backends, never that another tier is well."""

    def make(self, backends: str, panic: int = 50) -> None:
        self.pool = Pool(parse_backends([backends]), seconds=lambda: self.now, settings=Settings(panic=panic))

    def test_a_backup_that_is_well_takes_all(self) -> None:
        """Both primaries are down: that is what it is for, and no panic though a third only is up."""
        self.make("a:1,b:1,c:1:backup")
        self.tell("a:1", False)
        self.tell("b:1", False)
        self.assertFalse(self.pool.panicking)
        self.assertEqual([self.tried() for _ in range(5)], [["c:1"]] * 5)

    def test_what_the_tiers_can_take_together_is_no_panic(self) -> None:
        """Envoy's rule: 1.4 × ½ + 1.4 × ½ is more than enough, though half only is up where 60 % are asked for."""
        self.make("a:1,b:1,c:1:tier=1,d:1:tier=1", panic=60)
        self.tell("a:1", False)
        self.tell("c:1", False)
        self.assertFalse(self.pool.panicking)
        self.assertEqual(sorted(self.tried()), ["b:1", "d:1"])

    def test_in_panic_the_shares_still_go_by_health(self) -> None:
        """Nobody of the first tier is up: the second one's take all first, its dead ones too."""
        self.make("a:1,b:1,c:1:tier=1,d:1:tier=1,e:1:tier=1")
        for name in "abcd":
            self.tell(f"{name}:1", False)
        self.assertTrue(self.pool.panicking)
        firsts = Counter(next(self.pool.candidates()).address for _ in range(30))
        self.assertEqual(firsts, {"c:1": 10, "d:1": 10, "e:1": 10})
        self.assertEqual(sorted(self.tried()), ["a:1", "b:1", "c:1", "d:1", "e:1"])

    def test_with_one_tier_the_percentage_alone_counts(self) -> None:
        """80 % are up where 90 are asked for."""
        self.make("a:1,b:1,c:1,d:1,e:1", panic=90)
        self.tell("a:1", False)
        self.assertTrue(self.pool.panicking)


class Moved(PoolCase):
    """Tiers come, go and change at run time."""

    backends = "a:1,b:1,c:1:tier=1"

    def setUp(self) -> None:
        super().setUp()
        self.pool = Pool(parse_backends([self.backends]), seconds=lambda: self.now, policy=RoundRobin)

    def set(self, text: str) -> None:
        self.pool.set_backends(parse_backends([text]))

    def test_a_backend_that_moves_keeps_its_state_and_goes_by_its_new_tier(self) -> None:
        """Its counters and health stay; its share and its policy are the new tier's."""
        member = self.pool.members["b:1"]
        member.requests = 7
        self.set("a:1,b:1:tier=1,c:1:tier=1")
        self.assertIs(self.pool.members["b:1"], member)
        self.assertEqual((member.requests, member.up, member.backend.tier), (7, True, 1))
        self.assertIs(member.policy, self.pool.members["c:1"].policy)
        self.assertEqual([self.tried()[0] for _ in range(4)], ["a:1"] * 4)
        self.assertEqual(sorted(self.tried()), ["a:1", "b:1", "c:1"])

    def test_tiers_can_come_and_go(self) -> None:
        """From two to one, to three, and in whatever order they are named."""
        for text, order in (
            ("a:1,b:1,c:1", ["abc"]),
            ("c:1:tier=2,b:1:tier=1,a:1", ["a", "b", "c"]),
            ("a:1:backup,b:1:tier=1,c:1:tier=1", ["bc", "a"]),
            ("a:1:tier=7", ["a"]),
        ):
            self.set(text)
            tried = "".join(address[0] for address in self.tried())
            for names in order:
                self.assertEqual(sorted(tried[: len(names)]), sorted(names))
                tried = tried[len(names) :]
            self.assertEqual(tried, "")

    def test_a_tier_keeps_its_policy_when_another_comes_or_goes(self) -> None:
        """What the policy has learnt of its backends is not given to others."""
        policy = self.pool.members["c:1"].policy
        self.set("c:1:tier=1")
        self.assertIs(self.pool.members["c:1"].policy, policy)
        self.assertIs(self.pool.policy, policy)
        self.set("c:1:tier=1,z:1")
        self.assertIs(self.pool.members["c:1"].policy, policy)
        self.assertIsNot(self.pool.policy, policy)

    def test_one_policy_object_goes_with_the_only_tier_whatever_its_number(self) -> None:
        """From tier 0 to tier 1 and to the backups, as long as it is one."""
        policy = RoundRobin()
        self.pool = Pool(parse_backends(["a:1,b:1"]), policy=policy)
        for option in (":tier=1", ":backup", ""):
            self.set(f"a:1{option},b:1{option}")
            self.assertIs(self.pool.policy, policy)
            self.assertEqual(sorted(self.tried()), ["a:1", "b:1"])

    def test_one_policy_object_for_two_tiers_is_refused_and_changes_nothing(self) -> None:
        """When the pool is made, for new backends, and for one that would move."""
        two = parse_backends(["a:1,b:1:tier=1"])
        self.assertRaises(ConfigurationError, Pool, two, policy=RoundRobin())
        self.pool = Pool(parse_backends(["a:1,b:1"]), policy=RoundRobin())
        self.assertRaises(ConfigurationError, self.pool.set_backends, two)
        self.assertEqual(self.pool.members["b:1"].backend.tier, 0)
        self.assertEqual(sorted(self.tried()), ["a:1", "b:1"])

    def test_a_move_from_two_tiers_to_another_one_is_no_two_tiers(self) -> None:
        """Only where they will be counts, not where they were."""
        self.pool = Pool(parse_backends(["a:1"]), policy=RoundRobin())
        self.set("a:1:tier=1,b:1:tier=1")
        self.assertEqual(self.pool.members["b:1"].backend.tier, 1)

    def test_an_exchange_gets_nobody_twice_though_they_move_meanwhile(self) -> None:
        """The first one it tried is in the next tier before it gets there."""
        self.pool = Pool(parse_backends(["a:1,b:1,c:1:tier=1"]), policy=Policy)
        candidates = self.pool.candidates()
        tried = [next(candidates).address]
        self.set("a:1:tier=1,b:1,c:1:tier=1")
        self.assertEqual(tried + self.rest(candidates), ["a:1", "b:1", "c:1"])

    def test_an_exchange_goes_on_though_its_tier_is_gone(self) -> None:
        """It passes over those that have left, and reaches the next tier."""
        candidates = self.pool.candidates()
        next(candidates)
        self.set("c:1:tier=1")
        self.assertEqual(self.rest(candidates), ["c:1"])


class ToldOnce(PoolCase):
    """Policies hear what is news to them, and nothing else."""

    def test_a_tier_hears_of_its_own_changes_alone(self) -> None:
        """A verdict on the other tier, and one that changes nothing, is none of its concern."""
        told: list[list[str]] = []

        class Listening(Policy):
            def set_members(self, members: list[BackendState]) -> None:  # type: ignore[override]
                super().set_members(members)
                told.append([member.address for member in members])

        self.pool = Pool(parse_backends(["a:1,b:1,c:1:tier=1"]), policy=Listening)
        self.assertEqual(told, [["a:1", "b:1"], ["c:1"]])
        del told[:]
        self.tell("b:1", False)
        self.tell("b:1", False, "traffic")
        self.assertEqual(told, [["a:1"]])

    def test_a_member_is_told_of_by_the_policy_that_is_its_own(self) -> None:
        """``member.policy`` is the one of its tier."""
        made: list[Policy] = []

        def make() -> Policy:
            made.append(Policy())
            return made[-1]

        pool = Pool(parse_backends(["a:1,b:1:backup"]), policy=make)
        members: Iterator[BackendState] = iter(pool.members.values())
        self.assertEqual([member.policy for member in members], made)


class Touchy(Policy):
    """A user's policy that fails when it is told, once for each reason that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[str] = []

    def set_members(self, members: Sequence[BackendState]) -> None:
        if self.reasons:
            raise RuntimeError(self.reasons.pop())
        super().set_members(members)


class UsersPolicyFails(PoolCase):
    """What a policy of a user's raises is raised to who changed the pool, and holds the pool up no longer than that."""

    def test_it_is_told_again_at_the_next_change(self) -> None:
        """Even if that is none of who is fit."""
        policy = Touchy()
        pool = Pool(parse_backends(["a:1,b:1,c:1"]), policy=policy)
        policy.reasons = ["once"]
        with self.assertRaises(RuntimeError):
            pool.wish(Wish("a:1", "drain"))
        pool.wish(Wish("a:1", "maintenance"))
        self.assertEqual([member.address for member in pool.candidates(None)], ["b:1", "c:1"])

    def test_a_tier_that_cannot_be_made_changes_nothing(self) -> None:
        """The pool consists of those that it consisted of, and goes on."""
        makers = [Policy]
        pool = Pool(parse_backends(["a:1,b:1"]), policy=lambda: makers.pop()())
        with self.assertRaises(IndexError):
            pool.set_backends(parse_backends(["a:1,c:1,d:1:tier=1"]))
        self.assertEqual((list(pool.members), [member.address for member in pool.candidates(None)]), (["a:1", "b:1"],) * 2)
        pool.apply(Verdict("b:1", False, "as the test says", "probe"))
        self.assertEqual([member.address for member in pool.candidates(None)], ["a:1"])
