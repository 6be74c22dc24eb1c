"""Filters that are told of in Python: by their type, as in a file."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import attrs

from ...errors import ConfigurationError
from . import FILTERS
from .plugins import plugin_spec

__all__ = ["filter_spec"]


def filter_spec(type: str, /, **options: Any) -> Any:
    """What makes a filter: ``filter_spec("rate-limit", rate=20, burst=100)``. Options are a file's keys with ``_`` for ``-``,
    those of plugins too.

    :param type: as in a file.
    :raises ConfigurationError: with a line for each mistake.
    """
    if type not in FILTERS:
        return plugin_spec(type, {name.replace("_", "-"): value for name, value in options.items()}, FILTERS)
    fields = {field.name.strip("_"): field for field in attrs.fields(FILTERS[type]) if field.init}
    missing = [name for name, field in fields.items() if field.default is attrs.NOTHING and name not in options]
    problems = [f"{type}: {name} is missing" for name in missing]
    problems += [f"{type}: there is no option {name}{_hint(name, list(fields))}" for name in options if name not in fields]
    if problems:
        raise ConfigurationError("\n".join(problems))
    try:
        return FILTERS[type](**{fields[name].alias: value for name, value in options.items()})
    except ConfigurationError as error:
        raise ConfigurationError("\n".join(f"{type}: {line}" for line in str(error).splitlines())) from None


def _hint(name: str, known: list[str]) -> str:
    nearest = get_close_matches(name, known, n=1)
    meant = f" (did you mean {nearest[0]}?)" if nearest else ""
    return f"{meant}; allowed are {', '.join(known)}" if known else "; it has none"
