"""Promises of the board."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.workers.board import CONNECTIONS, FIRST_SLOT, ROWS, SLOTS, Board


class BoardTests(SynchronousTestCase):
    """Numbers that all see."""

    def setUp(self) -> None:
        self.board = Board()
        self.addCleanup(os.close, self.board.fd)

    def test_another_process_sees_what_is_written(self) -> None:
        """By the descriptor alone."""
        other = Board(os.dup(self.board.fd))
        self.addCleanup(os.close, other.fd)
        column = other.column(CONNECTIONS, 3)
        self.board.row(0)[CONNECTIONS] = 5
        self.board.row(2)[CONNECTIONS] = 7
        self.assertEqual((other.row(2)[CONNECTIONS], other.sum(CONNECTIONS, 2), list(column)), (7, 5, [5, 0, 7, *[0] * 9]))

    def test_rows_do_not_touch(self) -> None:
        """The last place of one, and the first of the next."""
        last = FIRST_SLOT + SLOTS - 1
        self.board.row(ROWS - 2)[last] = 1
        self.assertEqual([self.board.row(ROWS - 1)[0], self.board.row(ROWS - 2)[last]], [0, 1])

    def test_what_one_has_left_is_cleared(self) -> None:
        """And nothing else."""
        for worker in range(2):
            for place in (CONNECTIONS, FIRST_SLOT + SLOTS - 1):
                self.board.row(worker)[place] = 4
        self.board.clear(0)
        self.assertEqual([self.board.sum(place, 2) for place in (CONNECTIONS, FIRST_SLOT + SLOTS - 1)], [4, 4])

    def test_those_who_drain_count(self) -> None:
        """In the rows after those of the workers that serve; but there are no more than there are."""
        self.board.row(7)[CONNECTIONS] = 3
        self.assertEqual([sum(self.board.column(CONNECTIONS, workers)) for workers in (1, 2, ROWS)], [0, 3, 3])
