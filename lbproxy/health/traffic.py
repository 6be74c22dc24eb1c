"""The verdict of traffic: what exchanges teach of a backend that can be connected to. Pure: its clock is passed in.

A backend is ejected for failures in a row, and as an outlier among its peers; for a while, then it is tried again. A successful
probe may re-admit it earlier, by the pool's rules. One that cannot even be connected to is taken down by the exchange that finds
it so, until a probe brings it back: that is no ejection, and has no end here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..balance.pool import Pool
from ..balance.state import BackendState, Verdict
from ..settings import Settings
from .outliers import Figures, latency_outliers, success_rate_outliers

__all__ = ["SWEEP", "TrafficCheck", "ejection_seconds"]

#: Seconds between two looks for outliers (Envoy's ``interval``).
SWEEP = 10.0

_OUTLIERS = {"success-rate": success_rate_outliers, "latency": latency_outliers}


def ejection_seconds(count: int, settings: Settings) -> float:
    """Seconds that the *count*-th ejection in a row (1 and up) lasts: each twice as long as the one before, up to a limit."""
    return min(settings.eject_limit, settings.eject_time * 2.0 ** min(count - 1, 64))


class _Ejection:
    """What is remembered of a backend that was ejected.

    :ivar count: its ejections in a row; 0 once it has atoned for all of them.
    :ivar number: the backend's ``ejections`` as the last one began, by which a later one is told from it.
    :ivar seconds: how long the last one lasts.
    :ivar until: when it ends; None when it has ended.
    :ivar since: when the last one ended.
    """

    __slots__ = ("count", "number", "seconds", "since", "until")

    def __init__(self) -> None:
        self.count = 0
        self.number = 0
        self.seconds = 0.0
        self.until: float | None = None
        self.since = 0.0

    def begin(self, now: float, number: int, settings: Settings) -> None:
        """Eject again, for longer unless the limit is reached: what is beyond it would only have to be atoned for."""
        count = self.count if self.until is not None else self.remaining(now, settings)
        if count == 0 or ejection_seconds(count, settings) < settings.eject_limit:
            count += 1
        self.count = count
        self.number = number
        self.seconds = ejection_seconds(count, settings)
        self.until = now + self.seconds

    def end(self, now: float) -> None:
        """It is over."""
        self.until = None
        self.since = now

    def remaining(self, now: float, settings: Settings) -> int:
        """Of its ejections in a row, how many still count: one less for each ``eject_time`` that passed without another. (Envoy
        takes one off at each sweep; with the default times that is the same.) A clock that was set back adds none."""
        atoned = max(0, int((now - self.since) / settings.eject_time))
        return max(0, self.count - atoned)


class TrafficCheck:
    """Ejects backends of a pool that fail, or differ from their peers, and lets them back when their time is over.

    :param pool: gives the members and takes the verdicts.
    :param settings: of these, those that begin with ``eject_``, and ``outliers``.
    :param seconds: the clock.
    :param decides: whether ejections are decided and ended here. Otherwise the pool is told at once that a backend is out, and
        somebody else, who hears of that (:meth:`proposed`), says for how long, or that it is not.
    :ivar ejections: ejections by cause: the last failure's cause word, ``"success-rate"`` or ``"latency"``.
    :ivar withheld: ejections that were not made because too many backends were out already, or no other was up.
    """

    def __init__(self, pool: Pool, settings: Settings, seconds: Callable[[], float], *, decides: bool = True) -> None:
        self.ejections: dict[str, int] = {}
        self.withheld = 0
        self._pool = pool
        self._settings = settings
        self._seconds = seconds
        self._decides = decides
        self._runs: dict[BackendState, deque[float]] = {}  # the times of the last failures in a row
        self._ejected: dict[BackendState, _Ejection] = {}
        self._swept = seconds()
        self._before = {member: Figures.of(member) for member in pool.members.values()}

    def configure(self, settings: Settings) -> None:
        """Go by these from now on. Failures in a row so far count; an ejection lasts as long as was said when it began."""
        before, self._settings = self._settings, settings
        most = settings.eject_failures
        if most == before.eject_failures:
            return
        for member in list(self._runs) if not most else ():
            self.succeeded(member)
        self._runs = {member: deque(run, maxlen=most) for member, run in self._runs.items()}

    # What the exchanges tell.

    def failed(self, member: BackendState, cause: str, about: str = "answers") -> None:
        """An attempt failed after it was sent, or was answered 502, 503 or 504. So many in a row within the window eject. Of a
        backend that is down already, and still at attempts from before, it says nothing new.

        :param cause: the failure's cause word, or the status.
        :param about: what the failure says something about, see :class:`~lbproxy.balance.state.Verdict`.
        """
        most, window = self._settings.eject_failures, self._settings.eject_window
        if not most or not member.up or not self._is_member(member):
            return
        now = self._seconds()
        run = self._runs.get(member) if member.failing else None
        if run is None:
            run = self._runs[member] = deque(maxlen=most)
        run.append(now)
        member.failing += 1
        if len(run) == most and now - run[0] <= window:
            self.succeeded(member)
            what = f"{most} failures in a row within {window:g} s, the last one" if most > 1 else "failed"
            self._eject(member, cause, about, f"{what}: {cause}")

    def succeeded(self, member: BackendState) -> None:
        """An attempt succeeded: the failures in a row are over."""
        member.failing = 0
        self._runs.pop(member, None)

    def proposed(self, verdict: Verdict) -> None:
        """Another process, which does not decide, would eject a backend, and has counted that by its cause. Of one that is down
        already it says nothing new."""
        member = self._pool.members.get(verdict.address)
        if member is None or not member.up or verdict.up:
            return
        if self._may_eject(member):
            self._begin(member, verdict.about, verdict.reason)
        else:
            self.withheld += 1

    # What the timer does.

    def tick(self) -> None:
        """End the ejections whose time is over, and look for outliers now and then; to be called a few times a second."""
        now = self._seconds()
        for member, ejection in list(self._ejected.items()):
            if ejection.until is None or not self._is_out(member, ejection):
                self._rest(member, ejection, now)
            elif now >= ejection.until:
                self._readmit(member, ejection, f"ejected for {ejection.seconds:g} s, which are over")
        if not self._pool.available:
            self._let_one_back()
        if now - self._swept >= SWEEP:
            self._swept = now
            self._sweep()

    def _is_member(self, member: BackendState) -> bool:
        return self._pool.members.get(member.address) is member

    def _is_out(self, member: BackendState, ejection: _Ejection) -> bool:
        """Whether this very ejection still holds: no probe has ended it, and no later finding has taken its place."""
        return bool(member.ejected) and member.ejections == ejection.number and self._is_member(member)

    def _rest(self, member: BackendState, ejection: _Ejection, now: float) -> None:
        """It is not ejected by us (any more): forget its ejections one by one, and all of them when it has left."""
        if ejection.until is not None:
            ejection.end(now)
        if not self._is_member(member) or not ejection.remaining(now, self._settings):
            del self._ejected[member]

    def _readmit(self, member: BackendState, ejection: _Ejection, reason: str) -> None:
        ejection.end(self._seconds())
        self._pool.apply(Verdict(member.address, True, reason, "traffic"))

    def _let_one_back(self) -> None:
        """Nobody is up: end the ejection that would end first, of those whom a probe and the operator would have."""
        out = [
            (ejection.until, member, ejection)
            for member, ejection in self._ejected.items()
            if ejection.until is not None and self._is_out(member, ejection) and member.probed_up and member.want == "ready"
        ]
        if out:
            until, member, ejection = min(out, key=lambda one: one[0])
            left = until - self._seconds()
            self._readmit(member, ejection, f"no other backend is up; of {ejection.seconds:g} s ejected {left:.3g} s are left")

    def _eject(self, member: BackendState, cause: str, about: str, why: str) -> None:
        if not self._may_eject(member):
            self.withheld += 1
            return
        self.ejections[cause] = self.ejections.get(cause, 0) + 1
        if self._decides:
            self._begin(member, about, why)
        else:
            self._pool.apply(Verdict(member.address, False, why, "traffic", about))

    def _begin(self, member: BackendState, about: str, why: str) -> None:
        ejection = self._ejected.setdefault(member, _Ejection())
        ejection.begin(self._seconds(), member.ejections + 1, self._settings)
        reason = f"{why}; ejected for {ejection.seconds:g} s"
        self._pool.apply(Verdict(member.address, False, reason, "traffic", about))

    def _may_eject(self, member: BackendState) -> bool:
        """Whether not too many are out already, and somebody else is up and wanted. One may always be out, if any."""
        members = self._pool.members.values()
        share = self._settings.eject_share
        most = max(1, len(members) * share // 100) if share else 0
        out = sum(bool(other.ejected) for other in members)
        return out < most and any(other.up and other.want == "ready" for other in members if other is not member)

    # Outliers.

    def _sweep(self) -> None:
        """Eject those that differ from their peers, which are those of their tier: another's may well be farther away."""
        now = {member: Figures.of(member) for member in self._pool.members.values()}
        before, self._before = self._before, now
        self._runs = {member: run for member, run in self._runs.items() if member in now}
        peers: dict[int, dict[str, Figures]] = {}
        for member, figures in now.items():
            if member.up:
                done = figures.since(before.get(member, Figures()))
                peers.setdefault(member.backend.tier, {})[member.address] = done
        for tier in peers.values():
            self._eject_outliers(tier)

    def _eject_outliers(self, figures: dict[str, Figures]) -> None:
        for name in self._settings.outliers:
            for outlier in _OUTLIERS[name](figures):
                member = self._pool.members.get(outlier.address)
                if member is not None and member.up:
                    self._eject(member, outlier.cause, "answers", outlier.evidence)
