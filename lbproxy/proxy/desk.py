"""The desk: where exchanges are answered in the balancer's own name, and where the books of them are kept.

A pool's :class:`~.balancer.Balancer` is one, for what goes to its backends; what routes exchanges is another, for those that no
pool gets. All desks of a site share its clock, its observers and what it says of itself.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_bytes
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from ..deadlines import DeadlineSweep
from ..http1.answers import hsts_line
from ..http1.fields import field_value
from ..http1.head import ResponseHead
from ..interfaces import IExchangeObserver
from ..settings import Settings
from .counters import BalancerCounters
from .explain import explanation_line
from .forwarding import Forwarding
from .pulse import Pulse
from .request_ids import request_ids

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["Desk", "shortest_time"]


class Desk:
    """What every exchange asks of whoever has it just now.

    :param clock: gives the time, and runs time-outs.
    :param settings: of these, those about listeners and about what is said of clients.
    :param observers: are told of every finished exchange.
    :param site: whose clock, observers and words are shared; None: this desk has its own, and is a site by itself.
    :ivar counters: of the exchanges that ended here.
    :ivar sweep: watches deadlines.
    :ivar beat: calls what is to be looked at a few times a second.
    :ivar random_key: signs sticky sessions where no key was given.
    :ivar explaining: whether every exchange is to remember what there was to decide.
    :ivar forwarding: what backends are told of who asks.
    :ivar hsts: the line that every response over TLS gets, ended by CRLF; empty: none.
    :ivar adds_fields: whether anything is added to every backend's response.
    :ivar https_port: gives the port at which TLS is listened for; None where that is not known. A site's own desk knows it.
    :ivar next_request_id: gives each request its id.
    """

    counters: BalancerCounters
    observers: tuple[IExchangeObserver, ...]
    sweep: DeadlineSweep
    beat: Pulse
    random_key: bytes
    forwarding: Forwarding
    hsts: bytes
    next_request_id: Callable[[], bytes]
    https_port: Callable[[], int | None]

    def __init__(
        self,
        clock: IReactorTime,
        settings: Settings,
        observers: tuple[IExchangeObserver, ...] = (),
        site: Desk | None = None,
    ) -> None:
        self._site = site
        self.counters = BalancerCounters()
        self.clock = clock
        self.seconds = clock.seconds
        self.observe(observers if site is None else site.observers)
        self.sweep = DeadlineSweep(clock, shortest_time(settings)) if site is None else site.sweep
        self.beat = Pulse(clock) if site is None else site.beat
        self.random_key = token_bytes(32) if site is None else site.random_key
        self.next_request_id = request_ids(token_bytes(8)) if site is None else site.next_request_id
        self.https_port = lambda: None
        self._spoken: object = None
        Desk.configure(self, settings)

    def configure(self, settings: Settings) -> None:
        """Go by these from now on. What is said of clients, and to them, is the site's to say."""
        self.settings = settings
        if self._site is not None:
            self.forwarding, self.hsts = self._site.forwarding, self._site.hsts
        else:
            self._speak(settings)
        self.adds_fields = bool(self.forwarding.response_via or self.hsts)

    def observe(self, observers: tuple[IExchangeObserver, ...]) -> None:
        """Tell these of every finished exchange from now on."""
        self.observers = observers
        self.explaining = any(getattr(observer, "explains", False) for observer in observers)

    def _speak(self, settings: Settings) -> None:
        """Make anew what is said, where it is another: what has been learnt of peers is kept otherwise."""
        spoken = (settings.trusted_proxies, settings.forwarded, settings.via)
        if spoken != self._spoken:
            self._spoken = spoken
            self.forwarding = Forwarding.of(settings)
        self.hsts = hsts_line(settings.hsts)

    def response_fields(self, exchange: Exchange, head: ResponseHead) -> bytes:
        """The fields that are added to every response of a backend. Its own Strict-Transport-Security stands: of two a browser
        heeds the first alone (RFC 6797 section 8.1)."""
        fields = self.forwarding.response_via
        if self.hsts and exchange.client.secure and field_value(head.fields, b"strict-transport-security") is None:
            fields += self.hsts
        return fields

    def explanation(self, exchange: Exchange, end: str) -> bytes:
        """The field that explains the exchange to a trusted peer that asks; empty for all others."""
        if exchange.client.trusted and exchange.request.known.get(b"x-lbproxy-explain") == b"1":
            return explanation_line(exchange, end)
        return b""


def shortest_time(settings: Settings) -> float:
    """The shortest time-out in use, in seconds."""
    times = (
        settings.response_timeout,
        settings.handshake_timeout,
        settings.header_timeout,
        settings.idle_timeout,
        settings.body_grace,
        settings.write_timeout,
        settings.tunnel_timeout,
        settings.upstream_idle_timeout,
        settings.queue_timeout,
        settings.attempt_timeout,
        settings.exchange_timeout,
    )
    return min(seconds for seconds in times if seconds)
