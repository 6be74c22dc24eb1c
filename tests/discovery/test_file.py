"""A pool's members are as new as the file that lists them, and no mishap with the file is one of the pool's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend
from lbproxy.discovery.file import LOOK_INTERVAL, MembersFile, Reading
from lbproxy.errors import ConfigurationError

from ..support import START
from ..tls.fake_store import Threads


class MembersFileTests(SynchronousTestCase):
    """``MembersFile`` with a file of two backends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.threads = Threads()
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text("a:1\nb:1\n")
        self.taken: list[list[str]] = []
        self.refusal: Exception | None = None
        self.file = MembersFile(str(self.path), self.take, self.clock, self.threads)
        self.addCleanup(self.file.stop)
        self.file.start()

    def take(self, backends: tuple[Backend, ...]) -> None:
        """As a pool does."""
        if self.refusal is not None:
            raise self.refusal
        self.taken.append([backend.address for backend in backends])

    def put(self, text: str) -> None:
        """Replace the file in one go."""
        other = self.path.with_suffix(".new")
        other.write_text(text)
        os.replace(other, self.path)

    def look(self, times: int = 1) -> list[tuple[LogLevel, str]]:
        """So many looks later; gives what was logged."""
        with capturedLogs() as events:
            self.clock.pump([LOOK_INTERVAL] * times)
        return [(event["log_level"], formatEvent(event)) for event in events]

    def test_it_is_read_at_once_and_again_when_it_changes(self) -> None:
        """And only then."""
        self.assertEqual(self.taken, [["a:1", "b:1"]])
        self.look(3)
        self.put("a:1\nc:1\n")
        self.look(3)
        self.assertEqual(self.taken, [["a:1", "b:1"], ["a:1", "c:1"]])
        self.assertEqual((self.file.reads, self.file.read_at), ({"failure": 0, "success": 2}, START + 4 * LOOK_INTERVAL))
        self.assertEqual(self.file.last, Reading(self.file.read_at, True))

    def test_a_file_that_is_written_in_place_is_read_too(self) -> None:
        """It need not be another file."""
        self.path.write_text("c:1\n")
        self.look()
        self.assertEqual(self.taken[-1], ["c:1"])

    def test_a_mistake_changes_nothing_and_is_said_once(self) -> None:
        """It is counted at each look, and the end of it is said as well."""
        self.put("a:1\nb\n")
        logged = self.look(3)
        ((level, text),) = logged
        self.assertEqual(level, LogLevel.error)
        self.assertIn(f"stay as they are:\n{self.path}:2: backend 'b' cannot be read", text)
        self.assertEqual((len(self.taken), self.file.reads["failure"]), (1, 3))
        assert self.file.last is not None
        self.assertEqual((self.file.last.ok, len(self.file.last.errors)), (False, 1))
        self.put("c:1\n")
        self.assertEqual(self.look(2), [(LogLevel.info, f"{self.path} is read again, it lists 1 backends")])
        self.assertEqual((self.taken[-1], self.file.last.ok), (["c:1"], True))

    def test_a_file_that_is_gone_or_empty_changes_nothing(self) -> None:
        """What writes it has gone wrong, and not all that it lists."""
        for spoil in (self.path.unlink, lambda: self.put(""), lambda: self.put("# nobody")):
            spoil()
            self.look()
        self.assertEqual((len(self.taken), self.file.reads["failure"]), (1, 3))

    def test_a_file_that_comes_back_as_it_was_is_well(self) -> None:
        """It is no mistake any more."""
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        self.look()
        away.rename(self.path)
        self.look()
        assert self.file.last is not None
        self.assertTrue(self.file.last.ok)

    def test_what_the_pool_refuses_is_a_mistake(self) -> None:
        """Its words are those of the report; an error of another kind is logged with its traceback."""
        self.refusal = ConfigurationError("pool app: no")
        self.put("c:1\n")
        self.assertEqual(self.look(2), [(LogLevel.error, "the members of a pool stay as they are:\npool app: no")])
        self.refusal = ValueError("oops")
        self.look(2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        assert self.file.last is not None
        self.assertEqual(self.file.last.errors, ("oops",))

    def test_it_is_read_in_a_thread_one_look_at_a_time(self) -> None:
        """A disk that is slow delays nobody but the file."""
        self.threads.held = True
        self.put("c:1\n")
        self.look(3)
        self.assertEqual((self.threads.busy, len(self.taken)), (1, 1))
        self.threads.finish()
        self.assertEqual(self.taken[-1], ["c:1"])

    def test_nothing_is_told_after_the_end(self) -> None:
        """Neither what was being read, nor that it could not be; from a new beginning on it is."""
        self.threads.held = True
        for text in ("c:1\n", "b\n"):
            self.file.stop()
            self.put(text)
            self.file.start()
            self.file.stop()
            self.threads.finish()
        self.assertEqual((self.file.running, len(self.taken), self.file.reads["failure"]), (False, 1, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.threads.held = False
        self.put("d:1\n")
        self.file.start()
        self.file.start()
        self.assertEqual((self.file.running, self.taken[1:]), (True, [["d:1"]]))

    def test_what_changes_while_it_is_read_is_seen(self) -> None:
        """At the next look."""
        plain: Any = self.threads

        def slow(job: Any) -> Any:
            done = plain(job)
            self.path.write_text("late:1\n")
            return done

        self.file._in_thread = slow
        self.put("c:1\n")
        self.look()
        self.assertEqual(self.taken[-1], ["c:1"])
        self.look()
        self.assertEqual(self.taken[-1], ["late:1"])
