"""Values in JSON, made a part at a time, so that the reactor has its turns between the parts of a large one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import attrs

__all__ = ["JSON_PIECES", "Lazily", "json_parts"]

#: Pieces, such as a name or a number, in a part: 2 ms.
JSON_PIECES = 8000

_ENCODER = json.JSONEncoder(indent=2)


@attrs.frozen
class Lazily:
    """A list whose values are made when the part of the page comes in which they are."""

    values: Iterable[Any]


def json_parts(value: Any) -> Iterator[bytes]:
    """A value in JSON, so that programs and people can read it: in parts, for one that may be large. It may be :class:`Lazily`,
    have such in its objects, and so on."""
    pieces = chain(_pieces(value, "\n"), "\n")
    while part := "".join(islice(pieces, JSON_PIECES)):
        yield part.encode()


def _pieces(value: Any, line: str) -> Iterator[str]:
    """What the encoder writes; *line* begins each line but the first."""
    if isinstance(value, Lazily):
        return _bracketed("[]", (_pieces(one, f"{line}  ") for one in value.values), line)
    if _is_lazy(value):
        return _bracketed("{}", (_member(name, one, f"{line}  ") for name, one in value.items()), line)
    return (piece.replace("\n", line) for piece in _ENCODER.iterencode(value))


def _is_lazy(value: Any) -> bool:
    return isinstance(value, Lazily) or (isinstance(value, dict) and any(map(_is_lazy, value.values())))


def _member(name: str, value: Any, line: str) -> Iterator[str]:
    yield f"{json.dumps(name)}: "
    yield from _pieces(value, line)


def _bracketed(brackets: str, members: Iterator[Iterator[str]], line: str) -> Iterator[str]:
    yield brackets[0]
    before = ""
    for member in members:
        yield f"{before}{line}  "
        yield from member
        before = ","
    yield f"{line if before else ''}{brackets[1]}"
