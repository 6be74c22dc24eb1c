"""Routes and filters of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError
from ..routing.model import TARGETS, Match, Route
from .environment import Text
from .habits import OF_ROUTES
from .keys import MATCH_KEYS, ROUTE_KEYS, route_hint
from .problems import KeyPath, Problem, did_you_mean, from_lines
from .strangers import unknown_keys
from .structure import Mistakes, Structurer, made, shown, stand_in

__all__ = ["RouteReader", "filter_types"]

_ROUTE = "[[routes]], with two brackets on each side"


def filter_types() -> Mapping[str, type[Any]]:
    """Our own filters by their type. They are read when first asked for: whoever has none need not wait for them."""
    from ..routing.filters import FILTERS

    return FILTERS


class RouteReader:
    """Reads what is said of routes and filters."""

    def __init__(self, structurer: Structurer) -> None:
        self._structurer = structurer

    def filters(self, tables: Any) -> tuple[dict[str, Any], list[Problem]]:
        """Those that stand by themselves, by name."""
        if not isinstance(tables, dict):
            return {}, [Problem((), f"{shown(tables)} was given; allowed are tables, such as [filters.NAME]")]
        filters: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, table in tables.items():
            try:
                filters[name] = self.filter(table)
            except Mistakes as mistakes:
                filters[name] = None  # there is one of that name
                problems += [one.below(name) for one in mistakes.problems]
        return filters, problems

    def filter(self, table: Any) -> Any:
        """One filter's specification.

        :raises Mistakes: it is none.
        """
        if not isinstance(table, dict):
            raise Mistakes(Problem((), f'{shown(table)} was given; allowed is a table with its type, such as type = "headers"'))
        known = filter_types()
        if "type" not in table:
            raise Mistakes(Problem((), f"type is missing; allowed are {', '.join(sorted(known))}, and plugins'"))
        kind = self._type(table["type"])
        options = {key: value for key, value in table.items() if key != "type"}
        if kind in known:
            return self._structurer.instance(options, known[kind])
        return self._of_plugin(kind, options, known)

    def _type(self, value: Any) -> str:
        try:
            kind: str = self._structurer.read(value, str)
        except Mistakes as mistakes:
            raise Mistakes(*(one.below("type") for one in mistakes.problems)) from None
        return kind

    def _of_plugin(self, kind: str, options: dict[str, Any], known: Mapping[str, Any]) -> Any:
        from ..routing.filters import plugins

        names = plugins.plugin_names()
        if kind not in names:
            every = sorted({*known, *names})
            message = f"{kind!r} was given{did_you_mean(kind, every)}; allowed are {', '.join(every)}"
            raise Mistakes(Problem(("type",), message))
        try:
            return plugins.plugin_spec(kind, self._structurer.prepared(options, Any))
        except ConfigurationError as error:
            raise Mistakes(*from_lines(error, options)) from None

    # Routes.

    def routes(self, tables: Any) -> tuple[list[Route], list[Problem]]:
        """All routes, in order."""
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            return [], [Problem((), f"{shown(tables)} was given; allowed are tables, each written as {_ROUTE}")]
        routes: list[Route] = []
        problems: list[Problem] = []
        for number, table in enumerate(tables):
            route, more = self._route(table)
            routes.append(route)
            problems += [one.below(number) for one in more]
        return routes, problems

    def _route(self, table: dict[str, Any]) -> tuple[Route, list[Problem]]:
        """A route, and what is wrong with it; what could not be read of it is as by default."""
        fields = self._structurer.fields
        problems = unknown_keys(table, ROUTE_KEYS, route_hint, OF_ROUTES)
        match, more = fields(Match, {key: value for key, value in table.items() if key in MATCH_KEYS})
        problems += more
        rest = {key: value for key, value in table.items() if key not in MATCH_KEYS and key not in ("match", "filters")}
        values, more = fields(Route, rest)
        problems += more
        filters, more = self._filters_of_route(table.get("filters", []))
        problems += more
        whole = {**values, "match": stand_in(Match, match), "filters": filters}
        if not any((one.meant or one.path[0]) in TARGETS for one in problems if one.path):
            try:
                return made(Route, whole), problems
            except Mistakes as mistakes:
                problems += mistakes.problems
        return stand_in(Route, whole), problems

    def _filters_of_route(self, given: Any) -> tuple[tuple[Any, ...], list[Problem]]:
        filters: list[Any] = []
        problems: list[Problem] = []
        for place, one in enumerate(given) if isinstance(given, list) else [(None, given)]:
            try:
                filters.append(self._structurer.read(one, str) if isinstance(one, Text) else self.filter(one))
            except Mistakes as mistakes:
                path: KeyPath = ("filters",) if place is None else ("filters", place)
                problems += [problem.below(*path) for problem in mistakes.problems]
        return tuple(filters), problems
