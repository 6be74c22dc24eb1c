"""A worker's log arrives in its supervisor's as it is."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.workers.logs import LINE, UNSENT, LogReader, LogWriter


class LogCase(SynchronousTestCase):
    """Has a pipe between both ends."""

    def setUp(self) -> None:
        self.reading, self.writing = os.pipe()
        self.addCleanup(self.close)
        self.later: list[Any] = []
        self.writer = LogWriter(self.writing, self.later.append)
        self.log = Logger(namespace="lbproxy.some", observer=LogPublisher(self.writer))
        self.events: list[Any] = []
        self.reader = LogReader("worker 3", self.events.append)

    def close(self) -> None:
        """Both ends of the pipe."""
        for fd in (self.reading, self.writing):
            try:
                os.close(fd)
            except OSError:
                pass

    def carry(self) -> None:
        """What the pipe has goes to the reader."""
        os.set_blocking(self.reading, False)
        try:
            while data := os.read(self.reading, 65536):
                self.reader.feed(data)
        except BlockingIOError:
            pass

    @property
    def texts(self) -> list[str]:
        """What has arrived."""
        return [event["text"] for event in self.events]


class CarriedTests(LogCase):
    """Promises on what arrives."""

    def test_level_namespace_time_and_text_are_kept(self) -> None:
        """And whose it is, is the system."""
        self.log.warn("{number} of them", number=3, log_time=12.5)
        self.carry()
        (event,) = self.events
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertEqual(event["log_namespace"], "lbproxy.some")
        self.assertIsInstance(event["log_time"], float)
        self.assertEqual(event["log_system"], "worker 3")
        self.assertEqual(event["log_format"].format(**event), "3 of them")

    def test_a_traceback_stays_together(self) -> None:
        """One event, many lines."""
        try:
            raise RuntimeError("of all things")
        except RuntimeError:
            self.log.failure("it broke")
        self.carry()
        (text,) = self.texts
        self.assertIn("it broke\nTraceback", text)
        self.assertIn("builtins.RuntimeError: of all things", text)
        self.assertEqual(self.reader.last, "builtins.RuntimeError: of all things")

    def test_braces_and_other_letters_are_text(self) -> None:
        """Nothing of it is formatted again."""
        self.log.info("{text}", text="{not a field} – ü {lbproxy-log}")
        self.carry()
        self.assertEqual(self.texts, ["{not a field} – ü {lbproxy-log}"])

    def test_what_is_too_long_is_cut_and_says_so(self) -> None:
        """The supervisor's memory is not a worker's to fill."""
        self.log.info("{text}", text="x" * (LINE + 7))
        self.carry()
        self.assertEqual(self.texts, ["x" * LINE + " … (7 characters more)"])

    def test_lines_of_others_come_as_they_are(self) -> None:
        """A crash's traceback, or a warning of Python's."""
        self.reader.feed(b"Fatal Python error: Aborted\r\n\n  File x, line 3\n" + b'{"lbproxy-log": 7}\n{"a": 1}\n\xff\n')
        said = ["Fatal Python error: Aborted", "  File x, line 3", '{"lbproxy-log": 7}', '{"a": 1}', "�"]
        self.assertEqual(self.texts, said)
        self.assertEqual({event["log_level"] for event in self.events}, {LogLevel.info})

    def test_a_line_in_pieces_is_one(self) -> None:
        """However the pipe has cut it."""
        self.log.error("whole")
        for byte in os.read(self.reading, 65536):
            self.reader.feed(bytes([byte]))
        self.assertEqual(self.texts, ["whole"])

    def test_last_words_without_a_line_end_are_heard(self) -> None:
        """A process that dies does not always end its line."""
        self.reader.feed(b"Segmentation")
        self.assertEqual(self.texts, [])
        self.reader.end()
        self.assertEqual(self.texts, ["Segmentation"])

    def test_a_line_without_an_end_is_not_collected_for_ever(self) -> None:
        """It comes in parts."""
        self.reader.feed(b"y" * 10 * LINE)
        self.assertEqual(len(self.texts), 1)


class WriterTests(LogCase):
    """Promises on a worker whose log nobody reads."""

    def test_it_never_waits(self) -> None:
        """What does not fit into the pipe is written later."""
        for number in range(40):
            self.log.info("{number} {text}", number=number, text="x" * 8000)
        self.assertTrue(self.later)
        while self.later:
            self.carry()
            later, self.later[:] = list(self.later), []
            for flush in later:
                flush()
        self.carry()
        self.assertEqual([int(text.split()[0]) for text in self.texts], list(range(40)))

    def test_what_each_says_of_its_sockets_is_left_out(self) -> None:
        """Twisted says it in each process; the supervisor has said where it listens, and who serves, or has ended. What others
        say in the same words, or louder, comes."""
        legacy, loop = (Logger(name, observer=self.log.observer) for name in ("log_legacy", "twisted.internet.base"))
        for text in ("Door starting on 8080", "(TCP Port 8080 Closed)", "spring sale is starting on 8080"):
            legacy.info("{text}", text=text)
        loop.info("Main loop terminated.")
        loop.error("Main loop terminated.")
        self.log.info("Door starting on 8080")
        self.carry()
        self.assertEqual(self.texts, ["spring sale is starting on 8080", "Main loop terminated.", "Door starting on 8080"])

    def test_what_is_lost_is_counted(self) -> None:
        """More than a megabyte is not kept for somebody who does not read."""
        for _ in range(UNSENT // 8000 + 100):
            self.log.info("{text}", text="x" * 8000)
        for _ in range(100):
            self.carry()
            self.writer.flush()
        self.log.info("after it")
        self.carry()
        self.assertEqual(self.texts[-1], "after it")
        self.assertRegex(self.texts[-2], r"^\d+ log lines were lost: nobody has read them$")

    def test_a_supervisor_that_is_gone_is_no_error(self) -> None:
        """What runs is brought to its end without a log."""
        os.close(self.reading)
        self.log.info("to nobody")
        self.log.info("again")
        self.assertEqual(self.later, [])

    def test_a_line_is_one_line_of_json(self) -> None:
        """Whatever is in it."""
        self.log.info("a\nb")
        line = os.read(self.reading, 65536)
        self.assertEqual(line.count(b"\n"), 1)
        json.loads(line)
