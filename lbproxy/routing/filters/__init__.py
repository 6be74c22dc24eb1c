"""Filters by their type: a module for each family of them."""

from __future__ import annotations

from ..filter import FilterTypes
from .addresses import Addresses
from .body_limit import BodyLimit
from .compression import Compression
from .cors import Cors
from .error_pages import ErrorPages
from .faults import Faults
from .headers import Headers
from .paths import PathRewrite, PrefixAdd, PrefixStrip
from .security import SecurityHeaders

__all__ = ["FILTERS"]

#: Those that a file can name.
FILTERS: FilterTypes = {
    one.type: one
    for one in (
        Addresses,
        BodyLimit,
        Compression,
        Cors,
        ErrorPages,
        Faults,
        Headers,
        PathRewrite,
        PrefixAdd,
        PrefixStrip,
        SecurityHeaders,
    )
}
