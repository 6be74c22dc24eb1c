"""Routes that can never be taken."""

from __future__ import annotations

from hypothesis import strategies
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.head import RequestHead
from lbproxy.proxy.client import Client
from lbproxy.routing.model import Route
from lbproxy.routing.table import RouteTable
from tests.routing.support import route
from tests.routing.test_table import _CLIENTS, _REQUESTS, _TABLES
from tests.support import given


def never(*routes: Route) -> list[str]:
    """The names of those that can never be taken."""
    return [name for name, _ in RouteTable(routes).problems()]


class OverlapTests(SynchronousTestCase):
    """What is certain is said, and nothing else."""

    def test_both_routes_are_named(self) -> None:
        """The one that is never taken, and the one that is in its way."""
        table = RouteTable([route("all"), route("again")])
        self.assertEqual(
            table.problems(),
            [("again", "route 'again' can never be taken: whatever it is for is taken by route 'all', which is asked first")],
        )

    def test_routes_for_the_same_are_found_however_they_are_written(self) -> None:
        """In another case, with another spelling of the path, in the order of the file."""
        for first, second in (
            (route("a", host="shop.example", path="/x"), route("b", host="Shop.Example.", path="/%78")),
            (route("a", path_prefix="/x"), route("b", path_prefix="/x/")),
            (route("a", path_regex="/x+"), route("b", path_regex="/x+")),
            (route("a", path_prefix="/"), route("b")),
            (route("a", method=["GET", "POST"]), route("b", method="POST")),
            (route("a", header={"X-A": True}), route("b", header={"x-a": "1"})),
            (route("a", query={"v": {"regex": "1"}}), route("b", query={"v": {"regex": "1"}})),
            (route("a", client="10.0.0.0/8"), route("b", client=["10.1.0.0/16", "10.2.0.0/16"])),
            (route("a", host=["x.example", "y.example"]), route("b", host=["y.example", "x.example"])),
            (route("a", scheme="https"), route("b", scheme="https")),
        ):
            self.assertEqual(never(first, second), ["b"], second)

    def test_the_prefix_of_all_paths_is_asked_before_what_says_nothing_of_paths(self) -> None:
        """Wherever it stands in the file."""
        self.assertEqual(never(route("any"), route("root", path_prefix="/")), ["any"])

    def test_several_routes_may_take_it_together(self) -> None:
        """Each of its methods, or each of its places, is taken by another."""
        taken = RouteTable([route("a", method="GET"), route("b", method="POST"), route("c", method=["GET", "POST"])])
        self.assertEqual(
            taken.problems(),
            [("c", "route 'c' can never be taken: whatever it is for is taken by routes 'a' and 'b', which are asked first")],
        )
        self.assertEqual(never(route("a", path="/a"), route("b", path="/b"), route("c", path=["/a", "/b"])), ["c"])

    def test_what_some_request_may_take_is_no_problem(self) -> None:
        """Also where most of it is taken."""
        for routes in (
            [route("a", path="/a"), route("b", path=["/a", "/b"])],
            [route("a", method="GET"), route("b", method=["GET", "POST"]), route("c")],
            [route("a", host="shop.example"), route("b", host="*.example"), route("c")],
            [route("a", path="/a"), route("b", path_prefix="/a"), route("c", path_regex="/a")],
            [route("a", header={"A": "1"}), route("b", header={"A": "2"}), route("c", header={"A": True})],
            [route("a", query={"A": True}), route("b", query={"a": "1"})],
            [route("a", client="10.0.0.0/8"), route("b", client=["10.0.0.0/8", "::1"]), route("c", client="192.0.2.1")],
            [route("a", scheme="http"), route("b", scheme="https"), route("c")],
            [route("a", header={"A": False}), route("b", header={"A": True})],
            [route("a", path=["/a", "/a"]), route("b", path_prefix=["/a", "/a/b"])],
        ):
            self.assertEqual(never(*routes), [], routes)

    @given(_TABLES, strategies.lists(strategies.tuples(_REQUESTS, _CLIENTS), min_size=1, max_size=5))
    def test_no_request_takes_a_route_that_can_never_be_taken(
        self, routes: list[Route], asked: list[tuple[RequestHead, Client]]
    ) -> None:
        """Whatever the routes and the requests are."""
        table = RouteTable(routes)
        dead = {name for name, _ in table.problems()}
        for head, who in asked:
            taken = table.find(head, who)
            self.assertNotIn(None if taken is None else taken.name, dead)
