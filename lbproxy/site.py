"""The site: pools with their balancers, and the routes to them. What every listener hands its exchanges to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorTime

from .balance.backend import Backend
from .balance.pool import Pool
from .balance.state import Change
from .config.model import Configuration
from .interfaces import IExchangeObserver, IProbe
from .preparing import Preparation
from .proxy.balancer import Balancer
from .proxy.desk import Desk, shortest_time
from .proxy.exchange import Exchange
from .role import Role
from .routing.router import Router
from .routing.split import SplitTarget
from .settings import Settings
from .site_parts import Around, LiveFilter, Membership, Plain, Prepared, Running, quietly
from .tls.backends import BackendTls

__all__ = ["Site"]


class Site:
    """All that stands behind the listeners.

    It is made of pools (:meth:`add_pool`), or of a configuration (:meth:`of`), and then goes from one configuration to the next
    while it runs: :meth:`prepare` makes all that can fail, :meth:`apply` touches what differs, and nothing else. A pool that
    left is seen off: what runs in it goes on to its end, probes included, and a pool of its name is another one.

    :param reactor: connects.
    :param settings: those about listeners and clients, and the pools' defaults.
    :param clock: gives the time and runs time-outs and probes; the reactor does if there is none.
    :param observers: are told of every finished exchange.
    :param random: the only source of chance.
    :param resources: the application's own, by the names that routes give.
    :param members: tells the pools of configurations whom they consist of; by default, whom those name.
    :param role: what this process has to do of it; by default all.
    :ivar configuration: what it goes by; None: it was made of pools.
    :ivar router: finds each exchange's route; the desk that all pools share.
    :ivar balancers: the pools' balancers by their names, in the operator's order.
    :ivar leaving: those of pools that have left, and still have exchanges.
    :ivar forward: ``forward(exchange)`` carries an exchange.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings | None = None,
        *,
        clock: IReactorTime | None = None,
        observers: tuple[IExchangeObserver, ...] = (),
        random: Random | None = None,
        resources: Mapping[str, Any] | None = None,
        members: Membership | None = None,
        role: Role | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock: IReactorTime = reactor if clock is None else clock
        self.random = Random() if random is None else random
        self.settings = settings = Settings() if settings is None else settings
        self.configuration: Configuration | None = None
        self.router = Router(self._clock, settings, observers)
        self._role = role = Role() if role is None else role
        if role.random_key is not None:
            self.router.random_key = role.random_key
        self.balancers: dict[str, Balancer] = {}
        self.leaving: list[Balancer] = []
        self.running = False
        self._given: dict[str, Balancer] = {}
        self._live = Running()
        self._watchers: list[Callable[[Change], None]] = []
        self._around = Around(
            reactor=reactor,
            clock=self._clock,
            random=self.random,
            router=self.router,
            resources={} if resources is None else resources,
            members=Plain() if members is None else members,
            role=role,
        )
        self.forward: Callable[[Exchange], None] = self._begin

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        reactor: Any,
        *,
        clock: IReactorTime | None = None,
        observers: tuple[IExchangeObserver, ...] = (),
        random: Random | None = None,
        resources: Mapping[str, Any] | None = None,
        members: Membership | None = None,
        role: Role | None = None,
    ) -> Site:
        """The site that a configuration describes; nothing runs before :meth:`start`, or the first exchange.

        :raises ConfigurationError: with every problem, a line each.
        """
        site = cls(
            reactor,
            configuration.settings,
            clock=clock,
            observers=observers,
            random=random,
            resources=resources,
            members=members,
            role=role,
        )
        site.apply(site.prepare(configuration))
        return site

    def add_pool(
        self,
        pool: Pool,
        settings: Settings | None = None,
        *,
        probe: IProbe | Callable[[Backend], object] | None = None,
        backend_tls: BackendTls | None = None,
    ) -> Balancer:
        """Let a pool be reached, by routes that lead to it; the only one without any route gets all exchanges. It stays whatever
        configurations come."""
        balancer = Balancer(
            pool,
            self._reactor,
            self.settings if settings is None else settings,
            clock=self._clock,
            probe=probe,
            random=self.random,
            backend_tls=backend_tls,
            site=self.router,
        )
        self._given[pool.name] = self.balancers[pool.name] = balancer
        self._welcome(balancer)
        self._go_by_times()
        self._open()
        return balancer

    # What there is.

    def desks(self) -> list[Desk]:
        """All that keep books of exchanges: the router, the balancers, and those of pools that are leaving."""
        return [self.router, *self.balancers.values(), *self.leaving]

    @property
    def backend_tls(self) -> tuple[BackendTls, ...]:
        """How TLS is spoken with the backends of configured pools; those that go by the same files share one."""
        return tuple(self._live.tls.values())

    @property
    def filters(self) -> list[LiveFilter]:
        """The filters that run, with what they count: those that stand by themselves, then those of each route."""
        return [*self._live.filters.values(), *(one for own in self._live.own.values() for one in own)]

    def watch(self, observer: Callable[[Change], None]) -> None:
        """Tell it of the changes of all pools, those that come later as well."""
        if observer not in self._watchers:
            self._watchers.append(observer)
            for pool in self._pools():
                if observer not in pool.observers:
                    pool.observers.append(observer)

    def unwatch(self, observer: Callable[[Change], None]) -> None:
        """Tell it no more."""
        if observer in self._watchers:
            self._watchers.remove(observer)
        for pool in self._pools():
            if observer in pool.observers:
                pool.observers.remove(observer)

    def _pools(self) -> list[Pool]:
        return [balancer.pool for balancer in (*self.balancers.values(), *self.leaving)]

    # From one configuration to the next.

    def prepare(self, configuration: Configuration) -> Prepared:
        """Make all that it takes to go by a configuration; what runs is not touched. Blocking, and with many routes long; safe in
        a thread.

        :raises ConfigurationError: with every problem, a line each.
        """
        return Preparation(self._around, self._live, self._given, configuration).run()

    def apply(self, prepared: Prepared) -> None:
        """Go by it from now on. Only what differs is touched; exchanges that run keep the route, and the pool, that they began
        with. Errors of users' code are logged.

        What is believed of clients holds for connections made from now on: a connection's client was made with it.

        :raises ValueError: another one has been applied since it was prepared.
        """
        if prepared.before is not self._live:
            raise ValueError("another configuration has been applied since this one was prepared")
        before, self._live = self._live, prepared.running
        self.configuration = new = prepared.configuration
        self.settings = new.settings
        self.router.configure(new.settings)
        left = [live.balancer for name, live in before.pools.items() if self._live.pools.get(name) is not live]
        self._change_pools(prepared)
        for filter, old in prepared.heirs:
            quietly(filter.take_over, old)
        self._change_routes(before)
        for balancer in left:
            self._leave(balancer)
        for name in before.pools.keys() - self._live.pools.keys():
            quietly(self._around.members.drop, name)
        self._go_by_times()
        self._open()

    def _change_pools(self, prepared: Prepared) -> None:
        self.balancers = {**self._given, **{name: live.balancer for name, live in self._live.pools.items()}}
        for step in prepared.steps:
            if step.new:
                self._welcome(step.live.balancer)
            step.apply(self._around.members)
        for balancer in self.balancers.values():
            quietly(balancer.configure, balancer.settings)  # what is said of clients, and to them, is the site's

    def _change_routes(self, before: Running) -> None:
        """A route that was made anew counts on; what the former one still does that nobody waits for is dropped."""
        for name, live in self._live.routes.items():
            old = before.routes.get(name)
            if old is not None and old is not live:
                live.taken, live.statuses = old.taken, old.statuses
                if isinstance(live.target, SplitTarget) and isinstance(old.target, SplitTarget):
                    known = old.target.taken.items()
                    live.target.taken.update({part: count for part, count in known if part in live.target.taken})
        self.router.route(self._live.table, self._live.routes)
        for name, old in before.routes.items():
            if self._live.routes.get(name) is not old:
                quietly(old.stop)

    def _welcome(self, balancer: Balancer) -> None:
        balancer.wake = lambda: self._wake(balancer)
        self._role.welcome(balancer)
        balancer.pool.observers += [one for one in self._watchers if one not in balancer.pool.observers]

    def _leave(self, balancer: Balancer) -> None:
        """See a pool off. Nobody follows it any more: there may be another one of its name."""
        balancer.pool.followers.clear()
        quietly(balancer.retire)
        if balancer.running:
            self.leaving.append(balancer)
            self.router.beat.add(self._see_off)
            self._see_off()

    def _see_off(self) -> None:
        """Stop those that have nothing to do any more. An exchange that a filter has kept may still come, and wakes it again."""
        for balancer in [one for one in self.leaving if not one.counters.in_flight]:
            self.leaving.remove(balancer)
            quietly(balancer.stop)
        if not self.leaving:
            self.router.beat.discard(self._see_off)

    def _wake(self, balancer: Balancer) -> None:
        """An exchange comes to a balancer that does not run."""
        if not self.running:
            self.start()
        if not balancer.running:
            balancer.start()
        if balancer.retired and balancer not in self.leaving:
            self.leaving.append(balancer)
            self.router.beat.add(self._see_off)

    def _go_by_times(self) -> None:
        """Sweep often enough for the shortest time-out of all."""
        every = (self.settings, *(balancer.settings for balancer in self.balancers.values()))
        self.router.sweep.configure(min(map(shortest_time, every)))

    # Where exchanges enter.

    def _open(self) -> None:
        """Let exchanges enter where they are to: where there is nothing to choose, they do not pay for it."""
        self.forward = self._role.entrance(self._choose()) if self.running else self._begin
        for balancer in self.balancers.values() if self.running else ():
            if not balancer.running:
                balancer.start()

    def _begin(self, exchange: Exchange) -> None:
        """The first exchange, and nobody has started the site."""
        self.start()
        self.forward(exchange)

    def _choose(self) -> Callable[[Exchange], None]:
        carry = self._carry()
        if not self.settings.redirect_to_https:
            return carry

        def over_tls(exchange: Exchange) -> None:
            if exchange.client.secure:
                carry(exchange)
            else:
                exchange.redirect(self.router)

        return over_tls

    def _carry(self) -> Callable[[Exchange], None]:
        if len(self.balancers) == 1 and not self.router.live:
            return next(iter(self.balancers.values())).forward
        return self.router.forward

    # Its life.

    def start(self) -> None:
        """Begin to probe and to watch deadlines."""
        self.running = True
        self.router.sweep.start()
        self._open()

    def stop(self) -> None:
        """Stop probing, and close what is idle."""
        self.running = False
        for balancer in (*self.balancers.values(), *self.leaving):
            balancer.stop()
        self.leaving.clear()
        self.router.beat.discard(self._see_off)
        self.router.sweep.stop()
        self.forward = self._begin
