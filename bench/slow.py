"""A normal client's latency, alone and beside many slow ones."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from bench.balancers import Order
from bench.clients.paced import Asker
from bench.cpu import cpu_seconds
from bench.processes import BETWEEN_TRIES, Cores, Invalid, run_client, running, tail
from bench.scenarios import Scenario

SOCKETS = Path("/proc/net/tcp")
ESTABLISHED, NO_INODE = "01", "0"

# Seconds of the normal client before its first window.
WARM_UP = 1

# Seconds for all slow clients to connect, after which it goes on with those that are.
LONGEST_OPENING = 15.0

# What so many requests for large responses set going (a balancer reads them, and may write them to files) has come to
# rest when so many answers in a row, so far apart, took no longer than so much. Given up after the longest time: one
# that never comes to rest is measured as it is. Seconds.
CALM_ANSWERS, BETWEEN_ANSWERS, CALM, LONGEST_REST = 20, 0.1, 0.05, 15.0

# Seconds that the slow clients live beyond all this, should nobody stop them.
TO_SPARE = 30


def read_slow(
    name: str, pid: int, order: Order, scenario: Scenario, cores: Cores, seconds: int
) -> dict[str, float]:
    """Measure the normal client for so many seconds alone, then beside the slow ones; return the values."""
    connections = scenario.connections
    pace(name, order.port, connections, WARM_UP)
    without = pace(name, order.port, connections, seconds)
    with slow_clients(order, scenario.slow, cores.others, seconds) as log:
        open_before, used = accepted(order.port), cpu_seconds(pid)
        beside = pace(name, order.port, connections, seconds)
        used = cpu_seconds(pid) - used
        open_then = min(open_before, accepted(order.port))
        return slow_values(without, beside, open_then, last_counts(log)["cut"], used / seconds)


def pace(name: str, port: int, connections: int, seconds: int) -> Mapping[str, float]:
    """Run the normal client."""
    options = [f"--port={port}", f"--connections={connections}", f"--seconds={seconds}"]
    values: Mapping[str, float] = run_client(name, "paced", options, seconds)
    return values


def slow_values(
    without: Mapping[str, float], beside: Mapping[str, float], slow_open: int, cut: int, core: float
) -> dict[str, float]:
    """Return what a reading holds.

    :raises Invalid: when no slow client was connected, so that nothing was compared.
    """
    if not slow_open:
        raise Invalid("no slow connection was open")
    return {
        "p99_ratio": beside["p99_us"] / without["p99_us"],
        "p99_without_us": without["p99_us"],
        "p99_with_us": beside["p99_us"],
        "p50_without_us": without["p50_us"],
        "p50_with_us": beside["p50_us"],
        "slow_open": float(slow_open),
        "slow_cut": float(cut),
        "core": core,
    }


@contextmanager
def slow_clients(order: Order, count: int, cores: frozenset[int], seconds: int) -> Iterator[Path]:
    """Run the slow clients for a ``with`` block, which begins when they are connected; gives their log."""
    log = order.directory / "slow.log"
    lifetime = LONGEST_OPENING + LONGEST_REST + seconds + TO_SPARE
    options = [f"--port={order.port}", f"--connections={count}", f"--seconds={lifetime}"]
    with running([sys.executable, "-m", "bench.clients.slow", *options], log, cores) as process:
        wait_until_open(process, log, count)
        try:
            with closing(Asker(order.port)) as asker:
                wait_until_calm(asker)
        except OSError as error:
            raise Invalid(f"beside slow connections a normal client got no answer: {error}") from None
        yield log
        if process.poll() is not None:
            raise Invalid(f"the slow clients ended too early:\n{tail(log)}")


def wait_until_open(process: subprocess.Popen[bytes], log: Path, count: int) -> None:
    """Return once all slow clients were connected at once, or after :data:`LONGEST_OPENING`."""
    deadline = time.monotonic() + LONGEST_OPENING
    while time.monotonic() < deadline and last_counts(log)["open"] < count:
        if process.poll() is not None:
            raise Invalid(f"the slow clients ended:\n{tail(log)}")
        time.sleep(BETWEEN_TRIES)


def wait_until_calm(
    ask_once: Callable[[], None],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once a normal client is answered quickly again and again, or after :data:`LONGEST_REST`."""
    deadline = now() + LONGEST_REST
    calm = 0
    while calm < CALM_ANSWERS and now() < deadline:
        sleep(BETWEEN_ANSWERS)
        began = now()
        ask_once()
        calm = calm + 1 if now() - began <= CALM else 0


def last_counts(log: Path) -> Mapping[str, int]:
    """Return the counts that the slow clients told last."""
    return parse_counts(log.read_text())


def parse_counts(text: str) -> Mapping[str, int]:
    """Read the last whole line; before there is one nobody is connected."""
    lines = [line for line in text.rpartition("\n")[0].splitlines() if line.startswith("{")]
    counts: Mapping[str, int] = json.loads(lines[-1]) if lines else {"open": 0, "cut": 0}
    return counts


def accepted(port: int) -> int:
    """Return how many connections a server on this port has accepted and both sides hold open."""
    return parse_accepted(SOCKETS.read_text(), port)


def parse_accepted(text: str, port: int) -> int:
    """Count them in ``/proc/net/tcp``: established, and with an inode, which a connection gets when accepted.

    The clients' own count would include those that wait in the kernel's queue and cost the balancer nothing.
    """
    count = 0
    for line in text.splitlines()[1:]:
        fields = line.split()
        local = int(fields[1].rpartition(":")[2], 16)
        count += local == port and fields[3] == ESTABLISHED and fields[9] != NO_INODE
    return count
