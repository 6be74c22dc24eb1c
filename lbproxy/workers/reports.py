"""What workers report, added to the figures of their supervisor, so that these are the machine's; and what was lost with each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from ..balance.state import Change
from ..observe.processes import Loss, WorkerEnd, WorkerFigures, Workers
from ..proxy.balancer import Balancer
from ..routing.split import SplitTarget
from .board import BEGUN, CONNECTIONS, ENDED
from .figures import BALANCER, BUDGET, EXCHANGES, FILTER, IDLE, LINE, LISTENER, LOG, MEMBER, POOL, ROUTE, SPLIT, TRAFFIC, Kind
from .sheet import GAUGES, Sheet, added, difference

if TYPE_CHECKING:
    from ..service import LoadBalancerService
    from .crew import Crew
    from .process import WorkerProcess

__all__ = ["PATIENCE", "Reports"]

#: Seconds for which reports are waited for before figures are shown; who has not answered by then is left out.
PATIENCE = 1.0

_log = Logger()

#: Of a part of a sheet: where it stands, the object that has these figures here (None: there is none any more), and itself.
_Part = tuple[tuple[str, ...], Any, Kind, Sheet]


@attrs.define(eq=False)
class _Share:
    """A worker's share of what goes up and down in an object."""

    one: Any
    kind: Kind
    gauges: Sheet

    def take_off(self) -> None:
        """The object is to have it no more."""
        if self.one is not None:
            self.kind.add_gauges(self.one, difference({}, self.gauges))


@attrs.define(eq=False)
class _Book:
    """What is known of a worker by its reports.

    :ivar ended: exchanges that have ended, as far as they have been reported.
    """

    ended: int = 0
    shares: dict[tuple[str, ...], _Share] = attrs.Factory(dict)

    def add(self, part: _Part) -> None:
        """Add a part of a report to the object that has these figures."""
        path, one, kind, sheet = part
        if one is not None:
            kind.add_counters(one, sheet)
        if GAUGES in sheet:
            self._add_gauges(path, one, kind, sheet[GAUGES])

    def _add_gauges(self, path: tuple[str, ...], one: Any, kind: Kind, gauges: Sheet) -> None:
        """Where another object has come into the place of the one that had its share, that one gets it whole."""
        known = self.shares.pop(path, None)
        whole = gauges if known is None else added(known.gauges, gauges)
        same = known is not None and known.one is one
        if known is not None and not same:
            known.take_off()
        if one is not None:
            kind.add_gauges(one, gauges if same else whole)
        if whole:
            self.shares[path] = _Share(one, kind, whole)


class Reports:
    """The figures of all workers.

    :param service: the supervisor's, whose counters get what workers have counted.
    :ivar lost: with all workers that have ended so far.
    """

    def __init__(self, service: LoadBalancerService, crew: Crew) -> None:
        self.lost = Loss()
        self._service = service
        self._crew = crew
        self._books: dict[WorkerProcess, _Book] = {}
        self._ends: dict[int, WorkerEnd] = {}
        self._ended: WeakSet[WorkerProcess] = WeakSet()
        self._waiting: list[Deferred[None]] = []

    # What happens to workers.

    def take(self, worker: WorkerProcess, sheet: Sheet) -> None:
        """Add what a worker has counted since its last report. What is about a pool, a member or a route that is no more is
        counted nowhere, and so is what comes after the worker's end."""
        if worker in self._ended:
            return
        book = self._books.get(worker) or self.began(worker)
        for part in self._parts(book, sheet):
            book.add(part)

    def began(self, worker: WorkerProcess) -> _Book:
        """A worker serves from now on."""
        again = worker.number in self._ends
        what = "serves in the place of the one before" if again else "serves"
        self._tell(worker, "down" if again else "", "up", f"process {worker.pid} {what}")
        book = self._books[worker] = _Book()
        return book

    def ended(self, worker: WorkerProcess, reason: str = "ended") -> Loss:
        """A worker has ended. Nothing of what goes up and down is its any more, and what was lost is booked, by its row of the
        board: that is cleared afterwards (:meth:`.lives.Lives.ended`).

        :return: what was lost.
        """
        self._ended.add(worker)
        book = self._books.pop(worker, None)
        for share in () if book is None else book.shares.values():
            share.take_off()
        row = self._crew.board.row(worker.row)
        loss = Loss(row[BEGUN] - row[ENDED], row[CONNECTIONS], row[ENDED] - (0 if book is None else book.ended))
        self.lost += loss
        self._ends[worker.number] = WorkerEnd(self._service.clock.seconds(), reason, loss)
        if book is not None or worker.served:
            wanted = worker.state == "draining" or not self._crew.running
            self._tell(worker, "up", "" if wanted else "down", f"{reason}; {_in_words(loss)}")
        return loss

    def _tell(self, worker: WorkerProcess, was: str, now: str, reason: str) -> None:
        seconds = self._service.clock.seconds()
        self._service.events(Change(seconds, "", f"worker {worker.number}", was, now, reason, "supervisor"))

    # Asking.

    def refresh(self) -> Deferred[None]:
        """Have all workers report, so that the figures are those of now.

        :return: fires when all reports have been taken, or after :data:`PATIENCE` seconds. It never fails.
        """
        asked: Deferred[None] = Deferred()
        self._waiting.append(asked)
        if len(self._waiting) == 1:
            self._ask_all()
        return asked

    def _ask_all(self) -> None:
        there = [worker for post in self._crew.posts for worker in post.processes]
        asking = [self._crew.ask_report(worker) for worker in there if worker.serving or worker in self._books]
        patience = self._service.clock.callLater(PATIENCE, self._refreshed)
        # Who has lost patience asks no more, but takes what comes.
        DeferredList(asking).addCallback(self._all_came, patience)

    def _all_came(self, _: object, patience: Any) -> None:
        if patience.active():
            patience.cancel()
            self._refreshed()

    def _refreshed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for asked in waiting:
            asked.callback(None)

    # What is shown.

    def figures(self) -> Workers:
        """What is known of each worker, and of what was lost with those that have ended."""
        each = []
        for post in self._crew.posts:
            each += [self._of(post, worker) for worker in post.processes] or [self._of(post, None)]
        return Workers(tuple(each), self.lost)

    def _of(self, post: Any, worker: WorkerProcess | None) -> WorkerFigures:
        row = None if worker is None else self._crew.board.row(worker.row)
        return WorkerFigures(
            number=post.number,
            pid=worker.pid or None if worker is not None else None,
            state="waiting" if worker is None else worker.state,
            began=None if worker is None else worker.began,
            connections=0 if row is None else row[CONNECTIONS],
            in_flight=0 if row is None else row[BEGUN] - row[ENDED],
            requests=0 if row is None else row[ENDED],
            restarts=post.restarts,
            last_end=self._ends.get(post.number),
        )

    # Where figures stand here.

    def _parts(self, book: _Book, sheet: Sheet) -> Iterator[_Part]:
        service = self._service
        single: dict[str, tuple[Any, Kind]] = {
            "listener": (service.counters, LISTENER),
            "unrouted": (service.site.router.counters, BALANCER),
            "log": (service.access_log, LOG),
            "exchanges": (book, EXCHANGES),
        }
        for name, (one, kind) in single.items():
            if name in sheet:
                yield (name,), one, kind, sheet[name]
        for name, whole in sheet.get("pools", {}).items():
            yield from _of_pool(name, service.site.balancers.get(name), whole)
        yield from self._of_routes(sheet.get("routes", {}))
        filters = {one.name: one for one in service.site.filters} if "filters" in sheet else {}
        for name, counts in sheet.get("filters", {}).items():
            yield ("filters", name), filters.get(name), FILTER, counts

    def _of_routes(self, routes: Sheet) -> Iterator[_Part]:
        live = self._service.site.router.live
        for name, whole in routes.items():
            route = live.get(name)
            yield ("routes", name), route, ROUTE, whole
            target = None if route is None else route.target
            if "split" in whole and isinstance(target, SplitTarget):
                taken = {part: count for part, count in whole["split"]["taken"].items() if part in target.taken}
                yield ("routes", name, "split"), target, SPLIT, {"taken": taken}


def _of_pool(name: str, balancer: Balancer | None, whole: Sheet) -> Iterator[_Part]:
    for part, (of, kind) in _OF_POOLS.items():
        if part in whole:
            yield ("pools", name, part), None if balancer is None else getattr(balancer, of), kind, whole[part]
    members = {} if balancer is None else balancer.pool.members
    for address, sheet in whole.get("members", {}).items():
        yield ("pools", name, "members", address), members.get(address), MEMBER, sheet


#: What of a pool's balancer has the figures of each part of its sheet.
_OF_POOLS = {
    "counters": ("counters", BALANCER),
    "gauges_of": ("elsewhere", POOL),
    "idle": ("elsewhere", IDLE),
    "line": ("line", LINE),
    "budget": ("budget", BUDGET),
    "traffic": ("traffic", TRAFFIC),
}


def _in_words(loss: Loss) -> str:
    if not (loss.exchanges or loss.connections or loss.unreported):
        return "nothing was lost"
    lost = [_number(count, what) for count, what in ((loss.exchanges, "exchange"), (loss.connections, "connection")) if count]
    uncounted = f"{_number(loss.unreported, 'exchange')} that had ended {'is' if loss.unreported == 1 else 'are'} in no figure"
    return "; ".join([f"lost: {', '.join(lost)}"] * bool(lost) + [uncounted] * bool(loss.unreported))


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
