"""Filters by their type: a module for each family of them."""

from __future__ import annotations

from ..filter import FilterTypes
from .addresses import Addresses
from .basic_auth import BasicAuth
from .body_limit import BodyLimit
from .cors import Cors
from .error_pages import ErrorPages
from .faults import Faults
from .forward_auth import ForwardAuth
from .headers import Headers
from .in_flight import InFlight
from .paths import PathRewrite, PrefixAdd, PrefixStrip
from .rate_limit import RateLimit
from .security import SecurityHeaders

__all__ = ["FILTERS"]

#: Those that a file can name.
FILTERS: FilterTypes = {
    one.type: one
    for one in (
        Addresses,
        BasicAuth,
        BodyLimit,
        Cors,
        ErrorPages,
        Faults,
        ForwardAuth,
        Headers,
        InFlight,
        PathRewrite,
        PrefixAdd,
        PrefixStrip,
        RateLimit,
        SecurityHeaders,
    )
}
