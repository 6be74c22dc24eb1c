"""A worker's post: who holds it, who held it before, and when somebody does again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from .backoff import Backoff
from .process import DRAINING, WorkerProcess

__all__ = ["Post", "free_row"]


@attrs.define(eq=False)
class Post:
    """One of the posts of a supervisor, by number.

    :ivar worker: who holds it; None: its successor waits to be started.
    :ivar leaving: who held it, and brings to its end what runs.
    :ivar restarts: how often it was filled again.
    :ivar last_end: how the last one ended, in words; empty: none has.
    :ivar waiting: the call that starts the next one; None: nobody waits.
    """

    number: int
    worker: WorkerProcess | None = None
    leaving: list[WorkerProcess] = attrs.Factory(list)
    restarts: int = 0
    last_end: str = ""
    backoff: Backoff = attrs.Factory(Backoff)
    waiting: Any = None

    @property
    def processes(self) -> list[WorkerProcess]:
        """All that there are, the one that holds it first."""
        return [*([] if self.worker is None else [self.worker]), *self.leaving]

    def call_off(self) -> None:
        """Nobody is to be started."""
        if self.waiting is not None and self.waiting.active():
            self.waiting.cancel()
        self.waiting = None

    def step_down(self, worker: WorkerProcess) -> bool:
        """It brings to its end what runs; the post is free.

        :return: whether it held the post.
        """
        if self.worker is not worker:
            return False
        worker.state = DRAINING
        self.worker = None
        self.leaving.append(worker)
        return True


def free_row(posts: Iterable[Post], number: int, count: int, rows: int) -> int | None:
    """A row of the board that no process has: that of the number, unless a predecessor has it still; None: there is none."""
    taken = {worker.row for post in posts for worker in post.processes}
    return next((row for row in range(number, rows, count) if row not in taken), None)
