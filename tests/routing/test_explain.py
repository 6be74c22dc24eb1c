"""Why a request takes a route."""

from __future__ import annotations

from hypothesis import strategies
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.head import RequestHead
from lbproxy.proxy.client import Client
from lbproxy.routing.asking import request_of
from lbproxy.routing.explain import TOLD, RouteDecision, explain_route
from lbproxy.routing.model import Route
from lbproxy.routing.table import RouteTable
from tests.routing.support import route
from tests.routing.test_table import _CLIENTS, _REQUESTS, _TABLES
from tests.support import given


def explained(text: str, *routes: Route, **fields: str) -> RouteDecision:
    """What becomes of a request, by these routes."""
    return explain_route(RouteTable(routes), *request_of(text, fields))


class ExplainTests(SynchronousTestCase):
    """Which route was taken, and why the others were not."""

    def test_every_route_is_told_of_with_its_reason(self) -> None:
        """In the order in which they are asked; of a route with several places, the one that got furthest counts."""
        told = explained(
            "https://shop.example/cart?x=1",
            route("other host", host=["a.example", "*.shop.example"]),
            route("exact", host=["a.example", "shop.example"], path=["/car"]),
            route("regex", path_regex="/x"),
            route("prefix", path_prefix="/cart/x"),
            route("method", method=["PUT", "POST"]),
            route("header", header={"X-A": "1"}),
            route("pattern", header={"X-A": {"regex": "b"}}),
            route("some header", header={"X-B": True}),
            route("no argument", query={"x": False}),
            route("client", client=["10.0.0.0/8", "::1"]),
            route("scheme", scheme="http"),
            route("taken", path_prefix="/cart", scheme="https"),
            route("later", path_prefix="/cart/", scheme="https"),
            route("less specific"),
            **{"X-A": "2"},
        )
        self.assertEqual(told.request, "GET https://shop.example/cart?x=1 from 192.0.2.1")
        self.assertEqual((told.route, told.why), ("taken", "any host, path-prefix /cart, scheme https"))
        self.assertEqual(
            [(one.route, one.why) for one in told.passed_over],
            [
                ("exact", "path is not /car"),
                ("other host", "host is not a.example"),
                ("regex", "path does not match /x"),
                ("prefix", "path does not begin with /cart/x"),
                ("later", "passed over: it is as specific, and stands later"),
                ("method", "the method is not PUT or POST"),
                ("header", "header X-A is not what is wanted"),
                ("pattern", "header X-A does not match what is wanted"),
                ("some header", "there is no header X-B"),
                ("no argument", "there is the argument x"),
                ("client", "the client is not in 10.0.0.0/8, ::1/128"),
                ("scheme", "the scheme is not http"),
                ("less specific", "passed over: a more specific route comes first"),
            ],
        )

    def test_a_request_without_a_route_is_explained_too(self) -> None:
        """There is none, or its path means several things."""
        self.assertEqual(explained("http://a.example/", route("b", host="b.example")).why, "no route is for it")
        told = explained("http://a.example/x/../admin", route("admin", path_prefix="/admin"), route("any"))
        self.assertEqual(told.route, "")
        self.assertIn("'/x/../admin' takes any, and '/admin' takes admin", told.why)
        self.assertIn("if all servers read the path as it is written", told.passed_over[1].why)
        told = explained("http://a.example/%00", route("admin", path_prefix="/"), route("a", path="/a"))
        self.assertIn("null byte", told.why)

    def test_it_is_written_for_people(self) -> None:
        """A line for each."""
        text = str(explained("http://a.example/", route("taken"), route("another", path="/x")))
        self.assertEqual(
            text.splitlines(),
            [
                "GET http://a.example/ from 192.0.2.1",
                "  takes route taken: any host, any path",
                "  passed over:",
                "    another  path is not /x",
            ],
        )
        self.assertIn("takes no route: no route is for it", str(explained("http://a.example/")))

    def test_of_many_routes_those_of_the_host_are_told_of(self) -> None:
        """Others are counted."""
        others = [route(str(number), host=f"h{number}.example") for number in range(100)]
        told = explained("http://a.example/", *others, route("a", host="a.example", path="/a"), route("any"), route("more"))
        names = [one.route for one in told.passed_over]
        self.assertEqual((len(names), told.more), (TOLD, 102 - TOLD))
        self.assertTrue({"a", "more"} <= set(names))
        self.assertIn(f"and {102 - TOLD} more", str(told))

    @given(_TABLES, strategies.tuples(_REQUESTS, _CLIENTS))
    def test_what_is_explained_is_what_is_done(self, routes: list[Route], asked: tuple[RequestHead, Client]) -> None:
        """The route told of is the one that is found, and all others are told of once."""
        table = RouteTable(routes)
        taken, told = table.find(*asked), explain_route(table, *asked)
        self.assertEqual(told.route, "" if taken is None else taken.name)
        names = [one.route for one in told.passed_over] + ([told.route] if told.route else [])
        self.assertEqual(sorted(names), sorted(one.name for one in routes))
        self.assertTrue(all(one.why for one in told.passed_over))
