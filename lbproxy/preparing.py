"""What a site needs to go by another configuration: all that can fail is made here, before anything that runs is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs
from twisted.logger import Logger

from .balance.backend import Backend
from .balance.pool import Pool
from .config.fields import field_keys
from .config.keys import POOL_KEYS, ROUTE_KEYS
from .config.model import Configuration, PoolConfiguration
from .config.problems import KeyPath, Mistaken, Problem, below, did_you_mean, problems_of
from .errors import ConfigurationError
from .files import FileStamp
from .interfaces import IFilter, IProbe
from .policies import policy_maker
from .proxy.balancer import Balancer
from .route_targets import pools_of, target_of
from .routing.filter import Filter, FilterContext, files_of
from .routing.mirror import Mirroring
from .routing.model import Route
from .routing.router import LiveRoute, counting
from .routing.table import RouteTable
from .site_parts import NO_FILES, Around, LiveFilter, LivePool, Policies, PoolStep, Prepared, Running
from .tls.backends import BackendTls

__all__ = ["Preparation"]

_log = Logger()
_Made = TypeVar("_Made")


class Preparation:
    """Makes what a configuration needs and does not run yet, and finds every problem on the way. Of what runs it reads alone, and
    it reads files, so that it may be done in a thread while exchanges go on.

    :param around: what it is made with.
    :param running: what runs.
    :param given: the balancers of pools that no configuration has made.
    """

    def __init__(self, around: Around, running: Running, given: Mapping[str, Balancer], new: Configuration) -> None:
        self._around = around
        self._running = running
        self._given = given
        self._new = new
        self._before = {**given, **{name: pool.balancer for name, pool in running.pools.items()}}
        self._wanted = new.pools_by_name
        self._made = Running(target_limit=new.settings.target_limit)
        self._steps: list[PoolStep] = []
        self._heirs: list[tuple[Filter, Filter]] = []
        self._reread: list[str] = []
        self._problems: list[Problem] = []

    def run(self) -> Prepared:
        """Make it.

        :raises Mistaken: with every problem.
        """
        self._pools()
        self._filters()
        self._routes()
        if self._problems:
            raise Mistaken(*self._problems)
        return Prepared(
            configuration=self._new,
            before=self._running,
            running=self._made,
            steps=tuple(self._steps),
            heirs=tuple(self._heirs),
            reread=tuple(self._reread),
        )

    def _try(self, path: KeyPath, known: Iterable[str], make: Callable[..., _Made], *args: Any) -> _Made | None:
        """What is made; None, and a problem, where it cannot be.

        :param path: of what it is made of in a file; *known* are the keys below it that errors begin with.
        """
        try:
            return make(*args)
        except ConfigurationError as error:
            self._problems += problems_of(error, known, path)
        except Exception as error:  # a user's policy or filter
            problem = Problem(path, f"{type(error).__name__}: {error}")
            _log.failure("what is needed cannot be made: {problem}", problem=problem.in_a_file)
            self._problems.append(problem)
        return None

    # Pools.

    def _pools(self) -> None:
        for wanted in self._new.pools:
            path: KeyPath = ("pools", wanted.name)
            if wanted.name in self._made.pools or wanted.name in self._given:
                self._problems.append(Problem(path, "there are two pools of this name; allowed is one"))
                continue
            live = self._running.pools.get(wanted.name)
            if live is None:
                live = self._try(path, POOL_KEYS, self._new_pool, wanted)
            elif live.configuration != wanted:
                self._try(path, POOL_KEYS, self._change_pool, live, wanted)
            else:
                self._tls(wanted)  # which is used on
            if live is not None:
                self._made.pools[wanted.name] = live
        if not self._new.routes and len(self._new.pools) + len(self._given) != 1:
            names = ", ".join((*self._given, *(pool.name for pool in self._new.pools))) or "none"
            message = f"none was given; without any there is one pool, and there are these: {names}"
            self._problems.append(Problem(("routes",), message))

    def _tls(self, wanted: PoolConfiguration) -> BackendTls:
        files = (wanted.backend_ca, wanted.backend_certificate)
        tls = self._made.tls.get(files) or self._running.tls.get(files)
        if tls is None:
            tls = BackendTls(ca=wanted.backend_ca, certificate=wanted.backend_certificate)
        self._made.tls[files] = tls
        return tls

    def _backends(self, wanted: PoolConfiguration) -> tuple[Backend, ...]:
        with below("backends"):
            return tuple(self._around.members.read(wanted))

    def _policies(self, wanted: PoolConfiguration) -> Policies:
        return Policies(policy_maker(wanted.policy, random=self._around.random, seconds=self._around.clock.seconds))

    def _probe(self, wanted: PoolConfiguration, tls: BackendTls) -> IProbe:
        from .health.http_probe import make_probe  # it brings treq, which a balancer that only connects does without

        return make_probe(wanted.probe, self._around.reactor, tls)

    def _new_pool(self, wanted: PoolConfiguration) -> LivePool:
        """Its backends count as up until the contrary is known, as at the start: there is nobody else who could be asked, and
        the first probes go out at once."""
        around = self._around
        policies = self._policies(wanted)
        backends = self._backends(wanted)
        seconds = around.clock.seconds
        pool = Pool(
            backends,
            name=wanted.name,
            policy=policies,
            seconds=seconds,
            settings=wanted.settings,
            make_state=around.role.make_state(wanted.name),
        )
        tls = self._tls(wanted)
        balancer = Balancer(
            pool,
            around.reactor,
            wanted.settings,
            clock=around.clock,
            probe=self._probe(wanted, tls),
            random=around.random,
            backend_tls=tls,
            site=around.router,
            probing=around.role.probes,
        )
        live = LivePool(wanted, balancer, policies)
        self._steps.append(PoolStep(live=live, wanted=wanted, new=True, backends=backends))
        return live

    def _change_pool(self, live: LivePool, wanted: PoolConfiguration) -> None:
        before, pool = live.configuration, live.balancer.pool
        policies = None if wanted.policy == before.policy else self._policies(wanted)
        backends = None
        if (wanted.backends, wanted.backends_file) != (before.backends, before.backends_file):
            backends = self._backends(wanted)
            with below("backends"):
                pool.check(backends)
        tiers = {backend.tier for backend in backends or ()} - set(pool.tiers)
        (policies or live.policies).have(len(tiers) + (len(pool.tiers) if policies else 0))
        tls = self._tls(wanted)
        same_tls = tls is self._running.tls.get((before.backend_ca, before.backend_certificate))
        probe = None if same_tls and wanted.probe == before.probe else self._probe(wanted, tls)
        step = PoolStep(
            live=live, wanted=wanted, backends=backends, policies=policies, tls=None if same_tls else tls, probe=probe
        )
        self._steps.append(step)

    # Filters.

    def _filters(self) -> None:
        for name, spec in self._new.filters.items():
            before = self._running.filters.get(name)
            made = self._filter(("filters", name), name, spec, before)
            if made is not None:
                self._made.filters[name] = made

    def _filter(
        self, path: KeyPath, name: str, spec: Any, before: LiveFilter | None, *more: dict[str, int]
    ) -> LiveFilter | None:
        """The one that there was, if it is equal, and its files and the limit of targets are as they were; otherwise a new one,
        which comes into what another of its type has.

        :param more: where it counts as well.
        """
        files = files_of(spec)
        made_of = FileStamp.of(files) if files else NO_FILES
        limit = self._new.settings.target_limit
        as_it_was = before is not None and (before.spec, before.made_of, self._running.target_limit) == (spec, made_of, limit)
        if before is not None and as_it_was:
            return LiveFilter(name, spec, before.filter, before.counts, made_of)
        heir = before if before is not None and type(before.spec) is type(spec) else None
        counts: dict[str, int] = {} if heir is None else heir.counts
        around = self._around
        count = _counting(counts, *more)
        context = FilterContext(
            reactor=around.reactor,
            clock=around.clock,
            random=around.random,
            settings=self._new.settings,
            count=count,
            workers=around.role.workers,
        )
        made = self._try(path, field_keys(type(spec)) if attrs.has(type(spec)) else (), _made_of, spec, context)
        if made is None:
            return None
        if heir is not None:
            self._heirs.append((made, heir.filter))
            if heir.spec == spec and heir.made_of != made_of:
                self._reread.append(name)
        return LiveFilter(name, spec, made, counts, made_of)

    def _filters_of(self, route: Route, number: int) -> list[LiveFilter]:
        """A route's filters in order: the site's for all routes, then its own; who is named twice stands in the first place."""
        said: list[tuple[KeyPath, str]] = []
        said += [(("default-filters", place), one) for place, one in enumerate(self._new.default_filters)]
        own_names = ((place, one) for place, one in enumerate(route.filters) if isinstance(one, str))
        said += [(("routes", number, "filters", place), name) for place, name in own_names]
        for path, name in said:
            if name not in self._new.filters:
                known = ", ".join(self._new.filters) or "none"
                nearest = did_you_mean(name, self._new.filters)
                self._problems.append(Problem(path, f"{name!r} was given{nearest}; allowed are {known}, or a table"))
        own = iter(self._own_filters(route, number))
        named = self._made.filters
        found = [named.get(name) for name in self._new.default_filters]
        found += [named.get(one) if isinstance(one, str) else next(own) for one in route.filters]
        return list({id(one): one for one in found if one is not None}.values())

    def _own_filters(self, route: Route, number: int) -> list[LiveFilter | None]:
        """Those of this route alone. One that was there before is found again by what it is, wherever it stood; then by its
        type."""
        places = [place for place, one in enumerate(route.filters) if not isinstance(one, str)]
        specs = [route.filters[place] for place in places]
        left = list(self._running.own.get(route.name, ()))
        before = [_take(left, spec, _itself) for spec in specs]
        for place, spec in enumerate(specs):
            if before[place] is None:
                before[place] = _take(left, spec, type)
        together = self._made.filtered[route.name] = self._running.filtered.get(route.name, {})
        types: dict[str, int] = {}
        made = []
        for place, spec, one in zip(places, specs, before, strict=True):
            types[spec.type] = nth = types.get(spec.type, 0) + 1
            name = f"{route.name}/{spec.type}" + (f"/{nth}" if nth > 1 else "")
            made.append(self._filter(("routes", number, "filters", place), name, spec, one, together))
        self._made.own[route.name] = [one for one in made if one is not None]
        return made

    # Routes.

    def _routes(self) -> None:
        balancers = {**self._given, **{name: pool.balancer for name, pool in self._made.pools.items()}}
        for number, route in enumerate(self._new.routes):
            path: KeyPath = ("routes", number)
            if route.name in self._made.routes:
                message = f"{route.name!r} was given, and there is a route of this name before it; allowed is one"
                self._problems.append(Problem((*path, "name"), message))
                continue
            filters = [one.filter for one in self._filters_of(route, number)]
            live = self._try(path, ROUTE_KEYS, self._route, route, filters, balancers)
            if live is not None:
                self._made.routes[route.name] = live
        same = self._new.routes == self._running.table.routes
        table = self._running.table if same else self._try(("routes",), (), RouteTable, self._new.routes)
        if table is not None:
            self._made.table = table

    def _route(self, route: Route, filters: list[Filter], balancers: Mapping[str, Balancer]) -> LiveRoute | None:
        """The live route that there was, if nothing of it is another; otherwise a new one."""
        pools = [self._balancer(name, balancers) for name in pools_of(route)]
        if None in pools:
            return None  # which has been said
        before = self._running.routes.get(route.name)
        if before is not None and before.route == route and before.filters == tuple(filters) and self._were(route, pools):
            return before
        around, counts = self._around, self._made.filtered[route.name]
        target = target_of(route, balancers, around)
        mirror = route.mirror
        shadow = None
        if mirror is not None:
            to = balancers[mirror.pool]
            shadow = Mirroring(to, mirror.share, around.random, counting(counts), buffer=mirror.hold, most=mirror.most)
        return LiveRoute(route, around.router, filters, target, shadow, counts)

    def _were(self, route: Route, pools: list[Balancer | None]) -> bool:
        """Whether the pools of a route are those that it has led to until now."""
        return [self._before.get(name) for name in pools_of(route)] == pools

    def _balancer(self, name: str, balancers: Mapping[str, Balancer]) -> Balancer | None:
        if name not in balancers and name not in self._wanted:
            raise ConfigurationError(f"pool: {name!r} was given; allowed are {', '.join(balancers) or 'none: there is no pool'}")
        return balancers.get(name)


def _made_of(spec: Any, context: FilterContext) -> Any:
    """The live filter that a specification makes.

    :raises ConfigurationError: it makes something else.
    """
    made = spec.make(context)
    if not IFilter.providedBy(made):
        raise ConfigurationError(f"{spec.type} made {made!r}; allowed is what provides IFilter, such as a lbproxy.Filter")
    return made


def _itself(spec: object) -> object:
    return spec


def _take(left: list[LiveFilter], spec: object, look: Callable[[Any], object]) -> LiveFilter | None:
    """Take out the first one that looks the same."""
    found = next((one for one in left if look(one.spec) == look(spec)), None)
    if found is not None:
        left.remove(found)
    return found


def _counting(*counts: dict[str, int]) -> Callable[[str], None]:
    """What counts words in all of these."""
    if len(counts) == 1:
        return counting(counts[0])
    each = [counting(one) for one in counts]

    def count(what: str) -> None:
        for one in each:
            one(what)

    return count
