"""The board: numbers that all processes of one load balancer see at once, in memory that they share.

Each worker writes its own row alone, so that no lock is needed; a number is read whole, for it is one aligned word. What a worker
has written is there after its end, however that came.
"""

from __future__ import annotations

import mmap
import os

__all__ = ["BEGUN", "CONNECTIONS", "ENDED", "FIRST_SLOT", "ROWS", "ROWS_EACH", "SLOTS", "Board", "Row"]

#: Client connections open now; exchanges begun; exchanges ended.
CONNECTIONS, BEGUN, ENDED = range(3)
#: The first place for attempts in flight at one of the backends that have a limit of them.
FIRST_SLOT = 16
#: Such places.
SLOTS = 4080
#: Rows that each worker may have: it has one, and those that drain while their successors serve have theirs.
ROWS_EACH = 3
#: Rows for as many workers as there may be.
ROWS = 256 * ROWS_EACH

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

    def row(self, row: int) -> Row:
        """The numbers of the worker that has it."""
        return self._words[row * _COLUMNS : (row + 1) * _COLUMNS]

    def sum(self, place: int, workers: int) -> int:
        """The numbers of so many workers together."""
        return sum(self.column(place, workers))

    def column(self, place: int, workers: int) -> Row:
        """The numbers of so many workers at one place, as they are whenever they are read."""
        return self._words[place : workers * ROWS_EACH * _COLUMNS : _COLUMNS]

    def clear(self, row: int) -> None:
        """Set a row to zeros: its worker has ended."""
        self.row(row)[:] = memoryview(bytes(_COLUMNS * _WORD)).cast("q")
