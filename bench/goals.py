"""What lbproxy is to reach, as data, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.turns import Summary


@dataclass(frozen=True)
class Figure:
    """The median of one value of one balancer in one scenario."""

    balancer: str
    scenario: str
    value: str = "cpu_us"


@dataclass(frozen=True)
class Goal:
    """A figure that must be at most ``limit`` times another, or, without another, ``limit`` in its unit.

    :ivar at_least: it must be no less instead of no more.
    """

    what: str
    figure: Figure
    limit: float
    against: Figure | None = None
    at_least: bool = False


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured.

    :ivar measured: the ratio or figure; None when the run did not measure what the goal compares.
    """

    goal: Goal
    measured: float | None

    @property
    def reached(self) -> bool | None:
        """Say whether the goal was reached; None when it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.goal.limit if self.goal.at_least else self.measured <= self.goal.limit


GOALS = (
    Goal("CPU a small request, × Envoy", Figure("lbproxy", "small"), 0.85, Figure("envoy", "small")),
    Goal("CPU a small request, × Caddy", Figure("lbproxy", "small"), 0.5, Figure("caddy", "small")),
    Goal("CPU a small request with --config, × Envoy", Figure("lbproxy-config", "small"), 0.85, Figure("envoy", "small")),
    Goal("CPU a small request with --config, × Caddy", Figure("lbproxy-config", "small"), 0.5, Figure("caddy", "small")),
    Goal(
        "CPU a small request through the resource, × Site + Agent",
        Figure("lbproxy-resource", "small"),
        0.5,
        Figure("site-agent", "small"),
    ),
    Goal("CPU a small request with two-choices, × Envoy", Figure("lbproxy", "two-choices"), 0.85, Figure("envoy", "two-choices")),
    Goal("CPU a small request with two-choices, × Caddy", Figure("lbproxy", "two-choices"), 0.5, Figure("caddy", "two-choices")),
    Goal("CPU a 1 MiB body, × nginx", Figure("lbproxy", "body"), 1.3, Figure("nginx", "body")),
    Goal("KiB an idle kept-alive connection", Figure("lbproxy", "idle", "kib"), 6.0),
    Goal(
        "CPU with 1,000 backends, × 3 backends",
        Figure("lbproxy", "pool-1000"),
        1.1,
        Figure("lbproxy", "small"),
    ),
    Goal(
        "MiB a CPU second through tunnels, × Caddy",
        Figure("lbproxy", "tunnel", "mib_cpu"),
        1.0,
        Figure("caddy", "tunnel", "mib_cpu"),
        at_least=True,
    ),
    Goal("p99 beside 2,000 slow connections, × without", Figure("lbproxy", "slow", "p99_ratio"), 2.0),
)


TLS_GOALS = (
    # Python's share of a request is what it is without TLS, and a session on the socket itself adds little to it, as it does
    # in Envoy: whoever comes from there is not to pay more. Go's own TLS costs Caddy more than OpenSSL costs others.
    Goal("CPU a small request over TLS, × Envoy", Figure("lbproxy", "tls"), 1.0, Figure("envoy", "tls")),
    Goal("CPU a small request over TLS, × Caddy", Figure("lbproxy", "tls"), 0.6, Figure("caddy", "tls")),
    # A full handshake is mostly the signature, a library's work in both: what is Python's must stay less than half of it.
    Goal(
        "CPU a full handshake, × nginx",
        Figure("lbproxy", "tls-full", "handshake_us"),
        1.5,
        Figure("nginx", "tls-full", "handshake_us"),
    ),
    # Without a signature there is less beside which Python's share is small.
    Goal(
        "CPU a resumed session, × nginx",
        Figure("lbproxy", "tls-resumed", "handshake_us"),
        2.0,
        Figure("nginx", "tls-resumed", "handshake_us"),
    ),
    # Encrypting costs both the same; a call for each record of 16 KiB costs more here.
    Goal("CPU a MiB of body over TLS, × nginx", Figure("lbproxy", "tls-body"), 2.0, Figure("nginx", "tls-body")),
    # As many names as a hosting service has in one place: a restart is to be over before clients give up connecting.
    Goal("s from start to the first answer with 1,000 certificates", Figure("lbproxy", "tls-names", "start_s"), 5.0),
    # A name is looked up in one dict; the tenth above is for what caches and a noisy machine make of it.
    Goal("CPU a handshake for the thousandth name, × the first", Figure("lbproxy", "tls-names", "name_ratio"), 1.1),
)


def judge(summaries: Iterable[Summary], goals: Sequence[Goal] = GOALS) -> list[Verdict]:
    """Compare the medians of a run with the goals."""
    medians = {
        Figure(summary.balancer, summary.scenario, name): spread.median
        for summary in summaries
        for name, spread in summary.values.items()
    }
    return [Verdict(goal, measured(goal, medians)) for goal in goals]


def measured(goal: Goal, medians: dict[Figure, float]) -> float | None:
    """Return the figure that the goal limits, a ratio where it is one; None when the run has it not."""
    figure = medians.get(goal.figure)
    if figure is None or goal.against is None:
        return figure
    against = medians.get(goal.against)
    return figure / against if against else None


def verdict_line(verdict: Verdict) -> str:
    """Return a line such as ``reached   CPU a 1 MiB body, × nginx: 1.21 (at most 1.3)``."""
    word = {True: "reached", False: "MISSED", None: "not measured"}[verdict.reached]
    figure = "" if verdict.measured is None else f"{verdict.measured:.2f} "
    bound = "at least" if verdict.goal.at_least else "at most"
    return f"{word:<13} {verdict.goal.what}: {figure}({bound} {verdict.goal.limit:g})"
