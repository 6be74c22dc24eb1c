"""The workers of a supervisor, together: started, replaced, told, asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import __version__
from ..balance.backend_values import backend_text
from ..config.model import Configuration
from ..errors import ConfigurationError
from ..observe.access_log import AccessLog
from .board import Board
from .calls import snapshot, tell
from .messages import Abandon, Begin, Commit, Drain, Log, Prepare, Refused, Socket, Tell
from .process import WorkerProcess
from .state import State, packed, worker_configuration

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["Crew"]

_log = Logger()


class Post(NamedTuple):
    """:ivar processes: that have it, or had it and are not gone yet."""

    number: int
    restarts: int
    processes: list[WorkerProcess]


class Crew(Service):
    """:param count: how many workers there are to be.

    :param service: the supervisor's, whose pools, listeners and configuration are the workers' as well.
    :ivar workers: those that there are, by their numbers.
    """

    def __init__(self, service: LoadBalancerService, count: int) -> None:
        self.count = count
        self.board = Board()
        self.workers: dict[int, WorkerProcess] = {}
        self.restarts = dict.fromkeys(range(count), 0)
        self._service = service
        self._prepared: list[WorkerProcess] = []
        self.log_made: AccessLog | None = None  # for what is being prepared
        self.on_report: list[Callable[[WorkerProcess, Any], object]] = []
        self.on_end: list[Callable[[WorkerProcess, str], object]] = []

    @property
    def posts(self) -> list[Post]:
        """One for each worker that there is to be."""
        return [
            Post(number, self.restarts[number], [self.workers[number]] if number in self.workers else [])
            for number in range(self.count)
        ]

    def startService(self) -> None:
        """Start all workers."""
        super().startService()  # type: ignore[no-untyped-call]
        for number in range(self.count):
            self._start(number)

    def _start(self, number: int) -> None:
        self.workers[number] = worker = WorkerProcess(number, self, self._service.reactor)
        worker.start(self.board.fd)
        configuration = self._service.configuration
        assert configuration is not None
        listeners = self._service.listeners.clients
        beginning = self._begin(worker, configuration, listeners)
        beginning.addCallbacks(self._serves, self._cannot_begin, callbackArgs=(worker,), errbackArgs=(worker,))

    def _begin(self, worker: WorkerProcess, configuration: Configuration, listeners: Any) -> Deferred[Any]:
        self._give_sockets(worker, listeners)
        self._give_log(worker, self._service.access_log)
        return worker.call(
            Begin,
            number=worker.number,
            version=__version__,
            configuration=packed(worker_configuration(configuration, self.count)),
            state=self._state(),
        )

    def _give_sockets(self, worker: WorkerProcess, listeners: Any) -> None:
        for listener in listeners:
            descriptors = listener.port.descriptors()
            mine = descriptors[worker.number :: self.count] or [descriptors[worker.number % len(descriptors)]]
            for fd, family in mine:
                worker.call(Socket, description=listener.port.description, family=int(family), fd=fd).addErrback(_gone)

    def _give_log(self, worker: WorkerProcess, log: AccessLog | None) -> None:
        lent = None if log is None else log.lend()
        if log is not None and lent is not None:
            worker.call(Log, path=log.path, file=lent[0], fd=lent[1]).addErrback(_gone)

    def _state(self) -> dict[str, Any]:
        pools = [balancer.pool for balancer in self._service.site.balancers.values()]
        backends = {pool.name: [backend_text(member.backend) for member in pool.members.values()] for pool in pools}
        state = State(
            workers=self.count,
            random_key=self._service.site.router.random_key.hex(),
            backends=backends,
            calls=[call for pool in pools for call in snapshot(pool)],
        )
        return {"workers": state.workers, "random_key": state.random_key, "backends": state.backends, "calls": state.calls}

    def _serves(self, _: Any, worker: WorkerProcess) -> None:
        worker.serving = True
        _log.info("worker {number} serves, process {pid}", number=worker.number, pid=worker.pid)

    def _cannot_begin(self, failure: Failure, worker: WorkerProcess) -> None:
        _log.error("worker {number} cannot begin: {why}", number=worker.number, why=failure.getErrorMessage())
        worker.kill()

    # What workers say.

    def told(self, worker: WorkerProcess, calls: list[Any]) -> None:
        """What traffic has taught one of them is told to the supervisor's pools, and by these to all workers."""
        pools: Any = {name: balancer.pool for name, balancer in self._service.site.balancers.items()}
        for call in calls:
            tell(pools, call)

    def counted(self, worker: WorkerProcess, sheet: Any) -> None:
        """One of them reports for the last time."""
        for hook in self.on_report:
            hook(worker, sheet)

    def shared(self, worker: WorkerProcess, given: Any) -> None:
        """What a limit has given at one of them is told to the others."""

    def ended(self, worker: WorkerProcess, reason: str) -> None:
        """One of them has ended: another one takes its place."""
        if self.workers.get(worker.number) is not worker:
            return
        del self.workers[worker.number]
        for hook in self.on_end:
            hook(worker, reason)
        if self.running:
            _log.error("worker {number} has ended: {reason}", number=worker.number, reason=reason)
            self.restarts[worker.number] += 1
            self._start(worker.number)

    # What is said to all.

    def tell(self, call: list[Any]) -> None:
        """The control plane says this to a pool."""
        for worker in self.workers.values():
            worker.call(Tell, calls=[call])

    def prepare(self, configuration: Configuration, opening: Any) -> Deferred[None]:
        """Have all prepare to go by another configuration.

        :return: fails with a :class:`~lbproxy.errors.ConfigurationError` when one of them cannot; then none does.
        """
        data, state = packed(worker_configuration(configuration, self.count)), self._state()
        self._prepared = list(self.workers.values())
        asking = []
        for worker in self._prepared:
            self._give_sockets(worker, [one for one in opening.opened if one is not opening.admin])
            self._give_log(worker, self.log_made)
            asking.append(worker.call(Prepare, configuration=data, state=state))
        return gatherResults(asking, consumeErrors=True).addCallbacks(lambda _: None, self._not_prepared)

    def _not_prepared(self, failure: Failure) -> Any:
        self.abandon()
        cause: Failure = getattr(failure.value, "subFailure", failure)
        if cause.check(Refused):
            raise ConfigurationError(str(cause.value))
        return cause

    def commit(self) -> None:
        """All go by it from now on."""
        calls = self._state()["calls"]
        for worker in self._prepared:
            worker.call(Commit).addErrback(_gone)
            worker.call(Tell, calls=calls)
        self._prepared = []

    def abandon(self) -> None:
        """All stay with what they have."""
        for worker in self._prepared:
            worker.call(Abandon).addErrback(_gone)
        self._prepared = []

    def drain(self, *, last: bool = True, now: bool = False) -> Deferred[Any]:
        """Have all bring what runs to its end, and end."""
        self.running = 0
        return DeferredList([worker.call(Drain, last=last, now=now) for worker in self.workers.values()], consumeErrors=True)


def _gone(failure: Failure) -> None:
    """It has ended meanwhile, which is told elsewhere."""
