"""How many bytes a balancer moves through tunnels for a CPU second."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.balancers import Order
from bench.clients.tunnel import DOWN, UP
from bench.connecting import HOST
from bench.cpu import cpu_seconds
from bench.processes import Invalid, run_client, running, wait_until_answers
from bench.servers.tunnel_backend import RECEIVED

MIB = 1024 * 1024

# Seconds in each direction before it is measured: sockets' buffers grow to what they stay at.
WARM_UP = 1


@dataclass(frozen=True)
class Moved:
    """What went through in one direction: bytes that arrived, seconds it took, CPU seconds of the balancer."""

    bytes: float
    seconds: float
    cpu: float


@contextmanager
def tunnel_backend(port: int, log: Path, cores: frozenset[int]) -> Iterator[str]:
    """Run a backend that accepts WebSockets for a ``with`` block; gives its HOST:PORT."""
    command = [sys.executable, "-m", "bench.servers.tunnel_backend", f"--port={port}"]
    with running(command, log, cores) as process:
        wait_until_answers(process, port, log)
        yield f"{HOST}:{port}"


def read_tunnel(name: str, pid: int, order: Order, tunnels: int, seconds: int) -> dict[str, float]:
    """Move bytes in each direction for so many seconds; return the values.

    :raises Invalid: beginning with ``name``, where the balancer does not tunnel.
    """
    for path in (DOWN, UP):
        move(name, order, path, tunnels, WARM_UP)
    return tunnel_values(*(move_measured(name, pid, order, path, tunnels, seconds) for path in (DOWN, UP)))


def move_measured(name: str, pid: int, order: Order, path: str, tunnels: int, seconds: int) -> Moved:
    """Move bytes in one direction, and read the CPU time and the bytes that arrived before and after."""
    received, used = received_by(order.backends[0]), cpu_seconds(pid)
    result = move(name, order, path, tunnels, seconds)
    used = cpu_seconds(pid) - used
    arrived = result["bytes"] if path == DOWN else received_by(order.backends[0]) - received
    return Moved(arrived, result["seconds"], used)


def move(name: str, order: Order, path: str, tunnels: int, seconds: int) -> Mapping[str, float]:
    """Run the client; return its ``bytes`` and ``seconds``."""
    options = [f"--port={order.port}", f"--path={path}", f"--tunnels={tunnels}", f"--seconds={seconds}"]
    moved: Mapping[str, float] = run_client(name, "tunnel", options, seconds)
    return moved


def received_by(backend: str) -> int:
    """Ask the backend itself, not through the balancer, how many bytes have come."""
    connection = http.client.HTTPConnection(backend, timeout=10)
    try:
        connection.request("GET", RECEIVED)
        return int(connection.getresponse().read())
    except (OSError, http.client.HTTPException) as error:
        raise Invalid(f"the tunnels' backend did not tell what it received: {error}") from None
    finally:
        connection.close()


def tunnel_values(down: Moved, up: Moved) -> dict[str, float]:
    """Return what a reading holds; "down" is towards the client, and the main figure counts both ways.

    :raises Invalid: when a direction moved nothing, or its CPU time was too little to be counted.
    """
    for moved, where in ((down, "to the client"), (up, "to the backend")):
        if moved.bytes <= 0 or moved.cpu <= 0:
            raise Invalid(f"{where}: {moved.bytes:.0f} bytes arrived, for {moved.cpu} CPU seconds")
    total = Moved(down.bytes + up.bytes, down.seconds + up.seconds, down.cpu + up.cpu)
    return {
        "mib_cpu": total.bytes / MIB / total.cpu,
        "mib_cpu_down": down.bytes / MIB / down.cpu,
        "mib_cpu_up": up.bytes / MIB / up.cpu,
        "mib_second": total.bytes / MIB / total.seconds,
        "core": total.cpu / total.seconds,
    }
