"""The filters that come with lbproxy, a module for each family."""

from __future__ import annotations

from typing import Any

from .addresses import Addresses
from .body_limit import BodyLimit
from .cors import Cors
from .error_pages import ErrorPages
from .faults import Faults
from .headers import Headers
from .paths import PathRewrite, PrefixAdd, PrefixStrip
from .security import SecurityHeaders

__all__ = ["FILTERS"]

_ALL: tuple[type[Any], ...] = (
    Addresses,
    BodyLimit,
    Cors,
    ErrorPages,
    Faults,
    Headers,
    PathRewrite,
    PrefixAdd,
    PrefixStrip,
    SecurityHeaders,
)

#: Their specifications by type.
FILTERS: dict[str, type[Any]] = {one.type: one for one in _ALL}
