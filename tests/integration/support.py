"""Real processes for the tests: load balancers under ``twistd``, backends, and clients that block.

Everything is started by an :class:`IntegrationTestCase` and ended by its cleanups; what is waited for is a stated condition with
a bound. Processes end with the one that runs the tests, however that ends.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

import lbproxy

#: Seconds for which a condition is waited for before the test fails. Far more than any needs; a busy machine may be slow.
PATIENCE = 15.0
LOOPBACK = "127.0.0.1"

_HERE = Path(__file__).parent
_SCRIPT = Path(sys.executable).with_name("twistd")
# Without site-packages, which the standard library's users do not need: it starts faster.
_BARE_PYTHON = [sys.executable, "-I", "-S"]
_RUN = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__')"
_BACKEND = [*_BARE_PYTHON, "-c", _RUN, str(_HERE.parent.parent), f"{__package__}.backend"]
TWISTD = [sys.executable, *([str(_SCRIPT)] if _SCRIPT.exists() else ["-c", "from twisted.scripts.twistd import run; run()"])]
# Linux ends the process when ours ends (PR_SET_PDEATHSIG), also when that is killed and no cleanup runs.
_TIED = """\
import ctypes, os, sys
try:
    ctypes.CDLL(None).prctl(1, 9)
except AttributeError:
    pass
os.execv(sys.argv[1], sys.argv[1:])
"""

_T = TypeVar("_T")


def eventually(what: str, condition: Callable[[], _T | None], seconds: float = PATIENCE) -> _T:
    """Ask until *condition* holds, and return what it gave; fail after *seconds*, naming *what* did not come."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what} (at last: {found!r})")
        time.sleep(0.01)


def settled(value: Callable[[], _T], seconds: float = 0.4) -> _T:
    """Wait until *value* has not changed for that many seconds, and return it."""
    last, since = value(), time.monotonic()
    deadline = since + PATIENCE
    while time.monotonic() - since < seconds:
        time.sleep(0.02)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise AssertionError(f"still changing after {PATIENCE:g} s: {last!r}")
    return last


def free_port() -> int:
    """A port that nothing listens on just now.

    It lies outside of the range from which the system takes ports for outgoing connections: otherwise one of these could sit on
    it while its backend is away, or even connect to itself.
    """
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        first = 0
    for port in random.sample(range(10240, first), 100) if first > 11000 else [0] * 100:
        with socket.socket() as tried:
            try:
                tried.bind(("", port))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise AssertionError("no free port was found")


def environment() -> dict[str, str]:
    """For child processes: they import the same lbproxy as the tests do, wherever they run."""
    paths = [str(Path(lbproxy.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


class Process:
    """A child process whose output is kept in a file."""

    def __init__(self, case: IntegrationTestCase, command: list[str]) -> None:
        self.command = command
        self._output = Path(tempfile.mkstemp(dir=case.folder, suffix=".output")[1])
        with self._output.open("wb") as output:
            self._popen = subprocess.Popen(
                [*_BARE_PYTHON, "-c", _TIED, *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=case.folder, env=environment(),
            )  # fmt: skip
        self.pid = self._popen.pid
        case.addCleanup(self.kill)

    @property
    def output(self) -> str:
        """All that it wrote so far to standard output and standard error."""
        return self._output.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._popen.poll() is not None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end and return its exit status; kill it when it takes too long."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.command} did not end within {seconds:g} s; it wrote:\n{self.output}") from None

    def kill(self) -> None:
        """End it, whatever state it is in."""
        if not self.ended:
            self._popen.kill()
            self._popen.wait(PATIENCE)

    def rss(self) -> int:
        """Bytes of memory that it has in use."""
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


class Answer:
    """A whole response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def backend(self) -> str:
        """The name of the backend that gave it."""
        return str(self.headers["X-Backend"])

    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


Body = bytes | Iterable[bytes] | None


def send(
    connection: http.client.HTTPConnection, path: str = "/", method: str = "GET", body: Body = None, **fields: str
) -> Answer:
    """One request and its whole answer on a connection that is kept; underscores in field names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request(method, path, body, named, encode_chunked="Transfer-Encoding" in named)
    return Answer(connection.getresponse())


def ask(port: int, path: str = "/", method: str = "GET", body: Body = None, **fields: str) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    try:
        return send(connection, path, method, body, **fields)
    finally:
        connection.close()


def talk(port: int, data: bytes) -> bytes:
    """Send bytes as they are, and return all that comes until the other side closes."""
    with socket.create_connection((LOOPBACK, port), timeout=PATIENCE) as connected:
        connected.sendall(data)
        return read_all(connected)


def read_all(connected: socket.socket) -> bytes:
    """What comes until the other side closes."""
    parts = []
    while part := connected.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_head(connected: socket.socket) -> bytes:
    """A message's head, its empty line included, and nothing of what follows it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connected.recv(1)
        if not byte:
            raise ConnectionError(f"the connection ended in a head: {head!r}")
        head += byte
    return head


def read_exactly(connected: socket.socket, size: int) -> bytes:
    """That many bytes."""
    parts = []
    while size:
        part = connected.recv(min(size, 65536))
        if not part:
            raise ConnectionError(f"the connection ended {size} bytes early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Backend:
    """A server of ``backend.py``. It may be ended and started again in the same place.

    :param certificate: a file with a certificate for ``localhost`` and its key: it speaks TLS.
    :param version: the one of TLS, such as ``TLSv1_2``; empty: any.
    :ivar place: where it listens, as ``/status`` names it.
    """

    def __init__(
        self, case: IntegrationTestCase, name: str, place: str | None = None, certificate: str = "", version: str = ""
    ) -> None:
        self.name = name
        self._case = case
        self._secure = [certificate, version] if certificate else []
        self._given = place
        self.launch()

    def launch(self) -> None:
        """Start it for the first time, and do not wait; :meth:`ready` does."""
        self.place = self._given or f"{LOOPBACK}:{free_port()}"
        self._run()

    @property
    def url(self) -> str:
        """As ``--backends`` takes it."""
        return f"https://{self.place}:verify-name=localhost" if self._secure else self.place

    def ready(self) -> Backend:
        """Wait until it takes connections; elsewhere, if something else has taken its port meanwhile."""
        for _ in range(5):
            self._wait()
            if not self.process.ended:
                return self
            self.launch()
        raise AssertionError(f"backend {self.name} does not start; it wrote:\n{self.process.output}")

    def start(self) -> None:
        """Start it again in the same place, and wait until it takes connections."""
        self._run()
        self._wait()
        self._case.assertFalse(self.process.ended, self.process.output)

    def _run(self) -> None:
        self.process = Process(self._case, [*_BACKEND, self.name, self.place, *self._secure])

    def _wait(self) -> None:
        eventually(f"backend {self.name} listens", lambda: self.process.ended or self._listens())

    def _listens(self) -> bool:
        try:
            self._connect().close()
        except OSError:
            return False
        return True

    def _connect(self) -> socket.socket:
        host, _, port = self.place.rpartition(":")
        if host == "unix":
            connected = socket.socket(socket.AF_UNIX)
            connected.settimeout(PATIENCE)
            try:
                connected.connect(port)
            except OSError:
                connected.close()
                raise
            return connected
        return socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def direct(self, path: str) -> Any:
        """Ask it behind the balancer's back."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self._connect()
        if self._secure:  # who it is, is for the balancer to verify
            connection.sock = ssl._create_unverified_context().wrap_socket(connection.sock)
        try:
            answer = send(connection, path)
        finally:
            connection.close()
        return answer.json() if answer.body else None

    def seen(self) -> Any:
        """What it has seen: ``requests``, ``connections``, ``left``, ``received``, ``sent``."""
        return self.direct("/count")


class LoadBalancer:
    """A ``twistd -n lbproxy`` with a listener and an administration listener on free ports.

    :param options: further command line options, with ``{tls_port}`` for the port of a listener for TLS.
    :param backends: what stands behind it: backends, or their places with options.
    :param listen: the listener's description, with ``{port}`` for its port.
    :param twistd: options of ``twistd`` itself.
    """

    def __init__(
        self,
        case: IntegrationTestCase,
        *options: str,
        backends: Iterable[Backend | str],
        listen: str = "tcp:{port}:interface=127.0.0.1",
        twistd: Iterable[str] = (),
    ) -> None:
        places = [backend if isinstance(backend, str) else backend.url for backend in backends]
        named = ["--backends", ",".join(places)] if places else []
        for _ in range(5):  # what was a free port may be taken a moment later
            self.port, self.admin_port, self.tls_port = free_port(), free_port(), free_port()
            given = [option.replace("{tls_port}", str(self.tls_port)) for option in options]
            listening = ["--listen", listen.format(port=self.port), "--admin", f"tcp:{self.admin_port}:interface={LOOPBACK}"]
            self.process = Process(case, [*TWISTD, *twistd, "-n", "--pidfile=", "lbproxy", *named, *listening, *given])
            # Several processes have to start.
            eventually("the load balancer answers", lambda: self.process.ended or self._answers(), 2 * PATIENCE)
            if not self.process.ended:
                break
            if "in use" not in self.process.output:
                raise AssertionError(f"the load balancer does not start; it wrote:\n{self.process.output}")
        self._case = case
        self._stopping = self._stopped = False
        case.addCleanup(self.stop)

    def _answers(self) -> bool:
        try:
            ask(self.admin_port, "/healthz")
        except OSError:
            return False
        return True

    def begin_stop(self) -> None:
        """Ask it to end."""
        if not self._stopping:
            self._stopping = True
            self.process.signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to end; it must do so in time and in order, and have logged no error all the while."""
        if self._stopped:
            return
        self.begin_stop()
        self._stopped = True
        status = self.process.wait()
        output = self.process.output
        wrong = re.search("Traceback|Unhandled", output)
        if wrong is not None:
            self._case.fail(f"the load balancer logged an error:\n{output[max(0, wrong.start() - 500) :][:3000]}")
        self._case.assertIn(status, (0, -signal.SIGTERM), output[-3000:])  # twistd ends itself with the signal that it got
        self._case.assertIn("Server Shut Down.", output[-3000:])

    def admin(self, path: str) -> Answer:
        """Ask its administration."""
        return ask(self.admin_port, path)

    def pool(self) -> Any:
        """Its pool, from ``/status``."""
        return self.admin("/status").json()["pools"][0]

    def metrics(self) -> Callable[..., float]:
        """Its metrics as they are now: a function that sums the samples of a name with certain labels."""
        families = text_string_to_metric_families(self.admin("/metrics").body.decode())
        samples = [sample for family in families for sample in family.samples]

        def total(name: str, **labels: str) -> float:
            found = [sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()]
            assert found, f"no sample of {name} {labels}"
            return sum(found)

        return total

    def events(self) -> list[Any]:
        """The changes of its pool so far, the oldest first."""
        return list(self.admin("/events").json()["events"])

    def wish(self, backend: Backend, want: str, reason: str = "") -> Any:
        """Tell it what is wanted of a backend (with ``--admin-writable``), and return what it says of it then."""
        answer = ask(self.admin_port, f"/backends/{backend.place}/{want}", "POST", reason.encode())
        self._case.assertAnswered(answer)
        return answer.json()

    def of(self, backend: Backend) -> Any:
        """What ``/status`` says of a backend."""
        return next(about for about in self.pool()["backends"] if about["address"] == backend.place)

    def wait_probed(self) -> None:
        """Wait for the first round of probes, before which each backend counts as up."""
        eventually("all backends are probed", lambda: all(one["source"] != "start" for one in self.pool()["backends"]))

    def wait_state(self, backend: Backend, state: str, seconds: float = PATIENCE) -> Any:
        """Wait until a backend is ``up`` or ``down``, and return what ``/status`` says of it then."""

        def reached() -> Any:
            about = self.of(backend)
            return about if about["state"] == state else None

        return eventually(f"{backend.name} is {state}", reached, seconds)


class Load:
    """Clients that send one GET after the other, each over a kept-alive connection, and what became of them.

    :param path: what they ask for. By default something that takes a moment, so that there is always something under way.
    :ivar answered: whole answers with status 200, by backend.
    :ivar failed: what happened otherwise, in words.
    """

    def __init__(self, case: IntegrationTestCase, port: int, clients: int = 6, path: str = "/slow?seconds=0.01") -> None:
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []
        self._port, self._path = port, path
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()
        case.addCleanup(self.stop)

    def _run(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=PATIENCE)
        while not self._stopping.wait(0.002):
            try:
                answer = send(connection, self._path)
            except Exception as error:
                self.failed.append(repr(error))
                connection.close()  # the next request opens it again
                continue
            if answer.status == 200:
                self.answered[answer.backend] += 1
            else:
                self.failed.append(f"{answer.status} {answer.body!r}")
        connection.close()

    def wait_for(self, number: int, backend: Backend | None = None) -> None:
        """Wait until that many more answers have come, from that backend."""

        def count() -> int:
            return self.answered[backend.name] if backend is not None else sum(self.answered.values())

        aim = count() + number
        who = "" if backend is None else f" from {backend.name}"
        eventually(f"{number} more answers{who}", lambda: count() >= aim or self.failed[:3])

    def stop(self) -> None:
        """Let each client end its request, and stop."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)


class IntegrationTestCase(SynchronousTestCase):
    """A test with real processes.

    :ivar folder: a folder of its own, with a short path (a Unix socket's must be).
    """

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lbproxy-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def backend(self, name: str = "a", place: str | None = None, certificate: str = "", version: str = "") -> Backend:
        """Start a backend, on a free port unless a place is given."""
        return Backend(self, name, place, certificate, version).ready()

    def backends(self, names: str, certificates: Iterable[str] = ()) -> list[Backend]:
        """Start one for each letter, all at the same time; over TLS those for which there is a certificate that is not empty."""
        started = [Backend(self, name, None, path) for name, path in itertools.zip_longest(names, certificates, fillvalue="")]
        return [backend.ready() for backend in started]

    def balancer(self, *options: str, backends: Iterable[Backend | str], **more: Any) -> LoadBalancer:
        """Start a load balancer, and wait for its first probes."""
        balancer = LoadBalancer(self, *options, backends=backends, **more)
        balancer.wait_probed()
        return balancer

    def at_once(self, number: int, what: Callable[[], _T]) -> list[Future[_T]]:
        """Do something in so many threads, whose results are for the test to wait for."""
        pool = ThreadPoolExecutor(number)
        self.addCleanup(pool.shutdown)
        return [pool.submit(what) for _ in range(number)]

    def connection(self, port: int) -> http.client.HTTPConnection:
        """A connection that is kept, until the test ends."""
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def socket(self, port: int, receive_buffer: int = 0) -> socket.socket:
        """A connected socket, until the test ends."""
        connected = socket.socket()
        self.addCleanup(connected.close)
        connected.settimeout(PATIENCE)
        if receive_buffer:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connected.connect((LOOPBACK, port))
        return connected

    def run_twistd(self, *options: str, twistd: Iterable[str] = ("-n", "--pidfile=")) -> subprocess.CompletedProcess[str]:
        """Run ``twistd lbproxy`` with *options* to its end."""
        return subprocess.run(
            [*TWISTD, *twistd, "lbproxy", *options],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, cwd=self.folder, env=environment(),
        )  # fmt: skip

    def assertAnswered(self, answer: Answer, status: int = 200) -> None:
        """The answer has that status; a failure shows its body."""
        self.assertEqual(answer.status, status, answer.body[:500])


def fields(message: bytes) -> Mapping[str, str]:
    """The header fields of a raw message, by lower-case name."""
    lines = message.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
