"""A ``twisted.web`` resource that hands its requests to a balancer.

By type it is a :class:`~twisted.web.proxy.ReverseProxyResource`, so that it fits wherever one is expected; it inherits none of
its behaviour (which reads whole bodies, opens a connection for each request, and finishes truncated answers as if whole).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import IResource, Resource

from .balance.backend import Backend
from .balance.pool import Pool
from .config.differences import Difference, differences
from .config.in_python import alone, completed
from .config.model import Configuration
from .errors import ConfigurationError
from .http1.head import MessageLimits, RequestHead
from .http1.roles import Place
from .interfaces import IDownstream, IExchangeObserver, IProbe
from .members import Memberships
from .proxy.balancer import Balancer
from .proxy.client import NOWHERE, Client
from .proxy.counters import ListenerCounters
from .proxy.exchange import Exchange
from .settings import Settings
from .site import Site
from .tls.backends import BackendTls
from .tls.watch import in_thread_of
from .web import WebDownstream

__all__ = ["LoadBalancerResource"]


class LoadBalancerResource(ReverseProxyResource):
    """Balances what reaches it, and all below it, over a pool.

    It works anywhere in a ``twisted.web`` tree; the request target goes on as it came, the path above this resource included.
    ``twistd lbproxy`` serves the same resource through its own listener, which calls :meth:`forward` where ``twisted.web``
    calls :meth:`render`.

    Probes begin with the first request, or with :meth:`start`; :meth:`stop` ends them.

    :param pool: where requests go.
    :param reactor: connects.
    :param clock: gives the time and runs time-outs and probes; the reactor does if there is none.
    :param settings: retries, time-outs, limits.
    :param probe: how backends are probed: an :class:`~lbproxy.interfaces.IProbe`, or a function that gets a backend and says, at
        once or by a Deferred, whether it is well; by default a connection is made.
    :param observers: are told of every finished exchange.
    :param backend_tls: how TLS is spoken with backends; by default they must be known to the system's authorities. Nothing here
        reads its files anew: see there.
    :param client_certificates: whether backends are told of the certificate that a client of :meth:`render` has shown
        (``X-SSL-Client-Verify`` and the others). Only where its listener's TLS verifies them: what an endpoint with a
        :class:`~lbproxy.tls.store.CertificateStore` or :class:`twisted.internet.ssl.CertificateOptions` with a ``trustRoot``
        does, but a context whose own callback takes any certificate does not.
    :ivar site: the pool with its balancer, as what every listener hands its exchanges to.
    :ivar limits: of a request's head.
    :ivar counters: what is counted at the door: here the requests that :meth:`render` refused, by cause; of a service, also
        what its listeners count.
    """

    isLeaf = True

    def __init__(  # the base class's host and port mean nothing here, so its __init__ is not called
        self,
        pool: Pool,
        *,
        reactor: Any,
        clock: IReactorTime | None = None,
        settings: Settings | None = None,
        probe: IProbe | Callable[[Backend], object] | None = None,
        observers: tuple[IExchangeObserver, ...] = (),
        backend_tls: BackendTls | None = None,
        client_certificates: bool = False,
    ) -> None:
        site = Site(reactor, settings, clock=clock, observers=observers)
        site.add_pool(pool, probe=probe, backend_tls=backend_tls)
        self._serve(site, reactor, client_certificates)

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        *,
        reactor: Any,
        clock: IReactorTime | None = None,
        resources: Mapping[str, IResource] | None = None,
        observers: tuple[IExchangeObserver, ...] = (),
        client_certificates: bool = False,
    ) -> LoadBalancerResource:
        """The resource for all that a configuration has of pools, routes and filters; it can go by another one later
        (:meth:`reload`). Routes match the whole path of a request, the one above this resource included. Listeners,
        certificates, logs and what operators are shown are the tree's own affair.

        :param resources: by the names that routes give, what they lead to of the application's own.
        :raises ConfigurationError: for what cannot be used, a line each.
        """
        configuration = _for_a_tree(configuration)
        members = Memberships(reactor if clock is None else clock, partial(in_thread_of, reactor))
        site = Site.of(configuration, reactor, clock=clock, observers=observers, resources=resources, members=members)
        resource = cls.of_site(site, reactor=reactor, client_certificates=client_certificates)
        resource._members = members
        return resource

    @classmethod
    def of_site(cls, site: Site, *, reactor: Any, client_certificates: bool = False) -> LoadBalancerResource:
        """The resource for all that a site has, with its routes."""
        resource = cls.__new__(cls)
        resource._serve(site, reactor, client_certificates)
        return resource

    def _serve(self, site: Site, reactor: Any, client_certificates: bool) -> None:
        Resource.__init__(self)
        self._members: Memberships | None = None
        self.reactor = reactor
        self.site = site
        self.client_certificates = client_certificates
        self.counters = ListenerCounters()
        self.configure(site.settings)

    def reload(self, configuration: Configuration) -> tuple[Difference, ...]:
        """Go by another configuration from now on: by all of it or, when there is a mistake in it, by nothing of it. Only what
        differs is touched. It blocks while files are read that pools and filters name.

        :return: what was changed.
        :raises ConfigurationError: with a line for each mistake; also where this was not made of a configuration (:meth:`of`).
        """
        before, new = self.site.configuration, _for_a_tree(configuration)
        if before is None:
            raise ConfigurationError("nothing can be changed: it was not made of a configuration (LoadBalancerResource.of)")
        self.site.apply(self.site.prepare(new))
        self.configure(new.settings)
        return tuple(differences(before, new))

    def configure(self, settings: Settings) -> None:
        """Go by these limits from now on."""
        self.limits = MessageLimits.of(settings)

    @property
    def balancer(self) -> Balancer:
        """The pool's; of several pools, the first one's.

        :raises LookupError: there is none: all routes lead elsewhere.
        """
        for balancer in self.site.balancers.values():
            return balancer
        raise LookupError("this site has no pool")

    @property
    def pool(self) -> Pool:
        """Where requests go; of several, the first one."""
        return self.balancer.pool

    def start(self) -> None:
        """Begin to probe, and to look at files of members, now instead of with the first request."""
        self.site.start()
        if self._members is not None:
            self._members.start()

    def stop(self) -> None:
        """Stop probing, and close what is idle."""
        self.site.stop()
        if self._members is not None:
            self._members.stop()

    def getChild(self, path: bytes, request: Any) -> LoadBalancerResource:
        """Everything below is this resource's."""
        return self

    def render(self, request: Any) -> int:
        """Make an exchange of a ``twisted.web`` request and carry it."""
        if not self.site.running:
            self.start()
        return WebDownstream(request).begin(self)

    # ExchangeMaker: the same for both kinds of listener.

    def client(
        self, address: str, secure: bool, source: Place = NOWHERE, destination: Place = NOWHERE, identity: bytes = b""
    ) -> Client:
        """What is remembered of a client's connection.

        :param address: an IP address, ``unix`` or ``unknown``.
        :param secure: whether it came over TLS.
        :param source: the client's end of the connection, and *destination* ours: IP address and port.
        :param identity: what backends are told of its TLS certificate, as lines of a head each ended by CRLF.
        """
        return self.site.router.forwarding.client(source, destination, secure, address, identity)

    def exchange(self, downstream: IDownstream, head: RequestHead, client: Client) -> Exchange:
        """Make an exchange; nothing happens before :meth:`forward`."""
        if client.varies:
            client = self.site.router.forwarding.of_request(client, head)
        return Exchange(downstream, head, client, self.site.settings.replay_limit)

    def forward(self, exchange: Exchange) -> None:
        """Carry an exchange."""
        self.site.forward(exchange)


#: What a configuration says that is none of a tree's.
_OF_LISTENERS = ("listen", "tls_listen", "certificates", "admin", "admin_writable", "access_log", "state_file", "watch")


def _for_a_tree(configuration: Configuration) -> Configuration:
    """The same, complete.

    :raises ConfigurationError: there are mistakes in it, or things that only a service can do.
    """
    given = [name for name in _OF_LISTENERS if getattr(configuration, name)]
    if given:
        why = "it was given, which is for a LoadBalancerService; of a resource, the tree has it"
        raise ConfigurationError("\n".join(f"{name}: {why}" for name in given))
    return completed(alone(configuration))
