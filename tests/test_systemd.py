"""systemd is told what becomes of the program, in its own protocol; and who is not there to be told is no error."""

from __future__ import annotations

import configparser
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

import lbproxy
from lbproxy.systemd import Notifier, watchdog_seconds

EXAMPLES = Path(lbproxy.__file__).parent.parent / "examples"
#: Seconds that a process may take; it is killed then, and the test fails.
PATIENCE = 60


class NotifierTests(SynchronousTestCase):
    """What is sent."""

    def setUp(self) -> None:
        self.clock = Clock()
        folder = TemporaryDirectory()  # a socket's name has 107 characters at most, and trial's folders may have more
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "notify")
        self.systemd = self.bind(self.path)
        self.environ = {"NOTIFY_SOCKET": self.path}

    def bind(self, address: str) -> socket.socket:
        """What listens there, as systemd does."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(listening.close)
        listening.bind(address)
        return listening

    def heard(self) -> list[str]:
        """What has come since the last time."""
        found = []
        while True:
            try:
                found.append(self.systemd.recv(4096).decode())
            except BlockingIOError:
                return found

    def test_a_life(self) -> None:
        """Ready, a reload, the end."""
        notifier = Notifier(self.environ, self.clock)
        notifier.reloading(True)
        self.assertEqual(self.heard(), [])
        notifier.ready("serving\ntcp:80")
        self.assertEqual(self.heard(), ["READY=1\nSTATUS=serving tcp:80"])
        notifier.reloading(True)
        (begun,) = self.heard()
        self.assertRegex(begun, r"\ARELOADING=1\nMONOTONIC_USEC=[0-9]+\Z")
        notifier.reloading(False)
        self.assertEqual(self.heard(), ["READY=1"])
        notifier.stopping("draining")
        notifier.reloading(True)
        self.assertEqual(self.heard(), ["STOPPING=1\nSTATUS=draining"])

    def test_handed_over(self) -> None:
        """The new process is named, and speaks for the service: of the old one nothing more is heard, not even of its end."""
        self.environ["WATCHDOG_USEC"] = "2000000"
        notifier = Notifier(self.environ, self.clock)
        notifier.ready("serving")
        self.heard()
        notifier.main(77)
        self.assertEqual(self.heard(), ["MAINPID=77"])
        notifier.stopping("draining")
        self.clock.advance(10)
        self.assertEqual((self.heard(), self.clock.getDelayedCalls()), ([], []))

    def test_the_watchdog(self) -> None:
        """Is told twice in its time that the program lives, and not while it does not do its work."""
        self.environ.update(WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
        lives = True
        notifier = Notifier(self.environ, self.clock, lambda: lives)
        notifier.ready("serving")
        self.assertEqual(self.heard()[1:], ["WATCHDOG=1"])
        self.clock.pump([1.5] * 2)
        self.assertEqual(self.heard(), ["WATCHDOG=1"] * 2)
        lives = False
        self.clock.pump([1.5] * 2)
        self.assertEqual(self.heard(), [])
        lives = True
        self.clock.advance(1.5)
        self.assertEqual(self.heard(), ["WATCHDOG=1"])

    def test_abstract_sockets(self) -> None:
        """Have no place in the file system."""
        name = f"lbproxy-test-{os.getpid()}"
        self.systemd = self.bind(f"\0{name}")
        Notifier({"NOTIFY_SOCKET": f"@{name}"}, self.clock).ready("serving")
        self.assertEqual(len(self.heard()), 1)

    def test_nobody_is_there(self) -> None:
        """One line in the log, however often; not one where nobody is to be told."""
        for address in (os.path.abspath(self.mktemp()), "vsock:2:1234", "/" + "x" * 200):
            notifier = Notifier({"NOTIFY_SOCKET": address}, self.clock)
            with capturedLogs() as events:
                notifier.ready("serving")
                notifier.reloading(True)
                notifier.reloading(False)
            self.assertEqual(len(events), 1, address)
            self.assertIn("systemd cannot be told", str(formatEvent(events[0])))
        with capturedLogs() as events:
            Notifier({}, self.clock).ready("serving")
        self.assertEqual(events, [])


class WatchdogTests(SynchronousTestCase):
    """Whether there is one."""

    def test_its_time(self) -> None:
        """Microseconds, for the process that is named; for any, where none is."""
        for environ, seconds in (
            ({}, 0.0),
            ({"WATCHDOG_USEC": "30000000"}, 30.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),
            ({"WATCHDOG_USEC": "0"}, 0.0),
            ({"WATCHDOG_USEC": "soon"}, 0.0),
        ):
            self.assertEqual(watchdog_seconds(environ, 7), seconds, environ)


class UnitTests(SynchronousTestCase):
    """The unit files in ``examples/``."""

    def unit(self, name: str) -> configparser.ConfigParser:
        """One of them."""
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string((EXAMPLES / name).read_text())
        return unit

    def test_the_service(self) -> None:
        """Says when it is ready, is upgraded and watched, and is installed."""
        service = self.unit("lbproxy.service")["Service"]
        self.assertEqual((service["Type"], service["NotifyAccess"]), ("notify", "main"))
        self.assertEqual(service["ExecReload"], "/bin/kill -HUP $MAINPID")
        for setting in ("LimitNOFILE", "WatchdogSec", "TimeoutStopSec", "NoNewPrivileges", "ProtectSystem"):
            self.assertIn(setting, service)
        self.assertEqual(self.unit("lbproxy.service")["Install"]["WantedBy"], "multi-user.target")
        self.assertEqual(self.unit("lbproxy.socket")["Install"]["WantedBy"], "sockets.target")
        self.assertIn("ListenStream", self.unit("lbproxy.socket")["Socket"])

    def test_its_command(self) -> None:
        """Is one that twistd understands, and lbproxy accepts."""
        program, *options = shlex.split(self.unit("lbproxy.service")["Service"]["ExecStart"])
        self.assertEqual(os.path.basename(program), "twistd")
        twistd = options[: options.index("lbproxy")]
        config = Path(self.mktemp())
        config.write_text('backends = ["10.0.0.1:8000"]\n')
        own = [str(config) if option.endswith(".toml") else option for option in options[len(twistd) + 1 :]]
        self.assertIn(str(config), own)
        checked = subprocess.run(
            [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *twistd, "lbproxy", *own, "--check"],
            capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        )  # fmt: skip
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
