"""/healthz of several pools says whether anything can be served, and what cannot."""

from __future__ import annotations

from lbproxy.admin.health import POOLS_SHOWN
from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool

from ..support import FakeProbe
from .support import ROUTES, SeveralCase


class HealthTests(SeveralCase):
    """``/healthz`` of three pools."""

    def test_all_are_available(self) -> None:
        """Without routes all pools count."""
        self.assertEqual(self.get("/healthz"), (200, "ok, 3 of 3 pools available\n"))

    def test_only_pools_that_a_route_leads_to_count(self) -> None:
        """One that gets copies alone does not."""
        self.route()
        self.assertEqual(self.get("/healthz"), (200, "ok, 2 of 2 pools available\n"))
        self.mark_down("app")
        self.assertEqual(self.get("/healthz"), (200, "ok, 1 of 2 pools available\napp: unavailable, 0 of 2 backends up\n"))
        self.mark_down("canary")
        code, text = self.get("/healthz")
        self.assertEqual((code, text.partition("\n")[0]), (503, "unavailable, 0 of 2 pools available"))
        self.assertIn("\ncanary: unavailable, 0 of 2 backends up\n", text)

    def test_where_no_route_leads_to_a_pool(self) -> None:
        """Nothing needs one."""
        self.route(ROUTES[2:])
        self.mark_down("app")
        self.assertEqual(self.get("/healthz"), (200, "ok, no route leads to a pool\n"))

    def test_one_pool(self) -> None:
        """It can be asked for by its name, whether or not a route leads to it."""
        self.route()
        self.mark_down("app")
        self.assertEqual(self.get("/healthz?pool=app"), (503, "unavailable, 0 of 2 backends up\n"))
        self.assertEqual(self.get("/healthz?pool=shadow"), (200, "ok, 1 of 1 backends up\n"))

    def test_an_unknown_pool(self) -> None:
        """The answer lists those that there are."""
        for query in ("pool=x", "pool=", "pool=app&pool=canary", "pool=%FF"):
            said = self.get(f"/healthz?{query}")
            self.assertEqual(said, (404, "There is no such pool. There is\napp\ncanary\nshadow\n"), query)

    def test_draining(self) -> None:
        """Then no pool is healthy."""
        self.admin = self.make_site(draining=lambda: True)
        for path in ("/healthz", "/healthz?pool=app"):
            self.assertEqual(self.get(path), (503, "draining\n"))

    def test_the_list_has_an_end(self) -> None:
        """However many pools are away."""
        for number in range(POOLS_SHOWN + 5):
            name = f"p{number}"
            self.site.add_pool(Pool(parse_backends(["x:1"]), name=name), probe=FakeProbe())
            self.mark_down(name)
        lines = self.get("/healthz")[1].splitlines()
        self.assertEqual((len(lines), lines[0], lines[-1]), (POOLS_SHOWN + 2, "ok, 3 of 108 pools available", "and 5 more"))
