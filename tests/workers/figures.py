"""A worker and its supervisor as far as figures go: sites in memory, and no process."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.state import Change
from lbproxy.config.model import Configuration
from lbproxy.role import Role
from lbproxy.workers.board import Board
from lbproxy.workers.connections import SharedConnectionLimit
from lbproxy.workers.counting import Counting, Ledger
from lbproxy.workers.lives import ended_meanwhile
from lbproxy.workers.reports import Reports

from ..sites import SiteRig


class LedgerRole(Role):
    """Exchanges are counted on the board."""

    def __init__(self, ledger: Ledger) -> None:
        self.entrance = ledger.entrance  # type: ignore[method-assign]


class Working:
    """A worker: its site serves clients, and it counts.

    :ivar asked: reports that were asked for and not given yet.
    :ivar answers: whether it gives them at once.
    """

    def __init__(self, number: int, wanted: Configuration, board: Board) -> None:
        self.number = self.row = number
        self.pid = 1000 + number
        self.state = "serving"
        self.began = 900.0
        self.serving = True
        self.answers = True
        self.asked: list[Deferred[Any]] = []
        self.ledger = Ledger(board.row(number))
        self.rig = rig = SiteRig(wanted, role=LedgerRole(self.ledger))
        self.observe()
        rig.factory.gate = SharedConnectionLimit(rig.listener, list, rig.reactor, board=board, number=number, workers=2)
        self.log: Any = SimpleNamespace(dropped=0)
        self.counting = Counting(
            SimpleNamespace(site=rig.site, counters=rig.listener, access_log=self.log),  # type: ignore[arg-type]
            self.ledger,
        )

    def observe(self) -> None:
        """Have the ledger told of exchanges."""
        for desk in self.rig.site.desks():
            desk.observe((self.rig, self.ledger))  # type: ignore[arg-type]

    def change(self, wanted: Configuration) -> None:
        """Go by another configuration."""
        self.rig.change(wanted)
        self.observe()

    def sheet(self) -> Any:
        """What it has counted, as it crosses the link."""
        return json.loads(json.dumps(self.counting.sheet()))

    def call(self, command: object) -> Deferred[Any]:
        """It is asked for a report."""
        asked: Deferred[Any] = Deferred()
        self.asked.append(asked)
        if self.answers:
            self.answer()
        return asked

    def answer(self) -> None:
        """It reports."""
        self.asked.pop(0).callback({"sheet": self.sheet()})


class FiguresCase(SynchronousTestCase):
    """A supervisor, and as many workers as a test wants."""

    def start(self, wanted: Configuration, count: int = 1) -> None:
        """Make them."""
        self.board = Board()
        self.workers = [Working(number, wanted, self.board) for number in range(count)]
        self.rig = SiteRig(wanted)
        self.events: list[Change] = []
        self.service = SimpleNamespace(
            site=self.rig.site,
            counters=self.rig.listener,
            access_log=SimpleNamespace(dropped=0),
            clock=self.rig.reactor,
            events=self.events.append,
        )
        self.posts = [SimpleNamespace(number=one.number, restarts=0, processes=[one]) for one in self.workers]
        crew: Any = SimpleNamespace(posts=self.posts, board=self.board, running=1, ask_report=self.ask_report)
        service: Any = self.service
        self.reports = Reports(service, crew)

    def ask_report(self, worker: Any) -> Deferred[Any]:
        """As a crew does it."""
        asked: Deferred[Any] = worker.call(None)
        return asked.addCallbacks(lambda answer: self.reports.take(worker, answer["sheet"]), ended_meanwhile)

    def report(self, *workers: Any) -> None:
        """Take what these have counted, or all."""
        reporting: tuple[Any, ...] = workers or tuple(self.workers)
        for worker in reporting:
            self.reports.take(worker, worker.sheet())

    def change(self, wanted: Configuration) -> None:
        """All go by another configuration, the supervisor first."""
        self.rig.change(wanted)
        for worker in self.workers:
            worker.change(wanted)
