"""A site of several pools and routes, and its administration over a connection in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admin import admin_site
from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Verdict
from lbproxy.members import Memberships
from lbproxy.observe.running import Running
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.routing.model import FixedAnswer, Mirror, Redirect, Route, Split
from lbproxy.routing.router import LiveRoute
from lbproxy.routing.table import RouteTable
from lbproxy.site import Site

from ..support import START, FakeProbe, split, status
from ..tls.fake_store import Threads

#: What two pools share, and what is each one's own.
POOLS = {"app": "a:1,both:1", "canary": "c:1,both:1", "shadow": "s:1"}

ROUTES = (
    Route(name="shop", pool="app", mirror=Mirror(pool="shadow")),
    Route(name="mixed", split=Split(pools={"app": 95, "canary": 5}), filters=("limit",)),
    Route(name="old", redirect=Redirect(to="https://new.example{uri}")),
    Route(name="ping", answer=FixedAnswer(body="pong")),
)


class Reloads:
    """Reads no configuration: what comes of it is the test's."""

    def __init__(self) -> None:
        self.last: Any = None
        self.counts: dict[str, int] = {}
        self.result: Any = None
        self.asked = 0

    def reload(self) -> Any:
        self.asked += 1
        return self.result


class SeveralCase(SynchronousTestCase):
    """Three pools; routes lead to two of them, once they are asked for."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(START)
        self.site = Site(self.reactor)
        self.addCleanup(self.site.stop)
        for name, backends in POOLS.items():
            pool = Pool(parse_backends([backends]), name=name, seconds=self.reactor.seconds)
            self.site.add_pool(pool, probe=FakeProbe())
        self.listener = ListenerCounters()
        self.memberships = Memberships(self.reactor, Threads())
        self.admin: Any = self.make_site(writable=True, memberships=self.memberships)

    def make_site(self, **options: Any) -> Any:
        """The administration."""
        return admin_site(self.site, self.listener, self.reactor.seconds, reactor=Clock(), **options)

    def running(self, **more: Any) -> Running:
        """What there is to be seen."""
        return Running(site=self.site, listener=self.listener, version="1", started=START, **more)

    def route(self, routes: tuple[Route, ...] = ROUTES) -> dict[str, Any]:
        """Let these routes run; gives them by name."""
        live: dict[str, Any] = {route.name: LiveRoute(route, self.site.router, (), self.pool("app")) for route in routes}
        self.site.router.route(RouteTable(routes), live)
        return live

    def pool(self, name: str) -> Any:
        """A pool's balancer."""
        return self.site.balancers[name]

    def there(self, name: str = "app") -> list[tuple[str, int]]:
        """The members of a pool, with their weights."""
        return [(member.address, member.backend.weight) for member in self.pool(name).pool.members.values()]

    def mark_down(self, name: str) -> None:
        """All of a pool are down."""
        pool = self.pool(name).pool
        for address in list(pool.members):
            pool.apply(Verdict(address, False, "refused", "probe"))

    def ask(self, path: str, body: bytes = b"", *fields: str, method: str = "POST") -> bytes:
        """The whole response to one request, sent as it is written here; the log stays empty."""
        transport = StringTransport()
        with capturedLogs() as events:
            self.begin(transport, path, body, *fields, method=method)
        self.assertEqual(events, [])
        data: bytes = transport.value()
        return data

    def begin(self, transport: StringTransport, path: str, body: bytes = b"", *fields: str, method: str = "POST") -> Any:
        """Send a request; gives the channel."""
        channel: Any = self.admin.buildProtocol(None)
        channel.makeConnection(transport)
        lines = "".join(f"{line}\r\n" for line in ("Host: x", f"Content-Length: {len(body)}", *fields))
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        return channel

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        response = self.ask(path, method="GET")
        return status(response), split(response)[2].decode()

    def get_json(self, path: str) -> Any:
        """What a page says in JSON."""
        code, text = self.get(path)
        self.assertEqual(code, 200, text)
        return json.loads(text)
