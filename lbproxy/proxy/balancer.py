"""The balancer: one pool's engine, which every listener hands its exchanges to."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..balance.backend import Backend
from ..balance.pool import Pool
from ..balance.state import BackendState, Change, Verdict
from ..errors import AttemptFailed
from ..health.probes import ConnectProbe
from ..health.schedule import ProbeSchedule
from ..health.traffic import TrafficCheck
from ..interfaces import IExchangeObserver, IProbe
from ..settings import Settings
from ..tls.backends import BackendTls, warn_of_unverified
from .budget import RetryBudget
from .counters import PoolGauges
from .desk import Desk
from .exchange import Exchange
from .explain import Decision, survey
from .hedging import Hedging
from .line import WaitingLine
from .retry import marks_down, repeats_work
from .sticky import Sticky
from .upstreams import Upstreams
from .waits import Waits

__all__ = ["Balancer"]

_log = Logger()


class Balancer(Desk):
    """Carries exchanges to a pool's backends, and probes them.

    :param pool: where exchanges go.
    :param reactor: connects.
    :param settings: retries, time-outs, limits.
    :param clock: gives the time and runs time-outs and probes; the reactor does if there is none.
    :param probe: how backends are probed: an :class:`~lbproxy.interfaces.IProbe`, or a function that gets a backend and says, at
        once or by a Deferred, whether it is well; by default a connection is made.
    :param observers: are told of every finished exchange.
    :param random: source of back-offs and of probes' jitter.
    :param backend_tls: how TLS is spoken with backends; by default they must be known to the system's authorities.
    :param site: the desk of the site whose pool this is; None: the pool is all there is.
    :param probing: whether its backends are probed, and ejections decided, here; otherwise somebody else says what comes of it.
    :ivar timed: whether attempts or exchanges have a time-out of their own.
    :ivar waits: of the exchanges that run, those that wait for something, or have waited.
    :ivar retired: whether its pool has left the site.
    :ivar wake: is called for an exchange that comes while nothing runs.
    :ivar careful: whether something is to be looked at in every attempt, or in every response's head.
    :ivar elsewhere: what goes up and down in other processes that carry exchanges to the same pool.
    """

    candidates: Callable[[Exchange], Any]
    careful: bool
    upstreams: Upstreams

    def __init__(
        self,
        pool: Pool,
        reactor: Any,
        settings: Settings | None = None,
        *,
        clock: IReactorTime | None = None,
        probe: IProbe | Callable[[Backend], object] | None = None,
        observers: tuple[IExchangeObserver, ...] = (),
        random: Random | None = None,
        backend_tls: BackendTls | None = None,
        site: Desk | None = None,
        probing: bool = True,
    ) -> None:
        settings = Settings() if settings is None else settings
        super().__init__(reactor if clock is None else clock, settings, observers, site)
        self.pool = pool
        if pool.settings is None:
            pool.settings = settings
        self.random = Random() if random is None else random
        tls = BackendTls() if backend_tls is None else backend_tls
        self.upstreams = Upstreams(reactor, settings, self.sweep, clock=self.clock, tls=tls)
        probe = ConnectProbe(reactor, tls) if probe is None else probe
        self.probes = ProbeSchedule(pool, reactor, settings, probe, self.random, clock=self.clock)
        self.traffic = TrafficCheck(pool, settings, self.seconds, decides=probing)
        self.budget = RetryBudget(*_budget(settings))
        self.line = WaitingLine(settings.queue)
        self.elsewhere = PoolGauges()
        self.waits: set[Waits] = set()
        self.hedging: Hedging | None = None
        self.sticky: Sticky | None = None
        self.running = self.retired = False
        self._probing = probing
        self.wake: Callable[[], None] = self.start
        self._derive(settings)

    def configure(self, settings: Settings) -> None:
        """Go by these from now on. What is known stays: connections, health, counters, bindings; and who runs or waits goes on,
        with the new times from its next step on."""
        before = self.settings
        super().configure(settings)
        if settings == before:
            return
        self.pool.configure(settings)
        self.upstreams.configure(settings)
        self.probes.configure(settings)
        self.traffic.configure(settings)
        self.budget.configure(*_budget(settings))
        self.line.limit = settings.queue
        self._derive(settings)
        for waits in self.waits:
            waits.configured()

    def _derive(self, settings: Settings) -> None:
        """What is asked so often that it is worked out beforehand."""
        self.retry_statuses = frozenset(int(word) for word in settings.retry_on if word.isdigit())
        if self.hedging is not None and settings.hedge:
            self.hedging.configure(settings.hedge)
        else:
            self.hedging = Hedging(settings.hedge) if settings.hedge else None
        self.sticky = self._sticky(settings)
        self.candidates = self.pool.candidates if self.sticky is None else self._sticky_candidates
        self.timed = bool(settings.attempt_timeout or settings.exchange_timeout)
        self.careful = bool(self.timed or self.hedging or self.retry_statuses or self.sticky)

    def _sticky(self, settings: Settings) -> Sticky | None:
        """Those that there are, unless others are wanted. The random key stays as long as the site does."""
        if not settings.sticky:
            return None
        made_of = (settings.sticky, settings.sticky_key or self.random_key, settings.sticky_max_age)
        if self.sticky is not None and self.sticky.made_of == made_of:
            return self.sticky
        if not settings.sticky_key and self.sticky is None:
            _log.info("sticky sessions are signed with a random key, so they end with this process; a key can be given")
        return Sticky(*made_of)

    def forward(self, exchange: Exchange) -> None:
        """Carry an exchange: from here on its downstream is told what comes of it."""
        if not self.running:
            self.wake()
        exchange.start(self)

    def start(self) -> None:
        """Begin to probe and to watch deadlines. The first exchange does it too, if nobody has."""
        warn_of_unverified(self.pool.name, (member.backend for member in self.pool.members.values()))
        self.running = True
        if self._pool_changed not in self.pool.observers:
            self.pool.observers.append(self._pool_changed)
        if not self.retired:
            self.upstreams.open()
        self.sweep.start()
        if self._probing:
            self.probes.start()
        self.beat.add(self.pulse)

    def stop(self) -> None:
        """Stop probing, and close the idle connections to backends; those in use are closed when their exchange is over. Who
        waits for anything but a response is answered."""
        self.running = False
        if self._pool_changed in self.pool.observers:
            self.pool.observers.remove(self._pool_changed)
        for waits in list(self.waits):
            waits.balancer_stopped()
        self.probes.stop()
        if self._site is None:
            self.sweep.stop()
        self.upstreams.close()
        self.beat.discard(self.pulse)

    def retire(self) -> None:
        """The pool has left: keep no connection for another exchange. Those that run, and those that still come, are carried to
        their end as before."""
        self.retired = True
        self.upstreams.close()

    def pulse(self) -> None:
        """Look at what changes with time alone."""
        # The line is called for what is no change of a backend's state, such as a raised limit.
        for tick in (self.pool.tick, self.traffic.tick, self.line.call):
            try:
                tick()
            except Exception:  # of an observer's or the policy's, which are users'; the next pulse comes
                _log.failure("{tick} failed", tick=tick)

    def _pool_changed(self, change: Change) -> None:
        """A backend has come or left, perhaps. Whoever waits for a place may have one now, or nobody to wait for."""
        if change.address and not change.now:
            self.upstreams.forget_backend(change.address)
        elif change.address and not change.was and (member := self.pool.members.get(change.address)) is not None:
            warn_of_unverified(self.pool.name, [member.backend])
        if self.line.waiting:
            self.line.call()

    # What goes up and down, here and elsewhere.

    def gauges(self) -> PoolGauges:
        """All of it but for the idle connections."""
        sums, budget, elsewhere = PoolGauges(), self.budget, self.elsewhere
        sums.queued = len(self.line.waiting) + elsewhere.queued
        sums.active = budget.active + elsewhere.active
        sums.waiting = budget.waiting + elsewhere.waiting
        sums.cooling = len(budget.cooling) + elsewhere.cooling
        return sums

    def retries_allowed(self) -> float:
        """How many exchanges may have a place in the retry budget just now."""
        return self.budget.allowed(self.counters.in_flight - self.elsewhere.active - self.elsewhere.waiting)

    def idle_connections(self, address: str) -> int:
        """How many idle connections are kept for a backend."""
        return self.upstreams.idle_count(address) + self.elsewhere.idle.get(address, 0)

    # What an exchange asks.

    def _sticky_candidates(self, exchange: Exchange) -> Any:
        assert self.sticky is not None
        return self.sticky.candidates(exchange, self.pool)

    def accuse(self, member: BackendState, failure: AttemptFailed) -> None:
        """Let the pool know what a failed attempt says of its backend. Never raises."""
        if marks_down(failure):
            verdict = Verdict(member.address, False, f"{failure.cause}: {failure}", "traffic", "connect")
            self._tell(member, self.pool.apply, verdict)
        elif repeats_work(failure):
            self.blame(member, failure.cause)

    def blame(self, member: BackendState, cause: str) -> None:
        """A backend failed, after it had taken a request, in a way that counts for the verdict of traffic. Never raises."""
        self._tell(member, self.traffic.failed, member, cause)

    def _tell(self, member: BackendState, tell: Callable[..., None], *what: object) -> None:
        try:
            tell(*what)
        except Exception:  # of an observer's or the policy's, which are users'; the exchange goes on
            _log.failure("the pool could not be told of a failure of {address}", address=member.address)

    def survey(self, exchange: Exchange) -> Decision:
        """What there is to decide for an exchange."""
        return survey(exchange, self.pool, self.budget, self.counters.in_flight, len(self.line.waiting))

    def say_more(self, exchange: Exchange, member: BackendState) -> bytes:
        """The fields that are added to a backend's response: a sticky session's cookie, and the explanation for who may ask."""
        fields = b""
        if self.sticky is not None and self.sticky.needs_cookie(exchange, member):
            fields = self.sticky.set_cookie(exchange, member)
        return fields + self.explanation(exchange, "")


def _budget(settings: Settings) -> tuple[float, int]:
    return settings.retry_budget / 100, settings.retry_budget_least
