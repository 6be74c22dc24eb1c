"""Filters by their type: a module for each family of them."""

from __future__ import annotations

from ..filter import FilterTypes
from .basic_auth import BasicAuth
from .forward_auth import ForwardAuth
from .in_flight import InFlight
from .rate_limit import RateLimit

__all__ = ["FILTERS"]

#: Those that a file can name.
FILTERS: FilterTypes = {
    one.type: one
    for one in (
        BasicAuth,
        ForwardAuth,
        InFlight,
        RateLimit,
    )
}
