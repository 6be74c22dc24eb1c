"""How long a verdict is on its way: from the worker whose traffic taught it until every other process goes by it.

Some of the backends take connections, and end each without an answer. Under a light load a worker notices, and one is taken out
for a moment (an ejection): a verdict of which the others are told. When that is over it is let in again, and the next worker
notices. Each process notes when it goes by a verdict (:mod:`bench.workers.tap`).
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.clients.paced import PACE, percentile
from bench.connecting import HOST
from bench.processes import Cores, FreePorts, Invalid
from bench.workers.entrants import running_lbproxy
from bench.workers.looking import LONGEST_ANSWER, SUPERVISOR, admin_status, members
from bench.workers.tap import environment

# Verdicts that are wanted at least, and how long the load may last for them. Seconds.
WANTED, LONGEST = 200, 120.0

# Seconds of light load at a time, and its connections: paced, 50 requests a second each.
STRETCH, CONNECTIONS = 5, 8

# Backends that end each connection.
HANGING = 3

# Seconds for which one is taken out. The share says that all may be.
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


def ways(notes: Sequence[Note], supervisor: int, workers: Iterable[int]) -> list[float]:
    """Return for each verdict that a worker learnt from its own traffic how long it took, in ms, until the last of the other
    processes was told the same.

    What another worker has learnt by itself meanwhile is no answer: it must be told. What somebody knew already, or learns while
    another's word of the same is on its way, is no news; and what is overruled on its way is left out.
    """
    origins = frozenset(workers)
    everybody = origins | {supervisor}
    up: dict[tuple[int, str], bool] = {}
    waiting: dict[str, tuple[Note, set[int]]] = {}
    found = []
    for note in (note for note in notes if note.pid in everybody):
        first, others = waiting.get(note.address, (note, set()))
        if first.up != note.up:
            del waiting[note.address]
        elif note.told and others:
            others.discard(note.pid)
            if not others:
                found.append((note.when - first.when) / 1e6)
                del waiting[note.address]
        if not note.told and note.pid in origins and note.address not in waiting:
            others = set(everybody - {note.pid})
            if all(up.get((pid, note.address), True) != note.up for pid in others):
                waiting[note.address] = (note, others)
        up[note.pid, note.address] = note.up
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


def measure_verdicts(
    workers: int, backends: Sequence[str], ports: FreePorts, directory: Path, cores: Cores, wanted: int
) -> list[float]:
    """Return how long each verdict was on its way, in ms; at least so many as are wanted."""
    notes = directory / "notes"
    tapped = environment(directory, notes)
    with ExitStack() as stack:
        bad = [stack.enter_context(hanging(port)) for port in ports.take(HANGING)]
        running = running_lbproxy(workers, [*backends, *bad], ports, directory, cores, *OPTIONS, **tapped)
        balancer = stack.enter_context(running)
        processes = members(balancer.pid, admin_status(balancer.admin_port))
        supervisor = processes.pop(SUPERVISOR)
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            light_load(balancer.port)
            found = ways(parse_notes(notes.read_text() if notes.exists() else ""), supervisor, processes.values())
            if len(found) >= wanted:
                return found
    raise Invalid(f"only {len(found)} verdicts in {LONGEST:.0f} s")


def light_load(port: int) -> None:
    """Ask at a modest pace for a while, whatever the answers are: with several backends at fault some are a 502."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for asking in [pool.submit(_ask_on, port) for _ in range(CONNECTIONS)]:
            asking.result()


def _ask_on(port: int) -> None:
    connection = http.client.HTTPConnection(HOST, port, timeout=LONGEST_ANSWER)
    end = time.monotonic() + STRETCH
    while time.monotonic() < end:
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            connection.close()
        time.sleep(PACE)
    connection.close()


def verdict_rows(found: Sequence[float]) -> list[list[str]]:
    """Return the cells of a table, its heading first."""
    figures = (percentile(found, 50), percentile(found, 99), max(found))
    return [["verdicts", "median", "p99", "longest"], [str(len(found)), *(f"{figure:.2f} ms" for figure in figures)]]
