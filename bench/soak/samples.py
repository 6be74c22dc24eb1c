"""Memory and files of each process while the soak runs, and whether they are level."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from bench.workers.looking import Memory, memory, open_files

# What may be between the first third and the last: KiB, or a part of the first.
KIB, PART = 8 * 1024, 0.1

# The same of descriptors, all processes together: connections come and go.
FILES = 32


@dataclass(frozen=True)
class Sample:
    """One look at one process.

    :ivar when: seconds since the soak began.
    :ivar name: of the process; a worker's successor has the same.
    """

    when: float
    name: str
    pid: int
    rss: int
    pss: int
    files: int


def look(began: float, processes: Mapping[str, int]) -> list[Sample]:
    """Look at all of them; who has ended meanwhile is left out."""
    when, found = time.monotonic() - began, []
    for name, pid in processes.items():
        with suppress(OSError, KeyError):  # a process that is just ending has no such lines any more
            now: Memory = memory(pid)
            found.append(Sample(round(when, 3), name, pid, now.rss, now.pss, open_files(pid)))
    return found


def thirds(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the medians of the first third and of the last; None: there are too few."""
    part = len(values) // 3
    return (median(values[:part]), median(values[-part:])) if part else None


def of_process(samples: Iterable[Sample], name: str, warm_up: float, value: str) -> list[float]:
    """Return a process's values in their order, from the end of the warm-up on."""
    return [getattr(sample, value) for sample in samples if sample.name == name and sample.when >= warm_up]


def not_level(samples: Sequence[Sample], warm_up: float) -> list[str]:
    """Say which process has grown from the first third of its samples to the last, and whether descriptors have; nothing: all is
    level."""
    problems = []
    for name in sorted({sample.name for sample in samples}):
        for value in ("rss", "pss"):
            medians = thirds(of_process(samples, name, warm_up, value))
            if medians is None:
                problems.append(f"{name}: there are not enough samples of it")
                break
            before, after = medians
            if after > before + max(KIB, PART * before):
                problems.append(f"{name}: {value.upper()} has grown from {before / 1024:.1f} to {after / 1024:.1f} MiB")
    before, after = thirds(all_files(samples, warm_up)) or (0.0, 0.0)
    if after > before + max(FILES, PART * before):
        problems.append(f"descriptors have grown from {before:.0f} to {after:.0f}")
    return problems


def all_files(samples: Iterable[Sample], warm_up: float) -> list[float]:
    """Return the descriptors of all processes together, at each look at which none of them was missing."""
    looks: dict[float, list[int]] = {}
    for sample in samples:
        if sample.when >= warm_up:
            looks.setdefault(sample.when, []).append(sample.files)
    most = max(map(len, looks.values()), default=0)
    return [float(sum(files)) for files in looks.values() if len(files) == most]


def level_rows(samples: Sequence[Sample], warm_up: float) -> list[list[str]]:
    """Return the cells of a table, its heading first: MiB."""
    rows = [["MiB, medians", "RSS first third", "RSS last third", "PSS first third", "PSS last third", "files last third"]]
    for name in sorted({sample.name for sample in samples}):
        medians = [thirds(of_process(samples, name, warm_up, value)) for value in ("rss", "pss", "files")]
        shown = [f"{size / 1024:.1f}" for pair in medians[:2] for size in pair or ()]
        rows.append([name, *shown, f"{medians[2][1]:.0f}"] if medians[2] else [name, *"–" * 5])
    return rows
