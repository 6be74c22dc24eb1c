"""Promises about requests that are sent to a second backend as well, because the first one is slow."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.proxy.hedging import Hedging

from ..support import GET, OK, Rig, given, post, status
from .waiting import BUSY, LONG, ONE, PAIR, THREE, TWO, UPGRADE, WaitsCase


class Percentiles(SynchronousTestCase):
    """After how long a request is a slow one."""

    def test_a_hundred_responses_are_enough(self) -> None:
        """Before that nothing is said."""
        hedging = Hedging(95)
        for number in range(99):
            hedging.note(number)
        self.assertIsNone(hedging.delay)
        hedging.note(99)
        self.assertEqual(hedging.delay, 95)

    def test_the_latest_thousand_count(self) -> None:
        """What was slow once is forgotten."""
        hedging = Hedging(50)
        for seconds in [9.0] * 1000 + [1.0] * 1000:
            hedging.note(seconds)
        self.assertEqual(hedging.delay, 1.0)

    @given(st.floats(50, 99.9), st.lists(st.floats(0, 1e6), min_size=100, max_size=100))
    def test_at_most_so_many_are_slower(self, percentile: float, latencies: list[float]) -> None:
        """Than the delay, which is one of those that were noted."""
        hedging = Hedging(percentile)
        for seconds in latencies:
            hedging.note(seconds)
        assert hedging.delay is not None
        self.assertIn(hedging.delay, latencies)
        self.assertLessEqual(sum(seconds > hedging.delay for seconds in latencies), 100 - percentile)


class HedgesCase(WaitsCase):
    """The delay is a tenth of a second."""

    def hedging(self, backends: str = PAIR, **settings: Any) -> Rig:
        rig = self.rig(backends, hedge=95, **settings)
        assert rig.balancer.hedging is not None
        rig.balancer.hedging.delay = 0.1
        return rig


class WhatIsHedged(HedgesCase):
    """Only what harms nobody when it is done twice, and only when it is slow."""

    def hedges(self, data: bytes, **settings: Any) -> int:
        """How many hedges there are of a request whose first backend is slow."""
        rig = self.hedging(**settings)
        self.asks(rig, data)
        rig.accept()
        rig.reactor.advance(0.2)
        self.assertEqual(rig.counters.hedges, len(rig.connects))
        return rig.counters.hedges

    def test_idempotent_requests_without_a_body(self) -> None:
        """And nothing else: no POST, no upload, no upgrade."""
        for data, count in (
            (GET, 1),
            (GET.replace(b"GET", b"HEAD"), 1),
            (GET.replace(b"GET", b"POST"), 0),
            (post(b"x"), 0),
            (post(b"x", method=b"PUT"), 0),
            (UPGRADE, 0),
        ):
            self.assertEqual(self.hedges(data), count, data)

    def test_by_option_only(self) -> None:
        """Without it nobody is asked twice."""
        rig = self.rig(PAIR)
        self.asks(rig)
        rig.accept()
        rig.wait(5)
        self.assertEqual((rig.connects, rig.balancer.hedging), ([], None))

    def test_in_the_budget(self) -> None:
        """Where all are slow there are few of them; a failure elsewhere still finds the backend that was not asked."""
        rig = self.hedging(retry_budget=0, retry_budget_least=1, eject_failures=0)
        holder, client = self.asks(rig), self.asks(rig)
        first, second = rig.accept(), rig.accept()
        rig.reactor.advance(0.2)
        self.assertEqual((rig.counters.hedges, rig.balancer.budget.active), (1, 1))
        first.received()
        first.send(OK)
        self.assertEqual((status(holder.received()), rig.balancer.budget.active), (200, 0))
        second.reset()
        self.assertIn(b"GET", first.received())
        first.send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_not_beyond_the_limits_of_backends(self) -> None:
        """A full one is not asked, and no place in the budget is kept for it."""
        rig = self.hedging(f"{ONE},{TWO}:max-in-flight=1")
        clients = [self.asks(rig) for _ in range(2)]
        rig.accept()
        two = rig.accept()
        third = self.asks(rig)
        rig.accept()
        rig.reactor.advance(0.05)
        two.send(LONG)
        rig.reactor.advance(0.2)
        self.assertEqual((rig.member(TWO).in_flight, rig.counters.hedges, rig.balancer.budget.active), (1, 0, 0))
        self.assertEqual([status(client.received()) for client in (*clients, third)], [0, 200, 0])

    def test_not_after_a_failure(self) -> None:
        """What is a second attempt already is not doubled."""
        rig = self.hedging(f"{PAIR},{THREE}")
        self.asks(rig)
        rig.accept().reset()
        rig.accept()
        rig.reactor.advance(1)
        self.assertEqual((rig.connects, rig.counters.hedges), ([], 0))

    def test_not_after_another_status(self) -> None:
        """Nor what was sent elsewhere because of an answer."""
        rig = self.hedging(f"{PAIR},{THREE}", retry_on=("503",))
        self.asks(rig)
        rig.accept().send(BUSY)
        rig.accept()
        rig.reactor.advance(1)
        self.assertEqual((rig.connects, rig.counters.hedges), ([], 0))


class Races(HedgesCase):
    """Who answers first is heard; what comes of the other does not matter."""

    def race(self, backends: str = PAIR, **settings: Any) -> tuple[Rig, Any, Any, Any]:
        """Both have been asked: the rig, the client, and the two backends."""
        rig = self.hedging(backends, **settings)
        client = self.asks(rig)
        first = rig.accept()
        rig.reactor.advance(0.2)
        self.assertEqual(self.addresses(rig), [TWO])
        return rig, client, first, rig.accept()

    def test_the_second_answers_first(self) -> None:
        """The first one's connection is dropped, and its place is free."""
        rig, client, first, second = self.race()
        second.send(LONG)
        self.assertEqual((first.aborted, rig.member(ONE).in_flight, rig.member(TWO).in_flight), (True, 0, 1))
        second.send(b"ended")
        self.assertTrue(client.received().endswith(b"begunended"))
        (exchange,) = rig.ended
        self.assertEqual([attempt.why for attempt in exchange.attempts], ["", "hedge"])
        self.assertEqual((rig.member(ONE).failures, rig.counters.ends), (0, {"done": 1}))

    def test_the_first_answers_after_all(self) -> None:
        """The second one's is."""
        rig, client, first, second = self.race()
        first.send(OK)
        self.assertEqual((client.received(), second.aborted), (OK, True))
        self.assertEqual(rig.balancer.upstreams.idle_count(ONE), 1)

    def test_the_first_answers_while_the_second_is_connected_to(self) -> None:
        """That connection is wanted no more."""
        rig = self.hedging()
        client = self.asks(rig)
        first = rig.accept()
        rig.reactor.advance(0.2)
        connect = rig.connect()
        first.send(OK)
        self.assertEqual((client.received(), connect.cancelled, rig.member(TWO).up), (OK, True, True))

    def test_the_first_is_still_being_connected_to(self) -> None:
        """It is given up as well, and not blamed."""
        rig = self.hedging()
        client = self.asks(rig)
        connect = rig.connect()
        rig.reactor.advance(0.2)
        rig.accept().send(OK)
        self.assertEqual((client.received(), connect.cancelled, rig.member(ONE).up), (OK, True, True))

    def test_a_client_that_is_slow_pauses_the_winner(self) -> None:
        """And nobody else."""
        _, client, first, second = self.race()
        first.send(LONG)
        client.stop_reading()
        self.assertEqual((first.unread, second.aborted), (True, True))
        client.read_on()
        self.assertFalse(first.unread)

    def test_the_first_fails(self) -> None:
        """The second is waited for."""
        rig, client, first, second = self.race(f"{PAIR},{THREE}")
        first.reset()
        self.assertEqual((rig.connects, client.received()), ([], b""))
        second.send(OK)
        self.assertEqual(client.received(), OK)

    def test_the_second_fails(self) -> None:
        """The first is."""
        rig, client, first, second = self.race(f"{PAIR},{THREE}")
        second.reset()
        self.assertEqual(rig.connects, [])
        first.send(OK)
        self.assertEqual(client.received(), OK)

    def test_the_second_is_refused(self) -> None:
        """It is tried again as any other; when it is down, the first is waited for."""
        rig = self.hedging()
        client = self.asks(rig)
        first = rig.accept()
        rig.reactor.advance(0.2)
        self.assertEqual(rig.refuse(4), [TWO] * 4)
        self.assertEqual((rig.connects, rig.member(TWO).up), ([], False))
        first.send(OK)
        self.assertEqual(client.received(), OK)

    def test_both_fail(self) -> None:
        """There is one further attempt, not two."""
        rig, client, first, second = self.race(f"{PAIR},{THREE}")
        first.reset()
        second.reset()
        self.assertEqual(self.addresses(rig), [THREE])
        rig.accept().send(OK)
        self.assertEqual(client.received(), OK)

    def test_both_fail_and_nobody_is_left(self) -> None:
        """One answer."""
        rig, client, first, second = self.race()
        second.reset()
        first.reset()
        self.assertEqual((status(client.received()), rig.counters.ends), (502, {"lost": 1}))

    def test_one_answers_what_is_to_be_tried_again(self) -> None:
        """The other is waited for, and if it answers the same, that is passed on."""
        for answer in (OK, BUSY):
            rig, client, first, second = self.race(retry_on=("503",))
            first.send(BUSY)
            self.assertEqual((client.received(), rig.connects), (b"", []))
            second.send(answer)
            self.assertEqual(status(client.received()), status(answer))

    def test_the_second_goes_over_an_idle_connection(self) -> None:
        """As any attempt would; if that was stale, over a new one."""
        rig = self.hedging()
        idle = []
        for _ in range(2):
            self.asks(rig)
            idle.append(rig.accept())
        for backend in idle:
            backend.received()
            backend.send(OK)
        client = self.asks(rig)
        rig.reactor.advance(0.2)
        self.assertEqual(rig.connects, [])
        first, second = (backend for backend in idle)
        self.assertIn(b"GET", first.received())
        self.assertIn(b"GET", second.received())
        second.hang_up()
        self.assertEqual(self.addresses(rig), [TWO])
        rig.accept().send(OK)
        self.assertEqual((client.received(), first.aborted), (OK, True))

    def test_the_client_leaves(self) -> None:
        """Both are dropped."""
        rig, client, first, second = self.race()
        client.reset()
        self.assertEqual((first.aborted, second.aborted, rig.counters.ends), (True, True, {"client-left": 1}))

    def test_both_take_too_long(self) -> None:
        """Each by its own time."""
        rig, client, first, second = self.race(attempt_timeout=1)
        rig.wait(1.5)
        self.assertEqual((first.aborted, second.aborted), (True, True))
        self.assertEqual((status(client.received()), rig.counters.ends), (504, {"attempt-timeout": 1}))

    def test_a_hedge_makes_no_slow_request_a_fast_one(self) -> None:
        """What is noted is the time that the slower one has had: otherwise the percentile would come down by its own success,
        until every request is a slow one."""
        rig, _, _, second = self.race()
        noted: list[float] = []
        self.patch(rig.balancer.hedging, "note", noted.append)
        rig.reactor.advance(0.3)
        second.send(OK)
        self.assertEqual([round(seconds, 3) for seconds in noted], [0.5])

    def test_the_share_of_hedges_is_what_the_percentile_says(self) -> None:
        """5 % at the 95th, also after many rounds."""
        random = Random(7)
        hedging = Hedging(95)
        hedges = asked = 0
        for number in range(20_000):
            first, second = random.expovariate(1), random.expovariate(1)
            delay = hedging.delay
            hedged = delay is not None and first > delay
            if number >= 10_000:
                hedges += hedged
                asked += 1
            assert delay is not None or not hedged
            hedging.note(min(first, delay + second) if hedged and delay is not None else first)
        self.assertTrue(0.03 < hedges / asked < 0.07, hedges / asked)
