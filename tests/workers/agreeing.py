"""``python -m tests.workers.agreeing``: what a worker binds clients to, and whom it would ask, in which order.

Reads the configuration, as a supervisor packs it, and the state in hexadecimal from standard input, a line each.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

from twisted.internet.testing import MemoryReactorClock

from lbproxy.role import Role
from lbproxy.site import Site
from lbproxy.workers.calls import tell
from lbproxy.workers.state import unpacked

from ..support import request

__all__ = ["KEYS", "said", "said_by"]

#: How many keys are looked up.
KEYS = 1000


class _Asking:
    """Who asks."""

    def __init__(self, key: int) -> None:
        self.request = request(b"GET / HTTP/1.1\r\nHost: example.org\r\nX-Key: %d\r\n\r\n" % key)


def said(configuration: bytes, state: dict[str, Any]) -> dict[str, Any]:
    """The tokens of all backends by pool, and a digest of all candidates in order for :data:`KEYS` keys."""
    role = Role()
    role.probes = False
    role.random_key = bytes.fromhex(state["random_key"])
    site = Site.of(unpacked(configuration), MemoryReactorClock(), role=role)
    pools = {name: balancer.pool for name, balancer in site.balancers.items()}
    for call in state["calls"]:
        tell(pools, call)
    return said_by(site)


def said_by(site: Site) -> dict[str, Any]:
    """The same of any site."""
    found: dict[str, Any] = {}
    for name, balancer in site.balancers.items():
        assert balancer.sticky is not None
        tokens = [balancer.sticky.token(address).decode("ascii") for address in balancer.pool.members]
        orders: list[list[str]] = []
        for key in range(KEYS):
            asking: Any = _Asking(key)
            orders.append([member.address for member in balancer.pool.candidates(asking)])
        found[name] = [tokens, hashlib.sha256(repr(orders).encode()).hexdigest()]
    return found


if __name__ == "__main__":
    packed_line, state_line = sys.stdin.read().split()
    sys.stdout.write(json.dumps(said(bytes.fromhex(packed_line), json.loads(bytes.fromhex(state_line)))))
