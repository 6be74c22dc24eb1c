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


def thirds(samples: Iterable[Sample], warm_up: float, seconds: float) -> tuple[list[Sample], list[Sample]]:
    """Return the first third and the last of what came after the warm-up."""
    third = (seconds - warm_up) / 3
    kept = [sample for sample in samples if warm_up <= sample.when <= seconds]
    return [one for one in kept if one.when < warm_up + third], [one for one in kept if one.when >= seconds - third]


def not_level(samples: Sequence[Sample], warm_up: float, seconds: float) -> list[str]:
    """Say which process has grown, and whether descriptors have; nothing: all is level."""
    first, last = thirds(samples, warm_up, seconds)
    problems = []
    for name in sorted({sample.name for sample in samples}):
        for value in ("rss", "pss"):
            before, after = (median_of(part, name, value) for part in (first, last))
            if before is None or after is None:
                problems.append(f"{name}: there are no samples of it to compare")
                break
            if after > before + max(KIB, PART * before):
                problems.append(f"{name}: {value.upper()} has grown from {before / 1024:.1f} to {after / 1024:.1f} MiB")
    files = [files_of(part) for part in (first, last)]
    if files[1] > files[0] + max(FILES, PART * files[0]):
        problems.append(f"descriptors have grown from {files[0]:.0f} to {files[1]:.0f}")
    return problems


def median_of(samples: Iterable[Sample], name: str, value: str) -> float | None:
    """Return the median of a process's samples; None: there are none."""
    values = [getattr(sample, value) for sample in samples if sample.name == name]
    return median(values) if values else None


def files_of(samples: Iterable[Sample]) -> float:
    """Return the descriptors of all processes together, the median of the looks."""
    looks: dict[float, int] = {}
    for sample in samples:
        looks[sample.when] = looks.get(sample.when, 0) + sample.files
    return median(looks.values()) if looks else 0.0


def level_rows(samples: Sequence[Sample], warm_up: float, seconds: float) -> list[list[str]]:
    """Return the cells of a table, its heading first: MiB."""
    first, last = thirds(samples, warm_up, seconds)
    rows = [["MiB, medians", "RSS first third", "RSS last third", "PSS first third", "PSS last third", "files last third"]]
    for name in sorted({sample.name for sample in samples}):
        cells = [median_of(part, name, value) for value in ("rss", "pss") for part in (first, last)]
        files = median_of(last, name, "files")
        shown = ["–" if cell is None else f"{cell / 1024:.1f}" for cell in cells]
        rows.append([name, *shown, "–" if files is None else f"{files:.0f}"])
    return rows
