"""Whether all workers have begun, the first time."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from ..errors import LBProxyError

__all__ = ["FirstStart"]


class FirstStart:
    """:param count: how many workers there are to be."""

    def __init__(self, count: int) -> None:
        self._missing = set(range(count))
        self._failure: LBProxyError | None = None
        self._waiting: list[Deferred[None]] = []

    @property
    def over(self) -> bool:
        """Whether it has succeeded or failed."""
        return not self._missing or self._failure is not None

    def wait(self) -> Deferred[None]:
        """Fires when all have begun; fails with an :class:`~lbproxy.errors.LBProxyError` when it is clear that they cannot."""
        if self._failure is not None:
            return fail(self._failure)
        if not self._missing:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def serves(self, number: int) -> None:
        """One of them has begun."""
        self._missing.discard(number)
        if not self._missing:
            for waiting in self._taken():
                waiting.callback(None)

    def fails(self, why: str) -> None:
        """They cannot."""
        self._failure = LBProxyError(why)
        for waiting in self._taken():
            waiting.errback(self._failure)

    def _taken(self) -> list[Deferred[None]]:
        waiting, self._waiting = self._waiting, []
        return waiting
