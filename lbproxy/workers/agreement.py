"""Whether all workers can go by another configuration: it is gone by by all of them, or by none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ConfigurationError
from .messages import Abandon, Commit, Prepare, Refused
from .process import DRAINING, WorkerProcess

__all__ = ["PREPARE", "Agreement"]

#: Seconds in which a worker must have prepared.
PREPARE = 60.0

_log = Logger()


class Agreement:
    """One question to all workers.

    Who ends before an answer, or is about to, has agreed: its successor begins with whatever is decided. Who begins meanwhile,
    with the configuration as it is, is asked too (:meth:`ask`), and waited for.

    :param question: what :class:`~lbproxy.workers.messages.Prepare` has.
    :param opened: the listeners that are new, whose sockets the workers need.
    :ivar outcome: fires when all have answered; fails, with a :class:`~lbproxy.errors.ConfigurationError`, when one cannot.
    """

    def __init__(self, question: dict[str, Any], opened: Iterable[Any]) -> None:
        self.outcome: Deferred[None] = Deferred()
        self.opened = list(opened)
        self._question = question
        self._asked: list[WorkerProcess] = []
        self._unanswered = 1  # which is begin's own
        self._refusals: list[str] = []

    def begin(self) -> Deferred[None]:
        """All that there are just now have been asked."""
        self._count(None)
        return self.outcome

    def ask(self, worker: WorkerProcess) -> None:
        """Ask one, who has been given the sockets."""
        self._unanswered += 1
        self._asked.append(worker)
        answer = worker.call(Prepare, **self._question)
        worker.answered_within(PREPARE, answer, "prepared to go by another configuration")
        answer.addErrback(self._refused, worker).addBoth(self._count)

    def _refused(self, failure: Failure, worker: WorkerProcess) -> None:
        if failure.check(ConnectionClosed) or worker.state == DRAINING:
            return
        self._refusals += failure.getErrorMessage().splitlines() if failure.check(Refused) else [_unexpected(worker)]

    def _count(self, _: object) -> None:
        self._unanswered -= 1
        if self._unanswered or self.outcome.called:
            return
        if self._refusals:
            self.outcome.errback(ConfigurationError("\n".join(dict.fromkeys(self._refusals))))
        else:
            self.outcome.callback(None)

    def commit(self) -> list[WorkerProcess]:
        """All go by it from now on.

        :return: who was told.
        """
        for worker in self._asked:
            worker.call(Commit).addErrback(self._cannot, worker)
        return self._asked

    def _cannot(self, failure: Failure, worker: WorkerProcess) -> None:
        if failure.check(ConnectionClosed) or worker.state == DRAINING:
            return
        why = failure.getErrorMessage()
        _log.error("worker {number} cannot go by what it has prepared: {why}; it is replaced", number=worker.number, why=why)
        worker.kill()

    def abandon(self) -> None:
        """All stay with what they have."""
        for worker in self._asked:
            worker.call(Abandon).addErrback(lambda _: None)  # it has ended, which is told elsewhere


def _unexpected(worker: WorkerProcess) -> str:
    return f"worker {worker.number} failed while it prepared; its log has the traceback"
