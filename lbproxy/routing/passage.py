"""The way of one exchange through its route's filters, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..http1.answers import Answer
from ..http1.fields import lines_without
from ..http1.head import RequestHead, ResponseHead
from ..interfaces import IDownstream
from .filter import BodyFilter, Filter

if TYPE_CHECKING:
    from ..http1.roles import TunnelEnd
    from ..proxy.client import Client
    from ..proxy.exchange import Exchange
    from .router import LiveRoute

__all__ = ["Passage"]

_log = Logger()

_FAILED = Answer(status=500, end="filter", why="A filter of this route failed.")


@implementer(IDownstream)
class Passage:
    """One exchange on its way. To the exchange it is its downstream: what goes back to the client goes through here.

    :ivar exchange: whose way it is.
    :ivar route: the route that it takes.
    :ivar memory: what filters remember of it, by filter.
    """

    __slots__ = ("_bodies", "_downstream", "_over", "_passed", "_waiting", "exchange", "memory", "route")

    def __init__(self, exchange: Exchange, route: LiveRoute) -> None:
        self.exchange = exchange
        self.route = route
        self.memory: dict[Any, Any] = {}
        self._downstream = exchange.put_between(self)
        self._passed = 0  # how many filters have been asked about the request
        self._waiting: Deferred[Any] | None = None
        self._bodies: list[BodyFilter] = []
        self._over = False

    @property
    def request(self) -> RequestHead:
        """The request's head, as it will go on."""
        return self.exchange.request

    @property
    def client(self) -> Client:
        """Who asks."""
        return self.exchange.client

    # There.

    def begin(self) -> None:
        """Let the filters see the request, one after the other; then it goes where the route leads."""
        filters = self.route.filters
        try:
            while self._passed < len(filters):
                one = filters[self._passed]
                self._passed += 1
                verdict = one.request(self)
                if isinstance(verdict, Deferred):
                    if self._wait(verdict):
                        return
                elif verdict is not None:
                    self._answer(verdict)
                    return
        except Exception:
            self._fail(Failure())
            return
        self.route.go_on(self)

    def _wait(self, verdict: Deferred[Any]) -> bool:
        """Wait for what a filter says. Returns False where it says at once that the request goes on."""
        passed: list[bool] = []
        waiting = [False]

        def said(answer: Answer | None) -> None:
            self._waiting = None
            if self._over or self.exchange.end:
                return
            if answer is not None:
                self._answer(answer)
            elif waiting[0]:
                self.begin()
            else:
                passed.append(True)

        self._waiting = verdict
        verdict.addCallbacks(said, self._fail)
        verdict.addErrback(self._fail)
        if passed:
            return False
        waiting[0] = True
        if self._waiting is not None:
            self.exchange.pause_request()
        return True

    def _answer(self, answer: Answer) -> None:
        self._passed -= 1  # it says itself all that it has to say
        self.exchange.answer_with(answer)

    def _fail(self, failure: Failure) -> None:
        self._waiting = None
        if self.exchange.end or failure.check(CancelledError):
            return
        _log.failure("a filter of route {route} failed", failure, route=self.route.name)
        self.exchange.answer_with(_FAILED)

    # What the exchange tells (lbproxy.proxy.passing.Passing).

    def takes(self, data: bytes) -> bool:
        """A part of the request's body came."""
        return self.route.takes(self, data)

    def body_ended(self, trailers: bytes) -> None:
        """The request's body is complete."""
        self.route.body_ended(self, trailers)

    def over(self) -> None:
        """The exchange has ended."""
        if self._over:
            return
        self._over = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        for one in self.route.filters[: self._passed]:
            try:
                one.over(self)
            except Exception:
                _log.failure("{filter!r} could not be told that an exchange is over", filter=one)

    # And back (IDownstream).

    def inform(self, head: ResponseHead) -> None:
        """An interim response goes by as it is."""
        self._downstream.inform(head)

    def respond(self, head: ResponseHead, data: bytes, complete: bool) -> None:
        """Let the filters see the head, from the last to the first, and put together what changes the body."""
        seen: Sequence[Filter] = self.route.filters[: self._passed]
        for one in reversed(seen):
            one.response(self, head)
            if not self._has_body(head, data, complete):
                continue
            body = one.body(self, head)
            if body is not None:
                self._bodies.append(body)
                head.length = -1
                head.fields = lines_without(head.fields, (b"content-length",))
        if self._bodies:
            data = self._through(data) if data else b""
            if complete:
                data += self._rest()
                head.fields += b"Content-Length: %d\r\n" % len(data)
                head.length = len(data)
        self._downstream.respond(head, data, complete)

    def _has_body(self, head: ResponseHead, data: bytes, complete: bool) -> bool:
        return bool(data) or not complete

    def _through(self, data: bytes) -> bytes:
        for body in self._bodies:
            if data:
                data = body.write(data)
        return data

    def _rest(self) -> bytes:
        """What is left in those that change the body: of each, through those after it."""
        rest = b""
        for body in self._bodies:
            rest = (body.write(rest) if rest else b"") + body.finish()
        return rest

    def write(self, data: bytes) -> None:
        """A further part of the body."""
        if self._bodies:
            data = self._through(data)
            if not data:
                return
        self._downstream.write(data)

    def finish(self, trailers: bytes = b"") -> None:
        """The body has ended."""
        if self._bodies:
            rest = self._rest()
            if rest:
                self._downstream.write(rest)
        self._downstream.finish(trailers)

    def switch(self, head: ResponseHead, data: bytes, end: TunnelEnd) -> None:
        """The filters see the head of a 101 like any other; what goes through the tunnel is none of theirs."""
        for one in reversed(self.route.filters[: self._passed]):
            one.response(self, head)
        self._downstream.switch(head, data, end)

    def abort(self) -> None:
        """The response cannot be made whole."""
        self._downstream.abort()

    def pause_body(self) -> None:
        """The backend is slow."""
        self._downstream.pause_body()

    def resume_body(self) -> None:
        """It has caught up."""
        self._downstream.resume_body()
