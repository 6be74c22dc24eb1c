"""Promises about answers that are to be tried again elsewhere (``--retry-on 503``)."""

from __future__ import annotations

from typing import Any

from ..support import GET, OK, Rig, post, status
from .waiting import BUSY, LONG, ONE, PAIR, THREE, TWO, WaitsCase


class Statuses(WaitsCase):
    """Another backend may do better; where none can, the client gets the answer that there is."""

    def retrying(self, backends: str = PAIR, **settings: Any) -> Rig:
        return self.rig(backends, retry_on=("connect", "503"), **settings)

    def test_another_backend_is_asked(self) -> None:
        """The client sees only its answer."""
        rig = self.retrying()
        client = self.asks(rig)
        rig.accept().send(BUSY)
        self.assertEqual((client.received(), self.addresses(rig)), (b"", [TWO]))
        rig.accept().send(OK)
        self.assertEqual(client.received(), OK)
        (exchange,) = rig.ended
        self.assertEqual([attempt.why for attempt in exchange.attempts], ["", "status"])
        self.assertEqual((exchange.status, exchange.end, exchange.response_bytes), (200, "done", 2))
        self.assertEqual(rig.member(ONE).statuses, {503: 1})

    def test_other_statuses_are_not_tried_again(self) -> None:
        """502 is passed on where 503 is meant."""
        rig = self.retrying()
        client = self.asks(rig)
        rig.accept().send(BUSY.replace(b"503", b"502"))
        self.assertEqual((status(client.received()), rig.connects), (502, []))

    def test_any_of_400_to_599_can_be_meant(self) -> None:
        """Ours is the balancing, not the meaning."""
        for one in (b"429", b"404", b"599"):
            rig = self.rig(PAIR, retry_on=(one.decode(),))
            client = self.asks(rig)
            rig.accept().send(BUSY.replace(b"503", one))
            rig.accept().send(OK)
            self.assertEqual(status(client.received()), 200)

    def test_the_last_answer_is_passed_on(self) -> None:
        """When all are busy the client is told so by a backend, not by us."""
        rig = self.retrying(f"{PAIR},{THREE}", backoffs=2)
        client = self.asks(rig)
        for _ in range(2):
            rig.accept().send(BUSY)
        rig.accept().send(BUSY.replace(b"busy", b"last"))
        self.assertTrue(client.received().endswith(b"last"))
        self.assertEqual((rig.counters.ends, rig.connects), ({"done": 1}, []))

    def test_a_lone_backends_answer_is_passed_on(self) -> None:
        """At once."""
        rig = self.retrying(ONE)
        client = self.asks(rig)
        rig.accept().send(BUSY)
        self.assertTrue(client.received().endswith(b"busy"))

    def test_without_a_place_in_the_budget_it_is_passed_on(self) -> None:
        """An answer at hand is not waited over."""
        rig = self.retrying(retry_budget_least=0, retry_budget=0)
        client = self.asks(rig)
        rig.accept().send(BUSY)
        self.assertTrue(client.received().endswith(b"busy"))

    def test_post_is_not_sent_again(self) -> None:
        """It was answered; with an Idempotency-Key it may be."""
        rig = self.retrying()
        client = self.asks(rig, post(b"order"))
        rig.accept().send(BUSY)
        self.assertTrue(client.received().endswith(b"busy"))
        rig = self.retrying()
        self.asks(rig, post(b"order", b"Idempotency-Key: k"))
        rig.accept().send(BUSY)
        self.assertEqual(len(rig.connects), 1)
        self.assertTrue(rig.accept().received().endswith(b"\r\n\r\norder"))

    def test_a_body_that_is_not_at_hand_is_not_sent_again(self) -> None:
        """That is counted."""
        rig = self.retrying(replay_limit=10)
        client = self.asks(rig, post(b"x" * 100, method=b"PUT"))
        rig.accept().send(BUSY)
        self.assertTrue(client.received().endswith(b"busy"))
        self.assertEqual(rig.counters.replays_lost, 1)

    def test_an_early_answer_to_an_upload_is_tried_again(self) -> None:
        """With what has come of the body so far; the rest follows."""
        rig = self.retrying()
        client = self.asks(rig, post(b"hello", method=b"PUT")[:-2])
        first = rig.accept()
        first.send(BUSY)
        self.assertTrue(first.aborted)
        second = rig.accept()
        rig.turn()
        client.send(b"lo")
        self.assertTrue(second.received().endswith(b"\r\n\r\nhello"))
        second.send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_a_small_answers_connection_is_used_again(self) -> None:
        """It came whole."""
        rig = self.retrying()
        self.asks(rig)
        first = rig.accept()
        first.send(BUSY)
        self.assertEqual((first.closed, rig.balancer.upstreams.idle_count(ONE)), (False, 1))

    def test_a_longer_answers_connection_is_dropped(self) -> None:
        """Its rest is of no use; none of it reaches the client, in whatever framing it comes."""
        for begin, rest in (
            (LONG.replace(b"200 OK", b"503 Busy"), b"ended"),
            (b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", b"0\r\n\r\n"),
            (b"HTTP/1.1 503 Busy\r\n\r\nbegun", b"ended"),
        ):
            rig = self.retrying()
            client = self.asks(rig)
            first = rig.accept()
            first.send(begin)
            self.assertTrue(first.aborted)
            first.send(rest)
            rig.accept().send(OK)
            self.assertEqual(client.received(), OK)
            self.assertEqual(rig.balancer.upstreams.idle_count(ONE), 0)

    def test_trailers_that_came_with_it_are_none_of_ours(self) -> None:
        """The whole answer in one piece, with trailers, is the one that is told of in two steps."""
        rig = self.retrying()
        client = self.asks(rig)
        rig.accept().send(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\nX-Sum: 7\r\n\r\n")
        rig.accept().send(OK)
        self.assertEqual(client.received(), OK)

    def test_head_is_tried_again(self) -> None:
        """Its answer has no body."""
        rig = self.retrying()
        client = self.asks(rig, GET.replace(b"GET", b"HEAD"))
        rig.accept().send(BUSY[:-4])
        rig.accept().send(OK[:-2])
        self.assertEqual(status(client.received()), 200)

    def test_answers_without_a_body_are_passed_on(self) -> None:
        """204 and 304 are no failures."""
        for line in (b"204 No Content", b"304 Not Modified"):
            rig = self.retrying()
            client = self.asks(rig)
            rig.accept().send(b"HTTP/1.1 %b\r\n\r\n" % line)
            self.assertEqual((status(client.received()), rig.connects), (int(line[:3]), []))

    def test_it_counts_against_the_backend(self) -> None:
        """Three in a row take it out, although no client has seen them."""
        rig = self.retrying(upstream_idle=0)
        for _ in range(6):
            self.asks(rig)
            while rig.connects:
                connect = rig.connect()
                connect.accept().send(BUSY if connect.address == ONE else OK)
        self.assertFalse(rig.member(ONE).up)

    def test_none_is_no_retry_at_all(self) -> None:
        """A refused connection is 503 at once, and the backend down."""
        rig = self.rig(PAIR, retry_on=("none",))
        client = self.asks(rig)
        rig.refuse()
        self.assertEqual((status(client.received()), rig.connects, rig.member(ONE).up), (503, [], False))

    def test_without_connect_no_refusal_is_tried_again(self) -> None:
        """Each word for itself."""
        rig = self.rig(PAIR, retry_on=("reset",))
        client = self.asks(rig)
        rig.accept().reset()
        rig.refuse()
        self.assertEqual(status(client.received()), 503)

    def test_the_places_are_those_of_attempts(self) -> None:
        """At a limit of one each, the first one's is free for who waits, before the second has answered."""
        rig = self.retrying(f"{ONE}:max-in-flight=1,{TWO}:max-in-flight=1")
        first = self.asks(rig)
        backend = rig.accept()
        other = self.asks(rig)
        rig.accept().send(OK)
        self.assertEqual(status(other.received()), 200)
        backend.received()
        backend.send(BUSY)
        self.assertEqual((rig.member(ONE).in_flight, rig.member(TWO).in_flight), (0, 1))
        self.assertEqual(first.received(), b"")
