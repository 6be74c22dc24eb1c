"""One check of one backend: it ends once, in time, whatever the probe does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectBindError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.reflect import safe_repr, safe_str

from ..balance.state import BackendState

__all__ = ["LONGEST_EVIDENCE", "Check", "call"]

#: Characters of evidence that are kept: who answers a probe may say anything.
LONGEST_EVIDENCE = 300

_log = Logger()


def call(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """Call a function, whatever it does: it may raise, or give a plain value, a Deferred, a coroutine, an asyncio future or any
    other awaitable."""
    return maybeDeferred(function, *arguments).addCallback(_wait_for)


def _wait_for(value: Any) -> Any:
    if not isawaitable(value):
        return value
    if hasattr(value, "add_done_callback"):
        return Deferred.fromFuture(value)  # type: ignore[arg-type]
    return Deferred.fromCoroutine(_awaited(value))


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


class Check:
    """A check that runs.

    :param member: whom it is about.
    :param found: is called once, unless the check is cancelled: with the check, with True (well), False or None (nothing was
        found out, for want of a socket here), and with the evidence.
    :ivar began: the clock's seconds.
    :ivar ejections: how often traffic had taken the member out when the check began.
    """

    __slots__ = ("_checking", "_found", "_timer", "began", "ejections", "member", "over")

    def __init__(self, member: BackendState, found: Callable[[Check, bool | None, str], None]) -> None:
        self.member = member
        self.began = 0.0
        self.ejections = member.ejections
        self.over = False
        self._found = found
        self._checking: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None

    def begin(self, probe: Any, clock: IReactorTime, timeout: float) -> None:
        """Ask the probe, and give it up after so many seconds."""
        self.began = clock.seconds()
        self._checking = call(probe.check, self.member.backend)
        self._checking.addCallbacks(self._well, self._not_well)
        self._checking.addErrback(lambda failure: _log.failure("a probe's finding could not be told", failure))
        if self.over:
            self._give_up()  # it may have been cancelled by the probe itself, before there was something to give up
        else:
            self._timer = clock.callLater(timeout, self._late, timeout)

    def cancel(self) -> None:
        """Give it up; nothing is found."""
        self._end()
        self._give_up()

    def _end(self) -> None:
        self.over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _give_up(self) -> None:
        if self._checking is not None:
            try:
                self._checking.cancel()
            except Exception:
                _log.failure("the probe of {address} could not be cancelled", address=self.member.address)

    def _late(self, timeout: float) -> None:
        # A probe may have its own way to be cancelled, or none: its time is over all the same.
        self.cancel()
        self._found(self, False, f"probe: no answer within {timeout:g} s")

    def _well(self, evidence: object) -> None:
        self._tell(True, safe_str(evidence))

    def _not_well(self, failure: Failure) -> None:
        if failure.check(ConnectBindError):
            self._tell(None, failure.getErrorMessage())
        else:
            self._tell(False, f"probe: {failure.getErrorMessage() or safe_repr(failure.value)}")

    def _tell(self, up: bool | None, evidence: str) -> None:
        if not self.over:
            self._end()
            self._found(self, up, _one_line(evidence))


def _one_line(text: str) -> str:
    """Fit for a log, whoever wrote it."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * LONGEST_EVIDENCE])
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_EVIDENCE else line[: LONGEST_EVIDENCE - 1] + "…"
