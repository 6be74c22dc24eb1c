"""Every kind of place at which several workers can listen, with real processes."""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from .certificates import authority, certificate, write
from .support import LOOPBACK, PATIENCE, TWISTD, IntegrationTestCase, Process, ask, eventually, free_port, read_all, talk
from .test_handover import Connecting

GET = b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 "
NAME = "www.example.com"

# Gives a listening socket to what it then becomes, as systemd does.
_ACTIVATE = """
import os, socket, sys
port, *command = sys.argv[1:]
listening = socket.create_server(("127.0.0.1", int(port)))
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(command[0], command)
"""


class WorkersCase(IntegrationTestCase):
    """A load balancer with two workers, by a file that changes."""

    def setUp(self) -> None:
        super().setUp()
        self.app = self.backend()
        self.admin_port = free_port()
        self.config = self.folder / "lb.toml"
        made = certificate(NAME)
        self.pem = write(self.folder, "www.pem", made.private_key_pem, *made.cert_chain_pems)
        self.trust = ssl.create_default_context()
        authority().configure_trust(self.trust)

    def write(self, *listen: str, tls: Sequence[str] = ()) -> None:
        """A file with these listeners."""
        lines = [
            f"listen = {json.dumps(listen)}",
            f"admin = 'tcp:{self.admin_port}:interface={LOOPBACK}'",
            "admin-writable = true",
            f"backends = ['{self.app.place}']",
            "workers = 2",
        ]
        if tls:
            lines += [f"tls-listen = {json.dumps(tls)}", f"certificate = '{self.pem}'"]
        self.config.write_text("\n".join([*lines, ""]))

    def start(self, *before: str) -> Process:
        """Start it, and wait until both workers are there; it must end in order.

        :param before: a command that becomes it.
        """
        process = Process(self, [*before, *TWISTD, "-n", "--pidfile=", "lbproxy", "--config", str(self.config)])
        self.addCleanup(self.end, process)
        eventually("both serve", lambda: process.ended or self.serving(process) == 2, 3 * PATIENCE)
        self.assertFalse(process.ended, process.output)
        return process

    def serving(self, process: Process) -> int:
        """How many workers do."""
        return sum(f"worker {number}: new -> up" in process.output for number in range(2))

    def end(self, process: Process) -> None:
        """Stop it. Nobody may have logged an error."""
        if not process.ended:
            process.signal(15)
        process.wait()
        self.assertNotIn("Traceback", process.output)
        self.assertNotIn("Unhandled", process.output)

    def reload(self, status: int = 200) -> str:
        """Have the file read."""
        answer = ask(self.admin_port, "/reload", "POST")
        self.assertEqual(answer.status, status, answer.body)
        return answer.body.decode()

    def over_tls(self, port: int) -> int:
        """The status of an answer over TLS."""
        plain = socket.create_connection((LOOPBACK, port), timeout=PATIENCE)
        with self.trust.wrap_socket(plain, server_hostname=NAME) as secure:
            secure.sendall(GET)
            return int(read_all(secure).split()[1])

    def over_unix(self, path: Path) -> bytes:
        """An answer to who has connected to a Unix socket."""
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(PATIENCE)
            connected.connect(str(path))
            connected.sendall(GET)
            return read_all(connected)


def described(port: int) -> str:
    """A place."""
    return f"tcp:{port}:interface={LOOPBACK}"


class Kinds(WorkersCase):
    """Clients are served, whatever the description."""

    def test_all_that_twisted_opens(self) -> None:
        """TCP and Unix sockets, in the clear, behind PROXY headers, and over TLS of both kinds."""
        plain, proxied, secure, twisted = (free_port() for _ in range(4))
        paths = [self.folder / name for name in ("a.sock", "b.sock", "c.sock")]
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
            six = free.getsockname()[1]
        listen = [
            described(plain),
            "haproxy:" + described(proxied),
            rf"tcp:{six}:interface=\:\:1",
            f"unix:{paths[0]}:mode=600",
            f"haproxy:unix:{paths[1]}:lockfile=0",
            f"ssl:{twisted}:interface={LOOPBACK}:privateKey={self.pem}",
            f"tcp:0:interface={LOOPBACK}",
        ]
        self.write(*listen, tls=[described(secure), f"unix:{paths[2]}"])
        process = self.start()
        header = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\n"
        for _ in range(8):  # by both of the workers
            self.assertTrue(talk(plain, GET).startswith(OK))
            self.assertTrue(talk(proxied, header + GET).startswith(OK))
            self.assertTrue(self.over_unix(paths[0]).startswith(OK))
            self.assertEqual((self.over_tls(secure), self.over_tls(twisted)), (200, 200))
        with socket.create_connection(("::1", six), timeout=PATIENCE) as connected:
            connected.sendall(GET)
            self.assertTrue(read_all(connected).startswith(OK))
        self.assertEqual([os.stat(path).st_mode & 0o777 for path in paths[:2]], [0o600, 0o666])
        locks = [os.path.lexists(f"{path}.lock") for path in paths]
        self.assertEqual(locks, [True, False, True])
        self.assertEqual(os.readlink(f"{paths[0]}.lock"), str(process.pid))
        self.end(process)
        self.assertEqual([path for path in paths if path.exists() or os.path.lexists(f"{path}.lock")], [])

    def test_one_of_systemds(self) -> None:
        """It is served by both, and goes from one listener to another by reloads."""
        port, other = free_port(), free_port()
        given = "systemd:domain=INET:name=web"
        self.write(given)
        self.start(sys.executable, "-c", _ACTIVATE, str(port))
        self.assertEqual(ask(port, "/").status, 200)
        self.write(given, described(other))
        self.reload()
        self.assertEqual((ask(port, "/").status, ask(other, "/").status), (200, 200))
        self.write(described(other), tls=[given])
        self.reload()
        self.assertEqual([self.over_tls(port) for _ in range(4)], [200] * 4)
        self.write(given)
        self.reload()
        self.assertEqual([ask(port, "/").status for _ in range(4)], [200] * 4)

    def test_somebody_else_is_there(self) -> None:
        """Then it does not start, also if they would share."""
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind((LOOPBACK, 0))
            other.listen()
            self.write(described(other.getsockname()[1]))
            process = Process(self, [*TWISTD, "-n", "--pidfile=", "lbproxy", "--config", str(self.config)])
            self.assertNotEqual(process.wait(), 0)
        self.assertIn("Address already in use", process.output)


class Changing(WorkersCase):
    """Listeners come and go by reloads."""

    def test_they_come_and_go(self) -> None:
        """A hundred times, and some cannot be opened; nothing is left open in any process, and nobody else notices."""
        stays, comes, taken = (free_port() for _ in range(3))
        path = self.folder / "c.sock"
        self.write(described(stays))
        process = self.start()
        self.reload()
        before = self.files(process)  # while nobody connects: what comes between two looks would be taken for something else
        connecting = Connecting(stays)
        with socket.create_server((LOOPBACK, taken)):
            for number in range(50):
                if number % 10 == 9:
                    self.write(described(stays), described(comes), f"unix:{path}", described(taken))
                    self.assertIn("Address already in use", self.reload(422))
                self.write(described(stays), described(comes), f"unix:{path}")
                self.reload()
                if number % 10 == 0:
                    self.assertEqual(ask(comes, "/").status, 200)
                    self.assertTrue(self.over_unix(path).startswith(OK))
                self.write(described(stays))
                self.reload()
        self.assertEqual(connecting.stop(), [])
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, comes))
        self.assertFalse(path.exists())
        eventually("all has been closed", lambda: self.files(process) == before)

    def files(self, process: Process) -> list[tuple[int, int]]:
        """How many sockets the supervisor and its workers have open, TCP connections left out."""
        return [(pid, len(self.kept(pid))) for pid in (process.pid, *self.workers(process))]

    def workers(self, process: Process) -> list[int]:
        """Their processes."""
        return sorted(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))

    def kept(self, pid: int) -> list[str]:
        """The sockets of a process, but for TCP connections."""
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        connections = {f"socket:[{row[9]}]" for row in rows if row[3] != "0A"}
        names = []
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                names.append(os.readlink(fd))
            except FileNotFoundError:
                continue
        return [name for name in names if name.startswith("socket:") and name not in connections]

    def test_a_place_goes_from_plain_to_tls_and_back(self) -> None:
        """With all its sockets: nobody who connects is refused."""
        port = free_port()
        self.write(described(port))
        self.start()
        connecting = Connecting(port)
        for _ in range(5):
            self.write(tls=[described(port)])
            self.reload()
            self.assertEqual([self.over_tls(port) for _ in range(6)], [200] * 6)
            self.write(described(port))
            self.reload()
            self.assertEqual([ask(port, "/").status for _ in range(6)], [200] * 6)
        self.assertEqual(connecting.stop(), [])

    def test_listeners_that_are_described_alike(self) -> None:
        """Another one comes while the first one stays; each has a port that the system chose."""
        one = f"tcp:0:interface={LOOPBACK}"
        self.write(one)
        process = self.start()
        (first,) = self.listening(process)
        self.write(one, one)
        self.reload()
        ports = self.listening(process)
        self.assertEqual((len(ports), first in ports), (2, True))
        for port in ports:
            for _ in range(6):
                self.assertEqual(ask(port, "/").status, 200)

    def listening(self, process: Process) -> set[int]:
        """The ports at which clients are listened for."""
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        own = set(self.kept(process.pid))
        ports = {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}
        return ports - {self.admin_port}


