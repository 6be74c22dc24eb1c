"""A worker: it carries exchanges, and goes by what its supervisor says."""

from __future__ import annotations

import faulthandler
import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import __version__
from ..errors import LBProxyError
from ..observe.access_log import AccessLog
from ..service import LoadBalancerService
from .board import Board
from .calls import tell
from .counting import Counting, Ledger
from .given import Waiting
from .link import Link
from .loans import take_loans
from .messages import (
    Abandon,
    Begin,
    Certificates,
    Commit,
    Drain,
    Farewell,
    Leaving,
    Log,
    Prepare,
    Refused,
    Report,
    Share,
    Socket,
    Tell,
)
from .sharing import Shares
from .state import State, unpacked
from .worker_role import WorkerRole

__all__ = ["Worker"]

_log = Logger()


class Worker(Link):
    """The worker's end of the link."""

    role: WorkerRole
    service: LoadBalancerService

    def __init__(self, reactor: Any, board: Board) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._board = board
        self.shares = Shares(reactor, self._filters, self._share)
        self._sockets = Waiting()
        self._log: tuple[str, str, int] | None = None
        self._preparing: Deferred[dict[str, Any]] | None = None
        self._refused = ""  # why what was decided could not be gone by
        self._running = self._ending = self._over = False

    def sockets_for(self, description: str) -> list[tuple[int, int]]:
        """Those that were given for the first listener of this description that has not got them."""
        return self._sockets.take(description)

    @Socket.responder
    def socket(self, listener: int, description: str, family: int, fd: int) -> dict[str, Any]:
        self._sockets.add(listener, description, fd, family)
        return {}

    @Log.responder
    def log(self, path: str, file: str, fd: int) -> dict[str, Any]:
        if self._log is not None:
            os.close(self._log[2])
        self._log = path, file, fd
        return {}

    def share_log(self, log: AccessLog) -> None:
        """Write to an access log as one of several, to the one that was given if it cannot be opened here."""
        file, fd = log.path, -1
        if self._log is not None and self._log[0] == log.path:
            (_, file, fd), self._log = self._log, None
        log.share(file, fd)

    @Begin.responder
    def begin(self, number: int, row: int, version: str, configuration: bytes, state: State) -> dict[str, Any]:
        if version != __version__:
            raise Refused(f"lbproxy {__version__} is installed now, and {version} runs; upgrade it (SIGUSR2)")
        take_loans(state["files"])
        try:
            ledger = Ledger(self._board.row(row))
            self.role = WorkerRole(self, row, self._board, state, ledger)
            self.service = LoadBalancerService.of(
                unpacked(configuration), reactor=self._reactor, role=self.role, observers=(ledger,)
            )
            self._counting = Counting(self.service, ledger)
            self._hear(state["calls"])
            self.service.startService()
            self.shares.look()
        except LBProxyError as error:
            raise Refused(str(error)) from error
        except Exception as error:
            _log.failure("a mistake, of lbproxy or of a plugin")
            raise Refused(f"{type(error).__name__}: {error}; the log has the traceback") from error
        self._running = True
        faulthandler.cancel_dump_traceback_later()
        return {}

    @Tell.responder
    def tell(self, calls: list[Any]) -> dict[str, Any]:
        if self._running:
            self._hear(calls)
        return {}

    def _hear(self, calls: list[Any]) -> None:
        pools: Any = {name: balancer.pool for name, balancer in self.service.site.balancers.items()}
        for call in calls:
            if call[1] == "slots":
                self.role.limits.told(call[0], call[2])
            else:
                tell(pools, call)

    def learnt(self, call: list[Any]) -> None:
        """Traffic has taught something."""
        self.callRemote(Tell, calls=[call])  # type: ignore[no-untyped-call]

    @Prepare.responder
    def prepare(self, configuration: bytes, state: State) -> Deferred[dict[str, Any]] | dict[str, Any]:
        if not self._running:
            return {}  # it could not begin, and is about to be replaced
        take_loans(state["files"])
        self.role.members.backends = state["backends"]
        answer: Deferred[dict[str, Any]] = Deferred()
        self._preparing, self._refused = answer, ""
        self.service.reload(unpacked(configuration)).addCallback(self._reloaded)
        return answer

    def prepared(self) -> None:
        """All is prepared."""
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.callback({})

    def _reloaded(self, result: Any) -> None:
        self._sockets.close()
        preparing, self._preparing = self._preparing, None
        self._refused = "\n".join(result.errors)
        if preparing is not None:
            preparing.errback(Refused(self._refused))

    @Commit.responder
    def commit(self) -> dict[str, Any]:
        if self._running:
            self.role.decide(None)
        if self._refused:
            raise Refused(self._refused)
        return {}

    @Abandon.responder
    def abandon(self) -> dict[str, Any]:
        if self._running:
            self.role.decide(LBProxyError("it is not gone by, for not all processes can"))
        return {}

    @Certificates.responder
    def certificates(self, files: Any) -> dict[str, Any]:
        take_loans(files)
        if self._running:
            self.service.reload_certificates()
        return {}

    @Report.responder
    def report(self) -> dict[str, Any]:
        return {"sheet": self._sheet()}

    def _sheet(self) -> Any:
        """What was counted since the last time."""
        return self._counting.sheet() if self._running else {}

    @Share.responder
    def share(self, given: Any) -> dict[str, Any]:
        self.shares.hear(given)
        return {}

    def _share(self, given: Any) -> None:
        self.callRemote(Share, given=given)  # type: ignore[no-untyped-call]

    def _filters(self) -> list[tuple[str, Any]]:
        return [(one.name, one.filter) for one in self.service.site.filters]

    # Its end.

    @Drain.responder
    def drain(self, last: bool, now: bool) -> dict[str, Any]:
        self._end(now, last=last)
        return {}

    def leave(self) -> None:
        """It was told by a signal to end: another one takes its place while it drains."""
        if not self._ending and self.transport is not None:
            self.callRemote(Leaving)  # type: ignore[no-untyped-call]
        self._end(last=False)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The supervisor is gone: bring what runs to its end, and end."""
        super().connectionLost(reason)
        self.shares.stop()
        self._end()

    def _end(self, now: bool = False, *, last: bool = True) -> None:
        """:param now: nothing is waited for.

        :param last: nobody else goes on with the sockets.
        """
        if not self._running:
            self._stop()
            return
        if not self._ending:
            self._ending = True
            if not last:
                self.service.hand_over()
            self.service.stopService().addBoth(lambda _: self._say_farewell())
        if now:
            self.service.stopService()

    def _say_farewell(self) -> None:
        if self.transport is None:
            self._stop()
        else:
            self.callRemote(Farewell, sheet=self._sheet()).addBoth(lambda _: self._stop())  # type: ignore[no-untyped-call]

    def _stop(self) -> None:
        if not self._over and self._reactor.running:
            self._over = True
            self._reactor.stop()
