"""``python -m bench soak``: see ``--help``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.command_line import whole_number
from bench.processes import CHECKOUT, Invalid
from bench.report import aligned, machine
from bench.soak.engine import Schedule, Soak, Story
from bench.soak.samples import level_rows

RESULTS = CHECKOUT / "bench" / "results" / "soak"
CHART = CHECKOUT / "docs" / "soak.png"
MOST_SECONDS = 24 * 3600

DESCRIPTION = """\
Have several workers carry a modest mixed load (kept-alive GETs, uploads, downloads, WebSockets' tunnels, clients that
connect anew each time), reload the configuration and kill a worker now and then. It is passed if nothing failed but what
killed workers had in hand, as /status says, and if memory of each process in the last third of the time is within 8 MiB
or 10 % of the first third's after warming up. Exit status: 0 passed, 1 not passed, 2 it did not start."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m bench soak", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, seconds = parser.add_argument, whole_number(MOST_SECONDS)
    add("--seconds", type=seconds, default=600, help="default: 600")
    add("--workers", type=whole_number(64), default=2, help="default: 2")
    add("--warm-up", type=seconds, help="seconds for which memory is not looked at; default: a tenth of --seconds")
    add("--reload-every", type=float, default=10, help="seconds between two reloads; 0: none; default: 10")
    add("--kill-every", type=float, default=60, help="seconds between two kill -9 of the last worker; 0: none; default: 60")
    add("--out", type=Path, default=RESULTS, help=f"where the results go; default: {RESULTS.relative_to(CHECKOUT)}")
    add("--publish", action="store_true", help=f"also put the chart at {CHART.relative_to(CHECKOUT)}")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Soak; return the exit status."""
    options = parse(arguments)
    warm_up = options.warm_up or options.seconds / 10
    schedule = Schedule(options.seconds, options.workers, warm_up, options.reload_every, options.kill_every)
    with tempfile.TemporaryDirectory(prefix="lbproxy-soak-", ignore_cleanup_errors=True) as name:
        try:
            story = Soak(schedule, Path(name), lambda line: print(line, file=sys.stderr)).run()
        except Invalid as error:
            print(f"bench: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\nbench: interrupted; all servers were stopped, no results written", file=sys.stderr)
            return 130
    write(story, options)
    return int(bool(story.problems))


def text(story: Story, where: dict[str, Any]) -> str:
    """Return the whole report."""
    schedule = story.schedule
    answered = ", ".join(f"{kind} {count:,}" for kind, count in sorted(story.answered.items()))
    lost = ", ".join(f"{name} {count}" for name, count in story.lost.items())
    lines = [
        f"lbproxy bench soak, {time.strftime('%Y-%m-%d %H:%M')}: {schedule.seconds:g} s, {schedule.workers} workers",
        ", ".join(f"{name} {value}" for name, value in where.items()),
        f"answered: {answered}",
        f"{len(story.kills)} workers killed, {story.reloads} reloads; {story.failed} requests failed; /status: lost {lost or '–'}",
        "",
        *aligned(level_rows(story.samples, schedule.warm_up, schedule.seconds)),
        "",
        *(f"NOT PASSED: {problem}" for problem in story.problems),
    ]
    return "\n".join(lines if story.problems else [*lines, "passed"]) + "\n"


def write(story: Story, options: argparse.Namespace) -> None:
    """Print the report, and leave it beside the JSON and the chart."""
    where = machine()
    told = text(story, where)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.txt").write_text(told)
    values = {"machine": where, **asdict(story)}
    (options.out / "results.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{told}\nwritten to {options.out}: table.txt, results.json", end="")
    try:
        for chart in (options.out / "chart.png", *([CHART] if options.publish else [])):
            draw(story, chart)
        print(", chart.png")
    except ModuleNotFoundError as error:
        print(f"\nno chart: {error} (PyPI: matplotlib)")


def draw(story: Story, path: Path) -> None:
    """Write a PNG of each process's memory over the time. Needs matplotlib."""
    # Imported here, and its object interface, as in bench.chart.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in sorted({sample.name for sample in story.samples}):
        those = [sample for sample in story.samples if sample.name == name]
        (line,) = axes.plot([one.when for one in those], [one.rss / 1024 for one in those], label=f"{name}, RSS")
        pss = [one.pss / 1024 for one in those]
        axes.plot([one.when for one in those], pss, linestyle=":", color=line.get_color(), label=f"{name}, PSS")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("MiB")
    axes.set_title(f"{len(story.kills)} workers killed, {story.reloads} reloads, {sum(story.answered.values()):,} answers")
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
