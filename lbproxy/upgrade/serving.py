"""Whether all of a program serves, and goes on to do so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["Pulse", "when_serving"]

#: Seconds within which one worker at least is to have answered.
LATELY = 10.0


def when_serving(service: LoadBalancerService) -> Deferred[None]:
    """Fires when a service that was started serves, with all its workers; fails when they cannot."""
    crew: Any = getattr(service.role, "crew", None)
    if crew is None:
        return succeed(None)
    ready: Deferred[None] = crew.when_ready()
    return ready


class Pulse:
    """Whether a service does its work. That its reactor turns is known from being asked; of its workers, one at least must have
    answered within the last :data:`LATELY` seconds.

    :param service: serves.
    """

    def __init__(self, service: LoadBalancerService) -> None:
        self._seconds = service.clock.seconds
        self._heard = self._seconds()
        crew: Any = getattr(service.role, "crew", None)
        self._alone = crew is None
        if not self._alone:
            crew.on_report.append(self._report)

    def _report(self, worker: Any, answer: Any) -> None:
        self._heard = self._seconds()

    def __call__(self) -> bool:
        return self._alone or self._seconds() - self._heard <= LATELY
