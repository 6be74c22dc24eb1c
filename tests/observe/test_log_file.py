"""A log file outlives rotation and full disks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.observe.log_file import LogFile


class LogFileTests(SynchronousTestCase):
    """``LogFile`` with files of its own."""

    def setUp(self) -> None:
        """An open log file in a directory of its own."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "access.log"
        self.file = LogFile(str(self.path))
        self.file.open()
        self.addCleanup(self.file.close)

    def test_appends(self) -> None:
        """What was in the file stays there."""
        self.path.write_bytes(b"before\n")
        self.file.write(b"after\n")
        self.assertEqual(self.path.read_bytes(), b"before\nafter\n")

    def test_not_for_everybody(self) -> None:
        """A new file cannot be read by others: it holds clients' addresses."""
        self.assertEqual(self.path.stat().st_mode & 0o007, 0)

    def test_renamed(self) -> None:
        """After the file was renamed, lines go to a new one of its name."""
        self.file.write(b"one\n")
        moved = self.path.rename(self.directory / "access.log.1")
        self.file.write(b"two\n")
        self.assertEqual((moved.read_bytes(), self.path.read_bytes()), (b"one\n", b"two\n"))

    def test_renamed_and_replaced(self) -> None:
        """A new file that somebody else has put in its place is taken up."""
        self.path.rename(self.directory / "access.log.1")
        self.path.write_bytes(b"theirs\n")
        self.file.write(b"ours\n")
        self.assertEqual(self.path.read_bytes(), b"theirs\nours\n")

    def test_cannot_be_opened_again(self) -> None:
        """When a moved file's place cannot be written to, the moved file goes on getting the lines; that is said once."""
        moved = self.path.rename(Path(self.mktemp()))
        shutil.rmtree(self.directory)
        with capturedLogs() as events:
            self.file.write(b"one\n")
            self.file.write(b"two\n")
        self.assertEqual(moved.read_bytes(), b"one\ntwo\n")
        self.assertEqual(len(events), 1)
        self.assertEqual(self.file.dropped, 0)

    def test_directory_changed(self) -> None:
        """A relative path stays where it was when the process changes its directory, as a daemon does."""
        file = LogFile("relative.log")
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        file.open()
        self.addCleanup(file.close)
        self.assertTrue(Path(before, "relative.log").exists())

    def test_cannot_be_opened(self) -> None:
        """The error names the option, the file and the cause."""
        path = os.path.abspath(self.directory / "none" / "access.log")
        error = self.assertRaises(ConfigurationError, LogFile(path).open)
        self.assertIn(f"--access-log: '{path}' cannot be opened: No such file or directory", str(error))

    def test_impossible_name(self) -> None:
        """A name that no file can have is a configuration error like others."""
        self.assertRaises(ConfigurationError, LogFile("a\0b").open)

    def test_not_open(self) -> None:
        """Lines for a file that is closed are counted as lost."""
        self.file.close()
        self.file.write(b"one\ntwo\n")
        self.assertEqual(self.file.dropped, 2)


class OutageTests(SynchronousTestCase):
    """What happens to lines that cannot be written."""

    def test_disk_full(self) -> None:
        """Lines for a full disk are dropped and counted, and the operator is told once."""
        file = LogFile("/dev/full")
        file.open()
        self.addCleanup(file.close)
        with capturedLogs() as events:
            file.write(b"one\ntwo\n")
            file.write(b"three\n")
        self.assertEqual(file.dropped, 3)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        self.assertIn("No space left", events[0]["cause"])

    def test_torn_line(self) -> None:
        """When only a part of a line could be written, the next line begins on a line of its own."""
        path = self.mktemp()
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        file = LogFile(path)
        file.open()
        self.addCleanup(file.close)
        file.write(b"x" * 999 + b"\n")
        file.write((b"y" * 9_999 + b"\n") * 100)  # a pipe holds much less
        arrived = os.read(reader, 1 << 20)
        with capturedLogs() as events:
            file.write(b"after\n")
        arrived += os.read(reader, 1 << 20)
        lines = arrived.splitlines()
        self.assertEqual((lines[0], lines[-1]), (b"x" * 999, b"after"))
        whole = lines.count(b"y" * 9_999)
        self.assertEqual(file.dropped, 100 - whole)
        self.assertEqual(events[0]["lost"], 100 - whole)

    def test_fifo_without_reader(self) -> None:
        """A FIFO that nobody reads is an error at once, and does not stop the process until somebody does."""
        path = self.mktemp()
        os.mkfifo(path)
        self.assertRaises(ConfigurationError, LogFile(path).open)
