"""What the system says of a process, and what is known of the processes of a load balancer that has several."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

__all__ = ["Loss", "WorkerEnd", "WorkerFigures", "Workers", "cpu_seconds", "resident_bytes"]


@attrs.frozen
class Loss:
    """What ended with a worker.

    :ivar exchanges: that were running.
    :ivar connections: of clients, that were open.
    :ivar unreported: exchanges that had ended since its last report: no figure but these has them.
    """

    exchanges: int = 0
    connections: int = 0
    unreported: int = 0

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.exchanges + other.exchanges, self.connections + other.connections, self.unreported + other.unreported)


@attrs.frozen
class WorkerEnd:
    """How a worker ended.

    :ivar time: seconds since the epoch.
    """

    time: float
    reason: str
    loss: Loss


@attrs.frozen(kw_only=True)
class WorkerFigures:
    """A worker's process as it is just now, or a place for one that none has.

    :ivar number: from 0 on; its successor has the same. While one drains, there may be two.
    :ivar pid: None: there is none at the moment.
    :ivar state: ``starting``, ``serving`` or ``draining``; ``waiting``: there is to be one.
    :ivar began: seconds since the epoch; None without a process.
    :ivar connections: of clients, open.
    :ivar in_flight: exchanges that run; *requests*: that have ended, since it began.
    :ivar restarts: how many processes of this number there were before.
    :ivar last_end: of the one before; None: there was none.
    """

    number: int
    pid: int | None
    state: str
    began: float | None
    connections: int
    in_flight: int
    requests: int
    restarts: int
    last_end: WorkerEnd | None = None


@attrs.frozen
class Workers:
    """All of them, in their order.

    :ivar lost: with all that have ended so far.
    """

    each: tuple[WorkerFigures, ...]
    lost: Loss


def cpu_seconds(pid: int | None) -> float | None:
    """Seconds of processor time that a process has had; None where that cannot be known (no ``/proc``, no process)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def resident_bytes(pid: int | None) -> int | None:
    """Bytes of memory that a process has in use; None where that cannot be known."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
