"""How many client connections there may be, at all workers together (``max_connections``)."""

from __future__ import annotations

import resource
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ..admission import ConnectionLimit, connections_for
from ..proxy.counters import ListenerCounters
from .board import CONNECTIONS, Board

__all__ = ["LOOK", "SharedConnectionLimit"]

#: Seconds between two looks at what the others have; each time up to a half more or less.
LOOK = 0.05


class SharedConnectionLimit(ConnectionLimit):
    """A worker's part in one limit for all of them.

    Each writes how many connections it has to the board, looks at what all have whenever one comes, and every :data:`LOOK`
    beside that. Where clients come to several workers at once, those may accept, until their next look, as many as one call of a
    port accepts: each its share of the room that was left when it looked, and one at least. By so many the limit may be passed.

    A worker that has its share of the limit, or more, takes up a connection's place that becomes free when it looks the next
    time, so that one that has fewer comes by it as well.

    Beside that each worker keeps to the files that it may open itself.

    :param number: the worker's.
    """

    def __init__(
        self,
        counters: ListenerCounters,
        ports: Callable[[], list[Any]],
        clock: IReactorTime,
        *,
        board: Board,
        number: int,
        workers: int,
        random: Random | None = None,
    ) -> None:
        super().__init__(counters, ports, clock, processes=workers)
        self._row = board.row(number)
        self._all = board.column(CONNECTIONS, workers)
        self._own = inf
        self._random = Random() if random is None else random
        self._looks = False

    def start(self, limit: int) -> None:
        """Keep to *limit* from now on; 0 takes it from the files that all workers may open."""
        self._own = connections_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) or inf
        self._row[CONNECTIONS] = self.open
        super().start(limit)
        if not self._looks and self.room < inf:
            self._looks = True
            self._look_later()

    def _warn(self, limit: int, files: int, possible: int) -> None:
        """The supervisor does, once."""

    def _look_later(self) -> None:
        self._clock.callLater(LOOK * (0.5 + self._random.random()), self._look)

    def _look(self) -> None:
        self._looks = self.room < inf
        if self._looks:
            self._look_later()
        if self.paused and self.room > 0:
            self._resume()
        self._check()

    def opened(self) -> None:
        """A client has connected."""
        self._row[CONNECTIONS] = self.open + 1
        super().opened()

    def closed(self) -> None:
        """A client's connection has ended."""
        self.open -= 1
        self._row[CONNECTIONS] = self.open
        if self.paused and self.open < self._counters.connections_limit // self._processes and self.room > 0:
            self._resume()

    @property
    def room(self) -> float:
        """How many more connections there may be here."""
        limit = self._counters.connections_limit
        return min(limit - sum(self._all), self._own - self.open) if limit else inf

    @property
    def at_once(self) -> float:
        """How many a port may accept in one call."""
        room = self.room
        return max(1, room // self._processes) if room < inf else inf
