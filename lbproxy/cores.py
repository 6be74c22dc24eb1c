"""How many cores a process may use: those that it may run on, and no more than its container's share of time comes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

__all__ = ["available", "cores"]

_GROUPS = "/sys/fs/cgroup"
_OWN_GROUP = "/proc/self/cgroup"


@cache
def cores() -> int:
    """As many as there were when this was first asked: a file that says ``auto`` says the same for as long as a process lives."""
    return available()


def available(groups: str = _GROUPS, own_group: str = _OWN_GROUP) -> int:
    """The cores that this process may use just now, at least 1.

    :param groups: where the groups of cgroup v2 lie.
    :param own_group: the file that says which is ours.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = (os.cpu_count() or 1) if affinity is None else len(affinity(0))
    return max(1, min([count, *_quotas(groups, own_group)]))


def _quotas(groups: str, own_group: str) -> Iterator[int]:
    """What our group may use, and each of those that it is in: a quota of 1.5 cores is 2 here."""
    for directory in _directories(groups, own_group):
        with suppress(OSError, ValueError), open(os.path.join(directory, "cpu.max"), encoding="ascii") as file:
            quota, period = file.read().split()
            if quota != "max":
                yield -(-int(quota) // int(period))


def _directories(groups: str, own_group: str) -> Iterator[str]:
    """Our group's, and from there up to the uppermost one that can be seen (cgroups(7): ``0::/path`` is that of version 2)."""
    path = "/"
    with suppress(OSError), open(own_group, encoding="utf-8", errors="surrogateescape") as file:
        path = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "/")
    while path.strip("/"):
        yield os.path.join(groups, path.strip("/"))
        path = os.path.dirname(path.rstrip("/"))
    yield groups
