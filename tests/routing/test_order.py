"""The order in which routes are asked."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.routing.order import in_order
from tests.routing.requests import route


class OrderTests(SynchronousTestCase):
    """The most specific first, then as they were given."""

    def test_hosts_count_before_paths_and_paths_before_conditions(self) -> None:
        """Whatever the order in the file."""
        order = [
            route("exact host", host="a.example"),
            route("wildcard of three labels", host="*.b.example"),
            route("wildcard of two labels, with a path", host="*.example", path="/"),
            route("wildcard of two labels", host="*.example", method="GET"),
            route("whole path", path="/a"),
            route("regular expression", path_regex="/"),
            route("long prefix", path_prefix="/a/b"),
            route("short prefix", path_prefix="/a", header={"A": True}),
            route("every path", path_prefix="/"),
            route("method", method="GET"),
            route("none, first in the file"),
            route("none, second in the file"),
        ]
        self.assertEqual([place.route.name for place in in_order(order)], [one.name for one in order])
        backwards = [place.route.name for place in in_order(reversed(order))]
        self.assertEqual(backwards[:10], [one.name for one in order[:10]])

    def test_a_route_stands_in_it_once_for_each_host_and_path(self) -> None:
        """Each place by itself."""
        many = route("many", host=["a.example", "*.example"], path="/x", path_prefix=["/y", "/long"])
        self.assertEqual(
            [(place.host, place.said) for place in in_order([many])],
            [(host, path) for host in ("a.example", "*.example") for path in ("/x", "/long", "/y")],
        )
