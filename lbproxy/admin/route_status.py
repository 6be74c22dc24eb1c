"""What ``/routes`` and ``/status`` say of routes, and of the exchanges that no pool got, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..proxy.desk import Desk
from ..routing.model import Route
from ..routing.router import LiveRoute

__all__ = ["pools_of", "route_status", "unrouted_status"]


def route_status(live: LiveRoute) -> dict[str, Any]:
    """Everything that is known of a route, ready for JSON.

    :return: ``name``, ``to`` (where it leads: one key that says how, such as ``pool``, ``split`` or ``redirect``), ``mirror``
        (the pool that gets copies; null: none), ``filters`` (the names of those that stand by themselves, and the types of the
        route's own), ``taken`` (exchanges that took it), ``statuses`` of those that have ended, and ``filtered``: what filters
        did.
    """
    route = live.route
    return {
        "name": live.name,
        "to": _target(route),
        "mirror": None if route.mirror is None else route.mirror.pool,
        "filters": [one if isinstance(one, str) else one.type for one in route.filters],
        "taken": live.taken,
        "statuses": {str(code): count for code, count in sorted(live.statuses.items())},
        "filtered": dict(sorted(live.filtered.items())),
    }


def _target(route: Route) -> dict[str, Any]:
    if route.split is not None:
        return {"split": dict(route.split.pools)}
    if route.redirect is not None:
        return {"redirect": route.redirect.to}
    if route.answer is not None:
        return {"answer": route.answer.status}
    if route.static is not None:
        return {"static": route.static.directory}
    return {"resource": route.resource} if route.resource else {"pool": route.pool}


def pools_of(lives: Iterable[LiveRoute]) -> Iterator[str]:
    """The names of the pools that these routes lead to, as often as they do; what only gets copies is none."""
    for live in lives:
        if live.route.split is not None:
            yield from live.route.split.pools
        elif live.route.pool:
            yield live.route.pool


def unrouted_status(desk: Desk) -> dict[str, Any]:
    """Of the exchanges that no pool got: how many run, and of those that have ended, how and why."""
    counters = desk.counters
    return {
        "in_flight": counters.in_flight,
        "requests": sum(counters.statuses.values()),
        "statuses": {str(code): count for code, count in sorted(counters.statuses.items())},
        "ends": dict(sorted(counters.ends.items())),
    }
