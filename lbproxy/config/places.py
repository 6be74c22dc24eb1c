"""Where values of a configuration were said, and mistakes in the order of their places."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import attrs

from .document import Document
from .environment import Text
from .keys import POOL_KEYS
from .problems import KeyPath, Place, Problem

__all__ = ["INSTEAD", "lines_of", "place_of", "pointed"]

#: Keys that say the same in two ways: who gives one of them as an option means it instead of the other.
INSTEAD = {"sticky-key": "sticky-key-file", "sticky-key-file": "sticky-key"}


def lines_of(document: Document, overrides: Mapping[str, Any], problems: Iterable[Problem]) -> list[str]:
    """What is wrong, a line each, in the order of files and lines; options first, and what no file says last."""
    order = {source.name: number for number, source in enumerate(document.sources)}
    placed = dict.fromkeys(_placed(document, overrides, one) for one in problems if one.message)

    def key(problem: Problem) -> tuple[int, int]:
        place = problem.place
        if place is None:
            return len(order) + 1, 0
        return order.get(place.file, len(order) if place.line else -1), place.line

    said = str if document.files else attrgetter("of_an_option")
    return [document.hidden.conceal(said(one)) for one in sorted(placed, key=key)]


def _placed(document: Document, overrides: Mapping[str, Any], problem: Problem) -> Problem:
    if problem.place is not None:
        return problem
    path, place = place_of(document, overrides, problem.path)
    if place is None and document.sources:
        place = Place(document.sources[0].name, 1)
    return Problem(path, problem.message, place)


def place_of(
    document: Document, overrides: Mapping[str, Any], path: KeyPath, exact: bool = False
) -> tuple[KeyPath, Place | None]:
    """Where a value was said, and its path there: what is not said of a pool may be said of all, and what is said in one of two
    ways in the other one.

    :param exact: whether it must have been said itself; otherwise the place of what it would belong to will do.
    """
    for way in _ways(path):
        if way[0] in overrides:
            return way, Place(f"--{way[0]}")
    for way in _ways(path):
        if document.says(way if exact else way[: 3 if way[0] == "pools" else 1]):
            return way, document.place(way)
    return path, None if exact else document.place(path)


def _ways(path: KeyPath) -> list[KeyPath]:
    """All paths by which the same may be said, the one that counts most first."""
    if not path:
        return []
    of_pool = path[0] == "pools" and len(path) > 2 and path[2] in POOL_KEYS
    above, key, rest = (path[:2], path[2], path[3:]) if of_pool else ((), path[0], path[1:])
    keys = [key, INSTEAD[str(key)]] if key in INSTEAD else [key]
    ways: list[KeyPath] = [(*above, one, *rest) for one in keys]
    return [*ways, *((one, *rest) for one in keys)] if of_pool else ways


def pointed(values: Mapping[str, Any], problem: Problem) -> Problem:
    """The same problem, of the one element that its message names, if it is about a list."""
    value: Any = values
    for step in problem.path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return problem
    if isinstance(value, (list, tuple)):
        for place, one in enumerate(value):
            if isinstance(one, str) and one and any(word in problem.message for word in _names(one)):
                return attrs.evolve(problem, path=(*problem.path, place))
    return problem


def _names(text: str) -> list[str]:
    """How a message may name what is written: as it is or, if it is a path or two, from the root on."""
    if not isinstance(text, Text):
        return [repr(text)]
    parts = [text, *text.split(",")]
    return [repr(str(text)), *(repr(os.path.normpath(os.path.join(text.folder, part))) for part in parts)]
