"""How long a verdict is on its way: from the worker whose traffic taught it until every other process goes by it.

One of the backends takes connections, and ends each without an answer. Under a light load a worker notices, and takes it out for
a moment (an ejection); when that is over it lets it in again: both are verdicts of which the others are told. Each process notes
when it goes by one (:mod:`bench.workers.tap`).
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.clients.paced import percentile
from bench.connecting import HOST
from bench.processes import Cores, FreePorts, Invalid, run_client
from bench.workers.entrants import running_lbproxy
from bench.workers.looking import admin_status, members
from bench.workers.tap import environment

# Verdicts that are wanted at least, and how long the load may last for them. Seconds.
WANTED, LONGEST = 200, 120.0

# Seconds of light load at a time, and its connections: paced, 50 requests a second each.
STRETCH, CONNECTIONS = 5, 8

# Seconds for which a backend is taken out: two verdicts each time. The share says that all may be.
OPTIONS = ("--eject-failures=1", "--eject-time=0.2", "--eject-limit=0.2", "--eject-share=100")

# ms that a verdict's way may take.
GOAL = 100.0


@dataclass(frozen=True)
class Note:
    """That a process goes by a verdict.

    :ivar when: ns, by the machine's clock.
    :ivar told: by another process; otherwise its own traffic taught it.
    """

    when: int
    pid: int
    address: str
    up: bool
    told: bool


def parse_notes(text: str) -> list[Note]:
    """Read the whole lines of what was noted, in the order of time."""
    notes = []
    for line in text.rpartition("\n")[0].splitlines():
        when, pid, address, up, told = line.split(" ")
        notes.append(Note(int(when), int(pid), address, up == "1", told == "1"))
    return sorted(notes, key=lambda note: note.when)


def ways(notes: Sequence[Note], pids: Iterable[int]) -> list[float]:
    """Return for each verdict that a process learnt from its own traffic how long it took, in ms, until the last of the others
    was told the same; those at the end are left out that somebody has not been told yet.

    What a process has learnt by itself meanwhile is no answer: it must be told.
    """
    everybody = frozenset(pids)
    waiting: list[tuple[Note, set[int]]] = []
    found = []
    for note in notes:
        if note.pid not in everybody:
            continue
        if not note.told:
            waiting.append((note, set(everybody - {note.pid})))
            continue
        for origin, others in waiting:
            if (origin.address, origin.up) == (note.address, note.up):
                others.discard(note.pid)
        found += [(note.when - origin.when) / 1e6 for origin, others in waiting if not others]
        waiting = [(origin, others) for origin, others in waiting if others]
    return found


class Hanging:
    """A backend that ends each connection as soon as a request has come; one that only connects it leaves alone.

    :ivar address: HOST:PORT.
    """

    def __init__(self, port: int) -> None:
        """Listen."""
        self.address = f"{HOST}:{port}"
        self._listening = socket.create_server((HOST, port), backlog=128)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(1)
                connection.recv(65536)

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


@contextmanager
def hanging(port: int) -> Iterator[str]:
    """Have such a backend for the length of a ``with`` block; gives its address."""
    backend = Hanging(port)
    try:
        yield backend.address
    finally:
        backend.close()


def measure_verdicts(workers: int, backends: Sequence[str], ports: FreePorts, directory: Path, cores: Cores, wanted: int) -> list[float]:
    """Return how long each verdict was on its way, in ms; at least so many as are wanted."""
    notes = directory / "notes"
    tapped = environment(directory, notes)
    with (
        hanging(ports.take(1)[0]) as bad,
        running_lbproxy(workers, [*backends, bad], ports, directory, cores, *OPTIONS, **tapped) as balancer,
    ):
        pids = members(balancer.pid, admin_status(balancer.admin_port)).values()
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            light_load(balancer.port)
            found = ways(parse_notes(notes.read_text() if notes.exists() else ""), pids)
            if len(found) >= wanted:
                return found
    raise Invalid(f"only {len(found)} verdicts in {LONGEST:.0f} s; processes {sorted(pids)}, of which this one is {os.getpid()}")


def light_load(port: int) -> None:
    """Ask at a modest pace for a while."""
    run_client("lbproxy", "paced", [f"--port={port}", f"--connections={CONNECTIONS}", f"--seconds={STRETCH}"], STRETCH)


def verdict_rows(found: Sequence[float]) -> list[list[str]]:
    """Return the cells of a table, its heading first."""
    figures = (percentile(found, 50), percentile(found, 99), max(found))
    return [["verdicts", "median", "p99", "longest"], [str(len(found)), *(f"{figure:.2f} ms" for figure in figures)]]
