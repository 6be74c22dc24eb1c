"""Where a route leads that answers by itself: a fixed answer, a redirect. (A route to a pool leads to its balancer.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..http1.answers import Answer
from ..proxy.desk import Desk
from .model import FixedAnswer, Redirect
from .redirects import Location

if TYPE_CHECKING:
    from ..proxy.exchange import Exchange

__all__ = ["AnswerTarget", "RedirectTarget", "enter"]

_NO_HOST = Answer(status=400, end="route", why="This leads to a host of the same name, and none was named.")


def enter(exchange: Exchange, desk: Desk) -> None:
    """Let an exchange begin at a desk, unless the filters before have let it."""
    if not exchange.started:
        exchange.enter(desk)


class AnswerTarget:
    """Gives every exchange the same answer.

    :param desk: where those are booked that no pool gets.
    """

    def __init__(self, given: FixedAnswer, desk: Desk) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.headers.items())
        self._desk = desk
        self._answer = Answer(
            status=given.status, end="route", fields=lines.encode("utf-8"), body=given.body.encode("utf-8"), kind=given.kind
        )

    def forward(self, exchange: Exchange) -> None:
        """Answer an exchange."""
        enter(exchange, self._desk)
        exchange.guarded(exchange.answer_with, self._answer)


class RedirectTarget:
    """Sends every exchange elsewhere. What it says may be kept as long as its status allows (RFC 9110 section 15.4)."""

    def __init__(self, given: Redirect, desk: Desk) -> None:
        self._desk = desk
        self._status = given.status
        self._location = Location(given.to)

    def forward(self, exchange: Exchange) -> None:
        """Answer an exchange."""
        enter(exchange, self._desk)
        exchange.guarded(self._redirect, exchange)

    def _redirect(self, exchange: Exchange) -> None:
        location = self._location.of(exchange.request, exchange.client)
        if location is None:
            exchange.answer_with(_NO_HOST)
            return
        line = b"Location: %b\r\n" % location
        exchange.answer_with(Answer(status=self._status, end="route", fields=line, body=b"See the Location field.\n"))
