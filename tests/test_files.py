"""Files are seen to change, read with their mistakes named, and written in one go."""

from __future__ import annotations

import os
import stat
from itertools import pairwise
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lbproxy import files
from lbproxy.errors import ConfigurationError
from lbproxy.files import (
    FileStamp,
    exists,
    is_directory,
    lend,
    names_in,
    opened,
    read_text,
    record,
    recording,
    stamp,
    write_whole,
)


class FileCase(SynchronousTestCase):
    """A file in a directory of the test's own."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text("one\n")

    def put(self, text: str) -> None:
        """Replace the file as careful programs do."""
        other = self.path.with_suffix(".new")
        other.write_text(text)
        os.replace(other, self.path)


class FileStampTests(FileCase):
    """``FileStamp``."""

    def test_a_file_that_stays_has_the_same_stamp(self) -> None:
        """In whatever order, and however often, files are named."""
        paths = [str(self.path), "/nowhere"]
        self.assertEqual(FileStamp.of(paths), FileStamp.of([*reversed(paths), *paths]))

    def test_a_change_shows(self) -> None:
        """Another content, the same content in another file, an end, and a beginning."""
        seen = [FileStamp.of([str(self.path)])]
        for change in (lambda: self.path.write_text("other"), lambda: self.put("other"), self.path.unlink, lambda: self.put("x")):
            change()
            seen.append(FileStamp.of([str(self.path)]))
        for before, after in pairwise(seen):
            self.assertNotEqual(before, after)

    def test_what_is_no_path_is_no_file(self) -> None:
        """A NUL in a name is an operator's slip, and no crash."""
        self.assertEqual(FileStamp.of(["a\0b"]).states, (("a\0b", None),))


class ReadTextTests(FileCase):
    """``read_text``."""

    def refused(self, path: Path, limit: int = 100) -> str:
        """Why."""
        return str(self.assertRaises(ConfigurationError, read_text, str(path), limit))

    def test_text(self) -> None:
        """It is what is in the file, without the mark that some editors put before it."""
        self.path.write_bytes(b"\xef\xbb\xbfgr\xc3\xb6\xc3\x9fer\n")
        self.assertEqual(read_text(str(self.path), 100), "größer\n")

    def test_what_cannot_be_read(self) -> None:
        """The error names the path and the reason."""
        self.assertEqual(
            self.refused(Path("/nowhere")),
            "/nowhere: it cannot be read: No such file or directory; give a file that lbproxy may read",
        )

    def test_what_is_no_file(self) -> None:
        """A directory, a device, and a pipe that nobody writes to, which is not waited for."""
        pipe = self.path.with_suffix(".pipe")
        os.mkfifo(pipe)
        self.assertIn("Is a directory", self.refused(self.path.parent))
        for path in (Path("/dev/null"), pipe):
            self.assertEqual(self.refused(path), f"{path}: it is no file; give the path of one")

    def test_a_large_file(self) -> None:
        """It may have as much as is allowed, and no more."""
        self.assertEqual(read_text(str(self.path), 4), "one\n")
        self.assertEqual(self.refused(self.path, 3), f"{self.path}: it has more than 3 bytes; it may have as many at most")

    def test_what_is_no_text(self) -> None:
        """The error names the line."""
        self.path.write_bytes(b"one\ntwo \xff\n")
        self.assertEqual(self.refused(self.path), f"{self.path}:2: it is no text in UTF-8; nothing else is taken")


class WriteWholeTests(FileCase):
    """``write_whole``."""

    def test_only_its_owner_may_read_it(self) -> None:
        """Whoever could read the one before."""
        self.path.chmod(0o644)
        write_whole(str(self.path), b"two")
        self.assertEqual((self.path.read_bytes(), stat.S_IMODE(self.path.stat().st_mode)), (b"two", 0o600))

    def test_who_reads_the_old_one_reads_it_to_the_end(self) -> None:
        """The new one is another file."""
        with self.path.open() as file:
            write_whole(str(self.path), b"two")
            self.assertEqual(file.read(), "one\n")

    def test_a_link_stays_one(self) -> None:
        """What it leads to is replaced."""
        link = self.path.with_suffix(".link")
        link.symlink_to(self.path)
        write_whole(str(link), b"two")
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.path.read_bytes(), b"two")

    def test_what_cannot_be_written_leaves_nothing_behind(self) -> None:
        """Neither half a file, nor less than there was."""
        folder = self.path.with_suffix(".folder")
        (folder / "in").mkdir(parents=True)
        self.assertRaises(OSError, write_whole, str(folder), b"two")
        self.assertRaises(OSError, write_whole, "/nowhere/file", b"two")
        self.assertEqual([name for name in os.listdir(self.path.parent) if ".part" in name], [])

    def test_what_a_process_left_that_was_killed_is_no_obstacle(self) -> None:
        """Its half of a file is put away."""
        part = Path(f"{self.path}.part")
        part.write_text("half")
        write_whole(str(self.path), b"two")
        self.assertEqual((self.path.read_bytes(), part.exists()), (b"two", False))


class LendingTests(FileCase):
    """What one process has read is used by others, which may not."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(lend, {})
        self.addCleanup(files._records.clear)

    def read(self) -> bytes:
        """What it says."""
        with opened(str(self.path)) as file:
            return file.read()

    def test_nothing_is_kept_unless_somebody_wants_it(self) -> None:
        """There are no copies of secrets in a process that is the only one."""
        self.read()
        self.assertIsNone(recording())

    def test_what_was_read_is_kept_when_it_is_gone_by(self) -> None:
        """Not before, and not what could not be used; texts such as a state file are nobody's."""
        path, kept = str(self.path), record()
        self.read()
        self.assertEqual((kept.kept, kept.newest()), ({}, {path: b"one\n"}))
        kept.keep()
        self.put("two\n")
        self.read()
        self.assertEqual((kept.kept, kept.newest()), ({path: b"one\n"}, {path: b"two\n"}))
        kept.begin()
        kept.keep()
        read_text(path, 100)
        self.assertEqual(kept.newest(), {path: b"one\n"})

    def test_what_was_lent_is_what_is_there(self) -> None:
        """Whatever really is; and its stamp changes with it alone."""
        path = str(self.path)
        lend({path: b"lent"})
        before = stamp(path)
        self.put("two\n")
        self.assertEqual((self.read(), stamp(path)), (b"lent", before))
        lend({path: b"more"})
        self.assertEqual(self.read(), b"more")
        self.assertNotEqual(stamp(path), before)
        lend({})
        self.assertEqual(self.read(), b"two\n")

    def test_directories_are_lent_too(self) -> None:
        """The names in them, hidden ones and directories left out."""
        folder = str(self.path) + "s"
        os.mkdir(folder)
        for name in ("b", "a", ".hidden"):
            Path(folder, name).write_text("")
        os.mkdir(os.path.join(folder, "c"))
        kept = record()
        self.assertEqual(names_in(folder, 10), ["a", "b"])
        contents = kept.newest()
        os.rename(folder, f"{folder}.old")
        self.assertFalse(is_directory(folder))
        lend(contents)
        self.assertEqual((is_directory(folder), exists(folder), names_in(folder, 10)), (True, True, ["a", "b"]))

    def test_what_is_too_large_is_not_kept(self) -> None:
        """It is read all the same."""
        self.patch(files, "LENT_LIMIT", 3)
        kept = record()
        self.assertEqual((self.read(), kept.newest()), (b"one\n", {}))
