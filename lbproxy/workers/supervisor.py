"""The supervisor: a service that carries nothing itself, and has workers for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from secrets import token_bytes
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import LoopingCall

from ..balance.pool import Pool
from ..config.model import Configuration
from ..errors import ConfigurationError
from ..lending import record
from ..role import Role
from ..service import LoadBalancerService
from .calls import Sender
from .crew import Crew
from .sockets import Holding

__all__ = ["SupervisorRole", "supervised"]


class SupervisorRole(Role):
    """:ivar crew: the workers; there are none before the service has been made."""

    crew: Crew

    def __init__(self, count: int) -> None:
        self.random_key = token_bytes(32)
        self._count = count

    def endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        """One whose sockets are held for the workers."""
        endpoint: IStreamServerEndpoint = serverFromString(Holding(reactor, self._count, description), description)
        return endpoint

    def welcome(self, pool: Pool) -> None:
        """What this pool is told is told to all workers."""
        pool.followers.append(Sender(pool.name, self._send))

    def _send(self, call: list[Any]) -> None:
        if hasattr(self, "crew"):
            self.crew.tell(call)

    def agree(self, configuration: Configuration, opening: Any) -> Deferred[None]:
        """All workers must."""
        return self.crew.prepare(configuration, opening)

    def applied(self) -> None:
        """All workers go by it."""
        record().keep()
        self.crew.commit()

    def withdrawn(self) -> None:
        """None of them does."""
        self.crew.abandon()

    def certificates_read(self) -> None:
        """All workers read them too."""
        record().keep()
        self.crew.read_certificates()

    def drain(self, ordinary: Callable[[], Any]) -> Any:
        """That of the workers."""
        return _CrewDrain(self.crew)


class _CrewDrain:
    """The end of all workers' connections, and of the workers (in the place of :class:`lbproxy.drain.Drain`)."""

    def __init__(self, crew: Crew) -> None:
        self.over: Deferred[None] = Deferred()
        self._crew = crew
        self._looking = LoopingCall(self._look)

    def start(self) -> None:
        """Begin."""
        self._crew.drain()
        self._looking.start(0.05, now=False)

    def _look(self) -> None:
        if not self._crew.workers:
            self._looking.stop()
            self.over.callback(None)

    def end_now(self) -> None:
        """Wait no longer."""
        self._crew.drain(now=True)

    def cancel(self) -> None:
        """Serve again."""


def supervised(configuration: Configuration, *, reactor: Any, **more: Any) -> LoadBalancerService:
    """A service that has ``configuration.workers`` processes carry its exchanges. The arguments are those of
    :meth:`~lbproxy.service.LoadBalancerService.of`."""
    if not hasattr(os, "memfd_create"):
        raise ConfigurationError(f"workers: {configuration.workers} was given; several workers need Linux; allowed is 1")
    read = record()
    role = SupervisorRole(configuration.workers)
    service = LoadBalancerService.of(configuration, reactor=reactor, role=role, **more)
    read.keep()
    role.crew = Crew(service, configuration.workers)
    role.crew.setServiceParent(service)  # type: ignore[no-untyped-call]
    return service
