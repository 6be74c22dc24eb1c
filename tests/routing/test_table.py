"""The table of routes: which one a request takes."""

from __future__ import annotations

import re
from itertools import product
from typing import Any
from urllib.parse import parse_qsl

from hypothesis import strategies
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.fields import pairs
from lbproxy.http1.head import RequestHead
from lbproxy.proxy.client import Client
from lbproxy.routing.model import Condition, Match, Route
from lbproxy.routing.readings import normal_path, readings
from lbproxy.routing.table import RouteTable
from tests.routing.requests import asked, client, found, route
from tests.support import given


class HostTests(SynchronousTestCase):
    """Which host a route is for."""

    def test_the_most_specific_host_comes_first(self) -> None:
        """Exact, then the wildcard with more labels, then any, whatever the order in the file."""
        routes = [
            route("any"),
            route("wide", host="*.example"),
            route("narrow", host="*.shop.example"),
            route("exact", host="a.shop.example"),
        ]
        for host, name in (
            ("a.shop.example", "exact"),
            ("b.shop.example", "narrow"),
            ("x.y.shop.example", "narrow"),
            ("shop.example", "wide"),
            ("example", "any"),
            ("xshop.example", "wide"),
            ("other.test", "any"),
        ):
            self.assertEqual(found(routes, asked("/", host)), name, host)

    def test_case_port_and_the_last_dot_mean_nothing(self) -> None:
        """However a client spells a host, it is the same."""
        routes = [route("shop", host="shop.example"), route("v6", host="[2001:db8::1]")]
        for host in ("shop.example", "SHOP.example", "shop.example:8080", "Shop.Example.:80", "shop.example:"):
            self.assertEqual(found(routes, asked("/", host)), "shop", host)
        for host in ("[2001:DB8::1]:443", "[2001:db8:0:0::1]", "[2001:0db8::0001]:80", "[2001:db8::0.0.0.1]"):
            self.assertEqual(found(routes, asked("/", host)), "v6", host)
        self.assertEqual(found(routes, asked("/", "[2001:db8::2::]")), None)
        self.assertEqual(found(routes, asked("/", "shop.example..")), None)

    def test_a_request_without_a_host_takes_what_is_for_any(self) -> None:
        """HTTP/1.0 knows no Host."""
        head = RequestHead(b"GET", b"/", 0, b"", {})
        self.assertEqual(found([route("shop", host="shop.example"), route("any")], head), "any")
        self.assertEqual(found([route("shop", host="*.example")], head), None)

    def test_what_a_proxy_says_of_the_host_chooses_no_route(self) -> None:
        """Only the Host field does."""
        who = Client("192.0.2.1", False, b"", forwarded_host=b"admin.example", trusted=True)
        self.assertEqual(found([route("admin", host="admin.example"), route("any")], asked("/"), who), "any")

    def test_where_the_hosts_routes_do_not_match_others_are_asked(self) -> None:
        """It is one order over all hosts."""
        routes = [
            route("exact", host="a.shop.example", path="/only"),
            route("wide", host="*.shop.example", path_prefix="/some"),
            route("any"),
        ]
        for path, name in (("/only", "exact"), ("/some/x", "wide"), ("/other", "any")):
            self.assertEqual(found(routes, asked(path, "a.shop.example")), name)

    def test_hosts_of_strangers_are_remembered_up_to_a_bound(self) -> None:
        """A client that makes hosts up fills no memory, and a long one is not remembered at all."""
        table = RouteTable([route("wide", host="*.example"), route("any")])
        for number in range(3000):
            self.assertEqual(table.find(asked("/", f"h{number}.example"), client()), table.routes[0])
        self.assertLessEqual(len(table._strangers), 1000)
        table = RouteTable([route("wide", host="*.example"), route("any")])
        self.assertEqual(table.find(asked("/", "a." * 200 + "example"), client()), table.routes[1])
        self.assertEqual(len(table._strangers), 0)


class PathTests(SynchronousTestCase):
    """Which path a route is for."""

    def test_the_most_specific_path_comes_first(self) -> None:
        """Exact, then regular expressions, then the longest prefix, then any."""
        routes = [
            route("any"),
            route("root", path_prefix="/"),
            route("a", path_prefix="/a"),
            route("ab", path_prefix="/a/b/"),
            route("regex", path_regex="/a/[0-9]+"),
            route("exact", path="/a/1"),
        ]
        for target, name in (
            ("/a/1", "exact"),
            ("/a/2", "regex"),
            ("/a/12/x", "regex"),
            ("/a/b", "ab"),
            ("/a/b/", "ab"),
            ("/a/b/c?x=/a/1", "ab"),
            ("/a/bc", "a"),
            ("/a", "a"),
            ("/a/", "a"),
            ("/ab", "root"),
            ("/", "root"),
            ("/?/a", "root"),
        ):
            self.assertEqual(found(routes, asked(target)), name, target)
        self.assertEqual(found(routes, asked("*", method="OPTIONS")), "root")
        self.assertEqual(found([route("a", path_prefix="/a"), route("any")], asked("*", method="OPTIONS")), "any")

    def test_paths_are_compared_decoded(self) -> None:
        """In the request and in the route, so that no spelling gets by; regular expressions see text."""
        routes = [route("api", path_prefix="/api"), route("käse", path="/k%C3%A4se"), route("brot", path_regex="/br[öo]t$")]
        for target, name in (("/%61pi/x", "api"), ("/%61p%69", "api"), ("/k%c3%a4se", "käse"), ("/br%C3%B6t", "brot")):
            self.assertEqual(found(routes, asked(target)), name, target)
        self.assertEqual(found([route("käse", path="/käse")], asked("/k%C3%A4se")), "käse")

    def test_no_other_reading_of_a_path_gets_by_a_routes_rules(self) -> None:
        """Where servers read a path in ways that take several routes, it takes none."""
        routes = [route("admin", path_prefix="/admin"), route("exact", path="/secret"), route("any")]
        for target in (
            "/x/../admin",
            "/%2e%2e/admin",
            "//admin",
            "/admin;x",
            "/admin%3bx/y",
            "/x/..;/admin",
            "/x%2F..%2fadmin/",
            "/.//admin",
            "/secret;v=1",
            "/./secret",
            "/admin/../x",
            "/admin/..%2fx",
            "/admin\\x/../..\\y",
            "/secret%00",
        ):
            self.assertIsNone(found(routes, asked(target)), target)

    def test_a_path_with_several_readings_takes_the_route_that_all_take(self) -> None:
        """What means the same to every server goes on as it came."""
        routes = [route("api", path_prefix="/api"), route("any")]
        for target, name in (
            ("/api//x", "api"),
            ("/api/%2Fx;v=1", "api"),
            ("/api/a/../b", "api"),
            ("/a//b/..", "any"),
            ("/web/https://x.example/..", "any"),
            ("/.well-known/x", "any"),
        ):
            self.assertEqual(found(routes, asked(target)), name, target)

    def test_without_routes_by_path_no_path_is_looked_at(self) -> None:
        """There is nothing to get by."""
        self.assertEqual(found([route("any")], asked("/x/../%00")), "any")

    def test_what_a_prefix_was_met_by_can_be_taken_off(self) -> None:
        """As the client wrote it; and only a prefix."""
        one = route("a", path_prefix=["/api", "/api/v1", "/"], path="/api/exact", path_regex="/api/x[0-9]")
        for target, prefix in (
            ("/api/y", b"/api"),
            ("/%61pi/v1/y?z=/", b"/%61pi/v1"),
            ("/api", b"/api"),
            ("/other", b""),
            ("/api/exact", b""),
            ("/api/x1", b""),
        ):
            self.assertEqual(RouteTable.matched(one, asked(target)), prefix, target)


class ConditionTests(SynchronousTestCase):
    """What else a route may ask for."""

    def test_methods(self) -> None:
        """Any of those that are named; one with a method comes before one without."""
        routes = [route("any"), route("write", method=["POST", "PUT"])]
        self.assertEqual([found(routes, asked("/", method=one)) for one in ("GET", "POST", "PUT")], ["any", "write", "write"])
        self.assertIsNone(found([route("get", method="GET")], asked("/", method="HEAD")))

    def test_header_fields(self) -> None:
        """A value, a pattern in it, any, none: of several fields of that name any will do, and names have no case."""
        for wanted, fields, met in (
            ("1", "X-A: 1\r\n", True),
            ("1", "x-a:1 \r\n", True),
            ("1", "X-A: 12\r\n", False),
            ("1", "X-AA: 1\r\nB: X-A: 1\r\n", False),
            ("1", "X-A: 2\r\nX-A: 1\r\n", True),
            ("", "X-A:\r\n", True),
            ("ä", "X-A: ä\r\n", True),
            ({"regex": "b[0-9]"}, "X-A: ab1c\r\n", True),
            ({"regex": "^b"}, "X-A: ab\r\n", False),
            (True, "X-A: x\r\n", True),
            (True, "", False),
            (False, "X-A: x\r\n", False),
            (False, "", True),
        ):
            got = found([route("a", header={"X-A": wanted})], asked("/", fields=fields))
            self.assertEqual(got, "a" if met else None, (wanted, fields))

    def test_fields_that_do_not_go_on_can_be_asked_for(self) -> None:
        """Such as the protocol that a client would go over to."""
        head = asked("/", fields="Connection: Upgrade\r\nUpgrade: websocket\r\n")
        self.assertEqual(found([route("a", header={"Upgrade": "websocket"})], head), "a")

    def test_arguments_of_the_query(self) -> None:
        """Decoded; of several of that name any will do."""
        for wanted, target, met in (
            ("2", "/?v=2", True),
            ("2", "/?v=1&v=2", True),
            ("2", "/?w=2&vv=2", False),
            ("a b", "/?v=a+b", True),
            ("a&b", "/?%76=a%26b", True),
            ("", "/?v=", True),
            (True, "/?v", True),
            (False, "/", True),
            (False, "/?v=", False),
            ({"regex": "^[0-9]+$"}, "/?v=12", True),
            ({"regex": "^[0-9]+$"}, "/v=12", False),
        ):
            self.assertEqual(found([route("a", query={"v": wanted})], asked(target)), "a" if met else None, (wanted, target))

    def test_the_clients_network(self) -> None:
        """Either family; a client without an address is in none."""
        routes = [route("in", client=["10.0.0.0/8", "2001:db8::/32"])]
        for address, name in (("10.1.2.3", "in"), ("2001:db8::1", "in"), ("11.0.0.1", None), ("unix", None), ("unknown", None)):
            self.assertEqual(found(routes, asked("/"), client(address)), name)

    def test_the_scheme(self) -> None:
        """As the client, or the trusted proxy in front, has it."""
        routes = [route("tls", scheme="https"), route("clear", scheme="http")]
        self.assertEqual(found(routes, asked("/"), client(secure=True)), "tls")
        self.assertEqual(found(routes, asked("/")), "clear")

    def test_more_conditions_come_first(self) -> None:
        """Method, then header fields, then arguments, then client, then scheme; then the operator's order."""
        order = [
            route("method", method="GET"),
            route("2 headers", header={"A": True, "B": True}),
            route("1 header, 1 argument", header={"A": True}, query={"v": True}),
            route("1 header, second in the file", header={"B": True}),
            route("argument", query={"v": True}),
            route("client", client="192.0.2.0/24"),
            route("scheme", scheme="http"),
            route("none"),
        ]
        head = asked("/?v", fields="A: 1\r\nB: 1\r\n")
        for most in range(len(order)):
            self.assertEqual(found(list(reversed(order[most:])), head), order[most].name)
        self.assertEqual(found([route("first"), route("second")], head), "first")


# The same, the long way.

_HOSTS = ("shop.example", "a.shop.example", "*.shop.example", "*.example", "b.a.shop.example")
_PATHS = ("/", "/a", "/a/b", "/a/", "/b", "/a/b/c")
_CONDITIONS = (
    Condition(name="A", exact="1"),
    Condition(name="A"),
    Condition(name="A", present=False),
    Condition(name="B", regex="[12]"),
    Condition(name="B", exact="1"),
)


def _some(of: tuple[Any, ...], most: int = 2) -> strategies.SearchStrategy[list[Any]]:
    return strategies.lists(strategies.sampled_from(of), max_size=most, unique=True)


def _by_name(chosen: list[Condition]) -> tuple[Condition, ...]:
    return tuple({one.name: one for one in chosen}.values())


_MATCHES = strategies.builds(
    Match,
    host=_some(_HOSTS),
    path=_some(_PATHS),
    path_prefix=_some(_PATHS),
    path_regex=_some(("/a", "/[ab]/b$"), 1),
    method=_some(("GET", "POST")),
    header=_some(_CONDITIONS).map(_by_name),
    query=_some(_CONDITIONS).map(_by_name),
    client=_some(("192.0.2.0/24", "10.0.0.0/8")),
    scheme=strategies.sampled_from(("", "http", "https")),
)
_TABLES = strategies.lists(_MATCHES, max_size=8).map(
    lambda matches: [Route(name=str(number), match=match, pool="app") for number, match in enumerate(matches)]
)
_REQUESTS = strategies.builds(
    lambda path, query, host, method, fields: asked(path + query, host, method, fields),
    strategies.lists(strategies.sampled_from(("a", "b", "%61", "c", "", "..", ".", ";x", "x%2Fa")), max_size=4).map(
        lambda parts: "/" + "/".join(parts)
    ),
    strategies.sampled_from(("", "?A=1", "?A&B=2", "?B=1")),
    strategies.sampled_from(("shop.example", "A.shop.example:80", "b.a.shop.example.", "x.example", "other.test")),
    strategies.sampled_from(("GET", "POST")),
    strategies.sampled_from(("", "A: 1\r\n", "a: 2\r\nB: 2\r\n", "B: 1\r\nA: 2\r\nA: 1\r\n")),
)
_CLIENTS = strategies.builds(client, strategies.sampled_from(("192.0.2.1", "10.0.0.1", "::1", "unix")), strategies.booleans())


def _linear(routes: list[Route], path: str, head: RequestHead, who: Client) -> Route | None:
    """The first route, of all in the stated order, whose conditions are met one after the other."""
    places = [
        (index, one, host, kind, said)
        for index, one in enumerate(routes)
        for host, (kind, said) in product(one.match.host or ("",), _said(one.match) or [(3, "")])
    ]

    def rank(place: tuple[int, Route, str, int, str]) -> tuple[Any, ...]:
        index, one, host, kind, said = place
        match = one.match
        return (
            2 if not host else 1 if host.startswith("*.") else 0,
            -len(host.split(".")) if host.startswith("*.") else 0,
            kind,
            -len(said.rstrip("/")) if kind == 2 else 0,
            0 if match.method else 1,
            -len(match.header),
            -len(match.query),
            0 if match.client else 1,
            0 if match.scheme else 1,
            index,
        )

    return next((place[1] for place in sorted(places, key=rank) if _is_met(place, path, head, who)), None)


def _said(match: Match) -> list[tuple[int, str]]:
    kinds = ((0, match.path), (1, match.path_regex), (2, match.path_prefix))
    return [(kind, said) for kind, all_of_kind in kinds for said in all_of_kind]


def _is_met(place: tuple[int, Route, str, int, str], path: str, head: RequestHead, who: Client) -> bool:
    _, one, host, kind, said = place
    name = (head.host or b"").decode().lower().partition(":")[0].rstrip(".")
    match = one.match
    fields = [(key.decode().lower(), value.decode()) for key, value in pairs(head.fields)]
    arguments = parse_qsl(head.target.decode().partition("?")[2], keep_blank_values=True)
    network = {"192.0.2.1": "192.0.2.0/24", "10.0.0.1": "10.0.0.0/8"}.get(who.address, "none")
    return (
        (not host or name == host or (host.startswith("*.") and name.endswith(host[1:])))
        and (
            kind == 3
            or (kind == 0 and path == said)
            or (kind == 1 and re.match(said, path) is not None)
            or (kind == 2 and f"{path}/".startswith(said.rstrip("/") + "/"))
        )
        and (not match.method or head.method.decode() in match.method)
        and (not match.scheme or match.scheme == ("https" if who.secure else "http"))
        and (not match.client or network in map(str, match.client))
        and all(_holds(want, [value for key, value in fields if key == want.name.lower()]) for want in match.header)
        and all(_holds(want, [value for key, value in arguments if key == want.name]) for want in match.query)
    )


def _holds(want: Condition, values: list[str]) -> bool:
    if not want.present:
        return not values
    if want.regex is not None:
        return any(re.search(want.regex, value) for value in values)
    return want.exact in values if want.exact is not None else bool(values)


class LinearSearchTests(SynchronousTestCase):
    """What is looked up is what would be found by trying all."""

    @given(_TABLES, _REQUESTS, _CLIENTS)
    def test_the_table_finds_what_a_linear_search_finds(self, routes: list[Route], head: RequestHead, who: Client) -> None:
        """In the stated order; and of a path with several readings, if they all agree."""
        path = normal_path(head.target.partition(b"?")[0])
        wanted = [_linear(routes, read.decode(), head, who) for read in readings(path)]
        by_path = any(one.match.path or one.match.path_regex or one.match.path_prefix for one in routes)
        expected = wanted[0] if all(one is wanted[0] for one in wanted) or not by_path else None
        self.assertIs(RouteTable(routes).find(head, who), expected)
