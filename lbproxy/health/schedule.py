"""The periodic probe at work: whose turn it is is checked, and what is found is told to the pool."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..balance.backend import Backend
from ..balance.state import BackendState, Change, Verdict
from ..interfaces import IPoolControl, IProbe
from ..settings import Settings
from .check import Check
from .plan import Plan
from .probes import CallableProbe, ConnectProbe
from .tally import Finding, Tally

__all__ = ["Finding", "ProbeSchedule"]

_log = Logger()


class _Probed:
    """What is known of a member: what was found, what the pool was told, and the check that runs, if one does."""

    __slots__ = ("check", "last", "member", "tally", "told")

    def __init__(self, member: BackendState, tally: Tally) -> None:
        self.member = member
        self.tally = tally
        self.told = False
        self.last: Finding | None = None
        self.check: Check | None = None


class ProbeSchedule:
    """Probes every backend of a pool, those that are down as well, and tells the pool its verdicts.

    The first round comes at once; then each backend has its turn within the interval (:class:`~lbproxy.health.plan.Plan`). One
    in maintenance is not probed. A success of a backend whose verdict is up is told whenever the pool has it as down, so that it
    re-admits what traffic took out; only not when traffic did so while the probe ran, here or, as far as that was heard by then,
    in another process. Nothing that a probe does ends the probing.

    :param pool: gives the backends (``members``), says when they change (``observers``), and takes the verdicts.
    :param reactor: the default probe connects with it.
    :param settings: those that begin with ``probe_``.
    :param probe: an :class:`~lbproxy.interfaces.IProbe` provider, or a function for a
        :class:`~lbproxy.health.probes.CallableProbe`; by default a connection is made.
    :param random: source of the jitter.
    :param clock: runs the probes and their time-outs; the reactor does if there is none.
    :ivar counts: findings by address and whether they were good.
    :ivar running: whether it probes.
    """

    def __init__(
        self,
        pool: Any,
        reactor: Any,
        settings: Settings,
        probe: IProbe | Callable[[Backend], Any] | None = None,
        random: Random | None = None,
        *,
        clock: IReactorTime | None = None,
    ) -> None:
        self._pool: Any = pool
        self._control: IPoolControl = pool
        self._clock: Any = reactor if clock is None else clock
        self._seconds: Callable[[], float] = self._clock.seconds
        self._settings = settings
        self._probe = _probe(probe, reactor)
        self._random = Random() if random is None else random
        self._members: dict[str, BackendState] | None = None
        self._probed: dict[str, _Probed] = {}
        self._timer: IDelayedCall | None = None
        self._warned = float("-inf")
        self.running = False
        self.counts: dict[tuple[str, bool], int] = {}

    def start(self) -> None:
        """Probe now, and from now on."""
        if not self.running:
            self.running = True
            self._plan = Plan(self._settings.probe_concurrency, self._settings.probe_jitter, self._random)
            self._members = None
            self._pool.observers.append(self._changed)
            self._go_on()

    def stop(self) -> None:
        """Probe no more; what runs is cancelled."""
        if self.running:
            self.running = False
            if self._changed in self._pool.observers:
                self._pool.observers.remove(self._changed)
            self._set_timer()
            for probed in self._probed.values():
                _cancel(probed)

    def configure(self, settings: Settings) -> None:
        """Go by these from now on. Verdicts stay, and so do findings in a row; who would be probed later than within the new
        interval is probed within it."""
        before, self._settings = self._settings, settings
        if before == settings:
            return
        for probed in self._probed.values():
            probed.tally.configure(settings.probe_rise, settings.probe_fall)
        if self.running:
            self._plan.configure(settings.probe_concurrency, settings.probe_jitter)
            for address, probed in self._probed.items() if _intervals(before) != _intervals(settings) else ():
                self._plan.advance(address, self._seconds(), self._interval(probed))
            self._set_timer()

    def set_probe(self, probe: IProbe | Callable[[Backend], Any]) -> None:
        """Probe in another way, and begin at once. What was found so far is the verdict until the new probe says otherwise."""
        self._probe = _probe(probe, None)
        for address, probed in self._probed.items():
            if probed.check is not None:
                _cancel(probed)
                self._done(probed)
            probed.tally.begin_anew()
            probed.told = False
            if self.running and address in self._plan:
                self._plan.hurry(address, self._seconds())
        self._set_timer()

    def last(self, address: str) -> Finding | None:
        """What was found last about a backend; None before the first."""
        probed = self._probed.get(address)
        return None if probed is None else probed.last

    # Whose turn it is.

    def _changed(self, change: Change) -> None:
        """The pool has changed. Who is new is probed in the next turn of the reactor, so that nobody hears of a verdict before
        all have heard of the backend."""
        if not self.running:
            return
        if self._members is not self._pool.members:
            self._take_members()
        elif change.was == "maintenance" and change.address in self._plan:
            self._plan.hurry(change.address, self._seconds())
        elif change.now == "down" and change.source == "traffic" and self._settings.probe_down_interval:
            probed = self._probed[change.address]
            self._plan.advance(change.address, self._seconds(), self._interval(probed))
        else:
            return
        self._set_timer()

    def _take_members(self) -> None:
        """Know those whom the pool has now. One that left and joined again is another."""
        before, self._members, self._probed = self._probed, self._pool.members, {}
        for address, member in self._pool.members.items():
            known = before.get(address)
            if known is not None and known.member is member:
                self._probed[address] = before.pop(address)
            else:
                tally = Tally(self._settings.probe_rise, self._settings.probe_fall, up=member.probed_up)
                self._probed[address] = _Probed(member, tally)
        for address, gone in before.items():
            _cancel(gone)
            if address in self._plan:
                self._plan.remove(address)
        for address in self._probed:
            if address not in self._plan:
                self._plan.add(address, self._seconds())
        self.counts = {key: count for key, count in self.counts.items() if key[0] in self._probed}

    def _go_on(self) -> None:
        """Check those whose turn it is."""
        self._timer = None
        now = self._seconds()
        if self._members is not self._pool.members:
            self._take_members()
        try:
            while self.running and (address := self._plan.take(now)) is not None:
                self._check(self._probed[address])
        finally:
            self._set_timer()

    def _set_timer(self) -> None:
        """Wake up when somebody's turn comes: one timer for all."""
        wake = self._plan.wake() if self.running else None
        if self._timer is not None:
            if wake is not None and self._timer.getTime() <= wake:
                return  # it may be for nothing, then, which costs less than a timer for each probe
            self._timer.cancel()
            self._timer = None
        if wake is not None:
            self._timer = self._clock.callLater(max(0.0, wake - self._seconds()), self._go_on)

    def _interval(self, probed: _Probed) -> float:
        """Until its next probe. One that traffic took out is down as well, whatever the probe found."""
        settings = self._settings
        if probed.tally.in_transition:
            return settings.probe_fast_interval or settings.probe_interval
        well = probed.tally.up and probed.member.up
        return settings.probe_interval if well else settings.probe_down_interval or settings.probe_interval

    # What is found.

    def _check(self, probed: _Probed) -> None:
        if probed.member.want == "maintenance":
            self._done(probed)
            return
        probed.check = Check(probed.member, self._found)
        probed.check.begin(self._probe, self._clock, self._settings.probe_timeout)

    def _found(self, check: Check, up: bool | None, evidence: str) -> None:
        probed = self._probed[check.member.address]
        probed.check = None
        try:
            if up is None:
                self._warn(check.member.address, evidence)
            else:
                self._take_finding(probed, check, up, evidence)
        except Exception:  # of one who hears of the pool's changes
            _log.failure("a probe's finding could not be told")
        self._done(probed)

    def _done(self, probed: _Probed) -> None:
        if self.running and self._probed.get(probed.member.address) is probed:
            self._plan.ended(probed.member.address, self._seconds(), self._interval(probed))
            self._set_timer()

    def _take_finding(self, probed: _Probed, check: Check, up: bool, evidence: str) -> None:
        member, tally, now = probed.member, probed.tally, self._seconds()
        verdict = tally.count(up)
        probed.last = Finding(up, evidence, now, now - check.began, tally.in_a_row)
        key = (member.address, up)
        self.counts[key] = self.counts.get(key, 0) + 1
        if up is not verdict:
            return
        if up and check.ejections != member.ejections:
            return  # traffic has taken it out meanwhile, and knows better than a probe that began before
        if not probed.told or (not member.up if up else member.probed_up):
            probed.told = True
            self._control.apply(Verdict(member.address, up, evidence, "probe", getattr(self._probe, "about", "answers")))

    def _warn(self, address: str, reason: str) -> None:
        """No socket was to be had here, which says nothing about the backend; a line an interval says it for all."""
        now = self._seconds()
        if now - self._warned >= self._settings.probe_interval:
            self._warned = now
            _log.warn("{address} could not be probed: {reason}", address=address, reason=reason)


def _probe(given: Any, reactor: Any) -> Any:
    if given is None:
        return ConnectProbe(reactor)
    return given if IProbe.providedBy(given) or not callable(given) else CallableProbe(given)


def _intervals(settings: Settings) -> tuple[float, float, float]:
    return settings.probe_interval, settings.probe_fast_interval, settings.probe_down_interval


def _cancel(probed: _Probed) -> None:
    check, probed.check = probed.check, None
    if check is not None:
        check.cancel()
