"""The order of measurements, and what remains of them: medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TextIO

from bench.balancers import Balancer
from bench.measure import Reading
from bench.scenarios import Scenario

# How the value that a scenario compares is told while it is measured.
IN_SHORT = {
    "kib": "{:.1f} KiB",
    "mib_cpu": "{:,.0f} MiB a CPU second",
    "p99_ratio": "p99 × {:.2f}",
    "handshake_us": "{:.0f} µs a handshake",
    "start_s": "{:.2f} s to the first answer",
    "cpu_us": "{:.1f} µs",
}


@dataclass(frozen=True)
class Turn:
    """One measurement to be made."""

    balancer: Balancer
    scenario: Scenario
    round: int


@dataclass(frozen=True)
class Spread:
    """The middle of several values, with the least and the greatest of them."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """All rounds of one balancer in one scenario.

    :ivar values: by name, of the valid readings; empty when there is none.
    :ivar problems: why the others were not.
    """

    balancer: str
    scenario: str
    values: dict[str, Spread]
    valid: int
    problems: tuple[str, ...]


def plan(balancers: Sequence[Balancer], scenarios: Sequence[Scenario], rounds: int) -> list[Turn]:
    """Put the measurements in order: within a round and a scenario each balancer has its turn, A B C A B C.

    What disturbs the machine for a while then disturbs all of them, and a ratio between two suffers least.
    One that forwards to a single backend has no part in scenarios whose point is the size of the pool, and one
    that is no server of its own has none in those that are about a server at the edge.
    """
    return [
        Turn(balancer, scenario, number)
        for number in range(1, rounds + 1)
        for scenario in scenarios
        for balancer in balancers
        if not (balancer.one_backend and scenario.name.startswith("pool-"))
        and (balancer.server or not scenario.servers_only)
        and scenario.alone in ("", balancer.name)
    ]


def take_turns(turns: Sequence[Turn], take: Callable[[Turn], Reading], progress: TextIO) -> list[Reading]:
    """Make every measurement, saying on ``progress`` which it is, what came of it, and how much is left."""
    readings = []
    started = time.monotonic()
    rounds = max((turn.round for turn in turns), default=0)
    for done, turn in enumerate(turns):
        left = time_left(done, len(turns), time.monotonic() - started)
        what = f"round {turn.round} of {rounds}, {turn.scenario.name}, {turn.balancer.name}"
        print(f"[{done + 1}/{len(turns)}] {what}{left} …", end=" ", file=progress, flush=True)
        reading = take(turn)
        readings.append(reading)
        print(in_short(reading), file=progress, flush=True)
    return readings


def time_left(done: int, total: int, elapsed: float) -> str:
    """Estimate the rest from what was done so far, as ", 3 min left"; empty at the beginning."""
    if not done:
        return ""
    seconds = elapsed / done * (total - done)
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"


def in_short(reading: Reading) -> str:
    """Say in a few words what a measurement gave."""
    if reading.problem:
        return f"INVALID: {reading.problem}"
    name = next(name for name in IN_SHORT if name in reading.values)
    return IN_SHORT[name].format(reading.values[name])


def spread(values: Iterable[float]) -> Spread:
    """Return median, least and greatest; of an even number the median is the mean of the middle two."""
    ordered = sorted(values)
    return Spread(median(ordered), ordered[0], ordered[-1])


def summarise(readings: Sequence[Reading]) -> list[Summary]:
    """Gather the rounds of each balancer in each scenario, in the order in which they first came."""
    groups: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.scenario, reading.balancer), []).append(reading)
    return [summary_of(group) for group in groups.values()]


def summary_of(group: Sequence[Reading]) -> Summary:
    """Summarise the readings of one balancer in one scenario; invalid ones only by their problem."""
    valid = [reading for reading in group if not reading.problem]
    names = valid[0].values if valid else ()
    values = {name: spread(reading.values[name] for reading in valid) for name in names}
    problems = tuple(f"round {reading.round}: {reading.problem}" for reading in group if reading.problem)
    return Summary(group[0].balancer, group[0].scenario, values, len(valid), problems)
