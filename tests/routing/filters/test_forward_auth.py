"""Promises of the filter forward-auth: what the service is asked, and what becomes of what it says."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from lbproxy.errors import ConfigurationError
from lbproxy.http1.answers import Answer
from lbproxy.interfaces import IFilter
from lbproxy.routing.filters.forward_auth import BODY_LIMIT, ForwardAuth
from lbproxy.testing import FilterConformance, StubPassage

from ...support import GET, Connect, Peer, ReactorCase, split, status, values
from .filtered import FilteredRig, context

URL = "http://10.9.9.9:9000/check?x=1"
LET_ON = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class ForwardAuthConformance(FilterConformance, SynchronousTestCase):
    """It is a filter."""

    def make_filter(self, context: Any) -> Any:
        return ForwardAuth(url=URL).make(context)


class ServiceCase(SynchronousTestCase):
    """The filter by itself; the service is the test's."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.context, self.counted = context(self.reactor)
        self.taken = 0

    def make(self, **options: Any) -> Any:
        return ForwardAuth(**{"url": URL, **options}).make(self.context)

    def accept(self) -> Peer:
        """The service accepts a connection."""
        asking, connector = self.reactor.tcpClients[self.taken], self.reactor.connectors[self.taken]
        self.taken += 1
        return Connect(self.reactor, *asking[:3], connector).accept()

    def ask(self, live: Any, passage: StubPassage) -> tuple[Deferred[Any], Peer, bytes]:
        """Ask; gives what is to be said, the service, and what it got."""
        verdict = live.request(passage)
        service = self.accept()
        return verdict, service, service.received()

    def said(self, *answer: bytes, passage: StubPassage | None = None, **options: Any) -> Any:
        """What the filter says when the service answers that."""
        verdict, service, _ = self.ask(self.make(**options), StubPassage() if passage is None else passage)
        service.send(*answer)
        return self.successResultOf(verdict)


class AskingTests(ServiceCase):
    """What the service is asked."""

    def test_it_provides_the_interface(self) -> None:
        """As a filter of anybody's."""
        verifyObject(IFilter, self.make())

    def test_the_request(self) -> None:
        """A GET without a body, at the service's own place, with what is asked for and by whom."""
        passage = StubPassage("POST", "/cart?x=%20", {"Host": "shop.example", "Cookie": "a=1", "Authorization": "Basic x"})
        _, _, asked = self.ask(self.make(), passage)
        self.assertEqual(split(asked)[0], b"GET /check?x=1 HTTP/1.1")
        for name, value in (
            (b"Host", b"10.9.9.9:9000"),
            (b"X-Forwarded-Method", b"POST"),
            (b"X-Forwarded-Proto", b"http"),
            (b"X-Forwarded-Host", b"shop.example"),
            (b"X-Forwarded-Uri", b"/cart?x=%20"),
            (b"X-Forwarded-For", b"192.0.2.7"),
            (b"X-Request-Id", b"1"),
            (b"Cookie", b"a=1"),
            (b"Authorization", b"Basic x"),
            (b"User-Agent", None),
        ):
            self.assertEqual(values(asked, name), [] if value is None else [value], name)

    def test_what_it_is_not_told(self) -> None:
        """What frames a body, what has conditions, and what a client says of itself in our words."""
        fields = {
            "Content-Length": "5", "Transfer-Encoding": "chunked", "Expect": "100-continue", "If-None-Match": '"x"',
            "Range": "bytes=0-1", "Accept-Encoding": "gzip", "X-Forwarded-Method": "DELETE", "X_Forwarded_Uri": "/admin",
        }  # fmt: skip
        _, _, asked = self.ask(self.make(), StubPassage(fields=fields))
        told = {line.split(b":")[0].lower() for line in split(asked)[1]} - {b"connection"}
        ours = {b"x-forwarded-" + name for name in (b"for", b"host", b"method", b"proto", b"uri")}
        self.assertEqual(told, {b"host", b"x-request-id", *ours})
        self.assertEqual(values(asked, b"X-Forwarded-Method"), [b"GET"])

    def test_chosen_fields(self) -> None:
        """Of the request's own, those alone."""
        passage = StubPassage(fields={"Cookie": "a=1", "Authorization": "Basic x", "Accept": "*/*"})
        _, _, asked = self.ask(self.make(request_fields=["cookie"]), passage)
        told = [values(asked, name) for name in (b"Cookie", b"Authorization", b"Accept", b"X-Forwarded-Method")]
        self.assertEqual(told, [[b"a=1"], [], [], [b"GET"]])

    def test_the_target_is_the_clients(self) -> None:
        """Although a filter has changed it since."""
        passage = StubPassage(target="/changed")
        passage.exchange.target = b"/original"
        _, _, asked = self.ask(self.make(), passage)
        self.assertEqual(values(asked, b"X-Forwarded-Uri"), [b"/original"])

    def test_connections_are_kept(self) -> None:
        """And no cookies."""
        live = self.make()
        verdict, service, _ = self.ask(live, StubPassage())
        service.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\nContent-Length: 0\r\n\r\n")
        self.assertIsNone(self.successResultOf(verdict))
        verdict = live.request(StubPassage())
        self.assertEqual(len(self.reactor.tcpClients), 1)
        self.assertEqual(values(service.received(), b"Cookie"), [])
        service.send(LET_ON)
        self.assertIsNone(self.successResultOf(verdict))
        self.reactor.advance(15)
        self.reactor.advance(0)
        self.assertEqual((service.closed, self.reactor.getDelayedCalls()), (True, []))


class SayingTests(ServiceCase):
    """What becomes of its answer."""

    def test_any_success_lets_on(self) -> None:
        """Its body is nobody's."""
        for code in (200, 204, 299):
            body = b"" if code == 204 else b"Content-Length: 2\r\n\r\nok"
            self.assertIsNone(self.said(b"HTTP/1.1 %d X\r\n%b" % (code, body or b"\r\n")))
        self.assertEqual(self.counted, {"asked": 3})

    def test_the_backend_is_told_what_it_says(self) -> None:
        """In the fields that are named; what a client says in them does not go on."""
        answer = b"HTTP/1.1 200 OK\r\nX-User: ann\r\nX-Groups: a\r\nx-groups: b\r\nX-Other: 1\r\nContent-Length: 0\r\n\r\n"
        passage = StubPassage(fields={"X-User": "root", "x_user": "root", "X-Admin": "yes", "Accept": "*/*"})
        self.assertIsNone(self.said(answer, passage=passage, response_fields=["X-User", "X-Groups", "X-Admin"]))
        names = ("X-User", "x_user", "X-Groups", "X-Admin", "X-Other", "Accept")
        self.assertEqual([passage.told(name) for name in names], [["ann"], [], ["a", "b"], [], [], ["*/*"]])

    def test_any_other_answer_is_the_clients(self) -> None:
        """With its status, body, and those of its fields that are for clients."""
        denied = self.said(
            b"HTTP/1.1 302 Found\r\nLocation: https://login.example/?next=1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
            b"X-Internal: 1\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<p>no\n"
        )
        self.assertEqual((denied.status, denied.body, denied.kind, denied.end), (302, b"<p>no\n", "text/html", "unauthorized"))
        self.assertEqual(denied.fields, b"Location: https://login.example/?next=1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n")
        self.assertEqual(self.counted, {"asked": 1, "denied": 1})
        self.assertEqual(self.said(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").end, "forbidden")

    def test_an_answer_that_is_odd(self) -> None:
        """A status that is none is as no answer; whatever a field holds stays in its line."""
        for status_ in (b"000", b"99", b"1000", b"-5"):
            answer = self.said(b"HTTP/1.1 %b Odd\r\nContent-Length: 0\r\n\r\n" % status_)
            self.assertEqual((answer.status, answer.end), (503, "filter"), status_)
        odd = b"text/\xe2\x82\xac"
        lines = b"Content-Type: %b\r\nLocation: /a\0b\rX: c\r\nContent-Length: 2\r\n" % odd
        head, body = self.said(b"HTTP/1.1 302 Odd\r\n%b\r\nno" % lines).message()
        lines = b"\r\n" + head.fields + b"\r\n"
        self.assertEqual((body, values(lines, b"content-type"), values(lines, b"location")), (b"no", [odd], [b"/a b X: c"]))

    def test_redirects_are_not_followed(self) -> None:
        """Nobody is asked but the service."""
        self.said(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_a_body_that_is_not_asked_to_be_packed_is_not_unpacked(self) -> None:
        """It goes to the client as it came."""
        packed = gzip.compress(b"x" * 1_000_000)
        fields = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        denied = self.said(b"HTTP/1.1 401 No\r\n" + fields + packed)
        self.assertEqual((denied.body, denied.fields), (packed, b"Content-Encoding: gzip\r\n"))

    def test_a_body_that_is_too_long(self) -> None:
        """The client gets the status and the fields with words of ours, and the connection is dropped."""
        verdict, service, _ = self.ask(self.make(), StubPassage())
        service.send(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n\r\n" + b"x" * (BODY_LIMIT + 1))
        denied: Answer = self.successResultOf(verdict)
        self.assertEqual((denied.status, denied.body, denied.fields), (401, None, b"WWW-Authenticate: Basic\r\n"))
        self.assertTrue(service.closed)
        self.assertEqual(self.counted, {"asked": 1, "denied": 1, "too-long": 1})
        service.send(b"more")

    def test_a_body_that_is_just_not_too_long(self) -> None:
        """It is the client's."""
        denied = self.said(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % BODY_LIMIT + b"x" * BODY_LIMIT)
        self.assertEqual(len(denied.body), BODY_LIMIT)

    # Failures.

    def assert_closed(self, verdict: Deferred[Any]) -> None:
        self.assertEqual((answer := self.successResultOf(verdict)).status, 503)
        self.assertEqual((answer.end, answer.retry_after, self.counted["failed"]), ("filter", 1, 1))

    def test_nobody_is_let_on_unasked(self) -> None:
        """The service refuses connections, answers nonsense, breaks off, or does not answer in time."""
        verdict = self.make().request(StubPassage())
        asking, connector = self.reactor.tcpClients[0], self.reactor.connectors[0]
        Connect(self.reactor, *asking[:3], connector).refuse()
        self.assert_closed(verdict)
        self.taken = 1
        for answer in (b"SSH-2.0\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"):
            self.counted.clear()
            verdict, service, _ = self.ask(self.make(), StubPassage())
            service.send(answer)
            service.reset()
            self.reactor.advance(0)
            self.assert_closed(verdict)

    def test_time(self) -> None:
        """It holds for the whole answer, its body too."""
        for sent in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"):
            self.counted.clear()
            verdict, service, _ = self.ask(self.make(timeout=2), StubPassage())
            service.send(sent)
            self.reactor.advance(1.9)
            self.assertNoResult(verdict)
            self.reactor.advance(0.2)
            self.reactor.advance(0)
            self.assertTrue(service.closed)
            self.assert_closed(verdict)

    def test_failures_are_said_once_a_minute(self) -> None:
        """With the reason."""
        live = self.make(timeout=1)
        with capturedLogs() as logs:
            for _ in range(3):
                live.request(StubPassage())
                self.reactor.advance(1)
            said = [event for event in logs if "who may come in" in (event["log_format"] or "")]
        self.assertEqual([event["reason"][:12] for event in said], ["TimeoutError"])
        self.assertIn("no answer within 1 seconds", said[0]["reason"])

    def test_a_client_that_leaves(self) -> None:
        """Its question is dropped."""
        verdict, service, _ = self.ask(self.make(), StubPassage())
        verdict.cancel()
        self.failureResultOf(verdict, CancelledError)
        self.assertTrue(service.closed)
        self.assertEqual(self.counted, {"asked": 1})

    def test_mistakes(self) -> None:
        """Each names the key, what was given and what is allowed."""
        for options, said in (
            ({"url": "ftp://x"}, "url: 'ftp://x' was given; allowed is an http or https URL"),
            ({"url": "http://user:pass@x/"}, "url: "),
            ({"url": "http://x/#y"}, "url: "),
            ({"timeout": 0}, "timeout: 0 was given; allowed is a number from 0.01 to 86400 (seconds)"),
            ({"request_fields": ["a b"]}, "request-fields: 'a b' was given"),
            ({"response_fields": ["X-Forwarded-For"]}, "response-fields: 'X-Forwarded-For' was given"),
            ({"answer_fields": ["Content-Length"]}, "answer-fields: 'Content-Length' was given"),
        ):
            error = self.assertRaises(ConfigurationError, ForwardAuth, **{"url": URL, **options})
            self.assertIn(said, str(error))


class BalancerTests(SynchronousTestCase):
    """Through a whole balancer."""

    def setUp(self) -> None:
        self.rig = FilteredRig(ForwardAuth(url=URL, response_fields=("X-User",)))

    def test_let_on(self) -> None:
        """The backend hears who it is, and gets the body."""
        client = self.rig.begin(b"POST / HTTP/1.1\r\nHost: a\r\nX-User: root\r\nContent-Length: 5\r\n\r\nhello")
        service = self.rig.accept()
        self.assertNotIn(b"hello", service.received())
        service.send(b"HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n")
        asked, answer = self.rig.answered(client)
        self.assertEqual((values(asked, b"X-User"), split(asked)[2], status(answer)), ([b"ann"], b"hello", 200))

    def test_turned_away(self) -> None:
        """With the service's words; no backend hears of it."""
        client = self.rig.begin(GET)
        self.rig.accept().send(b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno")
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"Content-Type"), split(answer)[2]), (403, [b"text/html"], b"no"))
        self.assertEqual((self.rig.ended[-1].end, self.rig.connects), ("forbidden", []))

    def test_a_client_that_leaves(self) -> None:
        """The service's connection goes with it."""
        client = self.rig.begin(GET)
        service = self.rig.accept()
        client.reset()
        self.assertTrue(service.closed)
        self.assertEqual((self.rig.ended[-1].end, self.rig.connects), ("client-left", []))


class Gatekeeper(Resource):
    """A service that lets on who has a ticket."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        if request.getHeader("X-Ticket") is None:
            request.setResponseCode(401)
            request.setHeader("WWW-Authenticate", "Ticket")
            return b"no ticket for " + bytes(request.requestHeaders.getRawHeaders(b"X-Forwarded-Uri")[0])
        request.setHeader("X-User", "ann")
        return b""


class LoopbackTests(ReactorCase):
    """Over real sockets."""

    def ask(self, live: Any, passage: StubPassage) -> Any:
        verdicts: list[Any] = []
        live.request(passage).addBoth(verdicts.append)
        self.until(lambda: bool(verdicts))
        return verdicts[0]

    def test_asking(self) -> None:
        """Twice over one connection, which ends when it has been idle."""
        site = Site(Gatekeeper(), reactor=self.reactor)
        port = self.listen(site)
        live: Any = ForwardAuth(url=f"http://127.0.0.1:{port}/gate", response_fields=("X-User",)).make(context(self.reactor)[0])
        denied = self.ask(live, StubPassage(target="/cart"))
        self.assertEqual((denied.status, denied.body), (401, b"no ticket for /cart"))
        self.assertEqual(denied.fields, b"WWW-Authenticate: Ticket\r\n")
        passage = StubPassage(fields={"X-Ticket": "1", "X-User": "root"})
        self.assertIsNone(self.ask(live, passage))
        self.assertEqual(passage.told("X-User"), ["ann"])
        self.close(live)

    def close(self, live: Any) -> None:
        """End the connections that are kept."""
        closed: list[Any] = []
        live.pool.closeCachedConnections().addBoth(closed.append)
        self.until(lambda: bool(closed))

    def test_asking_over_tls(self) -> None:
        """A service that the given authorities know is believed, and no other."""
        authority, stranger = trustme.CA(), trustme.CA()
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, one in (("authority", authority), ("stranger", stranger)):
            one.cert_pem.write_to_path(folder / f"{name}.pem")
        issued = authority.issue_cert("127.0.0.1")
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        site = Site(Gatekeeper(), reactor=self.reactor)
        site.noisy = False
        secure = PrivateCertificate.loadPEM(pem).options()
        port = self.listen(TLSMemoryBIOFactory(secure, False, site, self.reactor))
        for name, code in (("authority", 401), ("stranger", 503)):
            spec = ForwardAuth(url=f"https://127.0.0.1:{port}/", ca=str(folder / f"{name}.pem"))
            live: Any = spec.make(context(self.reactor)[0])
            self.assertEqual(self.ask(live, StubPassage()).status, code, name)
            self.close(live)
        missing = ForwardAuth(url="https://a/", ca="/no/such.pem")
        self.assertIn("ca: '/no/such.pem' was given", str(self.assertRaises(ConfigurationError, missing.make, context()[0])))
