"""The lives of a supervisor's workers: one begins in each post, is replaced when it ends, and all end together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionClosed
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from ..cores import cores
from .backoff import AT_MOST
from .board import ROWS_EACH, Board
from .first_start import FirstStart
from .heartbeat import Heartbeat
from .messages import Drain, Refused
from .posts import Post, free_row
from .process import DRAINING, SERVING, STARTING, WorkerProcess

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["AT_ONCE", "BEGIN", "LATE", "Lives", "ended_meanwhile"]

#: Workers that begin at the same time, at most: the others' time to begin would pass while they wait for a core. Four at least,
#: so that one or two that hang keep no post empty.
AT_ONCE = max(4, 2 * cores())
#: Seconds in which a worker must have begun to serve. With 10,000 routes one takes 3 s of a core.
BEGIN = 60.0
#: Seconds that workers get beyond their drain, and all that they get when nothing is to be waited for.
LATE = 2.0

_AGAIN_AND_AGAIN = (
    "worker {number} has ended {times} times in a row as soon as it had begun. The last time it was this: {last}; the last line "
    "that it wrote: {line}. What is wrong stands in the log before that, marked [worker {number}]. If it is in what was changed "
    "last, a reload without it helps. It is tried again, in the end every {most:g} s"
)

_log = Logger()


class Lives(Service):
    """The base of :class:`~lbproxy.workers.crew.Crew`, which knows what is said to workers."""

    def __init__(self, service: LoadBalancerService, count: int) -> None:
        self.count = count
        self.board = Board()
        self.posts = [Post(number) for number in range(count)]
        self.last = True
        self.on_serve: list[Callable[[WorkerProcess], object]] = []
        self.on_end: list[Callable[[WorkerProcess, str], object]] = []
        self._service = service
        self._first = FirstStart(count)
        self._gone: list[Deferred[None]] = []
        self._to_start: list[Post] = []

    def begin(self, worker: WorkerProcess) -> Deferred[Any]:
        """Have it serve."""
        raise NotImplementedError

    def ask_report(self, worker: WorkerProcess) -> Deferred[Any]:
        """Ask it what it has counted."""
        raise NotImplementedError

    def told(self, worker: WorkerProcess, calls: list[Any]) -> None:
        """What traffic has taught it."""
        raise NotImplementedError

    def reported(self, worker: WorkerProcess, sheet: Any) -> None:
        """What it has counted."""
        raise NotImplementedError

    def shared(self, worker: WorkerProcess, given: Any) -> None:
        """What a limit has given at it."""
        raise NotImplementedError

    @property
    def workers(self) -> dict[int, WorkerProcess]:
        """Those that serve, or begin to, by their numbers."""
        return {post.number: post.worker for post in self.posts if post.worker is not None}

    def when_ready(self) -> Deferred[None]:
        """Fires when all workers serve for the first time; fails, with an :class:`~lbproxy.errors.LBProxyError`, when they
        cannot. Then none is left."""
        return self._first.wait()

    def when_gone(self) -> Deferred[None]:
        """Fires when no process is left."""
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self._look_gone()
        return gone

    def startService(self) -> None:
        """Start all workers."""
        super().startService()  # type: ignore[no-untyped-call]
        for post in self.posts:
            self._start(post)

    def stopService(self) -> None:
        """Leave none behind. They have ended before, in order, as a rule."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._end_all()

    def _end_all(self) -> None:
        self.running = 0
        self._to_start.clear()
        for post in self.posts:
            post.call_off()
            for worker in post.processes:
                worker.kill()

    def _start(self, post: Post) -> None:
        """As soon as few enough others begin."""
        post.call_off()
        if post not in self._to_start:
            self._to_start.append(post)
        self._start_those_that_may()

    def _start_those_that_may(self) -> None:
        while self._to_start and sum(one.state == STARTING for one in self.workers.values()) < AT_ONCE:
            self._fill(self._to_start.pop(0))

    def _fill(self, post: Post) -> None:
        row = free_row(self.posts, post.number, self.count, self.count * ROWS_EACH)
        if row is None:
            return  # so many are leaving that one of them must have ended first
        post.worker = worker = WorkerProcess(post.number, self, self._service.reactor, self._service.clock, row)
        try:
            worker.start(self.board.fd)
        except OSError as error:
            self._service.clock.callLater(0, worker.not_started, str(error))
            return
        beginning = maybeDeferred(self.begin, worker)
        worker.answered_within(BEGIN, beginning, "begun to serve")
        beginning.addCallbacks(self._serves, self._cannot_begin, callbackArgs=(worker,), errbackArgs=(worker,))

    def start_waiting(self) -> None:
        """Try again now where it is to be tried later."""
        for post in self.posts:
            if post.waiting is not None:
                self._start(post)

    def _serves(self, _: Any, worker: WorkerProcess) -> None:
        worker.served = self._service.clock.seconds()
        if worker.state == DRAINING:
            return  # it was told to end before it had begun
        worker.state = SERVING
        worker.heartbeat = Heartbeat(
            lambda: self.ask_report(worker),
            lambda: worker.abort(f"has not answered for {self._silence():g} s"),
            self._silence,
            self._service.clock,
        )
        worker.heartbeat.start()
        for hook in self.on_serve:
            hook(worker)
        self._first.serves(worker.number)
        self._start_those_that_may()

    def _silence(self) -> float:
        """Seconds without an answer that are too many."""
        configuration = self._service.configuration
        assert configuration is not None
        return 2.0 * configuration.worker_heartbeat

    def _cannot_begin(self, failure: Failure, worker: WorkerProcess) -> None:
        if failure.check(ConnectionClosed):
            return  # it has ended, which is told elsewhere
        why = failure.getErrorMessage()
        if not failure.check(Refused):
            _log.failure("worker {number} cannot begin", failure, number=worker.number)
        elif self._first.over:
            _log.error("worker {number} cannot begin: {why}", number=worker.number, why=why)
        worker.kill()
        self._first_fails(why)

    def _first_fails(self, why: str) -> None:
        if self.running and not self._first.over:
            self._end_all()
            self._first.fails(why)

    def leaves(self, worker: WorkerProcess) -> None:
        """One of them brings to its end what runs: its successor begins at once."""
        post = self.posts[worker.number]
        if post.step_down(worker):
            worker.end_within(self._limit())
            if self.running:
                _log.info("worker {number}, process {pid}, leaves; another one begins", number=worker.number, pid=worker.pid)
                post.last_end = "left, as it was told"
                post.restarts += 1
                self._start(post)

    def ended(self, worker: WorkerProcess, reason: str) -> None:
        """One of them has ended: another one takes its place."""
        for hook in self.on_end:
            hook(worker, reason)
        self.board.clear(worker.row)
        post = self.posts[worker.number]
        if worker in post.leaving:
            post.leaving.remove(worker)
            if self.running and post.worker is None and post.waiting is None:
                self._start(post)
        elif post.worker is worker:
            post.worker = None
            post.last_end = reason
            if self.running:
                self._replace(post, worker)
        self._start_those_that_may()
        self._look_gone()

    def _replace(self, post: Post, worker: WorkerProcess) -> None:
        clock = self._service.clock
        delay = post.backoff.died(clock.seconds() - worker.served if worker.served else 0.0)
        self._say_died(post, worker, delay)
        if post.backoff.to_be_told and not self._first.over:
            self._first_fails(f"workers end as soon as they begin: {post.last_end}; the last line was: {worker.log.last}")
            return
        post.restarts += 1
        if not delay:
            self._start(post)
            return
        post.waiting = clock.callLater(delay, self._start, post)

    def _say_died(self, post: Post, worker: WorkerProcess, delay: float) -> None:
        if worker.served and not delay:
            return  # that it is down, why, and that another one is up are changes of state, which the log has
        when = f"in {delay:g} s" if delay else "at once"
        level = LogLevel.warn if delay else LogLevel.error
        said = "worker {number} has ended: {why}; another one begins {when}"
        _log.emit(level, said, number=post.number, why=post.last_end, when=when)
        if post.backoff.to_be_told:
            last, line = post.last_end, worker.log.last or "none"
            _log.error(_AGAIN_AND_AGAIN, number=post.number, times=post.backoff.early, last=last, line=line, most=AT_MOST)

    def _limit(self) -> float:
        settings = self._service.site.settings
        return settings.drain_delay + settings.drain + LATE

    def _look_gone(self) -> None:
        if not any(post.processes for post in self.posts):
            gone, self._gone = self._gone, []
            for waiting in gone:
                waiting.callback(None)

    def drain(self, *, now: bool = False) -> None:
        """Have all bring to its end what runs, and end; none is replaced.

        :param now: nothing is waited for.
        """
        self.running = 0
        self._to_start.clear()
        for post in self.posts:
            post.call_off()
            if post.worker is not None:
                post.step_down(post.worker)
            for worker in post.leaving:
                worker.call(Drain, last=self.last, now=now).addErrback(ended_meanwhile)
                worker.end_within(LATE if now else self._limit())
                worker.begin_within(LATE)


def ended_meanwhile(failure: Failure) -> None:
    """It has ended meanwhile, which is told elsewhere."""
