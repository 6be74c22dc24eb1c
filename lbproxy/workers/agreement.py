"""Whether all workers can go by another configuration: it is gone by by all of them, or by none."""

from __future__ import annotations

from collections.abc import Callable
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

    One is asked first, and the others when it has agreed: what would hang all of them, or end them, costs one at a time.

    Who is told to end before an answer has agreed: its successor begins with whatever is decided. Who begins meanwhile, with the
    configuration as it is, is expected to be asked too (:meth:`expect`), and waited for. Of one that dies, the question may be
    the reason, as it is of one that hangs and is killed for it: its successor is waited for, and when that dies too, all of them
    would.

    :param question: what :class:`~lbproxy.workers.messages.Prepare` has.
    :param give: gives a worker what it needs beside that.
    :ivar gone_by: fires when all go by it that were told to (:meth:`commit`).
    :ivar outcome: fires when all have answered; fails, with a :class:`~lbproxy.errors.ConfigurationError`, when one cannot.
    """

    def __init__(self, question: dict[str, Any], give: Callable[[WorkerProcess], object]) -> None:
        self.outcome: Deferred[None] = Deferred()
        self.gone_by: Deferred[Any] = Deferred()
        self._question = question
        self._give = give
        self._asked: list[WorkerProcess] = []
        self._unanswered = 1  # which is begin's own
        self._refusals: list[str] = []
        self._first: int | None = None  # the number of the one that is asked first
        self._passed = False  # whether it has agreed
        self._held: list[WorkerProcess] = []  # those that are asked then
        self._latest: dict[int, WorkerProcess] = {}  # of those that are expected
        self._died: set[int] = set()  # numbers
        self._awaited: set[int] = set()  # those whose successors are to answer

    def begin(self) -> Deferred[None]:
        """All that there are just now have been asked."""
        self._count(None)
        return self.outcome

    def expect(self, worker: WorkerProcess) -> None:
        """One is to be asked when it has begun. Until then it is waited for."""
        self._latest[worker.number] = worker
        if worker.number in self._awaited:
            self._awaited.remove(worker.number)
        else:
            self._unanswered += 1

    def has_not_begun(self, worker: WorkerProcess) -> None:
        """One that was expected cannot begin, with what is gone by now."""
        self._go_on_after(worker)
        self._count(None)

    def ask(self, worker: WorkerProcess) -> None:
        """Ask one that was expected."""
        self._first = worker.number if self._first is None else self._first
        if self._passed or worker.number == self._first:
            self._ask(worker)
        else:
            self._held.append(worker)

    def _ask(self, worker: WorkerProcess) -> None:
        self._asked.append(worker)
        self._give(worker)
        answer = worker.call(Prepare, **self._question)
        worker.answered_within(PREPARE, answer, "prepared to go by another configuration")
        answer.addErrback(self._refused, worker).addBoth(lambda _: self._go_on_after(worker)).addBoth(self._count)

    def _go_on_after(self, worker: WorkerProcess) -> None:
        """Ask the others, if the first one has answered, and they are to be asked."""
        if worker.number != self._first or worker.number in self._awaited:
            return
        self._passed = True
        held, self._held = self._held, []
        for one in held:
            if one.pid and not self._refusals:
                self._ask(one)
            else:
                self._count(None)

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
            if self._latest[worker.number] is worker:  # otherwise its successor begins already
                self._awaited.add(worker.number)
                self._unanswered += 1

    def nobody_begins(self) -> None:
        """No successor is waited for any more: all are to end."""
        left, self._awaited, self._held = [*self._awaited, *self._held], set(), []
        for _ in left:
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
