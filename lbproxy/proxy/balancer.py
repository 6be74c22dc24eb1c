"""The balancer: one pool's engine, which every listener hands its exchanges to."""

from __future__ import annotations

from secrets import token_bytes
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ..balance.pool import Pool
from ..deadlines import DeadlineSweep
from ..health.schedule import ProbeSchedule
from ..interfaces import IExchangeObserver, IProbe
from ..settings import Settings
from .counters import BalancerCounters
from .exchange import Exchange
from .forwarding import Forwarding
from .request_ids import request_ids
from .upstreams import Upstreams

__all__ = ["Balancer"]


class Balancer:
    """Carries exchanges to a pool's backends, and probes them.

    :param pool: where exchanges go.
    :param reactor: connects.
    :param settings: retries, time-outs, limits.
    :param clock: gives the time and runs time-outs and probes; the reactor does if there is none.
    :param probe: how backends are probed; by default a connection is made.
    :param observers: are told of every finished exchange.
    :ivar forwarding: what backends are told of who asks.
    :ivar next_request_id: gives each request its id.
    """

    def __init__(
        self,
        pool: Pool,
        reactor: Any,
        settings: Settings | None = None,
        *,
        clock: IReactorTime | None = None,
        probe: IProbe | None = None,
        observers: tuple[IExchangeObserver, ...] = (),
    ) -> None:
        self.pool = pool
        self.settings = settings = Settings() if settings is None else settings
        self.counters = BalancerCounters()
        self.observers = observers
        self.clock: IReactorTime = reactor if clock is None else clock
        self.seconds = self.clock.seconds
        shortest = min(
            settings.response_timeout,
            settings.header_timeout,
            settings.idle_timeout,
            settings.body_grace,
            settings.write_timeout,
            settings.tunnel_timeout,
            settings.upstream_idle_timeout,
        )
        self.sweep = DeadlineSweep(self.clock, shortest)
        self.upstreams = Upstreams(reactor, settings, self.sweep, clock=self.clock)
        self.probes = ProbeSchedule(pool, reactor, settings, probe, clock=self.clock)
        self.forwarding = Forwarding.of(settings)
        self.response_via = self.forwarding.response_via
        self.next_request_id = request_ids(token_bytes(8))
        self.running = False

    def forward(self, exchange: Exchange) -> None:
        """Carry an exchange: from here on its downstream is told what comes of it."""
        if not self.running:
            self.start()
        exchange.start(self)

    def start(self) -> None:
        """Begin to probe and to watch deadlines. The first exchange does it too, if nobody has."""
        self.running = True
        self.upstreams.open()
        self.sweep.start()
        self.probes.start()

    def stop(self) -> None:
        """Stop probing, and close the idle connections to backends; those in use are closed when their exchange is over."""
        self.running = False
        self.probes.stop()
        self.sweep.stop()
        self.upstreams.close()
