"""/status and /routes say of each route where it leads, and what came of the exchanges that took it."""

from __future__ import annotations

import json

from lbproxy.admin.status import ROUTES_SHOWN, status
from lbproxy.discovery.file import LOOK_INTERVAL
from lbproxy.routing.model import Route, StaticFiles
from lbproxy.state_file import StateFile

from ..support import START
from ..tls.fake_store import Threads
from .support import POOLS, ROUTES, SeveralCase


class RouteStatusTests(SeveralCase):
    """Routes in the status report."""

    def test_every_pool(self) -> None:
        """In the operator's order."""
        self.assertEqual([pool["name"] for pool in self.get_json("/status")["pools"]], list(POOLS))

    def test_routes(self) -> None:
        """With what they lead to, their filters and their counters."""
        live = self.route()
        live["mixed"].taken, live["mixed"].statuses, live["mixed"].filtered = 3, {503: 1, 200: 2}, {"limited": 1}
        shop, mixed, old, ping = self.get_json("/status")["routes"]
        self.assertEqual(
            mixed,
            {
                "name": "mixed",
                "to": {"split": {"app": 95, "canary": 5}},
                "mirror": None,
                "filters": ["limit"],
                "taken": 3,
                "statuses": {"200": 2, "503": 1},
                "filtered": {"limited": 1},
            },
        )
        self.assertEqual((shop["to"], shop["mirror"]), ({"pool": "app"}, "shadow"))
        self.assertEqual((old["to"], ping["to"]), ({"redirect": "https://new.example{uri}"}, {"answer": 200}))

    def test_other_targets(self) -> None:
        """Files and resources."""
        self.route((Route(name="a", static=StaticFiles(directory="/srv")), Route(name="b", resource="wsgi")))
        self.assertEqual([one["to"] for one in self.get_json("/routes")], [{"static": "/srv"}, {"resource": "wsgi"}])

    def test_many_routes(self) -> None:
        """/status shows the first of them and how many there are; /routes has all, made in parts."""
        routes = tuple(Route(name=f"r{number}", pool="app") for number in range(ROUTES_SHOWN + 50))
        self.route(routes)
        report = status(self.running(), START)
        self.assertEqual((len(report["routes"]), report["routes_total"]), (ROUTES_SHOWN, len(routes)))
        self.assertEqual([one["name"] for one in self.get_json("/routes")], [route.name for route in routes])

    def test_no_routes(self) -> None:
        """Both are empty lists."""
        self.assertEqual((self.get_json("/status")["routes"], self.get_json("/routes")), ([], []))

    def test_unrouted(self) -> None:
        """Exchanges that no pool got are counted by themselves."""
        counters = self.site.router.counters
        counters.count(404, "no-route", 0.1)
        counters.count(308, "route", 0.1)
        counters.in_flight = 1
        self.assertEqual(
            self.get_json("/status")["unrouted"],
            {"in_flight": 1, "requests": 2, "statuses": {"308": 1, "404": 1}, "ends": {"no-route": 1, "route": 1}},
        )

    def test_a_file_that_lists_members(self) -> None:
        """Its last reading stands with the pool."""
        path = self.mktemp()
        self.memberships.configure(self.pool("app").pool, (), path)
        first = self.get_json("/pools/app")["backends_file"]
        self.assertEqual((first["path"], first["ok"], first["errors"]), (path, True, []))
        self.memberships.start()
        self.addCleanup(self.memberships.stop)
        self.reactor.advance(LOOK_INTERVAL)
        found = self.get_json("/pools/app")["backends_file"]
        self.assertEqual((found["ok"], len(found["errors"]), found["time"]), (False, 1, "1970-01-01T00:16:42.000Z"))
        self.assertIsNone(self.get_json("/pools/canary")["backends_file"])

    def test_a_state_file(self) -> None:
        """Where it is, when it was written, and why it is not."""
        self.assertIsNone(self.get_json("/status")["state_file"])
        state = StateFile("/nowhere/state.json", self.memberships, self.reactor, Threads())
        self.admin = self.make_site(memberships=self.memberships, state_file=state)
        report = self.get_json("/status")["state_file"]
        self.assertEqual(report, {"path": "/nowhere/state.json", "written": None, "error": None})
        state.error, state.written_at = "disk full", START
        report = self.get_json("/status")["state_file"]
        self.assertEqual((report["error"], report["written"]), ("disk full", "1970-01-01T00:16:40.000Z"))

    def test_plain_values(self) -> None:
        """JSON can hold all of it."""
        self.route(ROUTES)
        self.memberships.of(self.pool("app").pool).remove("a:1")
        report = status(self.running(memberships=self.memberships), START)
        self.assertEqual(json.loads(json.dumps(report)), report)
        self.assertEqual(report["pools"][0]["said"], {"added": [], "removed": ["a:1"], "weights": {}})
