"""A worker as its supervisor knows it: a process, and the link to it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from socket import AF_UNIX
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost, ProcessExitedAlready
from twisted.internet.protocol import Factory, ProcessProtocol, connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from .boot import BOARD_FD, LINK_FD
from .heartbeat import Heartbeat
from .link import Link
from .logs import LogReader
from .messages import Farewell, Leaving, Share, Tell
from .sockets import connected_pair

__all__ = ["DRAINING", "SERVING", "STARTING", "WorkerProcess"]

STARTING, SERVING, DRAINING = "starting", "serving", "draining"

#: Seconds between the signal for which a worker writes where it hangs, and the one that ends it in any case.
ABORT = 1.0
#: Seconds after which a process that has ended is done with though somebody still has its standard error, and after which one
#: whose link is lost has not ended, after all.
GRACE = 1.0

_BOOT = "import sys; sys.path[:] = {path!r}; from lbproxy.workers.boot import main; main({reactor!r})"

_log = Logger()


class Overseer(Protocol):
    """Who looks after workers."""

    def told(self, worker: WorkerProcess, calls: list[Any]) -> None:
        """A worker has learnt something from traffic."""

    def shared(self, worker: WorkerProcess, given: Any) -> None:
        """A limit that is the machine's has given something."""

    def reported(self, worker: WorkerProcess, sheet: Any) -> None:
        """A worker has counted this."""

    def leaves(self, worker: WorkerProcess) -> None:
        """A worker accepts nobody any more, and will end."""

    def ended(self, worker: WorkerProcess, reason: str) -> None:
        """A worker's process has ended."""


class _SupervisorLink(Link):
    """The supervisor's end."""

    def __init__(self, worker: WorkerProcess) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._worker = worker

    @Tell.responder
    def tell(self, calls: list[Any]) -> dict[str, Any]:
        self._worker.overseer.told(self._worker, calls)
        return {}

    @Share.responder
    def share(self, given: Any) -> dict[str, Any]:
        self._worker.overseer.shared(self._worker, given)
        return {}

    @Leaving.responder
    def leaving(self) -> dict[str, Any]:
        self._worker.overseer.leaves(self._worker)
        return {}

    @Farewell.responder
    def farewell(self, sheet: Any) -> dict[str, Any]:
        self._worker.overseer.reported(self._worker, sheet)
        return {}

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """As a rule it has ended, which is about to be known."""
        super().connectionLost(reason)
        self._worker.link_lost()


class WorkerProcess(ProcessProtocol):
    """:param number: from 0 on; its successor has the same.

    :param row: its own on the board. A successor that begins while it drains has another one.
    :ivar pid: 0 when it has none any more.
    :ivar state: :data:`STARTING`, :data:`SERVING` or :data:`DRAINING`.
    :ivar began: when it was started, and *served* since when it has served, by the clock; 0: it does not yet.
    :ivar heartbeat: notices that it is silent, once it serves.
    :ivar log: what it writes.
    """

    def __init__(self, number: int, overseer: Overseer, reactor: Any, clock: Any = None, row: int = 0) -> None:
        self.number = number
        self.row = row
        self.overseer = overseer
        self.pid = 0
        self.state = STARTING
        self.log = LogReader(f"worker {number}")
        self._reactor = reactor
        self._clock = reactor if clock is None else clock
        self.began: float = self._clock.seconds()
        self.served = 0.0
        self.heartbeat: Heartbeat | None = None
        self._link: Any = None
        self._killed_as = ""
        self._calls: list[Any] = []  # delayed ones, of no use when it has ended
        self._ended = False

    @property
    def serving(self) -> bool:
        """Whether it accepts connections."""
        return self.state == SERVING

    def start(self, board: int) -> None:
        """Start the process.

        :param board: the descriptor of the board.
        :raises OSError: the system has no room for it.
        """
        ours, theirs = connected_pair()
        fds = [ours, theirs]
        try:
            fds.append(nothing := os.open(os.devnull, os.O_RDONLY))
            factory = Factory.forProtocol(lambda: _SupervisorLink(self))
            factory.noisy = False
            self._link = self._reactor.adoptStreamConnection(ours, AF_UNIX, factory).protocol
            self.pid = self._spawn({0: nothing, 1: 1, 2: "r", LINK_FD: theirs, BOARD_FD: board}).pid
        finally:
            for fd in fds:
                os.close(fd)

    def _spawn(self, fds: dict[int, int | str]) -> Any:
        program = _BOOT.format(path=sys.path, reactor=type(self._reactor).__module__)
        return self._reactor.spawnProcess(self, sys.executable, [sys.executable, "-c", program], env=None, childFDs=fds)

    def call(self, command: type[amp.Command], **arguments: Any) -> Deferred[dict[str, Any]]:
        """Say something to it. Fails when it has ended, or ends before it has answered."""
        if self._link is None:
            return fail(ConnectionLost("it was not started")) if command.requiresAnswer else succeed({})
        answer: Deferred[dict[str, Any]] = self._link.callRemote(command, **arguments)
        return answer

    def answered_within(self, seconds: float, answer: Deferred[Any], what: str) -> None:
        """Have it killed if it takes longer."""
        late = self._later(seconds, self.abort, f"has not {what} within {seconds:g} s")

        def came(result: Any) -> Any:
            if late.active():
                late.cancel()
            return result

        answer.addBoth(came)

    def abort(self, why: str) -> None:
        """It hangs: have it say in the log where, and end it.

        :param why: what it has done, or has not: for the log, and for who asks how it ended.
        """
        if self.pid:
            self._killed_as = f", as it {why}"
            _log.error("worker {number}, process {pid}, {why}: it is killed", number=self.number, pid=self.pid, why=why)
            self.kill(signal.SIGABRT)
            self._later(ABORT, self.kill)

    def end_within(self, seconds: float) -> None:
        """Kill it if it has not ended by then."""
        self._later(seconds, self._too_late, seconds)

    def begin_within(self, seconds: float) -> None:
        """Kill it if it does not even serve by then: it may hang, and has nothing to bring to its end."""
        if not self.served:
            self._later(seconds, lambda: None if self.served else self._too_late(seconds))

    def _too_late(self, seconds: float) -> None:
        _log.warn("worker {number} has not ended within {seconds:g} s: it is killed", number=self.number, seconds=seconds)
        self._killed_as = f", as it has not ended within {seconds:g} s"
        self.kill()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, if it still is there."""
        if self.pid and self.transport is not None:
            try:
                self.transport.signalProcess(number)
            except ProcessExitedAlready:
                pass

    def link_lost(self) -> None:
        """Nothing can be said to it any more."""
        if not self._ended:
            self._later(GRACE, self.overseer.leaves, self)

    def _later(self, seconds: float, what: Callable[..., object], *arguments: object) -> Any:
        self._calls = [call for call in self._calls if call.active()]
        self._calls.append(self._clock.callLater(seconds, what, *arguments))
        return self._calls[-1]

    # What twisted tells of the process.

    def errReceived(self, data: bytes) -> None:
        """A part of its log."""
        self.log.feed(data)

    def processExited(self, reason: Failure) -> None:
        """Its last words may be on their way; a process that it started could have its standard error for ever."""
        self.pid = 0
        self._later(GRACE, self._end, reason)

    def processEnded(self, reason: Failure) -> None:
        """All is there that it wrote."""
        self._end(reason)

    def not_started(self, why: str) -> None:
        """There is no process, after all."""
        self._over(f"it could not be started: {why}")

    def _end(self, reason: Failure) -> None:
        self.log.end()
        self._over(_in_words(reason.value) + self._killed_as)

    def _over(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        self.pid = 0
        if self.heartbeat is not None:
            self.heartbeat.stop()
        for call in self._calls:
            if call.active():
                call.cancel()
        if self._link is not None and self._link.transport is not None:
            self._link.transport.abortConnection()
        self.overseer.ended(self, reason)


def _in_words(end: Any) -> str:
    """How a process has ended."""
    number, status = getattr(end, "signal", None), getattr(end, "exitCode", None)
    if number is not None:
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:
            return f"killed by signal {number}"
    return "ended in order" if status == 0 else f"ended with status {status}"
