"""Memory of each process: after the start, and after a load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.idle import settled
from bench.measure import check_load, send
from bench.processes import Cores, FreePorts
from bench.workers.entrants import SHARED, running_lbproxy
from bench.workers.looking import Memory, admin_status, members, memory


@dataclass(frozen=True)
class Held:
    """What one process has in memory before and after a load."""

    idle: Memory
    after: Memory


def measure_memory(
    workers: int, backends: Sequence[str], ports: FreePorts, directory: Path, cores: Cores, seconds: int
) -> dict[str, Held]:
    """Return it by the process's name."""
    with running_lbproxy(workers, backends, ports, directory, cores) as balancer:
        processes = members(balancer.pid, admin_status(balancer.admin_port))
        idle = at_rest(processes)
        check_load(send(balancer.port, SHARED, seconds, None), SHARED)
        after = at_rest(processes)
    return {name: Held(idle[name], after[name]) for name in processes}


def at_rest(processes: Mapping[str, int]) -> dict[str, Memory]:
    """Return each one's memory once that has come to rest."""
    settled(lambda: sum(memory(pid).rss for pid in processes.values()))
    return {name: memory(pid) for name, pid in processes.items()}


def memory_rows(held: Mapping[int, Sequence[Mapping[str, Held]]]) -> list[list[str]]:
    """Return the cells of a table, its heading first: MiB, medians of the rounds.

    :param held: rounds, by number of workers.
    """
    rows = [["MiB", "RSS idle", "PSS idle", "RSS after load", "PSS after load"]]
    for workers, rounds in held.items():
        for name in rounds[0]:
            those = [one[name] for one in rounds]
            columns = zip(*((one.idle.rss, one.idle.pss, one.after.rss, one.after.pss) for one in those), strict=True)
            words = "1 worker" if workers == 1 else f"{workers} workers"
            rows.append([f"{words}: {name}", *(f"{median(column) / 1024:.1f}" for column in columns)])
    return rows
