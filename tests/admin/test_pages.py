"""Promises about large pages: they are made a part at a time, and whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admin import AdminSite
from lbproxy.admin.pages import Answer, Fresh, Node, Page, PartsPage

from ..support import split, status, values


class PartsPageTests(SynchronousTestCase):
    """``PartsPage`` over a connection in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.made: list[int] = []

    def parts(self, count: int, fails: bool = False) -> Iterator[bytes]:
        """So many parts of a page, of which it is written down when they are made."""
        for number in range(count):
            self.made.append(number)
            yield b"part %d\n" % number
        if fails:
            raise ZeroDivisionError

    def ask(self, count: int, method: bytes = b"GET", *, fails: bool = False) -> Any:
        """Ask for a page of so many parts; gives the connection."""
        root = Node()
        root.putChild(b"page", PartsPage(lambda: self.parts(count, fails), "text/plain", self.clock))
        channel: Any = AdminSite(root, self.clock).buildProtocol(None)
        self.transport = StringTransport()
        channel.makeConnection(self.transport)
        channel.dataReceived(b"%b /page HTTP/1.1\r\nHost: x\r\n\r\n" % method)
        return channel

    def turns(self) -> None:
        """Let the reactor turn until nothing more is due now."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def test_one_part_is_sent_at_once(self) -> None:
        """So is none."""
        for count, body in ((1, b"part 0\n"), (0, b"")):
            self.ask(count)
            self.assertEqual((status(self.transport.value()), split(self.transport.value())[2]), (200, body))

    def test_many_parts_leave_the_reactor_its_turns(self) -> None:
        """At first two are made, to see whether there are more; the page is sent when it is whole."""
        self.ask(100)
        self.assertEqual((self.made, self.transport.value()), ([0, 1], b""))
        self.turns()
        response = self.transport.value()
        body = b"".join(b"part %d\n" % number for number in range(100))
        self.assertEqual((status(response), split(response)[2]), (200, body))
        self.assertEqual(values(response, b"content-type"), [b"text/plain"])
        self.assertEqual(values(response, b"content-length"), [b"%d" % len(body)])

    def test_head_says_how_long_it_is(self) -> None:
        """Without the page itself."""
        self.ask(3, b"HEAD")
        self.turns()
        response = self.transport.value()
        self.assertEqual((status(response), values(response, b"content-length"), split(response)[2]), (200, [b"21"], b""))

    def test_who_has_left_gets_no_more_made(self) -> None:
        """And no call is left behind."""
        channel = self.ask(100)
        channel.connectionLost(Failure(ConnectionDone()))
        self.turns()
        self.assertEqual((self.made, self.clock.getDelayedCalls()), ([0, 1], []))

    def test_a_page_that_cannot_be_made_is_not_sent_in_part(self) -> None:
        """The answer is 500, and the log says why."""
        self.ask(5, fails=True)
        self.turns()
        self.assertEqual((status(self.transport.value()), b"part" in self.transport.value()), (500, False))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class FreshTests(SynchronousTestCase):
    """``Fresh``: a page whose figures are brought up to now before it is made."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.refreshing: list[Deferred[None]] = []
        self.at_once = False
        self.made = 0

    def refresh(self) -> Deferred[None]:
        """As the test wants it."""
        if self.at_once:
            return succeed(None)
        self.refreshing.append(Deferred())
        return self.refreshing[-1]

    def make(self, request: Any) -> Answer:
        """The page."""
        self.made += 1
        return Answer(f"made {self.made}\n")

    def ask(self, method: bytes = b"GET", page: Any = None) -> Any:
        """Ask for it; gives the connection."""
        root = Node()
        root.putChild(b"page", Fresh(self.refresh, Page(self.make) if page is None else page))
        channel: Any = AdminSite(root, self.clock).buildProtocol(None)
        self.transport = StringTransport()
        channel.makeConnection(self.transport)
        channel.dataReceived(b"%b /page HTTP/1.1\r\nHost: x\r\n\r\n" % method)
        return channel

    def body(self) -> bytes:
        """What has come of it."""
        return split(self.transport.value())[2]

    def test_it_is_made_when_the_figures_are_there(self) -> None:
        """Not before."""
        self.ask()
        self.assertEqual((self.made, self.transport.value()), (0, b""))
        self.refreshing[0].callback(None)
        self.assertEqual((status(self.transport.value()), self.body()), (200, b"made 1\n"))

    def test_nobody_waits_who_need_not(self) -> None:
        """Where figures are those of now anyway, the page comes at once."""
        self.at_once = True
        self.ask()
        self.assertEqual(self.body(), b"made 1\n")

    def test_a_page_of_many_parts_is_whole(self) -> None:
        """It is made in parts after that."""
        self.ask(page=PartsPage(lambda: iter([b"a", b"b", b"c", b"d"]), "text/plain", self.clock))
        self.refreshing[0].callback(None)
        self.clock.pump([0] * 10)
        self.assertEqual(self.body(), b"abcd")

    def test_a_head_waits_as_well(self) -> None:
        """Its length is that of the page."""
        self.ask(b"HEAD")
        self.refreshing[0].callback(None)
        self.assertEqual((values(self.transport.value(), b"Content-Length"), self.body()), ([b"7"], b""))

    def test_what_changes_something_does_not_wait(self) -> None:
        """It is answered at once, here with a refusal."""
        self.ask(b"POST")
        self.assertEqual((status(self.transport.value()), self.refreshing), (405, []))

    def test_figures_that_cannot_be_had_are_shown_as_they_are(self) -> None:
        """The log says why."""
        self.ask()
        with capturedLogs() as events:
            self.refreshing[0].errback(ZeroDivisionError())
        self.assertEqual((self.body(), len(events)), (b"made 1\n", 1))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_nothing_is_made_for_who_has_left(self) -> None:
        """And nothing fails."""
        channel = self.ask()
        channel.connectionLost(Failure(ConnectionDone()))
        with capturedLogs() as events:
            self.refreshing[0].callback(None)
        self.assertEqual((self.made, events), (0, []))
