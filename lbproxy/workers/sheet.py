"""Sheets: numbers by name, in dicts in dicts, as a worker gives them to its supervisor. Pure.

What a sheet has not is 0. What stands under :data:`GAUGES` goes up and down; all else only grows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["GAUGES", "Sheet", "added", "difference", "gauges_taken_off"]

#: The name under which gauges stand, wherever they are in a sheet.
GAUGES = "gauges"

#: Names with numbers or further sheets. It can be written in JSON.
Sheet = dict[str, Any]


def difference(now: Mapping[str, Any], before: Mapping[str, Any]) -> Sheet:
    """What came to *before* to make *now*: only what is not 0."""
    made: Sheet = {}
    for name in {**before, **now}:
        new, old = now.get(name, 0), before.get(name, 0)
        if new == old:
            continue
        if isinstance(new, Mapping) or isinstance(old, Mapping):
            inner = difference(new or {}, old or {})
            if inner:
                made[name] = inner
        else:
            made[name] = new - old
    return made


def added(one: Mapping[str, Any], other: Mapping[str, Any]) -> Sheet:
    """Both together: only what is not 0."""
    made: Sheet = {}
    for name in {**one, **other}:
        left, right = one.get(name, 0), other.get(name, 0)
        if isinstance(left, Mapping) or isinstance(right, Mapping):
            both: Any = added(left or {}, right or {})
        else:
            both = left + right
        if both:
            made[name] = both
    return made


def gauges_taken_off(whole: Mapping[str, Any]) -> Sheet:
    """What is to be added when nothing is left of what a sheet says goes up and down: its gauges, negated."""
    made: Sheet = {}
    for name, value in whole.items():
        if name == GAUGES:
            made[name] = difference({}, value)
        elif isinstance(value, Mapping):
            made[name] = gauges_taken_off(value)
    return {name: value for name, value in made.items() if value}
