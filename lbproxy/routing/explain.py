"""Why a request takes the route that it takes, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from .matching import host_name, is_below, path_of, path_text, tests_of
from .model import Route
from .order import EXACT, NONE, PREFIX, REGEX, Alternative
from .readings import readings
from .table import RouteTable

if TYPE_CHECKING:
    from ..http1.head import RequestHead
    from ..proxy.client import Client

__all__ = ["TOLD", "PassedOver", "RouteDecision", "explain_route"]

#: Routes that a decision tells of; of the others only how many there are.
TOLD = 50

#: How far a place got: its host, its path or a further condition was not met, or all of them were.
_HOST, _PATH, _CONDITION, _ALL = range(4)


@attrs.frozen
class PassedOver:
    """A route that was not taken, and why not."""

    route: str
    why: str


@attrs.frozen
class RouteDecision:
    """Which route a request takes.

    :ivar request: it, in words.
    :ivar route: the name of the one that it takes; empty: there is none for it.
    :ivar why: by what it was met; or why there is none.
    :ivar passed_over: the others, in the order in which they are asked; those of other hosts are left out first where there are
        more than :data:`TOLD`.
    :ivar more: how many are left out.
    """

    request: str
    route: str
    why: str
    passed_over: tuple[PassedOver, ...]
    more: int = 0

    def __str__(self) -> str:
        """All of it, in lines for people."""
        taken = f"takes route {self.route}: {self.why}" if self.route else f"takes no route: {self.why}"
        lines = [self.request, f"  {taken}"]
        if self.passed_over:
            lines.append("  passed over:")
            width = min(40, max(len(one.route) for one in self.passed_over))
            lines += [f"    {one.route:<{width}}  {one.why}" for one in self.passed_over]
        if self.more:
            lines.append(f"    and {self.more} more")
        return "\n".join(lines)


@attrs.frozen
class _Met:
    """What became of one place in the order: how far it got, and why not further."""

    place: Alternative
    far: int
    why: str


def explain_route(table: RouteTable, request: RequestHead, client: Client) -> RouteDecision:
    """Which route a request takes, and why not the others. It looks at all routes: it is for people, not for every request."""
    path = path_of(request.target)
    taken = table.find(request, client)
    met = [_look(place, path, request, client) for place in table.order]
    first = next((one for one in met if one.far == _ALL), None)
    why = _why_none(table, path, request, client) if taken is None or first is None else _by_what(first.place)
    found = [(one.far, PassedOver(one.place.route.name, _why_not(one, first))) for one in _furthest(met, taken)]
    told = sorted(range(len(found)), key=lambda index: found[index][0] == _HOST)[:TOLD]
    return RouteDecision(
        request=_in_words(request, client),
        route="" if taken is None else taken.name,
        why=why,
        passed_over=tuple(found[index][1] for index in sorted(told)),
        more=len(found) - len(told),
    )


def _in_words(request: RequestHead, client: Client) -> str:
    host = (request.host or b"").decode("latin-1")
    target = request.target.decode("latin-1")
    return f"{request.method.decode('latin-1')} {'https' if client.secure else 'http'}://{host}{target} from {client.address}"


def _look(place: Alternative, path: bytes, request: RequestHead, client: Client) -> _Met:
    """How far one place gets."""
    if not _is_host(place.host, host_name(request.host or b"")):
        return _Met(place, _HOST, f"host is not {place.host}")
    why = _why_not_path(place, path)
    if why:
        return _Met(place, _PATH, why)
    failed = next((test.failed for test in tests_of(place.route.match) if not test.holds(request, client)), "")
    return _Met(place, _CONDITION if failed else _ALL, failed)


def _is_host(wanted: str, name: bytes) -> bool:
    if wanted.startswith("*."):
        return name.endswith(wanted[1:].encode("ascii")) and len(name) > len(wanted) - 1 and name[:1] != b"."
    return not wanted or wanted.encode("ascii") == name


def _why_not_path(place: Alternative, path: bytes) -> str:
    if place.kind == EXACT and path != place.path:
        return f"path is not {place.said}"
    if place.kind == REGEX and not re.match(place.said, path_text(path)):
        return f"path does not match {place.said}"
    if place.kind == PREFIX and not is_below(path, place.path):
        return f"path does not begin with {place.said}"
    return ""


def _by_what(place: Alternative) -> str:
    path = {EXACT: f"path {place.said}", REGEX: f"path-regex {place.said}", PREFIX: f"path-prefix {place.said}", NONE: "any path"}
    said = [f"host {place.host}" if place.host else "any host", path[place.kind]]
    match = place.route.match
    said += ["method"] if match.method else []
    said += [f"header {one.name}" for one in match.header]
    said += [f"query {one.name}" for one in match.query]
    said += ["client"] if match.client else []
    said += [f"scheme {match.scheme}"] if match.scheme else []
    return ", ".join(said)


def _why_none(table: RouteTable, path: bytes, request: RequestHead, client: Client) -> str:
    """Why there is none; it may be that the path has several readings, of which each would take one."""
    found = readings(path)
    if not found:
        return (
            "its path is not to be routed by: it has a null byte, can be read in several ways and is very long, "
            "or has several spellings of a slash or semicolon"
        )
    by_reading = [(read, table.at(read, request, client)) for read in found]
    if len({id(route) for _, route in by_reading}) < 2:
        return "no route is for it"
    read, route = next((read, route) for read, route in by_reading if route is not by_reading[0][1])
    return (
        f"servers read its path in several ways, which take several routes: {_said(path, by_reading[0][1])}, "
        f"and {_said(read, route)}"
    )


def _said(path: bytes, route: Route | None) -> str:
    return f"{path_text(path)!r} takes {'none' if route is None else route.name}"


def _furthest(met: list[_Met], taken: Route | None) -> Iterator[_Met]:
    """Of each route but the one that was taken, the place that got furthest; in order of these places."""
    best: dict[int, _Met] = {}
    for one in met:
        index = one.place.index
        if one.place.route is not taken and (index not in best or one.far > best[index].far):
            best[index] = one
    return (one for one in met if best.get(one.place.index) is one)


def _why_not(one: _Met, first: _Met | None) -> str:
    if one.far != _ALL or first is None:
        return one.why
    if one is first:
        return "it would be taken if all servers read the path as it is written"
    if one.place.rank[:-1] == first.place.rank[:-1]:
        return "passed over: it is as specific, and stands later"
    return "passed over: a more specific route comes first"
