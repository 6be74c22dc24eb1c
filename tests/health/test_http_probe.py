"""Promises about the probe that asks for a page: what it sends, what it takes for well, and that no answer can harm it."""

from __future__ import annotations

import gzip
from typing import Any

from hypothesis import strategies as some
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectBindError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.balance.backend import Backend
from lbproxy.health.http_line import BODY_LIMIT, HEAD_LIMIT
from lbproxy.health.http_probe import HttpProbe, make_probe
from lbproxy.health.probes import ConnectProbe
from lbproxy.health.spec import ProbeSpec
from lbproxy.interfaces import IProbe

from ..support import OK, Connect, Peer, given, split, values

BACKEND = Backend("10.0.0.1", 8000)


class HttpProbeCase(SynchronousTestCase):
    """A probe, and a backend whose side of the connection is the test's."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def ask(self, backend: Backend = BACKEND, text: str = "http:/health", **options: Any) -> tuple[Deferred[str], Peer]:
        """Probe the backend, and accept the connection."""
        checking = HttpProbe(self.reactor, ProbeSpec.parse(text, **options)).check(backend)
        return checking, self.accept()

    def accept(self) -> Peer:
        host, port, factory, *_ = self.reactor.tcpClients[-1]
        return Connect(self.reactor, host, port, factory, self.reactor.connectors[-1]).accept()

    def found(self, *answer: bytes, ended: bool = False, **options: Any) -> str:
        """What is found when the backend answers that: the evidence, or the reason why it is not well."""
        checking, peer = self.ask(**options)
        peer.send(*answer)
        if ended:
            peer.hang_up()
        self.reactor.advance(0)
        self.assertTrue(peer.closed, "the connection is left open")
        outcome: list[Any] = []
        checking.addBoth(outcome.append)
        return outcome[0] if isinstance(outcome[0], str) else str(outcome[0].getErrorMessage())


class Requests(HttpProbeCase):
    """What a backend is asked."""

    def test_it_is_a_probe(self) -> None:
        """It provides what the schedule asks of one, and is chosen by a path."""
        probe = make_probe(ProbeSpec.parse("http:/"), self.reactor)
        verifyObject(IProbe, probe)
        self.assertIsInstance(probe, HttpProbe)
        self.assertIsInstance(make_probe(ProbeSpec.parse("tcp"), self.reactor), ConnectProbe)
        self.assertEqual(HttpProbe.about, "answers")

    def test_a_get_request_with_few_fields(self) -> None:
        """The path as it was written, the backend's name as Host, no cookies, no compression, and no connection that is kept."""
        _, peer = self.ask(text="http:/a//b/../%7e;c?x=%20&y")
        first, fields, body = split(peer.received())
        self.assertEqual((first, body), (b"GET /a//b/../%7e;c?x=%20&y HTTP/1.1", b""))
        self.assertEqual(sorted(fields), [b"Accept: */*", b"Connection: close", b"Host: 10.0.0.1:8000", b"User-Agent: lbproxy"])

    def test_fields_and_host_of_the_operators(self) -> None:
        """In addition, several of a name too, and in place of our own."""
        _, peer = self.ask(host="www.example.org", headers=["X-A: 1", "X-A: 2", "User-Agent: me", "Authorization: Basic eDp5"])
        request = peer.received()
        self.assertEqual(values(request, b"Host"), [b"www.example.org"])
        self.assertEqual(values(request, b"X-A"), [b"1", b"2"])
        self.assertEqual(values(request, b"User-Agent"), [b"me"])
        self.assertEqual(values(request, b"Authorization"), [b"Basic eDp5"])

    def test_it_asks_where_the_backend_is(self) -> None:
        """IPv4, IPv6 and Unix sockets alike, each with its Host; the default port is not named."""
        for backend, host in ((Backend("::1", 8001), b"[::1]:8001"), (Backend("10.0.0.1", 80), b"10.0.0.1")):
            _, peer = self.ask(backend)
            self.assertEqual(self.reactor.tcpClients[-1][:2], (backend.host, backend.port))
            self.assertEqual(values(peer.received(), b"Host"), [host])
        HttpProbe(self.reactor, ProbeSpec.parse("http:/", port=9)).check(Backend("/run/app.sock"))
        path, factory, *_ = self.reactor.unixClients[-1]
        self.assertEqual(path, "/run/app.sock")
        peer = Peer(self.reactor).attach(factory.buildProtocol(None))
        self.assertEqual(values(peer.received(), b"Host"), [b"localhost"])

    def test_another_port(self) -> None:
        """Such as that of a management interface."""
        _, peer = self.ask(port=8081)
        self.assertEqual(self.reactor.tcpClients[-1][:2], ("10.0.0.1", 8081))
        self.assertEqual(values(peer.received(), b"Host"), [b"10.0.0.1:8081"])

    def test_a_backend_that_wants_the_proxy_protocol_gets_it(self) -> None:
        """With word that nobody is behind it; not on another port, which others use as well."""
        for version, header in ((1, b"PROXY UNKNOWN\r\n"), (2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")):
            backend = Backend("10.0.0.1", 8000, proxy_protocol=version)
            self.assertTrue(self.ask(backend)[1].received().startswith(header + b"GET "))
            self.assertTrue(self.ask(backend, port=81)[1].received().startswith(b"GET "))

    def test_cookies_are_not_kept(self) -> None:
        """What one answer sets, no later request brings back."""
        probe = HttpProbe(self.reactor, ProbeSpec.parse("http:/"))
        for _ in range(2):
            probe.check(BACKEND)
            peer = self.accept()
            self.assertEqual(values(peer.received(), b"Cookie"), [])
            peer.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n")


class Findings(HttpProbeCase):
    """What is well and what is not."""

    def test_an_allowed_status_is_well(self) -> None:
        """The evidence is the status, and how long it took."""
        checking, peer = self.ask()
        self.reactor.advance(0.012)
        peer.send(OK)
        self.assertEqual(self.successResultOf(checking), "probe: 200 in 12 ms")
        self.reactor.advance(0)
        self.assertTrue(peer.closed)

    def test_any_other_is_not(self) -> None:
        """Redirects are not followed: they are well by default, and may be disallowed."""
        self.assertEqual(self.found(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), "status 503; allowed is 200-399")
        moved = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"
        self.assertIn("probe: 302", self.found(moved))
        self.assertEqual(self.found(moved, status="200,204"), "status 302; allowed is 200,204")
        self.assertEqual(len(self.reactor.tcpClients), 3)

    def test_bodies_of_all_framings(self) -> None:
        """By length, in chunks, until the end of the connection; and none."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n3\r\nady\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nready",
            b"HTTP/1.0 200 OK\r\n\r\nready",
        ):
            self.assertIn("probe: 200", self.found(answer, ended=True, body="^ready$"))
        self.assertIn("probe: 204", self.found(b"HTTP/1.1 204 No Content\r\n\r\n"))

    def test_a_body_that_does_not_match_is_not_well(self) -> None:
        """The pattern is said, as the operator wrote it."""
        self.assertEqual(self.found(OK, body="^fine$"), "the body does not match '^fine$'")
        self.assertIn("probe: 200", self.found(OK, body="(?i)O[kK]"))

    def test_a_body_that_is_no_text_can_be_looked_at(self) -> None:
        """What is not UTF-8 stands for nothing, and what is can be matched."""
        body = b"\xff\xfe gr\xc3\xbcn"
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        self.assertIn("probe: 200", self.found(answer, body="gr[ü]n$"))

    def test_the_status_comes_first(self) -> None:
        """Where neither is as it should be, the operator reads of the status."""
        self.assertIn("status 500", self.found(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", body="ok"))

    def test_a_body_is_not_unpacked(self) -> None:
        """Compression was not asked for; a few bytes cannot become many here."""
        bomb = gzip.compress(b"ok" * 1_000_000)
        answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(bomb), bomb)
        self.assertIn("does not match", self.found(answer, body="ok"))

    def test_only_the_first_part_of_a_body_is_looked_at(self) -> None:
        """256 KiB are, and then the connection is dropped, however long it goes on; a match at their end still counts."""
        head = b"HTTP/1.1 200 OK\r\n\r\n"
        within = b"x" * (BODY_LIMIT - 2) + b"ok"
        self.assertIn("probe: 200", self.found(head, within, b"more", body="ok$"))
        self.assertIn("probe: 200", self.found(head, within, b"more"))
        self.assertEqual(self.found(head, b"x" + within, body="ok"), "the body's first 262144 bytes do not match 'ok'")

    def test_a_refused_connection_is_not_well(self) -> None:
        """The reason is the connection's."""
        checking = HttpProbe(self.reactor, ProbeSpec.parse("http:/")).check(BACKEND)
        host, port, factory, *_ = self.reactor.tcpClients[-1]
        Connect(self.reactor, host, port, factory, self.reactor.connectors[-1]).refuse()
        self.assertIn("refused", self.failureResultOf(checking).getErrorMessage())

    def test_a_want_of_sockets_is_told_as_it_is(self) -> None:
        """The schedule knows that it says nothing about the backend."""
        checking = HttpProbe(self.reactor, ProbeSpec.parse("http:/")).check(BACKEND)
        host, port, factory, *_ = self.reactor.tcpClients[-1]
        Connect(self.reactor, host, port, factory, self.reactor.connectors[-1]).fail(ConnectBindError(24, "Too many open files"))
        self.failureResultOf(checking, ConnectBindError)


class HostileAnswers(HttpProbeCase):
    """Nothing that a backend says holds a connection, or grows."""

    def test_answers_that_are_none(self) -> None:
        """Garbage, another protocol's greeting, impossible framing."""
        for answer in (
            b"\0" * 100 + b"\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"220 mail ESMTP\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ):
            self.assertEqual(self.found(answer, ended=True), "the answer's head cannot be read, or is cut short", answer)
        self.assertEqual(self.found(b"ICY/1.0 200 OK\r\n\r\n", ended=True), "the answer is not HTTP/1")
        self.assertEqual(self.found(b"HTTP/2.0 200 OK\r\n\r\n", ended=True), "the answer is not HTTP/1")

    def test_no_answer(self) -> None:
        """The connection ends in its stead, before a byte or in the midst of the head."""
        self.assertEqual(self.found(ended=True), "the connection ended without an answer")
        self.assertIn("cut short", self.found(b"HTTP/1.1 200 OK\r\nA: b\r\n", ended=True))

    def test_a_body_that_is_cut_short(self) -> None:
        """By its length or its chunks; a broken chunk too."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nrea",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ):
            self.assertEqual(self.found(answer, ended=True), "the answer's body is cut short")

    def test_a_head_without_end(self) -> None:
        """In many fields, in one line, and after others: 16 KiB are taken, and no more."""
        for begin, more in ((b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), (b"HTTP/1.1 200 OK\r\nA: ", b"b"), (b"HTTP/1.1 200 ", b"O")):
            found = self.found(begin, *[more * (4096 // len(more))] * 8)
            self.assertIn(
                found,
                (f"the answer's head is longer than {HEAD_LIMIT} bytes", "the answer's head cannot be read, or is cut short"),
            )

    def test_a_long_head_that_comes_at_once(self) -> None:
        """Its size counts, not how it was sent; just below the limit it is as good as any."""
        begin, end = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b"\r\n"
        most = HEAD_LIMIT - len(begin) - len(end)
        for size, found in ((most - 1, "probe: 200"), (most + 1, "the answer's head is longer than")):
            lines = b"A: %b\r\n" % (b"b" * 95) * (size // 100) + b"B: %b\r\n" % (b"b" * (size % 100 - 5))
            self.assertIn(found, self.found(begin + lines + end))

    def test_a_head_may_come_byte_by_byte(self) -> None:
        """And its end in two parts."""
        self.assertIn("probe: 200", self.found(*[OK[at : at + 1] for at in range(len(OK))], body="ok"))

    def test_interim_answers(self) -> None:
        """A few are passed over; a flood of them is no answer."""
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        self.assertIn("probe: 200", self.found(interim * 3 + OK))
        self.assertIn("probe: 200", self.found(interim, interim[:10], interim[10:], OK))
        self.assertEqual(self.found(interim * 500), "more than 10 interim answers came, and no final one")
        self.assertIn("interim", self.found(*[interim] * 100))

    def test_it_can_be_cancelled_at_any_time(self) -> None:
        """While it connects, waits for a head, or reads a body: the connection is gone at once."""
        checking = HttpProbe(self.reactor, ProbeSpec.parse("http:/")).check(BACKEND)
        checking.cancel()
        self.failureResultOf(checking)
        self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)
        for answer in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nre"):
            checking, peer = self.ask()
            peer.send(answer)
            self.assertNoResult(checking)
            checking.cancel()
            self.failureResultOf(checking)
            self.assertTrue(peer.aborted, answer)
            self.reactor.advance(0)
            self.assertTrue(peer.lost)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    @given(
        some.lists(
            some.binary(max_size=60) | some.sampled_from((OK, b"HTTP/1.1 200 OK\r\n", b"\r\n", b"A: b", b"\n\n")), max_size=9
        )
    )
    def test_whatever_is_answered(self, parts: list[bytes]) -> None:
        """There is one finding at the latest when the connection ends, and nothing is left of it."""
        checking, peer = self.ask()
        peer.send(*parts)
        peer.hang_up()
        self.reactor.advance(0)
        ended: list[object] = []
        checking.addBoth(ended.append)
        self.assertEqual(len(ended), 1)
        self.assertFalse(isinstance(ended[0], CancelledError))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
