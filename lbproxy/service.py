"""The load balancer as a Twisted service: builds the parts, binds, starts, drains, stops."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory

from .admin import admin_site
from .balance.pool import Pool
from .http1.factory import ServerFactory
from .interfaces import IExchangeObserver, IProbe
from .listener import Listener, check_endpoints
from .observe.access_log import AccessLog
from .resource import LoadBalancerResource
from .settings import Settings

__all__ = ["DRAIN_GRACE", "LoadBalancerService"]

#: Seconds for which exchanges that run may go on once the service stops. Most answers take less, and supervisors wait longer
#: before they kill (Docker 10 s, systemd 90 s).
DRAIN_GRACE = 5.0
#: Seconds between two looks at what still runs; only while the service stops.
DRAIN_LOOK = 0.05
#: Seconds for which connections are waited for that were aborted. It takes them a turn of the reactor.
ABORT_GRACE = 1.0

_log = Logger()


class LoadBalancerService(MultiService):
    """A load balancer with its listeners, for any Twisted application; what ``twistd lbproxy`` runs.

    It binds in ``privilegedStartService`` and probes from ``startService`` on. Either all of it starts or nothing does.

    :param pool: where requests go.
    :param listen: where clients connect: Twisted server endpoint descriptions, at least one.
    :param reactor: connects and listens.
    :param clock: gives the time and runs time-outs and probes; the reactor does if there is none.
    :param settings: retries, time-outs, limits.
    :param admin: an endpoint description for the read-only listener with ``/status``, ``/metrics`` and ``/healthz``.
    :param access_log: an :class:`~lbproxy.observe.access_log.AccessLog` or a file's path (``-``: standard output) for one in the
        ``combined`` format. It is opened and closed with the service.
    :param probe: how backends are probed; by default a connection is made.
    :param observers: are told of every finished exchange.
    :raises ConfigurationError: for descriptions that cannot be read; it names all of them.
    :ivar resource: the same load balancer for a ``twisted.web`` tree.
    :ivar factory: makes the clients' connections.
    :ivar counters: what the listeners count.
    """

    def __init__(
        self,
        pool: Pool,
        listen: Sequence[str] = ("tcp:8080",),
        *,
        reactor: Any,
        clock: IReactorTime | None = None,
        settings: Settings | None = None,
        admin: str | None = None,
        access_log: AccessLog | str | os.PathLike[str] | None = None,
        probe: IProbe | None = None,
        observers: Sequence[IExchangeObserver] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock: Any = reactor if clock is None else clock
        self._bound = False
        self._access_log = _access_log(access_log, self._clock)
        logs = () if self._access_log is None else (self._access_log,)
        self.resource = LoadBalancerResource(
            pool, reactor=reactor, clock=clock, settings=settings, probe=probe, observers=(*logs, *observers)
        )
        balancer = self.resource.balancer
        self.counters = self.resource.counters
        self.factory = ServerFactory(
            self.resource,
            balancer.settings,
            self._clock.seconds,
            balancer.sweep.watched,
            self.counters,
        )
        listen = (listen,) if isinstance(listen, str) else listen
        endpoints = check_endpoints(reactor, listen, admin)
        self._listeners = [Listener(made, text, self.factory) for made, text in zip(endpoints, listen, strict=False)]
        self._admin_factory: Any = None
        self._admin: Listener | None = None
        if admin is not None:
            # Wrapped, because a Site does not know its connections.
            site = admin_site(balancer, self.counters, self._clock.seconds, reactor=self._clock)
            self._admin_factory = WrappingFactory(site)
            self._admin_factory.noisy = False
            self._admin = Listener(endpoints[-1], admin, self._admin_factory)
        for listener in self._all_listeners():
            listener.setServiceParent(self)  # type: ignore[no-untyped-call]

    def addresses(self) -> list[IAddress]:
        """Where it listens for clients just now, in the order of the descriptions, with the real ports for port 0."""
        return [address for listener in self._listeners if (address := listener.address) is not None]

    def admin_address(self) -> IAddress | None:
        """Where the admin listener listens just now, if it does."""
        return None if self._admin is None else self._admin.address

    # The service's life.

    def privilegedStartService(self) -> None:
        """Open the access log and all ports, while there is the privilege to.

        :raises ListenError: when a port cannot be opened; it names it. What was open already is closed again.
        :raises ConfigurationError: when the access log cannot be opened.
        """
        if self._access_log is not None:
            self._access_log.open()
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except Exception:
            for listener in reversed(self._all_listeners()):
                listener.stopService()
            self._close_access_log()
            raise
        self._bound = True

    def startService(self) -> None:
        """Begin to serve and to probe; bind first, unless that has been done."""
        if not self._bound:
            self.privilegedStartService()
        self.factory.draining = False
        super().startService()  # type: ignore[no-untyped-call]
        if self._access_log is not None:
            self._access_log.start()
        self.resource.start()
        _log.info(
            "serving {listen} from {count} backends",
            listen=", ".join(listener.description for listener in self._listeners),
            count=len(self.resource.pool.members),
        )

    def stopService(self) -> Deferred[None]:
        """Listen no more, let exchanges that run end, for :data:`DRAIN_GRACE` at most, and abort those that remain.

        :return: fires when all is closed.
        """
        self.factory.draining = True
        closing = maybeDeferred(super().stopService)
        if not self._bound:
            return closing.addCallback(lambda _: None)
        self._bound = False
        stopped = DeferredList([closing, self._drain()], consumeErrors=True)
        return stopped.addCallback(self._close)

    def _drain(self) -> Deferred[Any]:
        """Close what is idle; fires when the rest has ended or was aborted."""
        for connection in list(self.factory.connections):
            connection.close_if_idle()
        if not self.factory.connections:
            return succeed(None)
        deadline: float = self._clock.seconds() + DRAIN_GRACE
        looking = LoopingCall(lambda: self._look(looking, deadline))
        looking.clock = self._clock
        return looking.start(DRAIN_LOOK, now=False)

    def _look(self, looking: LoopingCall, deadline: float) -> None:
        if self._bound:  # it was started again: those connections are its own now
            looking.stop()
            return
        late = self._clock.seconds() - deadline
        if late >= 0:
            for connection in list(self.factory.connections):
                # Not the connection's own abort(): that is for the exchange's use, which must learn of it here.
                transport: Any = connection.transport
                transport.abortConnection()
        if not self.factory.connections or late >= ABORT_GRACE:
            looking.stop()

    def _close(self, _: object) -> None:
        """Close what is not a listener or a client's connection, unless it was started again meanwhile."""
        if self._bound:
            return
        self.resource.stop()
        if self._admin_factory is not None:
            for wrapper in list(self._admin_factory.protocols):
                wrapper.transport.abortConnection()
        self._close_access_log()

    def _close_access_log(self) -> None:
        if self._access_log is not None:
            self._access_log.close()

    def _all_listeners(self) -> list[Listener]:
        return self._listeners if self._admin is None else [*self._listeners, self._admin]


def _access_log(given: AccessLog | str | os.PathLike[str] | None, clock: IReactorTime) -> AccessLog | None:
    if given is None or isinstance(given, AccessLog):
        return given
    return AccessLog(os.fspath(given), "combined", clock)
