"""The router: hands each exchange to its route, through the route's filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ..http1.answers import Answer
from ..proxy.desk import Desk
from .filter import Filter
from .model import Route
from .passage import Passage
from .table import RouteTable

if TYPE_CHECKING:
    from ..proxy.exchange import Exchange

__all__ = ["LiveRoute", "Router", "Target"]

_NO_ROUTE = Answer(status=404, end="no-route", why="Nothing is served at this place.")


class Target(Protocol):
    """Where a route leads: a pool's balancer, or something that answers by itself."""

    def forward(self, exchange: Exchange) -> None:
        """Carry an exchange, which may have been at another desk before."""


class Shadow(Protocol):
    """Makes a mirror's copies of requests."""

    def begin(self, passage: Passage) -> None:
        """A request goes on; copy it, if its turn has come."""

    def data(self, passage: Passage, data: bytes) -> None:
        """A part of its body came."""

    def ended(self, passage: Passage, trailers: bytes) -> None:
        """Its body is complete."""


class LiveRoute:
    """A route as it runs.

    :param filters: the live filters, in order.
    :param target: where it leads.
    :param shadow: makes copies for a mirror; None: there is none.
    :ivar forward: ``forward(exchange)`` carries an exchange; without filters and mirror it goes straight to the target.
    :ivar taken: exchanges that took it.
    """

    def __init__(
        self, route: Route, desk: Desk, filters: Sequence[Filter], target: Target, shadow: Shadow | None = None
    ) -> None:
        self.route = route
        self.name = route.name
        self.filters = tuple(filters)
        self.target = target
        self.shadow = shadow
        self.taken = 0
        self._desk = desk
        self.forward: Callable[[Exchange], None] = self._pass if filters or shadow is not None else target.forward

    def _pass(self, exchange: Exchange) -> None:
        exchange.enter(self._desk)
        Passage(exchange, self).begin()

    def go_on(self, passage: Passage) -> None:
        """All filters have let it on."""
        if self.shadow is not None:
            self.shadow.begin(passage)
        self.target.forward(passage.exchange)

    def takes(self, passage: Passage, data: bytes) -> bool:
        """A part of a request's body came; returns whether it goes on."""
        if self.shadow is not None:
            self.shadow.data(passage, data)
        return True

    def body_ended(self, passage: Passage, trailers: bytes) -> None:
        """A request's body is complete."""
        if self.shadow is not None:
            self.shadow.ended(passage, trailers)


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
        live.forward(exchange)
