"""Promises about exchanges for which no backend has a place free: who waits, for how long, and who is served first."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from lbproxy.balance.first import First
from lbproxy.balance.state import Wish

from ..support import GET, OK, Peer, Rig, given, post, split, status, values
from .waiting import LONG, ONE, SMALL, SMALL_PAIR, SWITCHING, TWO, UPGRADE, WaitsCase


class APlaceBecomesFree(WaitsCase):
    """Who waits is served as soon as there is a place, whoever had it and however that ended."""

    def waiting(self, data: bytes = GET, **settings: Any) -> tuple[Rig, Peer, Peer, Peer]:
        """A rig whose one place is taken: the client that has it, its backend, and a client that waits."""
        rig = self.rig(SMALL, **settings)
        first = self.asks(rig, data)
        backend = rig.accept()
        second = self.asks(rig)
        self.assertEqual((self.line(rig), self.addresses(rig)), (1, []))
        return rig, first, backend, second

    def assert_served(self, rig: Rig, client: Peer) -> None:
        """It waits no longer, and gets its answer."""
        self.assertEqual((self.line(rig), rig.member().in_flight), (0, 1))
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_by_an_answer(self) -> None:
        """It goes over the very connection that is idle now."""
        rig, _, backend, second = self.waiting()
        backend.received()
        backend.send(OK)
        self.assertIn(b"GET / HTTP/1.1", backend.received())
        backend.send(OK)
        self.assertEqual((status(second.received()), self.line(rig)), (200, 0))

    def test_by_an_answer_that_comes_in_parts(self) -> None:
        """At its end, not before."""
        rig, _, backend, _ = self.waiting()
        backend.send(LONG)
        self.assertEqual(self.line(rig), 1)
        backend.send(b"ended")
        self.assertEqual(self.line(rig), 0)

    def test_by_an_answer_that_is_cut_off(self) -> None:
        """A broken response is over too."""
        rig, _, backend, second = self.waiting()
        backend.send(LONG)
        backend.reset()
        self.assert_served(rig, second)

    def test_by_a_client_that_leaves(self) -> None:
        """Before its answer, and while it comes."""
        for answer in (b"", LONG):
            rig, first, backend, second = self.waiting()
            backend.send(answer)
            first.reset()
            self.assert_served(rig, second)

    def test_by_a_failed_attempt(self) -> None:
        """What cannot be tried again gives its place up."""
        rig, first, backend, second = self.waiting(post(b"order"))
        backend.reset()
        self.assertEqual(status(first.received()), 502)
        self.assert_served(rig, second)

    def test_by_a_tunnel_that_ends(self) -> None:
        """It has its place as long as it lasts."""
        rig, first, backend, second = self.waiting(UPGRADE)
        backend.send(SWITCHING)
        self.assertEqual(self.line(rig), 1)
        first.reset()
        self.assert_served(rig, second)

    def test_by_an_exchange_that_took_too_long(self) -> None:
        """Its time-out frees the place."""
        rig = self.rig(SMALL, exchange_timeout=2)
        rig.balancer.beat.discard(rig.balancer.pulse)  # which calls the line too
        first = self.asks(rig)
        rig.accept()
        rig.wait(1)
        second = self.asks(rig)
        rig.wait(1.5)
        self.assertEqual((status(first.received()), rig.counters.ends), (504, {"exchange-timeout": 1}))
        self.assert_served(rig, second)

    def test_by_the_slower_one_of_two_that_were_asked(self) -> None:
        """The place of a hedge's loser is free as soon as the winner's answer begins."""
        rig = self.rig(SMALL_PAIR, hedge=50)
        rig.balancer.hedging.delay = 0.1  # type: ignore[union-attr]
        self.asks(rig)
        rig.wait(0.25)
        rig.accept()
        two = rig.accept()
        self.asks(rig)
        self.assertEqual(self.line(rig), 1)
        two.send(LONG)
        self.assertEqual((self.line(rig), self.addresses(rig)), (0, [ONE]))

    def test_while_the_exchange_was_busy_elsewhere(self) -> None:
        """One that passed over a full backend, and found another dead, does not wait for a place that is free by now."""
        rig = self.rig(f"{ONE}:max-in-flight=1,{TWO}", policy=First)
        first = self.asks(rig)
        rig.accept()
        client = self.asks(rig)
        self.assertEqual(self.addresses(rig), [TWO])
        first.reset()
        rig.refuse(4)
        self.assertEqual(self.addresses(rig), [ONE])
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)


class ThePoolChanges(WaitsCase):
    """Who waits learns of it at once."""

    def full(self, backends: str, count: int = 1, **settings: Any) -> tuple[Rig, Peer]:
        """All places are taken, and a client waits."""
        rig = self.rig(backends, **settings)
        for _ in range(count):
            self.asks(rig)
            rig.accept()
        return rig, self.asks(rig)

    def test_a_backend_recovers(self) -> None:
        """It has places."""
        rig = self.rig(SMALL_PAIR)
        rig.mark(TWO, up=False)
        self.asks(rig)
        rig.accept()
        self.asks(rig)
        self.assertEqual(self.line(rig), 1)
        rig.mark(TWO, up=True)
        self.assertEqual((self.line(rig), self.addresses(rig)), (0, [TWO]))

    def test_a_backend_is_added(self) -> None:
        """As soon as a check has found it well."""
        rig, _ = self.full(SMALL)
        self.set_backends(rig, SMALL_PAIR)
        self.assertEqual(self.line(rig), 1)
        rig.mark(TWO, up=True)
        self.assertEqual((self.line(rig), self.addresses(rig)), (0, [TWO]))

    def test_a_backend_is_wanted_again(self) -> None:
        """The operator gives it back."""
        rig = self.rig(SMALL_PAIR)
        rig.pool.wish(Wish(TWO, "maintenance"))
        self.asks(rig)
        rig.accept()
        self.asks(rig)
        rig.pool.wish(Wish(TWO, "ready"))
        self.assertEqual((self.line(rig), self.addresses(rig)), (0, [TWO]))

    def test_a_backend_may_have_more(self) -> None:
        """A raised limit is seen within a quarter of a second; that is no change of state."""
        rig, _ = self.full(SMALL)
        self.set_backends(rig, f"{ONE}:max-in-flight=2")
        rig.wait(0.25)
        self.assertEqual((self.line(rig), rig.member().in_flight), (0, 2))

    def test_a_backend_may_have_fewer(self) -> None:
        """Those that run go on, and as many places as there are too few are not given anew."""
        rig = self.rig(f"{ONE}:max-in-flight=2")
        first, second, _ = (self.asks(rig) for _ in range(3))
        self.set_backends(rig, SMALL)
        first.reset()
        self.assertEqual((self.line(rig), rig.member().in_flight), (1, 1))
        second.reset()
        self.assertEqual((self.line(rig), rig.member().in_flight), (0, 1))

    def test_all_go_down(self) -> None:
        """There is nothing left to wait for: 503 at once, not after ten seconds."""
        rig, client = self.full(SMALL_PAIR, 2)
        rig.mark(ONE, up=False)
        self.assertEqual(client.received(), b"")
        rig.mark(TWO, up=False)
        answer = client.received()
        self.assertEqual((status(answer), rig.counters.ends, self.line(rig)), (503, {"no-backend": 1}, 0))
        self.assertTrue(values(answer, b"retry-after"))

    def test_none_is_wanted_any_more(self) -> None:
        """The same."""
        rig, client = self.full(SMALL)
        rig.pool.wish(Wish(ONE, "drain"))
        self.assertEqual((status(client.received()), rig.counters.ends), (503, {"no-backend": 1}))

    def test_the_one_it_waited_for_goes_down(self) -> None:
        """One whose own attempts failed elsewhere is answered with that failure."""
        rig = self.rig(f"{ONE}:max-in-flight=1,{TWO}", eject_failures=0)
        self.asks(rig)
        rig.accept()
        client = self.asks(rig)
        rig.accept().reset()
        self.assertEqual((client.received(), self.line(rig)), (b"", 1))
        rig.mark(ONE, up=False)
        self.assertEqual((status(client.received()), rig.counters.ends), (502, {"lost": 1}))


class TheLine(WaitsCase):
    """Its order, its length, and how long anybody stands in it."""

    def test_who_came_first_is_served_first(self) -> None:
        """Each in turn, over the same connection."""
        rig = self.rig(SMALL)
        self.asks(rig)
        backend = rig.accept()
        backend.received()
        for number in range(5):
            self.asks(rig, GET.replace(b"/ ", b"/%d " % number))
        for number in range(5):
            backend.send(OK)
            self.assertEqual(split(backend.received())[0], b"GET /%d HTTP/1.1" % number)

    def test_it_is_only_so_long(self) -> None:
        """Who comes then is told when to come back."""
        rig = self.rig(SMALL, queue=2, queue_timeout=4.5)
        clients = [self.asks(rig) for _ in range(4)]
        answer = clients[-1].received()
        self.assertEqual((status(answer), values(answer, b"retry-after")), (503, [b"5"]))
        self.assertEqual((rig.counters.ends, self.line(rig), rig.balancer.line.turned_away), ({"queue-full": 1}, 2, 1))

    def test_there_may_be_none(self) -> None:
        """Then nobody waits."""
        rig = self.rig(SMALL, queue=0)
        self.asks(rig)
        self.assertEqual((status(self.asks(rig).received()), rig.counters.ends), (503, {"queue-full": 1}))

    def test_nobody_stands_in_it_for_ever(self) -> None:
        """503 when the time is over, with Retry-After, and at most a second late."""
        rig = self.rig(SMALL, queue_timeout=2)
        self.asks(rig)
        rig.accept()
        client = self.asks(rig)
        rig.wait(1.75)
        self.assertEqual(client.received(), b"")
        rig.wait(1)
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"retry-after")), (503, [b"2"]))
        self.assertEqual((rig.counters.ends, self.line(rig)), ({"queue-timeout": 1}, 0))
        self.assertEqual(rig.ended[0].waits.queued, 2.0)  # type: ignore[union-attr]

    def test_that_time_does_not_bound_the_answer(self) -> None:
        """Who was served at last has as long as any other: the line's time-out is over with the line."""
        rig = self.rig(SMALL, queue_timeout=2)
        first = self.asks(rig)
        rig.accept()
        client = self.asks(rig)
        rig.wait(1.5)
        first.reset()
        backend = rig.accept()
        rig.wait(5)
        self.assertEqual(client.received(), b"")
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_who_leaves_is_forgotten(self) -> None:
        """And holds nobody up."""
        rig = self.rig(SMALL)
        first = self.asks(rig)
        rig.accept()
        second, third = self.asks(rig), self.asks(rig)
        second.reset()
        self.assertEqual((self.line(rig), rig.counters.ends), (1, {"client-left": 1}))
        first.reset()
        rig.accept().send(OK)
        self.assertEqual(status(third.received()), 200)

    def test_who_can_use_no_free_place_does_not_hold_up_those_behind(self) -> None:
        """One that has tried a backend already waits for the other; who came later may have the first."""
        rig = self.rig(SMALL_PAIR, eject_failures=0)
        self.asks(rig)
        rig.accept()
        self.asks(rig)
        rig.accept().reset()
        self.assertEqual((self.line(rig), self.addresses(rig)), (1, []))
        self.asks(rig)
        self.assertEqual((self.line(rig), self.addresses(rig)), (1, [TWO]))
        self.asks(rig)
        rig.accept().send(OK)
        self.assertEqual(self.line(rig), 1)

    def test_nobody_tries_the_same_backend_again_and_again(self) -> None:
        """While all others are full, one that fails each time is asked once in each round, not as often as it can fail."""
        rig = self.rig(f"{ONE}:max-in-flight=1,{TWO}", eject_failures=0)
        self.asks(rig)
        rig.accept()
        client = self.asks(rig)
        rig.accept().reset()
        rig.wait(1)
        self.assertEqual((rig.connects, self.line(rig)), ([], 1))
        other = self.asks(rig)
        rig.accept().send(OK)
        self.assertEqual((status(other.received()), self.line(rig), client.received()), (200, 1, b""))

    def test_an_upload_waits_at_its_client(self) -> None:
        """It is not read before there is somebody to take it, and is whole then."""
        rig = self.rig(SMALL)
        first = self.asks(rig)
        rig.accept()
        upload = self.asks(rig, post(b"x" * 100)[:-50])
        self.assertTrue(upload.unread)
        upload.send(b"x" * 50)
        first.reset()
        backend = rig.accept()
        rig.turn()
        self.assertTrue(backend.received().endswith(b"\r\n\r\n" + b"x" * 100))
        backend.send(OK)
        self.assertEqual(status(upload.received()), 200)

    def test_an_upload_that_is_turned_away_reads_its_answer(self) -> None:
        """Its rest is thrown away."""
        rig = self.rig(SMALL, queue_timeout=1)
        self.asks(rig)
        rig.accept()
        upload = self.asks(rig, post(b"x" * 100)[:-50])
        rig.wait(2)
        self.assertEqual((status(upload.received()), upload.unread), (503, False))

    def test_a_drain_lets_those_who_wait_have_their_turn(self) -> None:
        """As long as it lasts; then they are dropped with the others."""
        rig = self.rig(SMALL)
        first = self.asks(rig)
        rig.accept()
        second, third = self.asks(rig), self.asks(rig)
        rig.factory.draining = True
        first.reset()
        rig.accept().send(OK)
        self.assertEqual(status(second.received()), 200)
        for connection in list(rig.factory.connections):
            connection.drop()
        self.assertEqual(rig.counters.ends.get("drain"), 1)
        rig.turn()
        self.assertTrue(third.aborted)

    def test_a_balancer_that_stops_lets_nobody_wait(self) -> None:
        """Nobody would look after their time any more: they are answered."""
        rig = self.rig(SMALL)
        self.asks(rig)
        rig.accept()
        client = self.asks(rig)
        rig.resource.stop()
        self.assertEqual((status(client.received()), rig.counters.ends), (503, {"drain": 1}))

    def test_nobody_joins_it_once_the_balancer_has_stopped(self) -> None:
        """Who would have waited is answered."""
        rig = self.rig(f"{ONE}:max-in-flight=1,{TWO}", backoffs=1)
        self.asks(rig)
        rig.accept()
        client = self.asks(rig)
        backend = rig.accept()
        rig.resource.stop()
        backend.reset()
        self.assertEqual((status(client.received()), self.line(rig)), (502, 0))

    def test_each_round_may_wait_for_each_backend(self) -> None:
        """Also for one that was tried in the round before."""
        rig = self.rig(f"{ONE}:max-in-flight=1,{TWO}", policy=First, backoffs=1, eject_failures=0)
        client = self.asks(rig)
        rig.accept().reset()
        rig.accept().reset()
        other = self.asks(rig)
        rig.accept()
        rig.wait(0.25)
        rig.accept().reset()
        self.assertEqual((self.line(rig), rig.connects), (1, []))
        other.reset()
        self.assertEqual((self.line(rig), self.addresses(rig)), (0, [ONE]))
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_a_bug_in_the_answer_leaves_nobody_waiting(self) -> None:
        """Who has waited for too long, and cannot be told so, is dropped."""
        rig = self.rig(SMALL, queue_timeout=1)
        self.asks(rig)
        rig.accept()
        client = self.asks(rig)

        def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        self.patch(client, "write", broken)
        rig.wait(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(client.aborted)

    def test_a_bug_in_a_policy_leaves_nobody_waiting(self) -> None:
        """It is logged, and the one whom it struck is dropped."""
        rig = self.rig(SMALL)
        first = self.asks(rig)
        rig.accept()
        client, third = self.asks(rig), self.asks(rig)
        broken = iter([ZeroDivisionError("a bug")])
        right = rig.pool.candidates

        def candidates(exchange: Any) -> Any:
            for error in broken:
                raise error
            return right(exchange)

        rig.balancer.candidates = candidates
        first.reset()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        rig.turn()
        self.assertEqual((client.aborted, rig.counters.ends), (True, {"bug": 1, "client-left": 1}))
        rig.accept().send(OK)
        self.assertEqual(status(third.received()), 200)


class Places(WaitsCase):
    """Who has one keeps it for what belongs together."""

    def bound_to(self, rig: Rig, address: str) -> bytes:
        """A request of a client that is bound to the backend."""
        assert rig.balancer.sticky is not None
        return GET.replace(b"\r\n\r\n", b"\r\nCookie: lb=%b\r\n\r\n" % rig.balancer.sticky.token(address))

    def test_a_retry_at_the_same_backend_keeps_its_place(self) -> None:
        """Nobody who waits gets between the attempts, and the backend is not taken for down."""
        rig = self.rig(SMALL)
        first = self.asks(rig)
        self.asks(rig)
        rig.refuse(3)
        self.assertEqual((self.line(rig), rig.member().up), (1, True))
        rig.accept().send(OK)
        self.assertEqual((status(first.received()), self.line(rig)), (200, 0))

    def test_a_limit_that_is_lowered_meanwhile_says_nothing_against_the_backend(self) -> None:
        """Its retries are cut short, which is not its fault."""
        rig = self.rig(f"{ONE}:max-in-flight=2")
        self.asks(rig)
        self.asks(rig)
        self.set_backends(rig, SMALL)
        rig.refuse()
        self.assertEqual((rig.member().up, self.line(rig)), (True, 1))

    def test_a_bound_client_whose_backend_is_full_is_served_by_another(self) -> None:
        """And stays bound."""
        rig = self.rig(f"{ONE}:max-in-flight=1,{TWO}", sticky="lb")
        bound = self.bound_to(rig, ONE)
        self.asks(rig, bound)
        client = self.asks(rig, bound)
        self.assertEqual(self.addresses(rig), [ONE, TWO])
        rig.accept()
        rig.accept().send(OK)
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"set-cookie")), (200, []))

    def test_a_bound_client_waits_for_its_backend_that_drains(self) -> None:
        """Others are told at once that there is none for them."""
        rig = self.rig(SMALL, sticky="lb")
        first = self.asks(rig)
        rig.accept()
        rig.pool.wish(Wish(ONE, "drain"))
        client, other = self.asks(rig, self.bound_to(rig, ONE)), self.asks(rig)
        self.assertEqual((self.line(rig), status(other.received())), (1, 503))
        first.reset()
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_a_bound_client_waits_where_all_are_full(self) -> None:
        """For any of them."""
        rig = self.rig(SMALL_PAIR, sticky="lb")
        self.asks(rig)
        other = self.asks(rig)
        client = self.asks(rig, self.bound_to(rig, ONE))
        rig.accept()
        rig.accept()
        other.reset()
        self.assertEqual((self.line(rig), self.addresses(rig)), (0, [TWO]))
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)


class Crowd:
    """Clients and backends that do what they are told by numbers, and what must hold at any time."""

    def __init__(self, rig: Rig, test: WaitsCase) -> None:
        self.rig = rig
        self.test = test
        self.clients: list[Peer] = []
        self.backends: list[Peer] = []
        self.came: list[Any] = []

    def does(self, what: str, which: int) -> None:
        rig = self.rig
        if what == "ask":
            self.clients.append(self.test.asks(rig, GET if which % 3 else post(b"x")))
        elif what == "leave" and self.clients:
            self.clients.pop(which % len(self.clients)).reset()
        elif what == "accept" and rig.connects:
            connect = rig.connect()
            if not connect.cancelled:
                self.backends.append(connect.accept())
        elif what == "refuse" and rig.connects:
            connect = rig.connect()
            if not connect.cancelled:
                connect.refuse()
        elif what == "answer" and self.backends:
            self.backends[which % len(self.backends)].send(OK)
        elif what == "break" and self.backends:
            self.backends.pop(which % len(self.backends)).reset()
        elif what in ("up", "down"):
            rig.mark((ONE, TWO)[which % 2], up=what == "up")
        elif what == "wait":
            rig.wait(which % 8 / 4)
        rig.turn()

    def check(self) -> None:
        """No limit is exceeded, and nobody waits while a place is free to him."""
        line = [one._exchange for one in self.rig.balancer.waits if one in self.rig.balancer.line.waiting]
        for member in self.rig.pool.members.values():
            self.test.assertLessEqual(member.in_flight, member.limit)
            for exchange in line if member.fit and member.in_flight < member.limit else []:
                self.test.assertIn(member, [attempt.member for attempt in exchange.attempts])
        if line:
            self.test.assertTrue(any(member.fit for member in self.rig.pool.members.values()))


OFTEN, SELDOM = ["ask", "accept", "answer", "up"], ["refuse", "break", "leave", "down", "wait"]
WHAT = st.sampled_from([*OFTEN, *OFTEN, "ask", *SELDOM])


class WhateverHappens(WaitsCase):
    """Random arrivals, ends, failures, departures and verdicts."""

    @given(st.lists(st.tuples(WHAT, st.integers(0, 20)), max_size=60), st.sampled_from([SMALL_PAIR, SMALL, f"{SMALL},{TWO}"]))
    def test_limits_are_kept_and_places_are_used(self, steps: list[tuple[str, int]], backends: str) -> None:
        """At any time; and in the end everybody has been served, or told."""
        rig = Rig(backends, backoffs=1, response_timeout=5, queue_timeout=4)
        rig.balancer.start()
        crowd = Crowd(rig, self)
        for what, which in steps:
            crowd.does(what, which)
            crowd.check()
        for _ in range(40):
            if not rig.counters.in_flight:
                break
            rig.wait(1)
            crowd.check()
        self.assertEqual(rig.counters.in_flight, 0)
        self.assert_nothing_is_left(rig)

    @given(st.lists(st.sampled_from(["ask", "end", "leave"]), max_size=60))
    def test_the_line_is_first_come_first_served(self, steps: list[str]) -> None:
        """Whoever is served has waited longest."""
        rig = Rig(SMALL)
        rig.balancer.start()
        waiting: list[tuple[int, Peer]] = []
        served = -1
        backend = None
        for number, step in enumerate(steps):
            if step == "ask":
                waiting.append((number, self.asks(rig, GET.replace(b"/ ", b"/%d " % number))))
            elif step == "leave" and len(waiting) > 1:
                waiting.pop(len(waiting) // 2 or 1)[1].reset()
            elif step == "end" and backend is not None and waiting:
                waiting.pop(0)
                backend.send(OK)
            if rig.connects:
                backend = rig.accept()
            if backend is not None and (asked := backend.received()):
                served = int(split(asked)[0].split()[1][1:])
                self.assertEqual(served, waiting[0][0])
        self.assert_nothing_is_left(rig)
