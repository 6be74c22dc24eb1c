"""Which versions and suites of TLS are spoken with clients: Mozilla's recommendations, as data."""

from __future__ import annotations

__all__ = ["PROFILES"]

#: The names of the profiles; the first is the default.
PROFILES = ("intermediate", "modern")
