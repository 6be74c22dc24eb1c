"""Names of pools and filters as they were written, for where other mistakes leave no configuration to be looked at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .problems import KeyPath, Problem
from .rules import missing, named_twice

__all__ = ["written_problems"]


def written_problems(top: Mapping[str, Any]) -> Iterator[Problem]:
    """What :func:`.rules.reference_problems` and :func:`.rules.route_problems` say of a configuration, said of its values as they
    were written. What has a mistake of its own is known by its name; what is no name is passed over, which is said elsewhere."""
    pools, filters, routes = top.get("pools", {}), top.get("filters", {}), top.get("routes", [])
    if not (isinstance(pools, dict) and isinstance(filters, dict) and isinstance(routes, list)):
        return
    known = [*(["default"] if "backends" in top and "default" not in pools else []), *pools]
    tables = [route if isinstance(route, dict) else {} for route in routes]
    for number, route in enumerate(tables):
        for path, name in _pools(route):
            if name not in known:
                yield missing(("routes", number, *path), "pool", name, known, "[pools.NAME]")
        for place, name in _texts(route.get("filters")):
            if name not in filters:
                yield missing(("routes", number, "filters", place), "filter", name, filters, "[filters.NAME]")
    for place, name in _texts(top.get("default-filters")):
        if name not in filters:
            yield missing(("default-filters", place), "filter", name, filters, "[filters.NAME]")
    yield from named_twice([route.get("name", "") for route in tables])


def _pools(route: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """The pools that a route names, and where."""
    split, mirror = route.get("split"), route.get("mirror")
    weights = split.get("pools") if isinstance(split, dict) else None
    copies = mirror.get("pool") if isinstance(mirror, dict) else None
    found: list[tuple[KeyPath, Any]] = [(("pool",), route.get("pool")), (("mirror", "pool"), copies)]
    found += [(("split", "pools", name), name) for name in weights] if isinstance(weights, dict) else []
    yield from ((path, name) for path, name in found if _is_name(name))


def _texts(given: object) -> Iterator[tuple[int, str]]:
    """The names in a list, and where they stand."""
    yield from ((place, one) for place, one in enumerate(given if isinstance(given, list) else []) if _is_name(one))


def _is_name(given: object) -> bool:
    """A text that stands for something; of one that stands for nothing that has been said."""
    return isinstance(given, str) and bool(given) and getattr(given, "known", True)
