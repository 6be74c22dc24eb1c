"""The table of routes: which one a request takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from .matching import Check, check_of, host_name, matched_prefix, path_text
from .model import Route
from .order import EXACT, PREFIX, REGEX, Alternative, in_order
from .overlaps import problems
from .readings import normal_path, readings

if TYPE_CHECKING:
    from ..http1.head import RequestHead
    from ..proxy.client import Client

__all__ = ["RouteTable"]

#: What is to be checked beside host and path, and whose route it is; in order.
_Entries = tuple[tuple[Check | None, Route], ...]

#: Hosts of strangers that are remembered at most, and four spellings of each of ours, so that each is looked up label by label
#: once.
_STRANGERS = 1000
#: Bytes of a name at most (RFC 1035 section 2.3.4), and of one with a port.
_LONGEST_NAME = 255
_LONGEST_HOST = _LONGEST_NAME + 6


class _HostRoutes:
    """The routes of one host, or wildcard, or those for any host.

    :ivar longest: bytes of the longest prefix.
    :ivar by_path: whether any looks at the path.
    """

    __slots__ = ("by_path", "exact", "longest", "prefixes", "regexes", "rest")

    def __init__(self, alternatives: Sequence[Alternative], checks: Sequence[Check | None]) -> None:
        exact: dict[bytes, _Entries] = {}
        prefixes: dict[bytes, _Entries] = {}
        regexes: list[tuple[re.Pattern[str], Check | None, Route]] = []
        rest: list[tuple[Check | None, Route]] = []
        for one in alternatives:  # which are in order
            entry = (checks[one.index], one.route)
            if one.kind == EXACT:
                exact[one.path] = (*exact.get(one.path, ()), entry)
            elif one.kind == PREFIX:
                prefixes[one.path] = (*prefixes.get(one.path, ()), entry)
            elif one.kind == REGEX:
                regexes.append((re.compile(one.said), *entry))
            else:
                rest.append(entry)
        self.exact = exact
        self.regexes = tuple(regexes)
        self.prefixes = prefixes
        self.longest = max(map(len, prefixes), default=0)
        self.rest = tuple(rest)
        self.by_path = bool(exact or regexes or prefixes.keys() - {b""})

    def find(self, path: bytes, request: RequestHead, client: Client) -> Route | None:
        """The first route whose conditions are met."""
        # Hot, so in one piece. The common case is a look-up or two, and no check.
        if self.exact:
            for check, route in self.exact.get(path, ()):
                if check is None or check(request, client):
                    return route
        if self.regexes:
            text = path_text(path)
            for pattern, check, route in self.regexes:
                if pattern.match(text) and (check is None or check(request, client)):
                    return route
        if self.prefixes:
            end, longest, get = len(path), self.longest, self.prefixes.get
            if end > longest:
                end = longest if path[longest] == 47 else path.rfind(b"/", 0, longest)
            while end > 0:
                for check, route in get(path[:end], ()):
                    if check is None or check(request, client):
                        return route
                end = path.rfind(b"/", 0, end)
            for check, route in get(b"", ()):
                if check is None or check(request, client):
                    return route
        for check, route in self.rest:
            if check is None or check(request, client):
                return route
        return None


#: Those that a host's requests are looked for in, one after the other, and whether any of them looks at the path.
_Place = tuple[tuple[_HostRoutes, ...], bool]


class RouteTable:
    """Routes in the order in which they are asked (:mod:`.order`): the most specific first, then as they were given.

    A request costs the same with one route as with ten for each of a thousand hosts: hosts, whole paths and prefixes are looked
    up, not tried; only regular expressions and further conditions are tried, those of one host and path.

    :param routes: in the operator's order.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        checks = [check_of(route.match) for route in self.routes]
        by_host: dict[str, list[Alternative]] = {}
        for one in in_order(self.routes):
            by_host.setdefault(one.host, []).append(one)
        made = {host: _HostRoutes(found, checks) for host, found in by_host.items()}
        self._wildcards = {host[1:].encode("ascii"): one for host, one in made.items() if host.startswith("*.")}
        self._exact = {host.encode("ascii"): one for host, one in made.items() if host and not host.startswith("*.")}
        self._any = made.get("")
        self._known: dict[bytes | None, _Place] = {host: self._place(host) for host in self._exact}
        self._strangers: dict[bytes | None, _Place] = {}

    def find(self, request: RequestHead, client: Client) -> Route | None:
        """The route of a request; None where there is none for it, or where its path can be read in several ways that would take
        several routes (:mod:`.readings`)."""
        host = request.host
        place = self._known.get(host)
        if place is None:
            place = self._strangers.get(host) or self._stranger(host)
        groups, by_path = place
        path = request.target
        if 63 in path:
            path = path[: path.find(b"?")]
        # Looking for a byte's number costs a fifth of looking for a byte.
        if by_path and (37 in path or 59 in path or 92 in path or path.find(b"//") >= 0 or (46 in path and b"/." in path)):
            return self._agreed(groups, path, request, client)
        for group in groups:
            found = group.find(path, request, client)
            if found is not None:
                return found
        return None

    def _agreed(self, groups: tuple[_HostRoutes, ...], path: bytes, request: RequestHead, client: Client) -> Route | None:
        """The route that the path takes however it is read."""
        taken = {id(found): found for read in readings(normal_path(path)) for found in (_first(groups, read, request, client),)}
        return taken.popitem()[1] if len(taken) == 1 else None

    def _stranger(self, host: bytes | None) -> _Place:
        """Those of a host as no route has it: another spelling, a name below a wildcard, or any."""
        place = self._place(b"" if host is None else host_name(host))
        if len(self._strangers) >= _STRANGERS + 4 * len(self._known):
            self._strangers.clear()
        if host is None or len(host) <= _LONGEST_HOST:
            self._strangers[host] = place
        return place

    def _place(self, name: bytes) -> _Place:
        """Those of a name: its own, then those of the wildcards that it is below, the longest first, then those of any host."""
        found = [self._exact.get(name)]
        if self._wildcards and len(name) <= _LONGEST_NAME:
            dot = name.find(b".")
            while dot > 0:  # a name does not begin with one
                found.append(self._wildcards.get(name[dot:]))
                dot = name.find(b".", dot + 1)
        groups = tuple(group for group in (*found, self._any) if group is not None)
        return groups, any(group.by_path for group in groups)

    def at(self, path: bytes, request: RequestHead, client: Client) -> Route | None:
        """The route of a request were its path this one, in the form of :func:`.readings.normal_path`."""
        return _first(self._place(host_name(request.host or b""))[0], path, request, client)

    @staticmethod
    def matched(route: Route, request: RequestHead) -> bytes:
        """The beginning of a request's target that a route's prefix was met by, as the client wrote it, for those that take it
        off; empty where it was met otherwise."""
        return matched_prefix(route.match, request.target)

    @cached_property
    def order(self) -> tuple[Alternative, ...]:
        """The places of all routes, in the order in which they are asked."""
        return tuple(in_order(self.routes))

    def problems(self) -> list[tuple[str, str]]:
        """Routes that no request can ever take, each with the reason: (name, message)."""
        return problems(self.order)


def _first(groups: tuple[_HostRoutes, ...], path: bytes, request: RequestHead, client: Client) -> Route | None:
    for group in groups:
        found = group.find(path, request, client)
        if found is not None:
            return found
    return None
