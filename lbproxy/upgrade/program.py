"""The program under twistd: begins with what the one before has handed on, and hands it on to the next."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..drain import FIRST_REQUEST
from ..systemd import Notifier
from .command import PidFile, append_only, next_command
from .predecessor import Predecessor
from .serving import SignsOfLife, when_serving
from .successor import NewProgram
from .upgrader import Successor, Upgrader, UpgradeResult

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["Program"]

_log = Logger()


class Program:
    """One generation.

    :param reactor: runs it.
    :param twistd: twistd's own options; None: there are none, and no upgrades.
    :param before: the program before this one; None: there was none.
    """

    def __init__(self, reactor: Any, twistd: Any, before: Predecessor | None = None) -> None:
        self.notifier = Notifier(os.environ, reactor)
        self.service: LoadBalancerService | None = None
        self._reactor = reactor
        self._twistd = twistd
        self._before = before
        self._directory = os.getcwd()  # before twistd goes to another one
        self._whole, self._own = list(sys.orig_argv), sys.argv[1:]
        self._ended: Deferred[Any] = Deferred()
        self.upgrader = None if twistd is None else Upgrader(reactor, self._launch, self._hand_over, PidFile(twistd))
        if self.upgrader is not None and before is not None:
            self.upgrader.not_yet = "it does not serve itself yet"

    def of(self, service: LoadBalancerService) -> None:
        """This service is what it is about; it does not run yet."""
        self.service = service
        service.upgrader = self.upgrader
        service.reloader.told = self.notifier.reloading
        if self._before is not None:
            self._before.restore(service)

    def begins(self) -> None:
        """This is the process that stays; ports are opened next."""
        self._share_log()
        if self._before is not None:
            self._before.begins()

    def started(self) -> None:
        """The service was started. Who wants to know is told when it serves."""
        if self.service is None:
            return
        if self._before is not None:
            self._before.listen(self._reactor, self._own_master)
        when_serving(self.service).addCallbacks(self._serves, self._does_not_serve)

    def _serves(self, _: object) -> None:
        if self.upgrader is not None:
            self.upgrader.not_yet = ""
        if self._before is None:
            self._own_master()
            return
        self._before.ready()
        if self.upgrader is not None:
            self.upgrader.last = UpgradeResult(self._reactor.seconds(), True, "", os.getpid())

    def _does_not_serve(self, failure: Failure) -> None:
        if self._before is not None:
            self._before.fails(failure.getErrorMessage())

    def _own_master(self) -> None:
        """There is no program before this one any more: it speaks for the service."""
        service = self.service
        if service is not None and not service.draining:
            self.notifier.lives = SignsOfLife(service)
            self.notifier.ready(f"serving {service.listeners.described()}")

    def _share_log(self) -> None:
        """Two programs may write to twistd's log file at once."""
        if self._twistd is not None:
            append_only(os.path.join(self._directory, self._twistd["logfile"] or "twistd.log"))

    # The next one.

    def read_anew(self, read: Callable[[], object]) -> None:
        """Have files read anew, by whoever serves when it is decided what becomes of an upgrade that is under way: the next
        program may have read them before they were changed.

        :param read: does it here.
        """

        def decided(upgraded: UpgradeResult | None) -> None:
            if upgraded is None or not upgraded.ok:
                read()
                return
            with suppress(ProcessLookupError):
                os.kill(upgraded.pid, signal.SIGHUP)

        waiting: Deferred[Any] = succeed(None) if self.upgrader is None else self.upgrader.when_decided()
        waiting.addCallback(decided)

    def upgrade(self) -> Deferred[UpgradeResult]:
        """Have the next one take over; fires when it is decided."""
        if self.upgrader is None:
            why = "this program was not started by twistd, or is a demo"
            _log.warn("not upgraded: {why}", why=why)
            return succeed(UpgradeResult(self._reactor.seconds(), False, why))
        return self.upgrader.upgrade()

    def _launch(self, upgrader: Upgrader) -> Successor:
        assert self.service is not None
        self._share_log()
        shed = os.geteuid() != 0
        directory = os.getcwd() if shed and self._twistd["chroot"] else self._directory
        command = next_command(self._whole, self._own, self._twistd, shed=shed)
        return NewProgram(upgrader, self.service).start(command, directory)

    def _hand_over(self, pid: int) -> None:
        """Accept nothing any more, at once, and end like on SIGTERM, when operators have their answers."""
        assert self.service is not None
        self.service.hand_over()
        if self.service.state_file is not None:
            self.service.state_file.stop()  # which is the next one's from now on
        self.notifier.main(pid)
        self._reactor.callLater(FIRST_REQUEST, self._end)

    def _end(self) -> None:
        with suppress(ReactorNotRunning):  # somebody has told it to stop meanwhile
            self._reactor.stop()

    # The end.

    def stop(self, end: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        """It was told to stop.

        :param end: brings the service to its end.
        :return: fires when that is done, and no next one is under way.
        """
        self.notifier.stopping("draining")
        if self._before is not None:
            self._before.fails("it was told to stop")  # which does not count any more when it has served
        called_off = succeed(None) if self.upgrader is None else self.upgrader.stop()
        return end().addBoth(lambda result: called_off.addCallback(lambda _: result))
