"""The old program's side: start the new one, wait for its word, hand over or go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .command import PidFile

__all__ = ["KILL_DELAY", "LIMIT", "Successor", "UpgradeResult", "Upgrader"]

#: Seconds that the new program has until it serves.
LIMIT = 60.0
#: Seconds from telling it to end to killing it.
KILL_DELAY = 5.0

_log = Logger()


@attrs.frozen
class UpgradeResult:
    """What came of an upgrade.

    :ivar when: seconds since the epoch.
    :ivar ok: whether the new program serves; otherwise the old one goes on.
    :ivar why: what was wrong, a line each.
    :ivar pid: the new program's process; 0 where there is none.
    """

    when: float
    ok: bool
    why: str = ""
    pid: int = 0


class Successor(Protocol):
    """The new program, as the old one knows it. It tells an :class:`Upgrader` what it says (:meth:`Upgrader.said`), and when it
    has ended (:meth:`Upgrader.lost`)."""

    def kill(self, name: str) -> None:
        """Send it a signal, if it still is there."""

    def leave(self) -> None:
        """All is its own from now on; it is told so."""


class Upgrader:
    """Upgrades the program, one attempt at a time.

    :param clock: gives the time, and runs what is to be done later.
    :param launch: starts the new program; raises an ``OSError`` or :class:`~lbproxy.errors.LBProxyError` when it cannot.
    :param hand_over: has this process, when the new one serves, accept nothing any more and end.
    :param pidfile: is put out of the new one's way.
    :ivar not_yet: why it is too early for an upgrade; empty: it is not.
    :ivar last: what came of the last attempt; None: there was none. In a program that has been started by an upgrade, of that.
    """

    def __init__(
        self,
        clock: IReactorTime,
        launch: Callable[[Upgrader], Successor],
        hand_over: Callable[[int], None],
        pidfile: PidFile,
    ) -> None:
        self.last: UpgradeResult | None = None
        self.not_yet = ""
        self._clock = clock
        self._launch = launch
        self._hand_over = hand_over
        self._pidfile = pidfile
        self._successor: Successor | None = None
        self._asked: list[Deferred[Any]] = []
        self._why = ""
        self._due: Any = None  # the call that is to end the attempt
        self._running = False
        self._refused = ""  # why there is to be no upgrade any more

    @property
    def running(self) -> bool:
        """Whether there is an attempt under way."""
        return self._running

    def upgrade(self) -> Deferred[UpgradeResult]:
        """Start the new program.

        :return: fires when it is decided: it serves, or this one goes on. It never fails. What cannot even be tried, for there is
            an attempt under way for one, is said at once, and not kept.
        """
        refused = "an upgrade is under way already" if self._running else self._refused or self.not_yet
        if refused:
            _log.warn("not upgraded: {why}", why=refused)
            return succeed(UpgradeResult(self._clock.seconds(), False, refused))
        asked: Deferred[UpgradeResult] = Deferred()
        self._asked.append(asked)
        self._begin()
        return asked

    def when_decided(self) -> Deferred[UpgradeResult | None]:
        """Fires with what comes of the attempt that is under way; with None, at once, when there is none."""
        if not self._running:
            return succeed(None)
        asked: Deferred[UpgradeResult | None] = Deferred()
        self._asked.append(asked)
        return asked

    def _begin(self) -> None:
        _log.info("upgrading: the new program is started")
        self._running = True
        self._why = ""
        try:
            self._pidfile.put_aside()
            self._successor = self._launch(self)
        except Exception as error:
            self._fail(f"the new program could not be started: {error}")
            return
        self._due = self._clock.callLater(LIMIT, self._too_late)

    # What the new program does.

    def said(self, message: dict[str, Any]) -> None:
        """The new program has said something."""
        if not self._running:
            return
        if "error" in message:
            self._why = str(message["error"]).strip()
        elif "ready" in message and not self._why:
            self._succeed(int(message["ready"]))

    def lost(self, how: str) -> None:
        """The new program has ended.

        :param how: in words.
        """
        if self._running:
            self._fail(self._why or f"the new program has not said why it does not serve: {how}")

    def _too_late(self) -> None:
        self._end_it(f"the new program did not serve within {LIMIT:g} s")

    def _end_it(self, why: str) -> None:
        """Have it end. It is over when it has: what it removes at its end, it is to have removed then."""
        assert self._successor is not None
        self._why = self._why or why
        if self._due.active():
            self._due.cancel()
        self._successor.kill("TERM")
        self._due = self._clock.callLater(KILL_DELAY, self._successor.kill, "KILL")

    # How it ends.

    def stop(self) -> Deferred[Any]:
        """There is to be no upgrade any more, since this program is told to end; what is under way is called off.

        :return: fires when that is done.
        """
        self._refused = self._refused or "it is stopping"
        if not self._running:
            return succeed(None)
        over: Deferred[Any] = Deferred()
        self._asked.append(over)
        if self._successor is not None:
            self._end_it("this program was told to stop meanwhile")
        return over

    def _fail(self, why: str) -> None:
        self._try("put back", self._pidfile.put_back)
        if self._refused:
            _log.info("not upgraded: {why}", why=why)
        else:
            _log.error("not upgraded, this program goes on:\n{why}", why=why)
        self._decide(UpgradeResult(self._clock.seconds(), False, why))

    def _succeed(self, pid: int) -> None:
        self._refused = f"process {pid} has taken over"
        self._try("left to the new program", self._pidfile.leave)
        _log.info("upgraded: process {pid} serves; this one ends with what it still has", pid=pid)
        self._hand_over(pid)
        if self._successor is not None:
            self._successor.leave()
        self._decide(UpgradeResult(self._clock.seconds(), True, "", pid))

    def _decide(self, result: UpgradeResult) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._running = False
        self._due = self._successor = None
        self.last = result
        asked, self._asked = self._asked, []
        for waiting in asked:
            waiting.callback(result)

    def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            _log.error("the pidfile could not be {what}: {error}", what=what, error=str(error))
