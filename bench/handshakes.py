"""What it costs a balancer to shake hands: in full, with a session resumed, and with many names to choose from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.balancers import Balancer, Order
from bench.certificates import NAME, Tls, numbered_name
from bench.cpu import cpu_seconds, private_kib
from bench.idle import settled
from bench.processes import Cores, Invalid, run_client, running, wait_until_answers

# Seconds of handshakes before they are measured.
WARM_UP = 1

# At once: as many as keep a balancer busy where its client has a single core as well.
CONNECTIONS = 8

# The least share of connections that must have been resumed where that is measured: each of those that are open at once
# begins with a full one.
LEAST_RESUMED = 0.9


@dataclass(frozen=True)
class Shaken:
    """What came of a window: connections, how many were resumed, seconds it took, CPU seconds of the balancer."""

    handshakes: float
    resumed: float
    seconds: float
    cpu: float

    @property
    def each_us(self) -> float:
        """CPU time a connection, in µs.

        :raises Invalid: when there were none, or their CPU time was too little to be counted.
        """
        if self.handshakes <= 0 or self.cpu <= 0:
            raise Invalid(f"{self.handshakes:.0f} handshakes, for {self.cpu} CPU seconds")
        return self.cpu * 1e6 / self.handshakes


def read_handshakes(name: str, pid: int, port: int, tls: Tls, resume: bool, seconds: int) -> dict[str, float]:
    """Open connections for so many seconds; return the values."""
    shake(name, port, tls, NAME, WARM_UP, resume)
    used = cpu_seconds(pid)
    result = shake(name, port, tls, NAME, seconds, resume)
    used = cpu_seconds(pid) - used
    return handshake_values(result, used, resume)


def shake(name: str, port: int, tls: Tls, host: str, seconds: int, resume: bool = False) -> Mapping[str, float]:
    """Run the client."""
    options = [f"--port={port}", f"--name={host}", f"--connections={CONNECTIONS}", f"--seconds={seconds}"]
    result: Mapping[str, float] = run_client(
        name, "handshakes", [*options, *(["--resume"] if resume else [])], seconds, tls.environment
    )
    return result


def handshake_values(result: Mapping[str, float], cpu: float, resume: bool) -> dict[str, float]:
    """Return what a reading holds.

    :raises Invalid: when sessions were not resumed that were to be, or the other way round.
    """
    shaken = Shaken(result["handshakes"], result["resumed"], result["seconds"], cpu)
    each = shaken.each_us
    share = shaken.resumed / shaken.handshakes
    if share < LEAST_RESUMED if resume else share > 0:
        raise Invalid(f"of {shaken.handshakes:.0f} connections {share:.1%} were resumed")
    return {
        "handshake_us": each,
        "per_second": shaken.handshakes / shaken.seconds,
        "resumed": share * 100,
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
        "core": cpu / shaken.seconds,
    }


@dataclass(frozen=True)
class Started:
    """A balancer that answers: its process, and seconds from its start to its first answer."""

    pid: int
    seconds: float


@contextmanager
def started(balancer: Balancer, order: Order, tls: Tls, certificates: Path, cores: Cores) -> Iterator[Started]:
    """Run a balancer with a folder of certificates for a ``with`` block, which begins when it has answered."""
    launch = balancer.launch(replace(order, certificate=certificates))
    log = order.directory / "output.log"
    began = time.monotonic()
    with running(launch.command, log, cores.balancer, launch.environment) as process:
        wait_until_answers(process, order.port, log, tls.secure(numbered_name(1)))
        yield Started(process.pid, time.monotonic() - began)


def read_names(balancer: Balancer, order: Order, tls: Tls, names: int, cores: Cores, seconds: int) -> dict[str, float]:
    """Run a balancer with one certificate, then with many; return the values."""
    folders = tls.named(1), tls.named(names)
    with started(balancer, order, tls, folders[0], cores) as one:
        kib_one = settled(lambda: private_kib(one.pid))
    with started(balancer, order, tls, folders[1], cores) as many:
        kib_many = settled(lambda: private_kib(many.pid))
        first, last = first_and_last(balancer.name, many.pid, order.port, tls, names, seconds)
    return {
        "start_s": many.seconds,
        "start_one_s": one.seconds,
        "name_ratio": last / first,
        "first_us": first,
        "last_us": last,
        "kib_name": (kib_many - kib_one) / (names - 1),
    }


def first_and_last(name: str, pid: int, port: int, tls: Tls, names: int, seconds: int) -> tuple[float, float]:
    """Return the CPU µs of a full handshake for the first name and for the last.

    Measured in the order first, last, last, first, so that what changes in the meantime changes both alike.
    """
    hosts = [numbered_name(1), numbered_name(names)]
    windows: dict[str, list[Shaken]] = {host: [] for host in hosts}
    shake(name, port, tls, hosts[0], WARM_UP)
    for host in (*hosts, *reversed(hosts)):
        used = cpu_seconds(pid)
        result = shake(name, port, tls, host, seconds)
        windows[host].append(
            Shaken(result["handshakes"], result["resumed"], result["seconds"], cpu_seconds(pid) - used)
        )
    first, last = (together(windows[host]).each_us for host in hosts)
    return first, last


def together(windows: list[Shaken]) -> Shaken:
    """Return several windows as one."""
    return Shaken(
        sum(window.handshakes for window in windows),
        sum(window.resumed for window in windows),
        sum(window.seconds for window in windows),
        sum(window.cpu for window in windows),
    )
