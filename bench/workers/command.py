"""``python -m bench workers``: see ``--help``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bench.backends import Backends, running_backends
from bench.balancers import Balancer
from bench.certificates import Tls
from bench.command_line import MOST_ROUNDS, MOST_SECONDS, names_of, whole_number
from bench.measure import Setting, measure
from bench.processes import CHECKOUT, Cores, FreePorts, Invalid, find_program, raise_file_limit
from bench.report import machine
from bench.turns import plan, take_turns
from bench.workers.entrants import SHARED, entrants, running_lbproxy
from bench.workers.memory import measure_memory
from bench.workers.report import Found, as_values, draw, goals, text
from bench.workers.spread import measure_spread
from bench.workers.verdicts import WANTED, measure_verdicts

RESULTS = CHECKOUT / "bench" / "results" / "workers"
CHART = CHECKOUT / "docs" / "workers.png"

DESCRIPTION = """\
Measure what several workers cost and bring. load: CPU time a request (user and system of all processes of the
balancer) of lbproxy with one worker and with several, and requests a second beside nginx, HAProxy, Envoy,
Traefik and Caddy with as many; load generator and backends are on the same cores. spread: how evenly the kernel
spreads connections over the workers. verdicts: how long what one worker learns from traffic takes until all
others go by it. memory: what each process has, idle and after a load."""

BACKENDS = 3

# Files that are open at once beside the connections of the widest part.
FILES = 8000


@dataclass(frozen=True)
class Named:
    """A part, to be chosen by its name."""

    name: str


PARTS = tuple(map(Named, ("load", "spread", "verdicts", "memory")))


@dataclass(frozen=True)
class Workshop:
    """What all parts have in common."""

    options: argparse.Namespace
    backends: Backends
    ports: FreePorts
    cores: Cores
    directory: Path

    @property
    def addresses(self) -> list[str]:
        """The backends'."""
        return self.backends.addresses(BACKENDS)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m bench workers", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    cores = len(os.sched_getaffinity(0))
    add("--workers", type=whole_number(64), default=2, help="workers, and cores for all together; default: 2")
    add("--part", type=names_of(PARTS), default=PARTS, metavar="NAMES", help="with commas; default: load,spread,verdicts,memory")
    add("--only", metavar="NAMES", help="balancers of the part load, with commas; default: all that are here")
    add("--rounds", type=whole_number(MOST_ROUNDS), default=5, help="turns of each; default: 5")
    add("--seconds", type=whole_number(MOST_SECONDS), default=5, help="window of each measurement of a load; default: 5")
    add("--verdicts", type=whole_number(100_000), default=WANTED, help=f"at least so many; default: {WANTED}")
    add("--out", type=Path, default=RESULTS, help=f"where the results go; default: {RESULTS.relative_to(CHECKOUT)}")
    add("--publish", action="store_true", help=f"also put the chart at {CHART.relative_to(CHECKOUT)}")
    add("--check-goals", action="store_true", help="exit status 1 unless every goal was measured and met")
    options = parser.parse_args(arguments)
    if options.workers < 2:
        parser.error("--workers: several are measured beside one; at least 2")
    if options.workers > cores:
        print(f"only {cores} cores for {options.workers} workers", file=sys.stderr)
    try:
        options.only = names_of(entrants(options.workers))(options.only) if options.only else entrants(options.workers)
    except argparse.ArgumentTypeError as error:
        parser.error(f"--only: {error}")
    return options


def main(arguments: Sequence[str]) -> int:
    """Measure; return the exit status: 1 for a goal missed with --check-goals, 2 where nothing can be measured."""
    options = parse(arguments)
    missing = [name for name in ("wrk", "nginx") if find_program(name) is None]
    if missing:
        print(f"bench: not on the PATH: {', '.join(missing)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    raise_file_limit()
    try:
        found = measure_all(options)
    except KeyboardInterrupt:
        print("\nbench: interrupted; all servers were stopped, no results written", file=sys.stderr)
        return 130
    write(found, options)
    return int(options.check_goals and not all(goal.met for goal in goals(found)))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def workshop(options: argparse.Namespace) -> Iterator[Workshop]:
    """Run the backends for the length of a ``with`` block; all is on as many cores as there are workers."""
    shared = frozenset(sorted(os.sched_getaffinity(0))[: options.workers])
    os.sched_setaffinity(0, shared)
    ports = FreePorts()
    with tempfile.TemporaryDirectory(prefix="lbproxy-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with running_backends(ports.take(BACKENDS), directory, shared) as backends:
            yield Workshop(options, backends, ports, Cores(shared, shared), directory)


def measure_all(options: argparse.Namespace) -> Found:
    """Measure the parts that are asked for; what goes wrong with one is said, and does not end the others."""
    found = Found(options.workers)
    chosen = {part.name for part in options.part}
    parts: dict[str, Callable[[Workshop, Found], None]] = {
        "load": _load,
        "spread": _spread,
        "verdicts": _verdicts,
        "memory": _memory,
    }
    with workshop(options) as shop:
        for name, part in parts.items():
            if name in chosen:
                print(f"{name} …", file=sys.stderr)
                try:
                    part(shop, found)
                except (Invalid, OSError) as error:
                    found.problems.append(f"{name}: {error}")
    return found


def _load(shop: Workshop, found: Found) -> None:
    options = shop.options
    for balancer in options.only:
        if why := balancer.missing():
            found.problems.append(f"left out: {balancer.name}: {why}")
    here: list[Balancer] = [balancer for balancer in options.only if not balancer.missing()]
    setting = Setting(shop.backends, shop.ports, shop.cores, options.seconds, Tls(shop.directory, "rsa", "ecdsa"))
    turns = plan(here, [SHARED], options.rounds)
    found.readings = take_turns(turns, lambda turn: measure(turn.balancer, turn.scenario, turn.round, setting), sys.stderr)


def _spread(shop: Workshop, found: Found) -> None:
    with running_lbproxy(shop.options.workers, shop.addresses, shop.ports, shop.directory, shop.cores) as balancer:
        found.shares = measure_spread(balancer, shop.options.rounds)


def _verdicts(shop: Workshop, found: Found) -> None:
    workers, wanted = shop.options.workers, shop.options.verdicts
    found.verdicts = measure_verdicts(workers, shop.addresses, shop.ports, shop.directory, shop.cores, wanted)


def _memory(shop: Workshop, found: Found) -> None:
    for workers in (1, shop.options.workers):
        found.held[workers] = [
            measure_memory(workers, shop.addresses, shop.ports, shop.directory, shop.cores, shop.options.seconds)
            for _ in range(shop.options.rounds)
        ]


def write(found: Found, options: argparse.Namespace) -> None:
    """Print the tables, and leave them beside the JSON and the chart."""
    where = machine()
    window = f"{options.rounds} × {options.seconds} s"
    heading = [
        f"lbproxy bench workers, {time.strftime('%Y-%m-%d %H:%M')}: {window} in turns, medians (least to greatest)",
        ", ".join(f"{name} {value}" for name, value in where.items()),
        "Measured: " + ", ".join(f"{one.name} {one.version()}" for one in options.only if not one.missing()),
    ]
    told = text(found, heading)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.txt").write_text(told)
    values = {"machine": where, "rounds": options.rounds, "seconds": options.seconds, **as_values(found)}
    (options.out / "results.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{told}\nwritten to {options.out}: table.txt, results.json", end="")
    title = f"{found.workers} workers on {found.workers} cores with load and backends: medians of {window}, in turns"
    try:
        for chart in (options.out / "chart.png", *([CHART] if options.publish else [])):
            draw(found, title, chart)
        print(", chart.png")
    except ModuleNotFoundError as error:
        print(f"\nno chart: {error} (PyPI: matplotlib)")
