"""The order in which routes are asked: the most specific first, then as they were given. Pure.

It is one order over all hosts: host exact, then wildcard (more labels first), then none; path exact, then regular expression,
then prefix (longer first), then none; with a method before without; more header conditions first; more conditions of the query
first; with a client before without; with a scheme before without; then the operator's order. A route with several hosts or paths
stands in it once for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import attrs

from .match_values import path_bytes
from .model import Match, Route

__all__ = ["EXACT", "NONE", "PREFIX", "REGEX", "Alternative", "alternatives", "in_order"]

#: What an alternative wants of the path.
EXACT, REGEX, PREFIX, NONE = range(4)

_EXACT_HOST, _WILDCARD, _ANY_HOST = range(3)


@attrs.frozen
class Alternative:
    """One place of a route in the order: one of its hosts with one of its paths.

    :ivar index: of the route, in the operator's order.
    :ivar host: empty: any.
    :ivar kind: what is wanted of the path: :data:`EXACT`, :data:`REGEX`, :data:`PREFIX` or :data:`NONE`.
    :ivar said: the path as the operator wrote it.
    :ivar path: the path as it compares, of EXACT and PREFIX.
    """

    route: Route
    index: int
    host: str
    kind: int
    said: str
    path: bytes

    @property
    def rank(self) -> tuple[Any, ...]:
        """Its place in the order, among others' ranks."""
        return (*_host_rank(self.host), self.kind, -len(self.path), *self.condition_rank, self.index)

    @property
    def condition_rank(self) -> tuple[Any, ...]:
        """The part of it that other conditions than host and path make."""
        match = self.route.match
        return (not match.method, -len(match.header), -len(match.query), not match.client, not match.scheme)


def _host_rank(host: str) -> tuple[int, int]:
    if not host:
        return _ANY_HOST, 0
    return (_WILDCARD, -host.count(".")) if host.startswith("*.") else (_EXACT_HOST, 0)


def alternatives(index: int, route: Route) -> Iterable[Alternative]:
    """All places of one route, in no order."""
    for host, (kind, said, path) in product(route.match.host or ("",), _paths(route.match)):
        yield Alternative(route, index, host, kind, said, path)


def _paths(match: Match) -> list[tuple[int, str, bytes]]:
    found = [(EXACT, one, path_bytes(one)) for one in match.path]
    found += [(REGEX, one, b"") for one in match.path_regex]
    found += [(PREFIX, one, path_bytes(one, prefix=True)) for one in match.path_prefix]
    return found or [(NONE, "", b"")]


def in_order(routes: Iterable[Route]) -> list[Alternative]:
    """All places of these routes, in the order in which they are asked."""
    found = [one for index, route in enumerate(routes) for one in alternatives(index, route)]
    return sorted(found, key=lambda one: one.rank)
