"""A configuration file for the chaos test that says another thing every moment: weights, retries, routes, and filters that do no
harm."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path

from .support import LoadBalancer, ask

#: Filters of which clients and backends see nothing that they would mind.
FILTERS = (
    '{ type = "headers", request-set = { X-Chaos = "%d" } }',
    '{ type = "headers", response-set = { X-Chaos = "%d" } }',
    '{ type = "rate-limit", rate = 100000, burst = 10000%d }',
    '{ type = "in-flight", limit = 1000%d }',
    '{ type = "faults", abort = 500, abort-share = 0, seed = %d }',
    '{ type = "addresses", allow = ["127.0.0.0/8", "10.%d.0.0/16"] }',
    '"all"',
)
#: Share of the files that have routes at all.
WITH_ROUTES = 0.8
#: Beginnings of paths that routes are for beside the one for all.
PATHS = ("/once", "/big", "/slow", "/upgrade", "/never")
#: Seconds between two reloads.
BETWEEN = (0.05, 0.6)


def text(rng: random.Random, places: list[str]) -> str:
    """One file: a pure function."""
    backends = [f"{place}:weight={rng.randint(1, 5)}" for place in places]
    lines = [f"backends = {json.dumps(backends)}", f"retries = {rng.randint(3, 6)}"]
    lines += ["[filters.all]", 'type = "headers"', f'response-add = {{ X-All = "{rng.randrange(3)}" }}']
    for path in rng.sample(PATHS, rng.randint(0, 3)):
        lines += _route(rng, path)
    lines += _route(rng, "")
    return "\n".join(lines if rng.random() < WITH_ROUTES else lines[:2])


def _route(rng: random.Random, path: str) -> list[str]:
    filters = [one % rng.randint(1, 3) if "%d" in one else one for one in rng.sample(FILTERS, rng.randint(0, 3))]
    match = [f'path-prefix = "{path}"'] if path else []
    return ["[[routes]]", *match, 'pool = "default"', f"filters = [{', '.join(filters)}]"]


class Reloads:
    """Writes the file anew at random times, and has it read.

    :ivar findings: reloads that did not come to be.
    :ivar count: those that did.
    """

    def __init__(self, path: Path, seed: int, places: list[str]) -> None:
        self.findings: list[str] = []
        self.count = 0
        self._path = path
        self._places = places
        self._rng = random.Random(f"{seed}:reloads")
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.write()

    def write(self) -> None:
        """Put another file in its place, all at once."""
        written = self._path.with_suffix(".new")
        written.write_text(text(self._rng, self._places))
        os.replace(written, self._path)

    def start(self, balancer: LoadBalancer) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, args=(balancer,), daemon=True)
        self._thread.start()

    def _run(self, balancer: LoadBalancer) -> None:
        try:
            while not self._over.wait(self._rng.uniform(*BETWEEN)):
                self.write()
                answer = ask(balancer.admin_port, "/reload", "POST")
                if answer.status == 200:
                    self.count += 1
                else:
                    self.findings.append(f"reload: {answer.body.decode()}\n{self._path.read_text()}")
        except Exception as error:
            self.findings.append(f"reload: {error!r}")

    def stop(self) -> None:
        """End; again does nothing."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
