"""Requests at once, by client or whoever else asks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ...http1.answers import Answer
from ..checks import number
from ..filter import Filter, FilterContext
from .asking import BY, PREFIX, key_of_request

if TYPE_CHECKING:
    from ..passage import Passage

__all__ = ["InFlight"]


@attrs.frozen(kw_only=True)
class InFlight:
    """So many requests at once for each key; further ones are answered 429 (as Traefik's InFlightReq has it; nginx's limit_conn:
    503). One counts from its head to its end, in whatever way that comes: a tunnel as long as it is open. On a reload those that
    run count on, if *by* and *prefix_v6* stay.

    Several workers tell each other how many run, within 100 ms: what comes to several of them in less time may be let on beyond
    the limit, up to as many more as it is for each further worker.

    :ivar limit: requests at once.
    :ivar by: whose requests count together: ``client``, ``route`` (all that take it), or a request key.
    :ivar prefix_v6: bits of an IPv6 address that tell a client.
    :ivar status: of a refusal.
    """

    type: ClassVar[str] = "in-flight"

    limit: int = attrs.field(validator=number(1, 1_000_000, int))
    by: str = attrs.field(default="client", validator=BY)
    prefix_v6: int = attrs.field(default=64, validator=PREFIX)
    status: int = attrs.field(default=429, validator=number(400, 599, int))

    def make(self, context: FilterContext) -> Filter:
        """Make the live filter."""
        return LiveInFlight(self, context)


class LiveInFlight(Filter):
    """Counts ``refused``. It remembers keys only of requests that run, so that memory is bounded by those.

    :ivar running: how many run, by key.
    """

    def __init__(self, spec: InFlight, context: FilterContext) -> None:
        self.spec = spec
        self.running: dict[bytes, int] = {}
        self._elsewhere = Elsewhere() if context.workers > 1 else None
        self._count = context.count
        self._key = key_of_request(spec.by, spec.prefix_v6)

    def request(self, passage: Passage) -> Answer | None:
        """One more, if it may."""
        if self in passage.memory:  # it stands twice in the route
            return None
        key = self._key(passage)
        running = self.running.get(key, 0)
        elsewhere = self._elsewhere
        if running + (elsewhere.running.get(key, 0) if elsewhere is not None else 0) >= self.spec.limit:
            self._count("refused")
            why = "As many requests from here are under way as may be."
            return Answer(status=self.spec.status, end="too-many-in-flight", why=why)
        self.running[key] = running + 1
        if elsewhere is not None:
            elsewhere.untold[key] = None
        passage.memory[self] = key
        return None

    def over(self, passage: Passage) -> None:
        """One less."""
        key = passage.memory.pop(self, None)
        if key is None:
            return
        left = self.running[key] - 1
        if left:
            self.running[key] = left
        else:
            del self.running[key]
        if self._elsewhere is not None:
            self._elsewhere.untold[key] = None

    def given(self, most: int) -> dict[bytes, int]:
        """How many run, by key, where it is not what was told last."""
        untold = self._elsewhere.untold if self._elsewhere is not None else {}
        keys = list(islice(untold, most))
        for key in keys:
            del untold[key]
        return {key: self.running.get(key, 0) for key in keys}

    def given_elsewhere(self, worker: int, given: Mapping[bytes, int]) -> None:
        """How many run in that worker."""
        if self._elsewhere is not None:
            for key, running in given.items():
                self._elsewhere.set(worker, key, running)

    def begun_elsewhere(self) -> None:
        """It is to know of all that run."""
        if self._elsewhere is not None:
            self._elsewhere.untold.update(dict.fromkeys(self.running))

    def ended_elsewhere(self, worker: int) -> None:
        """What ran in it does not run any more."""
        if self._elsewhere is not None:
            self._elsewhere.drop(worker)

    def take_over(self, old: Any) -> None:
        """Those that run are told to the old filter when they end; both count in the same place."""
        if (self.spec.by, self.spec.prefix_v6) == (old.spec.by, old.spec.prefix_v6):
            self.running, self._elsewhere = old.running, old._elsewhere


class Elsewhere:
    """What runs in other workers.

    :ivar running: how many in all of them together, by key.
    :ivar untold: the keys of which they are to be told how many run here.
    """

    def __init__(self) -> None:
        self.running: dict[bytes, int] = {}
        self.untold: dict[bytes, None] = {}
        self._workers: dict[int, dict[bytes, int]] = {}

    def set(self, worker: int, key: bytes, running: int) -> None:
        """So many run in that one."""
        known = self._workers.setdefault(worker, {})
        together = self.running.get(key, 0) + running - known.get(key, 0)
        for counts, count in ((known, running), (self.running, together)):
            if count:
                counts[key] = count
            else:
                counts.pop(key, None)

    def drop(self, worker: int) -> None:
        """That one has ended."""
        for key in list(self._workers.get(worker, ())):
            self.set(worker, key, 0)
        self._workers.pop(worker, None)
