"""A filter without a balancer: one exchange's way as a value, and the tests that any filter passes."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from ..http1.answers import Answer
from ..http1.fields import pairs
from ..http1.head import RequestHead, ResponseHead
from ..interfaces import IFilter
from ..proxy.client import Client
from ..routing.filter import FilterContext

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object

__all__ = ["FilterConformance", "StubPassage"]

_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*\r\n)*")


@attrs.frozen
class _Route:
    name: str


@attrs.define
class _Exchange:
    request: RequestHead
    client: Client
    target: bytes | None = None
    request_id: bytes = b"1"
    end: str = ""


class StubPassage:
    """One request on its way through filters, as far as they look at it (:class:`lbproxy.routing.passage.Passage`).

    :param fields: the request's header fields.
    :param client: its address.
    :param route: the name of the route that it takes.
    """

    def __init__(
        self,
        method: str = "GET",
        target: str = "/",
        fields: Mapping[str, str] | None = None,
        *,
        client: str = "192.0.2.7",
        secure: bool = False,
        route: str = "test",
    ) -> None:
        given = {"Host": "stub.example", **(fields or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        known = {b"host": given["Host"].encode()}
        self.request = RequestHead(method.encode(), target.encode(), 1, lines.encode("latin-1"), known)
        self.request.host = known[b"host"]
        forwarded = f"X-Forwarded-For: {client}\r\nX-Forwarded-Proto: {'https' if secure else 'http'}\r\n"
        self.client = Client(client, secure, forwarded.encode())
        self.exchange = _Exchange(self.request, self.client)
        self.route = _Route(route)
        self.memory: dict[Any, Any] = {}

    def told(self, name: str) -> list[str]:
        """The values of the request's fields of a name, as a backend would get them now."""
        return [value.decode("latin-1") for field, value in pairs(self.request.fields) if field.lower() == name.lower().encode()]

    def respond(self, *filters: Any, status: int = 200, fields: Mapping[str, str] | None = None) -> ResponseHead:
        """What becomes of a response's head on its way back through filters that stand in this order."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (fields or {}).items())
        head = ResponseHead(status, b"", lines.encode("latin-1"))
        for one in reversed(filters):
            one.response(self, head)
        return head


class FilterConformance(_Case):
    """Tests for a filter of your own, to be mixed into a test case of trial's (or of :mod:`unittest`'s)::

        class TurnAwayTests(FilterConformance, SynchronousTestCase):
            def make_filter(self, context):
                return TurnAway(word="robot")

    Every failure names the promise that is broken.
    """

    def make_filter(self, context: FilterContext) -> Any:
        """Make the filter to be tested.

        :param context: its reactor leads nowhere, and its clock stands still.
        """
        raise NotImplementedError("a test case with FilterConformance makes its filter in make_filter(context)")

    def make_passage(self, number: int) -> StubPassage:
        """Make an exchange; different numbers are different clients and targets."""
        return StubPassage("GET" if number % 2 else "POST", f"/{number}?q={number}", client=f"10.0.{number >> 8}.{number & 255}")

    def _make(self) -> Any:
        reactor = MemoryReactorClock()
        return self.make_filter(FilterContext(reactor=reactor, clock=reactor, random=Random(0)))

    def _ask(self, live: Any, passage: StubPassage) -> Any:
        """Ask about a request; gives an answer, None, or a Deferred that has not said yet."""
        said = live.request(passage)
        if isinstance(said, Deferred) and said.called:
            said = said.result
        if not (said is None or isinstance(said, (Answer, Deferred))):
            self.fail(f"request gives None, an Answer or a Deferred of either; it gave {said!r}")
        return said

    def _go(self, live: Any, number: int, *, respond: bool = True) -> None:
        """Let one exchange come and go."""
        passage = self.make_passage(number)
        said = self._ask(live, passage)
        self._check_lines("a request's", passage.request.fields)
        if isinstance(said, Answer):
            self._check_lines("an answer's", said.message()[0].fields)
            return  # it says itself all that it has to say, and is not told of the end
        if isinstance(said, Deferred):
            said.addErrback(lambda failure: None)
            said.cancel()
        elif respond:
            head = passage.respond(live, status=200 + number % 300, fields={"Content-Length": "2", "Content-Type": "text/plain"})
            self._check_lines("a response's", head.fields)
            self._check_body(live, passage, head)
        live.over(passage)

    def _check_lines(self, whose: str, fields: bytes) -> None:
        if not _LINES.fullmatch(fields):
            self.fail(f"{whose} fields stay whole lines, each ended by CRLF; they became {fields!r}")

    def _check_body(self, live: Any, passage: StubPassage, head: ResponseHead) -> None:
        body = live.body(passage, head)
        data = b"" if body is None else body.write(b"ok") + body.finish()
        if not isinstance(data, bytes):
            self.fail(f"a body is bytes; it became {data!r}")

    def test_it_is_a_filter(self) -> None:
        """It has all that is asked of one."""
        verifyObject(IFilter, self._make())

    def test_exchanges_end_in_any_way(self) -> None:
        """Some are answered, and some end before they are; the heads stay well formed."""
        live = self._make()
        for number in range(200):
            self._go(live, number, respond=number % 3 != 0)

    def test_exchanges_end_in_any_order(self) -> None:
        """Many are under way at once."""
        live = self._make()
        under_way = []
        for number in range(50):
            passage = self.make_passage(number)
            said = self._ask(live, passage)
            if isinstance(said, Deferred):
                said.addErrback(lambda failure: None)
                said.cancel()
            if not isinstance(said, Answer):
                under_way.append(passage)
        Random(1).shuffle(under_way)
        for passage in under_way:
            live.over(passage)

    def test_exchanges_are_not_kept(self) -> None:
        """What is over is forgotten: memory does not grow with the requests there were."""
        live = self._make()
        passage = self.make_passage(1)
        said = self._ask(live, passage)
        if isinstance(said, Deferred):
            said.addErrback(lambda failure: None)
            said.cancel()
        if not isinstance(said, Answer):
            live.over(passage)
        kept = weakref.ref(passage)
        del passage, said
        gc.collect()
        if kept() is not None:
            self.fail("an exchange that is over is not kept; something of the filter still knows it")

    def test_it_is_told_of_those_that_came_before_a_reload(self) -> None:
        """Another takes over its place, and the ends of its own exchanges are still its own."""
        before = self._make()
        passage = self.make_passage(1)
        said = self._ask(before, passage)
        after = self._make()
        after.take_over(before)
        self._go(after, 2)
        if isinstance(said, Deferred):
            said.addErrback(lambda failure: None)
            said.cancel()
        if not isinstance(said, Answer):
            before.over(passage)
        self._go(after, 1)
