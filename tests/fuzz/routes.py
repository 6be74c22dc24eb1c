"""Which route a request takes, beside a second opinion: all routes looked at one after the other, for every reading of the path,
and for what some well-known servers make of it, written down anew here."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from lbproxy.errors import BadMessage
from lbproxy.http1.head import MessageLimits, RequestHead
from lbproxy.http1.request_head import parse_request_head
from lbproxy.proxy.client import Client
from lbproxy.routing.explain import explain_route
from lbproxy.routing.matching import host_name, is_below, path_text, tests_of
from lbproxy.routing.model import Match, Route
from lbproxy.routing.order import EXACT, PREFIX, REGEX, Alternative
from lbproxy.routing.readings import normal_path, readings
from lbproxy.routing.redirects import Location, with_slash
from lbproxy.routing.table import RouteTable
from lbproxy.settings import Settings

from .reading import hold

__all__ = ["SEEDS", "check_route"]

_LIMITS = MessageLimits.of(Settings())
_WHO = Client("192.0.2.7", False, b"")


def _table(*matches: Match) -> RouteTable:
    return RouteTable([Route(name=str(place), pool="app", match=match) for place, match in enumerate(matches)])


_TABLES = (
    _table(Match(), Match(path_prefix=("/admin",)), Match(path=("/", "/admin/x")), Match(path_prefix=("/admin/x/y",))),
    _table(
        Match(host=("a", "*.a", "[::1]")),
        Match(host=("a",), path_prefix=("/admin",), method=("GET",)),
        Match(path_prefix=("/admin",)),
        Match(host=("b.a",), path=("/admin",), header={"X-A": "1", "X-B": False}),
        Match(path_regex=("^/[a-z]+/x$",), query={"q": "1"}),
    ),
    _table(Match(host=("*.b.a",)), Match(host=("b.a",), header={"X-A": {"regex": "1|2"}}), Match(path_regex=("/admin.*",))),
)


def _resolved(path: bytes) -> bytes:
    """Dots resolved and slashes merged, by Python's own library; a slash at the end stays."""
    norm = posixpath.normpath(b"/" + path.lstrip(b"/"))
    at_end = path.endswith((b"/", b"/.", b"/.."))
    return norm + (b"/" if at_end and norm != b"/" else b"")


def _without_parameters(path: bytes) -> bytes:
    return b"/".join(segment.partition(b";")[0] for segment in path.split(b"/"))


#: What servers look files and handlers up by.
_SERVERS: dict[str, Callable[[bytes], bytes]] = {
    "decodes, then resolves (nginx)": lambda path: _resolved(unquote_to_bytes(path)),
    "takes parameters off, decodes, then resolves (Tomcat)": lambda path: _resolved(unquote_to_bytes(_without_parameters(path))),
    "decodes, takes parameters off, then resolves": lambda path: _resolved(_without_parameters(unquote_to_bytes(path))),
    "takes backslashes for slashes (IIS)": lambda path: _resolved(unquote_to_bytes(path).replace(b"\\", b"/")),
    "keeps what is encoded, and takes backslashes for slashes (WHATWG)": lambda path: _resolved(
        normal_path(path).replace(b"\\", b"/")
    ),
    "keeps what is encoded, then resolves": lambda path: _resolved(normal_path(path)),
    "only decodes": unquote_to_bytes,
}


def check_route(table: int, target: bytes, host: bytes, fields: bytes) -> None:
    """A request takes the same route in every opinion, or none."""
    routes = _TABLES[table % len(_TABLES)]
    lines = b"GET %b HTTP/1.1\r\nHost: %b\r\n%b" % (target, host, b"%b\r\n" % fields if fields else b"")
    try:
        head = parse_request_head(lines + b"\r\n", _LIMITS)
    except (BadMessage, ValueError):
        return
    taken = routes.find(head, _WHO)
    told = explain_route(routes, head, _WHO)
    hold(told.route == ("" if taken is None else taken.name), "the explanation is true", told.route, target)
    path = head.target.partition(b"?")[0]
    read = {_walk(routes, one, head) for one in readings(normal_path(path))}
    if _by_path(routes, head):
        hold(taken is (read.pop() if len(read) == 1 else None), "the route is the first that is met, however it is read", target)
    if taken is not None:
        _check_servers(routes, taken, path, head)
        matched = routes.matched(taken, head)
        hold(path.startswith(matched), "what is taken off stands at the beginning", matched, path)
    _check_locations(head)


def _check_servers(routes: RouteTable, taken: Route, path: bytes, head: RequestHead) -> None:
    for name, makes in _SERVERS.items() if path[:1] == b"/" else ():
        other = _walk(routes, makes(path), head)
        hold(other is taken, f"no path gets past a rule where a server {name}", path, taken.name, other)


def _check_locations(head: RequestHead) -> None:
    for place in (Location("{uri}").of(head, _WHO), Location("/{path}").of(head, _WHO), with_slash(head.target)):
        hold(place is not None and re.fullmatch(rb"(?:/(?![/\\])[!-\[\]-~]*)?", place), "a redirect stays at its host", place)
        hold(place is not None and b"\\" not in place, "a redirect has no backslash", place)


def _by_path(routes: RouteTable, head: RequestHead) -> bool:
    """Whether any of the host's routes looks at the path."""
    places = [place for place in routes.order if _is_host(place.host, host_name(head.host or b""))]
    return any(place.kind in (EXACT, REGEX) or (place.kind == PREFIX and place.path) for place in places)


def _walk(routes: RouteTable, path: bytes, head: RequestHead) -> Route | None:
    """The first route that is met, were this the path."""
    name = host_name(head.host or b"")
    for place in routes.order:
        tests = tests_of(place.route.match)
        if _is_host(place.host, name) and _is_path(place, path) and all(test.holds(head, _WHO) for test in tests):
            return place.route
    return None


def _is_host(wanted: str, name: bytes) -> bool:
    if wanted.startswith("*."):
        return name.endswith(wanted[1:].encode()) and not name.startswith(b".")
    return wanted in ("", name.decode("latin-1"))


def _is_path(place: Alternative, path: bytes) -> bool:
    if place.kind == EXACT:
        return path == place.path
    if place.kind == REGEX:
        return re.match(place.said, path_text(path)) is not None
    return place.kind != PREFIX or is_below(path, place.path)


#: Table, target, host, fields; parted by a line feed after the first byte.
SEEDS: list[bytes] = [
    table + b"\n".join((target, host, fields))
    for table in (b"\0", b"\1", b"\2")
    for target, host, fields in (
        (b"/admin/x?q=1", b"a", b"X-A: 1"),
        (b"/%61dmin/../admin;x/%2e%2E/admin%2Fx//y", b"b.a:80", b"X-B: 2"),
        (b"http://a/..\\admin%5cx", b"a.", b""),
        (b"/x/..;/admin/%3B/y%00", b"[0:0::1]", b"x-a:  2\r\nX-A: 1"),
        (b"//evil/%09?%0d%0a", b"x.b.a", b""),
        (b"/admin%0a/x", b"b.a", b"X-A: 3"),
    )
]
