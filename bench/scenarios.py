"""What is measured: each scenario as a value."""

from __future__ import annotations

from dataclasses import dataclass

from bench.backends import LARGE_BODY_BYTES, LARGE_BODY_PATH

# Seconds between two health checks of one backend, the same for every balancer that has any.
HEALTH_INTERVAL = 5


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    :ivar backends: how many the balancer spreads over.
    :ivar connections: kept-alive client connections that wrk uses.
    :ivar policy: how backends are chosen, in lbproxy's words; others stay with their round robin.
    :ivar access_log: whether the balancer writes one.
    :ivar idle: connections to hold open; 0 means: measure a load.
    :ivar tunnels: WebSockets to move bytes through at once; 0 means: none.
    :ivar slow: slow connections beside which a normal client is measured; 0 means: none.
    :ivar tls: whether clients speak TLS.
    :ivar handshakes: which kind is measured, "full" or "resumed"; empty: none, connections are kept alive.
    :ivar names: how many certificates the balancer chooses from; 0 means: there is one.
    :ivar least_seconds: a window shorter than this would mislead.
    :ivar least_bytes: of each response; fewer are an error.
    :ivar compared: the value that tables and charts compare; see :data:`bench.report.COLUMNS`.
    :ivar reference: the balancer whose value others are shown as multiples of; empty for none.
    :ivar servers_only: only balancers that are servers of their own take part.
    :ivar alone: only this balancer takes part; empty for all.
    """

    name: str
    what: str
    backends: int = 3
    path: str = "/"
    connections: int = 64
    policy: str = ""
    access_log: bool = False
    idle: int = 0
    tunnels: int = 0
    slow: int = 0
    tls: bool = False
    handshakes: str = ""
    names: int = 0
    least_seconds: int = 0
    least_bytes: int = 0
    compared: str = "cpu_us"
    reference: str = "lbproxy"
    servers_only: bool = False
    alone: str = ""

    @property
    def held(self) -> int:
        """Return how many connections are held open beside a load."""
        return max(self.idle, self.slow)


# lbproxy gives a request head 10 s: in a window of that length everyone who drips has been cut once.
HEAD_TIMEOUT = 10

# A large pool's health checks are a cost of its own: the window must hold a whole round of them, be they
# spread or not.
SCENARIOS = (
    Scenario("small", "small GETs kept alive, 64 connections, 3 backends"),
    Scenario(
        "body",
        "1 MiB bodies, 8 connections, 3 backends",
        path=LARGE_BODY_PATH,
        connections=8,
        least_bytes=LARGE_BODY_BYTES,
    ),
    Scenario("two-choices", "small GETs, lbproxy with --policy two-choices", policy="two-choices", servers_only=True),
    Scenario("log", "small GETs with an access log written to a file", access_log=True),
    Scenario("idle", "5,000 idle kept-alive connections", idle=5000, compared="kib"),
    Scenario("pool-100", "small GETs, 100 backends", backends=100, least_seconds=HEALTH_INTERVAL),
    Scenario("pool-1000", "small GETs, 1,000 backends", backends=1000, least_seconds=HEALTH_INTERVAL),
    Scenario(
        "tunnel",
        "bulk data through 4 WebSockets, to the client and then to the backend",
        backends=1,
        tunnels=4,
        compared="mib_cpu",
        reference="caddy",
        servers_only=True,
    ),
    Scenario(
        "slow",
        "8 clients at 50 requests a second each, without and with 2,000 slow connections",
        connections=8,
        slow=2000,
        least_seconds=HEAD_TIMEOUT,
        compared="p99_ratio",
        reference="",
        servers_only=True,
    ),
)

# A window begins with a handshake for each connection, about a millisecond each. The rest of it is to make that little:
# with 64 of them it is one or two in a hundred of a window of this length. Seconds.
HANDSHAKES_FADE = 5

# What ``python -m bench tls`` measures.
TLS_SCENARIOS = (
    Scenario(
        "tls",
        "small GETs over TLS kept alive, 64 connections, 3 backends",
        tls=True,
        least_seconds=HANDSHAKES_FADE,
        servers_only=True,
    ),
    Scenario(
        "tls-full",
        "a full handshake and one small GET a connection, 8 at once",
        tls=True,
        handshakes="full",
        compared="handshake_us",
        servers_only=True,
    ),
    Scenario(
        "tls-resumed",
        "a resumed session and one small GET a connection, 8 at once",
        tls=True,
        handshakes="resumed",
        compared="handshake_us",
        servers_only=True,
    ),
    Scenario(
        "tls-body",
        "1 MiB bodies over TLS, 8 connections, 3 backends",
        path=LARGE_BODY_PATH,
        connections=8,
        least_bytes=LARGE_BODY_BYTES,
        tls=True,
        servers_only=True,
    ),
    Scenario("tls-idle", "5,000 idle kept-alive connections over TLS", idle=5000, tls=True, compared="kib", servers_only=True),
    Scenario(
        "tls-names",
        "1,000 certificates: from start to the first answer, and a full handshake for the last name",
        tls=True,
        names=1000,
        compared="start_s",
        reference="",
        servers_only=True,
        alone="lbproxy",
    ),
)
