"""The load balancer as a Twisted service: builds the parts, and goes from one configuration to the next. Its life, from binding
to the end of a drain, stands in its base, :mod:`.service_life`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource

from .admin import AdminSite, admin_site
from .admission import ConnectionLimit
from .balance.backend import Backend
from .balance.pool import Pool
from .changes import change, log_of, places_of, store_of
from .config.in_python import alone, completed
from .config.model import Configuration
from .explaining import explained
from .http1.factory import ServerFactory
from .interfaces import IExchangeObserver, IProbe
from .listeners import Listeners, Places, addresses_of
from .members import Memberships
from .observe.access_log import AccessLog
from .observe.events import EventLog
from .reload import Reloader, ReloadResult, Source
from .resource import LoadBalancerResource
from .role import Role
from .service_life import ServiceLife
from .settings import Settings
from .site import Site
from .state_file import StateFile
from .tls.backends import BackendTls
from .tls.identity import client_identity
from .tls.store import CertificateStore
from .tls.watch import CertificateWatch, Reload, in_thread_of

__all__ = ["LoadBalancerService"]

_log = Logger()


class LoadBalancerService(ServiceLife):
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
    :ivar printed: gives the configuration as a file, without secrets, for ``/config``; None: there is none to be shown.
    :ivar upgrader: goes over to a new program, where there is somebody who can; for ``/upgrade``.
    :ivar configuration: what it was made of, or changed to since; None: it was not made of any.
    :ivar site: what stands behind the listeners.
    :ivar listeners: where it listens.
    :ivar reloader: changes it to other configurations, and knows what came of that.
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
        log = _access_log(access_log, reactor if clock is None else clock)
        resource = LoadBalancerResource(
            pool,
            reactor=reactor,
            clock=clock,
            settings=settings,
            probe=probe,
            observers=_told(log, observers),
            backend_tls=backend_tls,
        )
        self._wire(reactor, clock, resource, log, observers)
        redirect = resource.site.settings.redirect_to_https
        places = Places.of(listen, tls_listen, admin, certificates=certificates is not None, redirect=redirect)
        self._begin_with(places, certificates, () if backend_tls is None else (backend_tls,), admin_writable)

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        *,
        reactor: Any,
        clock: IReactorTime | None = None,
        resources: Mapping[str, IResource] | None = None,
        observers: Sequence[IExchangeObserver] = (),
        certificates: CertificateStore | None = None,
        source: Source | None = None,
        role: Role | None = None,
    ) -> LoadBalancerService:
        """A service that is made of a configuration, and can be changed to another one while it runs (:meth:`reload`).

        :param configuration: made in Python, or read from a file (:func:`lbproxy.read_configuration`). Its settings are those of
            all pools that have none of their own.
        :param resources: by the names that routes give, what they lead to of the application's own. What is put in there later
            can be named by a later configuration.
        :param certificates: what *configuration* says of them, where it has been read already.
        :param source: where *configuration* was read from, and is read anew when ``reloader.reload()`` is called; it is watched
            if it says so.
        :param role: what this process has to do of it, where several are one load balancer; by default all.
        :raises ConfigurationError: for what cannot be used; it names all of it.
        """
        configuration = completed(alone(configuration) if role is None else configuration)
        role = Role() if role is None else role
        service = cls.__new__(cls)
        time = reactor if clock is None else clock
        log = log_of(configuration, time)
        if log is not None:
            role.log_made(log)
        own = Memberships(time, partial(in_thread_of, reactor)) if role.members is None else None
        members = role.members if own is None else own
        told = _told(log, observers)
        site = Site.of(configuration, reactor, clock=clock, observers=told, resources=resources, members=members, role=role)
        service._wire(reactor, clock, LoadBalancerResource.of_site(site, reactor=reactor), log, observers, role)
        service.configuration = configuration
        service.members = own
        service.reloader.source = source
        service.keep_state(configuration.state_file)
        if certificates is None:
            certificates = store_of(configuration)
        service._begin_with(places_of(configuration), certificates, site.backend_tls, configuration.admin_writable)
        return service

    def _wire(
        self,
        reactor: Any,
        clock: IReactorTime | None,
        resource: LoadBalancerResource,
        access_log: AccessLog | None,
        observers: Sequence[IExchangeObserver],
        role: Role | None = None,
    ) -> None:
        """Put together what is there for as long as the service is."""
        super().__init__()
        self.reactor = reactor
        self.role = role = Role() if role is None else role
        self.clock: Any = reactor if clock is None else clock
        self.in_thread: Callable[[Callable[[], Any]], Deferred[Any]] = partial(in_thread_of, reactor)
        self.resource = resource
        self.site = site = resource.site
        self.configuration: Configuration | None = None
        self.printed: Callable[[], str] | None = None
        self.upgrader: Any = None
        self.access_log = access_log
        self.certificates: CertificateStore | None = None
        self.watch: CertificateWatch | None = None
        self.members: Memberships | None = None
        self.state_file: StateFile | None = None
        self.admin_writable = False
        self.events = EventLog(self.clock, silent=not role.tells_changes)
        self.counters = resource.counters
        self.factory = ServerFactory(resource, site.settings, self.clock.seconds, site.router.sweep.watched, self.counters)
        self.listeners = Listeners(self, reactor, self.clock, self.factory, lambda: self._admin_site, role)
        self.limit = (role.make_limit or ConnectionLimit)(self.counters, self.listeners.ports, self.clock)
        self.factory.gate = self.limit
        self.reloader = Reloader(partial(change, self), self._read_certificates, self.clock, self.in_thread)
        self.reloader.silent = not role.tells_changes
        self._observers = observers
        self._made = self.clock.seconds()
        self._admin_site = AdminSite(Resource(), self.clock)

    def _begin_with(
        self, places: Places, certificates: CertificateStore | None, backends: Sequence[BackendTls], admin_writable: bool
    ) -> None:
        self.site.router.https_port = self.listeners.https_port
        self.listeners.replace(self.listeners.open(places, certificates, bind=False), certificates)
        self.go_by(certificates, backends, admin_writable)

    def go_by(self, certificates: CertificateStore | None, backends: Sequence[BackendTls], admin_writable: bool) -> None:
        """Have the certificates watched, and show operators what there is, from now on."""
        self.certificates = certificates
        shown = certificates is not None and certificates.client_auth is not None
        self.factory.identify = client_identity if shown else None
        self._watch_certificates(certificates, [tls for tls in backends if tls.files])
        self.admin_writable = admin_writable
        self.reloader.watch(self.configuration is not None and self.configuration.watch)
        self._admin_site.resource = self._admin_root()

    def _watch_certificates(self, certificates: CertificateStore | None, backends: list[BackendTls]) -> None:
        """With the reactor's threads, and the service's clock; where there is no file, by nobody."""
        interval = self.site.settings.certificate_check
        watch = self.watch
        if watch is None and (certificates is not None or backends):
            self.watch = CertificateWatch(certificates, self.clock, interval, backends=backends, in_thread=self.in_thread)
            self.watch.on_read = self.role.certificates_read
            if self.running:
                self.watch.start()
        elif watch is not None and (watch.store, list(watch.backends), watch.interval) != (certificates, backends, interval):
            watch.replace(certificates, backends, interval)

    def _admin_root(self) -> Any:
        configuration = self.configuration
        return admin_site(
            self.site,
            self.counters,
            self.clock.seconds,
            reactor=self.clock,
            draining=lambda: self.draining,
            events=self.events,
            writable=self.admin_writable,
            watch=self.watch,
            memberships=self.members,
            state_file=self.state_file,
            reloader=None if configuration is None else self.reloader,
            explain=None if configuration is None else partial(explained, self.site, configuration),
            upgrader=lambda: self.upgrader,
            started=self._made,
            configuration=lambda: None if self.printed is None else self.printed(),  # which is set later, if at all
            refresh=self.role.refresh,
            processes=self.role.processes,
        ).resource

    def keep_state(self, path: str) -> None:
        """Keep what operators say over a restart, in this file from now on; empty: nowhere."""
        before, self.state_file = self.state_file, None
        if before is not None:
            before.stop()
        if path and self.members is not None:
            self.state_file = StateFile(path, self.members, self.clock, self.in_thread)
            if before is None:
                self.state_file.load()
            if self.running:
                self.state_file.start()

    def addresses(self) -> list[IAddress]:
        """Where it listens for clients just now, in the order of the descriptions, with the real ports for port 0."""
        return addresses_of(self.listeners.clients)

    def tls_addresses(self) -> list[IAddress]:
        """Those of them where TLS is spoken."""
        return addresses_of(self.listeners.secure)

    def admin_address(self) -> IAddress | None:
        """Where the admin listener listens just now, if it does."""
        return None if self.listeners.admin is None else self.listeners.admin.address

    # Other settings, other certificates.

    def reload(self, configuration: Configuration | None = None) -> Deferred[ReloadResult]:
        """Go by another configuration from now on: by all of it or, when there is a mistake in it, or a port that cannot be
        opened, by nothing of it. Only what differs is touched.

        :param configuration: None: what its source says now, with all certificates read anew.

        They are gone by one after the other; of those that are asked for meanwhile, the last one counts.

        :return: fires with what came of it. It never fails.
        """
        return self.reloader.reload() if configuration is None else self.reloader.change_to(configuration, completed)

    @property
    def last_reload(self) -> ReloadResult | None:
        """What came of the last reload; None: there was none."""
        return self.reloader.last

    @property
    def reloads(self) -> bool:
        """Whether there are files that can be read anew."""
        return self.watch is not None or self.reloader.source is not None

    def reload_certificates(self) -> Deferred[Reload | None]:
        """Read the certificates' files anew, whether or not they have changed, those of TLS with backends too. New connections go
        by what is in them, all of it or, when there is a mistake in one of them, nothing.

        :return: fires with what came of it; with None where no file was given, or the service does not run.
        """
        if self.watch is None:
            _log.info("there is nothing to be read anew: no certificates were given")
            return succeed(None)
        return self.watch.reload()

    def _read_certificates(self) -> Deferred[Reload | None]:
        """After a file has been read that need not name any."""
        return succeed(None) if self.watch is None and self.reloader.source is not None else self.reload_certificates()

    def observe(self) -> None:
        """Have the access log told of all exchanges, and the other observers, from now on."""
        for desk in self.site.desks():
            desk.observe(_told(self.access_log, self._observers))


def _access_log(given: AccessLog | str | os.PathLike[str] | None, clock: IReactorTime) -> AccessLog | None:
    if given is None or isinstance(given, AccessLog):
        return given
    return AccessLog(os.fspath(given), "combined", clock)


def _told(access_log: AccessLog | None, observers: Sequence[IExchangeObserver]) -> tuple[IExchangeObserver, ...]:
    """Who is told of exchanges."""
    return (*(() if access_log is None else (access_log,)), *observers)
