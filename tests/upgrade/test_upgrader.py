"""The old program goes on until the new one serves, and is there for good if that never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import LBProxyError
from lbproxy.upgrade.command import PidFile
from lbproxy.upgrade.upgrader import KILL_DELAY, LIMIT, Upgrader, UpgradeResult


class New:
    """A new program: what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def kill(self, name: str) -> None:
        self.told.append(name)

    def leave(self) -> None:
        self.told.append("yours")


class UpgraderTests(SynchronousTestCase):
    """One upgrade."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.path.write_text("1")
        self.options: dict[str, Any] = {"pidfile": str(self.path)}
        self.handed_over: list[int] = []
        self.new: list[New] = []
        self.broken: Exception | None = None
        self.upgrader = Upgrader(self.clock, self.launch, self.handed_over.append, PidFile(self.options))

    def launch(self, upgrader: Upgrader) -> New:
        self.assertIs(upgrader, self.upgrader)
        self.assertFalse(self.path.exists())
        if self.broken is not None:
            raise self.broken
        self.new.append(New())
        return self.new[-1]

    def begin(self) -> Deferred[UpgradeResult]:
        """Begin one, which is not decided yet."""
        asked = self.upgrader.upgrade()
        self.assertNoResult(asked)
        self.assertTrue(self.upgrader.running)
        return asked

    def assertGoesOn(self, asked: Deferred[UpgradeResult], why: str) -> None:
        """It has failed for that reason, and all is as it was."""
        result = self.successResultOf(asked)
        self.assertEqual(result, UpgradeResult(self.clock.seconds(), False, why))
        self.assertEqual((self.upgrader.last, self.upgrader.running, self.handed_over), (result, False, []))
        self.assertEqual((self.path.read_text(), self.options["pidfile"]), ("1", str(self.path)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_serves(self) -> None:
        """It is handed over to, and told so after that; the pidfile is its own."""
        asked = self.begin()
        self.path.write_text("77")
        self.upgrader.said({"pid": 77})
        self.assertNoResult(asked)
        self.upgrader.said({"ready": 77})
        self.assertEqual(self.successResultOf(asked), UpgradeResult(0, True, "", 77))
        self.assertEqual((self.handed_over, self.new[0].told), ([77], ["yours"]))
        self.assertEqual((self.path.read_text(), self.options["pidfile"]), ("77", ""))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.upgrader.lost("it has ended, in its time")
        self.assertTrue(self.upgrader.last is not None and self.upgrader.last.ok)

    def test_it_says_why_not(self) -> None:
        """That is the reason, as soon as it has ended; the pidfile is put back then."""
        asked = self.begin()
        self.path.write_text("77")
        self.upgrader.said({"error": "lb.toml:3: no\n"})
        self.upgrader.said({"ready": 77})
        self.assertNoResult(asked)
        self.upgrader.lost("it ended with status 1")
        self.assertGoesOn(asked, "lb.toml:3: no")

    def test_it_ends_without_a_word(self) -> None:
        """How it ended is the reason."""
        asked = self.begin()
        self.upgrader.lost("it ended with status 1")
        self.assertGoesOn(asked, "the new program has not said why it does not serve: it ended with status 1")

    def test_it_never_serves(self) -> None:
        """It is told to end after a minute, killed if it does not, and all is over when it has ended."""
        asked = self.begin()
        self.clock.advance(LIMIT - 1)
        self.assertEqual(self.new[0].told, [])
        self.clock.advance(1)
        self.assertEqual(self.new[0].told, ["TERM"])
        self.clock.advance(KILL_DELAY)
        self.assertEqual(self.new[0].told, ["TERM", "KILL"])
        self.assertNoResult(asked)
        self.upgrader.lost("it was ended by signal 9")
        self.assertGoesOn(asked, "the new program did not serve within 60 s")

    def test_it_serves_when_it_was_told_to_end(self) -> None:
        """That is too late."""
        asked = self.begin()
        self.clock.advance(LIMIT)
        self.upgrader.said({"ready": 77})
        self.upgrader.lost("it ended")
        self.assertGoesOn(asked, "the new program did not serve within 60 s")

    def test_it_is_too_early(self) -> None:
        """A program that is about to take over from another one, and may be given up, is not the one to start a third."""
        self.upgrader.not_yet = "it does not serve itself yet"
        self.assertEqual(self.successResultOf(self.upgrader.upgrade()).why, "it does not serve itself yet")
        self.assertEqual((self.new, self.upgrader.last), ([], None))

    def test_who_waits_for_its_end(self) -> None:
        """Learns of it, whatever it is; and that there is none."""
        self.assertIsNone(self.successResultOf(self.upgrader.when_decided()))
        self.begin()
        waiting = self.upgrader.when_decided()
        self.assertNoResult(waiting)
        self.upgrader.said({"ready": 77})
        result = self.successResultOf(waiting)
        self.assertTrue(result is not None and result.ok)
        self.assertIsNone(self.successResultOf(self.upgrader.when_decided()))

    def test_it_cannot_be_started(self) -> None:
        """The reason is told at once, and the next attempt may go better."""
        for self.broken in (OSError("no memory"), LBProxyError("no such thing")):
            self.assertGoesOn(self.upgrader.upgrade(), f"the new program could not be started: {self.broken}")
        self.broken = None
        self.begin()

    def test_a_second_one_meanwhile(self) -> None:
        """Is refused with a clear word, which is not what came of the first."""
        first = self.begin()
        second = self.successResultOf(self.upgrader.upgrade())
        self.assertEqual((second.ok, second.why), (False, "an upgrade is under way already"))
        self.assertEqual((self.upgrader.last, len(self.new)), (None, 1))
        self.upgrader.said({"ready": 77})
        self.assertTrue(self.successResultOf(first).ok)
        third = self.successResultOf(self.upgrader.upgrade())
        self.assertEqual(third.why, "process 77 has taken over")

    def test_told_to_stop_meanwhile(self) -> None:
        """The new program is ended; that is waited for, so that it removes nothing after this one has ended."""
        asked = self.begin()
        stopped = self.upgrader.stop()
        self.assertEqual(self.new[0].told, ["TERM"])
        self.upgrader.said({"ready": 77})
        self.assertNoResult(stopped)
        self.upgrader.lost("it was ended by signal 15")
        self.successResultOf(stopped)
        self.assertGoesOn(asked, "this program was told to stop meanwhile")
        self.assertEqual(self.successResultOf(self.upgrader.upgrade()).why, "it is stopping")

    def test_told_to_stop(self) -> None:
        """Where there is nothing under way, nothing is waited for."""
        self.successResultOf(self.upgrader.stop())

    def test_a_pidfile_that_cannot_be_put_back(self) -> None:
        """The log tells; the old program goes on nevertheless."""
        asked = self.begin()
        self.path.mkdir()
        (self.path / "full").touch()
        with capturedLogs() as events:
            self.upgrader.lost("it ended")
        self.assertFalse(self.successResultOf(asked).ok)
        errors = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
        self.assertIn("the pidfile could not be put back", errors[0])
