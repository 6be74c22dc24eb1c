"""A whole balancer in memory whose only route has filters."""

from __future__ import annotations

from random import Random
from typing import Any

from lbproxy.routing.filter import FilterContext
from lbproxy.routing.model import Route
from lbproxy.routing.router import LiveRoute
from lbproxy.routing.table import RouteTable
from tests.support import GET, OK, Rig

__all__ = ["RoutedRig"]


class RoutedRig(Rig):
    """A rig with these filters before its balancer, on a route called ``everything``.

    :ivar counted: what the filters counted.
    """

    def __init__(self, *specs: Any, backends: str = "10.0.0.1:8000", **settings: Any) -> None:
        super().__init__(backends, **settings)
        self.counted: list[str] = []
        context = FilterContext(
            reactor=self.reactor,
            clock=self.reactor,
            random=Random(1),
            count=self.counted.append,
            settings=self.settings,
        )
        site = self.resource.site
        route = Route(name="everything", pool="default")
        live = LiveRoute(route, site.router, [spec.make(context) for spec in specs], self.balancer)
        site.router.route(RouteTable((route,)), {route.name: live})
        site.forward = site.router.forward

    def ask(self, request: bytes = GET, answer: bytes = OK, address: str = "192.0.2.7") -> tuple[bytes, bytes]:
        """A client's request, which a backend answers; gives what the backend got, and what the client."""
        client = self.client(address)
        client.send(request)
        backend = self.accept()
        got = backend.received()
        backend.send(answer)
        self.turn()
        return got, client.received()

    def refused(self, request: bytes = GET, address: str = "192.0.2.7") -> bytes:
        """What a client gets whose request comes to no backend."""
        client = self.client(address)
        client.send(request)
        assert not self.connects, "it was sent to a backend"
        return client.received()
