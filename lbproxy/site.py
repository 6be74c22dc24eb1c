"""The site: pools with their balancers, and the routes to them. What every listener hands its exchanges to."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorTime

from .balance.backend import Backend
from .balance.pool import Pool
from .interfaces import IExchangeObserver, IProbe
from .proxy.balancer import Balancer
from .proxy.exchange import Exchange
from .routing.router import Router
from .settings import Settings
from .tls.backends import BackendTls

__all__ = ["Site"]


class Site:
    """All that stands behind the listeners.

    :param reactor: connects.
    :param settings: those about listeners and clients, and the pools' defaults.
    :param clock: gives the time and runs time-outs and probes; the reactor does if there is none.
    :param observers: are told of every finished exchange.
    :ivar router: finds each exchange's route; the desk that all pools share.
    :ivar balancers: the pools' balancers by their names, in the operator's order.
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
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self.random = Random() if random is None else random
        self.settings = settings = Settings() if settings is None else settings
        self.router = Router(reactor if clock is None else clock, settings, observers)
        self.balancers: dict[str, Balancer] = {}
        self.running = False
        self.forward: Callable[[Exchange], None] = self._choose()

    def add_pool(
        self,
        pool: Pool,
        settings: Settings | None = None,
        *,
        probe: IProbe | Callable[[Backend], object] | None = None,
        backend_tls: BackendTls | None = None,
    ) -> Balancer:
        """Let a pool be reached, by routes that lead to it; the only one without any route gets all exchanges."""
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
        self.balancers[pool.name] = balancer
        self.forward = self._choose()
        return balancer

    def _choose(self) -> Callable[[Exchange], None]:
        """Where exchanges enter: where there is nothing to choose, they do not pay for it."""
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

    def start(self) -> None:
        """Begin to probe and to watch deadlines."""
        self.running = True
        self.router.sweep.start()
        for balancer in self.balancers.values():
            balancer.start()

    def stop(self) -> None:
        """Stop probing, and close what is idle."""
        self.running = False
        for balancer in self.balancers.values():
            balancer.stop()
        self.router.sweep.stop()
