"""Promises about the time-outs of an attempt and of a whole exchange."""

from __future__ import annotations

from lbproxy.proxy.waits import Waits

from ..support import GET, OK, Rig, post, status, values
from .waiting import LONG, ONE, PAIR, SMALL, SWITCHING, TWO, UPGRADE, WaitsCase


def watched(rig: Rig) -> int:
    """How many exchanges' deadlines are watched."""
    return sum(isinstance(one, Waits) for one in rig.balancer.sweep.watched)


class AnAttempt(WaitsCase):
    """It may take so long, from its beginning to its response's head."""

    def test_while_it_connects(self) -> None:
        """Nothing was sent: anybody's request goes to the next backend, and this one is down, as after a connect time-out."""
        rig = self.rig(PAIR, attempt_timeout=1, connect_timeout=30)
        client = self.asks(rig, post(b"order"))
        connect = rig.connect()
        rig.wait(1.5)
        self.assertTrue(connect.cancelled)
        self.assertEqual((rig.member(ONE).up, self.addresses(rig)), (False, [TWO]))
        self.assertIn("attempt-timeout: no connection within the 1 s", rig.member(ONE).reason)
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_while_it_connects_it_is_a_matter_of_connecting(self) -> None:
        """By the words of --retry-on."""
        for words, tried in ((("connect",), [TWO]), (("timeout", "reset"), [])):
            rig = self.rig(PAIR, attempt_timeout=1, connect_timeout=30, retry_on=words)
            self.asks(rig)
            rig.connect()
            rig.wait(1.5)
            self.assertEqual(self.addresses(rig), tried)

    def test_after_it_was_sent(self) -> None:
        """GET goes to the next one, in the budget; the connection is aborted, and the backend is not down for one slow answer."""
        rig = self.rig(PAIR, attempt_timeout=1)
        client = self.asks(rig)
        slow = rig.accept()
        rig.wait(1.5)
        self.assertEqual((slow.aborted, rig.member(ONE).up, self.addresses(rig)), (True, True, [TWO]))
        self.assertEqual((rig.balancer.budget.active, rig.member(ONE).failures), (1, 1))
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_post_is_not_repeated(self) -> None:
        """504."""
        rig = self.rig(PAIR, attempt_timeout=1)
        client = self.asks(rig, post(b"order"))
        slow = rig.accept()
        rig.wait(1.5)
        self.assertEqual((status(client.received()), rig.counters.ends), (504, {"attempt-timeout": 1}))
        self.assertEqual((slow.aborted, rig.connects), (True, []))

    def test_each_has_the_whole_of_it(self) -> None:
        """The time of the one before is not taken off."""
        rig = self.rig(PAIR, attempt_timeout=2)
        client = self.asks(rig)
        rig.accept()
        rig.wait(2.5)
        second = rig.accept()
        rig.wait(1)
        second.send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_all_of_them_take_too_long(self) -> None:
        """504, without a back-off."""
        rig = self.rig(PAIR, attempt_timeout=1, backoffs=2)
        client = self.asks(rig)
        for _ in range(2):
            rig.accept()
            rig.wait(1.5)
        self.assertEqual((status(client.received()), rig.counters.ends), (504, {"attempt-timeout": 1}))

    def test_a_bug_leaves_no_connection(self) -> None:
        """Whatever goes wrong in what follows."""
        rig = self.rig(PAIR, attempt_timeout=1)
        client = self.asks(rig)
        slow = rig.accept()

        def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        self.patch(rig.balancer.upstreams, "connect", broken)
        rig.wait(1.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((slow.aborted, client.aborted), (True, True))


class AnExchange(WaitsCase):
    """It may take so long in all, to its response's head."""

    def test_over_its_attempts(self) -> None:
        """504 whatever the attempts might still do; their connections are aborted."""
        rig = self.rig(PAIR, attempt_timeout=2, exchange_timeout=3)
        client = self.asks(rig)
        first = rig.accept()
        rig.wait(2.5)
        second = rig.accept()
        rig.wait(1)
        answer = client.received()
        self.assertEqual((status(answer), rig.counters.ends), (504, {"exchange-timeout": 1}))
        self.assertIn(b"within 3 seconds", answer)
        self.assertEqual((first.aborted, second.aborted, values(answer, b"retry-after")), (True, True, []))

    def test_while_it_connects(self) -> None:
        """The connection is wanted no more, and its backend not blamed."""
        rig = self.rig(exchange_timeout=1, connect_timeout=30)
        client = self.asks(rig)
        connect = rig.connect()
        rig.wait(1.5)
        self.assertEqual((status(client.received()), connect.cancelled, rig.member().up), (504, True, True))

    def test_in_the_line(self) -> None:
        """Even where the line would have it wait longer."""
        rig = self.rig(SMALL, exchange_timeout=2)
        self.asks(rig)
        rig.accept().send(LONG)
        client = self.asks(rig)
        rig.wait(2.5)
        self.assertEqual((status(client.received()), rig.counters.ends), (504, {"exchange-timeout": 1}))
        self.assertEqual(self.line(rig), 0)

    def test_in_a_back_off(self) -> None:
        """It waits no longer than that."""

        class Longest:
            def random(self) -> float:
                return 1.0

        rig = self.rig(exchange_timeout=0.1, backoffs=9)
        rig.balancer.random = Longest()  # type: ignore[assignment]
        client = self.asks(rig)
        rig.refuse(4)
        for _ in range(40):
            self.wait(rig, 0.005)
            for _ in rig.connects:
                rig.refuse()
        self.assertEqual((status(client.received()), rig.counters.ends), (504, {"exchange-timeout": 1}))

    def test_a_bug_in_the_answer_leaves_no_client_waiting(self) -> None:
        """It is logged, and the client dropped."""
        rig = self.rig(exchange_timeout=1)
        client = self.asks(rig)
        rig.accept()

        def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        self.patch(client, "write", broken)
        rig.wait(1.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(client.aborted)


class Responses(WaitsCase):
    """What has begun is not cut by either."""

    def test_a_response_that_has_begun_goes_on(self) -> None:
        """However long it takes."""
        rig = self.rig(attempt_timeout=1, exchange_timeout=2)
        client = self.asks(rig)
        backend = rig.accept()
        backend.send(LONG)
        self.assertEqual(watched(rig), 0)
        rig.wait(5)
        backend.send(b"ended")
        self.assertTrue(client.received().endswith(b"begunended"))
        self.assertEqual(rig.counters.ends, {"done": 1})

    def test_a_tunnel_goes_on(self) -> None:
        """However long it lasts."""
        rig = self.rig(attempt_timeout=1, exchange_timeout=2)
        client = self.asks(rig, UPGRADE)
        backend = rig.accept()
        backend.send(SWITCHING)
        rig.wait(5)
        backend.send(b"hello")
        self.assertTrue(client.received().endswith(b"hello"))

    def test_an_interim_response_is_no_response(self) -> None:
        """It buys no time."""
        rig = self.rig(attempt_timeout=1)
        client = self.asks(rig)
        rig.accept().send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        rig.wait(1.5)
        self.assertIn(b"504 Gateway Timeout", client.received())

    def test_nothing_is_watched_when_it_is_over(self) -> None:
        """On a connection that is kept."""
        rig = self.rig(attempt_timeout=1, exchange_timeout=2)
        client, backend = rig.kept_alive()
        self.assertEqual((watched(rig), rig.balancer.waits), (0, set()))
        for _ in range(3):
            client.send(GET)
            self.assertEqual(watched(rig), 1)
            backend.send(OK)
            self.assertEqual((watched(rig), rig.balancer.waits), (0, set()))
