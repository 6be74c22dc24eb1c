"""The supervisor: a service that carries nothing itself, and has workers for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from secrets import token_bytes
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..admission import ConnectionLimit
from ..balance.backend import Backend
from ..balance.pool import Pool
from ..config.model import Configuration
from ..role import Role
from ..service import LoadBalancerService
from .calls import Sender
from .crew import Crew
from .ending import CrewDrain
from .slots import SlotTeller
from .sockets import held_endpoint

__all__ = ["SupervisorRole", "supervised"]

_log = Logger()


class SupervisorRole(Role):
    """:ivar crew: the workers; there are none before the service has been made.

    :ivar service: whose role it is.
    """

    crew: Crew
    service: LoadBalancerService

    def __init__(self, count: int) -> None:
        self.random_key = token_bytes(32)
        self._count = count
        self.make_limit = partial(ConnectionLimit, processes=count)

    def endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        """One whose sockets are held for the workers."""
        return held_endpoint(reactor, description, self._count)

    def welcome(self, pool: Pool) -> None:
        """What becomes of this pool becomes of it in all workers."""
        pool.followers.append(SlotTeller(pool.name, partial(self._tell_slots, pool)))
        pool.followers.append(Sender(pool, partial(self._send, pool)))

    def _tell_slots(self, pool: Pool, name: str, backends: Iterable[Backend]) -> None:
        if hasattr(self, "crew"):
            self.crew.tell(pool, self.crew.slots.call(name, backends))

    def _send(self, pool: Pool, call: list[Any]) -> None:
        if hasattr(self, "crew"):
            self.crew.tell(pool, call)

    def agree(self, configuration: Configuration, opening: Any) -> Deferred[None]:
        """All workers must."""
        return self.crew.prepare(configuration, opening)

    def applied(self) -> Deferred[Any]:
        """All workers go by it."""
        return self.crew.commit()

    def withdrawn(self) -> None:
        """None of them does."""
        self.crew.abandon()

    def serving(self, say: Callable[[], object]) -> None:
        """Clients are served when all workers are there to do it."""
        self.crew.when_ready().addCallbacks(lambda _: say(), lambda _: None)

    def certificates_read(self) -> None:
        """All workers read them too."""
        self.crew.read_certificates()

    def drain(self, ordinary: Callable[[], Any]) -> Any:
        """That of the workers."""
        return CrewDrain(self.crew, self.service)


def supervised(
    configuration: Configuration, *, reactor: Any, cannot_start: Callable[[Failure], object] | None = None, **more: Any
) -> LoadBalancerService:
    """A service that has ``configuration.workers`` processes carry its exchanges. The arguments are those of
    :meth:`~lbproxy.service.LoadBalancerService.of`.

    :param cannot_start: is called when the workers cannot begin, with an :class:`~lbproxy.errors.LBProxyError`; the service
        should be stopped then. By default the log says so.
    """
    role = SupervisorRole(configuration.workers)
    role.service = service = LoadBalancerService.of(configuration, reactor=reactor, role=role, **more)
    role.crew = Crew(service, configuration.workers)
    role.crew.setServiceParent(service)  # type: ignore[no-untyped-call]
    role.crew.when_ready().addErrback(_say_cannot_start if cannot_start is None else cannot_start)
    return service


def _say_cannot_start(failure: Failure) -> None:
    _log.critical("no worker can begin: {why}", why=failure.getErrorMessage())
