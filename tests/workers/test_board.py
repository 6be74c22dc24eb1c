"""Promises of the board."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.workers.board import CONNECTIONS, ENDED, FIRST_SLOT, ROWS, SLOTS, Board


class BoardTests(SynchronousTestCase):
    """Numbers that all see."""

    def setUp(self) -> None:
        self.board = Board()
        self.addCleanup(os.close, self.board.fd)

    def test_another_process_sees_what_is_written(self) -> None:
        """By the descriptor alone."""
        other = Board(os.dup(self.board.fd))
        self.addCleanup(os.close, other.fd)
        column = other.column(CONNECTIONS, 1)
        self.board.row(0)[CONNECTIONS] = 5
        self.board.row(2)[CONNECTIONS] = 7
        self.assertEqual((other.row(2)[CONNECTIONS], other.sum(CONNECTIONS, 1), list(column)), (7, 12, [5, 0, 7]))

    def test_rows_do_not_touch(self) -> None:
        """The last place of one, and the first of the next."""
        last = FIRST_SLOT + SLOTS - 1
        self.board.row(ROWS - 2)[last] = 1
        self.assertEqual([self.board.row(ROWS - 1)[0], self.board.row(ROWS - 2)[last]], [0, 1])

    def test_what_limits_gave_to_one_that_ended_is_free(self) -> None:
        """And what it has counted is told elsewhere by then; the others' rows stay."""
        for worker in range(2):
            for place in (CONNECTIONS, ENDED, FIRST_SLOT, FIRST_SLOT + SLOTS - 1):
                self.board.row(worker)[place] = 4
        self.board.clear(0)
        sums = [self.board.sum(place, 2) for place in (CONNECTIONS, ENDED, FIRST_SLOT, FIRST_SLOT + SLOTS - 1)]
        self.assertEqual(sums, [4, 4, 4, 4])
