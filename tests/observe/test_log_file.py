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


class SharedTests(SynchronousTestCase):
    """Several processes write to the same file."""

    def fifo(self) -> tuple[str, int]:
        """A FIFO, and its reading end."""
        path = self.mktemp()
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        return path, reader

    def shared(self, path: str, fd: int = -1) -> LogFile:
        """An open file that others have too."""
        file = LogFile(path)
        file.share(path, fd)
        file.open()
        self.addCleanup(file.close)
        return file

    def written(self, file: LogFile, data: bytes) -> list[bytes]:
        """What goes out by each call of the system."""
        pieces: list[bytes] = []
        write = os.write

        def note(fd: int, piece: bytes) -> int:
            pieces.append(piece)
            return write(fd, piece)

        self.patch(os, "write", note)
        file.write(data)
        return pieces

    def test_to_a_pipe_lines_go_whole_in_pieces_that_nobody_tears_apart(self) -> None:
        """POSIX promises that of up to PIPE_BUF bytes."""
        path, reader = self.fifo()
        lines = b"".join(b"%d %b\n" % (number, b"x" * (number % 300)) for number in range(200))
        pieces = self.written(self.shared(path), lines)
        self.assertEqual((b"".join(pieces), os.read(reader, 1 << 20)), (lines, lines))
        self.assertTrue(all(len(piece) <= 4096 and piece.endswith(b"\n") for piece in pieces), list(map(len, pieces)))
        self.assertLess(len(pieces), 20)

    def test_a_line_that_is_longer_goes_by_itself(self) -> None:
        """It is not cut."""
        path, _ = self.fifo()
        lines = b"short\n" + b"x" * 5000 + b"\n" + b"last\n"
        self.assertEqual(self.written(self.shared(path), lines), [b"short\n", b"x" * 5000 + b"\n", b"last\n"])

    def test_to_a_file_all_goes_at_once(self) -> None:
        """Appending is not torn apart."""
        lines = b"x" * 99 + b"\n"
        file = self.shared(self.mktemp())
        self.assertEqual(self.written(file, lines * 1000), [lines * 1000])

    def test_who_is_alone_writes_to_a_pipe_as_before(self) -> None:
        """In one call."""
        path, _ = self.fifo()
        file = LogFile(path)
        file.open()
        self.addCleanup(file.close)
        self.assertEqual(len(self.written(file, (b"x" * 99 + b"\n") * 100)), 1)

    def test_standard_output_that_is_a_pipe_is_one(self) -> None:
        """It is what programs read that keep logs."""
        path, _ = self.fifo()
        saved, writer = os.dup(1), os.open(path, os.O_WRONLY)
        self.addCleanup(os.close, saved)
        os.dup2(writer, 1)
        os.close(writer)
        try:
            pieces = self.written(self.shared("-"), (b"x" * 99 + b"\n") * 100)
        finally:
            os.dup2(saved, 1)
        self.assertEqual([len(piece) for piece in pieces], [4000, 4000, 2000])

    def test_a_file_that_cannot_be_opened_is_used_as_it_was_given(self) -> None:
        """A worker need not have the privilege that its supervisor had."""
        path = Path(self.mktemp()).absolute()
        lender = LogFile(str(path))
        lender.open()
        self.addCleanup(lender.close)
        lent = lender.lend()
        assert lent is not None
        self.assertEqual(lent[0], str(path))
        given = os.dup(lent[1])
        real = os.open

        def refuse(name: str, *more: int) -> int:
            if name == str(path):
                raise PermissionError(13, "Permission denied")
            return real(name, *more)

        self.patch(os, "open", refuse)
        file = self.shared(str(path), given)
        file.write(b"line\n")
        self.assertEqual(path.read_bytes(), b"line\n")

    def test_what_was_given_in_vain_is_closed(self) -> None:
        """Where it can be opened, so that it follows when the file is renamed."""
        given, other = os.pipe()
        os.close(given)
        self.shared(self.mktemp(), other)
        self.assertRaises(OSError, os.fstat, other)

    def test_what_was_given_is_closed_though_it_is_never_opened(self) -> None:
        """A configuration that is not gone by leaves nothing behind."""
        other, given = os.pipe()
        self.addCleanup(os.close, other)
        file = LogFile(self.mktemp())
        file.share(file.path, given)
        file.close()
        self.assertRaises(OSError, os.fstat, given)

    def test_what_is_lent_is_the_file_that_has_the_name_now(self) -> None:
        """After a rotation, too."""
        path = Path(self.mktemp()).absolute()
        lender = LogFile(str(path))
        self.assertIsNone(lender.lend())
        lender.open()
        self.addCleanup(lender.close)
        path.rename(self.mktemp())
        lent = lender.lend()
        assert lent is not None
        self.assertTrue(os.path.samestat(os.fstat(lent[1]), os.stat(path)))

    def test_standard_output_is_not_lent(self) -> None:
        """Everybody has it."""
        lender = LogFile("-")
        lender.open()
        self.assertIsNone(lender.lend())
