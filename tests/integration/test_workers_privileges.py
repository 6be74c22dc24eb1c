"""Several workers for whom ``twistd`` gives up its rights, or leaves the terminal: what only root may read serves on."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path

import httptools
from twisted.trial.unittest import SkipTest

import lbproxy
from tests.integration import support

from .certificates import authority, certificate, write
from .support import LOOPBACK, PATIENCE, Answer, IntegrationTestCase, Process, ask, eventually, free_port, send

#: Who has no rights: nobody.
NOBODY = 65534
_RUN = "from twisted.scripts.twistd import run; run()"
_IMPORTS = "import lbproxy.tap, lbproxy.workers.worker, OpenSSL, httptools, treq"


def interpreter() -> tuple[str, str]:
    """A Python that anybody may run, with all that is needed, and what its ``PYTHONPATH`` must be."""
    places = [str(Path(module.__file__ or "").parent.parent) for module in (lbproxy, httptools)]
    path = os.pathsep.join(places)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for program in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            tried = subprocess.run(
                [program, "-c", _IMPORTS], env={"PYTHONPATH": path}, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
                capture_output=True, check=False, timeout=PATIENCE * 4,
            )  # fmt: skip
        except OSError:
            continue
        if tried.returncode == 0:
            return program, path
    raise SkipTest("there is no Python that nobody (65534) may run, with what lbproxy needs")


def workers_of(pid: int) -> list[int]:
    """The processes that another one has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def owner_of(pid: int) -> int:
    """As whom a process runs."""
    return Path(f"/proc/{pid}").stat().st_uid


class WorkersCase(IntegrationTestCase):
    """Has a folder that everybody may look into."""

    def setUp(self) -> None:
        super().setUp()
        self.folder.chmod(0o755)
        self.port, self.tls_port, self.admin_port = free_port(), free_port(), free_port()

    def write(self, text: str, *more: str) -> Path:
        """A file, with two workers and the listeners in it."""
        path = self.folder / "lb.toml"
        listeners = [f'{key} = "tcp:{port}:interface={LOOPBACK}"' for key, port in self.places().items()]
        path.write_text("\n".join(["workers = 2", *listeners, *more, text]))
        return path

    def places(self) -> dict[str, int]:
        """The listeners' ports."""
        return {"listen": self.port, "admin": self.admin_port}

    def serves(self, pid: int) -> list[int]:
        """The workers, once there are two and they answer."""

        def both() -> list[int]:
            found = workers_of(pid)
            try:
                return found if len(found) == 2 and ask(self.port).status else []
            except OSError:
                return []

        return eventually("two workers serve", both)


class PrivilegesTests(WorkersCase):
    """``twistd --uid --gid``: files are read as root, and used by workers that may not."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            raise SkipTest("only root can give up its rights; run this as root")
        self.program, self.path = interpreter()
        self.secrets = self.folder / "secrets"  # which nobody may look into
        self.secrets.mkdir(0o700)
        (self.secrets / "certs").mkdir()
        self.renew("site.example")
        leaf = certificate("listed.example")
        write(self.secrets / "certs", "listed.pem", leaf.private_key_pem, *leaf.cert_chain_pems)
        write(self.secrets, "ca.pem", authority().cert_pem)
        (self.secrets / "sorry.html").write_text("<html>sorry")
        self.put("users", "joe:{SHA}" + base64.b64encode(hashlib.sha1(b"right").digest()).decode())
        for file in self.secrets.rglob("*.*"):
            file.chmod(0o600)

    def places(self) -> dict[str, int]:
        return {**super().places(), "tls-listen": self.tls_port}

    def put(self, name: str, text: str) -> None:
        """A file that root alone may read, in a folder that others may look into."""
        path = self.folder / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    def renew(self, name: str, folder: Path | None = None) -> None:
        """Another certificate."""
        leaf = certificate(name)
        write(folder or self.secrets, "site.pem", leaf.private_key_pem, *leaf.cert_chain_pems)

    def start(self) -> Process:
        """It runs as nobody, and so do its workers."""
        path = self.write(
            """
            backends = ["https://127.0.0.1:9:verify-name=localhost"]
            certificate = ["secrets/site.pem", "secrets/certs"]
            client-ca = "secrets/ca.pem"
            client-auth = "optional"
            backend-ca = "secrets/ca.pem"
            access-log = "access.log"
            certificate-check = 0
            [[routes]]
            path = "/users"
            answer = { body = "come in" }
            filters = [{ type = "basic-auth", file = "users" }]
            [[routes]]
            pool = "default"
            filters = [{ type = "error-pages", statuses = ["500-599"], file = "secrets/sorry.html" }]
            """
        )
        environment = {**support.environment(), "PYTHONPATH": self.path}
        self.patch(support, "environment", lambda: environment)
        twistd = [self.program, "-c", _RUN, f"--uid={NOBODY}", f"--gid={NOBODY}", "-n", "--pidfile="]
        process = Process(self, [*twistd, "lbproxy", "--config", str(path)])
        self.addCleanup(self.stop, process)
        eventually("it listens", lambda: process.ended or self.answers())
        self.assertFalse(process.ended, process.output)
        return process

    def answers(self) -> bool:
        try:
            return bool(ask(self.port).status)
        except OSError:
            return False

    def stop(self, process: Process) -> None:
        """In order, and with all its workers."""
        workers = workers_of(process.pid)
        process.signal(signal.SIGTERM)
        process.wait()
        self.assertNotIn("Traceback", process.output)
        self.assertEqual([pid for pid in workers if Path(f"/proc/{pid}").exists()], [])

    def ask_over_tls(self, name: str, path: str = "/", password: str = "") -> Answer:
        """One request to whoever has a certificate for that name."""
        context = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())
        connection = HTTPSConnection(name, self.tls_port, context=context, timeout=PATIENCE)
        place = (LOOPBACK, self.tls_port)
        connection._create_connection = lambda _, *more: support.socket.create_connection(place, *more)  # type: ignore[attr-defined]
        try:
            given = base64.b64encode(b"joe:" + password.encode()).decode()
            return send(connection, path, Authorization=f"Basic {given}")
        finally:
            connection.close()

    def assert_all_serves(self) -> None:
        """What was read as root, at whichever worker: a connection each, many times over."""
        for _ in range(8):
            for name in ("site.example", "listed.example"):
                answer = self.ask_over_tls(name, "/users", "right")
                self.assertEqual((answer.status, answer.body), (200, b"come in"))
            self.assertEqual(self.ask_over_tls("site.example", "/users", "wrong").status, 401)
            answer = ask(self.port)
            self.assertEqual((answer.status, answer.body), (503, b"<html>sorry"))

    def test_what_root_has_read_serves_at_workers_that_may_not(self) -> None:
        """Certificates of a file and of a directory, authorities of clients and of backends, users, pages, the access log; and at
        a worker that replaces one that was killed."""
        process = self.start()
        first = self.serves(process.pid)
        self.assertEqual({owner_of(pid) for pid in (process.pid, *first)}, {NOBODY})
        log = self.folder / "access.log"
        self.assert_all_serves()
        eventually("all lines are in the log", lambda: len(log.read_text().splitlines()) >= 32)
        os.kill(first[0], signal.SIGKILL)
        eventually("it is replaced", lambda: first[0] not in self.serves(process.pid))
        self.assert_all_serves()
        eventually("all lines are in the log", lambda: len(log.read_text().splitlines()) >= 64)
        self.assertNotIn("cannot be opened", process.output)

    def test_an_upgrade_goes_on_with_what_root_has_read(self) -> None:
        """The new program is not root any more, and neither is the one after that. The access log must be its own to open."""
        process = self.start()
        os.chown(self.folder / "access.log", NOBODY, NOBODY)
        self.serves(process.pid)
        pid = process.pid
        for _ in range(2):
            os.kill(pid, signal.SIGUSR2)
            pid = eventually(
                f"another one serves: {process.output}", partial(self.successor, pid), 4 * PATIENCE
            )
            self.addCleanup(self.kill, pid)
            self.assertEqual(owner_of(pid), NOBODY)
            self.assert_all_serves()
        self.assertNotIn("not upgraded", process.output)
        os.kill(pid, signal.SIGTERM)
        eventually("it ends", lambda: not Path(f"/proc/{pid}").exists())

    def successor(self, before: int) -> int:
        """The program that has taken over; 0: none has yet."""
        try:
            said = ask(self.admin_port, "/status").json()["upgrade"]
        except (OSError, httptools.HttpParserError):
            return 0
        return int(said["pid"]) if said and said["ok"] and said["pid"] != before else 0

    def kill(self, pid: int) -> None:
        """If it is there still."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def test_a_reload_says_what_cannot_be_read_any_more(self) -> None:
        """What is served stays, at all workers and their successors; the answer names the file, and whom to allow."""
        process = self.start()
        self.serves(process.pid)
        self.renew("other.example")
        process.signal(signal.SIGHUP)
        why = f"with uid {NOBODY}, must be allowed to read it"
        eventually("the log says it", lambda: re.search(rf"certificate: '{self.secrets}/site.pem' .*{why}", process.output))
        killed = workers_of(process.pid)[0]
        os.kill(killed, signal.SIGKILL)
        eventually("it is replaced", lambda: killed not in self.serves(process.pid))
        self.assert_all_serves()

    def test_what_may_be_read_again_is_renewed_at_all_workers(self) -> None:
        """As soon as the supervisor has read it."""
        process = self.start()
        self.serves(process.pid)
        for file in (self.secrets, self.secrets / "certs", *self.secrets.rglob("*.pem")):
            file.chmod(0o755)
        self.renew("other.example")
        (self.secrets / "site.pem").chmod(0o644)
        process.signal(signal.SIGHUP)

        def renewed() -> bool:
            try:
                return all(self.ask_over_tls("other.example").status for _ in range(16))
            except ssl.SSLError:
                return False

        eventually("all workers show the new one", renewed)


class DaemonTests(WorkersCase):
    """``twistd`` without ``-n``, with ``--rundir``."""

    def test_a_daemon_with_workers(self) -> None:
        """The pid file has the supervisor's pid and goes with it; standard input, output and error are nobody's; the log has the
        workers' lines; relative paths are those of the start; all processes end."""
        backend = self.backend()
        path = self.write(f'backends = ["{backend.place}"]', 'access-log = "access.log"')
        elsewhere = Path(tempfile.mkdtemp(dir=self.folder))
        pidfile, log = self.folder / "pid", self.folder / "log"
        ended = self.run_twistd(
            "--config", path.name, twistd=(f"--pidfile={pidfile}", f"--logfile={log}", f"--rundir={elsewhere}")
        )
        self.assertEqual(ended.returncode, 0, ended)
        pid = int(pidfile.read_text())
        self.addCleanup(self.kill, pid)
        workers = self.serves(pid)
        for process in (pid, *workers):
            standard = [os.readlink(f"/proc/{process}/fd/{number}") for number in range(2)]
            self.assertEqual(standard, ["/dev/null"] * 2, process)
            self.assertEqual(os.readlink(f"/proc/{process}/cwd"), str(elsewhere))
        self.assertEqual(os.readlink(f"/proc/{pid}/fd/2"), "/dev/null")
        self.assertTrue(all(stat.S_ISFIFO(os.stat(f"/proc/{one}/fd/2").st_mode) for one in workers), "their log is read")
        self.assertEqual(ask(self.port).backend, "a")
        os.kill(workers[0], signal.SIGKILL)
        eventually("it is replaced", lambda: workers[0] not in self.serves(pid))
        self.assertIn("worker 0", log.read_text())
        os.kill(pid, signal.SIGTERM)
        eventually("the daemon has ended", lambda: "Server Shut Down." in log.read_text())
        eventually("its workers have ended", lambda: not any(Path(f"/proc/{one}").exists() for one in workers))
        self.assertFalse(pidfile.exists())
        self.assertNotIn("Traceback", log.read_text())
        self.assertGreaterEqual(len((self.folder / "access.log").read_text().splitlines()), 1)
        self.assertEqual([*elsewhere.iterdir()], [])

    def kill(self, pid: int) -> None:
        """If it is there still."""
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
