"""Whether all workers can go by another configuration: it is gone by by all of them, or by none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
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

    Who is told to end before an answer has agreed: its successor begins with whatever is decided. Who begins meanwhile, with the
    configuration as it is, is asked too (:meth:`ask`), and waited for. Of one that dies, the question may be the reason, as it is
    of one that hangs and is killed for it: its successor is waited for, and when that dies too, all of them would.

    :param question: what :class:`~lbproxy.workers.messages.Prepare` has.
    :param opened: the listeners that are new, whose sockets the workers need.
    :ivar gone_by: fires when all go by it that were told to (:meth:`commit`).
    :ivar outcome: fires when all have answered; fails, with a :class:`~lbproxy.errors.ConfigurationError`, when one cannot.
    """

    def __init__(self, question: dict[str, Any], opened: Iterable[Any]) -> None:
        self.outcome: Deferred[None] = Deferred()
        self.gone_by: Deferred[Any] = Deferred()
        self.opened = list(opened)
        self._question = question
        self._asked: list[WorkerProcess] = []
        self._unanswered = 1  # which is begin's own
        self._refusals: list[str] = []
        self._died: set[int] = set()  # numbers of workers
        self._awaited: set[int] = set()  # those whose successors are to answer

    def begin(self) -> Deferred[None]:
        """All that there are just now have been asked."""
        self._count(None)
        return self.outcome

    def ask(self, worker: WorkerProcess) -> None:
        """Ask one, who has been given the sockets."""
        if worker.number in self._awaited:
            self._awaited.remove(worker.number)
        else:
            self._unanswered += 1
        self._asked.append(worker)
        answer = worker.call(Prepare, **self._question)
        worker.answered_within(PREPARE, answer, "prepared to go by another configuration")
        answer.addErrback(self._refused, worker).addBoth(self._count)

    def _refused(self, failure: Failure, worker: WorkerProcess) -> None:
        if worker.state == DRAINING:
            return
        if failure.check(ConnectionClosed):
            self._dies(worker)
            return
        self._refusals += failure.getErrorMessage().splitlines() if failure.check(Refused) else [_unexpected(worker)]

    def _dies(self, worker: WorkerProcess) -> None:
        if worker.number in self._died:
            self._refusals.append(f"worker {worker.number} has ended twice while it prepared; its log may tell why")
        elif worker.served:  # otherwise it could not even begin, with what is gone by now
            self._died.add(worker.number)
            self._awaited.add(worker.number)
            self._unanswered += 1

    def nobody_begins(self) -> None:
        """No successor is waited for any more: all are to end."""
        awaited, self._awaited = self._awaited, set()
        for _ in awaited:
            self._count(None)

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
        answers = [worker.call(Commit).addErrback(self._cannot, worker) for worker in self._asked]
        DeferredList(answers, consumeErrors=True).chainDeferred(self.gone_by)
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
