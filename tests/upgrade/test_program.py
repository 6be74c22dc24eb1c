"""One generation of the program, between the one before and the one after."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import lbproxy.upgrade.program
from lbproxy.upgrade.program import Program


class Before:
    """The program before: what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def restore(self, service: Any) -> None:
        """It has nothing to tell."""

    def listen(self, reactor: Any, yours: Any) -> None:
        """It says nothing."""

    def ready(self) -> None:
        self.told.append("ready")

    def fails(self, why: str) -> None:
        self.told.append(why)


class Service:
    """A service, as far as a program knows it."""

    def __init__(self) -> None:
        self.reloader = self
        self.upgrader: Any = None


class ProgramTests(SynchronousTestCase):
    """Promises on when a program is one to hand over to."""

    def setUp(self) -> None:
        self.before: Any = Before()
        self.serving: Deferred[None] = Deferred()
        self.patch(lbproxy.upgrade.program, "when_serving", lambda service: self.serving)
        twistd = {"pidfile": "", "logfile": None, "chroot": None}
        self.program = Program(Clock(), twistd, self.before)  # type: ignore[arg-type]
        self.program.of(Service())  # type: ignore[arg-type]

    def test_one_that_is_told_to_stop_is_given_up(self) -> None:
        """The one before goes on, though all workers should serve a moment later."""
        self.program.started()
        self.program.stop(lambda: succeed(None))
        self.serving.callback(None)
        self.assertEqual(self.before.told[0], "it was told to stop")

    def test_one_that_does_not_serve_yet_starts_no_other(self) -> None:
        """Two would think that they are the next one."""
        self.program.started()
        self.assertEqual(self.successResultOf(self.program.upgrade()).why, "it does not serve itself yet")
        started: list[Any] = []
        self.patch(self.program.upgrader, "_launch", started.append)
        self.serving.callback(None)
        self.program.upgrade()
        self.assertEqual((self.before.told, started), (["ready"], [self.program.upgrader]))

    def test_files_are_read_by_whoever_serves_after_an_upgrade(self) -> None:
        """By the next program, if it takes over, and here if it does not."""
        sent: list[Any] = []
        read: list[str] = []
        self.patch(os, "kill", lambda *what: sent.append(what))
        upgrader: Any = self.program.upgrader
        self.program.started()
        self.serving.callback(None)
        self.patch(upgrader, "_launch", lambda _: None)
        self.patch(upgrader, "_hand_over", lambda pid: None)
        for message, came in (({"error": "no"}, ([], ["here"])), ({"ready": 77}, ([(77, signal.SIGHUP)], ["here"]))):
            upgrader.upgrade()
            before = list(read)
            self.program.read_anew(lambda: read.append("here"))
            self.assertEqual(read, before)
            upgrader.said(message)
            upgrader.lost("it ended with status 1")
            self.assertEqual((sent, read), came)
        self.program.read_anew(lambda: read.append("here"))
        self.assertEqual(len(read), 2)
