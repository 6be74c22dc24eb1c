"""The results of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.scenarios import SCENARIOS, TLS_SCENARIOS
from bench.turns import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches; colours that are told apart in print and by colour-blind readers too.
WIDTH, PANEL_HEIGHT, PANELS_A_ROW = 11.0, 3.2, 2
OURS, THEIRS = "#d95f02", "#8da0cb"

UNITS = {
    "cpu_us": "CPU µs a request",
    "kib": "KiB a connection",
    "handshake_us": "CPU µs a connection",
    "mib_cpu": "MiB a CPU second (higher is better)",
    "p99_ratio": "p99 with slow connections, × without",
}
MORE_IS_BETTER = frozenset(("mib_cpu",))


def draw_chart(summaries: Sequence[Summary], title: str, path: Path) -> None:
    """Write a PNG with a panel a scenario: a bar a balancer, the best on top. Needs matplotlib."""
    # Imported here, so that a machine without matplotlib still measures; its object interface, so that no
    # display and no global state is involved.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = panels_of(summaries)
    rows = -(-len(panels) // PANELS_A_ROW)
    figure = Figure(figsize=(WIDTH, PANEL_HEIGHT * max(rows, 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for place, (name, heading, bars) in enumerate(panels, 1):
        draw_panel(figure.add_subplot(rows, PANELS_A_ROW, place), heading, UNITS[name], bars)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def panels_of(summaries: Sequence[Summary]) -> list[tuple[str, str, list[Summary]]]:
    """Return a panel a scenario with results: the value it compares, its heading, its bars, sorted.

    There is none where nobody is compared.
    """
    panels = []
    for scenario in (*SCENARIOS, *TLS_SCENARIOS):
        name = scenario.compared
        bars = [summary for summary in summaries if summary.scenario == scenario.name and summary.values]
        if bars and not scenario.alone:
            bars.sort(key=lambda summary: summary.values[name].median, reverse=name in MORE_IS_BETTER)
            panels.append((name, f"{scenario.name}: {scenario.what}", bars))
    return panels


def draw_panel(axes: Axes, heading: str, unit: str, bars: Sequence[Summary]) -> None:
    """Draw one panel, each bar with its figure and a line from the least to the greatest value."""
    name = next(key for key, words in UNITS.items() if words == unit)
    spreads = [summary.values[name] for summary in bars]
    medians = [spread.median for spread in spreads]
    errors = [
        [spread.median - spread.low for spread in spreads],
        [spread.high - spread.median for spread in spreads],
    ]
    colours = [OURS if summary.balancer.startswith("lbproxy") else THEIRS for summary in bars]
    places = range(len(bars))
    axes.barh(places, medians, color=colours, xerr=errors, ecolor="#555555", error_kw={"elinewidth": 0.8})
    axes.set_yticks(places, [summary.balancer for summary in bars])
    axes.invert_yaxis()
    for place, spread in enumerate(spreads):
        axes.annotate(
            f"{spread.median:,.1f}" if spread.median < 100 else f"{spread.median:,.0f}",
            (max(spread.high, 0.0), place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_title(heading, fontsize=9, loc="left")
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
