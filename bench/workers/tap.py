"""Notes in every process of a load balancer when a pool is told a verdict.

It is brought in by a ``sitecustomize`` on the PYTHONPATH, which Python runs at the start of each process: so the workers, which
the supervisor starts as it always does, have it too, and nothing of lbproxy knows of it. The clock is the machine's
(CLOCK_MONOTONIC), the same for all processes; a note is one write to a file that all append to.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
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
    """Make notes in this process from now on, if they are wanted."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    from lbproxy.balance.pool import Pool

    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    for name in ("apply", "know"):  # a verdict; what another process has made of one
        if hasattr(Pool, name):
            setattr(Pool, name, noting(getattr(Pool, name), file))


def noting(method: Callable[[Any, Any], None], file: int) -> Callable[[Any, Any], None]:
    """Return a method of a pool that does the same, and makes a note: when, which process, of whom, up or not then, and whether
    the pool was told by another process (1) or has learnt it here.

    What was learnt here counts from before it was gone by, what was told from after.
    """

    def noted(self: Any, what: Any) -> None:
        told, before = by_another(sys._getframe(1)), time.monotonic_ns()
        method(self, what)
        member = self.members.get(what.address)
        if member is not None:
            when = time.monotonic_ns() if told else before
            parts = (when, os.getpid(), what.address, int(member.up), int(told))
            os.write(file, (" ".join(map(str, parts)) + "\n").encode())

    return noted


def by_another(frame: Any) -> bool:
    """Say whether it is the link between the processes that calls."""
    for _ in range(DEPTH):
        if frame is None:
            return False
        if str(frame.f_globals.get("__name__", "")).startswith("lbproxy.workers."):
            return True
        frame = frame.f_back
    return False
