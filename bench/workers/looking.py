"""What can be seen of a load balancer of several processes: which they are, their memory, files, and connections."""

from __future__ import annotations

import http.client
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.connecting import HOST
from bench.cpu import PROC, all_processes, tree_below

# How a connection that stands is marked in /proc/net/tcp.
ESTABLISHED = "01"

# Seconds for an answer of the administration.
LONGEST_ANSWER = 10.0

# How the processes are named.
SUPERVISOR, ALONE = "supervisor", "the only one"

_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True)
class Memory:
    """Of one process, in KiB.

    :ivar rss: all pages that it has in memory, those that it shares with others too.
    :ivar pss: the same, but of a page that several processes share only this one's part.
    """

    rss: int
    pss: int


def parse_memory(text: str) -> Memory:
    """Read a ``smaps_rollup``."""
    found = {line.partition(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.endswith(" kB")}
    return Memory(found["Rss"], found["Pss"])


def memory(pid: int) -> Memory:
    """Return a process's memory.

    :raises OSError: it has ended.
    """
    return parse_memory((PROC / str(pid) / "smaps_rollup").read_text())


def open_files(pid: int) -> int:
    """Return how many descriptors a process has.

    :raises OSError: it has ended.
    """
    return len(os.listdir(PROC / str(pid) / "fd"))


def admin_status(admin_port: int) -> dict[str, Any]:
    """Return what ``/status`` says.

    :raises OSError: nobody answers.
    """
    connection = http.client.HTTPConnection(HOST, admin_port, timeout=LONGEST_ANSWER)
    try:
        connection.request("GET", "/status")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    return answer


def members(pid: int, status: Mapping[str, Any]) -> dict[str, int]:
    """Return the processes of a load balancer by name: as ``/status`` has them, or, where it does not say, the children of the
    first one in the order of their ids."""
    listed = status.get("workers") or ()
    numbered = {worker["number"]: worker["pid"] for worker in listed if worker.get("pid")}
    if not numbered:
        below = sorted(process.pid for process in tree_below(pid, all_processes()) if process.pid != pid)
        numbered = dict(enumerate(below))
    if not numbered:
        return {ALONE: pid}
    return {SUPERVISOR: pid, **{f"worker {number}": numbered[number] for number in sorted(numbered)}}


def connections_of(pid: int, port: int, status: Mapping[str, Any]) -> list[int]:
    """Return how many clients' connections each worker has: as ``/status`` says, or as the kernel does."""
    listed = status.get("workers") or ()
    if listed and all("connections" in worker for worker in listed):
        return [worker["connections"] for worker in listed]
    pids = [process for name, process in members(pid, status).items() if name != SUPERVISOR]
    return counted_by_process(accepted_at(port, (PROC / "net/tcp").read_text()), pids)


def accepted_at(port: int, text: str) -> set[int]:
    """Return the inodes of all connections that stand at this port, of what ``/proc/net/tcp`` says."""
    found = set()
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] == ESTABLISHED and int(fields[1].rpartition(":")[2], 16) == port:
            found.add(int(fields[9]))
    return found


def counted_by_process(inodes: set[int], pids: Iterable[int]) -> list[int]:
    """Return how many of these sockets each process has."""
    counts = Counter[int]()
    for pid in pids:
        for entry in Path(PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # closed since it was listed
                found = _SOCKET.match(os.readlink(entry))
                counts[pid] += found is not None and int(found[1]) in inodes
    return [counts[pid] for pid in pids]
