"""Servers as child processes: where they run, on which ports, until when, and what they said."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.connecting import HOST, Secure, answer_status

CHECKOUT = Path(__file__).resolve().parent.parent

# Seconds. Starting: an interpreter on a busy machine needs one or two, a thousand health checks a few more.
# Stopping: a balancer without open requests needs less than one; what has not gone by then is killed.
LONGEST_START = 30.0
LONGEST_STOP = 5.0
BETWEEN_TRIES = 0.05

# Seconds that a client may take beyond those it was asked for: to start, and for what is late at its end.
LONGEST_END = 30.0

# Ports for servers come from below the kernel's usual range for outgoing connections (32768 and up): a port
# out of that range could be taken by some connection between being found free and being listened on.
FIRST_PORT, LAST_PORT = 10_000, 32_000


class Invalid(Exception):
    """A measurement that must not be used; the message says why, in words for the report."""


@dataclass(frozen=True)
class Cores:
    """Which cores the balancer may use, and which are for the load generator and the backends."""

    balancer: frozenset[int]
    others: frozenset[int]


def split_cores(available: frozenset[int]) -> Cores:
    """Give the balancer the lowest core and all else the others; with one core they share it."""
    lowest = frozenset([min(available)])
    return Cores(lowest, available - lowest or lowest)


def raise_file_limit() -> int:
    """Allow this process and its children as many open files as the system lets them; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def find_program(name: str) -> str | None:
    """Return the path of a program, or None.

    Looked for on the PATH, then where this interpreter's packages put their scripts (some balancers come as
    Python packages), then in the folders for system programs, which an ordinary user's PATH lacks on Debian.
    """
    folders = [
        os.environ.get("PATH", ""),
        sysconfig.get_path("scripts"),
        str(Path(sys.executable).parent),
        "/usr/sbin",
        "/usr/local/sbin",
    ]
    return shutil.which(name, path=os.pathsep.join(folders))


class FreePorts:
    """Hands out loopback ports on which nobody listens, none twice before all others had their turn."""

    def __init__(self, start: int | None = None) -> None:
        """Begin at ``start``, or anywhere: two benchmarks at once then seldom look at the same ports."""
        self._next = random.randrange(FIRST_PORT, LAST_PORT) if start is None else start

    def take(self, count: int) -> range:
        """Return ``count`` neighbouring ports."""
        for _ in range(LAST_PORT - FIRST_PORT):
            if self._next + count > LAST_PORT:
                self._next = FIRST_PORT
            ports = range(self._next, self._next + count)
            taken = next((port for port in reversed(ports) if not _is_free(port)), None)
            self._next = ports.stop if taken is None else taken + 1
            if taken is None:
                return ports
        raise RuntimeError(f"no {count} neighbouring free ports between {FIRST_PORT} and {LAST_PORT}")


def _is_free(port: int) -> bool:
    """Say whether a server could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def running(
    command: Sequence[str], log: Path, cores: frozenset[int], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` on ``cores`` for the length of a ``with`` block, its output going to ``log``.

    It runs in the checkout, where the twistd plugin is found, and in a session of its own, so that Ctrl-C
    reaches the benchmark alone, which then stops its servers in order.
    """
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        stack.callback(stop, process)
        yield process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that :func:`running` started: ask, wait for a bounded time, then kill."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(LONGEST_STOP)
    # Its own session is its own group too: this reaches workers whose master has gone, and nobody else.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_client(
    balancer: str,
    module: str,
    options: Sequence[str],
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Run one of ``bench.clients`` to its end, on this process's cores; return what it printed as JSON.

    :param environment: what it has beyond ours.
    :raises Invalid: with what it complained of, said of ``balancer``.
    """
    command = [sys.executable, "-m", f"bench.clients.{module}", *options]
    try:
        result = subprocess.run(
            command,
            cwd=CHECKOUT,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds + LONGEST_END,
        )
    except subprocess.TimeoutExpired as error:
        raise Invalid(f"the client did not end within {error.timeout:.0f} s") from None
    if result.returncode:
        raise Invalid(f"{balancer} {result.stderr.strip()}")
    return json.loads(result.stdout)


def tail(log: Path, lines: int = 12) -> str:
    """Return the last lines that a server wrote, for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(it wrote nothing)"


def wait_until_answers(
    process: subprocess.Popen[bytes], port: int, log: Path, secure: Secure | None = None
) -> None:
    """Return once a GET is answered with 200; raise :class:`Invalid` when the process ends or is too slow."""
    deadline = time.monotonic() + LONGEST_START
    status = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Invalid(
                f"it ended with status {process.returncode} while starting; its log ends:\n{tail(log)}"
            )
        status = answer_status(port, secure=secure)
        if status == 200:
            return
        time.sleep(BETWEEN_TRIES)
    last = "no answer" if status is None else f"status {status}"
    raise Invalid(f"no 200 within {LONGEST_START:.0f} s (last: {last}); its log ends:\n{tail(log)}")
