"""Whether all of a program serves, and goes on to do so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from ..workers.supervisor import SupervisorRole

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["LATELY", "SignsOfLife", "when_serving"]

#: Seconds within which one worker at least is to have answered.
LATELY = 10.0


def when_serving(service: LoadBalancerService) -> Deferred[None]:
    """Fires when a service that was started serves, with all its workers; fails when they cannot."""
    role = service.role
    return role.crew.when_ready() if isinstance(role, SupervisorRole) else succeed(None)


class SignsOfLife:
    """Whether a service does its work. That its reactor turns is known from being asked; of its workers, one at least must have
    answered within the last :data:`LATELY` seconds.

    :param service: serves.
    """

    def __init__(self, service: LoadBalancerService) -> None:
        self._seconds = service.clock.seconds
        self._heard = self._seconds()
        role = service.role
        self._alone = not isinstance(role, SupervisorRole)
        if isinstance(role, SupervisorRole):
            role.crew.on_report.append(self._hear)

    def _hear(self, worker: object, sheet: object) -> None:
        self._heard = self._seconds()

    def __call__(self) -> bool:
        return self._alone or self._seconds() - self._heard <= LATELY
