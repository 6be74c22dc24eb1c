"""What a run has found, as tables, values for JSON, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.clients.paced import percentile
from bench.measure import Reading
from bench.report import aligned, in_one_line
from bench.turns import Summary, summarise
from bench.workers.entrants import ours_with
from bench.workers.memory import Held, memory_rows
from bench.workers.spread import by_chance, spread_rows
from bench.workers.verdicts import GOAL, verdict_rows

# A request with several workers may cost so many times one with a single one.
COST_GOAL = 1.1

WIDTH, HEIGHT = 11.0, 7.0
OURS, THEIRS = "#d95f02", "#8da0cb"


@dataclass
class Found:
    """All that was measured; what was not is empty.

    :ivar readings: of each turn.
    :ivar shares: the busiest worker's, in percent, by number of connections.
    :ivar verdicts: how long each was on its way, in ms.
    :ivar held: rounds of what each process has in memory, by number of workers.
    :ivar problems: why a part could not be measured.
    """

    workers: int
    readings: list[Reading] = field(default_factory=list)
    shares: dict[int, list[float]] = field(default_factory=dict)
    verdicts: list[float] = field(default_factory=list)
    held: dict[int, list[dict[str, Held]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Goal:
    """What is to be, and what is; None: it was not measured."""

    what: str
    limit: float
    measured: float | None

    @property
    def met(self) -> bool:
        """Say whether it was measured and is within the limit."""
        return self.measured is not None and self.measured <= self.limit

    def line(self) -> str:
        """Say it."""
        if self.measured is None:
            return f"not measured  {self.what} (at most {self.limit:g})"
        return f"{'met' if self.met else 'MISSED':<13} {self.what}: {self.measured:.2f} (at most {self.limit:g})"


def cost_ratio(readings: Sequence[Reading], workers: int) -> float | None:
    """Return what a request costs with several workers as a multiple of one with a single one: the median of the rounds', in each
    of which both were measured one after the other."""
    costs: dict[str, dict[int, float]] = {ours_with(1): {}, ours_with(workers): {}}
    for reading in readings:
        if not reading.problem and reading.balancer in costs:
            costs[reading.balancer][reading.round] = reading.values["cpu_us"]
    single, several = costs[ours_with(1)], costs[ours_with(workers)]
    ratios = [several[number] / single[number] for number in several if number in single]
    return median(ratios) if ratios else None


def goals(found: Found) -> list[Goal]:
    """Hold what was found against what is to be."""
    return [
        Goal(f"CPU a request with {found.workers} workers, × 1", COST_GOAL, cost_ratio(found.readings, found.workers)),
        Goal("ms of a verdict's way, p99", GOAL, percentile(found.verdicts, 99) if found.verdicts else None),
    ]


def text(found: Found, heading: Sequence[str]) -> str:
    """Return the whole report."""
    parts = ["\n".join(heading)]
    if found.readings:
        parts.append("\n".join(load_lines(summarise(found.readings), found.workers)))
    if found.shares:
        title = f"spread of connections over {found.workers} workers: the busiest one's share, median of the openings"
        parts.append("\n".join([title, *aligned(spread_rows(found.shares, found.workers))]))
    if found.verdicts:
        title = "a verdict's way: from the worker that learnt it until the supervisor and all others go by it"
        parts.append("\n".join([title, *aligned(verdict_rows(found.verdicts))]))
    if found.held:
        parts.append("\n".join(["memory of each process", *aligned(memory_rows(found.held))]))
    parts.append("\n".join(["Goals", *(goal.line() for goal in goals(found)), *(f"  ! {one}" for one in found.problems)]))
    return "\n\n".join(parts) + "\n"


def load_lines(summaries: Sequence[Summary], workers: int) -> list[str]:
    """Return the table of requests, with why anything is missing in it below."""
    title = "small GETs, 64 connections, 3 backends; balancer, load and backends on the same cores, in turns"
    lines = [title, *aligned(load_rows(summaries, workers))]
    return lines + [f"  ! {one.balancer}, {in_one_line(problem)}" for one in summaries for problem in one.problems]


def load_rows(summaries: Sequence[Summary], workers: int) -> list[list[str]]:
    """Return the cells of a table, its heading first; a balancer without a valid reading has dashes."""
    ours = next((one.values for one in summaries if one.balancer == ours_with(workers)), {})
    rows = [["balancer", "requests/s", f"× {ours_with(workers)}", "CPU µs/request", "×", "p50 ms", "p99 ms", "cores"]]
    for one in summaries:
        if not one.values:
            rows.append([one.balancer, *"–" * 7])
            continue
        rate, cost, p50, p99, core = (one.values[name] for name in ("per_second", "cpu_us", "p50_us", "p99_us", "core"))
        multiples = [f"{one.values[name].median / ours[name].median:.2f}" if ours else "–" for name in ("per_second", "cpu_us")]
        shown_rate = f"{rate.median:,.0f} ({rate.low:,.0f} to {rate.high:,.0f})"
        shown_cost = f"{cost.median:.1f} ({cost.low:.1f} to {cost.high:.1f})"
        times = (f"{p50.median / 1000:.2f}", f"{p99.median / 1000:.2f}", f"{core.median:.2f}")
        rows.append([one.balancer, shown_rate, multiples[0], shown_cost, multiples[1], *times])
    return rows


def as_values(found: Found) -> dict[str, Any]:
    """Return everything, ready for JSON."""
    return {
        **asdict(found),
        "by_chance": {count: by_chance(count, found.workers) for count in found.shares},
        "summaries": [asdict(one) for one in summarise(found.readings)],
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals(found)],
    }


def draw(found: Found, title: str, path: Path) -> None:
    """Write a PNG with a panel for each part. Needs matplotlib."""
    # Imported here, and its object interface, as in bench.chart.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    rates, costs, spread, verdicts = (figure.add_subplot(2, 2, place) for place in range(1, 5))
    summaries = [one for one in summarise(found.readings) if one.values]
    draw_bars(rates, summaries, "per_second", "requests a second (higher is better)")
    draw_bars(costs, summaries, "cpu_us", "CPU µs a request")
    draw_spread(spread, found.shares, found.workers)
    draw_verdicts(verdicts, found.verdicts)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_bars(axes: Any, summaries: Sequence[Summary], name: str, unit: str) -> None:
    """Draw a bar a balancer, with a line from the least to the greatest value."""
    spreads = [one.values[name] for one in summaries]
    medians = [one.median for one in spreads]
    errors = [[one.median - one.low for one in spreads], [one.high - one.median for one in spreads]]
    colours = [OURS if one.balancer.startswith("lbproxy") else THEIRS for one in summaries]
    axes.barh(range(len(summaries)), medians, color=colours, xerr=errors, ecolor="#555555", error_kw={"elinewidth": 0.8})
    axes.set_yticks(range(len(summaries)), [one.balancer for one in summaries])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(unit, fontsize=8)


def draw_spread(axes: Any, shares: Mapping[int, Sequence[float]], workers: int) -> None:
    """Draw the busiest worker's share at each opening, and what chance would give."""
    for place, (count, found) in enumerate(shares.items()):
        average, high = by_chance(count, workers)
        axes.plot([place] * len(found), found, "o", color=OURS, markersize=3, alpha=0.6)
        axes.vlines(place + 0.15, average, high, color="#555555", linewidth=2)
    axes.axhline(100 / workers, color="#555555", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(shares)), [f"{count:,}" for count in shares])
    axes.set_xlabel("connections: the busiest worker's share, %; lines: by chance, mean to 95 %", fontsize=8)


def draw_verdicts(axes: Any, verdicts: Sequence[float]) -> None:
    """Draw which part of the verdicts was everywhere within which time."""
    ordered = sorted(verdicts)
    axes.plot(ordered, [100 * (place + 1) / len(ordered) for place in range(len(ordered))], color=OURS)
    axes.axvline(GOAL, color="#555555", linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlabel("ms until all processes go by a verdict: % of verdicts within; line: the goal", fontsize=8)
