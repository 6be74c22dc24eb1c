"""The life of a service: binds, serves, drains, stops. What it is made of, and how that changes, stands in :mod:`.service`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger

from .drain import NEXT_REQUEST, Drain, Draining
from .listeners import close_all

if TYPE_CHECKING:
    from .admission import ConnectionLimit
    from .http1.factory import ServerFactory
    from .listeners import Listeners
    from .members import Memberships
    from .observe.access_log import AccessLog
    from .observe.events import EventLog
    from .proxy.counters import ListenerCounters
    from .reload import Reloader
    from .resource import LoadBalancerResource
    from .role import Role
    from .site import Site
    from .state_file import StateFile
    from .tls.watch import CertificateWatch

__all__ = ["ServiceLife"]

_log = Logger()


class ServiceLife(MultiService):
    """A service that binds in ``privilegedStartService``, serves from ``startService`` on, and drains when it is stopped. Either
    all of it starts or nothing does.

    :ivar limit: keeps the number of clients' connections.
    """

    access_log: AccessLog | None
    clock: Any
    counters: ListenerCounters
    events: EventLog
    factory: ServerFactory
    limit: ConnectionLimit
    listeners: Listeners
    members: Memberships | None
    reloader: Reloader
    resource: LoadBalancerResource
    role: Role
    site: Site
    state_file: StateFile | None
    watch: CertificateWatch | None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._drain: Draining | None = None
        self._bound = False
        self._stopped: list[Deferred[None]] = []  # to be told when all is closed

    def privilegedStartService(self) -> None:
        """Open the access log and all ports, while there is the privilege to. While a drain lasts, the log and some of the ports
        are still open.

        :raises ListenError: when a port cannot be opened; it names it. What this call has opened is closed again.
        :raises ConfigurationError: when the access log cannot be opened.
        """
        if self.access_log is not None and self._drain is None:
            self.access_log.open()
        closed = [listener for listener in self.listeners.all if not listener.bound]
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except Exception:
            close_all(closed)
            if self._drain is None:
                self._close_access_log()
            raise
        self._bound = True

    def startService(self) -> None:
        """Begin to serve and to probe; bind first, unless that has been done. A drain that lasts is called off."""
        if not self._bound or self._drain is not None:
            self.privilegedStartService()
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.cancel()
        self.factory.draining = False
        self.site.watch(self.events)
        super().startService()  # type: ignore[no-untyped-call]
        self.limit.start(self.site.settings.max_connections)
        if self.access_log is not None:
            self.access_log.start()
        self.resource.start()
        if self.watch is not None:
            self.watch.start()
        if self.members is not None:
            self.members.start()
        if self.state_file is not None:
            self.state_file.start()
        self.reloader.start()
        self.role.serving(self._say_serving)

    def _say_serving(self) -> None:
        _log.info(
            "serving {listen} from {count} backends{by}, at most {limit} client connections",
            listen=self.listeners.described(),
            by=self.role.by,
            count=sum(len(balancer.pool.members) for balancer in self.site.balancers.values()),
            limit=self.counters.connections_limit or "any number of",
        )

    def stopService(self) -> Deferred[None]:
        """Drain, then close all: ``/healthz`` fails at once; after ``settings.drain_delay`` seconds the listeners close; then
        exchanges and tunnels that run have ``settings.drain`` seconds, and the rest is dropped. The admin listener stays to the
        end.

        Called again while it drains, it waits no longer.

        :return: fires when all is closed, or when the service has been started again.
        """
        if not self._bound:
            return maybeDeferred(super().stopService).addCallback(lambda _: None)
        Service.stopService(self)
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        if self._drain is None:
            self._begin_drain()
        else:
            self._drain.end_now()
        return stopped

    def hand_over(self) -> None:
        """Listen nowhere any more, for another process has the sockets, and goes on with what waits there. The connections that
        there are go on until :meth:`stopService`, which is to follow; its drain has no ``drain_delay`` then, and
        lets idle connections have one more request."""
        self.role.handed_over = True
        self.listeners.hand_over()

    @property
    def draining(self) -> bool:
        """Whether it has been told to stop, and something still runs."""
        return self._drain is not None

    @property
    def bound(self) -> bool:
        """Whether its ports are open, or some of them still."""
        return self._bound

    def _begin_drain(self) -> None:
        self._drain = drain = self.role.drain(self._own_drain)
        drain.over.addCallback(self._close)
        drain.start()

    def _own_drain(self) -> Drain:
        settings, close, patience = self.site.settings, self.listeners.close_clients, 0.0
        if self.role.handed_over:
            settings, patience = attrs.evolve(settings, drain_delay=0.0), NEXT_REQUEST
        return Drain(self.factory, _Totals(self.site), self.counters, settings, self.clock, close, patience)

    def _close(self, _: object) -> None:
        """Close what is not a listener or a client's connection, unless it was started again meanwhile."""
        closing: Deferred[Any] = succeed(None)
        if self._drain is not None:
            self._drain = None
            self._bound = False
            self.reloader.stop()
            self.resource.stop()
            if self.watch is not None:
                self.watch.stop()
            self.site.unwatch(self.events)
            self.events.stop()
            self._close_access_log()
            if self.members is not None:
                self.members.stop()
            keeping = succeed(None) if self.state_file is None else self.state_file.stop()
            closing = maybeDeferred(super().stopService)  # the admin listener, and whatever others have put in here
            closing.addBoth(self._end_listeners)
            closing.addBoth(lambda _: keeping)
        waiting, self._stopped = self._stopped, []
        closing.addBoth(lambda _: _fire(waiting))

    def _end_listeners(self, _: object) -> None:
        """Leave no operator's connection open, unless it was started again meanwhile."""
        if not self._bound:
            self.listeners.end()

    def _close_access_log(self) -> None:
        if self.access_log is not None:
            self.access_log.close()


class _Totals:
    """What runs of all of a site."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def in_flight(self) -> int:
        """Exchanges."""
        return sum(desk.counters.in_flight for desk in self._site.desks())

    @property
    def tunnels(self) -> int:
        """Those of them that are tunnels."""
        return sum(desk.counters.tunnels for desk in self._site.desks())


def _fire(waiting: list[Deferred[None]]) -> None:
    for stopped in waiting:
        stopped.callback(None)
