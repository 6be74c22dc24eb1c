"""What workers learn from traffic, on its way to the supervisor and back: one order for all of them.

A worker goes by what its own traffic taught it at once, and says it to the supervisor. The supervisor takes what all of them say
in the order in which it comes, with what probes find and operators want in between, and tells all workers what came of it. Links
keep the order, so the last that a worker hears of a backend is what the supervisor knows of it; and who said something is always
answered with that, even when nothing came of it. So all agree as soon as all that was said has been heard, whatever a worker
believed meanwhile.

Ejections are the supervisor's to decide: a worker says that it would eject a backend, for failures in a row that it counted
itself, and passes it over from then on. Whether not too many are out already, how long it lasts (longer each time, whichever
worker saw it), and who is let back when nobody is up, is judged once for the machine. So no ejection depends on the life of the
worker that saw the failures, and no two of them can take the last backends out.

A probe's success that was told before a worker's verdict arrived is overruled by it, and the next probe decides. One that began
before the verdict arrived, and ended after it, re-admits nobody (:class:`~lbproxy.health.schedule.ProbeSchedule`), as in one
process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from ..balance.backend import Backend
from ..balance.known import Known
from ..balance.pool import Pool
from ..balance.state import Verdict, Wish
from ..interfaces import IPoolControl
from ..proxy.balancer import Balancer
from .calls import Call, known_call, recall_call

__all__ = ["Learnt", "Verdicts"]

_log = Logger()


@implementer(IPoolControl)
class Learnt:
    """Follows a worker's pool, and says to the supervisor what traffic taught it: verdicts, if anything came of them. All other
    things come from there.

    :param send: takes the calls.
    """

    def __init__(self, pool: Pool, send: Callable[[Call], None]) -> None:
        self._pool = pool
        self._send = send
        self._before: dict[str, Known] = {}

    def set_backends(self, backends: Iterable[Backend], source: str = "configuration") -> None:
        """The supervisor says so."""
        self._before.clear()

    def wish(self, wish: Wish) -> None:
        """The supervisor says what is wanted."""

    def know(self, known: Known) -> None:
        """The supervisor says so."""
        self._before[known.address] = Known.of(self._pool.members[known.address])

    def apply(self, verdict: Verdict) -> None:
        """Say it. Of a hundred attempts that fail at once, the first says all."""
        known = Known.of(self._pool.members[verdict.address])
        if self._before.get(verdict.address) != known:
            self._before[verdict.address] = known
            self._send([self._pool.name, "apply", attrs.asdict(verdict)])


class Verdicts:
    """Takes what workers say into the supervisor's pools.

    :param balancers: gives the pools' balancers by their names.
    """

    def __init__(self, balancers: Callable[[], Mapping[str, Balancer]]) -> None:
        self._balancers = balancers

    def told(self, worker: int, calls: Iterable[Call]) -> list[Call]:
        """A worker says this. What is wrong with one of it is logged, and keeps nothing from the rest.

        :return: what the worker is to be told: what is known now of those that it spoke of. A policy may have seen other members
            fit meanwhile than the supervisor's has, and is to go by the same.
        """
        balancers = self._balancers()
        answers: dict[tuple[str, str], Call] = {}
        for name, what, value in calls:
            balancer = balancers.get(name)
            if balancer is None or what != "apply":
                continue
            verdict = Verdict(**value)
            self._take(balancer, attrs.evolve(verdict, reason=f"{verdict.reason} (worker {worker})"))
            member = balancer.pool.members.get(verdict.address)
            if member is not None:
                answers[name, verdict.address] = known_call(name, Known.of(member))
        spoken_of = {name: balancers[name].pool for name, _ in answers}
        return [*answers.values(), *(recall_call(pool) for pool in spoken_of.values())]

    def _take(self, balancer: Balancer, verdict: Verdict) -> None:
        """One that cannot be connected to is down until a probe says otherwise; for its answers it is ejected, or not."""
        try:
            if verdict.about == "connect":
                balancer.pool.apply(verdict)
            else:
                balancer.traffic.proposed(verdict)
        except Exception:  # of an observer's or the policy's, which are users'
            _log.failure("{verdict} could not be told to all", verdict=verdict)
