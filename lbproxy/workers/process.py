"""A worker as its supervisor knows it: a process, and the link to it."""

from __future__ import annotations

import os
import sys
from socket import AF_UNIX
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from .boot import BOARD_FD, LINK_FD
from .messages import Counted, Share, Tell
from .sockets import connected_pair

__all__ = ["WorkerProcess"]

_BOOT = "import sys; sys.path[:] = {path!r}; from lbproxy.workers.boot import main; main({reactor!r})"

_log = Logger()


class Overseer(Protocol):
    """Who looks after workers."""

    def told(self, worker: WorkerProcess, calls: list[Any]) -> None:
        """A worker has learnt something from traffic."""

    def counted(self, worker: WorkerProcess, sheet: Any) -> None:
        """A worker that is about to end in order has counted this since its last report."""

    def shared(self, worker: WorkerProcess, given: Any) -> None:
        """A limit that is the machine's has given something."""

    def ended(self, worker: WorkerProcess, reason: str) -> None:
        """A worker's process has ended."""


class _Link(amp.AMP):
    """The supervisor's end."""

    def __init__(self, worker: WorkerProcess) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._worker = worker

    @Tell.responder
    def tell(self, calls: list[Any]) -> dict[str, Any]:
        self._worker.overseer.told(self._worker, calls)
        return {}

    @Counted.responder
    def counted(self, sheet: Any) -> dict[str, Any]:
        self._worker.overseer.counted(self._worker, sheet)
        return {}

    @Share.responder
    def share(self, given: Any) -> dict[str, Any]:
        self._worker.overseer.shared(self._worker, given)
        return {}


class WorkerProcess(ProcessProtocol):
    """:param number: from 0 on; its successor has the same.

    :ivar pid: 0 when it has none any more.
    :ivar serving: whether it listens.
    """

    def __init__(self, number: int, overseer: Overseer, reactor: Any) -> None:
        self.number = self.row = number
        self.overseer = overseer
        self.pid = 0
        self.serving = False
        self.began: float = reactor.seconds()
        self._reactor = reactor
        self._link: Any = None

    @property
    def state(self) -> str:
        """In a word."""
        return "serving" if self.serving else "starting"

    def start(self, board: int) -> None:
        """Start the process.

        :param board: the descriptor of the board.
        """
        ours, theirs = connected_pair()
        try:
            program = _BOOT.format(path=sys.path, reactor=type(self._reactor).__module__)
            fds: dict[int, int | str] = {0: 0, 1: 1, 2: "r", LINK_FD: theirs, BOARD_FD: board}
            process = self._reactor.spawnProcess(self, sys.executable, [sys.executable, "-c", program], env=None, childFDs=fds)
            self.pid = process.pid
        finally:
            os.close(theirs)
        factory = Factory.forProtocol(lambda: _Link(self))
        transport = self._reactor.adoptStreamConnection(ours, AF_UNIX, factory)
        os.close(ours)
        self._link = transport.protocol

    def call(self, command: type[amp.Command], **arguments: Any) -> Deferred[dict[str, Any]]:
        """Say something to it. Fails when it has ended, or ends before it has answered."""
        answer: Deferred[dict[str, Any]] = self._link.callRemote(command, **arguments)
        return answer

    def kill(self, name: str = "KILL") -> None:
        """Send it a signal, if it still is there."""
        if self.pid and self.transport is not None:
            self.transport.signalProcess(name)

    # What twisted tells of the process.

    def errReceived(self, data: bytes) -> None:
        """A part of its log."""
        for line in data.decode("utf-8", "replace").splitlines():
            _log.info("{line}", line=line, log_system=f"worker {self.number}")

    def processEnded(self, reason: Failure) -> None:
        self.pid = 0
        self.serving = False
        self.overseer.ended(self, reason.getErrorMessage())

