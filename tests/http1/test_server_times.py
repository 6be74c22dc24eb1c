"""Promises about time on the server side: heads and bodies that drip, clients that do not read, ends that linger."""

from __future__ import annotations

from lbproxy.http1.connection import LINGER, LINGER_IN_ALL
from lbproxy.settings import Settings

from ..support import GET, OK, Peer, post, status
from .support import IDLE, ServerCase

KIB = 1024
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx"


class Heads(ServerCase):
    """A head has its time, however it comes."""

    def test_a_head_that_drips_gets_408(self) -> None:
        """Ten seconds from its first byte, whatever else comes in them."""
        self.client.send(b"GET / HTTP/1.1\r\n")
        for _ in range(9):
            self.client.send(b"X: y\r\n")
            self.wait(1)
        self.assertEqual(self.client.received(), b"")
        self.client.send(b"X: y\r\n")
        self.wait(2)
        self.assertEqual((status(self.client.received()), self.counters.timed_out), (408, {"head": 1}))
        self.assertEqual(self.exchanges, [])

    def test_a_kept_connection_may_think_before_its_next_head(self) -> None:
        """The head's time does not begin with the connection, nor with the last response."""
        self.maker.answer = OK
        self.client.send(GET)
        self.wait(IDLE * 0.7)
        self.client.send(GET[:5])
        self.wait(9)
        self.client.send(GET[5:])
        self.assertEqual((len(self.exchanges), self.counters.timed_out), (2, {}))

    def test_nothing_is_said_where_nothing_was_begun(self) -> None:
        """An idle connection ends in silence."""
        self.wait(IDLE + 2)
        self.assertEqual((self.client.received(), self.counters.timed_out), (b"", {"idle": 1}))


class Bodies(ServerCase):
    """A body has a least rate, not a total time."""

    def begin(self, length: int = 10_000 * KIB) -> None:
        self.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)

    def test_a_slow_line_may_take_as_long_as_it_needs(self) -> None:
        """At 2 KiB a second, ten minutes are no reason to cut an upload."""
        self.begin()
        for _ in range(600):
            self.client.send(b"x" * 2 * KIB)
            self.wait(1)
        self.assertEqual((self.exchange.end, self.counters.timed_out), ("", {}))

    def test_a_body_that_drips_gets_408(self) -> None:
        """A byte a second is no upload: it has ten seconds, and what its bytes have earned."""
        self.begin()
        for _ in range(12):
            self.client.send(b"x")
            self.wait(1)
        self.assertEqual((status(self.client.received()), self.exchange.end), (408, "client-timeout"))
        self.assertEqual(self.counters.timed_out, {"body": 1})

    def test_what_was_sent_ahead_is_earned_but_not_for_ever(self) -> None:
        """After a burst a client may be silent for the idle time, not for the hours that the burst would pay for."""
        self.begin()
        self.client.send(b"x" * 5000 * KIB)
        self.wait(IDLE - 2)
        self.assertEqual(self.exchange.end, "")
        self.wait(4)
        self.assertEqual(self.exchange.end, "client-timeout")

    def test_time_during_which_the_backend_takes_nothing_is_not_the_clients(self) -> None:
        """A slow backend does not make a client late; when it takes more, the client has its ten seconds again."""
        self.begin()
        self.exchange.downstream.pause_body()
        self.wait(200)
        self.exchange.downstream.resume_body()
        self.wait(8)
        self.assertEqual(self.exchange.end, "")
        self.wait(4)
        self.assertEqual(self.exchange.end, "client-timeout")


class BodiesAtAnyRate(ServerCase):
    """With a rate of nought."""

    settings = Settings(body_rate=0)

    def test_only_silence_ends_them(self) -> None:
        """A byte a minute, if that is what it takes."""
        self.client.send(post(b"x" * 10)[:-10])
        for _ in range(9):
            self.wait(IDLE - 5)
            self.client.send(b"x")
        self.assertEqual(self.exchange.end, "")
        self.wait(IDLE + 2)
        self.assertEqual(self.exchange.end, "client-timeout")


class Readers(ServerCase):
    """A client that reads slowly is not one that does not read."""

    def stalled(self) -> Peer:
        """A client that has read a part of a response, and whose connection is full."""
        self.client.send(GET)
        self.exchange.respond(LARGE, complete=False)
        self.client.unsent = 100_000
        self.client.stop_reading()
        return self.client

    def test_one_that_takes_a_little_now_and_then_is_kept(self) -> None:
        """However little, within the time."""
        client = self.stalled()
        for _ in range(10):
            self.wait(50)
            client.unsent -= 1
        self.assertEqual((client.closed, self.exchange.end), (False, ""))

    def test_one_that_takes_nothing_is_dropped(self) -> None:
        """With a reset, and counted."""
        client = self.stalled()
        self.wait(62)
        self.assertEqual((client.aborted, self.exchange.end, self.counters.timed_out), (True, "client-timeout", {"write": 1}))

    def test_one_that_takes_no_more_is_dropped_later(self) -> None:
        """From its last byte on it has as long again."""
        client = self.stalled()
        self.wait(50)
        client.unsent -= 1
        self.wait(50)
        self.assertFalse(client.closed)
        self.wait(62)
        self.assertTrue(client.aborted)

    def test_the_same_for_the_last_bytes_of_a_connection_that_closes(self) -> None:
        """What is still to be sent is waited for as long as it goes."""
        self.client.send(GET[:-2] + b"Connection: close\r\n\r\n")
        self.client.unsent = 1000
        self.client.stop_reading()
        self.exchange.respond()
        self.wait(50)
        self.client.unsent = 900
        self.wait(50)
        self.assertFalse(self.client.aborted)
        self.wait(70)
        self.assertTrue(self.client.aborted)

    def test_pipelining_without_reading_is_not_reading(self) -> None:
        """Requests whose answers nobody takes end the connection too."""
        self.maker.answer = OK
        self.client.send(GET)
        self.client.stop_reading()
        self.client.send(GET * 2)
        self.assertEqual(len(self.exchanges), 1)
        self.wait(2 * IDLE)
        self.assertTrue(self.client.aborted)


class Lingering(ServerCase):
    """After an answer that ends a connection early."""

    def setUp(self) -> None:
        super().setUp()
        self.client.send(post(b"x" * 1000)[:-900])
        self.exchange.respond(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    def test_silence_ends_it_soon(self) -> None:
        """There is nothing more that could overtake the answer."""
        self.wait(LINGER - 1)
        self.assertFalse(self.client.closed)
        self.wait(2.5)
        self.assertTrue(self.client.closed)

    def test_an_answer_that_is_not_taken_yet_is_waited_for(self) -> None:
        """Though its client is silent meanwhile; but not for ever."""
        self.client.unsent = 100
        self.wait(3 * LINGER)
        self.assertFalse(self.client.closed)
        self.client.unsent = 0
        self.wait(LINGER + 1)
        self.assertTrue(self.client.closed)
        self.setUp()
        self.client.unsent = 100
        self.wait(LINGER_IN_ALL + 2)
        self.assertTrue(self.client.closed)

    def test_an_upload_that_goes_on_is_read_for_longer(self) -> None:
        """So that its client comes to read the answer; but not for ever."""
        for _ in range(int(LINGER_IN_ALL) - 2):
            self.client.send(b"x" * 1000)
            self.wait(1)
        self.assertFalse(self.client.closed)
        for _ in range(4):
            self.client.send(b"x" * 1000)
            self.wait(1)
        self.assertTrue(self.client.closed)
