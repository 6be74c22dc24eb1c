"""The tests that any policy passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING

import attrs
from twisted.internet.task import Clock

from ..balance.policy import Asking
from ..balance.state import BackendState
from ..http1.head import RequestHead
from ..interfaces import IPolicy
from ..proxy.client import Client
from .steps import Watched, counted
from .traffic import Operation, Traffic, make_member, random_operations

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object

__all__ = ["PolicyConformance"]

#: Picks whose cost is not counted: a policy may sort things out first.
WARMING = 20


@attrs.define
class _Asked:
    """An exchange, as far as policies look at it."""

    request: RequestHead
    client: Client


class PolicyConformance(_Case):
    """Tests for a policy of your own, to be mixed into a test case of trial's (or of :mod:`unittest`'s)::

        class StickTests(PolicyConformance, SynchronousTestCase):
            weighted = busy = False  # it promises no shares

            def make_policy(self, random, seconds):
                return StickToOne(random)

    Every failure names the promise that is broken. Nothing is timed and nothing depends on chance: all is drawn from seeds.

    :cvar complete: whether every member is a candidate in the end, if those before it cannot be taken.
    :cvar weighted: whether members of an idle pool are chosen as often as their weights say; of a policy with
        :attr:`keyed`, by many different keys.
    :cvar busy: whether that holds for a pool at work, with 20 attempts in flight for each unit of weight.
    :cvar share_tolerance: by how much a share of all exchanges may be off for these two.
    :cvar keyed: whether exchanges with the same key go to the same member. Those of :meth:`make_exchange` differ in whatever
        might be a key.
    :cvar cost_growth: how many times as much a pick from 1,000 members may cost as one from 10, in steps of the interpreter;
        what is done in C, such as a heap's or a bisection's steps, is not seen.
    """

    complete = True
    weighted = True
    busy = True
    share_tolerance = 0.01
    keyed = False
    cost_growth = 4.0

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        """Make the policy to be tested, without members.

        :param random: the only random source it may use, and *seconds* the only clock.
        """
        raise NotImplementedError("a test case with PolicyConformance makes its policy in make_policy(random, seconds)")

    def make_exchange(self, number: int) -> Asking | None:
        """Make an exchange; different numbers are different keys, whichever part of it the key is."""
        fields = b"Host: h%d.example\r\nX-Key: %d\r\nCookie: key=%d\r\n" % (number, number, number)
        request = RequestHead(b"GET", b"/%d?key=%d" % (number, number), 1, fields, {b"host": b"h%d.example" % number})
        return _Asked(request, Client(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", False, b""))

    def make_traffic(self, members: Sequence[BackendState], seed: int = 0) -> Traffic:
        """A fresh policy among these members, and what moves it."""
        clock = Clock()
        clock.advance(1000)
        policy = self.make_policy(Random(seed), clock.seconds)
        return Traffic(policy, clock, members, fail=self.fail, ask=self.make_exchange, complete=self.complete)

    # Candidates.

    def check_operations(self, operations: Iterable[Operation], seed: int = 0) -> list[str]:
        """Let these happen to a policy with three members; gives the addresses of those that it chose."""
        traffic = self.make_traffic([make_member(number, number + 1) for number in range(3)], seed)
        for operation in operations:
            traffic.do(operation)
        return traffic.chosen

    def test_each_member_is_a_candidate_once(self) -> None:
        """Whoever asks for candidates gets members only, none twice, and in the end all of them."""
        for count in (0, 1, 2, 3, 10, 100):
            traffic = self.make_traffic([make_member(number) for number in range(count)])
            for number in range(30):
                traffic.do(("pick", number))

    def test_members_come_and_go_at_any_time(self) -> None:
        """The same while members come, go and change their weight, attempts begin and end in any order, and candidates are
        asked for that nobody takes until later."""
        for seed in range(20):
            self.check_operations(random_operations(Random(seed), 300), seed)

    def test_the_same_seed_gives_the_same_choices(self) -> None:
        """There is no source of chance but the one that was given, and no clock."""
        operations = random_operations(Random(7), 500)
        once, again = (self.check_operations(operations, seed=7) for _ in range(2))
        if once != again:
            self.fail("the same seed gives the same choices; those of two runs with the same operations differ")

    def test_figures_are_numbers(self) -> None:
        """The figure of each member is a number that can be shown, at rest and at work."""
        traffic = self.make_traffic([make_member(number, number + 1) for number in range(10)])
        for number in range(50):
            traffic.do(("begin" if number % 3 else "wait", number))
            traffic.do(("figure", number))

    # Shares.

    def test_shares_are_as_the_weights_say(self) -> None:
        """Of an idle pool each member is chosen as often as its weight says."""
        if self.weighted:
            for weights in ((1, 1, 1), (5, 1), (5, 3, 1, 1)):
                self._check_shares(weights, 0)

    def test_shares_are_as_the_weights_say_at_work(self) -> None:
        """The same with attempts in flight, which end in any order."""
        if self.busy:
            for weights in ((1, 1, 1), (5, 1), (5, 3, 1, 1)):
                self._check_shares(weights, 20 * sum(weights))

    def _check_shares(self, weights: Sequence[int], in_flight: int, picks: int = 30_000) -> None:
        traffic = self.make_traffic([make_member(number, weight) for number, weight in enumerate(weights)], seed=1)
        random, counted = Random(2), Counter[BackendState]()
        for number in range(picks + in_flight):
            member = traffic.first(self.make_exchange(number))
            counted[member] += number >= in_flight
            traffic.begin(member)
            traffic.clock.advance(0.001)
            if number >= in_flight:
                traffic.end(random.randrange(len(traffic.running)), 0.05)
        for member, weight in zip(traffic.members, weights, strict=True):
            share, due = counted[member] / picks, weight / sum(weights)
            if abs(share - due) > self.share_tolerance:
                what = f"of weights {weights}, {in_flight} in flight, that of {weight} got {share:.2%} instead of {due:.2%}"
                traffic.broken("members are chosen as often as their weights say", what)

    # Keys.

    def test_only_the_keys_of_the_one_that_leaves_move(self) -> None:
        """The same key goes to the same member as long as that is there; what one had when it left is at most 1.1 times its
        share (and the tolerance for shares), and is spread over all others."""
        if self.keyed:
            for count in (3, 10, 50):
                self._check_movement(count)

    def _check_movement(self, count: int, keys: int = 5_000) -> None:
        traffic = self.make_traffic([make_member(number) for number in range(count)])
        exchanges = [self.make_exchange(number) for number in range(1, keys + 1)]
        before = [traffic.first(exchange) for exchange in exchanges]
        if before != [traffic.first(exchange) for exchange in exchanges]:
            traffic.broken("the same key goes to the same member", "it went to another, and nobody had come or gone")
        gone = traffic.members[count // 2]
        traffic.set_members([member for member in traffic.members if member is not gone])
        after = [traffic.first(exchange) for exchange in exchanges]
        moved = sum(was is not gone and was is not now for was, now in zip(before, after, strict=True))
        if moved:
            traffic.broken("only the keys of the member that leaves move", f"of {keys} keys {moved} of others moved as well")
        left = sum(was is gone for was in before) / keys
        if left > 1.1 / count + self.share_tolerance:
            traffic.broken("at most 1.1 / n of the keys move when one of n leaves", f"of {count} one had {left:.1%} of them")
        heirs = {now for was, now in zip(before, after, strict=True) if was is gone}
        if len(heirs) < min(count - 1, 10) // 2:
            traffic.broken("the keys of one that leaves are spread over all others", f"{len(heirs)} of {count - 1} got them")

    # Cost.

    def test_a_pick_is_no_walk_over_all_members(self) -> None:
        """A choice among 1,000 costs about as much as one among 10."""
        few, many = self._steps(10), self._steps(1000)
        if many > few * self.cost_growth:
            self.fail(
                f"a pick is no walk over all members; it takes {few:.0f} steps with 10 members and {many:.0f} with 1,000, "
                f"allowed are {self.cost_growth:g} times as many"
            )

    def _steps(self, count: int, picks: int = 50) -> float:
        """What one choice costs, with its attempt begun and ended."""
        traffic = self.make_traffic([Watched(make_member(number).backend, 0.0) for number in range(count)])
        policy, steps = traffic.policy, 0
        for number in range(WARMING + picks):
            candidates, asking = counted(policy.candidates, self.make_exchange(number))
            member, choosing = counted(next, candidates)
            member.in_flight += 1
            _, beginning = counted(policy.begun, member)
            member.in_flight -= 1
            _, ending = counted(policy.ended, member, 0.05, False)
            if number >= WARMING:
                steps += asking + choosing + beginning + ending
        return steps / picks
