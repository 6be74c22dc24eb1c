"""The end of a supervisor's workers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from .crew import Crew

__all__ = ["CrewDrain"]

_log = Logger()


class CrewDrain:
    """Has all workers bring to its end what runs, and end; in the place of :class:`lbproxy.drain.Drain`, whose rules each of
    them follows.

    The supervisor's own copies of the sockets are closed when the workers close theirs, so that who connects then is refused.

    :ivar over: fires when no worker is left, or with :meth:`cancel`.
    """

    def __init__(self, crew: Crew, service: Any) -> None:
        self.over: Deferred[None] = Deferred()
        self._crew = crew
        self._service = service
        self._delaying: Any = None
        self._closed: Deferred[None] = Deferred()

    def start(self) -> None:
        """Begin."""
        delay = 0.0 if self._service.role.handed_over else self._service.site.settings.drain_delay
        _log.info("draining: {count} workers finish what runs", count=len(self._crew.workers))
        if delay:
            self._delaying = self._service.clock.callLater(delay, self._close)
        else:
            self._close()
        self._crew.drain()
        DeferredList([self._closed, self._crew.when_gone()]).addCallback(self._finish)

    def _close(self) -> None:
        self._delaying = None
        self._service.listeners.close_clients().addBoth(lambda _: None).chainDeferred(self._closed)

    def end_now(self) -> None:
        """Wait no longer."""
        if self._delaying is not None:
            self._delaying.cancel()
            self._close()
        self._crew.drain(now=True)

    def cancel(self) -> None:
        """Serve again: other workers do. Those that were told to end do that."""
        if self._delaying is not None:
            self._delaying.cancel()
            self._delaying = None
        self._finish(None)

    def _finish(self, _: object) -> None:
        if not self.over.called:
            self.over.callback(None)
