"""A balancer in memory behind one route with filters, and filters that remember what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lbproxy.http1.answers import Answer
from lbproxy.http1.head import ResponseHead
from lbproxy.routing.filter import BodyFilter, Filter
from lbproxy.routing.model import Route
from lbproxy.routing.passage import Passage
from lbproxy.routing.router import LiveRoute
from lbproxy.routing.table import RouteTable

from ..support import Rig

__all__ = ["FORBIDDEN", "FilteredRig", "Noted", "lead"]

FORBIDDEN = Answer(status=403, end="forbidden", why="Not you.")


def lead(rig: Any, *filters: Filter, target: Any = None, shadow: Any = None, route: Route | None = None) -> LiveRoute:
    """Let all exchanges of a rig take one route."""
    site = rig.resource.site
    route = Route(name="all", pool="default") if route is None else route
    live = LiveRoute(route, site.router, filters, rig.balancer if target is None else target, shadow)
    site.router.route(RouteTable([route]), {route.name: live})
    site.forward = site.router.forward
    return live


class FilteredRig(Rig):
    """A rig all of whose exchanges take one route.

    :ivar live: that route.
    """

    def __init__(self, *filters: Filter, target: Callable[[Any], Any] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.live = lead(self, *filters, target=None if target is None else target(self))

    @property
    def books(self) -> Any:
        """The counters of exchanges that no pool had."""
        return self.resource.site.router.counters


class Noted(Filter):
    """Writes down what it is asked, and says what the test says.

    :param says: gives the verdict on a request.
    """

    def __init__(self, name: str = "one", notes: list[str] | None = None, says: Callable[[], Any] = lambda: None) -> None:
        self.name = name
        self.notes: list[str] = [] if notes is None else notes
        self.says = says
        self.parts: list[bytes] = []
        self.answers: Sequence[Answer | None] = ()
        self.fails_in = ""
        self.changes: BodyFilter | None = None

    def _note(self, what: str) -> None:
        self.notes.append(f"{self.name} {what}")
        if self.fails_in == what.split(" ", maxsplit=1)[0]:
            raise RuntimeError(f"{self.name} fails")

    def request(self, passage: Passage) -> Any:
        self._note("request")
        return self.says()

    def takes(self, passage: Passage, data: bytes) -> Answer | None:
        self._note("takes")
        self.parts.append(data)
        return FORBIDDEN if data.endswith(b"bad") else None

    def response(self, passage: Passage, head: ResponseHead) -> None:
        self._note(f"response {head.status}")

    def body(self, passage: Passage, head: ResponseHead) -> BodyFilter | None:
        self._note("body")
        return self.changes

    def over(self, passage: Passage) -> None:
        self._note("over")
