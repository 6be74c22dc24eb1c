"""Promises about the server side of HTTP/1.1, in memory, with exchanges that the test answers."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from lbproxy.http1.body import LAST_CHUNK
from lbproxy.http1.connection import LINGER
from lbproxy.http1.server import PIPELINE_LIMIT
from lbproxy.interfaces import IDownstream
from lbproxy.wire import READ_SIZE

from ..corpus.requests import REFUSED
from ..support import GET, OK, post, split, status, unchunk, values
from .support import IDLE, ServerCase


class Heads(ServerCase):
    """From bytes to exchanges."""

    def test_a_request_becomes_an_exchange(self) -> None:
        """Its head is read, and the client is known by its address."""
        self.client.send(b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((self.exchange.head.target, self.exchange.client), (b"/a?b", ("192.0.2.7", False)))
        self.assertTrue(self.exchange.forwarded)

    def test_the_connection_is_what_exchanges_answer_to(self) -> None:
        """It provides what exchanges ask of a client's side."""
        self.client.send(GET)
        verifyObject(IDownstream, self.exchange.downstream)

    def test_a_head_may_come_byte_by_byte(self) -> None:
        """However it is cut, it is one request."""
        for data in (post(b"hello"), GET):
            self.client.send(*[data[place : place + 1] for place in range(len(data))])
            self.exchange.respond()
        self.assertEqual([(one.head.method, one.body) for one in self.exchanges], [(b"POST", b"hello"), (b"GET", b"")])

    def test_half_a_head_waits_for_the_other(self) -> None:
        """Nothing is forwarded before a head is whole."""
        for cut in (1, 10, len(GET) - 3, len(GET) - 1):
            self.client.send(GET[:cut])
            before = len(self.exchanges)
            self.client.send(GET[cut:])
            self.assertEqual((before, len(self.exchanges)), (0, 1))
            self.setUp()

    def test_what_can_be_no_head_is_not_waited_for(self) -> None:
        """TLS on a plain port, lines that end with LF alone, another protocol: 400 at once, also in pieces."""
        for data in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\nHost: a\n\n", b"get / HTTP/1.1\r\n", b"\x00", b"\r\nssh"):
            for pieces in ([data], [data[place : place + 1] for place in range(len(data))]):
                client = self.connect()
                client.send(*pieces)
                self.assertEqual((status(client.received()), client.half_closed), (400, True), data)

    def test_half_a_head_then_the_rest_and_a_body(self) -> None:
        """What was held of a head is not taken for a body."""
        data = post(b"hello")
        self.client.send(data[:20], data[20:-2], data[-2:])
        self.assertEqual((self.exchange.body, self.exchange.ended), (b"hello", True))
        self.exchange.respond()
        self.client.send(GET)
        self.assertEqual(len(self.exchanges), 2)

    def test_empty_lines_before_a_request_are_ignored(self) -> None:
        """As some old clients send after a body."""
        self.client.send(b"\r\n", b"\r", b"\n", b"\r\n" + GET)
        self.assertEqual(len(self.exchanges), 1)

    def test_what_is_malformed_is_answered_and_never_forwarded(self) -> None:
        """Every request of the corpus gets its status, a closing answer, and no exchange, also byte by byte."""
        wrong = []
        for name, data, expected in REFUSED:
            for pieces in ([data], [data[place : place + 97] for place in range(0, len(data), 97)]):
                client = self.connect()
                client.send(*pieces)
                answer = client.received()
                if b"\r\n\r\n" not in data:
                    continue
                if (status(answer), values(answer, b"Connection"), self.exchanges) != (expected, [b"close"], []):
                    wrong.append((name, answer[:60], len(self.exchanges)))
                    self.exchanges.clear()
        self.assertEqual(wrong, [])

    def test_what_follows_a_malformed_request_is_thrown_away(self) -> None:
        """Nothing after it can be trusted: one answer, and the end."""
        self.client.send(b"GET / HTTP/1.1\r\n\r\n" + GET, GET)
        self.assertEqual((self.client.received().count(b"HTTP/1.1 400"), self.exchanges), (1, []))
        self.assertTrue(self.client.half_closed)

    def test_what_is_refused_is_counted_by_cause(self) -> None:
        """An operator sees what is turned away at the door, and why."""
        self.client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.connect().send(b"GET / HTTP/3.1\r\nHost: a\r\n\r\n")
        self.assertEqual(self.counters.rejected, {"host": 1, "version": 1})

    def test_a_head_without_an_end_is_refused_at_the_limit(self) -> None:
        """A client cannot make us hold more than a head's size."""
        self.client.send(b"GET / HTTP/1.1\r\nX: ", *[b"a" * 1000] * 17)
        self.assertEqual(status(self.client.received()), 431)

    def test_an_error_shows_no_markup_of_the_clients(self) -> None:
        """The answer is plain text with a length."""
        self.client.send(b"GET / HTTP/1.1\r\nHost: <script>\r\n\r\n")
        answer = self.client.received()
        self.assertTrue(values(answer, b"Content-Type")[0].startswith(b"text/plain"))
        self.assertEqual(int(values(answer, b"Content-Length")[0]), len(split(answer)[2]))


class Order(ServerCase):
    """Pipelined requests."""

    def test_a_pair_keeps_its_order(self) -> None:
        """The second is not begun before the first is answered, so that answers cannot overtake each other."""
        self.client.send(GET + GET.replace(b"/ ", b"/2 "))
        self.assertEqual([one.head.target for one in self.exchanges], [b"/"])
        self.exchange.respond(OK)
        self.assertEqual([one.head.target for one in self.exchanges], [b"/", b"/2"])
        self.exchange.respond(OK.replace(b"ok", b"no"))
        self.assertEqual([part[-2:] for part in self.client.received().split(b"HTTP/1.1 ")[1:]], [b"ok", b"no"])

    def test_one_after_a_body_is_no_part_of_it(self) -> None:
        """Sized or chunked, the next request begins where the body ends."""
        for data in (post(b"hello"), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):
            self.setUp()
            self.client.send(data + GET)
            self.assertEqual((self.exchange.body, self.exchange.ended), (b"hello", True))
            self.exchange.respond()
            self.assertEqual([one.head.method for one in self.exchanges], [b"POST", b"GET"])

    def test_many_answered_at_once_need_no_stack(self) -> None:
        """A thousand requests in one piece, answered without waiting, are a thousand answers."""
        self.maker.answer = OK
        self.client.send(GET * 1000)
        self.assertEqual(self.client.received().count(b"HTTP/1.1 200"), 1000)

    def test_what_is_pipelined_is_bounded(self) -> None:
        """A client that goes on sending while its first request runs is read no further, until its turn comes."""
        self.client.send(GET)
        for _ in range(10 + PIPELINE_LIMIT // len(GET) // 100):
            self.client.send(GET * 100)
        self.assertTrue(self.client.unread)
        self.exchange.respond()
        self.clock.advance(0)
        self.assertEqual(len(self.exchanges), 2)

    def test_it_stays_so_however_many_are_answered(self) -> None:
        """Each answer lets it send about as much as has been taken, not more."""
        self.client.at_once = READ_SIZE
        self.client.send(GET * 30_000)
        for _ in range(50):
            self.exchange.respond()
            self.clock.advance(0)
        connection = next(iter(self.factory.connections))
        self.assertLess(len(connection._buffer), 2 * PIPELINE_LIMIT + READ_SIZE)
        self.assertEqual(len(self.exchanges), 51)

    def test_no_further_request_is_begun_for_a_client_that_does_not_read(self) -> None:
        """Answers do not heap up in memory for a client that pipelines requests and reads nothing."""
        self.maker.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000
        self.client.send(GET)
        self.client.stop_reading()
        self.client.send(GET * 100)
        self.assertEqual(len(self.exchanges), 1)
        self.client.read_on()
        self.clock.advance(0)
        self.assertGreater(len(self.exchanges), 1)

    def test_a_response_that_begins_while_the_client_does_not_read_is_paused(self) -> None:
        """Where a request was begun all the same, its response waits at the backend."""
        self.client.send(GET)
        self.exchange.respond(OK)
        self.client.stop_reading()
        self.client.send(GET)
        if len(self.exchanges) == 2:
            self.exchange.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", complete=False)
            self.assertEqual(self.exchange.heard, ["pause"])


class Keeping(ServerCase):
    """Whether the connection stays open after a response."""

    def answered(self, data: bytes, answer: bytes = OK) -> tuple[bytes, bool]:
        """What a client gets for *data*, and whether its connection is kept."""
        client = self.connect()
        client.send(data)
        self.exchange.respond(answer)
        return client.received(), not client.ended

    def test_1_1_is_kept_without_a_word(self) -> None:
        """No Connection field is needed, and none is sent."""
        answer, kept = self.answered(GET)
        self.assertEqual((values(answer, b"Connection"), kept), ([], True))

    def test_close_closes_and_says_so(self) -> None:
        """However it is written, and beside whatever else it stands."""
        for field in (b"close", b"Close", b"keep-alive, close", b"keep-alive,close", b"x,\tclose"):
            answer, kept = self.answered(GET[:-2] + b"Connection: %b\r\n\r\n" % field)
            self.assertEqual((values(answer, b"Connection"), kept), ([b"close"], False), field)

    def test_1_0_is_closed(self) -> None:
        """An old client takes the end of the connection for the end of the answer."""
        answer, kept = self.answered(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((values(answer, b"Connection"), kept), ([b"close"], False))

    def test_1_0_is_kept_if_it_asks(self) -> None:
        """And is told that it is."""
        answer, kept = self.answered(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertEqual((values(answer, b"Connection"), kept), ([b"keep-alive"], True))

    def test_1_0_that_asks_is_closed_when_only_that_ends_the_body(self) -> None:
        """A body of unknown length ends with the connection, whatever the client asked for."""
        unknown = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok"
        answer, kept = self.answered(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", unknown)
        self.assertEqual((values(answer, b"Connection"), kept), ([b"close"], False))

    def test_a_draining_listener_closes_after_the_response(self) -> None:
        """A balancer that stops tells its clients with their last answer."""
        self.client.send(GET)
        self.factory.draining = True
        self.exchange.respond()
        self.assertEqual(values(self.client.received(), b"Connection"), [b"close"])
        self.assertTrue(self.client.ended)

    def test_an_idle_connection_can_be_closed_and_a_busy_one_is_left(self) -> None:
        """So that draining loses no request."""
        busy = self.connect()
        busy.send(GET)
        for connection in list(self.factory.connections):
            connection.close_if_idle()
        self.assertEqual((self.client.closed, busy.closed), (True, False))

    def test_the_backends_connection_is_not_the_clients(self) -> None:
        """What a backend says of its own connection is not passed on."""
        answer, kept = self.answered(GET, b"HTTP/1.1 200 OK\r\nConnection: close, x\r\nX: y\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual((values(answer, b"Connection"), values(answer, b"X"), kept), ([], [], True))

    def test_connections_are_counted(self) -> None:
        """How many there were, and how many there are."""
        other = self.connect()
        self.assertEqual((self.counters.accepted, self.counters.open), (2, 2))
        other.hang_up()
        self.clock.advance(0)
        self.assertEqual((self.counters.accepted, self.counters.open), (2, 1))


class RequestBodies(ServerCase):
    """Bodies from clients."""

    def test_a_sized_body_streams(self) -> None:
        """Each part goes on as it comes."""
        data = post(b"hello")
        self.client.send(data[:-5])
        self.assertEqual((self.exchange.body, self.exchange.ended), (b"", False))
        self.client.send(b"he")
        self.assertEqual((self.exchange.body, self.exchange.ended), (b"he", False))
        self.client.send(b"llo")
        self.assertEqual((self.exchange.body, self.exchange.ended), (b"hello", True))

    def test_a_chunked_body_streams(self) -> None:
        """Its bytes without its chunks, and a chunk's bare size line is no end."""
        self.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\n")
        self.assertEqual((self.exchange.body, self.exchange.ended), (b"", False))
        self.client.send(b"hello", b"\r\n", b"0;x\r\nA: b\r\n")
        self.assertEqual((self.exchange.body, self.exchange.ended), (b"hello", False))
        self.client.send(b"\r\n")
        self.assertTrue(self.exchange.ended)

    def test_a_body_that_is_here_already_is_given_before_it_is_forwarded(self) -> None:
        """What came with the head can go to the backend with the head."""
        self.client.send(post(b"hello"))
        self.assertEqual((self.exchange.body, self.exchange.ended), (b"hello", True))

    def test_a_bad_chunk_with_the_head_is_never_forwarded(self) -> None:
        """400, and no exchange."""
        self.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
        self.assertEqual((status(self.client.received()), self.exchanges), (400, []))

    def test_a_bad_chunk_later_ends_the_exchange(self) -> None:
        """The attempt is dropped, the client gets 400, and nothing more is read."""
        self.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"xyz\r\n", GET)
        self.assertEqual((self.exchange.end, status(self.client.received())), ("bad-request", 400))
        self.assertEqual(len(self.exchanges), 1)

    def test_a_bad_chunk_after_the_response_began_aborts(self) -> None:
        """No 400 is written into the middle of another response."""
        self.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun", complete=False)
        self.client.send(b"xyz\r\n")
        self.assertTrue(self.client.aborted)
        self.assertTrue(self.client.received().endswith(b"begun"))

    def test_an_upload_can_be_paused(self) -> None:
        """A slow backend stops the reading from its client, and later lets it go on."""
        self.client.send(post(b"hello")[:-5])
        self.exchange.downstream.pause_body()
        self.client.send(b"hello")
        self.assertEqual((self.client.unread, self.exchange.body), (True, b""))
        self.exchange.downstream.resume_body()
        self.clock.advance(0)
        self.assertEqual((self.client.unread, self.exchange.body), (False, b"hello"))


class EarlyResponses(ServerCase):
    """A response that comes while the request's body is still on its way."""

    def setUp(self) -> None:
        super().setUp()
        self.client.send(post(b"x" * 1000)[:-900])
        self.exchange.respond(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    def test_it_reaches_the_client_at_once_and_says_close(self) -> None:
        """The client need not send the rest."""
        answer = self.client.received()
        self.assertEqual((status(answer), values(answer, b"Connection"), answer[-2:]), (413, [b"close"], b"no"))

    def test_the_connection_is_half_closed_and_drained(self) -> None:
        """A reset must not overtake the answer, so what still comes is read and thrown away."""
        self.assertEqual((self.client.half_closed, self.client.closed), (True, False))
        self.client.send(b"x" * 900, GET)
        self.assertEqual((self.client.received()[-2:], len(self.exchanges)), (b"no", 1))

    def test_after_a_while_it_is_closed(self) -> None:
        """A client that goes on sending cannot hold the connection."""
        self.wait(LINGER + 1.5)
        self.assertTrue(self.client.closed)

    def test_it_ends_when_the_client_closes(self) -> None:
        """And is no longer counted."""
        self.client.hang_up()
        self.clock.advance(0)
        self.assertEqual(self.counters.open, 0)

    def test_a_paused_upload_is_read_again_to_be_thrown_away(self) -> None:
        """Otherwise the client would never see the end."""
        self.setUp()
        client = self.connect()
        client.send(post(b"x" * 1000)[:-900])
        self.exchange.downstream.pause_body()
        self.exchange.respond(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((client.unread, client.half_closed), (False, True))

    def test_one_that_streams_says_close_too(self) -> None:
        """Also where the body of the response ends later than that of the request."""
        client = self.connect()
        client.send(post(b"hello")[:-5])
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nyes", complete=False)
        client.send(b"hello")
        self.exchange.finish(b"!")
        answer = client.received()
        self.assertEqual((values(answer, b"Connection"), answer[-4:], client.ended), ([b"close"], b"yes!", True))


class Framing(ServerCase):
    """How a response's body ends for its client."""

    def answer(self, data: bytes, *parts: bytes, request: bytes = GET) -> bytes:
        """What the client gets for a response that streams in these parts."""
        self.client.send(request)
        self.exchange.respond(data, complete=False)
        self.exchange.finish(*parts)
        return self.client.received()

    def test_a_length_stays_a_length(self) -> None:
        """The bytes go on as they came."""
        answer = self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", b"llo")
        self.assertEqual((values(answer, b"Content-Length"), split(answer)[2]), ([b"5"], b"hello"))
        self.assertEqual(values(answer, b"Transfer-Encoding"), [])

    def test_an_unknown_length_becomes_chunks_for_1_1(self) -> None:
        """Whether it came in chunks or until the connection's end."""
        for head in (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"):
            answer = self.answer(head + b"he", b"l", b"lo")
            self.assertEqual(values(answer, b"Transfer-Encoding"), [b"chunked"])
            self.assertEqual(unchunk(split(answer)[2]), b"hello")

    def test_an_empty_body_of_unknown_length_ends(self) -> None:
        """With its last chunk alone."""
        answer = self.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.assertEqual(split(answer)[2], LAST_CHUNK)

    def test_a_whole_body_of_unknown_length_is_one_piece(self) -> None:
        """Head, chunk and end together."""
        self.client.send(GET)
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello")
        self.assertEqual(unchunk(split(self.client.received())[2]), b"hello")

    def test_1_0_gets_no_chunks(self) -> None:
        """The connection's end ends the body."""
        answer = self.answer(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhe", b"llo", request=b"GET / HTTP/1.0\r\n\r\n"
        )
        self.assertEqual((values(answer, b"Transfer-Encoding"), split(answer)[2]), ([], b"hello"))
        self.assertTrue(self.client.closed)

    def test_what_has_no_body_gets_none(self) -> None:
        """HEAD, 204 and 304 end with their head, and the next response begins right after."""
        for request, answer, length in (
            (GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", [b"99"]),
            (GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", []),
            (GET, b"HTTP/1.1 204 No Content\r\n\r\n", []),
            (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", []),
            (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n", [b"99"]),
        ):
            self.client.send(request)
            self.exchange.respond(answer)
            got = self.client.received()
            self.assertEqual((values(got, b"Content-Length"), split(got)[2]), (length, b""), answer)
            self.assertEqual(values(got, b"Transfer-Encoding"), [])
            self.assertFalse(self.client.closed)

    def test_fields_of_the_response_survive(self) -> None:
        """Order, case and repetitions, Set-Cookie above all; hop-by-hop fields do not."""
        answer = self.answer(
            b"HTTP/1.1 203 Fine\r\nSet-Cookie: a=1\r\nx-CASE: y\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
            b"Set-Cookie: b=2\r\nUpgrade: h2\r\nTE: Z\r\nContent-Length: 0\r\n\r\n"
        )
        first, fields, _ = split(answer)
        self.assertEqual(first, b"HTTP/1.1 203 Fine")
        self.assertEqual(fields, [b"Set-Cookie: a=1", b"x-CASE: y", b"Set-Cookie: b=2", b"Content-Length: 0"])

    def test_a_response_that_cannot_be_whole_is_aborted(self) -> None:
        """A reset, so that nobody takes a part for the whole, and no last chunk."""
        self.client.send(GET)
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhe", complete=False)
        self.exchange.downstream.abort()
        self.assertTrue(self.client.aborted)
        self.assertFalse(self.client.received().endswith(LAST_CHUNK))
        self.clock.advance(0)
        self.assertEqual((self.exchange.end, self.counters.open), ("", 0))


class Leaving(ServerCase):
    """Clients that go."""

    def test_the_exchange_hears_of_it(self) -> None:
        """Whatever it was waiting for."""
        for data, answer in ((GET, b""), (post(b"hello")[:-2], b""), (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")):
            client = self.connect()
            client.send(data)
            if answer:
                self.exchange.respond(answer, complete=False)
            client.reset()
            self.assertEqual(self.exchange.end, "client-left")

    def test_what_was_pipelined_is_forgotten(self) -> None:
        """No request of a client that has gone is begun."""
        self.client.send(GET * 3)
        self.client.reset()
        self.assertEqual(len(self.exchanges), 1)

    def test_half_a_request_is_not_forwarded(self) -> None:
        """A head that the end cuts short is nothing."""
        self.client.send(GET[:-2])
        self.client.hang_up()
        self.assertEqual(self.exchanges, [])

    def test_nothing_is_watched_any_more(self) -> None:
        """Neither its deadline nor itself."""
        self.client.hang_up()
        self.clock.advance(0)
        self.assertEqual((self.sweep.watched, self.factory.connections), (set(), set()))


class Backpressure(ServerCase):
    """A client that reads slowly."""

    def test_the_response_is_paused_and_goes_on(self) -> None:
        """The exchange hears both."""
        self.client.send(GET)
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", complete=False)
        self.client.stop_reading()
        self.assertEqual(self.exchange.heard, ["pause"])
        self.client.read_on()
        self.assertEqual(self.exchange.heard, ["pause", "resume"])


class Deadlines(ServerCase):
    """Silence has an end."""

    def test_an_idle_connection_is_closed(self) -> None:
        """Without a word, as clients expect of kept-alive connections."""
        self.wait(IDLE - 2)
        self.assertFalse(self.client.closed)
        self.wait(4)
        self.assertEqual((self.client.closed, self.client.received(), self.counters.timed_out), (True, b"", {"idle": 1}))

    def test_each_request_begins_the_idle_time_anew(self) -> None:
        """A client that asks now and then is kept."""
        self.maker.answer = OK
        for _ in range(3):
            self.wait(IDLE * 0.7)
            self.client.send(GET)
        self.assertFalse(self.client.closed)

    def test_a_body_that_stops_gets_408(self) -> None:
        """The exchange is ended, and the client is told if it has not been answered yet."""
        self.client.send(post(b"hello")[:-2])
        self.wait(IDLE + 2)
        self.assertEqual((status(self.client.received()), self.exchange.end), (408, "client-timeout"))
        self.assertEqual(self.counters.timed_out, {"body": 1})

    def test_a_paused_upload_is_not_the_clients_silence(self) -> None:
        """A client is not thrown out because the backend is slow."""
        self.client.send(post(b"hello")[:-5])
        self.exchange.downstream.pause_body()
        self.wait(IDLE * 2)
        self.assertEqual((self.client.closed, self.exchange.end), (False, ""))
        self.exchange.downstream.resume_body()
        self.wait(IDLE + 2)
        self.assertEqual(self.exchange.end, "client-timeout")

    def test_a_client_waits_for_its_answer_without_a_deadline_of_its_own(self) -> None:
        """How long a backend may take is said elsewhere."""
        self.client.send(GET)
        self.wait(IDLE * 3)
        self.assertEqual((self.client.closed, self.exchange.end), (False, ""))

    def test_a_client_that_stops_reading_is_dropped(self) -> None:
        """It cannot hold a backend for ever."""
        self.client.send(GET)
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", complete=False)
        self.client.stop_reading()
        self.wait(IDLE + 2)
        self.assertEqual((self.client.aborted, self.exchange.end), (True, "client-timeout"))
        self.assertEqual(self.counters.timed_out, {"write": 1})

    def test_a_client_that_reads_on_in_time_is_kept(self) -> None:
        """The write time ends when the client has caught up."""
        self.client.send(GET)
        self.exchange.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", complete=False)
        self.client.stop_reading()
        self.wait(IDLE - 5)
        self.client.read_on()
        self.wait(IDLE * 2)
        self.assertFalse(self.client.closed)

    def test_a_closed_connection_whose_client_does_not_read_is_dropped(self) -> None:
        """The last bytes get their time, not for ever."""
        self.client.send(GET[:-2] + b"Connection: close\r\n\r\n")
        self.client.stop_reading()
        self.exchange.respond()
        self.wait(IDLE + 2)
        self.assertEqual((self.client.aborted, self.counters.open), (True, 0))
