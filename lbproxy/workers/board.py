"""The board: numbers that all processes of one load balancer see at once, in memory that they share.

Each worker writes its own row alone, so that no lock is needed; a number is read whole, for it is one aligned word. What a worker
has written is there after its end, however that came.
"""

from __future__ import annotations

import mmap
import os

__all__ = ["ACCEPTED", "BEGUN", "CONNECTIONS", "ENDED", "FIRST_SLOT", "ROWS", "SLOTS", "Board", "Row"]

#: Client connections open now; connections accepted; exchanges begun; exchanges ended.
CONNECTIONS, ACCEPTED, BEGUN, ENDED = range(4)
#: The first place for attempts in flight at one of the backends that have a limit of them.
FIRST_SLOT = 16
#: Such places.
SLOTS = 4080
#: Workers that there may be.
ROWS = 256

_WORD = 8
_COLUMNS = FIRST_SLOT + SLOTS

Row = memoryview
"""A worker's own numbers, by the places above."""


class Board:
    """:param fd: of the memory; None: there is to be a new one, all zeros."""

    def __init__(self, fd: int | None = None) -> None:
        size = ROWS * _COLUMNS * _WORD
        if fd is None:
            fd = os.memfd_create("lbproxy-board")
            os.ftruncate(fd, size)
        self.fd = fd
        self._words = memoryview(mmap.mmap(fd, size)).cast("q")

    def row(self, worker: int) -> Row:
        """A worker's numbers."""
        return self._words[worker * _COLUMNS : (worker + 1) * _COLUMNS]

    def sum(self, place: int, workers: int) -> int:
        """The numbers of the first so many workers together."""
        words = self._words
        return sum(words[worker * _COLUMNS + place] for worker in range(workers))

    def column(self, place: int, workers: int) -> Row:
        """The numbers at one place of all rows that so many workers may have, as they are whenever they are read: of each worker
        that serves, and of three that drain meanwhile."""
        return self._words[place : min(4 * workers, ROWS) * _COLUMNS : _COLUMNS]

    def clear(self, worker: int) -> None:
        """Set a row to zeros: its worker has ended."""
        self.row(worker)[:] = memoryview(bytes(_COLUMNS * _WORD)).cast("q")
