"""What operators said at run time outlives the process, and a state file that is spoilt stops nobody."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.overlay import Overlay
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Wish
from lbproxy.members import Memberships
from lbproxy.state_file import RETRY_DELAY, WRITE_DELAY, StateFile, read_state, state_text

from .support import START
from .tls.fake_store import Threads


class StateFileTests(SynchronousTestCase):
    """``StateFile`` of a pool with two backends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.threads = Threads()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.path = folder / "state.json"
        self.begin()

    def begin(self) -> None:
        """As at the start of the process."""
        self.pool = Pool(parse_backends(["a:1,b:1"]), name="app")
        self.memberships = Memberships(self.clock, self.threads)
        self.members = self.memberships.of(self.pool)
        self.state = StateFile(str(self.path), self.memberships, self.clock, self.threads)
        self.state.load()
        self.state.start()

    def saved(self) -> Any:
        """What the file says of the pool."""
        return json.loads(self.path.read_text())["pools"].get("app")

    def say_all(self) -> None:
        """One thing of each kind."""
        self.members.add(Backend("c", 1, 3))
        self.members.remove("a:1")
        self.members.weigh("b:1", 5)
        self.members.wish(Wish("b:1", "drain", "update"))

    def test_what_was_said_holds_after_a_restart(self) -> None:
        """All of it."""
        self.say_all()
        overlay = self.members.overlay
        self.clock.advance(WRITE_DELAY)
        self.begin()
        self.assertEqual(self.members.overlay, overlay)
        self.assertEqual(list(self.pool.members), ["b:1", "c:1"])
        self.assertEqual(self.pool.members["b:1"].state, "draining")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_changes_are_written_together(self) -> None:
        """Soon after the first of them; what was written is known."""
        self.say_all()
        self.assertFalse(self.path.exists())
        self.clock.advance(WRITE_DELAY)
        self.assertEqual(
            self.saved(),
            {
                "added": ["c:1:weight=3"],
                "removed": ["a:1"],
                "weights": {"b:1": 5},
                "wishes": {"b:1": {"want": "drain", "reason": "update"}},
            },
        )
        self.assertEqual((self.state.written_at, self.clock.getDelayedCalls()), (START + WRITE_DELAY, []))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_what_is_said_while_it_is_written_is_written_too(self) -> None:
        """Afterwards."""
        self.threads.held = True
        self.members.remove("a:1")
        self.clock.advance(WRITE_DELAY)
        self.members.weigh("b:1", 5)
        self.clock.advance(WRITE_DELAY)
        self.assertEqual(self.threads.busy, 1)
        self.threads.finish()
        self.assertEqual(self.saved()["weights"], {})
        self.clock.advance(WRITE_DELAY)
        self.threads.finish()
        self.assertEqual(self.saved()["weights"], {"b:1": 5})

    def test_the_end(self) -> None:
        """What is not written yet is written, and waited for; what is said after it is nobody's."""
        self.threads.held = True
        self.members.remove("a:1")
        stopped = self.state.stop()
        self.assertNoResult(stopped)
        self.threads.finish()
        self.successResultOf(stopped)
        self.assertEqual(self.saved()["removed"], ["a:1"])
        self.members.weigh("b:1", 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_while_it_is_written(self) -> None:
        """What was said meanwhile is written after it."""
        self.threads.held = True
        self.members.remove("a:1")
        self.clock.advance(WRITE_DELAY)
        self.members.weigh("b:1", 5)
        stopped = self.state.stop()
        self.threads.finish()
        self.assertNoResult(stopped)
        self.threads.finish()
        self.successResultOf(stopped)
        self.assertEqual((self.saved()["weights"], self.clock.getDelayedCalls()), ({"b:1": 5}, []))

    def test_the_end_of_one_that_has_nothing_to_write(self) -> None:
        """There need be no file."""
        self.successResultOf(self.state.stop())
        self.assertFalse(self.path.exists())

    def test_a_file_that_comes_later(self) -> None:
        """All that was said before is written, as when another file is named."""
        self.state.stop()
        self.members.remove("a:1")
        self.path = self.path.with_name("other.json")
        self.state = StateFile(str(self.path), self.memberships, self.clock, self.threads)
        self.state.start()
        self.clock.advance(WRITE_DELAY)
        self.assertEqual(self.saved()["removed"], ["a:1"])

    def test_a_file_that_cannot_be_written(self) -> None:
        """It is said once, and tried again; the end does not wait for ever."""
        folder = self.path.parent
        away = folder.rename(f"{folder}.away")
        with capturedLogs() as events:
            self.members.remove("a:1")
            self.clock.pump([WRITE_DELAY, RETRY_DELAY])
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        self.assertEqual((self.state.failures, "No such file" in self.state.error), (2, True))
        self.successResultOf(self.state.stop())
        self.assertEqual((self.state.failures, self.clock.getDelayedCalls()), (3, []))
        away.rename(folder)
        self.state.start()
        self.clock.advance(WRITE_DELAY)
        self.assertEqual((self.state.error, self.saved()["removed"]), ("", ["a:1"]))

    def test_a_spoilt_file_is_put_aside(self) -> None:
        """The start goes on without it, the log says why, and the next change is kept."""
        good: dict[str, Any] = {"added": [], "removed": [], "weights": {}, "wishes": {}}
        for text, why in (
            ("{", "it is no state file"),
            ("[]", "it is no state file"),
            ('{"version": 2, "pools": {}}', "it has version 2; version 1 is read"),
            ('{"version": 1}', "it is no state file"),
            ('{"version": 1, "pools": {"app": {}}}', "it is no state file"),
            (json.dumps({"version": 1, "pools": {"app": {**good, "added": ["c"]}}}), "backend 'c' cannot be read"),
            (json.dumps({"version": 1, "pools": {"app": {**good, "added": [7]}}}), "it is no state file"),
            (json.dumps({"version": 1, "pools": {"app": {**good, "weights": {"a:1": 0}}}}), "weight 0 was given"),
            (json.dumps({"version": 1, "pools": {"app": {**good, "wishes": {"a:1": {"want": "x", "reason": ""}}}}}), "'x' was"),
            ("[" * 100_000, "it is no state file"),
        ):
            self.path.write_text(text)
            with capturedLogs() as events:
                self.begin()
            (logged,) = [formatEvent(event) for event in events]
            self.assertIn(f"put aside as {self.path}.broken:\n{self.path}: ", logged)
            self.assertIn(why, logged)
            self.assertEqual((Path(f"{self.path}.broken").read_text(), self.path.exists()), (text, False))
        self.members.remove("a:1")
        self.clock.advance(WRITE_DELAY)
        self.assertEqual(self.saved()["removed"], ["a:1"])

    def test_what_is_no_file_is_put_aside_too(self) -> None:
        """Whatever it is."""
        self.path.mkdir()
        with capturedLogs() as events:
            self.begin()
        self.assertEqual(len(events), 1)
        self.assertTrue(os.path.isdir(f"{self.path}.broken"))

    def test_what_concerns_nobody_is_dropped_from_the_file(self) -> None:
        """Pools and backends that are there no more, with a line in the log."""
        self.path.write_text(state_text({"app": Overlay(removed=("a:1", "x:1")), "gone": Overlay(removed=("a:1",))}))
        with capturedLogs() as events:
            self.begin()
        self.assertEqual(len(events), 2)
        self.clock.advance(WRITE_DELAY)
        self.assertEqual(read_state(str(self.path)), {"app": Overlay(removed=("a:1",))})
