"""Routes that no request can ever take, because others before them in the order take all that they are for. Pure.

Only what is certain is said: regular expressions are compared as texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ..settings import Network
from .model import Condition, Match, Route
from .order import NONE, PREFIX, REGEX, Alternative

__all__ = ["problems"]


def problems(order: Sequence[Alternative]) -> list[tuple[str, str]]:
    """Routes of which every place is taken by others', each with the reason; in the operator's order.

    :param order: all places, in the order in which they are asked.
    """
    # Of two places, where one comes first because it is for fewer requests, it cannot take all of the other's. So only those
    # with the same host and path are to be compared.
    earlier: dict[tuple[str, int, str | bytes], list[Alternative]] = defaultdict(list)
    taken: dict[int, list[Route]] = {}
    alive: set[int] = set()
    for one in order:
        before = earlier[_place(one)]
        takers = [] if one.index in alive else _takers(one, before)
        if takers:
            taken.setdefault(one.index, []).extend(takers)
        else:
            alive.add(one.index)
        before.append(one)
    routes = {one.index: one.route for one in order}
    return [(routes[index].name, _message(routes[index], taken[index])) for index in sorted(taken.keys() - alive)]


def _place(one: Alternative) -> tuple[str, int, str | bytes]:
    if one.kind == PREFIX and not one.path:  # it is for everything, as what says nothing of the path is
        return one.host, NONE, b""
    return one.host, one.kind, one.said if one.kind == REGEX else one.path


def _takers(one: Alternative, before: Iterable[Alternative]) -> list[Route]:
    """The routes that together take all requests of a place; none if some may be left."""
    match = one.route.match
    left = set(match.method)
    takers: list[Route] = []
    for other in before:
        theirs = other.route.match
        if other.index == one.index or not _covers(theirs, match):
            continue
        if not theirs.method:
            return [other.route]
        if left & set(theirs.method):
            takers.append(other.route)
            left -= set(theirs.method)
            if not left:
                return takers
    return []


def _covers(first: Match, second: Match) -> bool:
    """Whether all that meets the conditions of *second* meets those of *first*, beside host, path and method."""
    return (
        first.scheme in ("", second.scheme)
        and (not first.client or (bool(second.client) and all(_is_within(one, first.client) for one in second.client)))
        and all(any(_implies(theirs, ours, True) for theirs in second.header) for ours in first.header)
        and all(any(_implies(theirs, ours, False) for theirs in second.query) for ours in first.query)
    )


def _is_within(network: Network, networks: Iterable[Network]) -> bool:
    # Of two kinds neither is within the other; comparing them is an error.
    return any(network.version == one.version and network.subnet_of(one) for one in networks)  # type: ignore[arg-type]


def _implies(met: Condition, other: Condition, header: bool) -> bool:
    """Whether what meets one condition meets the other."""
    same = met.name.lower() == other.name.lower() if header else met.name == other.name
    if not same or met.present != other.present:
        return False
    return (other.exact is None and other.regex is None) or (met.exact, met.regex) == (other.exact, other.regex)


def _message(route: Route, takers: Iterable[Route]) -> str:
    names = list(dict.fromkeys(repr(taker.name) for taker in takers))
    *most, last = names
    who = f"routes {', '.join(most)} and {last}, which are" if most else f"route {last}, which is"
    return f"route {route.name!r} can never be taken: whatever it is for is taken by {who} asked first"
