"""The way through filters: who is asked what, in which order, and what becomes of the exchange when one of them fails."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.head import ResponseHead
from lbproxy.routing.filter import BodyFilter, Filter
from lbproxy.routing.passage import Passage

from ..support import GET, OK, post, split, status, unchunk, values
from ..test_web import WebRig
from .passing import FORBIDDEN, FilteredRig, Noted, lead

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Upper(BodyFilter):
    """Gives capital letters; holds back the first so many bytes until the end."""

    def __init__(self, hold: int = 0) -> None:
        self._hold = hold
        self._held = b""

    def write(self, data: bytes) -> bytes:
        if len(self._held) < self._hold:
            self._held += data
            return b""
        return data.upper()

    def finish(self) -> bytes:
        return self._held.upper() + b"!"


class Broken(BodyFilter):
    """Fails where it is told to."""

    def __init__(self, where: str) -> None:
        self._where = where

    def write(self, data: bytes) -> bytes:
        if self._where == "write" or data == b"bad":
            raise RuntimeError("a part")
        return data

    def finish(self) -> bytes:
        if self._where == "finish":
            raise RuntimeError("the end")
        return b""


class Changing(Filter):
    """Lets a body filter of its own have each response."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def body(self, passage: Passage, head: ResponseHead) -> BodyFilter | None:
        made: BodyFilter = self._make()
        return made


def pair(first: Any = None, second: Any = None) -> tuple[list[str], Noted, Noted]:
    """Two filters that write in one book."""
    notes: list[str] = []
    return notes, Noted("one", notes, first or (lambda: None)), Noted("two", notes, second or (lambda: None))


class OrderTests(SynchronousTestCase):
    """Who is asked, there and back."""

    def test_there_and_back(self) -> None:
        """Requests are seen in the route's order, responses in the opposite one, and each filter is told once of the end."""
        notes, one, two = pair()
        rig = FilteredRig(one, two)
        rig.kept_alive()
        expected = ["one request", "two request", "two response 200", "two body", "one response 200", "one body"]
        self.assertEqual(notes, [*expected, "one over", "two over"])

    def test_an_answer_is_seen_by_those_before(self) -> None:
        """A filter that answers does not see its own answer, nor do those after it; those before it do."""
        notes, one, two = pair(second=lambda: FORBIDDEN)
        three = Noted("three", notes)
        rig = FilteredRig(one, two, three)
        client = rig.client()
        client.send(GET)
        self.assertEqual(status(client.received()), 403)
        self.assertEqual(notes, ["one request", "two request", "one response 403", "one body", "one over"])
        self.assertEqual(rig.ended[0].end, "forbidden")
        self.assertEqual(rig.connects, [])

    def test_only_overridden_hooks_are_called(self) -> None:
        """A filter that does nothing has no place in any of the route's lists."""
        rig = FilteredRig(Filter(), Changing(Upper), Filter())
        live = rig.live
        self.assertEqual((live.steps, live.takers, live.ends, len(live.returns)), ((), (), (), 1))
        client, _ = rig.kept_alive()
        client.send(GET)
        self.assertEqual(rig.ended[0].end, "done")

    def test_one_that_is_named_twice(self) -> None:
        """It stands where it is named first, and is asked once: by the site for all routes and by a route, say."""
        notes: list[str] = []
        one, other = Noted("one", notes), Noted("other", notes)
        rig = FilteredRig(one, other, one)
        client = rig.client()
        client.send(post(b"x"))
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assertEqual([note for note in notes if note.startswith("one")].count("one takes"), 1)
        self.assertEqual(notes[:2], ["one request", "other request"])
        self.assertEqual((notes.count("one response 200"), notes.count("one over")), (1, 1))

    def test_a_changed_head_reaches_both_sides(self) -> None:
        """What filters change of heads goes on; a changed status is in the books as well."""

        class Change(Filter):
            def request(self, passage: Passage) -> None:
                passage.request.fields += b"X-There: 1\r\n"

            def response(self, passage: Passage, head: ResponseHead) -> None:
                head.status, head.reason = 418, b"Teapot"
                head.fields += b"X-Back: 1\r\n"

        rig = FilteredRig(Change())
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        self.assertEqual(values(backend.received(), b"x-there"), [b"1"])
        backend.send(OK)
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"x-back")), (418, [b"1"]))
        self.assertEqual((rig.ended[0].status, rig.live.statuses), (418, {418: 1}))

    def test_no_backend(self) -> None:
        """The balancer's own 503 passes the filters as well."""
        notes, one, two = pair()
        rig = FilteredRig(one, two)
        rig.mark("10.0.0.1:8000", up=False)
        client = rig.client()
        client.send(GET)
        self.assertEqual(status(client.received()), 503)
        self.assertIn("one response 503", notes)
        self.assertEqual(notes.count("one over"), 1)

    def test_statuses_without_a_body(self) -> None:
        """204, 304 and the answer to HEAD have heads that are seen, and no body that could be changed."""
        for asked, answer in (
            (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
            (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
            (GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
        ):
            notes, one, two = pair()
            one.changes = Upper()
            rig = FilteredRig(one, two)
            client = rig.client()
            client.send(asked)
            rig.accept().send(answer)
            got = client.received()
            self.assertEqual(split(got)[2], b"")
            self.assertNotIn("one body", notes)
            self.assertEqual(values(got, b"content-length"), values(answer, b"content-length"))
            client.send(GET)
            self.assertEqual(notes.count("one request"), 2)

    def test_interim_responses_go_by(self) -> None:
        """A 103 reaches the client untouched, and no filter sees it."""
        notes, one, two = pair()
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(GET)
        rig.accept().send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
        self.assertTrue(client.received().startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200"))
        self.assertNotIn("one response 103", notes)

    def test_a_tunnel(self) -> None:
        """The head of a 101 is seen; what follows it is not changed, and the end of the tunnel is the end."""
        notes, one, two = pair()
        one.changes = Upper()
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        backend = rig.accept()
        backend.received()
        backend.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        self.assertTrue(client.received().endswith(b"hello"))
        client.send(b"ping")
        self.assertEqual(backend.received(), b"ping")
        self.assertEqual(notes, ["one request", "two request", "two response 101", "one response 101"])
        backend.hang_up()
        rig.turn()
        client.hang_up()
        rig.turn()
        self.assertEqual(notes[-2:], ["one over", "two over"])

    def test_the_status_of_a_tunnel_stays(self) -> None:
        """A filter that makes something else of a 101 has failed."""

        class Change(Filter):
            def response(self, passage: Passage, head: ResponseHead) -> None:
                if head.status == 101:
                    head.status = 200

        rig = FilteredRig(Change())
        client = rig.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        backend = rig.accept()
        backend.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual(status(client.received()), 500)
        self.assertTrue(backend.aborted)
        self.flushLoggedErrors(ValueError)

    def test_the_web_face(self) -> None:
        """Requests of twisted.web pass the same filters."""
        notes, one, two = pair()
        one.changes = Upper()
        rig = WebRig()
        lead(rig, one, two)
        client = rig.client()
        client.send(post(b"sent"))
        backend = rig.accept()
        self.assertTrue(backend.received().endswith(b"sent"))
        backend.send(OK)
        rig.turn()
        self.assertEqual(split(client.received())[2], b"OK!")
        self.assertEqual((one.parts, notes.count("two over")), ([b"sent"], 1))


class WaitingTests(SynchronousTestCase):
    """Filters that say later what they say."""

    def test_said_at_once(self) -> None:
        """A Deferred that has fired already is no reason to wait."""
        for verdict, expected in ((None, 200), (FORBIDDEN, 403)):
            _notes, one, two = pair(first=lambda verdict=verdict: succeed(verdict))
            rig = FilteredRig(one, two)
            client = rig.client()
            client.send(GET)
            if expected == 200:
                rig.accept().send(OK)
            self.assertEqual(status(client.received()), expected)

    def test_said_later(self) -> None:
        """The next filter is asked when the one before it has let the request on."""
        waiting: Deferred[Any] = Deferred()
        notes, one, two = pair(first=lambda: waiting)
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(GET)
        self.assertEqual((notes, rig.connects), (["one request"], []))
        waiting.callback(None)
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assertEqual(notes[:2], ["one request", "two request"])

    def test_answered_later(self) -> None:
        """An answer may come later too; who gave it is not told of the end."""
        waiting: Deferred[Any] = Deferred()
        notes, one, two = pair(second=lambda: waiting)
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(GET)
        waiting.callback(FORBIDDEN)
        self.assertEqual(status(client.received()), 403)
        self.assertEqual(notes, ["one request", "two request", "one response 403", "one body", "one over"])

    def test_failures(self) -> None:
        """A filter that raises, or whose Deferred fails at once or later, be it that it was cancelled by others, is answered for
        with 500; it is told of the end."""
        later: Deferred[Any] = Deferred()
        cancelled: Deferred[Any] = Deferred()

        def boom() -> None:
            raise RuntimeError("boom")

        for says, act in (
            (boom, lambda: None),
            (lambda: fail(RuntimeError("now")), lambda: None),
            (lambda: later, lambda: later.errback(RuntimeError("later"))),
            (lambda: cancelled, cancelled.cancel),
            (lambda: "nonsense", lambda: None),
        ):
            notes, one, two = pair(second=says)
            rig = FilteredRig(one, two)
            client = rig.client()
            client.send(GET)
            act()
            self.assertEqual(status(client.received()), 500)
            self.assertEqual(notes, ["one request", "two request", "one response 500", "one body", "one over", "two over"])
            self.assertEqual(rig.ended[0].end, "filter")
            self.flushLoggedErrors(RuntimeError, CancelledError, TypeError)

    def test_the_client_leaves(self) -> None:
        """What is waited for is cancelled, and who was asked is told of the end."""
        cancelled: list[Any] = []
        waiting: Deferred[Any] = Deferred(cancelled.append)
        notes, one, two = pair(first=lambda: waiting)
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(GET)
        client.reset()
        self.assertEqual((cancelled, notes), ([waiting], ["one request", "one over"]))
        self.assertEqual(rig.ended[0].end, "client-left")

    def test_said_after_the_end(self) -> None:
        """What a filter says of an exchange that has ended is not heard, however it says it."""
        for say in ("callback", "errback"):
            waiting: Deferred[Any] = Deferred(lambda it: None)
            waiting.cancel = lambda: None  # type: ignore[method-assign]
            notes, one, two = pair(first=lambda waiting=waiting: waiting)
            rig = FilteredRig(one, two)
            client = rig.client()
            client.send(GET)
            client.reset()
            getattr(waiting, say)(None if say == "callback" else RuntimeError("too late"))
            self.assertEqual((rig.connects, notes), ([], ["one request", "one over"]))
            self.assertEqual(len(rig.ended), 1)

    def test_a_body_waits(self) -> None:
        """While a filter thinks, the client's body is not read; what is here of it goes on afterwards, and then the rest."""
        waiting: Deferred[Any] = Deferred()
        _notes, one, two = pair(second=lambda: waiting)
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(post(b"0123456789")[:-5])
        self.assertTrue(client.unread)
        client.send(b"56789")
        self.assertEqual((one.parts, rig.connects), ([], []))
        waiting.callback(None)
        backend = rig.accept()
        rig.turn()
        self.assertTrue(backend.received().endswith(b"\r\n\r\n0123456789"))
        self.assertEqual((b"".join(one.parts), one.parts), (b"0123456789", two.parts))
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_pipelining_waits(self) -> None:
        """Requests behind one that a filter thinks about are answered in their turn."""
        waiting: Deferred[Any] = Deferred()
        notes: list[str] = []
        one = Noted("one", notes, lambda: waiting if not notes[1:] else None)
        rig = FilteredRig(one)
        client = rig.client()
        client.send(GET + GET.replace(b"/ ", b"/2 "))
        self.assertEqual(notes, ["one request"])
        waiting.callback(FORBIDDEN)
        self.assertEqual(notes.count("one request"), 2)
        rig.accept().send(OK)
        self.assertEqual(client.received().count(b"HTTP/1.1 "), 2)


class RequestBodyTests(SynchronousTestCase):
    """Filters that look at a request's body."""

    def test_each_part(self) -> None:
        """They are given each part, those that came with the head too."""
        _notes, one, two = pair()
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(post(b"abcdef")[:-3])
        backend = rig.accept()
        rig.turn()
        client.send(b"def")
        self.assertEqual((one.parts, two.parts), ([b"abc", b"def"], [b"abc", b"def"]))
        self.assertTrue(backend.received().endswith(b"abcdef"))

    def test_refused_at_once(self) -> None:
        """A part that came with the head can be answered before anybody is asked."""
        notes, one, two = pair()
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(post(b"xbad"))
        self.assertEqual((status(client.received()), rig.connects), (403, []))
        self.assertEqual(notes[2:], ["one takes", "one over", "two over"])

    def test_refused_in_the_middle(self) -> None:
        """A later part can be answered as well: the attempt is given up, and those before see the answer."""
        notes, one, two = pair()
        two.takes = lambda passage, data: FORBIDDEN if data.endswith(b"no") else None  # type: ignore[method-assign]
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(post(b"abcdno")[:-2])
        backend = rig.accept()
        rig.turn()
        client.send(b"no")
        self.assertEqual(status(client.received()), 403)
        self.assertTrue(backend.aborted)
        self.assertEqual(notes[-4:], ["one response 403", "one body", "one over", "two over"])

    def test_failing(self) -> None:
        """One that fails is answered for with 500, or the connection is dropped where the response has begun."""
        for begun in (False, True):
            _notes, one, two = pair()
            one.fails_in = "takes"
            rig = FilteredRig(one, two)
            client = rig.client()
            client.send(post(b"abcdef")[:-6])
            backend = rig.accept()
            rig.turn()
            if begun:
                backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
                client.received()
            client.send(b"abc")
            self.assertEqual((status(client.received()), client.aborted), (0, True) if begun else (500, False))
            self.assertTrue(backend.aborted)
            self.assertEqual(rig.ended[0].end, "filter")
            self.flushLoggedErrors(RuntimeError)

    def test_early_responses(self) -> None:
        """A response before the body's end passes the filters, and what still comes of the body does no harm."""
        notes, one, two = pair()
        rig = FilteredRig(one, two)
        client = rig.client()
        client.send(post(b"abcdef")[:-3])
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        client.send(b"def")
        self.assertEqual((one.parts, notes.count("one over")), ([b"abc"], 1))


class BackTests(SynchronousTestCase):
    """Responses on their way back."""

    def asked(self, *filters: Filter, **settings: Any) -> tuple[Any, Any, Any]:
        """A request that has come to a backend."""
        rig = FilteredRig(*filters, **settings)
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.received()
        return rig, client, backend

    def test_a_whole_body(self) -> None:
        """A changed body that is here as a whole has its own length."""
        rig, client, backend = self.asked(Changing(Upper))
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccept-Ranges: bytes\r\nContent-MD5: x\r\n\r\nok")
        answer = client.received()
        self.assertEqual((split(answer)[2], values(answer, b"content-length")), (b"OK!", [b"3"]))
        self.assertEqual((values(answer, b"accept-ranges"), values(answer, b"content-md5")), ([], []))
        self.assertEqual(rig.ended[0].response_bytes, 3)

    def test_a_streamed_body(self) -> None:
        """One that comes in parts goes on in parts, in chunks, without the length that it had."""
        rig, client, backend = self.asked(Changing(Upper))
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        answer = client.received()
        self.assertEqual((values(answer, b"content-length"), split(answer)[2]), ([], b"2\r\nAB\r\n"))
        backend.send(b"cd")
        self.assertEqual(unchunk(split(answer)[2] + client.received()), b"ABCD!")
        self.assertEqual(rig.ended[0].response_bytes, 5)
        client.send(GET)
        self.assertEqual(len(rig.counters.statuses), 1)

    def test_nothing_for_a_while(self) -> None:
        """What gives nothing yet sends nothing, least of all an empty chunk; all of it comes at the end."""
        _rig, client, backend = self.asked(Changing(lambda: Upper(100)))
        backend.send(CHUNKED + b"2\r\nab\r\n")
        head = client.received()
        self.assertEqual(split(head)[2], b"")
        backend.send(b"2\r\ncd\r\n")
        self.assertEqual(client.received(), b"")
        backend.send(b"0\r\n\r\n")
        self.assertEqual(unchunk(client.received()), b"ABCD!")

    def test_one_after_the_other(self) -> None:
        """The last filter's change comes first, and what it holds back passes the others at the end."""
        _rig, client, backend = self.asked(Changing(Upper), Changing(lambda: Upper(3)))
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(split(client.received())[2], b"OK!!")

    def test_http_1_0(self) -> None:
        """To a client of HTTP/1.0 a changed body goes until the connection's end."""
        rig = FilteredRig(Changing(Upper))
        client = rig.client()
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        backend.send(b"cd")
        answer = client.received()
        self.assertEqual((split(answer)[2], values(answer, b"connection")), (b"ABCD!", [b"close"]))
        self.assertTrue(client.ended)

    def test_trailers(self) -> None:
        """Trailers come after a changed body, but for those that were true of the other."""
        _rig, client, backend = self.asked(Changing(Upper))
        backend.send(CHUNKED + b"2\r\nab\r\n")
        backend.send(b"0\r\nX-Sum: 1\r\nContent-Digest: x\r\n\r\n")
        answer = client.received()
        self.assertTrue(answer.endswith(b"2\r\nAB\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"), answer)

    def test_backpressure(self) -> None:
        """A client that does not read has the backend paused as without filters."""
        _rig, client, backend = self.asked(Changing(Upper))
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        client.stop_reading()
        self.assertTrue(backend.unread)
        client.read_on()
        self.assertFalse(backend.unread)

    def test_the_length_is_said_once(self) -> None:
        """Of a whole response in chunks that one filter changes and another only looks at."""
        for filters in ((Noted(), Changing(Upper)), (Changing(Upper), Noted()), (Noted(), Noted())):
            _, client, backend = self.asked(*filters)
            backend.send(CHUNKED + b"2\r\nab\r\n0\r\n\r\n")
            answer = client.received()
            self.assertEqual(values(answer, b"content-length"), [b"%d" % len(split(answer)[2])])
            self.assertEqual(values(answer, b"transfer-encoding"), [])

    def test_a_failing_head(self) -> None:
        """A filter that fails with a response's head is answered for with 500, which those before it see; a backend in
        mid-response is dropped, another is kept, and the books are right."""
        for answer, dropped in ((OK, False), (CHUNKED + b"2\r\nab\r\n", True)):
            notes, one, two = pair()
            two.fails_in = "response"
            rig, client, backend = self.asked(one, two)
            backend.send(answer)
            self.assertEqual(status(client.received()), 500)
            self.assertEqual(notes[2:], ["two response 200", "one response 500", "one body", "one over", "two over"])
            self.assertEqual((rig.ended[0].end, rig.ended[0].status, backend.aborted), ("filter", 500, dropped))
            self.assertEqual((rig.counters.in_flight, rig.member().in_flight), (0, 0))
            client.send(GET)
            self.assertEqual(len(rig.connects), 1 if dropped else 0)
            self.flushLoggedErrors(RuntimeError)

    def test_all_fail(self) -> None:
        """Where those before it fail with the 500 as well, the client gets it all the same."""
        _notes, one, two = pair()
        one.fails_in = two.fails_in = "response"
        _rig, client, backend = self.asked(one, two)
        backend.send(OK)
        self.assertEqual(status(client.received()), 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_a_failing_body(self) -> None:
        """A change that fails where the head has gone breaks the client's connection off, and the backend's."""
        rig, client, backend = self.asked(Changing(lambda: Broken("")))
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
        backend.send(b"bad")
        self.assertTrue(client.aborted and backend.aborted)
        self.assertEqual((rig.ended[0].end, rig.member().in_flight), ("filter", 0))
        self.flushLoggedErrors(RuntimeError)

    def test_a_failing_body_that_is_whole(self) -> None:
        """Where nothing has been sent it is answered for with 500."""
        for where in ("write", "finish"):
            _rig, client, backend = self.asked(Changing(lambda where=where: Broken(where)))
            backend.send(OK)
            self.assertEqual(status(client.received()), 500)
            self.flushLoggedErrors(RuntimeError)

    def test_a_failing_end(self) -> None:
        """A change that fails at the end does not let a part be taken for the whole."""
        rig, client, backend = self.asked(Changing(lambda: Broken("finish")))
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
        backend.send(b"cdef")
        self.assertTrue(client.aborted)
        self.assertEqual((rig.ended[0].end, rig.member().in_flight, backend.aborted), ("filter", 0, False))
        self.flushLoggedErrors(RuntimeError)

    def test_a_truncated_response(self) -> None:
        """A response that breaks off breaks off, and nothing that was held back makes it look whole."""
        _rig, client, backend = self.asked(Changing(lambda: Upper(100)))
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
        backend.reset()
        self.assertTrue(client.aborted)
        self.assertEqual(split(client.received())[2], b"")

    def test_failing_at_the_end(self) -> None:
        """A filter that fails when it is told of the end keeps nobody else from being told."""
        notes, one, two = pair()
        one.fails_in = "over"
        _rig, client, backend = self.asked(one, two)
        backend.send(OK)
        self.assertEqual((status(client.received()), notes[-1]), (200, "two over"))
        self.flushLoggedErrors(RuntimeError)


class CostTests(SynchronousTestCase):
    """What is left behind, and what is not paid for."""

    def test_no_garbage_is_left_for_the_collector(self) -> None:
        """Exchanges through filters are freed as they end, be they waited for, changed or answered."""

        def says() -> Any:
            waiting: Deferred[Any] = Deferred()
            rig.reactor.callLater(0, waiting.callback, None)
            return waiting

        changing = Noted("one", [], says)
        rig = FilteredRig(changing, Changing(Upper), Noted("two", [], lambda: FORBIDDEN if len(rig.ended) % 2 else None))
        client, backend = rig.client(), None
        rig.ended = Ended()

        def ask() -> None:
            nonlocal backend
            client.send(GET)
            rig.turn()
            rig.turn()
            if backend is None:
                backend = rig.accept()
            if not client.received():
                backend.received()
                backend.send(OK)
                client.received()

        for _ in range(4):
            ask()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for _ in range(20):
            ask()
        self.assertEqual(len(rig.ended), 24)
        self.assertLess(gc.collect(), 20)


class Ended(list[Any]):
    """Counts exchanges, and keeps none."""

    count_ = 0

    def append(self, one: Any) -> None:
        self.count_ += 1

    def __len__(self) -> int:
        return self.count_
