"""The results of a run: a table to read, JSON to keep."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.goals import Verdict, verdict_line
from bench.measure import Reading
from bench.scenarios import SCENARIOS, TLS_SCENARIOS, Scenario
from bench.turns import Spread, Summary


@dataclass(frozen=True)
class Run:
    """All that a report needs.

    :ivar versions: of the balancers measured, by name.
    :ivar missing: why others were not, by name.
    :ivar seconds: the window of a measurement.
    :ivar note: what else a reader of the figures must know; may be empty.
    """

    date: str
    rounds: int
    seconds: int
    versions: Mapping[str, str]
    missing: Mapping[str, str]
    readings: Sequence[Reading]
    summaries: Sequence[Summary]
    verdicts: Sequence[Verdict]
    note: str = ""


@dataclass(frozen=True)
class Column:
    """One column of the table: its heading and how it shows a value."""

    value: str
    heading: str
    show: Callable[[Spread], str]


def plain(digits: int, divisor: float = 1.0) -> Callable[[Spread], str]:
    """Show a median with so many digits, divided into a larger unit."""
    return lambda spread: f"{spread.median / divisor:,.{digits}f}"


def with_range(digits: int) -> Callable[[Spread], str]:
    """Show a median with the least and the greatest value, with so many digits each."""
    return lambda spread: (
        f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f} to {spread.high:,.{digits}f})"
    )


# What is compared comes first. "core" is the share of its core that the balancer used: below 1 it was not the
# one that held up the traffic, and its requests a second are then no measure of it.
COLUMNS = (
    Column("cpu_us", "CPU µs/request", with_range(1)),
    Column("kib", "KiB/connection", with_range(1)),
    Column("mib_cpu", "MiB/CPU s", with_range(0)),
    Column("mib_cpu_down", "to client", plain(0)),
    Column("mib_cpu_up", "to backend", plain(0)),
    Column("mib_second", "MiB/s", plain(0)),
    Column("p99_ratio", "p99 with ÷ without", with_range(2)),
    Column("p99_with_us", "p99 ms with", plain(2, 1000)),
    Column("p99_without_us", "p99 ms without", plain(2, 1000)),
    Column("p50_with_us", "p50 ms with", plain(2, 1000)),
    Column("p50_without_us", "p50 ms without", plain(2, 1000)),
    Column("slow_open", "slow open", plain(0)),
    Column("slow_cut", "slow cut", plain(0)),
    Column("handshake_us", "CPU µs/handshake", with_range(0)),
    Column("resumed", "% resumed", plain(1)),
    Column("start_s", "s to first answer", with_range(2)),
    Column("start_one_s", "with 1 name", plain(2)),
    Column("name_ratio", "last ÷ first name", with_range(2)),
    Column("first_us", "CPU µs/handshake, first", plain(0)),
    Column("last_us", "last", plain(0)),
    Column("kib_name", "KiB/name", with_range(1)),
    Column("per_second", "requests/s", plain(0)),
    Column("p50_us", "p50 ms", plain(2, 1000)),
    Column("p99_us", "p99 ms", plain(2, 1000)),
    Column("core", "core", plain(2)),
)


def machine() -> dict[str, str | int]:
    """Describe where the figures come from, as far as it matters for them."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return {
        "processor": model,
        "cores": cores,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def text_report(run: Run, where: Mapping[str, str | int]) -> str:
    """Return the whole report as text."""
    parts = [heading(run, where)]
    for scenario in (*SCENARIOS, *TLS_SCENARIOS):
        summaries = [summary for summary in run.summaries if summary.scenario == scenario.name]
        if summaries:
            parts.append(scenario_table(scenario, summaries))
    parts.append("\n".join(["Goals", *map(verdict_line, run.verdicts)]))
    return "\n\n".join(parts) + "\n"


def heading(run: Run, where: Mapping[str, str | int]) -> str:
    """Say when, where, how and what was measured, and what was not."""
    lines = [
        f"lbproxy bench, {run.date}: {run.rounds} × {run.seconds} s in turns, medians (least to greatest)",
        ", ".join(f"{name} {value}" for name, value in where.items()),
        "Measured: " + ", ".join(f"{name} {version}" for name, version in run.versions.items()),
    ]
    lines += [run.note] if run.note else []
    lines += [f"Left out: {name}: {why}" for name, why in run.missing.items()]
    return "\n".join(lines)


def scenario_table(scenario: Scenario, summaries: Sequence[Summary]) -> str:
    """Return one scenario's table, with why anything is missing in it below."""
    lines = [f"{scenario.name}: {scenario.what}", *aligned(table_rows(scenario, summaries))]
    lines += [
        f"  ! {summary.balancer}, {in_one_line(problem)}"
        for summary in summaries
        for problem in summary.problems
    ]
    return "\n".join(lines)


def in_one_line(problem: str) -> str:
    """Return the first and the last line of a problem (a log says most at its end); the JSON has it all."""
    lines = problem.splitlines()
    return f"{lines[0]} … {lines[-1].strip()}" if len(lines) > 1 else problem


def table_rows(scenario: Scenario, summaries: Sequence[Summary]) -> list[list[str]]:
    """Return the cells of a table, its heading first; a balancer without a valid reading has dashes."""
    present = {name for summary in summaries for name in summary.values}
    columns = [column for column in COLUMNS if column.value in present]
    ratios = [scenario.compared] if scenario.reference and scenario.compared in present else []
    headings = ["balancer", *(column.heading for column in columns)]
    rows = [headings[:2] + [f"× {scenario.reference}" for _ in ratios] + headings[2:]]
    reference = next((summary for summary in summaries if summary.balancer == scenario.reference), None)
    for summary in summaries:
        cells = [column.show(summary.values[column.value]) if summary.values else "–" for column in columns]
        rows.append(
            [summary.balancer, *cells[:1], *(ratio(summary, reference, name) for name in ratios), *cells[1:]]
        )
    return rows


def ratio(summary: Summary, reference: Summary | None, name: str) -> str:
    """Return how many times the reference's value this one is, or a dash where either is missing."""
    if reference is None or name not in summary.values or name not in reference.values:
        return "–"
    divisor = reference.values[name].median
    return f"{summary.values[name].median / divisor:.2f}" if divisor else "–"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, the first column to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def json_report(run: Run, where: Mapping[str, str | int]) -> str:
    """Return everything that was measured, as JSON: each reading, the medians and the goals."""
    goals = [{**asdict(verdict), "reached": verdict.reached} for verdict in run.verdicts]
    return (
        json.dumps({"machine": where, **asdict(run), "verdicts": goals}, indent=1, ensure_ascii=False) + "\n"
    )
