"""How evenly connections spread over workers, beside how evenly a fair die would spread them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random
from statistics import mean, median, quantiles

from bench.idle import check_still_open, idle_connections
from bench.processes import Invalid
from bench.workers.entrants import Running
from bench.workers.looking import admin_status, connections_of

# Connections at once, and how many times each number is opened anew in a round.
COUNTS, OPENINGS = (64, 256, 1000), 4

# Seconds until all connections are counted, or are gone.
LONGEST_SETTLING, BETWEEN_LOOKS = 10.0, 0.05

# Throws of the die.
THROWS = 1000


def share_of_busiest(connections: Sequence[int]) -> float:
    """Return the share that the busiest worker has, in percent; 100 / workers is the best there can be."""
    return 100 * max(connections) / sum(connections)


def by_chance(connections: int, workers: int, throws: int = THROWS) -> tuple[float, float]:
    """Return the same for connections of which each goes to any worker by chance: the mean, and what 95 % of the throws stay
    below."""
    random = Random(connections * 1000 + workers)
    shares = []
    for _ in range(throws):
        counts = [0] * workers
        for _ in range(connections):
            counts[random.randrange(workers)] += 1
        shares.append(share_of_busiest(counts))
    return mean(shares), quantiles(shares, n=20)[-1]


def measure_spread(balancer: Running, rounds: int) -> dict[int, list[float]]:
    """Return the busiest worker's share at each opening, by number of connections."""
    shares: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(rounds * OPENINGS):
        for count in COUNTS:
            with idle_connections(balancer.port, count) as sockets:
                counts = settled_at(balancer, count)
                check_still_open(sockets)
            shares[count].append(share_of_busiest(counts))
            settled_at(balancer, 0)
    return shares


def settled_at(balancer: Running, count: int) -> list[int]:
    """Return how many connections each worker has once it is so many in all."""
    deadline = time.monotonic() + LONGEST_SETTLING
    while True:
        counts = connections_of(balancer.pid, balancer.port, admin_status(balancer.admin_port))
        if sum(counts) == count:
            return counts
        if time.monotonic() > deadline:
            raise Invalid(f"of {count} connections {sum(counts)} are counted: {counts}")
        time.sleep(BETWEEN_LOOKS)


def spread_rows(shares: dict[int, list[float]], workers: int) -> list[list[str]]:
    """Return the cells of a table, its heading first."""
    rows = [["connections", "busiest worker", "least", "most", "by chance, mean", "95 % below", "openings"]]
    for count, found in shares.items():
        average, high = by_chance(count, workers)
        figures = (median(found), min(found), max(found), average, high)
        rows.append([f"{count:,}", *(f"{figure:.1f} %" for figure in figures), str(len(found))])
    return rows
