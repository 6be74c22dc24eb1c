"""Promises about the client side of HTTP/1.1, in memory: one connection to a backend that the test plays."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.deadlines import DeadlineSweep
from lbproxy.errors import AttemptFailed, BadResponse, ResponseTimedOut, StaleConnection, UpstreamLost
from lbproxy.http1.client import INTERIM_LIMIT, UpstreamConnection
from lbproxy.http1.head import ResponseHead
from lbproxy.http1.upstream import UpstreamTimes

from ..support import GET, LIMITS, OK, START, Peer, request, sent, unchunk

RESPONSE, SILENCE, IDLE = 30.0, 60.0, 50.0
HEAD = GET.replace(b"GET", b"HEAD")
EXPECTING = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
UPLOAD = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h3lo, websocket\r\n\r\n"
CHUNKED_UPLOAD = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Receiver:
    """An exchange that remembers what it is given."""

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[str] = []
        self.heard: list[str] = []
        self.interim: list[int] = []
        self.trailers = b""

    def response_interim(self, head: ResponseHead) -> None:
        self.interim.append(head.status)

    def response_data(self, data: bytes) -> None:
        assert data
        self.data += data

    def response_end(self, data: bytes, trailers: bytes = b"") -> None:
        self.data += data
        self.trailers = trailers
        self.ends.append("end")

    def response_lost(self, reason: str) -> None:
        self.ends.append("lost")

    def pause_request(self) -> None:
        self.heard.append("pause")

    def resume_request(self) -> None:
        self.heard.append("resume")


class ClientCase(SynchronousTestCase):
    """A connection, its owner, and a backend."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.released: list[UpstreamConnection] = []
        self.gone: list[UpstreamConnection] = []
        self.times = UpstreamTimes(RESPONSE, SILENCE, IDLE)
        self.sweep = DeadlineSweep(self.clock, RESPONSE)
        self.sweep.start()
        self.fresh()

    def fresh(self) -> None:
        """Another connection."""
        self.connection = UpstreamConnection(self, "10.0.0.1:8000", LIMITS, self.times, self.clock.seconds)
        self.backend = Peer(self.clock).attach(self.connection)
        self.sweep.watched.add(self.connection)

    # ConnectionOwner

    def release(self, connection: UpstreamConnection) -> None:
        self.released.append(connection)

    def closing(self, connection: UpstreamConnection) -> None:
        """Nobody is told here."""

    def lost(self, connection: UpstreamConnection) -> None:
        self.gone.append(connection)

    # What tests do.

    def ask(self, data: bytes = GET, body: bytes = b"", ended: bool = True) -> Deferred[Any]:
        """Begin an exchange; what comes after the head goes to a new receiver."""
        head = request(data)
        self.receiver = Receiver()
        return self.connection.request(head, sent(head) + body, ended, self.receiver)

    def answered(self, *answer: bytes, data: bytes = GET) -> tuple[int, bytes, bool]:
        """The status, the first bytes and whether they are all, of an exchange whose answer comes in these pieces."""
        asking = self.ask(data)
        self.backend.send(*answer)
        head, first, complete = self.successResultOf(asking)
        return head.status, first, complete

    def failed(self, asking: Deferred[Any], kind: type[AttemptFailed]) -> AttemptFailed:
        """The failure of an attempt, which is of this kind."""
        return self.failureResultOf(asking, kind).value  # type: ignore[no-any-return]

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)


class Responses(ClientCase):
    """What comes back."""

    def test_the_request_goes_out_and_the_response_comes_back(self) -> None:
        """Head and body together, told in one."""
        asking = self.ask()
        self.assertTrue(self.backend.received().startswith(b"GET / HTTP/1.1\r\nHost: example.org\r\n"))
        self.assertNoResult(asking)
        self.backend.send(OK)
        head, data, complete = self.successResultOf(asking)
        self.assertEqual((head.status, data, complete), (200, b"ok", True))

    def test_a_response_may_come_byte_by_byte(self) -> None:
        """However it is cut, it is the same response."""
        for answer in (OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"):
            self.fresh()
            self.answered(*[answer[place : place + 1] for place in range(len(answer))])
            self.assertEqual((self.receiver.data, self.receiver.ends), (b"ok", ["end"]))
        self.assertEqual(len(self.released), 2)

    def test_a_body_in_chunks_streams(self) -> None:
        """Its bytes without its chunks; trailers end it."""
        first = self.answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")
        self.assertEqual(first, (200, b"he", False))
        self.backend.send(b"llo\r\n", b"0\r\nX: y\r\n")
        self.assertEqual((self.receiver.data, self.receiver.ends), (b"llo", []))
        self.backend.send(b"\r\n")
        self.assertEqual((self.receiver.ends, self.released), (["end"], [self.connection]))

    def test_a_body_until_the_end_of_the_connection(self) -> None:
        """A close in good order is its end; the connection is of no more use."""
        first = self.answered(b"HTTP/1.1 200 OK\r\n\r\nhe")
        self.backend.send(b"llo")
        self.backend.hang_up()
        self.assertEqual((first, self.receiver.data, self.receiver.ends), ((200, b"he", False), b"llo", ["end"]))
        self.assertEqual((self.released, self.gone), ([], [self.connection]))

    def test_a_reset_does_not_end_a_body_until_the_end(self) -> None:
        """It might have been cut short."""
        self.answered(b"HTTP/1.1 200 OK\r\n\r\nhe")
        self.backend.reset()
        self.assertEqual(self.receiver.ends, ["lost"])

    def test_a_body_cut_short_is_lost(self) -> None:
        """Sized or chunked, in good order or not: the receiver hears that it is no whole one."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ):
            for end in ("hang_up", "reset"):
                self.fresh()
                self.answered(answer)
                getattr(self.backend, end)()
                self.assertEqual(self.receiver.ends, ["lost"], (answer, end))

    def test_a_bad_chunk_is_a_lost_body(self) -> None:
        """And the connection is dropped."""
        self.answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        self.backend.send(b"xyz\r\n")
        self.assertEqual((self.receiver.ends, self.backend.aborted, self.released), (["lost"], True, []))

    def test_interim_responses_are_handed_on(self) -> None:
        """In any pieces; the response follows them."""
        answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
        for step in (len(answer), 7, 1):
            self.fresh()
            self.answered(*[answer[place : place + step] for place in range(0, len(answer), step)])
            self.assertEqual(self.receiver.interim, [100, 103])
        self.assertEqual(len(self.released), 3)

    def test_interim_responses_without_end_are_no_response(self) -> None:
        """A client that does not read must not have them pile up here."""
        asking = self.ask()
        self.backend.send(b"HTTP/1.1 102 Processing\r\n\r\n" * (INTERIM_LIMIT + 1))
        self.failed(asking, BadResponse)
        self.assertEqual((len(self.receiver.interim), self.backend.aborted), (INTERIM_LIMIT, True))

    def test_an_exchange_that_ends_at_an_interim_response_hears_no_more(self) -> None:
        """What came behind it is nobody's."""
        asking = self.ask()
        self.receiver.response_interim = lambda head: self.connection.abort()  # type: ignore[method-assign]
        self.backend.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        self.assertNoResult(asking)
        self.assertEqual(self.released, [])

    def test_trailers_come_with_the_end(self) -> None:
        """Whether they came with the head or later, and the connection is kept."""
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
        for step in (len(answer), 7, 1):
            self.fresh()
            _, first, _ = self.answered(*[answer[place : place + step] for place in range(0, len(answer), step)])
            self.assertEqual((first + self.receiver.data, self.receiver.trailers), (b"ok", b"X-Sum: 1\r\n"))
            self.assertEqual(self.receiver.ends, ["end"])
        self.assertEqual(len(self.released), 3)

    def test_trailers_for_a_client_that_is_full(self) -> None:
        """The connection is read again for the next exchange."""
        asking = self.ask()
        asking.addCallback(lambda _: self.connection.pause())
        self.backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual((self.receiver.ends, self.backend.unread, len(self.released)), (["end"], False, 1))

    def test_an_end_that_was_on_its_way_to_a_client_that_is_full(self) -> None:
        """A transport may hand on what it had read before it was paused. The connection is read again for the next exchange."""
        self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        self.connection.pause()
        self.connection.dataReceived(b"k")
        self.assertEqual((self.receiver.ends, self.backend.unread, len(self.released)), (["end"], False, 1))

    def test_trailers_for_an_exchange_that_has_ended(self) -> None:
        """Nobody is told, and the connection is not used again."""
        asking = self.ask()
        asking.addCallback(lambda _: self.connection.abort())
        self.backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual((self.receiver.ends, self.released), ([], []))

    def test_101_is_refused(self) -> None:
        """Where nobody asked for another protocol, or for this one, what follows cannot be understood."""
        for data, answer in (
            (GET, b"Connection: upgrade\r\nUpgrade: websocket"),
            (UPGRADE, b"Connection: upgrade\r\nUpgrade: irc"),
            (UPGRADE, b"Connection: upgrade\r\nUpgrade: websocket, irc"),
            (UPGRADE, b"X: y"),
        ):
            self.fresh()
            asking = self.ask(data)
            self.backend.send(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n\r\n\x00" % answer)
            self.failed(asking, BadResponse)
            self.assertTrue(self.backend.aborted)

    def test_101_to_what_was_asked_for(self) -> None:
        """In any case; what follows is not taken for a response."""
        asking = self.ask(UPGRADE)
        self.backend.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\nfirst")
        head, data, complete = self.successResultOf(asking)
        self.assertEqual((head.status, head.upgrade, data, complete), (101, b"WebSocket", b"first", False))

    def test_a_connection_for_one_exchange_is_not_kept(self) -> None:
        """Since it says whose it is."""
        self.connection.single = True
        self.answered(OK)
        self.assertEqual((self.released, self.backend.closed), ([], True))

    def test_a_response_without_a_body_ends_with_its_head(self) -> None:
        """HEAD, 204 and 304, whatever their fields say; the connection is kept."""
        for data, answer in (
            (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (HEAD, b"HTTP/1.1 404 Not Found\r\n\r\n"),
            (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
            (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
            (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ):
            self.assertTrue(self.answered(answer, data=data)[2], answer)
        self.assertEqual((len(self.released), self.connection.uses), (6, 6))

    def test_what_is_no_response_is_a_failed_attempt(self) -> None:
        """Another protocol, a broken head, a chunk that is none, too large a head."""
        for answer in (
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 17_000,
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 17_000 + b"\r\n\r\n",
        ):
            self.fresh()
            asking = self.ask()
            self.backend.send(answer)
            self.failed(asking, BadResponse)
            self.assertTrue(self.backend.aborted)
        self.assertEqual(self.released, [])


class Reuse(ClientCase):
    """Whether a connection serves again."""

    def test_a_connection_serves_one_after_the_other(self) -> None:
        """Released when both messages are whole, before anyone hears of it, so that it can be used at once."""
        asking = self.ask()
        asking.addCallback(lambda _: self.assertEqual(self.released, [self.connection]))
        self.backend.send(OK)
        self.successResultOf(asking)
        self.assertEqual(self.answered(OK)[0], 200)

    def test_what_speaks_against_it(self) -> None:
        """Close in any case and place, HTTP/1.0, and bytes after the end."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            OK + b"x",
            OK + OK,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
            b"HTTP/1.1 204 No Content\r\n\r\nx",
        ):
            self.fresh()
            self.assertTrue(self.answered(answer)[2])
            self.clock.advance(0)
            self.assertEqual((self.released, self.backend.closed), ([], True), answer)

    def test_a_response_to_head_with_a_body_is_the_last(self) -> None:
        """A backend that sends one all the same cannot answer the next request with it."""
        self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", data=HEAD)
        self.clock.advance(0)
        self.assertEqual((self.released, self.backend.closed), ([], True))

    def test_bytes_that_nobody_asked_for_end_an_idle_connection(self) -> None:
        """They cannot become the answer to the next request."""
        self.answered(OK)
        self.backend.send(OK)
        self.clock.advance(0)
        self.assertEqual((self.backend.closed, self.gone), (True, [self.connection]))

    def test_its_owner_hears_when_it_ends(self) -> None:
        """Idle or busy."""
        self.answered(OK)
        self.backend.hang_up()
        self.assertEqual(self.gone, [self.connection])

    def test_an_idle_connection_is_closed_after_its_time(self) -> None:
        """Before most backends do, so that no request meets a closed one."""
        self.answered(OK)
        self.wait(IDLE - 2)
        self.assertFalse(self.backend.closed)
        self.wait(4)
        self.assertTrue(self.backend.closed)


class Losing(ClientCase):
    """A connection that ends before a response."""

    def test_one_that_was_kept_is_stale(self) -> None:
        """The backend closed it as the request went out: that says nothing against the backend."""
        self.answered(OK)
        asking = self.ask()
        self.backend.hang_up()
        self.failed(asking, StaleConnection)

    def test_a_new_one_is_lost(self) -> None:
        """The backend took the request, and gave no answer."""
        asking = self.ask()
        self.backend.reset()
        self.failed(asking, UpstreamLost)

    def test_one_that_had_begun_to_answer_is_lost(self) -> None:
        """Half a head is no sign of a stale connection."""
        self.answered(OK)
        asking = self.ask()
        self.backend.send(b"HTTP/1.1 200")
        self.backend.hang_up()
        self.failed(asking, UpstreamLost)

    def test_one_that_said_100_is_lost(self) -> None:
        """A backend that has answered with an interim response has got the request."""
        self.answered(OK)
        asking = self.ask()
        self.backend.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.backend.hang_up()
        self.failed(asking, UpstreamLost)

    def test_after_an_abort_nobody_hears_more(self) -> None:
        """The exchange that gave it up is left in peace."""
        asking = self.ask()
        self.connection.abort()
        self.clock.advance(0)
        self.assertNoResult(asking)
        self.assertEqual((self.backend.aborted, self.receiver.ends, self.gone), (True, [], [self.connection]))


class Deadlines(ClientCase):
    """Backends that take too long."""

    def test_no_response_in_time_is_a_failed_attempt(self) -> None:
        """504 in the end, and the connection is dropped."""
        asking = self.ask()
        self.wait(RESPONSE - 2)
        self.assertNoResult(asking)
        self.wait(4)
        self.assertEqual(self.failed(asking, ResponseTimedOut).status, 504)
        self.assertTrue(self.backend.aborted)

    def test_interim_responses_and_half_heads_buy_no_time(self) -> None:
        """The time is to the response's head."""
        asking = self.ask()
        for _ in range(int(RESPONSE) + 2):
            self.backend.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            self.wait(1)
        self.failed(asking, ResponseTimedOut)

    def test_a_body_that_waits_to_be_asked_for_has_the_backend_late(self) -> None:
        """Neither 100 nor a response is an answer that does not come."""
        asking = self.ask(EXPECTING, ended=False)
        self.wait(RESPONSE + 2)
        self.failed(asking, ResponseTimedOut)

    def test_a_body_that_was_asked_for_takes_its_time(self) -> None:
        """The backend's time begins when all of it is here."""
        for ask in (lambda: self.backend.send(b"HTTP/1.1 100 Continue\r\n\r\n"), lambda: self.connection.write_body(b"x")):
            self.fresh()
            asking = self.ask(EXPECTING, ended=False)
            ask()
            self.wait(RESPONSE * 3)
            self.assertNoResult(asking)
            self.connection.end_body()
            self.wait(RESPONSE + 2)
            self.failed(asking, ResponseTimedOut)

    def test_silence_in_mid_body_loses_it(self) -> None:
        """Each part buys time, and silence ends it."""
        self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        for _ in range(3):
            self.wait(SILENCE * 0.8)
            self.backend.send(b"x")
        self.assertEqual(self.receiver.ends, [])
        self.wait(SILENCE + 2)
        self.assertEqual((self.receiver.ends, self.backend.aborted), (["lost"], True))

    def test_a_slow_client_is_not_the_backends_silence(self) -> None:
        """While reading is paused for the client's sake, the backend has no deadline."""
        self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        self.connection.pause()
        self.wait(SILENCE * 2)
        self.assertEqual((self.receiver.ends, self.backend.unread), ([], True))
        self.connection.resume()
        self.wait(SILENCE - 2)
        self.assertEqual((self.receiver.ends, self.backend.unread), ([], False))

    def test_nor_is_it_after_bytes_that_were_on_their_way(self) -> None:
        """What a transport had read before it was paused sets no deadline for what it does not read."""
        self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        self.connection.pause()
        self.connection.dataReceived(b"y")
        self.wait(SILENCE * 2)
        self.assertEqual((self.receiver.data, self.receiver.ends), (b"y", []))

    def test_the_response_time_begins_when_the_request_is_complete(self) -> None:
        """A long upload is not the backend's delay."""
        asking = self.ask(UPLOAD, ended=False)
        for _ in range(10):
            self.wait(RESPONSE / 2)
            self.connection.write_body(b"x")
        self.connection.end_body()
        self.assertNoResult(asking)
        self.wait(RESPONSE + 2)
        self.failed(asking, ResponseTimedOut)

    def test_a_backend_that_reads_no_further_is_given_up(self) -> None:
        """An upload cannot hang for ever on a backend that takes none of it."""
        asking = self.ask(UPLOAD, ended=False)
        self.backend.stop_reading()
        self.wait(SILENCE + 2)
        self.failed(asking, ResponseTimedOut)

    def test_a_backend_that_was_slow_to_read_still_has_its_response_time_alone(self) -> None:
        """Having caught up, it gets the response time and not the longer time of silence."""
        self.times.silence = 1000.0
        asking = self.ask(UPLOAD, body=b"x" * 10)
        self.backend.stop_reading()
        self.backend.read_on()
        self.wait(RESPONSE + 2)
        self.failed(asking, ResponseTimedOut)


class Uploads(ClientCase):
    """The request's body."""

    def test_a_sized_body_goes_on_as_it_came(self) -> None:
        """Byte for byte."""
        self.ask(UPLOAD, body=b"he", ended=False)
        self.backend.received()
        self.connection.write_body(b"llo wor")
        self.connection.write_body(b"ld")
        self.connection.end_body()
        self.assertEqual(self.backend.received(), b"llo world")

    def test_a_body_of_unknown_length_goes_on_in_chunks(self) -> None:
        """With one last chunk."""
        self.ask(CHUNKED_UPLOAD, ended=False)
        self.backend.received()
        self.connection.write_body(b"hello")
        self.connection.write_body(b" world")
        self.connection.end_body()
        self.assertEqual(unchunk(self.backend.received()), b"hello world")

    def test_a_slow_backend_pauses_the_upload(self) -> None:
        """And lets it go on."""
        self.ask(UPLOAD, ended=False)
        self.backend.stop_reading()
        self.backend.read_on()
        self.assertEqual(self.receiver.heard, ["pause", "resume"])

    def test_an_early_response_is_told_at_once(self) -> None:
        """And the connection, on which the rest of the upload is missing, is not used again."""
        asking = self.ask(UPLOAD, body=b"he", ended=False)
        self.backend.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        head, data, complete = self.successResultOf(asking)
        self.assertEqual((head.status, data, complete), (413, b"no", True))
        self.clock.advance(0)
        self.assertEqual((self.released, self.backend.closed), ([], True))

    def test_an_early_response_may_outlast_the_upload(self) -> None:
        """Both go on to their ends, and then the connection is kept."""
        self.ask(UPLOAD, ended=False)
        self.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nye")
        self.connection.write_body(b"x" * 10)
        self.connection.end_body()
        self.backend.send(b"s!")
        self.assertEqual((self.receiver.ends, self.released), (["end"], [self.connection]))
