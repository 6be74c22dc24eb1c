"""The supervisor: a service that carries nothing itself, and has workers for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..admission import ConnectionLimit
from ..balance.backend import Backend
from ..config.model import Configuration
from ..drain import Draining
from ..errors import ConfigurationError
from ..lending import record
from ..observe.access_log import AccessLog
from ..observe.processes import Workers
from ..proxy.balancer import Balancer
from ..role import Role
from ..service import LoadBalancerService
from .calls import Sender
from .crew import Crew
from .ending import CrewDrain
from .reports import Reports
from .slots import SlotTeller
from .sockets import held_endpoint

__all__ = ["SupervisorRole", "supervised"]

_log = Logger()


class SupervisorRole(Role):
    """:ivar crew: the workers; there are none before the service has been made.

    :ivar service: whose role it is.
    :ivar reports: what they count.
    """

    crew: Crew
    service: LoadBalancerService
    reports: Reports

    def __init__(self, count: int) -> None:
        self._count = count
        self.by = f" by {count} workers"
        self.make_limit = partial(ConnectionLimit, processes=count)
        self._log_made: AccessLog | None = None

    def endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        """One whose sockets are held for the workers."""
        if self.inherited is None:
            return held_endpoint(reactor, description, self._count)
        inherited: IStreamServerEndpoint = self.inherited.endpoint(reactor, description, hold=True, count=self._count)
        return inherited

    def welcome(self, balancer: Balancer) -> None:
        """What becomes of its pool becomes of it in all workers."""
        pool = balancer.pool
        pool.followers.append(SlotTeller(pool.name, self._tell_slots))
        pool.followers.append(Sender(pool, self._send))

    def _tell_slots(self, name: str, backends: Iterable[Backend]) -> None:
        if hasattr(self, "crew"):
            self.crew.tell(self.crew.slots.call(name, backends))

    def _send(self, call: list[Any]) -> None:
        if hasattr(self, "crew"):
            self.crew.tell(call)

    def agree(self, configuration: Configuration, opening: Any) -> Deferred[None]:
        """All workers must."""
        self.crew.log_made, self._log_made = self._log_made, None
        return self.crew.prepare(configuration, opening)

    def log_made(self, log: AccessLog) -> None:
        """The workers are to have it, open."""
        self._log_made = log

    def applied(self) -> Deferred[Any]:
        """All workers go by it."""
        record().keep()
        return self.crew.commit()

    def withdrawn(self) -> None:
        """None of them does."""
        self.crew.abandon()

    def serving(self, say: Callable[[], object]) -> None:
        """Clients are served when all workers are there to do it."""
        self.crew.when_ready().addCallbacks(lambda _: say(), lambda _: None)

    def certificates_read(self) -> None:
        """All workers read them too."""
        record().keep()
        self.crew.read_certificates()

    def refresh(self) -> Deferred[None]:
        """All workers say what they have counted."""
        return self.reports.refresh()

    def processes(self) -> Workers | None:
        """The workers."""
        return self.reports.figures()

    def drain(self, ordinary: Callable[[], Draining]) -> Draining:
        """That of the workers."""
        self.crew.last = not self.handed_over
        return CrewDrain(self.crew, self.service)


def supervised(
    configuration: Configuration,
    *,
    reactor: Any,
    role: SupervisorRole | None = None,
    cannot_start: Callable[[Failure], object] | None = None,
    **more: Any,
) -> LoadBalancerService:
    """A service that has ``configuration.workers`` processes carry its exchanges. The arguments are those of
    :meth:`~lbproxy.service.LoadBalancerService.of`.

    :param cannot_start: is called when the workers cannot begin, with an :class:`~lbproxy.errors.LBProxyError`; the service
        should be stopped then. By default the log says so.
    """
    if not hasattr(os, "memfd_create"):
        raise ConfigurationError(f"workers: {configuration.workers} was given; several workers need Linux; allowed is 1")
    read = record()
    role = SupervisorRole(configuration.workers) if role is None else role
    role.service = service = LoadBalancerService.of(configuration, reactor=reactor, role=role, **more)
    read.keep()
    role.crew = Crew(service, configuration.workers)
    role.reports = reports = Reports(service, role.crew)
    role.crew.on_serve.append(reports.began)
    role.crew.on_report.append(reports.take)
    role.crew.on_end.append(reports.ended)
    role.crew.setServiceParent(service)  # type: ignore[no-untyped-call]
    role.crew.when_ready().addErrback(_say_cannot_start if cannot_start is None else cannot_start)
    return service


def _say_cannot_start(failure: Failure) -> None:
    _log.critical("no worker can begin: {why}", why=failure.getErrorMessage())
