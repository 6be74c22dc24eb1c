"""Whether all of a program serves, and goes on to do so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["Pulse", "when_serving"]

#: Seconds within which one worker at least is to have answered.
LATELY = 10.0
#: Seconds between two looks at whether all workers serve.
LOOK = 0.05


def when_serving(service: LoadBalancerService) -> Deferred[None]:
    """Fires when a service that was started serves, with all its workers; fails when they cannot."""
    crew: Any = getattr(service.role, "crew", None)
    if crew is None:
        return succeed(None)
    if hasattr(crew, "when_ready"):
        ready: Deferred[None] = crew.when_ready()
        return ready
    return _Looking(crew, service.clock).over


class _Looking:
    """Looks until all workers of a crew serve."""

    def __init__(self, crew: Any, clock: Any) -> None:
        self.over: Deferred[None] = Deferred()
        self._crew = crew
        self._call = LoopingCall(self._look)
        self._call.clock = clock
        self._call.start(LOOK)

    def _look(self) -> None:
        workers = self._crew.workers.values()
        if len(workers) == self._crew.count and all(worker.serving for worker in workers):
            self._call.stop()
            self.over.callback(None)


class Pulse:
    """Whether a service does its work. That its reactor turns is known from being asked; of its workers, one at least must have
    answered within the last :data:`LATELY` seconds.

    :param service: serves.
    """

    def __init__(self, service: LoadBalancerService) -> None:
        self._seconds = service.clock.seconds
        self._heard = self._seconds()
        crew: Any = getattr(service.role, "crew", None)
        self._reports: Any = getattr(crew, "on_report", None)
        if self._reports is not None:
            self._reports.append(self._report)

    def _report(self, worker: Any, answer: Any) -> None:
        self._heard = self._seconds()

    def __call__(self) -> bool:
        return self._reports is None or self._seconds() - self._heard <= LATELY
