"""Whole processes: workers die, hang, are told to end, and are left alone; clients lose what was in their hands at most."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from .support import LOOPBACK, IntegrationTestCase, Load, LoadBalancer, ask, eventually, free_port, read_all
from .test_tls_reload import TlsReloadCase

_SLOW = b"GET /slow?seconds=%g HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

# What a worker's Python runs before anything else, where it is to be one that cannot begin.
_ONLY_WORKERS = "import sys\nif 'lbproxy.workers.boot' in str(sys.orig_argv):\n    "


def children(pid: int) -> list[int]:
    """A process's own children, in the order of their numbers."""
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_there(pid: int) -> bool:
    """Whether there is such a process; one that nobody has waited for yet has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class WorkersCase(IntegrationTestCase):
    """Has a load balancer of two workers before one backend."""

    def start(self, *options: str) -> None:
        """Wait until both serve."""
        self.a = self.backend("a")
        self.balanced = LoadBalancer(self, "--workers", "2", *options, backends=[self.a])
        eventually("both workers serve", lambda: "] serving " in self.output)

    @property
    def output(self) -> str:
        """The log."""
        return self.balanced.process.output

    @property
    def workers(self) -> list[int]:
        """Their process numbers."""
        return children(self.balanced.process.pid)

    def wait_serving(self, times: int) -> None:
        """Wait until so many workers in all have begun."""
        eventually("a worker serves", lambda: self.output.count("-> up (supervisor): process ") >= times, 30.0)

    def hold(self, seconds: float, count: int = 1) -> list[socket.socket]:
        """Requests whose answers take so long, on connections of their own, as far as the backend."""
        before = len(self.a.seen()["requests"])
        held = [self.socket(self.balanced.port) for _ in range(count)]
        for one in held:
            one.sendall(_SLOW % seconds)
        eventually("all are at the backend", lambda: len(self.a.seen()["requests"]) >= before + count)
        return held

    def get(self) -> int:
        """Ask for something on a new connection."""
        return ask(self.balanced.port, "/").status


class KilledTests(WorkersCase):
    """Promises on workers that are killed."""

    def test_one_that_is_killed_is_replaced_and_costs_its_own_exchanges_alone(self) -> None:
        """Its sibling's go on, new ones are answered, and no connection that waits at its socket is lost."""
        self.start()
        first, second = self.workers
        held = self.hold(3.0, 16)  # which the kernel has spread
        os.kill(first, signal.SIGKILL)
        self.assertEqual([self.get() for _ in range(20)], [200] * 20)
        self.wait_serving(3)
        self.assertIn(second, self.workers)
        self.assertEqual(len(self.workers), 2)
        answers = [_rest(one) for one in held]
        whole = [answer for answer in answers if answer.startswith(b"HTTP/1.1 200")]
        self.assertTrue(0 < len(whole) < 16, answers)
        self.assertEqual([answer for answer in answers if answer not in whole], [b""] * (16 - len(whole)))
        self.assertIn("up -> down (supervisor): killed by SIGKILL; ", self.output)

    def test_one_that_dies_again_and_again_is_tried_later_and_later(self) -> None:
        """So that a machine is not kept busy with starting what cannot live; its sibling serves all the while."""
        self.start()
        known = {self.workers[1]}
        for _ in range(3):
            victim = eventually("there is another one", lambda: [pid for pid in self.workers if pid not in known])[0]
            known.add(victim)
            os.kill(victim, signal.SIGKILL)
        eventually("it is told when", lambda: "another one begins in 1 s" in self.output)
        self.assertIn("another one begins in 0.5 s", self.output)
        self.assertEqual(len(self.workers), 1)
        self.wait_serving(3)
        self.assertEqual([self.get() for _ in range(10)], [200] * 10)

    def test_one_that_hangs_is_replaced(self) -> None:
        """It is noticed for its silence."""
        self.start()
        first, second = self.workers
        os.kill(first, signal.SIGSTOP)
        eventually("it is killed", lambda: not is_there(first), 40.0)
        self.assertIn("has not answered for", self.output)
        self.wait_serving(3)
        self.assertIn(second, self.workers)
        self.assertEqual([self.get() for _ in range(10)], [200] * 10)

    def test_one_that_is_aborted_says_where_it_was(self) -> None:
        """In the supervisor's log, marked as its own."""
        self.start()
        os.kill(self.workers[0], signal.SIGABRT)
        eventually("the traceback is there", lambda: "lbproxy/workers/boot.py" in self.output)
        self.assertIn("] Fatal Python error: Aborted", self.output)
        self.wait_serving(3)


class ToldTests(WorkersCase):
    """Promises on processes that are told to end."""

    def test_one_worker_alone_is_replaced_without_a_gap(self) -> None:
        """What it has runs to its end; nobody is refused or reset."""
        self.start()
        load = Load(self, self.balanced.port)
        first, second = self.workers
        held = self.hold(2.0, 8)
        os.kill(first, signal.SIGTERM)
        eventually("there are three", lambda: len(self.workers) == 3)
        self.wait_serving(3)
        eventually("it has ended", lambda: not is_there(first))
        load.wait_for(50)
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertEqual({_rest(one)[:12] for one in held}, {b"HTTP/1.1 200"})
        self.assertIn(second, self.workers)

    def test_signals_of_a_terminal_are_the_supervisors(self) -> None:
        """A ^C goes to all processes in front of it."""
        self.start()
        before = self.workers
        for worker in before:
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                os.kill(worker, number)
        self.assertEqual([self.get() for _ in range(10)], [200] * 10)
        self.assertEqual(self.workers, before)

    def test_the_supervisor_drains_all(self) -> None:
        """/healthz fails at once, then nobody new is accepted, and what runs is answered."""
        self.start("--drain-delay", "1")
        held = self.hold(3.0, 8)
        self.balanced.begin_stop()
        eventually("/healthz fails", lambda: self.balanced.admin("/healthz").status == 503)
        self.assertEqual(self.get(), 200)
        eventually("new ones are refused", lambda: _refused(self.balanced.port))
        self.assertEqual(self.balanced.admin("/healthz").status, 503)
        self.assertEqual({_rest(one)[:12] for one in held}, {b"HTTP/1.1 200"})
        self.balanced.stop()

    def test_told_again_it_waits_no_longer(self) -> None:
        """Nor do its workers."""
        self.start()
        (held,) = self.hold(60.0)
        workers = self.workers
        self.balanced.begin_stop()
        eventually("it drains", lambda: "1 exchange running" in self.output)
        self.balanced.process.signal(signal.SIGTERM)
        self.balanced.stop()
        self.assertEqual(_rest(held), b"")
        self.assertEqual([pid for pid in workers if is_there(pid)], [])


class AloneTests(WorkersCase):
    """Promises on workers whose supervisor is gone."""

    def test_they_finish_what_they_have_and_end(self) -> None:
        """Nobody is there to tell them, or to take their log."""
        self.start()
        held = self.hold(2.0, 8)
        workers = self.workers
        self.balanced.process.signal(signal.SIGKILL)
        self.balanced.process.wait()
        self.balanced._stopped = True  # not in order, and not asked to
        eventually("new ones are refused", lambda: _refused(self.balanced.port))
        self.assertEqual([pid for pid in workers if is_there(pid)], workers)
        self.assertEqual({_rest(one)[:12] for one in held}, {b"HTTP/1.1 200"})
        eventually("they have ended", lambda: not any(map(is_there, workers)))


class FirstStartTests(IntegrationTestCase):
    """Promises on workers that cannot begin."""

    def begin(self, what: str) -> Any:
        """Run a load balancer of two workers, whose Python does this first, to its end."""
        (self.folder / "sitecustomize.py").write_text(_ONLY_WORKERS + what)
        paths = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": paths})
        listen = ["--listen", f"tcp:{free_port()}:interface={LOOPBACK}", "--backends", f"{LOOPBACK}:{free_port()}"]
        return self.run_twistd("--workers", "2", *listen, twistd=("-n", "--pidfile=a.pid"))

    def test_a_refusal_ends_the_program_with_its_reason(self) -> None:
        """One message, status 1, and no pidfile is left."""
        ended = self.begin("import lbproxy; lbproxy.__version__ = '0.0'")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        (message,) = [line for line in ended.stderr.splitlines() if line.startswith("twistd lbproxy: ")]
        self.assertIn("lbproxy 0.0 is installed now", message)
        self.assertFalse((self.folder / "a.pid").exists())
        self.assertNotIn("Traceback", ended.stdout + ended.stderr)

    def test_workers_that_die_again_and_again_end_it_too(self) -> None:
        """With the last line that one of them has written."""
        ended = self.begin("sys.exit('no room for me')")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        (message,) = [line for line in ended.stderr.splitlines() if line.startswith("twistd lbproxy: ")]
        self.assertIn("no room for me", message)


class CertificatesTests(TlsReloadCase):
    """Promises on certificates that are shown by several processes."""

    def test_all_workers_show_what_was_read_anew(self) -> None:
        """Soon after the supervisor was told to read it."""
        old = self.replace()
        balanced = self.start("--workers", "2", "--certificate-check", "0")
        eventually("both workers serve", lambda: "] serving " in balanced.process.output)
        self.assertEqual({self.shown() for _ in range(20)}, {old})
        new = self.replace()
        balanced.process.signal(signal.SIGHUP)
        eventually("all have read it", lambda: balanced.process.output.count("certificates were read anew") == 3)
        self.assertEqual({self.shown() for _ in range(20)}, {new})


def _rest(connected: socket.socket) -> bytes:
    """What comes until the other side closes, or resets."""
    try:
        return read_all(connected)
    except ConnectionResetError:
        return b""


def _refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0):
            return False
    except ConnectionRefusedError:
        return True
