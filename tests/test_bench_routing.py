"""``python -m bench routing`` measures look-ups and requests, and says where the goal is missed."""

# mypy: allow-untyped-calls

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.routing import GOAL, HOSTS, ROUTES_A_HOST, TABLES, look_up_cost, ratio, requests_of, routes_of, table
from lbproxy.proxy.client import Client
from lbproxy.routing.table import RouteTable


class RoutingTests(SynchronousTestCase):
    """Figures, and a table."""

    def test_each_request_takes_a_route_of_its_own_host(self) -> None:
        """Otherwise less would be measured than is said."""
        routes = RouteTable(routes_of(30))
        taken = [routes.find(head, Client("192.0.2.1", False, b"")) for head in requests_of(30)]
        names = [f"{host} {host % ROUTES_A_HOST}" for host in range(30)]
        self.assertEqual([None if route is None else route.name for route in taken], names)

    def test_a_look_up_is_measured(self) -> None:
        """In µs."""
        self.assertTrue(0 < look_up_cost(1, batches=1, look_ups=100) < 1e6)

    def test_the_multiple_is_the_median_of_the_rounds(self) -> None:
        """A round in which the machine was slow for both says nothing against the many."""
        self.assertEqual(ratio({0: [1.0] * 3, 1: [50.0, 100.0, 50.0], HOSTS: [55.0, 110.0, 500.0]}), 1.1)

    def test_a_missed_goal_is_marked(self) -> None:
        """And figures that were not measured are left out."""
        look_ups = {1: 0.5, HOSTS: 1.0}
        lines = table(look_ups, {0: [50.0], 1: [50.0], HOSTS: [50.0 * (GOAL + 0.1)]}).splitlines()
        self.assertEqual(len(lines), len(TABLES) + 2)
        self.assertTrue(lines[-1].endswith("!"))
        self.assertEqual(len(table(look_ups, {}).splitlines()), len(TABLES) + 1)
