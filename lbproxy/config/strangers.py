"""What stands in a table and is no key of it: which one was most likely meant, or where it belongs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from .problems import Problem

__all__ = ["unknown_keys"]

#: Keys that are listed beside the nearest one at most.
_LISTED = 30


def unknown_keys(
    table: Mapping[str, Any],
    known: Iterable[str],
    hint: Callable[[str], str] = lambda key: "",
    habits: Mapping[str, str] = MappingProxyType({}),
) -> list[Problem]:
    """What stands in a table and is no key of it.

    :param hint: where else a key belongs; empty: it is nowhere known.
    :param habits: what other programs call a key, in small letters and with hyphens.
    """
    names = sorted(known)
    return [_unknown(key, names, hint, habits) for key in table if key not in names]


def _unknown(key: str, names: list[str], hint: Callable[[str], str], habits: Mapping[str, str]) -> Problem:
    hyphens = key.replace("_", "-").lower()
    meant = habits.get(hyphens) or next(iter(get_close_matches(hyphens, names, n=1)), "")
    if hyphens in names:
        more = f" (did you mean {hyphens}? keys are written with hyphens, in small letters)"
    elif hint(key) or hint(hyphens):
        more = f"; {hint(key) or hint(hyphens)}"
    else:
        more = f" (did you mean {meant}?)" if meant else ""
        more += "" if meant and len(names) > _LISTED else f"; allowed are {', '.join(names)}"
    return Problem((key,), f"there is no such key{more}", meant=meant)
