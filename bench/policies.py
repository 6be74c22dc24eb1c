"""``python -m bench policies``: what a choice costs, by policy and number of backends."""

from __future__ import annotations

import argparse
import gc
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from bench.processes import CHECKOUT
from bench.report import aligned, machine
from lbproxy.balance.backend import Backend
from lbproxy.balance.state import BackendState
from lbproxy.http1.head import RequestHead
from lbproxy.policies import policy_maker
from lbproxy.proxy.client import Client

RESULTS = Path(__file__).parent / "results"
PUBLISHED_CHART = CHECKOUT / "docs" / "policies.png"

POLICIES = (
    "round-robin",
    "least-connections",
    "random",
    "two-choices",
    "peak-ewma",
    "hash:key=ip",
    "hash:key=ip,bound=1.25",
    "first",
)

# µs a pick, by number of backends.
GOALS = {3: 3.0, 1000: 8.0}
SIZES = (3, 10, 30, 100, 300, 1000, 3000, 10000)

# Attempts in flight while it is measured; picks in a batch; batches in a row, and rounds over all policies. The
# best batch of all counts: whatever else a machine does makes one slower, never faster, and may do so for seconds.
IN_FLIGHT, PICKS, BATCHES, ROUNDS = 64, 2000, 8, 5


@dataclass
class Asked:
    """An exchange, as far as policies look at it."""

    request: RequestHead
    client: Client


def exchanges(count: int = 1000) -> list[Any]:
    """Make so many, each from a client of its own."""
    head = RequestHead(b"GET", b"/", 1, b"Host: example.org\r\n", {b"host": b"example.org"})
    return [Asked(head, Client(f"192.0.{i >> 8}.{i & 255}", False, b"")) for i in range(count)]


def members(count: int) -> list[BackendState]:
    """Make so many backends of equal weight."""
    return [
        BackendState(Backend(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 8000), 0.0) for i in range(count)
    ]


def pick_cost(policy: Any, asked: Sequence[Any], batches: int = BATCHES, picks: int = PICKS) -> float:
    """Return the CPU µs of one pick, with an attempt begun at who is picked and an older one ended."""
    running: deque[BackendState] = deque()
    best = float("inf")
    for batch in range(batches + 1):
        begin = time.thread_time()
        for number in range(picks):
            member = next(policy.candidates(asked[number % len(asked)]))
            member.in_flight += 1
            policy.begun(member)
            running.append(member)
            if len(running) > IN_FLIGHT:
                member = running.popleft()
                member.in_flight -= 1
                policy.ended(member, 0.01, False)
        if batch:  # the first one warms up
            best = min(best, time.thread_time() - begin)
    return best / picks * 1e6


def measure_policy(text: str, sizes: Sequence[int], batches: int = BATCHES) -> dict[int, float]:
    """Return what a pick costs, in µs, by number of backends."""
    asked, costs = exchanges(), {}
    for size in sizes:
        policy = policy_maker(text, random=Random(1))()
        policy.set_members(members(size))
        gc.collect()
        gc.disable()
        try:
            costs[size] = pick_cost(policy, asked, batches)
        finally:
            gc.enable()
    return costs


def measure_all(rounds: int = ROUNDS) -> dict[str, dict[int, float]]:
    """Return what a pick costs by each policy, in µs, by number of backends."""
    taken = [{text: measure_policy(text, SIZES) for text in POLICIES} for _ in range(rounds)]
    return {
        text: {size: min(costs[text][size] for costs in taken) for size in SIZES} for text in POLICIES
    }


def table(costs: Mapping[str, Mapping[int, float]]) -> str:
    """Return the figures as lines, those that have a goal with it."""
    sizes = list(next(iter(costs.values())))
    rows = [["µs a pick", *(f"{size:,}" for size in sizes)]]
    rows.append(["goal", *(f"≤ {GOALS[size]:g}" if size in GOALS else "" for size in sizes)])
    for name, by_size in costs.items():
        rows.append([name, *(shown(size, cost) for size, cost in by_size.items())])
    return "\n".join(aligned(rows))


def shown(size: int, cost: float) -> str:
    """Return a figure as it stands in the table, marked where it misses its goal."""
    return f"{cost:.2f}{' !' if missed(size, cost) else ''}"


def missed(size: int, cost: float) -> bool:
    """Say whether there is a goal, and it is missed."""
    return cost > GOALS.get(size, float("inf"))


def draw(costs: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """Write a PNG of how the cost grows with the number of backends. Needs matplotlib."""
    # Imported here, and its object interface, as in bench.chart.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, by_size in costs.items():
        sizes = [size for size in by_size if size >= 10]
        axes.plot(sizes, [by_size[size] for size in sizes], marker="o", markersize=4, label=name)
    axes.axhline(GOALS[1000], color="#555555", linewidth=0.8, linestyle="--", label="goal at 1,000")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("backends")
    axes.set_ylabel("CPU µs a pick, its attempt begun and ended included")
    axes.set_title(f"What a choice costs: best of {ROUNDS * BATCHES} × {PICKS:,} picks, {IN_FLIGHT} in flight")
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str]) -> int:
    """Measure all policies; return the exit status: 1 where a goal is missed and --check-goals was given."""
    parser = argparse.ArgumentParser("python -m bench policies", description=__doc__)
    parser.add_argument("--publish", action="store_true", help="put the chart at docs/policies.png")
    parser.add_argument("--check-goals", action="store_true", help="exit status 1 unless every goal is reached")
    options = parser.parse_args(arguments)
    costs = measure_all()
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(table(costs))
    chart = PUBLISHED_CHART if options.publish else RESULTS / "policies.png"
    try:
        draw(costs, chart)
        print(f"written to {chart}")
    except ModuleNotFoundError as error:
        print(f"no chart: {error} (PyPI: matplotlib)")
    late = any(missed(size, cost) for by_size in costs.values() for size, cost in by_size.items())
    return int(options.check_goals and late)
