"""The router: hands each exchange to its route, through the route's filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..http1.answers import Answer
from ..proxy.desk import Desk
from .filter import Filter
from .model import Route
from .passage import Passage
from .table import RouteTable

if TYPE_CHECKING:
    from ..proxy.exchange import Exchange

__all__ = ["Copy", "LiveRoute", "Router", "Shadow", "Target", "counting"]

_NO_ROUTE = Answer(status=404, end="no-route", why="Nothing is served at this place.")


class Target(Protocol):
    """Where a route leads: a pool's balancer, or something that answers by itself."""

    def forward(self, exchange: Exchange) -> None:
        """Carry an exchange, which may have been at another desk before."""


class Copy(Protocol):
    """A mirror's copy of a request."""

    def begin(self) -> None:
        """The request is on its way; send the copy."""


class Shadow(Protocol):
    """Makes a mirror's copies of requests. Nothing that it does may raise, or be felt."""

    def copy(self, passage: Passage) -> Copy | None:
        """A request goes on; make a copy of it and of what is here of its body, if its turn has come."""

    def data(self, passage: Passage, data: bytes) -> None:
        """A part of its body came."""

    def ended(self, passage: Passage, trailers: bytes) -> None:
        """Its body is complete."""

    def over(self, passage: Passage) -> None:
        """The exchange has ended: what has not come of its body never will."""

    def stop(self) -> None:
        """Drop the copies that are on their way."""


Count = Callable[[str], None]


def counting(counts: dict[str, int]) -> Count:
    """What counts words in *counts*: a filter's :attr:`.filter.FilterContext.count`."""

    def count(what: str) -> None:
        counts[what] = counts.get(what, 0) + 1

    return count


def _own(filters: Sequence[Filter], name: str) -> list[tuple[int, Any]]:
    """Of the filters that have it of their own: their places and their methods of that name."""
    of_all = getattr(Filter, name)
    places = enumerate(filters)
    return [(place, getattr(one, name)) for place, one in places if getattr(type(one), name, of_all) is not of_all]


class LiveRoute:
    """A route as it runs. Which hooks its filters have is found once, so that no exchange pays for those that do nothing.

    :param filters: the live filters, in order.
    :param target: where it leads.
    :param shadow: makes copies for a mirror; None: there is none.
    :param filtered: what its filters count, by their words (:func:`counting`); for who made them before.
    :ivar forward: ``forward(exchange)`` carries an exchange; without filters and mirror it goes straight to the target.
    :ivar taken: exchanges that took it.
    :ivar statuses: those that have ended, by the status that the client got; 0: none.
    :ivar steps: the filters that look at requests: place among all filters, and method. Likewise *takers*, who look at requests'
        bodies, and *ends*, who are told of the end.
    :ivar returns: those that look at responses, from the last to the first: place, ``response`` and ``body``, or None for either.
    """

    def __init__(
        self,
        route: Route,
        desk: Desk,
        filters: Sequence[Filter],
        target: Target,
        shadow: Shadow | None = None,
        filtered: dict[str, int] | None = None,
    ) -> None:
        self.route = route
        self.name = route.name
        # One that is named twice, by the site for all routes and by this one, say, stands where it is named first.
        self.filters = tuple({id(one): one for one in filters}.values())
        self.target = target
        self.shadow = shadow
        self.taken = 0
        self.statuses: dict[int, int] = {}
        self.filtered = {} if filtered is None else filtered
        self.steps = tuple(_own(self.filters, "request"))
        self.takers = tuple(_own(self.filters, "takes"))
        self.ends = tuple(_own(self.filters, "over"))
        responses, bodies = dict(_own(self.filters, "response")), dict(_own(self.filters, "body"))
        places = sorted({*responses, *bodies}, reverse=True)
        self.returns = tuple((place, responses.get(place), bodies.get(place)) for place in places)
        self._desk = desk
        self.forward: Callable[[Exchange], None] = self._pass if filters or shadow is not None else target.forward

    def _pass(self, exchange: Exchange) -> None:
        exchange.enter(self._desk)
        Passage(exchange, self).begin()

    def go_on(self, passage: Passage) -> None:
        """All filters have let it on. It goes first, then its copy."""
        copy = None if self.shadow is None else self.shadow.copy(passage)
        self.target.forward(passage.exchange)
        if copy is not None:
            copy.begin()

    def stop(self) -> None:
        """Drop what still runs and nobody waits for."""
        if self.shadow is not None:
            self.shadow.stop()


class Router(Desk):
    """Finds each exchange's route. It is the desk of those that no pool gets.

    :ivar table: finds routes.
    :ivar live: the routes as they run, by name.
    """

    table: RouteTable = RouteTable(())
    live: Mapping[str, LiveRoute] = {}

    def route(self, table: RouteTable, live: Mapping[str, LiveRoute]) -> None:
        """Go by these routes from now on; what runs goes its way to the end."""
        self.table = table
        self.live = dict(live)

    def forward(self, exchange: Exchange) -> None:
        """Let an exchange take its route."""
        found = self.table.find(exchange.request, exchange.client)
        if found is None:
            exchange.enter(self)
            exchange.answer_with(_NO_ROUTE)
            return
        live = self.live[found.name]
        live.taken += 1
        exchange.route = live.name
        exchange.statuses = live.statuses
        live.forward(exchange)
