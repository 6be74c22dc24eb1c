"""The workers of a supervisor, together: told, asked, agreed with. How they live stands in :mod:`.lives`.

What others may use:

- :meth:`Crew.when_ready` fires when all serve for the first time; :meth:`Crew.when_gone` when no process is left.
- :attr:`Crew.on_report`: functions of a worker and of what it has answered to a ``Report``; every :data:`~.heartbeat.REPORT`
  seconds, when :meth:`Crew.ask_report` asks, and right before it ends in order.
- :attr:`Crew.on_serve`: functions of a worker that serves from now on.
- :attr:`Crew.on_end`: functions of a worker whose process has ended, and of why. Its row of the board is as it left it; after
  that it is cleared.
- :attr:`WorkerProcess.row <lbproxy.workers.process.WorkerProcess.row>`: a process's own row of the board. A worker that drains
  while its successor serves has another one than that: rows in use are not only those below :attr:`Crew.count`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import __version__
from ..balance.pool import Pool
from ..config.model import Configuration
from ..observe.access_log import AccessLog
from .agreement import Agreement
from .calls import Call, backends_by_pool, snapshot
from .lives import Lives, ended_meanwhile
from .loans import packed_loans
from .messages import Begin, Certificates, Log, Report, Share, Tell
from .process import WorkerProcess
from .sharing import Entry, Sharing
from .slots import Slots
from .sockets import give
from .state import State, packed, worker_configuration
from .verdicts import Verdicts

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["Crew"]

_log = Logger()


class Crew(Lives):
    """:param count: how many workers there are to be.

    :param service: the supervisor's, whose pools, listeners and configuration are the workers' as well.
    :ivar posts: one for each worker that there is to be.
    :ivar last: whether nobody else will listen on the same sockets once these workers have ended.
    """

    def __init__(self, service: LoadBalancerService, count: int) -> None:
        super().__init__(service, count)
        self.on_report: list[Callable[[WorkerProcess, Any], object]] = []
        self._agreement: Agreement | None = None
        self._verdicts = Verdicts(lambda: service.site.balancers)
        self.slots = Slots(self.board, count)
        self.sharing = Sharing(service.clock, self._share)
        self.on_end.append(lambda worker, _: self.sharing.ended(worker.row))
        self.log_made: AccessLog | None = None  # for what is being prepared
        self._packed: tuple[Configuration, bytes] | None = None

    def begin(self, worker: WorkerProcess) -> Deferred[Any]:
        """Have it serve what is served just now; while all are asked whether they can go by something else, so is it."""
        configuration = self._service.configuration
        assert configuration is not None
        self._give_sockets(worker, self._service.listeners.clients)
        self._give_log(worker, self._service.access_log)
        beginning = worker.call(
            Begin,
            number=worker.number,
            row=worker.row,
            version=__version__,
            configuration=self._configuration(configuration),
            state=self._state(configuration),
        )
        beginning.addCallback(self._begun, worker)
        if self._agreement is not None:
            self._ask_when_begun(self._agreement, worker, beginning)
        return beginning

    def _configuration(self, configuration: Configuration) -> bytes:
        """What workers go by. It is the same for all; with 10,000 routes it takes 0.1 s of the supervisor to pack it."""
        if self._packed is None or self._packed[0] is not configuration:
            self._packed = configuration, packed(worker_configuration(configuration, self.count))
        return self._packed[1]

    def _begun(self, answer: Any, worker: WorkerProcess) -> Any:
        self.sharing.begun(worker.row)
        return answer

    def _ask_when_begun(self, agreement: Agreement, worker: WorkerProcess, beginning: Deferred[Any]) -> None:
        agreement.expect(worker)

        def failed(failure: Failure) -> Failure:
            agreement.has_not_begun(worker)
            return failure

        def begun(answer: Any) -> Any:
            agreement.ask(worker)
            return answer

        beginning.addCallbacks(begun, failed)

    def _give_sockets(self, worker: WorkerProcess, listeners: Any) -> None:
        give(worker, listeners, self.count)

    def _give_log(self, worker: WorkerProcess, log: AccessLog | None) -> None:
        lent = None if log is None else log.lend()
        if log is not None and lent is not None:
            worker.call(Log, path=log.path, file=lent[0], fd=lent[1]).addErrback(ended_meanwhile)

    def _state(self, configuration: Configuration, *, new: bool = False) -> State:
        """:param new: whether the configuration is not gone by yet."""
        return State(
            workers=self.count,
            random_key=self._service.site.router.random_key.hex(),
            backends=backends_by_pool(self._pools(), configuration),
            calls=self._calls(),
            files=packed_loans(new=new),
        )

    def _pools(self) -> list[Pool]:
        return [balancer.pool for balancer in self._service.site.balancers.values()]

    def _calls(self) -> list[Call]:
        """What brings the workers' pools to what those here are."""
        pools = self._pools()
        return [*self.slots.calls(pools), *(call for pool in pools for call in snapshot(pool))]

    # What they say.

    def told(self, worker: WorkerProcess, calls: list[Any]) -> None:
        """What traffic has taught one of them is told to the supervisor's pools, and by these to all workers."""
        answers = self._verdicts.told(worker.number, calls)
        if answers:
            worker.call(Tell, calls=answers)

    def shared(self, worker: WorkerProcess, given: Any) -> None:
        """What a limit has given at one of them is told to the others."""
        self.sharing.heard(worker.row, given)

    def _share(self, row: int, entries: list[Entry]) -> None:
        for worker in (one for post in self.posts for one in post.processes if one.row == row):
            worker.call(Share, given=entries)

    def ask_report(self, worker: WorkerProcess) -> Deferred[Any]:
        """Ask one what it has counted, which goes to :attr:`on_report`. It says it only once.

        :return: fires when that has been taken, or the worker has ended.
        """
        asked = worker.call(Report).addCallbacks(lambda answer: self.reported(worker, answer["sheet"]), ended_meanwhile)
        return asked.addErrback(lambda failure: _log.failure("what a worker has counted could not be taken", failure))

    def reported(self, worker: WorkerProcess, sheet: Any) -> None:
        """What it has counted since the last time."""
        for hook in self.on_report:
            hook(worker, sheet)

    # What is said to all.

    def tell(self, call: list[Any]) -> None:
        """The control plane says this to a pool. Those that leave still carry exchanges, and hear it too."""
        for worker in (one for post in self.posts for one in post.processes):
            worker.call(Tell, calls=[call])

    def read_certificates(self) -> None:
        """The certificates' files say something else."""
        files = packed_loans()
        for worker in self.workers.values():
            worker.call(Certificates, files=files).addErrback(ended_meanwhile)

    def prepare(self, configuration: Configuration, opening: Any) -> Deferred[None]:
        """Have all prepare to go by another configuration.

        :return: fails with a :class:`~lbproxy.errors.ConfigurationError` when one of them cannot; then none does.
        """
        state = self._state(configuration, new=True)
        question = {"configuration": self._configuration(configuration), "state": state}
        opened = [one for one in opening.opened if one is not opening.admin]

        def give(worker: WorkerProcess) -> None:
            self._give_sockets(worker, opened)
            self._give_log(worker, self.log_made)

        self._agreement = agreement = Agreement(question, give)
        workers = sorted(self.workers.values(), key=lambda one: not one.served)  # one that serves first
        for worker in workers:
            agreement.expect(worker)
        for worker in workers:
            agreement.ask(worker)
        return agreement.begin().addErrback(self._not_prepared)

    def _not_prepared(self, failure: Failure) -> Failure:
        self.abandon()
        return failure

    def commit(self) -> Deferred[Any]:
        """All go by it from now on.

        :return: fires when all do, or have ended.
        """
        agreement, self._agreement = self._agreement, None
        calls = self._calls()
        for worker in [] if agreement is None else agreement.commit():
            worker.call(Tell, calls=calls)
        self.sharing.anew()
        self.start_waiting()  # the reason for which they have ended may be gone
        return succeed(None) if agreement is None else agreement.gone_by

    def drain(self, *, now: bool = False) -> None:
        """Have all bring to its end what runs, and end; none is replaced."""
        super().drain(now=now)
        if self._agreement is not None:
            self._agreement.nobody_begins()

    def abandon(self) -> None:
        """All stay with what they have."""
        agreement, self._agreement = self._agreement, None
        if agreement is not None:
            agreement.abandon()
