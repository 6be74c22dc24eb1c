"""Promises about the retry budget and back-offs: nothing is lost that can be done again, and nobody makes a bad hour worse."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from lbproxy.balance.first import First
from lbproxy.interfaces import IExchangeObserver

from ..support import GET, OK, Peer, Rig, post, status
from .waiting import BUSY, LONG, ONE, PAIR, SWITCHING, THREE, TWO, UPGRADE, WaitsCase


class Longest:
    """A random source whose back-offs are as long as they may be."""

    def random(self) -> float:
        return 1.0


class Budgets(WaitsCase):
    """Who repeats work needs a place in the budget."""

    def crowd(self, count: int, backends: str = PAIR, **settings: Any) -> tuple[Rig, list[Peer], list[Peer]]:
        """So many clients whose requests have reached backends; those are never ejected."""
        rig = self.rig(backends, **{"eject_failures": 0, **settings})
        clients = [self.asks(rig) for _ in range(count)]
        return rig, clients, [rig.accept() for _ in range(count)]

    def test_a_few_at_once_go_on(self) -> None:
        """Of 100 that fail together, a fifth of the others; nobody else is sent again just then."""
        rig, clients, backends = self.crowd(100)
        for backend in backends:
            backend.reset()
        self.assertEqual(len(rig.connects), rig.balancer.budget.active)
        self.assertTrue(10 <= rig.balancer.budget.active <= 20, rig.balancer.budget.active)
        self.assertEqual(rig.balancer.budget.waiting, 100 - rig.balancer.budget.active)
        self.assertEqual({client.received() for client in clients}, {b""})

    def test_the_others_follow_as_places_become_free(self) -> None:
        """Where the other backend answers soon, every one of them is answered."""
        rig, clients, backends = self.crowd(100)
        for backend in backends:
            backend.reset()
        later: list[Peer] = []
        for _ in range(100):
            self.serve(rig, later)
            self.wait(rig, 0.005)
        self.assertEqual({status(client.received()) for client in clients}, {200})
        self.assertEqual((rig.counters.in_flight, rig.balancer.budget.refused), (0, 0))

    def test_who_gets_no_place_is_answered_after_a_second(self) -> None:
        """With its failure; where all are slow nobody should wait longer."""
        rig, clients, _ = self.crowd(40, response_timeout=5)
        rig.balancer.random = Longest()  # type: ignore[assignment]
        self.wait(rig, 7)
        answered = [answer for client in clients if (answer := client.received())]
        self.assertEqual({status(answer) for answer in answered}, {504})
        self.assertEqual(len(answered), 40 - rig.balancer.budget.active)
        self.assertEqual(rig.balancer.budget.refused, len(answered))
        self.assertEqual(rig.counters.ends, {"response-timeout": len(answered)})

    def test_a_place_is_waited_for_while_others_are_served(self) -> None:
        """A backend that died took them all with it, and each of those that are sent again takes its time."""
        rig, clients, backends = self.crowd(40)
        for backend in backends:
            backend.reset()
        for _ in range(60):
            slow = [rig.accept() for _ in rig.connects]
            rig.wait(1)
            for backend in slow:
                backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.assertEqual({status(client.received()) for client in clients}, {200})

    def test_a_few_always_may(self) -> None:
        """However few there are."""
        rig, _, backends = self.crowd(3)
        for backend in backends:
            backend.reset()
        self.assertEqual(len(rig.connects), 3)

    def test_refused_connections_need_no_place(self) -> None:
        """A backend that was killed loses nothing: what it never saw repeats nothing."""
        rig = self.rig(PAIR, retry_budget=0, retry_budget_least=0)
        clients = [self.asks(rig, post(b"order")) for _ in range(50)]
        self.serve(rig, [], refusing=ONE)
        self.assertEqual({status(client.received()) for client in clients}, {200})

    def test_it_can_be_as_large_as_all(self) -> None:
        """100 %: whoever wants."""
        rig, _, backends = self.crowd(30, retry_budget=100)
        for backend in backends:
            backend.reset()
        self.assertEqual(len(rig.connects), 30)

    def test_it_can_be_nothing(self) -> None:
        """Then nothing that was sent is sent again."""
        rig, clients, backends = self.crowd(30, retry_budget=0, retry_budget_least=0)
        for backend in backends:
            backend.reset()
        self.wait(rig, 1.2)
        self.assertEqual((rig.connects, {status(client.received()) for client in clients}), ([], {502}))

    def test_who_waits_in_line_keeps_no_place(self) -> None:
        """It does nobody's work again while it waits, and so the others may wait with it for a backend that is well and busy."""
        rig = self.rig(f"{ONE}:max-in-flight=4,{TWO}:max-in-flight=1", policy=First, eject_failures=0)
        clients = [self.asks(rig) for _ in range(5)]
        *broken, _ = [rig.accept() for _ in range(5)]
        for backend in broken:
            backend.reset()
        self.wait(rig, 1.2)
        self.assertEqual({client.received() for client in clients}, {b""})
        self.assertEqual((len(rig.balancer.line.waiting), rig.balancer.budget.active), (4, 0))

    def test_a_place_is_free_when_its_client_leaves(self) -> None:
        """Whether it had one or waited for one."""
        rig, clients, backends = self.crowd(2, retry_budget_least=1)
        for backend in backends:
            backend.reset()
        self.assertEqual((rig.balancer.budget.active, rig.balancer.budget.waiting), (1, 1))
        for client in clients:
            client.reset()
        self.assertEqual((rig.balancer.budget.active, rig.balancer.budget.waiting), (0, 0))

    def test_a_place_is_free_when_its_response_begins(self) -> None:
        """A stream or a tunnel that lasts for hours repeats nothing any more."""
        for data, answer in ((GET, LONG), (UPGRADE, SWITCHING)):
            rig = self.rig(PAIR)
            client = self.asks(rig, data)
            rig.accept().reset()
            self.assertEqual(rig.balancer.budget.active, 1)
            rig.accept().send(answer)
            self.assertEqual((rig.balancer.budget.active, rig.counters.in_flight), (0, 1))
            self.assertNotEqual(client.received(), b"")
            (waits,) = rig.balancer.waits
            self.assertTrue(waits.took_budget)

    def test_a_place_that_helped_nobody_is_not_had_again_at_once(self) -> None:
        """Where all lose what they get at once, hardly anything is in flight: the few places there always are last a second."""
        rig = self.rig(PAIR, eject_failures=0, upstream_idle=0)
        for _ in range(100):
            self.asks(rig)
            while rig.connects:
                rig.accept().reset()
            rig.reactor.advance(0.005)
        self.assertLessEqual(sum(member.requests for member in rig.pool.members.values()), 100 + 3)
        self.wait(rig, 1.2)
        while rig.connects:
            rig.accept().reset()

    def test_a_bug_gives_its_place_back(self) -> None:
        """In what was to make the next connection."""
        rig = self.rig(PAIR)

        def broken(*_: Any) -> None:
            raise ZeroDivisionError("a bug")

        self.asks(rig)
        backend = rig.accept()
        self.patch(rig.balancer.upstreams, "connect", broken)
        backend.reset()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((rig.balancer.budget.active, rig.counters.ends), (0, {"bug": 1}))

    def test_a_bug_in_an_observer_gives_its_place_back(self) -> None:
        """It is told at the very end."""
        rig = self.rig(PAIR)

        @implementer(IExchangeObserver)
        class Broken:
            def exchange_finished(self, exchange: Any) -> None:
                raise ZeroDivisionError("a bug")

        rig.balancer.observers += (Broken(),)
        client = self.asks(rig)
        rig.accept().reset()
        rig.accept().send(OK)
        self.assertEqual((status(client.received()), rig.balancer.budget.active), (200, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nobody_waits_for_one_once_the_balancer_has_stopped(self) -> None:
        """The failure is answered at once, and no timer set."""
        rig, clients, backends = self.crowd(1, retry_budget=0, retry_budget_least=0)
        rig.resource.stop()
        backends[0].reset()
        self.assertEqual(status(clients[0].received()), 502)

    def test_there_is_no_storm_where_all_are_slow(self) -> None:
        """Requests keep coming, and each attempt times out: at most a fifth of them more attempts than requests."""
        rig = self.rig(f"{PAIR},{THREE}", response_timeout=1, eject_failures=0)
        for _ in range(80):
            for _ in range(10):
                self.asks(rig)
            while rig.connects:
                connect = rig.connect()
                if not connect.cancelled:
                    connect.accept()
            rig.wait(0.25)
        attempts = sum(member.requests for member in rig.pool.members.values())
        self.assertLessEqual(attempts, 1.2 * 800 + 3)
        self.assertGreater(attempts, 800)


class BackOffs(WaitsCase):
    """When every backend was tried, there are further attempts."""

    def test_an_attempt_follows_each_back_off(self) -> None:
        """As many as the setting says; then the failure's status."""
        rig = self.rig(backoffs=2)
        client = self.asks(rig)
        self.assertEqual(rig.refuse(4), [ONE] * 4)
        for _ in range(2):
            self.assertEqual((rig.connects, client.received()), ([], b""))
            rig.wait(0.25)
            rig.refuse()
        self.assertEqual((status(client.received()), rig.counters.ends), (503, {"refused": 1}))
        self.assertEqual(len(rig.ended[0].attempts), 6)

    def test_there_may_be_none(self) -> None:
        """Then the answer comes at once."""
        rig = self.rig(backoffs=0)
        client = self.asks(rig)
        rig.refuse(4)
        self.assertEqual(status(client.received()), 503)

    def test_they_grow_within_their_bounds(self) -> None:
        """25 ms at most before the first, twice as much before each that follows, a quarter of a second at last."""
        rig = self.rig(backoffs=6)
        rig.balancer.random = Longest()  # type: ignore[assignment]
        self.asks(rig)
        rig.refuse(4)
        for _ in range(6):
            rig.wait(0.25)
            rig.refuse()
        (exchange,) = rig.ended
        assert exchange.waits is not None
        self.assertEqual(exchange.waits.paused, [0.025, 0.05, 0.1, 0.2, 0.25, 0.25])

    def test_a_backend_that_is_back_by_then_answers(self) -> None:
        """POST too, where nothing was sent."""
        rig = self.rig(backoffs=1)
        client = self.asks(rig, post(b"order"))
        rig.refuse(4)
        rig.wait(0.25)
        backend = rig.accept()
        self.assertTrue(backend.received().endswith(b"\r\n\r\norder"))
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_what_was_sent_is_sent_again_in_budget(self) -> None:
        """A place for each attempt, and one attempt after each back-off: a request that no backend survives is sent to few."""
        rig = self.rig(PAIR, backoffs=2, retry_budget_least=9)
        client = self.asks(rig)
        for _ in range(2):
            rig.accept().reset()
        for _ in range(2):
            self.assertEqual((rig.connects, rig.balancer.budget.active), ([], 1))
            rig.wait(0.25)
            rig.accept().reset()
        self.assertEqual((status(client.received()), rig.counters.ends), (502, {"lost": 1}))

    def test_a_refusal_after_a_back_off_is_followed_by_the_next_backend(self) -> None:
        """What was not even sent is not answered with an error while another backend can take it."""
        rig = self.rig(PAIR, backoffs=1, eject_failures=0)
        client = self.asks(rig)
        for _ in range(2):
            rig.accept().reset()
        rig.wait(0.25)
        rig.refuse()
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_there_is_none_after_a_time_out(self) -> None:
        """Another round would take as long again."""
        rig = self.rig(backoffs=2, connect_timeout=1)
        client = self.asks(rig)
        rig.wait(1)
        self.assertEqual((status(client.received()), rig.connects[1:]), (504, []))

    def test_there_is_none_where_nobody_is_left(self) -> None:
        """A pair that refuses is down, both of them."""
        rig = self.rig(PAIR, backoffs=2)
        client = self.asks(rig)
        rig.refuse(8)
        self.assertEqual((status(client.received()), rig.connects), (503, []))

    def test_all_go_down_meanwhile(self) -> None:
        """The failure is answered when the back-off is over."""
        rig = self.rig(PAIR, backoffs=2)
        client = self.asks(rig)
        rig.accept().reset()
        rig.accept().reset()
        rig.mark(ONE, up=False)
        rig.mark(TWO, up=False)
        rig.wait(0.25)
        self.assertEqual((status(client.received()), rig.connects), (502, []))

    def test_a_client_that_leaves_is_not_waited_for(self) -> None:
        """Its timer is cancelled."""
        rig = self.rig(backoffs=2)
        client = self.asks(rig)
        rig.refuse(4)
        client.reset()
        rig.wait(1)
        self.assertEqual((rig.connects, rig.counters.ends), ([], {"client-left": 1}))

    def test_a_balancer_that_stops_ends_them(self) -> None:
        """Who waits is answered, and no timer is left; attempts that fail after it are answered at once."""
        rig = self.rig(PAIR, backoffs=2)
        client, other = self.asks(rig), self.asks(rig)
        rig.accept().reset()
        late = rig.accept()
        rig.accept().reset()
        self.assertEqual((client.received(), rig.connects), (b"", []))
        rig.resource.stop()
        self.assertEqual((status(client.received()), rig.counters.ends), (503, {"drain": 1}))
        late.reset()
        for _ in rig.connects:
            rig.accept().reset()
        self.assertEqual(status(other.received()), 502)
        rig.turn()
        self.assertEqual(rig.reactor.getDelayedCalls(), [])

    def test_an_upload_waits_at_its_client_meanwhile(self) -> None:
        """And is whole in the end."""
        rig = self.rig(backoffs=1)
        upload = self.asks(rig, post(b"x" * 100, method=b"PUT")[:-50])
        rig.accept().reset()
        self.assertTrue(upload.unread)
        upload.send(b"x" * 50)
        rig.wait(0.25)
        backend = rig.accept()
        rig.turn()
        self.assertTrue(backend.received().endswith(b"\r\n\r\n" + b"x" * 100))
        backend.send(OK)
        self.assertEqual(status(upload.received()), 200)

    def test_an_upload_that_is_no_longer_at_hand_is_not_repeated(self) -> None:
        """502 at once, and counted."""
        rig = self.rig(PAIR, backoffs=2, replay_limit=10)
        upload = self.asks(rig, post(b"x" * 100, method=b"PUT"))
        rig.accept().reset()
        self.assertEqual((status(upload.received()), rig.connects, rig.counters.replays_lost), (502, [], 1))

    def test_a_status_is_passed_on_without_one(self) -> None:
        """It is an answer after all."""
        rig = self.rig(backoffs=2, retry_on=("503",))
        client = self.asks(rig)
        rig.accept().send(BUSY)
        self.assertTrue(client.received().endswith(b"busy"))
