"""What can be asked of ``python -m bench``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.balancers import Balancer
from bench.certificates import KEY_TYPES
from bench.processes import CHECKOUT
from bench.scenarios import Scenario
from bench.suites import PLAIN, TLS, Suite

# Beyond these a run would take days, or a window hold too few clock ticks.
MOST_ROUNDS, MOST_SECONDS = 100, 60

STATUSES = """
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
    """What the operator asked for.

    :ivar key_type: of the certificate that balancers share, one of :data:`bench.certificates.KEY_TYPES`.
    :ivar names_key_type: of each one where there are many.
    """

    suite: Suite
    balancers: tuple[Balancer, ...]
    scenarios: tuple[Scenario, ...]
    rounds: int
    seconds: int
    out: Path
    publish: bool
    check_goals: bool
    list_only: bool
    key_type: str
    names_key_type: str


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


def make_parser(suite: Suite) -> argparse.ArgumentParser:
    """Make the parser; its errors end the program with exit status 2."""
    parser = argparse.ArgumentParser(
        f"python -m bench {suite.command}".rstrip(),
        description=suite.description,
        epilog=suite.epilog + STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--only",
        metavar="NAMES",
        type=names_of(suite.balancers),
        help="balancers to measure, with commas; default: all",
    )
    add(
        "--scenario",
        metavar="NAMES",
        type=names_of(suite.scenarios),
        help="scenarios, with commas; default: all",
    )
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
        default=suite.results,
        help=f"where the results go; default: {suite.results.relative_to(CHECKOUT)}",
    )
    add("--publish", action="store_true", help=f"also put the chart at {suite.chart.relative_to(CHECKOUT)}")
    add("--check-goals", action="store_true", help="exit status 1 unless every goal was measured and reached")
    add(
        "--list",
        action="store_true",
        help="name balancers (and whether they are here) and scenarios, then stop",
    )
    parser.set_defaults(key_type="rsa", names_key_type="ecdsa")
    if suite is TLS:
        add_key_types(parser)
    return parser


def add_key_types(parser: argparse.ArgumentParser) -> None:
    """Have a parser ask which kind of key certificates have."""
    add = parser.add_argument
    add("--key-type", choices=KEY_TYPES, help="key of the certificate that all show; default: rsa")
    add("--names-key-type", choices=KEY_TYPES, help="keys in tls-names; default: ecdsa (1,000 of RSA take a minute)")


def parse(arguments: Sequence[str]) -> Request:
    """Read the command line."""
    suite = TLS if arguments and arguments[0] == TLS.command else PLAIN
    options = make_parser(suite).parse_args(arguments[1:] if suite is TLS else arguments)
    return Request(
        suite=suite,
        balancers=options.only or suite.balancers,
        scenarios=options.scenario or suite.scenarios,
        rounds=options.rounds or (1 if options.quick else 5),
        seconds=options.seconds or (1 if options.quick else 3),
        out=options.out,
        publish=options.publish,
        check_goals=options.check_goals,
        list_only=options.list,
        key_type=options.key_type,
        names_key_type=options.names_key_type,
    )
