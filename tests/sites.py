"""What the tests of sites share: configurations in a line, and a whole site in memory."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import attrs
from twisted.internet.testing import MemoryReactorClock

from lbproxy.balance.backend import parse_backends
from lbproxy.config.model import Configuration, PoolConfiguration
from lbproxy.health.probes import _HangUp
from lbproxy.health.spec import ProbeSpec
from lbproxy.http1.factory import ServerFactory
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.proxy.exchange import Exchange
from lbproxy.resource import LoadBalancerResource
from lbproxy.routing.model import Match, Route
from lbproxy.settings import Settings
from lbproxy.site import Site

from .support import START, Connect, Rig

__all__ = ["QUIET", "SiteRig", "configuration", "pool", "route"]

#: Probes come once, and nobody comes back after a back-off.
QUIET = {"probe_interval": 86400.0, "probe_timeout": 86400.0, "backoffs": 0}


def pool(backends: str, name: str = "default", *, policy: str = "round-robin", probe: str | None = None, **said: Any) -> Any:
    """A pool; what is said of it alone is kept apart until :func:`configuration` knows what is said of all."""
    files = {key: said.pop(key) for key in ("backend_ca", "backend_certificate") if key in said}
    made = PoolConfiguration(
        name=name, backends=tuple(parse_backends([backends])), policy=policy, probe=ProbeSpec.parse(probe), **files
    )
    return made, said


def route(name: str, to: str = "default", *filters: Any, path: str = "", **more: Any) -> Route:
    """A route to a pool."""
    return Route(name=name, pool=to, filters=filters, match=Match(path_prefix=(path,) if path else ()), **more)


def configuration(*pools: Any, routes: tuple[Route, ...] = (), filters: Mapping[str, Any] = {}, **settings: Any) -> Configuration:
    """A configuration of these pools, or of backends alone; further words are settings of all."""
    site = Settings(**{**QUIET, **settings})
    given = [pool(one) if isinstance(one, str) else one for one in pools]
    made = tuple(attrs.evolve(one, settings=attrs.evolve(site, **said)) for one, said in given)
    return Configuration(settings=site, pools=made, routes=routes, filters=dict(filters))


class SiteRig(Rig):
    """A whole site in memory, made of a configuration. Its pools' probes connect as exchanges do, and are kept apart.

    :ivar probes: the connections that probes asked for and that the test has not dealt with yet, by :meth:`probe`.
    """

    def __init__(self, wanted: Configuration, **more: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(START)
        self.ended: list[Exchange] = []
        self._dealt: set[Any] = set()
        self.site = Site.of(wanted, self.reactor, observers=(self,), random=Random(7), **more)  # type: ignore[arg-type]
        self.resource = LoadBalancerResource.of_site(self.site, reactor=self.reactor)
        self.listener = ListenerCounters()
        router = self.site.router
        self.factory = ServerFactory(self.resource, router.settings, self.reactor.seconds, router.sweep.watched, self.listener)
        self.site.start()

    def change(self, wanted: Configuration) -> None:
        """Go by another configuration."""
        self.site.apply(self.site.prepare(wanted))

    def balancer_of(self, name: str = "default") -> Any:
        """A pool's balancer."""
        return self.site.balancers[name]

    def _asked(self, probes: bool) -> list[tuple[Any, Connect]]:
        asked = zip(self.reactor.tcpClients, self.reactor.connectors, strict=True)
        made = [(connector, Connect(self.reactor, *asking[:3], connector)) for asking, connector in asked]
        mine = [one for one in made if one[0] not in self._dealt and _is_probe(one[1]) is probes]
        return [one for one in mine if not (probes and one[1].cancelled)]

    @property
    def connects(self) -> list[Connect]:
        """The connections asked for by exchanges that the test has not dealt with yet."""
        return [connect for _, connect in self._asked(False)]

    def connect(self) -> Connect:
        """The next one of them."""
        return self._deal(False)

    @property
    def probes(self) -> list[str]:
        """The addresses that probes want to connect to."""
        return [connect.address for _, connect in self._asked(True)]

    def probe(self, well: bool = True) -> str:
        """The next probe finds its backend well, or not; gives its address."""
        connect = self._deal(True)
        if well:
            connect.accept()
        else:
            connect.refuse()
        return connect.address

    def _deal(self, probes: bool) -> Connect:
        connector, connect = self._asked(probes)[0]
        self._dealt.add(connector)
        return connect


def _is_probe(connect: Connect) -> bool:
    return getattr(connect._factory._wrappedFactory, "protocol", None) is _HangUp
