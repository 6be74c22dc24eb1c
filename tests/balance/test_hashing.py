"""Promises of ``hash``: who gets which key, and what moves."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import lbproxy
from lbproxy.balance.hashing import RENDEZVOUS_MOST, Hash, Rendezvous, _digest
from lbproxy.balance.ring import FEWEST, MOST, Ring, _merged
from lbproxy.balance.state import BackendState
from lbproxy.errors import ConfigurationError

from .support import begin, end, member, members, named

#: Who of four members of weights 1 to 4 has the keys 0 to 19.
RENDEZVOUS_CHOICES = "03312332132322032221"
RING_CHOICES = "20022321330213022303"

Keyed = Any  # in the place of an exchange: here its key itself

DIGESTS = [_digest(b"%d" % number) for number in range(20_000)]


def hashing(**options: Any) -> Hash:
    """A policy whose exchanges are their own keys."""
    return Hash(lambda exchange: exchange, **options)  # type: ignore[arg-type, return-value]


def owners(table: Rendezvous | Ring, digests: list[int] = DIGESTS) -> list[BackendState]:
    """Who has each key."""
    return [next(table.order(digest)) for digest in digests]


class MovementTests(SynchronousTestCase):
    """Of both methods: what moves when somebody comes, goes or changes."""

    tables: tuple[type[Rendezvous] | type[Ring], ...] = (Rendezvous, Ring)

    def test_one_that_leaves_takes_its_keys_alone(self) -> None:
        """Of ten each: nobody else's key moves, and what moves is at most 1.1 / n; on a ring, whose shares vary, 1.2 / n."""
        for kind, most in ((Rendezvous, 1.1), (Ring, 1.2)):
            for gone in range(10):
                given, table = members(*[1] * 10), kind()
                table.set_members(given)
                before = owners(table)
                table.set_members(given[:gone] + given[gone + 1 :])
                moved = 0
                for was, now in zip(before, owners(table)):
                    moved += was is not now
                    self.assertTrue(was is now or was is given[gone])
                self.assertLessEqual(moved, len(DIGESTS) * most / 10)

    def test_one_that_comes_takes_its_share_and_nothing_else_moves(self) -> None:
        """Keys move to the new one alone, and go back as it leaves."""
        for kind in self.tables:
            given, new, table = members(*[1] * 9), member("new"), kind()
            table.set_members(given)
            before = owners(table)
            table.set_members([*given, new])
            after = owners(table)
            self.assertEqual({now for was, now in zip(before, after) if was is not now}, {new})
            self.assertLess(abs(after.count(new) / len(DIGESTS) - 0.1), 0.02)
            table.set_members(given)
            self.assertEqual(owners(table), before)

    def test_the_order_of_members_does_not_matter(self) -> None:
        """Two balancers whose operators named the backends in different orders agree."""
        for kind in self.tables:
            given, table, other = members(*[1] * 20), kind(), kind()
            table.set_members(given)
            other.set_members(given[::-1])
            self.assertEqual(owners(table), owners(other))

    def test_a_key_in_line_is_who_gets_it_next(self) -> None:
        """The second candidate is who has the key when the first has left."""
        for kind in self.tables:
            given, table = members(*[1] * 10), kind()
            table.set_members(given)
            for digest in DIGESTS[:50]:
                table.set_members(given)
                first, second, *_ = table.order(digest)
                table.set_members([one for one in given if one is not first])
                self.assertIs(next(table.order(digest)), second)

    def test_shares_are_as_the_weights_say(self) -> None:
        """A member of weight 3 has three times as many keys: within 1 % by rendezvous, within 3 % on a ring."""
        for kind, tolerance in ((Rendezvous, 0.01), (Ring, 0.03)):
            given, table = members(1, 3, 1, 5), kind()
            table.set_members(given)
            counted = Counter(owners(table))
            for one in given:
                self.assertLess(abs(counted[one] / len(DIGESTS) - one.weight / 10), tolerance)

    def test_one_that_warms_up_takes_its_keys_little_by_little(self) -> None:
        """With each step it has more of the keys that it will have, and none moves between the others."""
        for kind in self.tables:
            given, table = members(*[10] * 5), kind()
            table.set_members(given)
            final = owners(table)
            had: set[int] = set()
            for tenth in range(1, 11):
                given[0].weight = float(tenth)
                table.set_members(given)
                now = owners(table)
                has = {place for place, one in enumerate(now) if one is given[0]}
                self.assertLessEqual(had, has)
                self.assertTrue(all(one is given[0] or one is now[place] for place, one in enumerate(final)))
                had = has
            self.assertEqual(owners(table), final)


class RingTests(SynchronousTestCase):
    """What is kept of a ring."""

    def test_a_change_of_members_makes_no_points(self) -> None:
        """Who leaves and comes back finds its points where they were."""
        given, ring = members(*[1] * 100), Ring()
        ring.set_members(given)
        points = ring._points
        ring.set_members(given[50:])
        ring.set_members(given)
        self.assertIs(ring._points, points)

    def test_those_that_left_are_forgotten_in_the_end(self) -> None:
        """Years of new addresses do not fill the memory."""
        ring = Ring()
        for number in range(500):
            ring.set_members([member(f"m{number + place}") for place in range(3)])
        self.assertLess(len(ring._owners), 40)
        self.assertLess(len(ring._points), 40 * MOST)

    def test_points_follow_the_number_of_members(self) -> None:
        """640 for each in a small pool, ketama's 160 in one of a thousand."""
        for count, points in ((10, MOST), (1000, FEWEST)):
            ring = Ring()
            ring.set_members(members(*[7] * count))
            self.assertEqual(len(ring._points), points * count)

    def test_a_pool_that_is_empty_for_a_while_is_the_same_afterwards(self) -> None:
        """Nobody's keys move for it."""
        given, ring = members(*[1] * 300), Ring()
        ring.set_members(given)
        before = owners(ring, DIGESTS[:500])
        ring.set_members([])
        self.assertEqual(list(ring.order(1)), [])
        ring.set_members(given[:2])
        ring.set_members(given)
        self.assertEqual(owners(ring, DIGESTS[:500]), before)

    def test_weights_far_from_those_it_began_with(self) -> None:
        """All weights a thousand times as large do not make a thousand times as many points."""
        given, ring = members(1, 1, 1), Ring()
        ring.set_members(given)
        heavy = members(1000, 1000, 1000)
        ring.set_members(heavy)
        self.assertLessEqual(len(ring._points), 3 * MOST)

    def test_points_are_merged_in_order(self) -> None:
        """A few among many and many among few."""
        given = members(*[1] * 40)
        grown, whole = Ring(), Ring()
        for count in range(1, 41):
            grown.set_members(given[:count])
            self.assertEqual(list(grown._points), sorted(grown._points))
        whole.set_members(given)
        self.assertEqual(owners(grown), owners(whole))
        self.assertEqual(list(_merged(_merged(whole._points, []), [0, 5])[:2]), [0, 5])

    def test_more_members_than_it_can_tell_apart_are_refused(self) -> None:
        """It does not mix them up in silence."""
        given = [member("a")] * 65_537
        error = self.assertRaises(ConfigurationError, Ring().set_members, given)
        self.assertEqual(str(error), "hash: a ring was asked for 65537 members; allowed are 65536")


class HashTests(SynchronousTestCase):
    """The policy."""

    def ask(self, policy: Hash, key: Keyed) -> list[str]:
        """The candidates' names."""
        return named(list(policy.candidates(key)))

    def test_the_same_key_goes_to_the_same_member(self) -> None:
        """Again and again, and all others follow in the key's own order."""
        policy = hashing()
        policy.set_members(members(*[1] * 5))
        self.assertEqual(self.ask(policy, b"somebody"), self.ask(policy, b"somebody"))
        self.assertGreater(len({tuple(self.ask(policy, b"%d" % number)) for number in range(200)}), 50)

    def test_every_process_agrees(self) -> None:
        """No hash of Python's own, which differs from process to process, has a part in it."""
        code = (
            "from tests.balance.support import *; from tests.balance.test_hashing import hashing\n"
            "for method in ('rendezvous', 'ring'):\n"
            "    policy = hashing(method=method)\n"
            "    policy.set_members(members(1, 2, 3, 4))\n"
            "    print([next(policy.candidates(b'%d' % number)).address for number in range(50)])\n"
        )
        home = str(Path(lbproxy.__file__).parent.parent)
        said = {
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=home,
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": home},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        self.assertEqual(len(said), 1)
        self.assertEqual(said.pop().count("\n"), 2)

    def test_choices_are_what_they_always_were(self) -> None:
        """Versions of lbproxy side by side agree too: whoever changes this moves the keys of all users."""
        for method, chosen in (("rendezvous", RENDEZVOUS_CHOICES), ("ring", RING_CHOICES)):
            policy = hashing(method=method)
            policy.set_members(members(1, 2, 3, 4))
            self.assertEqual("".join(self.ask(policy, b"%d" % number)[0][1:] for number in range(20)), chosen)

    def test_without_a_key_turns_are_taken(self) -> None:
        """None, nothing, and nobody that asks."""
        policy = hashing()
        policy.set_members(members(1, 1, 1))
        for key in (None, b""):
            self.assertEqual([self.ask(policy, key)[0] for _ in range(3)], ["n0", "n1", "n2"])

    def test_large_pools_go_over_to_the_ring(self) -> None:
        """And do not go back when some of them are down, which would move every key."""
        given, policy, ring = members(*[1] * (RENDEZVOUS_MOST + 1)), hashing(), hashing(method="ring")
        for one in (policy, ring):
            one.set_members(given)
            one.set_members(given[:5])
        for number in range(100):
            self.assertEqual(self.ask(policy, b"%d" % number), self.ask(ring, b"%d" % number))

    def test_another_one_can_have_its_past(self) -> None:
        """One that has seen other members before, or fewer, asks the same ones for each key then; others keep what they have."""
        for options in ({}, {"method": "ring"}, {"method": "rendezvous"}):
            given, policy, late = members(*[1] * 40, *[7] * 5), hashing(**options), hashing(**options)
            for some in (given[:2], given, given[-5:]):
                policy.set_members(some)
            late.set_members(given[-5:])
            late.recall(policy.memory)
            self.assertEqual(late.memory, policy.memory)
            for number in range(100):
                self.assertEqual(self.ask(late, b"%d" % number), self.ask(policy, b"%d" % number))
            table = late._table
            late.recall(policy.memory)
            self.assertIs(late._table, table)

    def test_the_figure_is_the_place_in_the_keys_order(self) -> None:
        """0 for the first; without a key it is round robin's."""
        policy, given = hashing(), members(*[1] * 5)
        policy.set_members(given)
        for key in (b"a", b"b"):
            order: list[BackendState] = list(policy.candidates(key))  # type: ignore[arg-type]
            self.assertEqual([policy.figure(one, key) for one in order], [0, 1, 2, 3, 4])  # type: ignore[arg-type]
        policy.set_members(given[1:])
        self.assertEqual(policy.figure(given[0], b"b"), 4)  # type: ignore[arg-type]
        self.assertEqual(policy.figure(given[1], None), 0.5)

    def test_options_that_cannot_be_used_are_refused(self) -> None:
        """The message says what was given and what is allowed."""
        for options, message in (
            ({"method": "maglev"}, "hash: method 'maglev' was given; allowed are auto, rendezvous, ring"),
            ({"bound": 0.9}, "hash: bound 0.9 was given; allowed is a number from 1 to 100"),
            ({"bound": float("nan")}, "hash: bound nan was given; allowed is a number from 1 to 100"),
        ):
            self.assertEqual(str(self.assertRaises(ConfigurationError, hashing, **options)), message)


class BoundTests(SynchronousTestCase):
    """Bounded load."""

    def setUp(self) -> None:
        self.policy = hashing(bound=1.25)
        self.given = members(1, 1, 1, 1)
        self.policy.set_members(self.given)

    def first(self, key: bytes) -> BackendState:
        """Who is to take this key."""
        return next(self.policy.candidates(key))  # type: ignore[arg-type]

    def test_a_hot_key_is_spread_within_the_bound(self) -> None:
        """All exchanges have one key: nobody has more than 1.25 times the mean, rounded up."""
        for number in range(1, 101):
            begin(self.policy, self.first(b"hot"))
            self.assertLessEqual(max(one.in_flight for one in self.given), -(-1.25 * number // 4))
        self.assertEqual(max(one.in_flight for one in self.given), 32)

    def test_the_next_in_the_keys_order_takes_over(self) -> None:
        """Whoever is passed over comes last among the candidates, and gets the key back when it has room."""
        key: Any = b"hot"
        order = list(self.policy.candidates(key))
        begin(self.policy, order[0], 5)
        self.assertEqual(list(self.policy.candidates(key)), [*order[1:], order[0]])
        end(self.policy, order[0], 5)
        self.assertEqual(list(self.policy.candidates(key)), order)

    def test_the_bound_is_for_weight(self) -> None:
        """A heavy member may have more."""
        heavy, light = self.given = members(9, 1)
        self.policy.set_members(self.given)
        begin(self.policy, heavy, 9)
        begin(self.policy, light, 1)
        for number in range(100):
            taken = self.first(b"%d" % number)
            self.assertLess(taken.in_flight, 1.25 * 11 * taken.weight / 10)

    def test_those_that_left_do_not_count(self) -> None:
        """What runs at a member that has left neither raises the mean nor lowers it as it ends."""
        gone, *left = self.given
        begin(self.policy, gone, 100)
        self.policy.set_members(left)
        for number in range(3):
            begin(self.policy, self.first(b"hot"), 1)
            self.assertEqual(max(one.in_flight for one in left), 1 if number < 2 else 2)
        end(self.policy, gone, 100)
        self.assertEqual(self.policy._in_flight, 3)
