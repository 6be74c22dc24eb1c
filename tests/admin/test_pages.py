"""Promises about large pages: they are made a part at a time, and whole, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admin import AdminSite
from lbproxy.admin.pages import JSON_PIECES, Lazily, Node, PartsPage, json_parts

from ..support import given, split, status, values


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


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


class JSONPartsTests(SynchronousTestCase):
    """``json_parts``."""

    @given(VALUES)
    def test_it_is_what_the_library_writes(self, value: Any) -> None:
        """With two spaces for each level, and an end of line."""
        self.assertEqual(b"".join(json_parts(value)).decode(), json.dumps(value, indent=2) + "\n")

    @given(st.lists(VALUES, max_size=3))
    def test_what_is_made_lazily_is_a_list(self, values: list[Any]) -> None:
        """As the whole, and inside of objects and of others of its kind."""
        for value, same in (
            (Lazily(values), values),
            ({"a": {"b": Lazily(iter(values))}, "c": 1}, {"a": {"b": values}, "c": 1}),
            (Lazily([{"a": Lazily(values)}, 1]), [{"a": values}, 1]),
        ):
            self.assertEqual(b"".join(json_parts(value)).decode(), json.dumps(same, indent=2) + "\n")

    def test_values_are_made_when_their_turn_comes(self) -> None:
        """So that a list of any length is made a part at a time."""
        made: list[int] = []

        def numbers() -> Iterator[int]:
            for number in range(4 * JSON_PIECES):
                made.append(number)
                yield number

        parts = json_parts({"numbers": Lazily(numbers())})
        self.assertEqual(made, [])
        for _ in range(2):
            before = len(made)
            next(parts)
            self.assertLess(len(made) - before, JSON_PIECES + 1)
        self.assertEqual(len(json.loads(b"".join(json_parts({"numbers": Lazily(numbers())})))["numbers"]), 4 * JSON_PIECES)
