"""The conformance kit finds policies that break a promise, and says which."""

from __future__ import annotations

import random as global_random
import unittest
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy import Policy
from lbproxy.balance.hashing import Hash
from lbproxy.balance.policy import Asking
from lbproxy.balance.round_robin import RoundRobin
from lbproxy.balance.state import BackendState
from lbproxy.http1.keys import request_key
from lbproxy.interfaces import IPolicy
from lbproxy.testing import PolicyConformance


class Remembering(Policy):
    """Yields one that has left."""

    def set_members(self, members: Sequence[BackendState]) -> None:
        self.members = members if len(members) >= len(self.members) else self.members


class Repeating(Policy):
    """Yields the first one again at the end."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        yield from self.members
        yield from self.members[:1]


class Forgetting(Policy):
    """Yields the first one alone."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        return iter(self.members[:1])


class Fragile(Policy):
    """Knows those that are there, and no others."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self._word = word

    def _check(self, word: str, member: BackendState) -> None:
        if word == self._word and member not in self.members:
            raise KeyError(member.address)

    def begun(self, member: BackendState) -> None:
        self._check("begun", member)

    def ended(self, member: BackendState, seconds: float | None, failed: bool) -> None:
        self._check("ended", member)


class Live(Policy):
    """Looks its members up by place while candidates are asked for, whoever comes or goes."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        for place in range(len(self.members)):
            yield self.members[place]


class Timeless(Policy):
    """Cannot do with None for seconds."""

    def ended(self, member: BackendState, seconds: float | None, failed: bool) -> None:
        assert seconds is not None


class Empty(Policy):
    """Yields nobody."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        return iter(())


class NeedsOne(Policy):
    """Cannot be without members."""

    def set_members(self, members: Sequence[BackendState]) -> None:
        self.members = members
        self.first = members[0]


class Unseeded(Policy):
    """Has a random source of its own."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        return iter(global_random.sample(list(self.members), len(self.members)))


class NotANumber(Policy):
    """Has a figure that is none."""

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        return float("nan")


class Unweighted(Policy):
    """Takes turns whatever the weights."""

    turn = 0

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        self.turn += 1
        place = self.turn % len(self.members) if self.members else 0
        return iter([*self.members[place:], *self.members[:place]])


class IdleOnly(RoundRobin):
    """Honours weights as long as nothing is in flight."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        busy = any(member.in_flight for member in self.members)
        return iter(list(self.members)) if busy else super().candidates(exchange)


class Modulo(Policy):
    """Hashes to the number of members, so that nearly all keys move when that changes."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        if not self.members:
            return iter(())
        place = 0 if exchange is None else int(exchange.request.target.partition(b"=")[2]) % len(self.members)
        return iter([*self.members[place:], *self.members[:place]])


class Heir(Policy):
    """Hashes so that the keys of one that leaves all go to one other: even keys to one, and so on."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        number = 0 if exchange is None else int(exchange.request.target.partition(b"=")[2]) % 60
        ring = sorted(self.members, key=lambda member: member.address)
        home = [member for member in ring if int(member.backend.host.rpartition(".")[2]) >= number]
        return iter([*home, *(member for member in ring if member not in home)])


class Hoarding(Hash):
    """Lets one member have nine keys of ten."""

    def __init__(self) -> None:
        super().__init__(request_key("uri"))

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        order = list(super().candidates(exchange))
        if exchange is not None and not exchange.request.target.endswith(b"0"):
            order.sort(key=lambda member: member.backend.host != "10.0.0.1")
        return iter(order)


class Walking(Policy):
    """Looks at every member for each choice."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        return iter(sorted(self.members, key=lambda member: member.in_flight))


class WalkingInC(Policy):
    """The same without a step of Python's own."""

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        return iter(sorted(self.members, key=attrgetter("in_flight")))


def failures(make: Callable[[], IPolicy], **claims: Any) -> dict[str, str]:
    """Run the kit on a policy; gives the tests that failed, and what they said."""

    class Case(PolicyConformance, SynchronousTestCase):
        def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
            return make()

    for claim, value in {"weighted": False, "busy": False, **claims}.items():
        setattr(Case, claim, value)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    return {test.id().rpartition(".")[2]: text for test, text in [*result.failures, *result.errors]}


class KitTests(SynchronousTestCase):
    """One broken policy for each promise."""

    def assert_found(self, test: str, words: str, make: Callable[[], IPolicy], **claims: Any) -> None:
        """The test fails, and says so."""
        failed = failures(make, **claims)
        self.assertIn(test, failed)
        self.assertIn(words, failed[test])
        self.assertIn("FailTest", failed[test], "it is a failure, and no error")

    def test_a_sound_policy_passes(self) -> None:
        """No false alarm."""
        self.assertEqual(failures(RoundRobin, weighted=True, busy=True), {})
        self.assertEqual(failures(Policy), {})

    def test_candidates(self) -> None:
        """Only members, none twice, all of them, somebody at all."""
        coming = "test_members_come_and_go_at_any_time"
        self.assert_found(coming, "a candidate is one of the members; ", Remembering)
        self.assert_found(coming, "each member is a candidate at most once; ", Repeating)
        self.assert_found(coming, "each member is a candidate, whoever comes or goes meanwhile; not yielded: 10.", Forgetting)
        self.assert_found("test_shares_are_as_the_weights_say", "a policy with members yields one; ", Empty, weighted=True)

    def test_a_class_that_says_so_need_not_yield_all(self) -> None:
        """What is not claimed is not asked for."""
        self.assertEqual(failures(Forgetting, complete=False), {})

    def test_what_is_raised(self) -> None:
        """Which call raised, and what."""
        coming = "test_members_come_and_go_at_any_time"
        self.assert_found(coming, "begun takes any member, also one that has left; it raised", lambda: Fragile("begun"))
        self.assert_found(coming, "ended takes any member, also one that has left; it raised", lambda: Fragile("ended"))
        self.assert_found(coming, "ended takes any member", Timeless)
        self.assert_found(coming, "candidates yields although members come and go", Live)
        self.assert_found(coming, "set_members takes any members, none too; it raised", NeedsOne)

    def test_figures(self) -> None:
        """Numbers."""
        self.assert_found("test_figures_are_numbers", "a figure is a number, infinity allowed; ", NotANumber)

    def test_seed(self) -> None:
        """No source of chance but the one given."""
        self.assert_found("test_the_same_seed_gives_the_same_choices", "the same seed gives the same choices", Unseeded)

    def test_shares(self) -> None:
        """Idle and at work."""
        words = "members are chosen as often as their weights say; of weights (5, 1), 0 in flight, that of 5 got 50.00% instead"
        self.assert_found("test_shares_are_as_the_weights_say", words, Unweighted, weighted=True)
        found = failures(IdleOnly, weighted=True, busy=True)
        self.assertIn("60 in flight", found["test_shares_are_as_the_weights_say_at_work"])

    def test_movement(self) -> None:
        """Of keys."""
        moving = "test_only_the_keys_of_the_one_that_leaves_move"
        self.assert_found(moving, "only the keys of the member that leaves move; of 5000 keys ", Modulo, keyed=True)
        self.assert_found(moving, "the same key goes to the same member; ", Unweighted, keyed=True)
        heir = {"keyed": True, "share_tolerance": 0.5}  # of which it has more than its share, too
        self.assert_found(moving, "the keys of one that leaves are spread over all others; 1 of ", Heir, **heir)
        self.assert_found(moving, "at most 1.1 / n of the keys move when one of n leaves; of 3 one had 9", Hoarding, keyed=True)

    def test_cost(self) -> None:
        """A walk is found, in Python or in C."""
        for kind in (Walking, WalkingInC):
            self.assert_found("test_a_pick_is_no_walk_over_all_members", "a pick is no walk over all members; it takes ", kind)

    def test_it_is_said_what_is_missing(self) -> None:
        """A case without make_policy is told so."""

        class Case(PolicyConformance, SynchronousTestCase):
            """Lacks it."""

        error = self.assertRaises(NotImplementedError, Case("test_figures_are_numbers").make_policy, Random(0), lambda: 0.0)
        self.assertIn("make_policy(random, seconds)", str(error))
