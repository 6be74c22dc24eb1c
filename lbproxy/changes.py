"""From one configuration to another while a service runs: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from errno import EADDRINUSE
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from .config.differences import Difference, differences, unchangeable
from .config.keys import TOP_KEYS
from .config.model import Certificates, Configuration
from .config.problems import Mistaken, Problem, problems_of
from .errors import ConfigurationError, ListenError
from .files import recording
from .listener import check_endpoints
from .listeners import Opening, Places
from .observe.access_log import AccessLog
from .role import Role
from .tls.store import CertificateStore

if TYPE_CHECKING:
    from .service import LoadBalancerService

__all__ = ["change", "check_places", "log_of", "places_of", "store_of"]


def places_of(configuration: Configuration) -> Places:
    """Where it says that is listened."""
    return Places.of(
        configuration.listen,
        configuration.tls_listen,
        configuration.admin,
        certificates=configuration.certificates is not None,
        redirect=configuration.settings.redirect_to_https,
    )


def check_places(configuration: Configuration, reactor: Any, role: Role | None = None) -> None:
    """Whether all descriptions can be read.

    :param role: by which this process listens; by default it is the only one.
    :raises ConfigurationError: names those that cannot.
    """
    places = places_of(configuration)
    acceptor: Any = configuration.certificates  # nothing listens
    check_endpoints(reactor, places.plain, places.admin, tls_listen=places.secure, acceptor=acceptor, role=role)


def log_of(configuration: Configuration, clock: IReactorTime) -> AccessLog | None:
    """The access log that it wants, not opened yet."""
    wanted = configuration.access_log
    return None if wanted is None else AccessLog(wanted.path, wanted.format, clock, explain=wanted.explain)


def store_of(configuration: Configuration) -> CertificateStore | None:
    """The certificates that it names. Blocking; safe in a thread.

    :raises ConfigurationError: a line a mistake.
    """
    return None if configuration.certificates is None else _store(configuration.certificates)


def _store(wanted: Certificates) -> CertificateStore:
    return CertificateStore(
        wanted.files,
        default=wanted.default,
        reject_unknown_names=wanted.reject_unknown_names,
        profile=wanted.profile,
        client_ca=wanted.client_ca,
        client_auth=wanted.client_auth,
    )


def change(service: LoadBalancerService, configuration: Configuration) -> Deferred[tuple[Any, ...]]:
    """Have a service go by another configuration.

    :return: fires with the differences; fails with a :class:`~lbproxy.errors.ConfigurationError` or
        :class:`~lbproxy.errors.ListenError` when nothing has changed.
    """
    if service.configuration is None:
        return maybeDeferred(_refuse, "this service was not made of a configuration (LoadBalancerService.of)")
    return _Change(service, service.configuration, configuration).begin()


def _refuse(why: str) -> Any:
    raise ConfigurationError(f"nothing can be changed: {why}")


@attrs.define
class _Prepared:
    """What has been made, and is not in use yet."""

    certificates: CertificateStore | None = None
    site: Any = None
    access_log: AccessLog | None = None
    opening: Opening | None = None
    differences: list[Difference] = attrs.Factory(list)


class _Change:
    """One change of a service.

    What may take long comes first, in a thread; then all is prepared that can fail, ports last, and then, in the same turn of the
    reactor, put into use.
    """

    def __init__(self, service: LoadBalancerService, old: Configuration, new: Configuration) -> None:
        self._service = service
        self._old = old
        self._new = new
        self._made = _Prepared(certificates=service.certificates, access_log=service.access_log)
        self._problems: list[Problem] = []

    def begin(self) -> Deferred[tuple[Any, ...]]:
        """Prepare what takes long, and go on."""
        preparing: Deferred[Any] = maybeDeferred(self._service.in_thread, self._prepare_in_thread)
        return preparing.addCallback(lambda _: self._go_on()).addCallback(lambda _: self._go_by())

    def _prepare_in_thread(self) -> None:
        """Files are read, and with thousands of routes there is much to make and to compare."""
        record = recording()
        if record is not None:
            record.begin()
        self._made.differences = differences(self._old, self._new)
        self._problems += unchangeable(self._old, self._new)
        self._try(self._prepare_certificates)
        self._try(self._prepare_site)

    def _prepare_certificates(self) -> None:
        if self._new.certificates != self._old.certificates:
            self._made.certificates = store_of(self._new)

    def _prepare_site(self) -> None:
        self._made.site = site = self._service.site.prepare(self._new)
        self._made.differences += [Difference("filter-changed", name, "what is in its file") for name in site.reread]

    def _try(self, prepare: Callable[[], None]) -> None:
        try:
            prepare()
        except ConfigurationError as error:
            self._problems += problems_of(error, TOP_KEYS)

    def _go_on(self) -> Deferred[Any]:
        """What is left to prepare takes no time; and then all processes must agree, where there are several."""
        if self._service.draining:
            _refuse("it is stopping")
        self._try(self._prepare_log)
        try:
            self._try(self._prepare_listeners)
            if self._problems:
                raise Mistaken(*self._problems)
        except Exception:
            self._abandon()
            raise
        return maybeDeferred(self._service.role.agree, self._new, self._made.opening).addErrback(self._not_agreed)

    def _not_agreed(self, failure: Failure) -> Failure:
        self._abandon()
        return failure

    def _go_by(self) -> tuple[Any, ...]:
        """All have agreed."""
        if self._service.draining:
            self._abandon()
            self._service.role.withdrawn()
            _refuse("it is stopping")
        try:
            self._apply()
        except Exception:
            self._service.role.withdrawn()
            raise
        self._service.role.applied()
        return tuple(self._made.differences)

    def _prepare_log(self) -> None:
        if self._new.access_log != self._old.access_log:
            log = log_of(self._new, self._service.clock)
            if log is not None:
                self._service.role.log_made(log)
                if self._service.bound:
                    log.open()
            self._made.access_log = log

    def _prepare_listeners(self) -> None:
        """After all else has gone well: whoever connects to a new port is to be served."""
        check_places(self._new, self._service.reactor, self._service.role)
        if not self._problems:
            self._made.opening = self._open()

    def _open(self) -> Opening:
        listeners, places = self._service.listeners, places_of(self._new)
        try:
            return listeners.open(places, self._made.certificates, bind=self._service.bound)
        except ListenError as error:
            left = listeners.left_by(places)
            if not (_is_taken(error) and left):
                raise
            raise ListenError(
                f"{error}; new places are opened before old ones are closed: if {', '.join(left)} is in the way, have it closed "
                "by a reload of its own first"
            ) from error

    def _abandon(self) -> None:
        log = self._made.access_log
        if log is not None and log is not self._service.access_log:
            log.close()
        if self._made.opening is not None:
            self._service.listeners.abandon(self._made.opening)

    def _apply(self) -> None:
        service, made, settings = self._service, self._made, self._new.settings
        assert made.opening is not None
        before, service.access_log = service.access_log, made.access_log
        if made.access_log is not None and service.running:
            made.access_log.start()
        service.site.apply(made.site)
        service.observe()
        service.resource.configure(settings)
        service.factory.configure(settings)
        service.listeners.replace(made.opening, made.certificates)
        service.configuration = self._new
        if self._new.state_file != self._old.state_file:
            service.keep_state(self._new.state_file)
        service.go_by(made.certificates, service.site.backend_tls, self._new.admin_writable)
        if service.running and (made.opening.opened or settings.max_connections != self._old.settings.max_connections):
            service.limit.start(settings.max_connections)
        if before is not None and before is not made.access_log:
            before.close()


def _is_taken(error: ListenError) -> bool:
    """Whether somebody listens there already. Of a Unix socket's lock Twisted says so in words."""
    cause = getattr(error.__cause__, "socketError", None)
    return getattr(cause, "errno", 0) == EADDRINUSE or cause == "Cannot acquire lock"
