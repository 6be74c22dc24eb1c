"""Promises about what else HTTP/1.1 allows on the server side: half-closing, interim responses, trailers, upgrades, limits."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface.verify import verifyObject

from lbproxy.http1.server import PIPELINE_LIMIT
from lbproxy.settings import Settings

from ..support import GET, OK, post, response, status, values
from .support import ServerCase

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
ASKS = post(b"hello", b"Expect: 100-continue")[:-5]
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\n"


class HalfClosing(ServerCase):
    """A client that ends its sending still reads (RFC 9112 section 9.6)."""

    def test_what_it_asked_for_is_answered(self) -> None:
        """And the connection ends with the answer, which says so."""
        self.client.send(GET)
        self.client.half_close()
        self.assertEqual(self.exchange.end, "")
        self.exchange.respond()
        answer = self.client.received()
        self.assertEqual((status(answer), values(answer, b"Connection"), self.client.closed), (200, [b"close"], True))

    def test_all_that_was_pipelined_is_answered(self) -> None:
        """In order, and only the last answer says that the connection ends."""
        self.client.send(GET * 3)
        self.client.half_close()
        for expected in ([], [], [b"close"]):
            self.assertFalse(self.client.closed)
            self.exchange.respond()
            self.assertEqual(values(self.client.received(), b"Connection"), expected)
        self.assertTrue(self.client.closed)

    def test_half_a_request_behind_others_is_dropped(self) -> None:
        """Its other half will never come."""
        self.client.send(GET + GET[:-2])
        self.client.half_close()
        self.exchange.respond()
        self.assertEqual((len(self.exchanges), self.client.closed), (1, True))

    def test_a_body_that_is_cut_short_ends_the_exchange(self) -> None:
        """A request that can never be whole is not finished as if it were."""
        self.client.send(post(b"hello")[:-2])
        self.client.half_close()
        self.assertEqual((self.exchange.end, self.exchange.ended, self.client.aborted), ("client-left", False, True))

    def test_an_idle_connection_is_closed(self) -> None:
        """Nothing more can come of it."""
        self.client.half_close()
        self.assertTrue(self.client.closed)

    def test_a_body_behind_others_that_is_cut_short_is_dropped(self) -> None:
        """Its rest is not waited for, and nothing of it is forwarded."""
        self.client.send(GET + post(b"hello")[:-2])
        self.client.half_close()
        self.exchange.respond()
        self.assertEqual((len(self.exchanges), self.client.closed), (1, True))

    def test_a_long_answer_goes_on_to_its_end(self) -> None:
        """However long after."""
        self.client.send(GET)
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na", complete=False)
        self.client.half_close()
        self.wait(300)
        self.exchange.finish(b"b")
        self.assertTrue(self.client.received().endswith(b"1\r\nb\r\n0\r\n\r\n"))
        self.assertTrue(self.client.closed)

    def test_one_that_is_gone_is_found_out_by_writing(self) -> None:
        """It looks the same until something is written to it."""
        self.client.send(GET)
        self.client.hang_up()
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na", complete=False)
        self.clock.advance(0)
        self.assertEqual((self.exchange.end, self.counters.open), ("client-left", 0))

    def test_an_answer_that_ends_a_half_closed_connection_does_not_linger(self) -> None:
        """There is nothing left that could come."""
        self.client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.client.half_close()
        self.assertEqual((status(self.client.received()), self.client.closed), (400, True))

    def test_what_waits_for_its_reader_is_not_dropped(self) -> None:
        """A client may end its sending before it has read its first answer."""
        self.maker.answer = OK
        self.client.send(GET)
        self.client.stop_reading()
        self.client.send(GET * 2)
        self.client.half_close()
        self.assertFalse(self.client.ended)
        self.client.read_on()
        self.clock.advance(0)
        self.assertEqual((len(self.exchanges), self.client.received().count(b"HTTP/1.1 200 OK")), (3, 3))
        self.clock.advance(0)
        self.assertTrue(self.client.closed)

    def test_the_connection_says_that_it_knows_of_it(self) -> None:
        """To the wire and to Twisted's transports."""
        verifyObject(IHalfCloseableProtocol, next(iter(self.factory.connections)))


class LastAnswers(ServerCase):
    """An answer after which the connection ends reaches its client (RFC 9112 section 9.6)."""

    def ended(self, *data: bytes) -> tuple[bool, bool]:
        """Whether the connection has been half-closed, and whether it has been closed, after the last answer."""
        client = self.connect()
        client.send(*data)
        self.exchange.respond()
        return client.half_closed, client.closed

    def test_a_client_that_wants_the_end_and_says_no_more_is_let_go(self) -> None:
        """Nothing more can come of it that a reset would answer."""
        self.assertEqual(self.ended(GET[:-2] + b"Connection: close\r\n\r\n"), (False, True))

    def test_one_that_has_said_more_is_read_to_its_end(self) -> None:
        """Closing with bytes unread is a reset, which would overtake the answer."""
        self.assertEqual(self.ended(GET[:-2] + b"Connection: close\r\n\r\n", GET), (True, False))

    def test_so_is_one_that_does_not_know_of_the_end_yet(self) -> None:
        """It may be sending its next request just now."""
        self.factory.draining = True
        self.assertEqual(self.ended(GET), (True, False))


class HalfClosingIsLeaving(ServerCase):
    """By option."""

    settings = Settings(abort_on_close=True)

    def test_the_exchange_is_ended(self) -> None:
        """For operators who would rather save the work."""
        self.client.send(GET)
        self.client.half_close()
        self.assertEqual((self.exchange.end, self.client.aborted), ("client-left", True))


class Interim(ServerCase):
    """1xx responses."""

    def inform(self, data: bytes) -> None:
        self.exchange.downstream.inform(response(data))

    def test_the_body_is_asked_for_when_the_backend_asks(self) -> None:
        """And not before."""
        self.client.send(ASKS)
        self.assertEqual(self.client.received(), b"")
        self.inform(CONTINUE)
        self.assertEqual(self.client.received(), CONTINUE)
        self.client.send(b"hello")
        self.assertEqual((self.client.received(), self.exchange.ended), (b"", True))

    def test_an_answer_instead_ends_the_connection(self) -> None:
        """Nobody knows whether the body will come, so nothing after it can be read."""
        self.client.send(ASKS)
        self.exchange.respond(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        answer = self.client.received()
        self.assertEqual((status(answer), values(answer, b"Connection"), self.client.half_closed), (401, [b"close"], True))

    def test_a_client_that_waits_to_be_asked_is_not_late(self) -> None:
        """Its time begins when it is asked."""
        self.client.send(ASKS)
        self.wait(30)
        self.assertEqual(self.exchange.end, "")
        self.inform(CONTINUE)
        self.wait(8)
        self.assertEqual(self.exchange.end, "")
        self.wait(4)
        self.assertEqual(self.exchange.end, "client-timeout")

    def test_nor_after_its_backend_was_connected_to(self) -> None:
        """While a connection is made, reading is paused; that it goes on is no invitation."""
        self.client.send(ASKS)
        self.exchange.downstream.pause_body()
        self.exchange.downstream.resume_body()
        self.wait(30)
        self.assertEqual(self.exchange.end, "")

    def test_a_client_that_does_not_wait_for_it_sends_at_its_rate(self) -> None:
        """Its time begins with its first byte."""
        self.client.send(ASKS)
        self.wait(30)
        self.client.send(b"h")
        self.wait(70)
        self.assertEqual(self.exchange.end, "client-timeout")

    def test_others_are_passed_on_with_their_fields(self) -> None:
        """Early hints above all."""
        self.client.send(GET)
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        self.inform(hints)
        self.assertEqual(self.client.received(), hints)
        self.exchange.respond()
        self.assertEqual(self.client.received(), OK)

    def test_http_1_0_knows_none(self) -> None:
        """It would take one for the answer."""
        self.client.send(b"GET / HTTP/1.0\r\n\r\n")
        self.inform(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        self.exchange.respond()
        self.assertEqual(status(self.client.received()), 200)

    def test_none_after_the_answer_began(self) -> None:
        """It would stand in its midst."""
        self.client.send(GET)
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", complete=False)
        self.client.received()
        self.inform(CONTINUE)
        self.assertEqual(self.client.received(), b"")


class Trailers(ServerCase):
    """Fields after a body."""

    def test_of_a_request(self) -> None:
        """They reach the exchange."""
        self.client.send(CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual((self.exchange.body, self.exchange.trailers), (b"hello", b"X-Sum: 1\r\n"))

    def test_of_a_response(self) -> None:
        """They reach a client that gets chunks."""
        self.client.send(GET)
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na", complete=False)
        self.exchange.downstream.finish(b"X-Sum: 1\r\n")
        self.assertTrue(self.client.received().endswith(b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"))

    def test_not_where_there_is_no_place_for_them(self) -> None:
        """HTTP/1.0 has no chunks."""
        self.client.send(b"GET / HTTP/1.0\r\n\r\n")
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na", complete=False)
        self.exchange.downstream.finish(b"X-Sum: 1\r\n")
        self.assertTrue(self.client.received().endswith(b"\r\n\r\na"))


class FakeEnd:
    """Hears of a tunnel's client."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.heard: list[Any] = []

    def data(self, data: bytes) -> None:
        self.heard.append(data)

    def half_closed(self) -> None:
        self.heard.append("half-closed")

    def lost(self, reason: Any) -> None:
        self.heard.append("lost")

    def pause(self) -> None:
        self.heard.append("pause")

    def resume(self) -> None:
        self.heard.append("resume")

    def drop(self, end: str) -> None:
        self.heard.append(end)


class Tunnels(ServerCase):
    """From a 101 on the connection is no longer ours to understand."""

    def switch(self, *ahead: bytes) -> FakeEnd:
        self.client.send(UPGRADE, *ahead)
        end = FakeEnd()
        self.exchange.downstream.switch(response(SWITCHING), b"from the backend", end)
        return end

    def test_the_101_goes_on(self) -> None:
        """With its fields and the first bytes behind it."""
        self.switch()
        answer = self.client.received()
        self.assertEqual((status(answer), values(answer, b"Upgrade"), values(answer, b"X")), (101, [b"websocket"], [b"y"]))
        self.assertEqual(values(answer, b"Connection"), [b"Upgrade"])
        self.assertTrue(answer.endswith(b"\r\n\r\nfrom the backend"))

    def test_bytes_are_bytes(self) -> None:
        """Whatever they look like, and those first that the client sent ahead."""
        end = self.switch(b"ahead")
        self.client.send(GET, b"\0")
        self.assertEqual((end.heard, len(self.exchanges)), ([b"ahead", GET, b"\0"], 1))

    def test_what_was_sent_far_ahead_is_read_on(self) -> None:
        """Although it had been paused."""
        end = self.switch(b"x" * 70_000)
        self.assertEqual((end.heard, self.client.unread), ([b"x" * 70_000], False))

    def test_a_half_close_is_passed_on(self) -> None:
        """It ends nothing by itself."""
        end = self.switch()
        self.client.half_close()
        self.assertEqual((end.heard, self.client.closed), (["half-closed"], False))

    def test_a_half_close_before_the_101_too(self) -> None:
        """It is told when there is somebody to tell."""
        self.client.send(UPGRADE)
        self.client.half_close()
        end = FakeEnd()
        self.exchange.downstream.switch(response(SWITCHING), b"", end)
        self.assertEqual(end.heard, ["half-closed"])

    def test_a_client_that_does_not_read_is_told_of(self) -> None:
        """And when it reads again."""
        end = self.switch()
        self.client.stop_reading()
        self.client.read_on()
        self.assertEqual(end.heard, ["pause", "resume"])

    def test_the_end_is_told(self) -> None:
        """Once, and the connection is counted off."""
        end = self.switch()
        self.client.reset()
        self.assertEqual((end.heard, self.counters.open), (["lost"], 0))

    def test_silence_is_the_tunnels_affair(self) -> None:
        """The connection's own deadlines have ended."""
        end = self.switch()
        self.wait(2000)
        self.assertEqual((end.heard, self.client.closed), ([], False))

    def test_it_is_dropped_as_a_whole(self) -> None:
        """Both ends of it."""
        end = self.switch()
        next(iter(self.factory.connections)).drop()
        self.assertEqual(end.heard, ["drain"])

    def test_it_is_not_idle(self) -> None:
        """So a drain leaves it its time."""
        self.switch()
        next(iter(self.factory.connections)).close_if_idle()
        self.assertFalse(self.client.closed)


class Limits(ServerCase):
    """What a client may ask for on one connection."""

    settings = Settings(connection_requests=3, body_limit=10)

    def test_a_connection_has_a_last_request(self) -> None:
        """Its answer says so, and it is counted."""
        self.maker.answer = OK
        for expected in ([], [], [b"close"]):
            self.client.send(GET)
            self.assertEqual(values(self.client.received(), b"Connection"), expected)
        self.assertEqual((self.client.ended, self.counters.limited), (True, {"requests": 1}))

    def test_what_is_pipelined_behind_the_last_request_is_not_begun(self) -> None:
        """Its client has been told that the connection ends, and asks elsewhere."""
        self.maker.answer = OK
        self.client.send(GET * 5)
        self.assertEqual(len(self.exchanges), 3)

    def test_a_body_that_says_that_it_is_too_large_is_refused_at_once(self) -> None:
        """413, nothing forwarded, counted by cause."""
        self.client.send(post(b"x" * 11)[:-11])
        self.assertEqual((status(self.client.received()), self.exchanges), (413, []))
        self.assertEqual((self.counters.rejected, self.client.half_closed), ({"body-size": 1}, True))

    def test_a_body_in_chunks_is_refused_when_it_grows_too_large(self) -> None:
        """The exchange that runs is ended, before the chunk that is too much has come."""
        self.client.send(CHUNKED + b"8\r\n12345678\r\n")
        self.client.send(b"3\r\n")
        self.assertEqual((status(self.client.received()), self.exchange.end), (413, "too-large"))
        self.assertEqual(self.counters.rejected, {"body-size": 1})

    def test_a_body_of_just_that_size_is_taken(self) -> None:
        """Sized or in chunks."""
        for data in (post(b"x" * 10), CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n"):
            self.client.send(data)
            self.assertEqual(len(self.exchange.body), 10)
            self.exchange.respond()

    def test_dropped_fields_are_counted(self) -> None:
        """Those whose names have underscores."""
        self.client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\nA_B: 1\r\n\r\n")
        self.assertEqual(self.counters.fields_dropped, 2)

    def test_dropping_ends_whatever_runs(self) -> None:
        """An exchange ends with the word for it, an idle connection without a word."""
        self.client.send(GET)
        next(iter(self.factory.connections)).drop()
        self.assertEqual((self.exchange.end, self.client.aborted), ("drain", True))
        idle = self.connect()
        next(connection for connection in self.factory.connections if connection.transport is idle).drop()
        self.assertTrue(idle.aborted)


class LargeHeads(ServerCase):
    """Heads that are larger than what may wait for its turn."""

    settings = Settings(head_limit=4 * PIPELINE_LIMIT)

    def test_one_that_was_pipelined_is_read_to_its_end(self) -> None:
        """Once its turn has come, it is no longer what has to wait."""
        head = GET[:-2] + b"X: %b\r\n\r\n" % (b"y" * 3 * PIPELINE_LIMIT)
        self.client.at_once = PIPELINE_LIMIT
        self.client.send(GET + head)
        self.exchange.respond()
        self.clock.advance(0)
        self.assertEqual((len(self.exchanges), self.client.unread), (2, False))
