"""Which fields filters may change, or tell a backend something by: those that go from end to end, and are not this balancer's own
to write."""

from __future__ import annotations

from typing import Any

from ...http1.fields import ABOUT_CLIENT, HOP_BY_HOP, KNOWN_IN_REQUEST
from ..checks import FIELD_NAME, Rule

__all__ = [
    "ADDED_TO_REQUEST",
    "IN_RESPONSE",
    "OWN_FIELD",
    "REMOVED_FROM_REQUEST",
    "SET_IN_REQUEST",
    "SINGLE_IN_REQUEST",
    "plain_name",
]

# What frames a message, or is said to the next hop alone, and what this balancer says in its own name.
_NEVER = frozenset((*HOP_BY_HOP, b"content-length", b"trailer", b"x-lbproxy-explain"))
_NOT_IN_REQUEST = _NEVER | {b"expect", b"via", b"x-request-id"}
#: What the balancer reads or says itself, each once in a request.
SINGLE_IN_REQUEST = ABOUT_CLIENT | {b"host", b"idempotency-key"}
_STAYS = frozenset((b"host", b"x-forwarded-host"))


def plain_name(name: str) -> bytes:
    """A name as it is compared: many backends take an underscore for a hyphen."""
    return name.lower().replace("_", "-").encode("ascii")


def _name(refused: frozenset[bytes], more: frozenset[bytes] = frozenset(), why: str = "") -> Rule:
    """A field's name that is none of those that this balancer writes itself, and none of some more."""

    def holds(value: Any) -> bool:
        if not FIELD_NAME.holds(value):
            return False
        if plain_name(value) in refused:
            raise ValueError("the balancer writes it itself")
        if plain_name(value) in more:
            raise ValueError(why)
        return True

    return Rule(f"{FIELD_NAME.allowed}, of a field that goes from end to end", holds)


SET_IN_REQUEST = _name(_NOT_IN_REQUEST)
ADDED_TO_REQUEST = _name(_NOT_IN_REQUEST, SINGLE_IN_REQUEST, "it stands once in a request: use request-set")
REMOVED_FROM_REQUEST = _name(_NOT_IN_REQUEST, _STAYS, "a request needs it")
IN_RESPONSE = _name(_NEVER)

#: A field by which a filter tells a backend something: whoever else says it is not believed.
OWN_FIELD = Rule(
    "a header field's name that has no other meaning here, such as X-Remote-User",
    lambda name: FIELD_NAME.holds(name) and plain_name(name) not in KNOWN_IN_REQUEST,
)
