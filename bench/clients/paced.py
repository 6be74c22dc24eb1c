"""A normal client: small GETs on a few kept-alive connections at a fixed pace; prints the latencies' p50 and p99 as JSON.

wrk sends as fast as it can, and would measure a full balancer instead of an undisturbed one.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.clients.bounds import client_parser, end_in_time
from bench.connecting import HOST
from bench.idle import LONGEST_ANSWER, ask

# Seconds between two requests on one connection.
PACE = 0.02


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least of ``values`` that so many percent of them do not exceed (nearest rank).

    :raises ValueError: when there are none.
    """
    if not values:
        raise ValueError("no values")
    rank = -int(-len(values) * percent // 100)
    return sorted(values)[max(rank, 1) - 1]


def latencies(
    ask_once: Callable[[], None],
    start: float,
    seconds: float,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Ask every :data:`PACE` seconds from ``start`` on; return how long each answer took.

    A request that is due while the one before is still unanswered is sent late, and its time counts from when
    it was due: otherwise one long stall would count once, where a client at its own pace meets it many times.
    """
    took = []
    due = start
    while due < start + seconds and now() < start + seconds + LONGEST_ANSWER:
        early = due - now()
        if early > 0:
            sleep(early)
        began = now() if early > 0 else due
        ask_once()
        took.append(now() - began)
        due += PACE
    return took


class Asker:
    """Asks on one connection, and on the next one when the server ends it after an answer."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self.port = port
        self.connect()

    def connect(self) -> None:
        """Open a connection."""
        self.connection = socket.create_connection((HOST, self.port), LONGEST_ANSWER)

    def __call__(self) -> None:
        """Send a request and read its answer; OSError where none comes, or not a good one."""
        head = ask(self.connection).partition(b"\r\n\r\n")[0]
        if b"\r\nconnection: close" in head.lower():
            self.close()
            self.connect()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def run(port: int, connections: int, seconds: float) -> dict[str, float]:
    """Ask on all connections, out of step with each other; return ``requests``, ``p50_us`` and ``p99_us``."""
    askers = [Asker(port) for _ in range(connections)]
    start = time.monotonic()
    starts = [start + number * PACE / connections for number in range(connections)]
    try:
        with ThreadPoolExecutor(connections) as pool:
            lists = pool.map(lambda asker, start: latencies(asker, start, seconds), askers, starts)
            took = [latency for one in lists for latency in one]
    finally:
        for asker in askers:
            asker.close()
    return {
        "requests": float(len(took)),
        "p50_us": percentile(took, 50) * 1e6,
        "p99_us": percentile(took, 99) * 1e6,
    }


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = client_parser()
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    end_in_time(options.seconds)
    try:
        print(json.dumps(run(options.port, options.connections, options.seconds)))
    except OSError as error:
        print(f"did not answer a normal client: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
