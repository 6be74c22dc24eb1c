"""Names for routes that were given none: made of what they match. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs

from ..errors import ConfigurationError
from .model import Condition, Match, Route

__all__ = ["name_of", "named"]

#: Characters of a name that is made.
_LONGEST = 100


def name_of(match: Match) -> str:
    """A name that says what a route is for, such as ``GET shop.example/cart``; where that is everything, ``*``."""
    host = _some(match.host)
    path = _some((*match.path, *(f"~{one}" for one in match.path_regex), *(f"{one.rstrip('/')}/*" for one in match.path_prefix)))
    conditions = [one.name if one.present else f"{one.name}!" for one in match.header]  # their values may be secrets
    conditions += [f"{one.name}{_wanted(one)}" for one in match.query]
    conditions += [str(one) for one in match.client]
    parts = [*match.method, f"{match.scheme}://{host or '*'}{path}" if match.scheme else host + path or "*"]
    if conditions:
        parts.append(f"[{', '.join(conditions)}]")
    name = "".join(character if character.isprintable() else "?" for character in " ".join(parts))
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _some(texts: tuple[str, ...]) -> str:
    """The first, and how many more there are."""
    return "" if not texts else texts[0] if len(texts) == 1 else f"{texts[0]}(+{len(texts) - 1})"


def _wanted(one: Condition) -> str:
    if one.exact is not None:
        return f"={one.exact}"
    return f"~{one.regex}" if one.regex is not None else "" if one.present else "!"


def named(routes: Iterable[Route]) -> tuple[Route, ...]:
    """The same routes, each with a name of its own. Of those that are made, a later one has a number behind it where it would be
    the same as another.

    :raises ConfigurationError: for names that were given twice, a line each.
    """
    routes = tuple(routes)
    given = Counter(route.name for route in routes if route.name)
    twice = [name for name, count in given.items() if count > 1]
    if twice:
        lines = [f"name: {name!r} was given twice; allowed is a name of its own for each route" for name in twice]
        raise ConfigurationError("\n".join(lines))
    taken = set(given)
    return tuple(route if route.name else attrs.evolve(route, name=_unused(name_of(route.match), taken)) for route in routes)


def _unused(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name} ({number})", number + 1
    taken.add(candidate)
    return candidate
