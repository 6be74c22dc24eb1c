"""When backends are probed, and what becomes of the findings."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError, maybeDeferred, succeed
from twisted.internet.error import ConnectBindError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..balance.backend import Backend
from ..balance.state import Verdict
from ..interfaces import IPoolControl, IProbe
from ..settings import Settings
from .probes import ConnectProbe

__all__ = ["JITTER", "ProbeSchedule"]

#: Share of the interval by which a probe may be late within its round, so that balancers and backends do not fall in step.
JITTER = 0.1

_log = Logger()


class ProbeSchedule:
    """Probes every backend of a pool in rounds, those that are down as well, and tells the pool a verdict for each.

    A backend is down on the first failed probe and up again on the first that succeeds. The first round comes at once and
    without jitter. Nothing that a probe raises ends the probing.

    :param pool: gives the backends (``members``) and takes the verdicts.
    :param reactor: the default probe connects with it.
    :param settings: interval and time-out.
    :param probe: an :class:`~lbproxy.interfaces.IProbe` provider; by default a connection is made.
    :param random: source of the jitter.
    :param clock: runs the rounds and their time-outs; the reactor does if there is none.
    """

    def __init__(
        self,
        pool: Any,
        reactor: Any,
        settings: Settings,
        probe: IProbe | None = None,
        random: Random | None = None,
        *,
        clock: IReactorTime | None = None,
    ) -> None:
        self._pool: Any = pool
        self._control: IPoolControl = pool
        self._clock: Any = reactor if clock is None else clock
        self._settings = settings
        self._probe: IProbe = ConnectProbe(reactor) if probe is None else probe
        self._random = Random() if random is None else random
        self._loop = LoopingCall(self._round)
        self._loop.clock = self._clock
        self._running: set[Deferred[Any]] = set()
        self._first = True
        self.counts: dict[tuple[str, bool], int] = {}  # verdicts given, by address and whether it was up

    def start(self) -> None:
        """Probe now, and from now on."""
        if not self._loop.running:
            self._first = True
            done: Deferred[LoopingCall] = self._loop.start(self._settings.probe_interval, now=True)
            done.addErrback(lambda failure: _log.failure("the periodic probe stopped", failure))

    def stop(self) -> None:
        """Probe no more; what runs is cancelled."""
        if self._loop.running:
            self._loop.stop()
        for probing in list(self._running):
            probing.cancel()

    def _round(self) -> Deferred[Any]:
        first, self._first = self._first, False
        self.counts = {key: count for key, count in self.counts.items() if key[0] in self._pool.members}
        backends = [member.backend for member in self._pool.members.values()]
        span = 0.0 if first else self._settings.probe_interval * JITTER
        return DeferredList([self._one(backend, self._random.uniform(0, span)) for backend in backends])

    def _one(self, backend: Backend, delay: float) -> Deferred[Any]:
        if not self._loop.running:
            return succeed(None)
        probing: Deferred[Any] = deferLater(self._clock, delay, self._check, backend) if delay else self._check(backend)
        self._running.add(probing)
        probing.addErrback(self._unexpected)
        return probing.addBoth(lambda _: self._running.discard(probing))

    def _unexpected(self, failure: Failure) -> None:
        """Not the probe failed, which is a finding, but whoever was told of it; a stop cancels those that wait."""
        if not failure.check(CancelledError):
            _log.failure("a probe's finding could not be told", failure)

    def _check(self, backend: Backend) -> Deferred[Any]:
        checking: Deferred[Any] = maybeDeferred(self._probe.check, backend)
        checking.addTimeout(self._settings.probe_timeout, self._clock, _timed_out)
        checking.addCallbacks(self._passed, self._not_passed, callbackArgs=(backend,), errbackArgs=(backend,))
        return checking

    def _passed(self, evidence: object, backend: Backend) -> None:
        self._tell(backend, True, str(evidence))

    def _not_passed(self, failure: Failure, backend: Backend) -> None:
        if not self._loop.running:
            return
        if failure.check(ConnectBindError):  # no socket was to be had here, which says nothing about the backend
            _log.warn("{address} could not be probed: {reason}", address=backend.address, reason=failure.getErrorMessage())
            return
        if failure.check(TimeoutError):
            reason = f"no answer within {self._settings.probe_timeout:g} s"
        else:
            reason = failure.getErrorMessage() or repr(failure.value)
        self._tell(backend, False, f"probe: {reason}")

    def _tell(self, backend: Backend, up: bool, reason: str) -> None:
        key = (backend.address, up)
        self.counts[key] = self.counts.get(key, 0) + 1
        self._control.apply(Verdict(backend.address, up, reason, "probe"))


def _timed_out(result: Any, timeout: float) -> Any:
    """A check that its time-out cancelled. Twisted's endpoints and a user's probe each have their own error for that."""
    if isinstance(result, Failure):
        raise TimeoutError(timeout)
    return result
