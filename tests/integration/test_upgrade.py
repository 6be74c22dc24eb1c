"""Upgrades of real programs: one takes over from the other, and no client notices."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .backend import pattern
from .support import (
    LOOPBACK,
    PATIENCE,
    TWISTD,
    Answer,
    IntegrationTestCase,
    Load,
    Process,
    ask,
    eventually,
    free_port,
    read_exactly,
    read_head,
    send,
)

#: How many upgrades one after the other.
UPGRADES = int(os.environ.get("LBPROXY_UPGRADES", "3"))
#: Seconds within which a program is to serve, with its workers. It takes one, and on a busy machine many.
SERVES = 4 * PATIENCE
#: Bytes of an upload that is under way meanwhile.
UPLOAD = 4 << 20


def runs(pid: int) -> bool:
    """Whether a process is there, and not only its remains."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """The processes that a process has started, and that run."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
    return found


class UpgradeCase(IntegrationTestCase):
    """A program with a configuration file, and all those that come after it.

    :ivar pid: of the one that serves now.
    """

    def start(self, workers: int = 1, *lines: str, twistd: tuple[str, ...] = ("-n", "--pidfile=")) -> None:
        """Start the first one."""
        self.app = self.backends("ab")
        self.port, self.admin_port = free_port(), free_port()
        self.config = self.folder / "lb.toml"
        self.lines = [
            f"workers = {workers}",
            self.listen(),
            f"admin = 'tcp:{self.admin_port}:interface={LOOPBACK}'",
            "admin-writable = true",
            f"backends = {[backend.place for backend in self.app]}",
            *lines,
        ]
        self.write()
        self.pid = 0
        self.addCleanup(self.end)
        self.process = Process(self, [*self.launch(), *twistd, "lbproxy", "--config", str(self.config)])
        if "-n" in twistd:
            self.pid = self.process.pid
        eventually(f"it answers: {self.process.output}", self.answers, SERVES)

    def launch(self) -> list[str]:
        """How twistd is run."""
        return TWISTD

    def listen(self) -> str:
        """Where the file has clients connect."""
        return f"listen = 'tcp:{self.port}:interface={LOOPBACK}'"

    def write(self, *more: str) -> None:
        """The file, with further lines."""
        self.config.write_text("\n".join([*self.lines, *more, ""]))

    def answers(self) -> bool:
        """Whether there is somebody who serves."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(self.port, "/").status == 200
        return False

    def end(self) -> None:
        """End the one that serves, and all that it has started."""
        family = [self.pid, *children(self.pid)] if self.pid else []
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(AssertionError):
                eventually("all have ended", lambda: not any(map(runs, family)))

    def upgraded(self) -> Any:
        """What ``/status`` says of the last upgrade."""
        return ask(self.admin_port, "/status").json()["upgrade"]

    def next(self) -> int:
        """Have the next program take over; gives the process of the one before."""
        before = self.pid
        os.kill(before, signal.SIGUSR2)

        def taken_over() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                said = self.upgraded()
                return bool(said) and said["ok"] and said["pid"] != before
            return False

        eventually("another one serves", taken_over, SERVES)
        self.pid = self.upgraded()["pid"]
        return before

    def post(self) -> Answer:
        """Ask for an upgrade."""
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=SERVES)
        with contextlib.closing(connection):
            return send(connection, "/upgrade", "POST")

    def gone(self, pid: int) -> None:
        """Wait for the end of a process."""
        eventually(f"process {pid} has ended", lambda: not runs(pid), SERVES)

    def assertQuiet(self) -> None:
        """No program has logged an error."""
        self.assertNotRegex(self.process.output, "Traceback|Unhandled")


class Tunnel:
    """A connection that was upgraded to one that echoes bytes."""

    def __init__(self, connected: socket.socket) -> None:
        self._connected = connected
        connected.sendall(b"GET /tunnel?how=echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        head = read_head(connected)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def end(self) -> None:
        """Close it."""
        self._connected.close()

    def echoes(self, data: bytes) -> bool:
        """Whether these bytes come back."""
        self._connected.sendall(data)
        return read_exactly(self._connected, len(data)) == data


class Upload:
    """A request whose body is sent as slowly as is wanted, and its answer."""

    def __init__(self, port: int) -> None:
        self.proceed = threading.Event()
        self.answer: Answer | None = None
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
        self._thread = threading.Thread(target=self._run, args=(port,), daemon=True)
        self._thread.start()

    def _run(self, port: int) -> None:
        with contextlib.closing(self._connection):
            fields = {"Content-Length": str(UPLOAD)}
            self._connection.request("POST", "/upload", self._parts(), fields)
            self.answer = Answer(self._connection.getresponse())

    def _parts(self) -> Iterator[bytes]:
        yield from pattern(UPLOAD // 2)
        self.proceed.wait(PATIENCE)
        yield from pattern(UPLOAD // 2)

    def finish(self) -> Answer | None:
        """Send the rest; gives the answer."""
        self.proceed.set()
        self._thread.join(PATIENCE)
        return self.answer


class LossTests(UpgradeCase):
    """One upgrade after the other, under load."""

    def lose_nothing(self, workers: int) -> None:
        """With so many workers."""
        self.start(workers)
        load = Load(self, self.port)
        load.wait_for(20)
        descriptors = []
        for _ in range(UPGRADES):
            tunnel, upload = Tunnel(self.socket(self.port)), Upload(self.port)
            self.assertTrue(tunnel.echoes(b"before"))
            before = self.next()
            load.wait_for(20)
            self.assertTrue(runs(before), "it has a tunnel and an upload left")
            self.assertTrue(tunnel.echoes(b"after" * 10000))
            answer = upload.finish()
            assert answer is not None
            self.assertAnswered(answer)
            tunnel.end()
            self.gone(before)
            descriptors.append(len(os.listdir(f"/proc/{self.pid}/fd")))
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertLess(max(descriptors) - descriptors[0], 10, descriptors)
        self.assertQuiet()

    def test_one_process(self) -> None:
        """Requests, an upload and a tunnel that are under way end well; a new program serves after each."""
        self.lose_nothing(1)

    def test_with_workers(self) -> None:
        """The same with two workers, of which each new program has its own."""
        self.lose_nothing(2)


class FailureTests(UpgradeCase):
    """A new program that does not come to serve."""

    def refused(self, workers: int, *why: str) -> None:
        """The upgrade fails for that reason; the old program serves as before."""
        answer = self.post()
        self.assertEqual(answer.status, 422, answer.body)
        for part in why:
            self.assertIn(part, answer.body.decode())
        said = self.upgraded()
        self.assertEqual((said["ok"], said["pid"]), (False, None))
        self.assertEqual(f"{said['why']}\n", answer.body.decode())
        self.assertTrue(self.answers() and runs(self.pid))
        self.assertEqual(len(children(self.pid)), workers if workers > 1 else 0)

    def test_a_file_with_mistakes(self) -> None:
        """Is told with its place; the old program goes on, and can be upgraded when the file is right."""
        for workers in (1, 2):
            self.start(workers)
            self.write("what = 3")
            self.refused(workers, f"{self.config}:6: what: there is no such key")
            self.write()
            answer = self.post()
            self.assertAnswered(answer)
            self.assertEqual(answer.json()["why"], None)
            self.gone(self.pid)
            self.pid = answer.json()["pid"]
            self.assertTrue(self.answers())
            self.end()
            self.assertQuiet()

    def test_a_place_that_is_taken(self) -> None:
        """Is told as well."""
        self.start()
        with socket.create_server((LOOPBACK, 0)) as other:
            self.lines[1] = f"listen = 'tcp:{other.getsockname()[1]}:interface={LOOPBACK}'"
            self.write()
            self.refused(1, "cannot listen on", "in use")
        self.assertQuiet()

    def test_a_program_that_is_killed(self) -> None:
        """However it ends, the old one says what is known of it."""
        self.start()
        os.environ["PYTHONPATH"], before = "/nowhere", os.environ.get("PYTHONPATH", "")
        self.addCleanup(os.environ.__setitem__, "PYTHONPATH", before)
        self.config.unlink()
        self.refused(1, "lb.toml")
        self.assertQuiet()

    def test_told_to_end_meanwhile(self) -> None:
        """No program is left over, neither the old one nor a new one."""
        self.start(twistd=("-n", "--pidfile=lb.pid"))
        os.kill(self.pid, signal.SIGUSR2)
        eventually("it was begun", lambda: "is started" in self.process.output)
        os.kill(self.pid, signal.SIGUSR2)
        eventually("one is enough", lambda: "an upgrade is under way already" in self.process.output)
        new = children(self.pid)
        os.kill(self.pid, signal.SIGTERM)
        for pid in (self.pid, *new):
            self.gone(pid)
        self.assertFalse(self.answers())
        self.assertEqual(list(self.folder.glob("*.pid*")), [])
        self.assertQuiet()


class StateTests(UpgradeCase):
    """What goes over to the new program."""

    def test_what_operators_said(self) -> None:
        """A backend that was drained is not asked by the new program, though no state file keeps that; nor by the one after."""
        self.start()
        self.assertAnswered(ask(self.admin_port, f"/backends/{self.app[0].place}/maintenance", "POST", b"a new disk"))
        for _ in range(2):
            self.gone(self.next())
            self.assertEqual({ask(self.port, "/").backend for _ in range(4)}, {"b"})
        self.assertAnswered(ask(self.admin_port, f"/backends/{self.app[0].place}/ready", "POST"))
        self.assertEqual({ask(self.port, "/").backend for _ in range(4)}, {"a", "b"})

    def test_sticky_sessions(self) -> None:
        """Cookies of the old program are the new one's as well, without a key in the file."""
        for workers in (1, 2):
            self.start(workers, "sticky = 'cookie'")
            first = ask(self.port, "/")
            cookie = first.headers["Set-Cookie"].partition(";")[0]
            self.gone(self.next())
            again = [ask(self.port, "/", Cookie=cookie) for _ in range(4)]
            self.assertEqual({(answer.backend, answer.headers["Set-Cookie"]) for answer in again}, {(first.backend, None)})
            self.end()

    def test_another_number_of_workers(self) -> None:
        """Is gone over to in this way: from one process to two workers, to three, and back to one process."""
        self.start()
        load = Load(self, self.port)
        for workers in (2, 3, 1):
            self.lines[0] = f"workers = {workers}"
            self.write()
            self.gone(self.next())
            self.assertEqual(len(children(self.pid)), workers if workers > 1 else 0)
            load.wait_for(50)
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertQuiet()

    def test_a_unix_socket(self) -> None:
        """Keeps its rights and its name, and goes with the last program."""
        path = self.folder / "lb.sock"
        self.start()
        self.lines[1] = f"listen = ['tcp:{self.port}:interface={LOOPBACK}', 'unix:{path}:mode=600']"
        self.write()
        for _ in range(3):
            self.gone(self.next())
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.assertEqual(os.readlink(f"{path}.lock"), str(self.pid))
            with socket.socket(socket.AF_UNIX) as connected:
                connected.connect(str(path))
                connected.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                self.assertTrue(read_head(connected).startswith(b"HTTP/1.1 200 "))
        self.end()
        self.assertEqual(list(self.folder.glob("lb.sock*")), [])
        self.assertQuiet()


class DaemonTests(UpgradeCase):
    """Programs that have left their terminals."""

    def daemon(self, *twistd: str) -> Path:
        """Start one; gives its pidfile."""
        pidfile = self.folder / "lb.pid"
        self.start(1, twistd=("--pidfile=lb.pid", *twistd))
        self.assertEqual(self.process.wait(), 0)
        self.pid = int(pidfile.read_text())
        return pidfile

    def test_the_pidfile(self) -> None:
        """Names the new process, whether or not the old one has ended; it is the old one's after an upgrade that fails."""
        pidfile = self.daemon()
        for _ in range(2):
            tunnel = Tunnel(self.socket(self.port))
            before = self.next()
            self.assertNotEqual(before, self.pid)
            self.assertEqual(int(pidfile.read_text()), self.pid)
            tunnel.end()
            self.gone(before)
            self.assertEqual(int(pidfile.read_text()), self.pid)
        self.write("what = 3")
        self.assertEqual(self.post().status, 422)
        self.assertEqual(int(pidfile.read_text()), self.pid)
        self.end()
        self.assertEqual(list(self.folder.glob("*.pid*")), [])
        self.assertNotRegex((self.folder / "twistd.log").read_text(), "Traceback|Unhandled")

    def test_without_privileges(self) -> None:
        """A program that has changed its user is upgraded without being root."""
        if os.geteuid():
            self.skipTest("only root can do that")
        try:
            subprocess.run([sys.executable, "-c", ""], user=65534, group=65534, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("another user may not run this Python")
        self.folder.chmod(0o777)
        self.daemon("--uid=65534", "--gid=65534", "-l", str(self.folder / "twistd.log"))
        (self.folder / "twistd.log").chmod(0o666)
        self.gone(self.next())
        self.assertIn("Uid:\t65534", Path(f"/proc/{self.pid}/status").read_text())
        self.assertTrue(self.answers())


#: Runs a program as systemd does: with a listening socket as descriptor 3, and a socket to be told things.
AS_SYSTEMD = """\
import os, socket, sys
port, notify, *command = sys.argv[1:]
opened = socket.create_server(("127.0.0.1", int(port)))
opened.setblocking(False)
os.dup2(opened.fileno(), 3)
os.set_inheritable(3, True)
more = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "LISTEN_PID": str(os.getpid()), "NOTIFY_SOCKET": notify}
os.execve(command[0], command, {**os.environ, **more, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())})
"""


class SystemdTests(UpgradeCase):
    """Under something that does as systemd does."""

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[tuple[int, str]] = []
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.systemd.close)
        self.systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.systemd.bind(str(self.folder / "notify"))
        self.systemd.setblocking(False)

    def launch(self) -> list[str]:
        """How a program is run."""
        return [sys.executable, "-c", AS_SYSTEMD, str(self.port), str(self.folder / "notify"), *TWISTD]

    def listen(self) -> str:
        """The socket that is there already."""
        return "listen = 'systemd:domain=INET:index=0'"

    def says(self, pid: int, what: str) -> None:
        """Wait until a process says something; what was heard before that is forgotten."""

        def said() -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, ancillary, _, _ = self.systemd.recvmsg(4096, 256)
                    self.heard.append((struct.unpack("3i", ancillary[0][2])[0], data.decode()))
            while self.heard:
                who, text = self.heard.pop(0)
                if who == pid and text.startswith(what):
                    return True
            return False

        eventually(f"{pid} says {what}", said)

    def test_activation_and_notification(self) -> None:
        """The socket goes from program to program; systemd is told who it is that serves, by whom it listens to at the time. A
        reload finds the socket as well."""
        self.start()
        self.says(self.pid, "READY=1\nSTATUS=serving systemd:")
        self.says(self.pid, "WATCHDOG=1")
        for _ in range(2):
            before = self.next()
            self.says(before, f"MAINPID={self.pid}")
            self.says(self.pid, "READY=1\nSTATUS=serving systemd:")
            self.says(self.pid, "WATCHDOG=1")
            self.gone(before)
            self.assertTrue(self.answers())
            self.write("retries = 4")
            self.assertAnswered(ask(self.admin_port, "/reload", "POST"))
            self.says(self.pid, "RELOADING=1")
            self.says(self.pid, "READY=1")
            self.write()
        pid = self.pid
        self.end()
        self.says(pid, "STOPPING=1")
        self.assertQuiet()


__all__ = ["DaemonTests", "FailureTests", "LossTests", "StateTests", "SystemdTests"]
