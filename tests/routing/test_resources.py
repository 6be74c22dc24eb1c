"""Routes to resources of ``twisted.web`` and to files."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import NoResource, Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from lbproxy.errors import ConfigurationError
from lbproxy.routing.filter import FilterContext
from lbproxy.routing.filters.paths import PrefixStrip
from lbproxy.routing.model import StaticFiles
from lbproxy.routing.resources import ResourceTarget, static_target

from ..support import GET, Peer, given, post, split, status, unchunk, values
from ..test_web import WebRig
from .passing import FilteredRig, Noted, lead
from .test_passage import Changing, Upper


class Application(Resource):
    """Does what a test says with each request, and keeps them."""

    isLeaf = True

    def __init__(self, act: Any = lambda request: b"hello") -> None:
        super().__init__()
        self.act = act
        self.requests: list[Any] = []
        self.left: list[Failure] = []

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        request.notifyFinish().addErrback(self.left.append)
        return self.act(request)


def get(path: bytes = b"/", *fields: bytes, method: bytes = b"GET") -> bytes:
    """A request for a path."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"%b %b HTTP/1.1\r\nHost: example.org\r\n%b\r\n" % (method, path, lines)


class ResourceCase(SynchronousTestCase):
    """A route to an application."""

    def serve(self, resource: Any, *filters: Any, prefixes: tuple[str, ...] = (), **settings: Any) -> FilteredRig:
        limit = settings.pop("body_limit_here", 10 << 20)
        return FilteredRig(
            *filters, target=lambda rig: ResourceTarget(resource, rig.resource.site.router, prefixes, limit), **settings
        )

    def asked(self, act: Any, data: bytes = GET, *filters: Any) -> tuple[FilteredRig, Application, Peer]:
        application = Application(act)
        rig = self.serve(application, *filters)
        client = rig.client()
        client.send(data)
        return rig, application, client


class RequestTests(ResourceCase):
    """What a resource is asked."""

    def test_who_asks_for_what(self) -> None:
        """Method, path, arguments, fields, cookies and addresses are the client's."""
        rig, application, client = self.asked(
            lambda request: b"hello", get(b"/a%20b?x=1&x=2", b"Cookie: a=1", b"X-Own: 1")
        )
        self.assertEqual((status(got := client.received()), split(got)[2]), (200, b"hello"))
        request = application.requests[0]
        self.assertEqual((request.method, request.uri, request.args), (b"GET", b"/a%20b?x=1&x=2", {b"x": [b"1", b"2"]}))
        self.assertEqual((request.postpath, request.getCookie(b"a"), request.getHeader(b"x-own")), ([b"a b"], b"1", b"1"))
        self.assertEqual((request.getClientAddress().host, request.isSecure()), ("192.0.2.7", False))
        self.assertEqual(request.getHeader(b"x-request-id"), rig.ended[0].request_id)
        self.assertEqual(request.getRequestHostname(), b"example.org")

    def test_below_a_prefix(self) -> None:
        """What the route has matched is taken off the path, the longest of it, and is there as prepath."""
        for path, expected in (
            (b"/app/x/y", ([b"app"], [b"x", b"y"])),
            (b"/app/v1/x", ([b"app", b"v1"], [b"x"])),
            (b"/a%70p/x", ([b"app"], [b"x"])),
            (b"/apply", ([], [b"apply"])),
            (b"/app", ([b"app"], [])),
        ):
            seen: list[Any] = []

            def act(request: Any, seen: list[Any] = seen) -> bytes:
                seen.append((request.sitepath, request.postpath))
                return b""

            rig = self.serve(Application(act), prefixes=("/app/", "/app/v1"))
            client = rig.client()
            client.send(get(path))
            self.assertEqual(seen, [expected])

    def test_a_body(self) -> None:
        """The body is all there when the resource is asked, whatever framed it, and however large."""
        large = b"0123456789" * 20_000
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
        for data, body in ((post(b"abcde"), b"abcde"), (post(large), large), (chunked, b"abcde")):
            application = Application(lambda request: request.content.read())
            rig = self.serve(application)
            client = rig.client()
            client.send(data[:100])
            client.send(data[100:])
            rig.turn()
            self.assertEqual(split(client.received())[2], body)
            self.assertEqual(rig.ended[0].request_bytes, len(body))
            client.send(GET)
            self.assertEqual(len(application.requests), 2)

    def test_a_form(self) -> None:
        """Forms are read as twisted.web reads them; one that is none is refused."""
        field = b"Content-Type: application/x-www-form-urlencoded"
        _, application, _ = self.asked(lambda request: b"", post(b"a=1&b=2", field))
        self.assertEqual(application.requests[0].args, {b"a": [b"1"], b"b": [b"2"]})
        rig, application, client = self.asked(lambda request: b"", post(b"x", b"Content-Type: multipart/form-data; boundary=b"))
        self.assertEqual((status(client.received()), application.requests, rig.ended[0].end), (400, [], "bad-request"))

    def test_a_body_that_is_too_large(self) -> None:
        """It is refused before the resource is asked, at its announcement or as it comes."""
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
        for data in (post(b"abcde")[:-5], chunked):
            application = Application()
            rig = self.serve(application, body_limit_here=4)
            client = rig.client()
            client.send(data)
            self.assertEqual((status(client.received()), application.requests), (413, []))
            self.assertEqual(rig.ended[0].end, "too-large")

    def test_a_client_that_waits_to_be_asked(self) -> None:
        """One that expects 100 is told to send."""
        _rig, _application, client = self.asked(
            lambda request: request.content.read(), post(b"abc", b"Expect: 100-continue")[:-3]
        )
        self.assertEqual(client.received(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"abc")
        self.assertEqual(split(client.received())[2], b"abc")

    def test_a_client_that_leaves_in_its_body(self) -> None:
        """The resource is never asked."""
        rig, application, client = self.asked(lambda request: b"", post(b"abc")[:-1])
        client.reset()
        self.assertEqual((application.requests, rig.ended[0].end, rig.books.in_flight), ([], "client-left", 0))


class ResponseTests(ResourceCase):
    """What becomes of a response."""

    def test_a_whole_response(self) -> None:
        """It comes with its length, in one piece, and the connection stays."""
        rig, _, client = self.asked(lambda request: b"hello")
        answer = client.received()
        self.assertEqual((values(answer, b"content-length"), values(answer, b"transfer-encoding")), ([b"5"], []))
        ended = rig.ended[0]
        self.assertEqual((ended.end, ended.status, ended.response_bytes, ended.pool), ("route", 200, 5, ""))
        self.assertEqual((rig.books.in_flight, rig.live.statuses), (0, {200: 1}))
        client.send(GET)
        self.assertEqual(status(client.received()), 200)

    def test_later(self) -> None:
        """A resource may answer later, bit by bit."""
        rig, application, client = self.asked(lambda request: NOT_DONE_YET)
        request = application.requests[0]
        request.setHeader(b"X-Later", b"1")
        request.write(b"ab")
        head = client.received()
        self.assertEqual((values(head, b"x-later"), split(head)[2]), ([b"1"], b"2\r\nab\r\n"))
        request.write(b"")
        request.write(b"cd")
        request.finish()
        self.assertEqual(unchunk(split(head)[2] + client.received()), b"abcd")
        self.assertEqual((rig.ended[0].response_bytes, application.left), (4, []))

    def test_http_1_0(self) -> None:
        """A client of HTTP/1.0 gets no chunks."""

        def act(request: Any) -> int:
            request.write(b"ab")
            request.write(b"cd")
            return NOT_DONE_YET

        _rig, application, client = self.asked(act, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        application.requests[0].finish()
        self.assertEqual(split(client.received())[2], b"abcd")
        self.assertTrue(client.ended)

    def test_without_a_body(self) -> None:
        """HEAD, 204 and 304 end with their head."""

        def nothing(code: int) -> Any:
            def act(request: Any) -> bytes:
                request.setResponseCode(code)
                return b""

            return act

        for act, data, code in ((nothing(204), GET, 204), (nothing(304), GET, 304), (lambda request: b"hello", None, 200)):
            rig, _, client = self.asked(act, get(method=b"HEAD") if data is None else data)
            answer = client.received()
            self.assertEqual((status(answer), split(answer)[2], values(answer, b"transfer-encoding")), (code, b"", []))
            client.send(GET)
            self.assertEqual(len(rig.ended), 2)

    def test_through_filters(self) -> None:
        """Filters see it as they see a backend's, and may change it."""
        one = Noted()
        rig, _, client = self.asked(lambda request: b"hello", GET, one, Changing(Upper))
        answer = client.received()
        self.assertEqual((split(answer)[2], values(answer, b"content-length")), (b"HELLO!", [b"6"]))
        self.assertEqual((one.notes[-3:], rig.ended[0].response_bytes), (["one response 200", "one body", "one over"], 6))

    def test_a_failing_filter(self) -> None:
        """One that fails is answered for with 500, and the resource is told."""
        one = Noted()
        one.fails_in = "response"
        rig, application, client = self.asked(lambda request: NOT_DONE_YET, GET, one)
        application.requests[0].write(b"ab")
        self.assertEqual((status(client.received()), len(application.left), rig.ended[0].end), (500, 1, "filter"))
        self.flushLoggedErrors(RuntimeError)

    def test_exceptions(self) -> None:
        """A resource that fails is answered for with 500; one that fails in mid-response, or says less than it announced, has the
        connection dropped."""

        def fails(request: Any) -> bytes:
            raise RuntimeError("boom")

        rig, _, client = self.asked(fails)
        self.assertEqual((status(client.received()), rig.ended[0].status), (500, 500))

        def fails_later(request: Any) -> int:
            request.write(b"ab")
            return NOT_DONE_YET

        rig, application, client = self.asked(fails_later)
        application.requests[0].processingFailed(Failure(RuntimeError("boom")))
        self.assertTrue(client.aborted)

        def short(request: Any) -> int:
            request.setHeader(b"Content-Length", b"5")
            return NOT_DONE_YET

        rig, application, client = self.asked(short)
        application.requests[0].write(b"ab")
        application.requests[0].finish()
        self.assertEqual((client.aborted, rig.ended[0].end, rig.books.in_flight), (True, "bug", 0))
        self.flushLoggedErrors(RuntimeError)

    def test_more_than_announced(self) -> None:
        """What is too much is not sent: the client would take it for the next response."""

        def long(request: Any) -> int:
            request.setHeader(b"Content-Length", b"2")
            request.write(b"abcd")
            request.write(b"ef")
            request.finish()
            return NOT_DONE_YET

        _, _, client = self.asked(long)
        self.assertEqual(split(client.received())[2], b"ab")

    def test_a_length_that_is_none(self) -> None:
        """Several, or what is no number, do not frame the response, nor does one of a status that has no body."""
        for said in ([b"5", b"7"], [b"+5"], [b"5,5"], [b"5 5"], [b""], [b"9" * 30]):

            def act(request: Any, said: list[bytes] = said) -> Any:
                request.responseHeaders.setRawHeaders(b"content-length", said)
                request.write(b"hello")
                request.finish()
                return NOT_DONE_YET

            _, _, client = self.asked(act, GET + GET)
            got = client.received()
            self.assertEqual(values(got, b"content-length"), [b"5"], said)
            self.assertEqual((got.count(b"HTTP/1.1 200"), split(got)[2][:5]), (2, b"hello"), said)
        for code in (204, 304):

            def empty(request: Any, code: int = code) -> Any:
                request.setResponseCode(code)
                request.setHeader(b"content-length", b"5")
                return b"hello"

            _, _, client = self.asked(empty, GET + GET)
            got = client.received()
            self.assertEqual((got.count(b"HTTP/1.1 %d" % code), got.count(b"hello")), (2, 0))
            self.assertEqual(values(got, b"content-length"), [] if code == 204 else [b"5"])

    def test_a_status_that_ends_nothing(self) -> None:
        """1xx would let the client wait for another head: it is told of an error."""
        for code in (100, 101, 103):

            def act(request: Any, code: int = code) -> bytes:
                request.setResponseCode(code)
                return b"hello"

            with capturedLogs() as logs:
                _, _, client = self.asked(act)
            self.assertEqual(status(client.received()), 500)
            self.assertIn("is no answer", logs[0]["log_format"])

    def test_the_client_leaves(self) -> None:
        """notifyFinish tells the resource, and what it writes then goes nowhere."""
        rig, application, client = self.asked(lambda request: NOT_DONE_YET)
        client.reset()
        self.assertEqual(len(application.left), 1)
        application.left[0].trap(ConnectionLost)
        application.requests[0].write(b"too late")
        self.assertEqual((rig.ended[0].end, rig.books.in_flight), ("client-left", 0))

    def test_breaking_off(self) -> None:
        """A resource may break off."""
        _rig, application, client = self.asked(lambda request: NOT_DONE_YET)
        application.requests[0].write(b"ab")
        application.requests[0].loseConnection()
        self.assertTrue(client.aborted)

    def test_a_push_producer(self) -> None:
        """It is paused as long as the client does not read, and stopped when it leaves."""
        producer = Push()

        def act(request: Any) -> int:
            request.registerProducer(producer, True)
            request.write(b"ab")
            return NOT_DONE_YET

        _, _, client = self.asked(act)
        client.stop_reading()
        client.read_on()
        client.reset()
        self.assertEqual(producer.told, ["pause", "resume", "stop"])

    def test_a_pull_producer(self) -> None:
        """It is asked for one part in a turn, as long as the client reads."""
        producer = Pull(4)

        def act(request: Any) -> int:
            producer.request = request
            request.registerProducer(producer, False)
            return NOT_DONE_YET

        rig, _, client = self.asked(act)
        producer.after = lambda: client.stop_reading() if producer.left == 3 else None
        rig.turn()
        self.assertEqual(producer.left, 3)
        client.read_on()
        rig.turn()
        self.assertEqual(unchunk(split(client.received())[2]), b"4321")
        self.assertEqual(rig.ended[0].end, "route")

    def test_a_pull_producer_whose_client_leaves(self) -> None:
        """It is stopped, and not asked again; one that fails breaks off."""
        for fails in (False, True):
            producer = Pull(4)

            def act(request: Any, producer: Pull = producer) -> int:
                producer.request = request
                request.registerProducer(producer, False)
                return NOT_DONE_YET

            rig, _, client = self.asked(act)
            producer.after = client.stop_reading
            rig.turn()
            self.assertEqual(producer.left, 3)
            if fails:
                producer.left = -5
                client.read_on()
                rig.turn()
                self.assertTrue(client.aborted)
                self.flushLoggedErrors(ZeroDivisionError)
            else:
                client.reset()
            self.assertTrue(producer.stopped)
            left = producer.left
            rig.turn()
            self.assertEqual((producer.left, rig.books.in_flight), (left, 0))

    def test_the_web_face(self) -> None:
        """A request of twisted.web comes to the resource as well."""
        rig = WebRig()
        application = Application(lambda request: request.content.read())
        lead(rig, target=ResourceTarget(application, rig.resource.site.router))
        client = rig.client()
        client.send(post(b"abc"))
        rig.turn()
        self.assertEqual(split(client.received())[2], b"abc")

    def test_no_garbage_is_left_for_the_collector(self) -> None:
        """Exchanges are freed as they end."""
        application = Resource()
        application.putChild(b"", Application())
        application.getChildWithDefault(b"", None).requests = Forgetful()
        rig = self.serve(application)
        client = rig.client()
        rig.ended = Forgetful()
        for count in range(24):
            if count == 4:
                gc.collect()
                gc.disable()
                self.addCleanup(gc.enable)
            client.send(GET)
            self.assertEqual(status(client.received()), 200)
        self.assertLess(gc.collect(), 20)


class Forgetful(list[Any]):
    """Keeps nothing."""

    def append(self, one: Any) -> None:
        """Forget it."""


@implementer(IPushProducer)
class Push:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Pull:
    """Gives so many parts."""

    request: Any

    def __init__(self, left: int) -> None:
        self.left = left
        self.stopped = False
        self.after: Any = lambda: None

    def resumeProducing(self) -> None:
        if self.left < 0:
            raise ZeroDivisionError
        if self.left:
            self.request.write(b"%d" % self.left)
            self.left -= 1
            self.after()
        else:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self) -> None:
        self.stopped = True


class StaticTests(SynchronousTestCase):
    """Files below a directory."""

    def setUp(self) -> None:
        top = Path(self.mktemp()).resolve()
        self.root = top / "www"
        (self.root / "sub").mkdir(parents=True)
        (self.root / ".well-known").mkdir()
        (self.root / ".git").mkdir()
        (self.root / "empty").mkdir()
        (top / "secret.txt").write_bytes(b"secret")
        for name, data in (
            ("index.html", b"<p>home"),
            ("a.txt", b"0123456789"),
            ("none", b""),
            ("odd", b"?"),
            ("sub/index.html", b"<p>sub"),
            (".hidden", b"secret"),
            (".git/config", b"secret"),
            (".well-known/security.txt", b"mail us"),
        ):
            (self.root / name).write_bytes(data)
        os.symlink(top / "secret.txt", self.root / "link")
        os.mkfifo(self.root / "pipe")

    def asked(self, data: bytes, **keys: Any) -> bytes:
        prefixes, filters = keys.pop("prefixes", ()), keys.pop("filters", ())
        spec = StaticFiles(directory=str(self.root), **keys)
        rig = FilteredRig(*filters, target=lambda rig: static_target(spec, rig.resource.site.router, prefixes))
        client = rig.client()
        client.send(data)
        for _ in range(6):
            rig.turn()
        self.assertEqual((len(rig.ended), rig.books.in_flight), (1, 0))
        self.client = client
        return client.received()

    def test_a_file(self) -> None:
        """It comes with its length, its type and its time."""
        answer = self.asked(get(b"/a.txt"))
        self.assertEqual((status(answer), split(answer)[2]), (200, b"0123456789"))
        self.assertEqual((values(answer, b"content-length"), values(answer, b"content-type")), ([b"10"], [b"text/plain"]))
        self.assertTrue(values(answer, b"last-modified"))
        self.assertFalse(self.client.ended)

    def test_other_files(self) -> None:
        """An index stands for its directory, an empty file is one, an unknown type is bytes, a link leads where it leads."""
        self.assertEqual(split(self.asked(get(b"/")))[2], b"<p>home")
        self.assertEqual(split(self.asked(get(b"/sub/")))[2], b"<p>sub")
        self.assertEqual(status(self.asked(get(b"/none"))), 200)
        self.assertEqual(values(self.asked(get(b"/odd")), b"content-type"), [b"application/octet-stream"])
        self.assertEqual(split(self.asked(get(b"/link")))[2], b"secret")
        self.assertEqual(split(self.asked(get(b"/.well-known/security.txt")))[2], b"mail us")
        self.assertEqual(split(self.asked(get(b"/", ), index=("a.txt",)))[2], b"0123456789")

    def test_below_a_prefix(self) -> None:
        """The route's prefix is taken off."""
        self.assertEqual(split(self.asked(get(b"/static/a.txt"), prefixes=("/static",)))[2], b"0123456789")
        self.assertEqual(split(self.asked(get(b"/static/"), prefixes=("/static",)))[2], b"<p>home")

    def test_a_directory_without_its_slash(self) -> None:
        """The client is sent to the same place with a slash, and nowhere else."""
        answer = self.asked(get(b"/static/sub"), prefixes=("/static",))
        self.assertEqual((status(answer), values(answer, b"location")), (302, [b"/static/sub/"]))
        self.assertEqual(values(self.asked(get(b'/sub?a=%zz&b="\\')), b"location"), [b"/sub/?a=%25zz&b=%22%5C"])
        strip = PrefixStrip(prefix="/st").make(FilterContext(reactor=None, clock=None, random=Random(1)))  # type: ignore[arg-type]
        answer = self.asked(get(b"/st/sub?x=1"), filters=(strip,))
        self.assertEqual((status(answer), values(answer, b"location")), (302, [b"/st/sub/?x=1"]))
        for path in (b"//sub", b"///sub", b"//evil.example/..", b"/%2fsub"):
            answer = self.asked(get(path))
            self.assertEqual((status(answer), values(answer, b"location")), (404, []), path)

    def test_what_is_not_there(self) -> None:
        """Names with a dot before them, lists of directories, pipes, and what is outside are not there."""
        for path in (
            b"/.hidden", b"/.git/config", b"/%2egit/config", b"/empty/", b"/pipe", b"/nothing", b"/a.txt/", b"/a.txt/b",
            b"/../secret.txt", b"/..", b"/%2e%2e/secret.txt", b"/..%2fsecret.txt", b"/sub/../../secret.txt", b"/a.txt%00",
            b"/%00", b"/sub%2f..%2f..%2fsecret.txt", b"/x%2f..%2f.git/config", b"/sub%2f..%2f.hidden", b"/sub%2f..%2fa.txt",
            b"/sub%2f", b"/\\..\\secret.txt", b"/%ff", b"/" + b"a" * 300,
        ):  # fmt: skip
            answer = self.asked(get(path))
            self.assertEqual(status(answer), 404, path)
            self.assertNotIn(b"secret", split(answer)[2])
        self.flushLoggedErrors(UnicodeDecodeError)

    @given(strategies.lists(strategies.sampled_from((b"..", b"%2e%2e", b"/", b"%2f", b"%00", b"secret.txt", b"sub")), max_size=8))
    def test_no_way_out(self, parts: list[bytes]) -> None:
        """No path leads out of the directory."""
        self.assertNotIn(b"secret", split(self.asked(get(b"/" + b"".join(parts))))[2])

    def test_methods(self) -> None:
        """HEAD has no body, others than GET and HEAD are not served."""
        answer = self.asked(get(b"/a.txt", method=b"HEAD"))
        self.assertEqual((values(answer, b"content-length"), split(answer)[2]), ([b"10"], b""))
        self.assertEqual(status(self.asked(get(b"/a.txt", method=b"DELETE"))), 501)
        self.assertEqual(status(self.asked(post(b"abc"))), 405)

    def test_ranges(self) -> None:
        """A part comes as a part; what cannot be met as it stands comes whole, or not at all."""
        for asked, code, body in (
            (b"bytes=2-4", 206, b"234"),
            (b"bytes=-3", 206, b"789"),
            (b"bytes=7-", 206, b"789"),
            (b"bytes=5-99", 206, b"56789"),
            (b"bytes=-99", 200, b"0123456789"),
            (b"bytes=20-30", 416, b""),
            (b"bytes=a-b", 200, b"0123456789"),
            (b"bytes=\xe9", 200, b"0123456789"),
            (b"lines=1-2", 200, b"0123456789"),
            (b"bytes=0-" + b",0-" * 100, 200, b"0123456789"),
        ):
            answer = self.asked(get(b"/a.txt", b"Range: " + asked))
            self.assertEqual((status(answer), split(answer)[2]), (code, body), asked)
        answer = self.asked(get(b"/a.txt", b"Range: bytes=0-1,4-5"))
        self.assertEqual(status(answer), 206)
        self.assertIn(b"\r\n\r\n01\r\n", answer)
        self.assertIn(b"\r\n\r\n45\r\n", answer)

    def test_conditions(self) -> None:
        """What has not changed since is not sent again; If-Range has its say."""
        time = values(self.asked(get(b"/a.txt")), b"last-modified")[0]
        answer = self.asked(get(b"/a.txt", b"If-Modified-Since: " + time))
        self.assertEqual((status(answer), split(answer)[2]), (304, b""))
        for condition, code in ((time, 206), (b'"tag"', 200)):
            answer = self.asked(get(b"/a.txt", b"Range: bytes=0-1", b"If-Range: " + condition))
            self.assertEqual(status(answer), code)

    def test_a_large_file(self) -> None:
        """It is read as the client takes it."""
        (self.root / "large").write_bytes(b"x" * (5 << 16))
        spec = StaticFiles(directory=str(self.root))
        rig = FilteredRig(target=lambda rig: static_target(spec, rig.resource.site.router))
        client = rig.client()
        client.send(get(b"/large"))
        client.stop_reading()
        rig.turn()
        head, _, first = client.received().partition(b"\r\n\r\n")
        self.assertEqual((status(head), len(first)), (200, 1 << 16))
        client.read_on()
        rig.turn()
        self.assertEqual(len(client.received()), 4 << 16)
        self.assertEqual(rig.ended[0].end, "route")

    def test_no_directory(self) -> None:
        """A directory that is not there is a mistake in the configuration."""
        rig = FilteredRig()
        for path in (self.root / "nowhere", self.root / "a.txt"):
            spec = StaticFiles(directory=str(path))
            self.assertRaises(ConfigurationError, static_target, spec, rig.resource.site.router)


class NotFoundTests(ResourceCase):
    """Resources that answer with other resources."""

    def test_nothing_there(self) -> None:
        """A tree's own 404 is a 404."""
        rig = self.serve(NoResource())
        client = rig.client()
        client.send(GET)
        self.assertEqual(status(client.received()), 404)
