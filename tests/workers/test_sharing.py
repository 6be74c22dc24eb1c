"""Promises about what filters of several workers tell each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import attrs
from hypothesis import strategies as some
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.routing.filter import Filter, FilterContext
from lbproxy.routing.filters.in_flight import InFlight
from lbproxy.routing.filters.rate_limit import RateLimit
from lbproxy.testing import StubPassage
from lbproxy.workers import sharing
from lbproxy.workers.sharing import BATCH, EVERY, Shares, Sharing

from ..support import given


class Teller(Filter):
    """Says what the test gives it, and keeps what it is told."""

    def __init__(self) -> None:
        self.says: dict[bytes, int] = {}
        self.told: list[Any] = []

    def given(self, most: int) -> dict[bytes, int]:
        return {key: self.says.pop(key) for key in list(self.says)[:most]}

    def given_elsewhere(self, worker: int, given: Any) -> None:
        self.told.append((worker, dict(given)))

    def begun_elsewhere(self) -> None:
        self.told.append("begun")

    def ended_elsewhere(self, worker: int) -> None:
        self.told.append(("ended", worker))


class Broken(Teller):
    """A user's, with a bug."""

    def given(self, most: int) -> dict[bytes, int]:
        raise ZeroDivisionError

    def given_elsewhere(self, worker: int, given: Any) -> None:
        raise ZeroDivisionError


class Fleet:
    """A supervisor and its workers, and what they say to each other as JSON, at once.

    :ivar sent: messages so far.
    """

    def __init__(self, *filters: dict[str, Any], clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else clock
        self.sharing = Sharing(self.clock, self._down)
        self.filters = dict(enumerate(filters))
        self.workers: dict[int, Shares] = {}
        self.sent: list[str] = []
        for number in self.filters:
            self.begin(number)
        self.advance(1)
        self.sent.clear()

    def begin(self, number: int) -> None:
        self.workers[number] = Shares(self.clock, lambda: self.filters[number].items(), lambda said: self._up(number, said))
        self.workers[number].look()
        self.sharing.begun(number)

    def kill(self, number: int) -> None:
        self.workers.pop(number).stop()
        self.sharing.ended(number)

    def _up(self, number: int, said: Any) -> None:
        self.sent.append(json.dumps(said))
        self.sharing.heard(number, json.loads(self.sent[-1]))

    def _down(self, number: int, entries: Any) -> None:
        self.sent.append(json.dumps(entries))
        self.workers[number].hear(json.loads(self.sent[-1]))

    def advance(self, seconds: float = 0.1) -> None:
        """By default as long as it takes until what was said is heard, at most."""
        self.clock.pump([0.005] * round(seconds / 0.005))


class SharingTests(SynchronousTestCase):
    """What is told to whom."""

    def fleet(self, count: int = 3, make: Callable[[], Any] = Teller) -> tuple[Fleet, list[Any]]:
        tellers = [make() for _ in range(count)]
        fleet = Fleet(*({"one": teller} for teller in tellers))
        for teller in tellers:
            teller.told.clear()
        return fleet, tellers

    def test_all_others_hear_of_it(self) -> None:
        """By whom it was said; keys may be any bytes."""
        fleet, (a, b, c) = self.fleet()
        a.says = {b"\x00\xff": 3}
        fleet.advance()
        self.assertEqual([a.told, b.told, c.told], [[], [(0, {b"\x00\xff": 3})], [(0, {b"\x00\xff": 3})]])

    def test_who_has_nothing_to_say_says_nothing(self) -> None:
        """No message goes anywhere."""
        fleet, _ = self.fleet()
        fleet.advance(1)
        self.assertEqual(fleet.sent, [])

    def test_without_filters_that_share_nobody_is_asked(self) -> None:
        """Not before there are some, and not after."""
        fleet, _ = self.fleet(2)
        fleet.filters[0], fleet.filters[1] = {"one": Filter()}, {}
        for worker in fleet.workers.values():
            worker.look()
        self.assertEqual(fleet.clock.getDelayedCalls(), [])
        fleet.filters[0] = {"one": Teller()}
        fleet.workers[0].look()
        self.assertEqual(len(fleet.clock.getDelayedCalls()), 1)

    def test_one_that_begins_is_told_what_the_others_have(self) -> None:
        """They are told that it has begun; it is not told of itself."""
        fleet, (a, b, c) = self.fleet()
        fleet.kill(1)
        fleet.advance()
        self.assertEqual((a.told, b.told, c.told), ([("ended", 1)], [], [("ended", 1)]))
        fleet.begin(1)
        fleet.advance()
        self.assertEqual((a.told[1:], b.told, c.told[1:]), (["begun"], [], ["begun"]))

    def test_what_was_said_before_an_end_comes_before_it(self) -> None:
        """The order is kept."""
        fleet, (a, b, _) = self.fleet()
        b.says = {b"k": 1}
        fleet.advance(EVERY + BATCH / 2)
        self.assertEqual((a.told, b.says), ([], {}))
        fleet.kill(1)
        fleet.advance()
        self.assertEqual(a.told, [(1, {b"k": 1}), ("ended", 1)])

    def test_after_a_reload_all_say_it_again(self) -> None:
        """A name may stand for another filter."""
        fleet, tellers = self.fleet(2)
        fleet.sharing.anew()
        fleet.advance()
        self.assertEqual([one.told for one in tellers], [["begun"], ["begun"]])

    def test_messages_are_bounded(self) -> None:
        """The rest comes later; and no filter is kept from saying something by another one that has much to say."""
        self.patch(sharing, "MOST", 10)
        a, b = Teller(), Teller()
        fleet = Fleet({"a": a, "b": b}, {"a": Teller(), "b": Teller()})
        a.says = {b"%d" % number: 1 for number in range(25)}
        b.says = {b"x": 1}
        fleet.advance(EVERY * 5)
        told = [filter.told for filter in fleet.filters[1].values()]
        self.assertEqual([len(given) for _, given in told[0]], [10, 9, 6])
        self.assertEqual(told[1], [(0, {b"x": 1})])

    def test_a_filter_that_is_gone_is_passed_over(self) -> None:
        """And so is a user's bug."""
        fleet, (_, b) = self.fleet(2)
        fleet.filters[0]["gone"] = Teller()
        fleet.filters[0]["gone"].says = {b"k": 2}
        fleet.filters[0]["broken"], fleet.filters[1]["broken"] = Teller(), Broken()
        fleet.filters[0]["broken"].says = {b"k": 2}
        fleet.filters[0]["one"].says = {b"k": 1}
        for worker in fleet.workers.values():
            worker.look()
        fleet.advance()
        self.assertEqual(b.told, [(0, {b"k": 1})])
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LimitsTests(SynchronousTestCase):
    """Filters that keep to limits, in several workers."""

    def fleet(self, spec: Any, count: int = 2) -> tuple[Fleet, list[Any]]:
        clock = Clock()
        context = FilterContext(reactor=clock, clock=clock, random=Random(1), workers=count)
        filters = [spec.make(context) for _ in range(count)]
        return Fleet(*({"one": filter} for filter in filters), clock=clock), filters

    def ask(self, filter: Any, client: str = "192.0.2.1", count: int = 1) -> list[StubPassage]:
        """The requests that are let on."""
        passages = [StubPassage(client=client) for _ in range(count)]
        return [one for one in passages if filter.request(one) is None]

    @given(
        some.lists(some.tuples(some.floats(0, 0.5), some.integers(0, 2), some.integers(0, 30)), max_size=40),
        some.floats(0.1, 100),
        some.integers(1, 20),
    )
    def test_all_give_what_one_would(self, steps: list[tuple[float, int, int]], rate: float, burst: int) -> None:
        """But for what is asked of the others within 100 ms: the burst of each, at most, and what has come meanwhile."""
        fleet, filters = self.fleet(RateLimit(rate=rate, burst=burst), 3)
        passed = 0.0
        asked: list[tuple[float, int]] = []
        total = 0
        for seconds, number, count in steps:
            fleet.advance(seconds)
            passed += round(seconds / 0.005) * 0.005
            total += len(self.ask(filters[number], count=count))
            asked.append((passed, count))
            lately = sum(count for at, count in asked if at >= passed - 0.1)
            self.assertLessEqual(total, burst + rate * passed + min(lately, 2 * (burst + rate * 0.1)) + 0.001)

    def test_in_the_long_run_the_rate_is_exact(self) -> None:
        """With clients that always ask both; and each gives its share."""
        fleet, filters = self.fleet(RateLimit(rate=50, burst=10))
        given = Counter[int]()
        for _ in range(2000):
            for number, filter in enumerate(filters):
                given[number] += len(self.ask(filter, count=2))
            fleet.advance(0.01)
        expected = 10 + 50 * 20
        self.assertAlmostEqual(sum(given.values()), expected, delta=10 + 2 * 50 * 0.1)
        self.assertGreater(min(given.values()), expected / 4)

    def test_others_are_told_how_long_to_wait(self) -> None:
        """The debt included."""
        fleet, (a, b) = self.fleet(RateLimit(rate=1, burst=3))
        self.assertEqual([len(self.ask(one, count=5)) for one in (a, b)], [3, 3])
        fleet.advance(0.1)
        answer = b.request(StubPassage(client="192.0.2.1"))
        self.assertAlmostEqual(answer.retry_after, 4 - 0.1, delta=0.01)
        fleet.advance(4)
        self.assertEqual([len(self.ask(one, count=5)) for one in (a, b)], [1, 1])

    def test_requests_at_once(self) -> None:
        """Those of others count, until they end, or their worker does."""
        fleet, (a, b, c) = self.fleet(InFlight(limit=3), 3)
        (first, *_) = self.ask(a, count=2)
        fleet.advance()
        self.assertEqual(len(self.ask(b, count=5)), 1)
        self.assertEqual(len(self.ask(b, "192.0.2.2", 5)), 3)
        a.over(first)
        fleet.advance()
        self.assertEqual(len(self.ask(c, count=5)), 1)
        fleet.advance()
        fleet.kill(1)
        fleet.advance()
        self.assertEqual(len(self.ask(a, count=5)), 1)
        context = FilterContext(reactor=fleet.clock, clock=fleet.clock, random=Random(1), workers=3)
        new: Any = InFlight(limit=3).make(context)
        fleet.filters[1] = {"one": new}
        fleet.begin(1)
        fleet.advance(0.1)
        self.assertEqual((self.ask(new), list(new._elsewhere.running.values())), ([], [3]))

    @given(some.lists(some.tuples(some.integers(0, 2), some.sampled_from(["ask", "over", "wait", "die"]), some.booleans())))
    def test_what_is_known_of_others_is_right_in_the_end(self, steps: list[tuple[int, str, bool]]) -> None:
        """Whoever asked, ended, was killed and came again."""
        fleet, filters = self.fleet(InFlight(limit=5), 3)
        running: list[list[StubPassage]] = [[], [], []]
        for number, what, other in steps:
            if what == "ask":
                running[number] += self.ask(filters[number], "192.0.2.2" if other else "192.0.2.1")
            elif what == "over" and running[number]:
                filters[number].over(running[number].pop())
            elif what == "wait":
                fleet.advance(0.03)
            elif what == "die":
                fleet.kill(number)
                if other:
                    fleet.advance(0.03)
                spec = filters[number].spec
                context = FilterContext(reactor=fleet.clock, clock=fleet.clock, random=Random(1), workers=3)
                filters[number] = fleet.filters[number]["one"] = spec.make(context)
                running[number] = []
                fleet.begin(number)
        fleet.advance(0.2)
        for number, filter in enumerate(filters):
            known = Counter[bytes]()
            for other in set(range(3)) - {number}:
                known.update(filters[other].running)
            self.assertEqual(filter._elsewhere.running, dict(known))
            self.assertEqual(filter.given(10), {})

    def test_a_reload_keeps_what_is_known(self) -> None:
        """Of buckets, and of requests that run."""
        for spec, other in ((RateLimit(rate=1, burst=3), {"burst": 4}), (InFlight(limit=3), {"limit": 4})):
            fleet, (a, b) = self.fleet(spec)
            self.ask(a, count=2)
            fleet.advance()
            context = FilterContext(reactor=fleet.clock, clock=fleet.clock, random=Random(1), workers=2)
            new = attrs.evolve(spec, **other).make(context)
            new.take_over(b)
            self.assertEqual(len(self.ask(new, count=5)), 2)

    def test_one_process_keeps_no_books(self) -> None:
        """Where nobody asks for them."""
        clock = Clock()
        context = FilterContext(reactor=clock, clock=clock, random=Random(1))
        for spec in (RateLimit(rate=1, burst=3), InFlight(limit=3)):
            filter: Any = spec.make(context)
            self.ask(filter)
            self.assertEqual(filter.given(10), {})
