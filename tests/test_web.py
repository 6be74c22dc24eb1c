"""The web face: what goes on of a ``twisted.web`` request, and what becomes of the response."""

from __future__ import annotations

import tempfile
from io import BytesIO
from typing import Any
from unittest import skipUnless

from twisted.internet.interfaces import IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import H2_ENABLED
from twisted.web.http_headers import Headers
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import GzipEncoderFactory, Request, Site
from twisted.web.static import Data
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from lbproxy.errors import BadMessage
from lbproxy.http1.fields import field_value
from lbproxy.interfaces import IDownstream
from lbproxy.testing import FakeBackend, MemoryBackends
from lbproxy.web import PIECE, WebDownstream
from lbproxy.web_request import request_head

from .corpus.requests import REFUSED
from .support import GET, LIMITS, OK, Peer, Rig, post, sent, split, status, unchunk, values


class QuietSite(Site):
    """A site without a log."""

    def log(self, request: Any) -> None:
        """Write nothing."""


class WebRig(Rig):
    """A rig whose clients come to a site with the resource at its root."""

    def __init__(self, backends: str = "10.0.0.1:8000", root: Any = None, **settings: Any) -> None:
        super().__init__(backends, **settings)
        self.site = QuietSite(self.resource if root is None else root(self.resource), reactor=self.reactor)

    def client(self, address: str = "192.0.2.7") -> Peer:
        """A client connects."""
        return Peer(self.reactor, address).attach(self.site.buildProtocol(None))

    def exchange(self, data: bytes = GET, answer: bytes = OK) -> tuple[bytes, bytes, Peer]:
        """One whole exchange: what the backend got, what the client got, and the client."""
        client = self.client()
        client.send(data)
        backend = self.accept()
        asked = backend.received()
        backend.send(answer)
        self.turn()
        return asked, client.received(), client


class RequestHeads(SynchronousTestCase):
    """What a head is made of."""

    def make(self, method: bytes = b"GET", proto: bytes = b"HTTP/1.1", body: bytes = b"", **fields: list[bytes]) -> Any:
        request: Any = type("Fake", (), {})()
        request.method, request.uri, request.clientproto, request.content = method, b"/a%2Fb?c=d", proto, BytesIO(body)
        request.requestHeaders = Headers({b"Host": [b"example.org"]})
        for name, given in fields.items():
            request.requestHeaders.setRawHeaders(name.replace("_", "-"), given)
        return request

    def sent(self, request: Any) -> bytes:
        return sent(request_head(request, LIMITS))

    def test_the_target_and_repeated_fields_go_on(self) -> None:
        message = self.sent(self.make(accept=[b"a", b"b"]))
        self.assertEqual(split(message)[0], b"GET /a%2Fb?c=d HTTP/1.1")
        self.assertEqual(values(message, b"accept"), [b"a", b"b"])

    def test_a_body_that_came_in_chunks_is_sized(self) -> None:
        head = request_head(self.make(b"POST", body=b"hello", transfer_encoding=[b"chunked"]), LIMITS)
        self.assertEqual((head.length, head.chunked), (5, False))
        message = sent(head)
        self.assertEqual(values(message, b"content-length"), [b"5"])
        self.assertEqual(values(message, b"transfer-encoding"), [])

    def test_an_empty_body_that_came_in_chunks_has_a_length_too(self) -> None:
        self.assertEqual(values(self.sent(self.make(b"POST", transfer_encoding=[b"chunked"])), b"content-length"), [b"0"])

    def test_a_body_read_before_is_sized_from_its_beginning(self) -> None:
        request = self.make(b"POST", body=b"hello", content_length=[b"5"])
        request.content.read()
        self.assertEqual(request_head(request, LIMITS).length, 5)
        self.assertEqual(request.content.read(), b"hello")

    def test_there_is_no_length_where_there_is_no_body(self) -> None:
        head = request_head(self.make(), LIMITS)
        self.assertFalse(head.has_body)
        self.assertIsNone(field_value(head.fields, b"content-length"))

    def test_http2_is_handed_on_as_http1(self) -> None:
        request = self.make(b"POST", b"HTTP/2", b"hello", cookie=[b"a=1", b"b=2"], host=[b"x.example", b"x.example"])
        message = self.sent(request)
        self.assertEqual(split(message)[0][-8:], b"HTTP/1.1")
        self.assertEqual(values(message, b"cookie"), [b"a=1; b=2"])
        self.assertEqual(values(message, b"host"), [b"x.example"])
        self.assertEqual(values(message, b"content-length"), [b"5"])

    def test_two_hosts_that_differ_are_refused_in_http2_as_well(self) -> None:
        with self.assertRaises(BadMessage):
            request_head(self.make(proto=b"HTTP/2", host=[b"x.example", b"y.example"]), LIMITS)

    def test_a_line_break_that_http2_carried_makes_no_second_request(self) -> None:
        for attribute, value in (("method", b"GET / HTTP/1.1\r\nX: y\r\n\r\nGET"), ("uri", b"/ HTTP/1.1\r\nX: y\r\n\r\nGET /")):
            request = self.make(proto=b"HTTP/2")
            setattr(request, attribute, value)
            with self.assertRaises(BadMessage):
                request_head(request, LIMITS)

    def test_a_head_beyond_the_limit_is_refused(self) -> None:
        with self.assertRaises(BadMessage) as caught:
            request_head(self.make(x=[b"y" * LIMITS.size]), LIMITS)
        self.assertEqual(caught.exception.status, 431)


class Requests(SynchronousTestCase):
    """From the site to the backend."""

    def test_it_is_what_it_says(self) -> None:
        downstream = WebDownstream(None)
        verifyObject(IDownstream, downstream)
        verifyObject(IPushProducer, downstream)

    def test_a_get_goes_to_the_backend_with_what_we_know_of_the_client(self) -> None:
        asked, answer, _ = WebRig().exchange()
        self.assertEqual(split(asked)[0], b"GET / HTTP/1.1")
        self.assertEqual(values(asked, b"host"), [b"example.org"])
        self.assertEqual(values(asked, b"x-forwarded-for"), [b"192.0.2.7"])
        self.assertEqual(values(asked, b"x-forwarded-proto"), [b"http"])
        self.assertEqual((status(answer), split(answer)[2]), (200, b"ok"))

    def test_the_path_above_the_resource_goes_on(self) -> None:
        def root(resource: Any) -> Resource:
            tree = Resource()
            tree.putChild(b"api", resource)
            tree.putChild(b"here", Data(b"here", "text/plain"))
            return tree

        rig = WebRig(root=root)
        asked, _, client = rig.exchange(b"GET /api/x%2Fy;z/@?q HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(split(asked)[0], b"GET /api/x%2Fy;z/@?q HTTP/1.1")
        client.send(b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(split(client.received())[2], b"here")

    def test_hop_by_hop_fields_stay_here(self) -> None:
        asked, _, _ = WebRig().exchange(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\n"
            b"X-Forwarded-For: 6.6.6.6\r\nX-B: 2\r\n\r\n"
        )
        for name in (b"x-mine", b"te", b"connection"):
            self.assertEqual(values(asked, name), [])
        self.assertEqual(values(asked, b"x-forwarded-for"), [b"192.0.2.7"])
        self.assertEqual(values(asked, b"x-b"), [b"2"])

    def test_a_small_body_goes_with_its_head(self) -> None:
        asked, _, _ = WebRig().exchange(post(b"hello"))
        self.assertEqual((values(asked, b"content-length"), split(asked)[2]), ([b"5"], b"hello"))

    def test_a_chunked_body_goes_on_sized(self) -> None:
        asked, _, _ = WebRig().exchange(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        )
        self.assertEqual(values(asked, b"content-length"), [b"5"])
        self.assertEqual(values(asked, b"transfer-encoding"), [])
        self.assertEqual(split(asked)[2], b"hello")

    def test_a_form_that_the_site_has_parsed_goes_on_whole(self) -> None:
        asked, _, _ = WebRig().exchange(post(b"a=b&c=d", b"Content-Type: application/x-www-form-urlencoded"))
        self.assertEqual(split(asked)[2], b"a=b&c=d")

    def test_a_large_body_comes_from_its_file_piece_by_piece(self) -> None:
        rig, body = WebRig(), bytes(range(256)) * 2000
        client = rig.client()
        client.send(post(body))
        backend = rig.accept()
        self.assertEqual(split(backend.received())[2], body[:PIECE])
        rig.turn()
        self.assertEqual(backend.received(), body[PIECE:])
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assertEqual(rig.ended[0].end, "done")

    def test_a_slow_backend_gets_no_more_until_it_has_read(self) -> None:
        rig, body = WebRig(), b"x" * 500_000
        rig.client().send(post(body))
        backend = rig.accept()
        backend.stop_reading()
        sent = len(backend.received())
        for _ in range(20):
            rig.turn()
        self.assertEqual(backend.received(), b"")
        backend.read_on()
        for _ in range(20):
            rig.turn()
        self.assertGreater(sent + len(backend.received()), len(body))

    def test_an_answer_before_the_upload_is_over_ends_the_upload(self) -> None:
        rig = WebRig()
        client = rig.client()
        client.send(post(b"x" * 500_000))
        backend = rig.accept()
        backend.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(status(client.received()), 413)
        backend.received()
        for _ in range(20):
            rig.turn()
        self.assertEqual(backend.received(), b"")
        client.send(GET)  # the client's connection is fit for another
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_what_is_malformed_never_reaches_a_backend(self) -> None:
        for what, data, _ in REFUSED:
            if "folded" in what:
                continue  # twisted.web joins the lines, as RFC 9112 section 5.2 allows; they go on as one
            rig = WebRig()
            client = rig.client()
            client.send(data)
            client.send(b"0\r\n\r\n")  # where twisted.web waits for a body before it hands the request over
            self.assertEqual(rig.connects, [], what)
            answer = client.received()
            if answer:
                self.assertGreaterEqual(status(answer), 400, what)
                self.assertTrue(client.closed, what)

    def test_a_refusal_says_why_is_counted_and_closes(self) -> None:
        rig = WebRig()
        client = rig.client()
        client.send(b"GET / HTTP/1.1\r\n\r\n" + GET)
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"connection")), (400, [b"close"]))
        self.assertIn(b"Host", split(answer)[2])
        self.assertEqual(answer.count(b"HTTP/1.1"), 2)  # in the status line and in the sentence: what was pipelined is not served
        self.assertTrue(client.closed)
        self.assertEqual(rig.resource.counters.rejected, {"host": 1})
        self.assertEqual(rig.connects, [])

    def test_a_request_whose_client_has_left_meanwhile_is_not_begun(self) -> None:
        rig = WebRig()
        request = type("Gone", (), {"channel": None})()
        WebDownstream(request).begin(rig.resource)
        self.assertEqual(rig.connects, [])


class Responses(SynchronousTestCase):
    """From the backend to the client."""

    def test_the_backends_fields_go_on_as_they_came_and_no_others(self) -> None:
        fields = b'X-b: 1\r\nserver: mine\r\nSet-Cookie: a\r\nETAG: "x"\r\nSet-Cookie: b\r\nContent-Length: 2\r\n'
        _, answer, _ = WebRig().exchange(
            answer=b"HTTP/1.1 299 Very Fine\r\n" + fields + b"Connection: X-Hop\r\nX-Hop: 1\r\n\r\nok"
        )
        self.assertEqual(answer, b"HTTP/1.1 299 Very Fine\r\n" + fields + b"\r\nok")

    def test_nothing_is_made_up(self) -> None:
        _, answer, _ = WebRig().exchange()
        self.assertEqual(answer, OK)

    def test_a_body_of_unknown_length_is_chunked(self) -> None:
        rig = WebRig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n")
        answer = client.received()
        self.assertEqual(values(answer, b"transfer-encoding"), [b"chunked"])
        self.assertEqual(unchunk(split(answer)[2]), b"abcde")
        self.assertEqual(rig.ended[0].end, "done")
        self.assertFalse(client.closed)

    def test_a_head_of_unknown_length_may_come_without_its_body(self) -> None:
        rig = WebRig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(status(client.received()), 200)
        backend.send(b"abc")
        backend.hang_up()
        self.assertEqual(unchunk(client.received()), b"abc")

    def test_1_0_gets_no_chunks_and_a_close(self) -> None:
        answer_chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        _, answer, client = WebRig().exchange(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", answer_chunked)
        self.assertEqual((values(answer, b"transfer-encoding"), split(answer)[2]), ([], b"abc"))
        self.assertTrue(client.closed)

    def test_a_sized_body_streams(self) -> None:
        rig = WebRig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
        self.assertEqual(split(client.received())[2], b"ab")
        backend.send(b"cd", b"ef")
        self.assertEqual(client.received(), b"cdef")
        client.send(GET)
        self.assertEqual(len(rig.connects), 0)  # over the connection that has become free
        self.assertEqual(split(backend.received())[0], b"GET / HTTP/1.1")

    def test_head_204_and_304_have_no_body(self) -> None:
        for method, answer in (
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            (b"HEAD", b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"),
            (b"GET", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        ):
            rig = WebRig()
            _, given, client = rig.exchange(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n", answer)
            self.assertEqual(given, answer)
            client.send(GET)
            rig.turn()
            self.assertEqual(rig.ended[0].end, "done")

    def test_our_own_answer_to_head_has_no_body(self) -> None:
        rig = WebRig("10.0.0.1:8000,10.0.0.2:8000")
        for address in rig.pool.members:
            rig.mark(address, up=False)
        client = rig.client()
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.received()
        self.assertEqual((status(answer), split(answer)[2]), (503, b""))
        self.assertTrue(values(answer, b"retry-after"))

    def test_close_closes_also_where_twisted_does_not_see_it(self) -> None:
        for field in (b"close", b"keep-alive, close", b"keep-alive,Close"):
            _, answer, client = WebRig().exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + field + b"\r\n\r\n")
            self.assertEqual(values(answer, b"connection"), [b"close"], field)
            self.assertTrue(client.closed, field)

    def test_a_pair_keeps_its_order(self) -> None:
        rig = WebRig()
        client = rig.client()
        client.send(GET + GET.replace(b"/ ", b"/2 "))
        backend = rig.accept()
        self.assertEqual(backend.received().count(b"GET "), 1)
        backend.send(OK.replace(b"ok", b"1."))
        self.assertIn(b"GET /2 ", backend.received())
        backend.send(OK.replace(b"ok", b"2."))
        self.assertRegex(client.received(), rb"(?s)1\..*2\.")

    def test_a_body_cut_short_aborts_the_client(self) -> None:
        for begin in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        ):
            rig = WebRig()
            client = rig.client()
            client.send(GET)
            backend = rig.accept()
            backend.send(begin)
            backend.hang_up()
            self.assertTrue(client.aborted)
            self.assertNotIn(b"0\r\n\r\n", client.received())
            rig.turn()
            self.assertEqual(rig.ended[0].end, "truncated")

    def test_a_slow_client_pauses_the_backend(self) -> None:
        rig = WebRig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
        client.stop_reading()
        self.assertTrue(backend.unread)
        client.read_on()
        self.assertFalse(backend.unread)
        backend.send(b"cdef")
        rig.turn()
        self.assertEqual(split(client.received())[2], b"abcdef")
        self.assertFalse([watched for watched in rig.balancer.sweep.watched if isinstance(watched, WebDownstream)])

    def test_a_client_that_reads_no_more_is_given_up(self) -> None:
        rig = WebRig(write_timeout=10, idle_timeout=3600)
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
        client.stop_reading()
        rig.wait(9)
        self.assertFalse(client.aborted)
        rig.wait(4)
        self.assertTrue(client.aborted)
        self.assertTrue(backend.aborted)
        self.assertEqual(rig.ended[0].end, "client-timeout")
        self.assertFalse([watched for watched in rig.balancer.sweep.watched if isinstance(watched, WebDownstream)])

    def test_a_client_that_leaves_aborts_its_attempt(self) -> None:
        for begun in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab"):
            rig = WebRig()
            client = rig.client()
            client.send(GET)
            backend = rig.accept()
            backend.send(begun)
            client.hang_up()
            self.assertTrue(backend.aborted)
            rig.turn()
            self.assertEqual(rig.ended[0].end, "client-left")
            self.assertEqual(rig.member().in_flight, 0)

    def test_a_client_that_leaves_in_mid_upload_is_read_no_further(self) -> None:
        rig = WebRig()
        client = rig.client()
        client.send(post(b"x" * 500_000))
        backend = rig.accept()
        client.hang_up()
        backend.received()
        for _ in range(10):
            rig.turn()
        self.assertEqual(backend.received(), b"")
        self.assertEqual(rig.ended[0].end, "client-left")

    def test_nothing_is_said_to_a_client_that_has_left(self) -> None:
        rig = WebRig()
        made: list[WebDownstream] = []
        original = rig.resource.exchange
        rig.resource.exchange = lambda downstream, *rest: made.append(downstream) or original(downstream, *rest)  # type: ignore
        client = rig.client()
        client.send(GET)
        client.hang_up()
        head = request_head_of(OK)
        for call in (lambda: made[0].respond(head, b"", False), lambda: made[0].write(b"x"), made[0].finish, made[0].abort):
            call()
        made[0].pauseProducing()
        made[0].resumeProducing()
        made[0].stopProducing()
        self.assertEqual(client.received(), b"")

    def test_a_retry_on_another_backend_is_not_noticed(self) -> None:
        rig = WebRig("10.0.0.1:8000,10.0.0.2:8000", retries=0)
        client = rig.client()
        client.send(post(b"hello"))
        rig.refuse()
        backend = rig.accept()
        self.assertEqual(split(backend.received())[2], b"hello")
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_the_sites_log_gets_its_figures(self) -> None:
        logged: list[Any] = []
        for answer in (OK, b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"):
            rig = WebRig()
            rig.site.log = lambda request: logged.append((request.code, request.sentLength))  # type: ignore[method-assign]
            rig.exchange(answer=answer)
        self.assertEqual(logged, [(200, 2), (404, 3)])

    def test_no_garbage_is_left_for_the_collector(self) -> None:
        import gc

        network = MemoryBackends(FakeBackend("10.0.0.1:8000"))
        rig = WebRig()
        site = QuietSite(type(rig.resource)(network.pool(), reactor=network), reactor=network)
        client = Peer(network).attach(site.buildProtocol(None))

        def ask() -> None:
            client.send(GET)
            network.settle()

        ask()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for _ in range(20):
            ask()
        self.assertLess(gc.collect(), 20)


def request_head_of(data: bytes) -> Any:
    from .support import response

    return response(data)


class InAnApplication(SynchronousTestCase):
    """Where the application has a say in the response too."""

    def through(self, prepare: Any, answer: bytes = OK, fields: bytes = b"") -> bytes:
        """What the client gets when *prepare* has seen the request first."""

        class Above(Resource):
            def getChild(self, path: bytes, request: Any) -> Any:
                prepare(request)
                return rig.resource

        rig = WebRig(root=lambda _: Above())
        return rig.exchange(b"GET /x HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", answer)[1]

    def test_its_fields_stay_unless_the_backend_has_them(self) -> None:
        def prepare(request: Any) -> None:
            request.setHeader(b"X-Ours", b"1")
            request.setHeader(b"X-Both", b"ours")

        answer = self.through(prepare, b"HTTP/1.1 200 Fine\r\nX-Both: theirs\r\nX-Both: too\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(split(answer)[0], b"HTTP/1.1 200 Fine")
        self.assertEqual(values(answer, b"x-ours"), [b"1"])
        self.assertEqual(values(answer, b"x-both"), [b"theirs", b"too"])
        for name in (b"server", b"date", b"content-type"):
            self.assertEqual(values(answer, name), [])
        self.assertEqual(split(answer)[2], b"ok")

    def test_its_cookies_are_set_beside_the_backends(self) -> None:
        answer = self.through(
            lambda request: request.addCookie(b"ours", b"1"),
            b"HTTP/1.1 200 OK\r\nSet-Cookie: theirs=2\r\nContent-Length: 0\r\n\r\n",
        )
        self.assertEqual(values(answer, b"set-cookie"), [b"theirs=2", b"ours=1"])

    def test_a_request_class_of_its_own_gets_every_write(self) -> None:
        written: list[bytes] = []

        class Mine(Request):
            def write(self, data: bytes) -> None:
                written.append(data)
                super().write(data)

        rig = WebRig()
        rig.site.requestFactory = Mine
        _, answer, _ = rig.exchange()
        self.assertEqual(b"".join(written), b"ok")
        self.assertEqual(answer, OK)

    def test_an_encoder_above_codes_what_comes(self) -> None:
        import gzip

        rig = WebRig(root=lambda resource: EncodingResourceWrapper(resource, [GzipEncoderFactory()]))
        ask = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
        _, answer, _ = rig.exchange(ask)
        self.assertEqual(values(answer, b"content-encoding"), [b"gzip"])
        self.assertEqual(gzip.decompress(unchunk(split(answer)[2])), b"ok")

    def test_what_is_coded_twice_says_so(self) -> None:
        rig = WebRig(root=lambda resource: EncodingResourceWrapper(resource, [GzipEncoderFactory()]))
        ask = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
        _, answer, _ = rig.exchange(ask, b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(values(answer, b"content-encoding"), [b"br", b"gzip"])

    def test_a_body_in_a_file_of_its_own_is_streamed(self) -> None:
        rig = WebRig()
        site: Any = rig.site
        site.getContentFile = lambda length: tempfile.TemporaryFile()  # noqa: SIM115
        asked, _, _ = rig.exchange(post(b"hello"))
        self.assertEqual(split(asked)[2], b"hello")


class H2Client(Protocol):
    """One request over HTTP/2, by the client's half of h2.

    :ivar events: what came of it, by the events' class names.
    """

    def __init__(self, headers: list[tuple[str, str]], body: bytes) -> None:
        self.headers, self.body = headers, body
        self.fields: list[tuple[str, str]] = []
        self.data = b""
        self.events: list[str] = []

    def connectionMade(self) -> None:
        from h2.connection import H2Connection  # type: ignore[import-not-found,unused-ignore]

        self.h2 = H2Connection()
        self.h2.initiate_connection()
        self.h2.send_headers(1, self.headers, end_stream=not self.body)
        if self.body:
            self.h2.send_data(1, self.body, end_stream=True)
        self.flush()

    def flush(self) -> None:
        assert self.transport is not None
        self.transport.write(self.h2.data_to_send())

    def dataReceived(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.events.append(type(event).__name__)
            if hasattr(event, "headers"):
                self.fields += [(_text(name), _text(value)) for name, value in event.headers]
            if hasattr(event, "data") and hasattr(event, "flow_controlled_length"):
                self.data += event.data
        self.flush()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


@skipUnless(H2_ENABLED, "h2 and priority are not installed")
class OverHTTP2(SynchronousTestCase):
    """The same over HTTP/2, which ``twisted.web`` speaks if it can and the client wants to."""

    def ask(
        self, method: str = "GET", body: bytes = b"", more: tuple[tuple[str, str], ...] = (), *, over_tls: bool = False
    ) -> tuple[H2Client, WebRig, Any]:
        rig = WebRig(hsts=60)
        rig.resource.client_certificates = True
        fields = [(":method", method), (":scheme", "https"), (":authority", "example.org"), (":path", "/p?q"), *more]
        client = H2Client(fields, body)
        # What the site makes when TLS has agreed on h2; made here, because there it takes the global reactor.
        from twisted.web._http2 import H2Connection

        channel: Any = H2Connection(rig.reactor)
        channel.requestFactory, channel.site, channel.factory = rig.site.requestFactory, rig.site, rig.site
        channel.timeOut, channel.callLater = None, rig.reactor.callLater
        server_end: Any = iosim.FakeTransport(channel, isServer=True, peerAddress=Peer(rig.reactor).getPeer())
        if over_tls:
            directlyProvides(server_end, ISSLTransport)
            server_end.getPeerCertificate = lambda: None
        link = iosim.connect(channel, server_end, client, iosim.FakeTransport(client, isServer=False), clock=rig.reactor)
        return client, rig, link

    def test_a_request_and_its_response(self) -> None:
        client, rig, link = self.ask(more=(("cookie", "a=1"), ("cookie", "b=2")))
        backend = rig.accept()
        asked = backend.received()
        self.assertEqual(split(asked)[0], b"GET /p?q HTTP/1.1")
        self.assertEqual(values(asked, b"host"), [b"example.org"])
        self.assertEqual(values(asked, b"cookie"), [b"a=1; b=2"])
        backend.send(b"HTTP/1.1 200 OK\r\nX-Y: z\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n")
        link.flush()
        self.assertIn((":status", "200"), client.fields)
        self.assertIn(("x-y", "z"), client.fields)
        self.assertNotIn("transfer-encoding", dict(client.fields))
        self.assertEqual(client.data, b"abc")
        self.assertIn("StreamEnded", client.events)

    def test_over_tls_backends_and_browsers_are_told_so(self) -> None:
        """The connection below the stream has the certificate; here it has none."""
        for over_tls, identity, hsts in ((True, [b"NONE"], "max-age=60"), (False, [], None)):
            client, rig, link = self.ask(over_tls=over_tls)
            backend = rig.accept()
            self.assertEqual(values(backend.received(), b"X-SSL-Client-Verify"), identity)
            backend.send(OK)
            link.flush()
            self.assertEqual(dict(client.fields).get("strict-transport-security"), hsts)

    def test_a_body_without_a_length_gets_one(self) -> None:
        _, rig, _ = self.ask("POST", b"hello")
        asked = rig.accept().received()
        self.assertEqual((values(asked, b"content-length"), split(asked)[2]), ([b"5"], b"hello"))

    def test_a_body_cut_short_resets_the_stream(self) -> None:
        client, rig, link = self.ask()
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
        backend.hang_up()
        link.flush()
        self.assertIn("StreamReset", client.events)
        self.assertNotIn("StreamEnded", client.events)

    def test_a_refusal_ends_the_stream_alone(self) -> None:
        client, rig, link = self.ask(more=(("x", "y\x01"),))
        link.flush()
        self.assertEqual(rig.connects, [])
        self.assertIn((":status", "400"), client.fields)
        self.assertIn("StreamEnded", client.events)
