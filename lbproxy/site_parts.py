"""The parts of a site: what it has of a configuration while it runs, and what is made for the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .balance.backend import Backend
from .balance.pool import Pool
from .config.model import Configuration, PoolConfiguration
from .files import FileStamp
from .interfaces import IPolicy, IProbe
from .proxy.balancer import Balancer
from .role import Role
from .routing.filter import Filter
from .routing.router import LiveRoute, Router
from .routing.table import RouteTable
from .tls.backends import BackendTls

__all__ = [
    "NO_FILES",
    "Around",
    "LiveFilter",
    "LivePool",
    "Membership",
    "Plain",
    "Policies",
    "PoolStep",
    "Prepared",
    "Running",
    "TlsFiles",
    "quietly",
]

_log = Logger()
#: Of a filter that is made of no file.
NO_FILES = FileStamp()
#: The files of TLS with backends, as they are named: authorities, certificate.
TlsFiles = tuple[str | None, str | None]


class Policies:
    """Makes a pool's policies, of which some may be made beforehand: a user's may fail to be made.

    :param make: makes one.
    """

    def __init__(self, make: Callable[[], IPolicy]) -> None:
        self._make = make
        self._ready: list[IPolicy] = []

    def __call__(self) -> IPolicy:
        return self._ready.pop() if self._ready else self._make()

    def have(self, count: int) -> None:
        """Make so many now, less those that are here.

        :raises ConfigurationError: one cannot be made.
        """
        while len(self._ready) < count:
            self._ready.append(self._make())


@attrs.define(eq=False)
class LivePool:
    """A pool of a configuration, as it runs.

    :ivar configuration: what it goes by.
    :ivar policies: makes its policies.
    """

    configuration: PoolConfiguration
    balancer: Balancer
    policies: Policies


@attrs.define(eq=False)
class LiveFilter:
    """A filter as it runs.

    :ivar name: its own, if it stands by itself; otherwise its route's and its type, such as ``cart/cors``, with a number from the
        second of that type on.
    :ivar spec: what it was made of.
    :ivar counts: what it has counted, by word; goes on when it is made anew of another specification of its type.
    :ivar made_of: the files that it was made of, as they were then.
    """

    name: str
    spec: Any
    filter: Filter
    counts: dict[str, int]
    made_of: FileStamp = NO_FILES


@attrs.define(eq=False)
class Running:
    """What a site has of a configuration just now.

    :ivar tls: by their files; equal files share one.
    :ivar filters: those that stand by themselves, by name; *own* those of one route alone, by its name, in order.
    :ivar filtered: what a route's own filters and its mirror have counted together, by its name.
    :ivar table: finds routes; *routes* are the live ones, by name.
    :ivar target_limit: what filters that write targets go by.
    """

    pools: dict[str, LivePool] = attrs.Factory(dict)
    tls: dict[TlsFiles, BackendTls] = attrs.Factory(dict)
    filters: dict[str, LiveFilter] = attrs.Factory(dict)
    own: dict[str, list[LiveFilter]] = attrs.Factory(dict)
    filtered: dict[str, dict[str, int]] = attrs.Factory(dict)
    table: RouteTable = attrs.Factory(lambda: RouteTable(()))
    routes: dict[str, LiveRoute] = attrs.Factory(dict)
    target_limit: int = 0


class Membership(Protocol):
    """Who tells pools whom they consist of."""

    def read(self, configuration: PoolConfiguration) -> Iterable[Backend]:
        """The backends that a pool is to have by this.

        :raises ConfigurationError: for a file that cannot be read.
        """

    def configure(self, pool: Pool, backends: Iterable[Backend], file: str) -> object:
        """The configuration says this of a pool: when it is new, and when another thing is said."""

    def drop(self, name: str) -> None:
        """There is no pool of that name any more."""


class Plain:
    """Pools consist of what their configuration names."""

    def read(self, configuration: PoolConfiguration) -> Iterable[Backend]:
        """These."""
        return configuration.backends

    def configure(self, pool: Pool, backends: Iterable[Backend], file: str) -> None:
        """Tell the pool, unless it knows."""
        wanted = list(backends)
        if wanted != [member.backend for member in pool.members.values()]:
            pool.set_backends(wanted)

    def drop(self, name: str) -> None:
        """Nothing is kept of it."""


@attrs.frozen(kw_only=True)
class Around:
    """What a site is made with, and makes everything with.

    :ivar resources: the application's own, by the names that routes give.
    :ivar members: tells pools whom they consist of.
    :ivar role: what this process has to do of it.
    """

    reactor: Any
    clock: IReactorTime
    random: Random
    router: Router
    resources: Mapping[str, Any]
    members: Membership
    role: Role


@attrs.frozen(kw_only=True)
class PoolStep:
    """What is to be done with one pool that is new or has changed.

    :ivar live: the pool, made for this if it is *new*.
    :ivar backends, policies, tls, probe: where it is to have others.
    """

    live: LivePool
    wanted: PoolConfiguration
    new: bool = False
    backends: tuple[Backend, ...] | None = None
    policies: Policies | None = None
    tls: BackendTls | None = None
    probe: IProbe | None = None

    def apply(self, members: Membership) -> None:
        """Do it. Nothing here can fail but users' code, whose errors are logged."""
        live, balancer, wanted = self.live, self.live.balancer, self.wanted
        live.configuration = wanted
        if self.policies is not None:
            live.policies = self.policies
            quietly(balancer.pool.set_policy, self.policies)
        if self.backends is not None:
            quietly(members.configure, balancer.pool, self.backends, wanted.backends_file)
        if self.tls is not None:
            quietly(balancer.upstreams.set_tls, self.tls)
        quietly(balancer.configure, wanted.settings)
        if self.probe is not None:
            quietly(balancer.probes.set_probe, self.probe)


@attrs.define(kw_only=True, eq=False)
class Prepared:
    """All that is needed to go by a configuration.

    :ivar before: what ran when it was made; it can be applied to nothing else.
    :ivar running: what is to run; what stays is the same in both.
    :ivar heirs: filters made anew, each with the one in whose place it stands.
    :ivar reread: names of those of them that are said as before, but are made of a file that has changed.
    """

    configuration: Configuration
    before: Running
    running: Running
    steps: tuple[PoolStep, ...]
    heirs: tuple[tuple[Filter, Filter], ...]
    reread: tuple[str, ...] = ()


def quietly(do: Callable[..., object], *args: Any) -> None:
    """Call it; what it raises is logged."""
    try:
        do(*args)
    except Exception:  # of a user's policy, filter, probe or observer
        _log.failure("{do!r} failed; the rest of the configuration is gone by", do=do)
