"""How the next program is started, and whose the pidfile is."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.upgrade.command import VARIABLE, PidFile, append_only, environment, next_command

#: Options of a twistd that has shed its privileges, and what is left of them.
SHED = {
    "-n lbproxy --config a": "-n lbproxy --config a",
    "--uid=33 lbproxy": "lbproxy",
    "--uid 33 --gid 33 -n lbproxy -b a:1": "-n lbproxy -b a:1",
    "-u 33 -g33 lbproxy": "lbproxy",
    "-nu33 lbproxy": "-n lbproxy",
    "--euid --ui 33 lbproxy": "lbproxy",
    "--chroot=/srv --pidfile= --no_save lbproxy": "--pidfile= --no_save lbproxy",
    "-l - --umask=022 lbproxy --listen tcp:80": "-l - --umask=022 lbproxy --listen tcp:80",
    "lbproxy --uid=33 -u 33": "lbproxy --uid=33 -u 33",
}


class CommandTests(SynchronousTestCase):
    """The command line."""

    def test_as_it_was(self) -> None:
        """With its privileges a program is started as this one was, by the same interpreter, with the same options of that."""
        whole = ["python", "-X", "dev", "bin/twistd", "--uid=33", "lbproxy"]
        given = next_command(whole, whole[4:], ServerOptions(), shed=False)
        self.assertEqual(given, [sys.executable, *whole[1:]])

    def test_privileges_are_shed_once(self) -> None:
        """What only root can do is left out, whatever way it was written; what comes after lbproxy is not twistd's."""
        for own, left in SHED.items():
            whole = ["python", "bin/twistd", *own.split()]
            given = next_command(whole, own.split(), ServerOptions(), shed=True)
            self.assertEqual(given, [sys.executable, "bin/twistd", *left.split()], own)

    def test_environment(self) -> None:
        """The descriptors are named; what was meant for this very process is not handed on, and the rest is."""
        before = {
            "PATH": "/bin",
            "WATCHDOG_PID": "7",
            "WATCHDOG_USEC": "9",
            "LISTEN_FDS": "1",
            "LISTEN_PID": "7",
            VARIABLE: "8:9",
        }
        self.assertEqual(environment(before, 3, 4), {"PATH": "/bin", "WATCHDOG_USEC": "9", VARIABLE: "3:4"})


class PidFileTests(SynchronousTestCase):
    """twistd's pidfile."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "lb.pid"
        self.path.write_text("1")
        self.options = {"pidfile": str(self.path)}
        self.pidfile = PidFile(self.options)

    def there(self) -> dict[str, str]:
        """The files, with what is in them."""
        return {path.name: path.read_text() for path in self.folder.iterdir()}

    def test_a_new_program_takes_over(self) -> None:
        """The file is its own, and the old program removes it no more."""
        self.pidfile.put_aside()
        self.assertEqual(self.there(), {"lb.pid.old": "1"})
        self.path.write_text("2")
        self.pidfile.leave()
        self.assertEqual((self.there(), self.options["pidfile"]), ({"lb.pid": "2"}, ""))

    def test_a_new_program_fails(self) -> None:
        """The file is the old one's again, whether or not the new one has written one."""
        for written in (False, True):
            self.pidfile.put_aside()
            if written:
                self.path.write_text("2")
            self.pidfile.put_back()
            self.assertEqual((self.there(), self.options["pidfile"]), ({"lb.pid": "1"}, str(self.path)))

    def test_there_is_none(self) -> None:
        """Neither one that was not wanted, nor one that somebody has removed."""
        self.path.unlink()
        for pidfile in (self.pidfile, PidFile({"pidfile": ""})):
            pidfile.put_aside()
            pidfile.put_back()
            pidfile.put_aside()
            pidfile.leave()
        self.assertEqual(self.there(), {})


class LogTests(SynchronousTestCase):
    """A log that two programs write to."""

    def test_at_its_end(self) -> None:
        """What is written goes to the file's end, whoever has written there meanwhile; other files are as they were."""
        path, other = Path(self.mktemp()), Path(self.mktemp())
        with path.open("wb", buffering=0) as one, path.open("ab", buffering=0) as two, other.open("wb") as third:
            append_only(str(path))
            one.write(b"one")
            two.write(b"two")
            one.write(b"three")
            self.assertFalse(fcntl.fcntl(third.fileno(), fcntl.F_GETFL) & os.O_APPEND)
        self.assertEqual(path.read_bytes(), b"onetwothree")

    def test_there_is_none(self) -> None:
        """Nothing is to be done then; nor can it be where the system does not list descriptors."""
        append_only(self.mktemp())
        append_only(__file__, self.mktemp())
