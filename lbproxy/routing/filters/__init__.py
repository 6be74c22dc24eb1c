"""The filters that come with lbproxy, a module for each family."""

from __future__ import annotations

from typing import Any

from .body_limit import BodyLimit
from .headers import Headers
from .paths import PathRewrite, PrefixAdd, PrefixStrip

__all__ = ["FILTERS"]

_ALL: tuple[type[Any], ...] = (
    BodyLimit,
    Headers,
    PathRewrite,
    PrefixAdd,
    PrefixStrip,
)

#: Their specifications by type.
FILTERS: dict[str, type[Any]] = {one.type: one for one in _ALL}
