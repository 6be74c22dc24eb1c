"""What is told to a pool, as plain values that cross to another process and are told to the pool of the same name there.

What a supervisor's pool is told is not repeated to the workers in the same words: a worker may have learnt something else before,
and would make something else of them. It is told what came of it (:class:`~lbproxy.balance.known.Known`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from ..balance.backend import Backend
from ..balance.known import Known
from ..balance.pool import Pool
from ..balance.state import Verdict, Wish
from ..config.model import Configuration
from ..discovery.listing import read_members
from ..interfaces import IPoolControl

__all__ = [
    "Call",
    "Sender",
    "backends_by_pool",
    "known_call",
    "plain_backends",
    "read_backends",
    "recall_call",
    "snapshot",
    "tell",
]

_log = Logger()

#: A pool's name, the name of what is called, and a plain value.
Call = list[Any]


def plain_backends(backends: Iterable[Backend]) -> list[dict[str, Any]]:
    """Backends for JSON. Not as an operator writes them: any Unix socket's path must come through."""
    return [attrs.asdict(backend) for backend in backends]


def read_backends(values: Iterable[Mapping[str, Any]]) -> list[Backend]:
    """The same backends again."""
    return [Backend(**value) for value in values]


def backends_by_pool(pools: Iterable[Pool], configuration: Configuration) -> dict[str, list[dict[str, Any]]]:
    """Whom each pool consists of that there is, and each that is to be by a file: workers read none. Blocking, where there are
    such.

    :raises ConfigurationError: for a file with mistakes, or that cannot be read.
    """
    there = {pool.name: plain_backends(member.backend for member in pool.members.values()) for pool in pools}
    new = [pool for pool in configuration.pools if pool.backends_file and pool.name not in there]
    return {**there, **{pool.name: plain_backends(read_members(pool.backends_file)) for pool in new}}


def known_call(pool: str, known: Known) -> Call:
    """Lets this be known of a backend of that pool."""
    return [pool, "know", attrs.asdict(known)]


def recall_call(pool: Pool) -> Call:
    """Has the policies of a pool of the same name go by the past of this one's."""
    return [pool.name, "recall", pool.memories]


@implementer(IPoolControl)
class Sender:
    """Follows a pool, and lets the pools of its name in other processes be as it is. What they have been told already is not said
    again.

    :param send: takes the calls.
    """

    def __init__(self, pool: Pool, send: Callable[[Call], None]) -> None:
        self._pool = pool
        self._send = send
        self._said: dict[str, Known] = {}

    def set_backends(self, backends: Iterable[Backend], source: str = "configuration") -> None:
        """Let them consist of these."""
        self._said.clear()  # who left, and comes back, begins anew
        self._send([self._pool.name, "set_backends", {"backends": plain_backends(backends), "source": source}])

    def apply(self, verdict: Verdict) -> None:
        """Let them know what came of a verdict."""
        self._say(verdict.address)

    def wish(self, wish: Wish) -> None:
        """Let them want the same."""
        self._say(wish.address)

    def know(self, known: Known) -> None:
        """Let them know it as well."""
        self._say(known.address)

    def _say(self, address: str) -> None:
        known = Known.of(self._pool.members[address])
        if self._said.get(address) != known:
            self._said[address] = known
            self._send(known_call(self._pool.name, known))


def tell(pools: Mapping[str, Pool], call: Call) -> None:
    """Make the call. One for a pool that is not there (any more, or yet) is ignored; what goes wrong in one is logged, and keeps
    nothing from the next one."""
    name, what, value = call
    pool = pools.get(name)
    if pool is None:
        return
    try:
        _make(pool, what, value)
    except Exception:  # of a user's policy or observer, for one
        _log.failure("{what} failed in pool {name}", what=what, name=name)


def _make(pool: Pool, what: str, value: Mapping[str, Any]) -> None:
    if what == "set_backends":
        pool.set_backends(read_backends(value["backends"]), value["source"])
    elif what == "know":
        pool.know(Known(**value))
    elif what == "recall":
        pool.recall(value)
    elif what == "apply":
        pool.apply(Verdict(**value))
    elif what == "wish":
        pool.wish(Wish(**value))
    else:
        _log.error("a pool cannot be told {what!r}", what=what)


def snapshot(pool: Pool) -> list[Call]:
    """The calls that bring another pool of this name to what this one is now, whatever it was."""
    backends = plain_backends(member.backend for member in pool.members.values())
    return [
        [pool.name, "set_backends", {"backends": backends, "source": "configuration"}],
        *(known_call(pool.name, Known.of(member)) for member in pool.members.values()),
        recall_call(pool),
    ]
