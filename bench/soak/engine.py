"""The soak itself: starts all, disturbs it on a schedule, and judges."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.balancers.python import ENVIRONMENT, TWISTD
from bench.connecting import HOST
from bench.processes import FreePorts, running, tail, wait_until_answers
from bench.servers.soak_backend import COUNT
from bench.soak.clients import Anew, Client, Crowd, Download, Tunnel, Upload
from bench.soak.ledger import NOTICED, Ledger, not_explained, not_owned_up
from bench.soak.samples import Sample, look, not_level
from bench.workers.looking import LONGEST_ANSWER, SUPERVISOR, admin_status, members

BACKENDS = 3

# How much longer than the soak the backends live, in seconds.
TO_SPARE = 120

# Seconds between two looks, and between two lines of progress.
BETWEEN_LOOKS, BETWEEN_LINES = 1.0, 10.0

# How many of each kind of client, how long a connection of theirs lasts (requests, messages), and seconds between two requests.
CLIENTS: tuple[tuple[type[Client], int, tuple[int, int], float], ...] = (
    (Client, 12, (50, 300), 0.05),
    (Upload, 3, (10, 50), 0.2),
    (Download, 3, (10, 50), 0.2),
    (Anew, 3, (0, 0), 0.1),
    (Tunnel, 8, (50, 300), 0.05),
)


@dataclass(frozen=True)
class Schedule:
    """How long, and what happens when. Seconds; 0: never.

    :ivar warm_up: for so long memory is not looked at.
    :ivar reload_every: from one reload to the next; a third of it is before the first.
    :ivar kill_every: likewise of kills. It is always the last worker, so that the others live as long as the soak.
    """

    seconds: float = 600
    workers: int = 2
    warm_up: float = 60
    reload_every: float = 10
    kill_every: float = 60


@dataclass
class Story:
    """What has happened.

    :ivar kills: when, by ``time.monotonic``.
    :ivar problems: why the soak is not passed; nothing: it is.
    """

    schedule: Schedule
    samples: list[Sample] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    reloads: int = 0
    answered: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    lost: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def due(every: float, begun: float, until: float) -> Iterator[float]:
    """Give the times at which something is to happen that happens at this interval."""
    number = 0
    while every and (when := begun + every / 3 + number * every) < until:
        yield when
        number += 1


class Soak:
    """One run.

    :param directory: for files.
    :param tell: is told how it goes.
    """

    def __init__(self, schedule: Schedule, directory: Path, tell: Callable[[str], None]) -> None:
        self.story = Story(schedule)
        self._schedule, self._directory, self._tell = schedule, directory, tell
        ports = FreePorts()
        self._port, self._admin_port = ports.take(2)
        self._backends = ports.take(BACKENDS)
        self._config = directory / "soak.toml"
        self._pid = 0

    def run(self) -> Story:
        """Do it all; return what has happened.

        :raises Invalid: something does not start.
        """
        with ExitStack() as stack:
            for port in self._backends:
                stack.enter_context(self._backend(port))
            log = stack.enter_context(self._balancer())
            crowd = Crowd(self._port, list(makers(CLIENTS)))
            try:
                self._disturb(crowd.ledger)
            finally:
                crowd.stop()
            self._judge(crowd.ledger, log)
        return self.story

    @contextmanager
    def _backend(self, port: int) -> Iterator[None]:
        options = [f"--port={port}", f"--seconds={int(self._schedule.seconds) + TO_SPARE}"]
        log = self._directory / f"backend-{port}.log"
        cores = frozenset(os.sched_getaffinity(0))
        with running([sys.executable, "-m", "bench.servers.soak_backend", *options], log, cores, ENVIRONMENT) as process:
            wait_until_answers(process, port, log)
            yield

    @contextmanager
    def _balancer(self) -> Iterator[Path]:
        self._write_config(0)
        log = self._directory / "lbproxy.log"
        command = [*TWISTD, "-n", "--pidfile=", "lbproxy", f"--config={self._config}"]
        with running(command, log, frozenset(os.sched_getaffinity(0)), ENVIRONMENT) as process:
            wait_until_answers(process, self._port, log)
            self._pid = process.pid
            yield log

    def _write_config(self, turn: int) -> None:
        """Each turn says another thing, which a reload has to carry to all workers."""
        said: dict[str, Any] = {
            "listen": f"tcp:{self._port}:interface={HOST}",
            "admin": f"tcp:{self._admin_port}:interface={HOST}",
            "admin-writable": True,
            "workers": self._schedule.workers,
            "retries": 3 + turn % 2,
            "backends": [f"{HOST}:{port}:weight={1 + (turn + number) % 2}" for number, port in enumerate(self._backends)],
        }
        self._config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()))

    def _disturb(self, ledger: Ledger) -> None:
        schedule, began = self._schedule, time.monotonic()
        end = began + schedule.seconds
        acts: list[tuple[Iterator[float], Callable[[], None]]] = [
            (due(schedule.reload_every, began, end), self._reload),
            (due(schedule.kill_every, began, end - 2 * NOTICED), self._kill),
            (due(BETWEEN_LOOKS, began, end), lambda: self._look(began)),
            (due(BETWEEN_LINES, began, end), lambda: self._tell(self._progress(began, ledger))),
        ]
        waiting = [(next(times, None), times, act) for times, act in acts]
        while left := [when for when, _, _ in waiting if when is not None]:
            time.sleep(max(0.0, min(left) - time.monotonic()))
            for place, (when, times, act) in enumerate(waiting):
                if when is not None and when <= time.monotonic():
                    act()
                    waiting[place] = (next(times, None), times, act)
        time.sleep(max(0.0, end - time.monotonic()))

    def _processes(self) -> dict[str, int]:
        return members(self._pid, admin_status(self._admin_port))

    def _look(self, began: float) -> None:
        self.story.samples += look(began, self._processes())

    def _reload(self) -> None:
        self.story.reloads += 1
        self._write_config(self.story.reloads)
        connection = http.client.HTTPConnection(HOST, self._admin_port, timeout=LONGEST_ANSWER)
        try:
            connection.request("POST", "/reload")
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.story.problems.append(f"reload {self.story.reloads}: {error!r}")
            return
        finally:
            connection.close()
        if answer.status != 200:
            self.story.problems.append(f"reload {self.story.reloads}: {answer.status} {body.decode(errors='replace').strip()}")

    def _kill(self) -> None:
        processes = self._processes()
        workers = [name for name in processes if name != SUPERVISOR]
        if len(workers) < self._schedule.workers:
            self.story.problems.append(f"a worker is missing: {processes}")
            return
        self.story.kills.append(time.monotonic())
        os.kill(processes[workers[-1]], signal.SIGKILL)

    def _progress(self, began: float, ledger: Ledger) -> str:
        latest: dict[str, Sample] = {sample.name: sample for sample in self.story.samples}
        sizes = ", ".join(f"{name} {sample.rss / 1024:.1f} MiB" for name, sample in latest.items())
        counts = f"{ledger.total} answered, {len(ledger.failures)} failed, {len(self.story.kills)} kills, {self.story.reloads} reloads"
        return f"{time.monotonic() - began:.0f} of {self._schedule.seconds:.0f} s: {counts}; {sizes}"

    def _judge(self, ledger: Ledger, log: Path) -> None:
        story, schedule = self.story, self._schedule
        story.answered, story.failed = dict(ledger.answered), len(ledger.failures)
        silent = [made.kind for made, *_ in CLIENTS if not ledger.answered[made.kind]]
        if silent:
            story.problems.append(f"clients of these kinds had no answer at all: {silent}")
        for failure in not_explained(ledger.failures, story.kills)[:10]:
            story.problems.append(f"failed, and no worker was killed just before: {failure}")
        status = admin_status(self._admin_port)
        story.lost = status.get("workers_lost") or {}
        if not story.lost:
            story.problems.append("/status has no workers_lost")
        elif wrong := not_owned_up(ledger.failures, len(story.kills), story.lost, self._seen()):
            story.problems.append(wrong)
        story.problems += not_level(story.samples, schedule.warm_up, schedule.seconds)
        if "Traceback" in log.read_text(errors="replace"):
            story.problems.append(f"a traceback in the log, which ends:\n{tail(log)}")

    def _seen(self) -> set[str]:
        seen: set[str] = set()
        for port in self._backends:
            connection = http.client.HTTPConnection(HOST, port, timeout=LONGEST_ANSWER)
            try:
                connection.request("GET", COUNT)
                seen.update(json.loads(connection.getresponse().read()))
            finally:
                connection.close()
        return seen


def makers(
    clients: Sequence[tuple[type[Client], int, tuple[int, int], float]],
) -> Iterator[Callable[..., Client]]:
    """Give what makes each client of a crowd (:class:`bench.soak.clients.Crowd`)."""
    for kind, count, life, rest in clients:
        for _ in range(count):
            yield partial(kind, life=life, rest=rest)
