"""The load balancer as a Twisted service: builds the parts, binds, starts, drains, stops."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory

from .admin import admin_site
from .admission import ConnectionLimit
from .balance.backend import Backend
from .balance.pool import Pool
from .drain import Drain
from .http1.factory import ServerFactory
from .interfaces import IExchangeObserver, IProbe
from .listener import Listener, check_endpoints, where_to_listen
from .observe.access_log import AccessLog
from .observe.events import EventLog
from .resource import LoadBalancerResource
from .settings import Settings
from .tls.backends import BackendTls
from .tls.identity import client_identity
from .tls.store import CertificateStore
from .tls.watch import CertificateWatch, Reload, in_thread_of

__all__ = ["LoadBalancerService"]

_log = Logger()


class LoadBalancerService(MultiService):
    """A load balancer with its listeners, for any Twisted application; what ``twistd lbproxy`` runs.

    It binds in ``privilegedStartService`` and probes from ``startService`` on. Either all of it starts or nothing does.

    :param pool: where requests go.
    :param listen: where clients connect: Twisted server endpoint descriptions; behind ``haproxy:`` each connection must begin
        with a PROXY protocol header, which is believed. By default it is ``tcp:8080``, or nowhere when TLS is listened for,
        unless clients are sent there (``redirect_to_https``).
    :param tls_listen: where clients connect that speak TLS: descriptions of plain endpoints; by default, with *certificates*,
        ``tcp:8443``.
    :param certificates: what they are shown there.
    :param backend_tls: how TLS is spoken with backends; by default they must be known to the system's authorities. Its files are
        watched, as those of *certificates* are.
    :param reactor: connects and listens.
    :param clock: gives the time and runs time-outs and probes; the reactor does if there is none.
    :param settings: retries, time-outs, limits.
    :param admin: an endpoint description for the operators' listener, with ``/status``, ``/events``, ``/metrics`` and
        ``/healthz``.
    :param admin_writable: whether whoever reaches that listener may also tell what is wanted of backends.
    :param access_log: an :class:`~lbproxy.observe.access_log.AccessLog` or a file's path (``-``: standard output) for one in the
        ``combined`` format. It is opened and closed with the service.
    :param probe: how backends are probed: an :class:`~lbproxy.interfaces.IProbe`, or a function that gets a backend and says, at
        once or by a Deferred, whether it is well; by default a connection is made.
    :param observers: are told of every finished exchange.
    :raises ConfigurationError: for descriptions that cannot be read; it names all of them.
    :ivar resource: the same load balancer for a ``twisted.web`` tree.
    :ivar factory: makes the clients' connections.
    :ivar counters: what the listeners count.
    :ivar certificates: what clients are shown that speak TLS; None: nothing.
    :ivar events: the last changes of backends' states, of those that came while it was started.
    """

    def __init__(
        self,
        pool: Pool,
        listen: Sequence[str] | None = None,
        *,
        tls_listen: Sequence[str] | None = None,
        certificates: CertificateStore | None = None,
        backend_tls: BackendTls | None = None,
        reactor: Any,
        clock: IReactorTime | None = None,
        settings: Settings | None = None,
        admin: str | None = None,
        admin_writable: bool = False,
        access_log: AccessLog | str | os.PathLike[str] | None = None,
        probe: IProbe | Callable[[Backend], object] | None = None,
        observers: Sequence[IExchangeObserver] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock: Any = reactor if clock is None else clock
        self._bound = False
        self._drain: Drain | None = None
        self._stopped: list[Deferred[None]] = []  # to be told when all is closed
        self._access_log = _access_log(access_log, self._clock)
        logs = () if self._access_log is None else (self._access_log,)
        self.resource = LoadBalancerResource(
            pool,
            reactor=reactor,
            clock=clock,
            settings=settings,
            probe=probe,
            observers=(*logs, *observers),
            backend_tls=backend_tls,
        )
        balancer = self.resource.balancer
        self.events = EventLog(self._clock)
        self.counters = self.resource.counters
        self.factory = ServerFactory(
            self.resource,
            balancer.settings,
            self._clock.seconds,
            balancer.sweep.watched,
            self.counters,
        )
        self._limit = ConnectionLimit(self.counters, self._ports, self._clock)
        self.factory.gate = self._limit
        self.certificates = certificates
        self._watch = self._make_watch(certificates, backend_tls, reactor)
        if certificates is not None and certificates.client_auth is not None:
            self.factory.identify = client_identity
        self.resource.site.router.https_port = self._https_port
        listen, tls_listen = where_to_listen(
            listen, tls_listen, certificates=certificates is not None, redirect=balancer.settings.redirect_to_https
        )
        endpoints = check_endpoints(reactor, listen, admin, tls_listen=tls_listen, acceptor=certificates)
        self._listeners = [
            Listener(made, text, self.factory, self._clock)
            for made, text in zip(endpoints, (*listen, *tls_listen), strict=False)
        ]
        self._tls_listeners = self._listeners[len(listen) :]
        self._admin_factory: Any = None
        self._admin = None if admin is None else self._make_admin(endpoints[-1], admin, admin_writable)
        for listener in self._all_listeners():
            listener.setServiceParent(self)  # type: ignore[no-untyped-call]

    def _make_watch(
        self, certificates: CertificateStore | None, backend_tls: BackendTls | None, reactor: Any
    ) -> CertificateWatch | None:
        """With the reactor's threads, and the service's clock; None where no file was given."""
        if backend_tls is not None and not backend_tls.files:
            backend_tls = None
        if certificates is None and backend_tls is None:
            return None
        interval = self.resource.balancer.settings.certificate_check
        threads = partial(in_thread_of, reactor)
        return CertificateWatch(certificates, self._clock, interval, backend_tls=backend_tls, in_thread=threads)

    def _make_admin(self, endpoint: IStreamServerEndpoint, description: str, writable: bool) -> Listener:
        site = admin_site(
            self.resource.site,
            self.counters,
            self._clock.seconds,
            reactor=self._clock,
            draining=lambda: self.draining,
            events=self.events,
            writable=writable,
            watch=self._watch,
        )
        # Wrapped, because a Site does not know its connections.
        self._admin_factory = WrappingFactory(site)
        self._admin_factory.noisy = False
        return Listener(endpoint, description, self._admin_factory, self._clock)

    def addresses(self) -> list[IAddress]:
        """Where it listens for clients just now, in the order of the descriptions, with the real ports for port 0."""
        return [address for listener in self._listeners if (address := listener.address) is not None]

    def tls_addresses(self) -> list[IAddress]:
        """Those of them where TLS is spoken."""
        return [address for listener in self._tls_listeners if (address := listener.address) is not None]

    def admin_address(self) -> IAddress | None:
        """Where the admin listener listens just now, if it does."""
        return None if self._admin is None else self._admin.address

    def _ports(self) -> list[Any]:
        return [listener.port for listener in self._listeners if listener.port is not None]

    @property
    def reloads(self) -> bool:
        """Whether there are files that :meth:`reload_certificates` reads."""
        return self._watch is not None

    def reload_certificates(self) -> Deferred[Reload | None]:
        """Read the certificates' files anew, whether or not they have changed, those of TLS with backends too. New connections go
        by what is in them, all of it or, when there is a mistake in one of them, nothing.

        :return: fires with what came of it; with None where no file was given, or the service does not run.
        """
        if self._watch is None:
            _log.info("there is nothing to be read anew: no certificates were given")
            return succeed(None)
        return self._watch.reload()

    def _https_port(self) -> int | None:
        """The first port at which TLS is listened for just now."""
        ports = (getattr(listener.address, "port", None) for listener in self._tls_listeners)
        return next((port for port in ports if port is not None), None)

    # The service's life.

    def privilegedStartService(self) -> None:
        """Open the access log and all ports, while there is the privilege to. While a drain lasts, the log and some of the ports
        are still open.

        :raises ListenError: when a port cannot be opened; it names it. What this call has opened is closed again.
        :raises ConfigurationError: when the access log cannot be opened.
        """
        if self._access_log is not None and self._drain is None:
            self._access_log.open()
        closed = [listener for listener in self._all_listeners() if not listener.bound]
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except Exception:
            for listener in reversed(closed):
                listener.stopService()
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
        observers = self.resource.pool.observers
        if self.events not in observers:
            observers.append(self.events)
        super().startService()  # type: ignore[no-untyped-call]
        self._limit.start(self.resource.balancer.settings.max_connections)
        if self._access_log is not None:
            self._access_log.start()
        self.resource.start()
        if self._watch is not None:
            self._watch.start()
        _log.info(
            "serving {listen} from {count} backends, at most {limit} client connections",
            listen=", ".join(map(self._described, self._listeners)),
            count=len(self.resource.pool.members),
            limit=self.counters.connections_limit or "any number of",
        )

    def _described(self, listener: Listener) -> str:
        return f"{listener.description} (TLS)" if listener in self._tls_listeners else listener.description

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

    @property
    def draining(self) -> bool:
        """Whether it has been told to stop, and something still runs."""
        return self._drain is not None

    def _begin_drain(self) -> None:
        balancer = self.resource.balancer
        self._drain = drain = Drain(
            self.factory, balancer.counters, self.counters, balancer.settings, self._clock, self._close_listeners
        )
        drain.over.addCallback(self._close)
        drain.start()

    def _close_listeners(self) -> Deferred[Any]:
        return DeferredList([listener.stopService() for listener in self._listeners], consumeErrors=True)

    def _close(self, _: object) -> None:
        """Close what is not a listener or a client's connection, unless it was started again meanwhile."""
        closing: Deferred[Any] = succeed(None)
        if self._drain is not None:
            self._drain = None
            self._bound = False
            self.resource.stop()
            if self._watch is not None:
                self._watch.stop()
            self.resource.pool.observers.remove(self.events)
            self.events.stop()
            self._close_access_log()
            closing = maybeDeferred(super().stopService)  # the admin listener, and whatever others have put in here
            closing.addBoth(self._abort_admin)
        waiting, self._stopped = self._stopped, []
        closing.addBoth(lambda _: _fire(waiting))

    def _abort_admin(self, _: object) -> None:
        """Leave no operator's connection open, unless it was started again meanwhile."""
        if self._admin_factory is not None and not self._bound:
            for wrapper in list(self._admin_factory.protocols):
                wrapper.transport.abortConnection()

    def _close_access_log(self) -> None:
        if self._access_log is not None:
            self._access_log.close()

    def _all_listeners(self) -> list[Listener]:
        return self._listeners if self._admin is None else [*self._listeners, self._admin]


def _fire(waiting: list[Deferred[None]]) -> None:
    for stopped in waiting:
        stopped.callback(None)


def _access_log(given: AccessLog | str | os.PathLike[str] | None, clock: IReactorTime) -> AccessLog | None:
    if given is None or isinstance(given, AccessLog):
        return given
    return AccessLog(os.fspath(given), "combined", clock)
