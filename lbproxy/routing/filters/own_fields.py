"""Fields by which a filter tells a backend something: whoever else says them is not believed. Pure."""

from __future__ import annotations

from collections.abc import Collection

from ...http1.fields import KNOWN_IN_REQUEST
from ..checks import FIELD_NAME, Rule

__all__ = ["OWN_FIELD", "without"]

#: A field that a backend is told by us: none that the balancer reads or writes itself.
OWN_FIELD = Rule(
    "a header field's name that has no other meaning here, such as X-Remote-User",
    lambda name: FIELD_NAME.holds(name) and name.lower().replace("_", "-").encode("ascii") not in KNOWN_IN_REQUEST,
)


def without(fields: bytes, names: Collection[bytes]) -> bytes:
    """The lines of *fields* whose name is not among *names* (in lower case, with hyphens), underscores taken for hyphens: CGI and
    its heirs cannot tell ``X_Remote_User`` from ``X-Remote-User``."""
    lines = fields.splitlines(keepends=True)
    return b"".join([line for line in lines if line[: line.index(b":")].lower().replace(b"_", b"-") not in names])
