"""A file that lists backends: JSON when its name ends in ``.json``, otherwise one backend a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder

from ..balance.backend import Backend
from ..balance.backend_values import backend_of
from ..errors import ConfigurationError
from ..files import read_text

__all__ = ["LISTING_LIMIT", "MISTAKES_SHOWN", "read_members"]

#: The largest file that is read, in bytes: 40,000 backends and more.
LISTING_LIMIT = 4 << 20
#: Mistakes that an error names.
MISTAKES_SHOWN = 20

_DECODER = JSONDecoder()


def read_members(path: str | os.PathLike[str]) -> tuple[Backend, ...]:
    """Read the backends that a file lists, in its order.

    In JSON it is a list of texts as on the command line, or of objects such as ``{"address": "10.0.0.1:8000", "weight": 2}``.
    Otherwise each line is such a text; what follows a ``#`` at its beginning or after a space is a comment.

    :raises ConfigurationError: a line for each mistake, which begins with ``FILE:LINE``. A file that lists nobody is one too, for
        more often than not it is one that something has gone wrong with.
    """
    path = os.fspath(path)
    text = read_text(path, LISTING_LIMIT)
    listed = _json_values(path, text) if path.endswith(".json") else _lines(text)
    backends: dict[str, tuple[Backend, int]] = {}
    mistakes: list[str] = []
    for line, value in listed:
        try:
            backend = backend_of(value)
        except ConfigurationError as error:
            mistakes += (f"{path}:{line}: {mistake}" for mistake in str(error).splitlines())
            continue
        _, first = backends.setdefault(backend.address, (backend, line))
        if backends[backend.address][0] is not backend:
            mistakes.append(f"{path}:{line}: backend {backend.address} is named in line {first} already; name it once")
    if not (backends or mistakes):
        mistakes.append(f"{path}: it lists no backend; at least one is needed")
    if mistakes:
        raise ConfigurationError("\n".join(_shown(path, mistakes)))
    return tuple(backend for backend, _ in backends.values())


def _shown(path: str, mistakes: list[str]) -> list[str]:
    more = len(mistakes) - MISTAKES_SHOWN
    return mistakes if more <= 0 else [*mistakes[:MISTAKES_SHOWN], f"{path}: and {more} more mistakes"]


def _lines(text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.splitlines(), 1):
        said = f" {line}".partition(" #")[0].strip()
        if said:
            yield number, said


def _json_values(path: str, text: str) -> Iterator[tuple[int, object]]:
    """The elements of a JSON list, each with the line that it begins in."""
    try:
        whole = json.loads(text)
    except JSONDecodeError as error:
        raise ConfigurationError(f"{path}:{error.lineno}: it is no JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: it is nested too deeply; allowed is a list of texts and objects") from None
    if not isinstance(whole, list):
        raise ConfigurationError(f"{path}:1: it is no list; allowed is a list of texts and objects, each a backend")
    place, line, seen = text.index("["), 1, 0
    for _ in whole:  # it is a list that can be read, so between two of its elements there are spaces and a comma
        place = _next(text, place + 1)
        line, seen = line + text.count("\n", seen, place), place
        value, place = _DECODER.raw_decode(text, place)
        place = text.find(",", place)
        yield line, value


def _next(text: str, place: int) -> int:
    while text[place].isspace():
        place += 1
    return place
