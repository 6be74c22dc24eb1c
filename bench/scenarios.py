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
    :ivar access_log: whether the balancer writes one.
    :ivar idle: connections to hold open; 0 means: measure a load.
    :ivar least_seconds: a window shorter than this would mislead.
    :ivar least_bytes: of each response; fewer are an error.
    """

    name: str
    what: str
    backends: int = 3
    path: str = "/"
    connections: int = 64
    access_log: bool = False
    idle: int = 0
    least_seconds: int = 0
    least_bytes: int = 0


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
    Scenario("log", "small GETs with an access log written to a file", access_log=True),
    Scenario("idle", "5,000 idle kept-alive connections", idle=5000),
    Scenario("pool-100", "small GETs, 100 backends", backends=100, least_seconds=HEALTH_INTERVAL),
    Scenario("pool-1000", "small GETs, 1,000 backends", backends=1000, least_seconds=HEALTH_INTERVAL),
)
