"""Notes in every process of a load balancer when a pool is told a verdict.

It is brought in by a ``sitecustomize`` on the PYTHONPATH, which Python runs at the start of each process: so the workers, which
the supervisor starts as it always does, have it too, and nothing of lbproxy knows of it. The clock is the machine's
(CLOCK_MONOTONIC), the same for all processes; a note is one write to a file that all append to.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

# Where the notes go.
VARIABLE = "LBPROXY_BENCH_NOTES"

SITECUSTOMIZE = "from bench.workers.tap import install\ninstall()\n"

# How far up the stack one looks for who told.
DEPTH = 8


def environment(directory: Path, notes: Path) -> dict[str, str]:
    """Return what a process needs that is to make notes, it and its children.

    :param directory: for the ``sitecustomize``.
    """
    (directory / "sitecustomize.py").write_text(SITECUSTOMIZE)
    checkout = str(Path(__file__).parents[2])
    return {"PYTHONPATH": os.pathsep.join((str(directory), checkout)), VARIABLE: str(notes)}


def install() -> None:
    """Make notes in this process from now on, if they are wanted: when, which process, of whom, up or not, and whether the pool
    was told by another process (1) or has learnt it here."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    from lbproxy.balance.pool import Pool

    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    apply = Pool.apply

    def noting(self: Pool, verdict: Any) -> None:
        if verdict.source == "traffic":
            parts = (time.monotonic_ns(), os.getpid(), verdict.address, int(verdict.up), int(by_another(sys._getframe(1))))
            os.write(file, (" ".join(map(str, parts)) + "\n").encode())
        apply(self, verdict)

    Pool.apply = noting  # type: ignore[method-assign]


def by_another(frame: Any) -> bool:
    """Say whether it is the link between the processes that calls."""
    for _ in range(DEPTH):
        if frame is None:
            return False
        if str(frame.f_globals.get("__name__", "")).startswith("lbproxy.workers."):
            return True
        frame = frame.f_back
    return False
