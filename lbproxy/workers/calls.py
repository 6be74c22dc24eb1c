"""What is told to a pool, as plain values that cross to another process and are told to the pool of the same name there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from zope.interface import implementer

from ..balance.backend import Backend
from ..balance.backend_values import backend_of, backend_text
from ..balance.pool import Pool
from ..balance.state import BackendState, Verdict, Wish
from ..interfaces import IPoolControl

__all__ = ["Call", "Sender", "snapshot", "tell"]

#: A pool's name, the name of what is called, and a plain value.
Call = list[Any]


@implementer(IPoolControl)
class Sender:
    """Stands for the pool of a name in other processes.

    :param send: takes the calls.
    """

    def __init__(self, pool: str, send: Callable[[Call], None]) -> None:
        self._pool = pool
        self._send = send

    def set_backends(self, backends: Iterable[Backend], source: str = "configuration") -> None:
        """Let it consist of these."""
        self._send([self._pool, "set_backends", {"backends": [backend_text(one) for one in backends], "source": source}])

    def apply(self, verdict: Verdict) -> None:
        """Take what a check found."""
        self._send([self._pool, "apply", attrs.asdict(verdict)])

    def wish(self, wish: Wish) -> None:
        """Take what the operator wants of a backend."""
        self._send([self._pool, "wish", attrs.asdict(wish)])


def tell(pools: Mapping[str, IPoolControl], call: Call) -> None:
    """Make the call; one for a pool that is not there is ignored."""
    name, what, value = call
    pool = pools.get(name)
    if pool is None:
        return
    if what == "set_backends":
        pool.set_backends([backend_of(text) for text in value["backends"]], value["source"])
    elif what == "apply":
        pool.apply(Verdict(**value))
    elif what == "wish":
        pool.wish(Wish(**value))


def snapshot(pool: Pool) -> list[Call]:
    """The calls that bring another pool of this name to what this one is now, whatever it was."""
    calls: list[Call] = []
    sender = Sender(pool.name, calls.append)
    sender.set_backends(member.backend for member in pool.members.values())
    for member in pool.members.values():
        _say(sender, member)
    return calls


def _say(sender: Sender, member: BackendState) -> None:
    address, why = member.address, member.evidence
    sender.apply(Verdict(address, member.probed_up, why.get("probe", member.reason), "probe"))
    if member.ejected:
        sender.apply(Verdict(address, False, why.get("traffic", member.reason), "traffic", member.ejected))
    sender.wish(Wish(address, member.want, why.get("operator", "")))
