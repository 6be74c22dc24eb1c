"""One measurement: start a balancer, load it, read what it cost, stop it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.backends import Backends
from bench.balancers import Balancer, Order
from bench.certificates import NAME, Tls
from bench.connecting import HOST
from bench.cpu import cpu_seconds, private_kib
from bench.handshakes import read_handshakes, read_names
from bench.idle import check_still_open, idle_connections, settled
from bench.load import Load, run_load
from bench.processes import Cores, FreePorts, Invalid, running, wait_until_answers
from bench.scenarios import Scenario
from bench.slow import read_slow
from bench.tunnels import read_tunnel, tunnel_backend

# Seconds of load before the window: connections are made, caches filled, Go's and Envoy's memory grown.
WARM_UP = 1

# A pool counts as warm when each backend has had this many requests; given up after so many warm-ups.
REQUESTS_A_BACKEND = 4
MOST_WARM_UPS = 10

# wrk prints how much it read with three figures only.
READ_TOLERANCE = 0.98

# The share of a window's requests that an access log must show, after the balancer has ended.
LOGGED_SHARE = 0.95


@dataclass(frozen=True)
class Reading:
    """What one measurement gave.

    :ivar values: by name; see :data:`bench.report.COLUMNS`.
    :ivar problem: why it must not be used; empty when it may.
    """

    balancer: str
    scenario: str
    round: int
    values: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Setting:
    """What all measurements of a run have in common.

    :ivar seconds: the window, where a scenario needs no longer one.
    :ivar tls: certificates and what clients need, for scenarios with TLS.
    """

    backends: Backends
    ports: FreePorts
    cores: Cores
    seconds: int
    tls: Tls

    def tls_of(self, scenario: Scenario) -> Tls | None:
        """Return what clients need; None where they do not speak TLS."""
        return self.tls if scenario.tls else None


def measure(balancer: Balancer, scenario: Scenario, number: int, setting: Setting) -> Reading:
    """Measure once.

    What goes wrong is in the reading, not raised: one broken entrant must not end the comparison.
    """
    with tempfile.TemporaryDirectory(prefix="lbproxy-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        port, admin_port = setting.ports.take(2)
        access_log = directory / "access.log" if scenario.access_log else None
        try:
            with backends_for(balancer, scenario, setting, directory) as backends:
                tls = setting.tls_of(scenario)
                certificate = tls.certificate if tls else None
                upgrades = bool(scenario.tunnels)
                order = Order(port, admin_port, backends, directory, access_log, scenario.policy, upgrades, certificate)
                values = run_and_read(balancer, order, scenario, setting)
            if access_log is not None:
                check_access_log(access_log, values)
        except Invalid as error:
            return Reading(balancer.name, scenario.name, number, problem=str(error))
    return Reading(balancer.name, scenario.name, number, values)


@contextmanager
def backends_for(
    balancer: Balancer, scenario: Scenario, setting: Setting, directory: Path
) -> Iterator[Sequence[str]]:
    """Give the HOST:PORT of each backend for a ``with`` block: those of the run, or one that can switch protocols."""
    if scenario.tunnels:
        (port,) = setting.ports.take(1)
        with tunnel_backend(port, directory / "tunnel_backend.log", setting.cores.others) as address:
            yield [address]
    else:
        yield setting.backends.addresses(1 if balancer.one_backend else scenario.backends)


def run_and_read(balancer: Balancer, order: Order, scenario: Scenario, setting: Setting) -> dict[str, float]:
    """Run the balancer for as long as the scenario takes; return its values."""
    tls = setting.tls_of(scenario)
    if tls and scenario.names:
        return read_names(balancer, order, tls, scenario.names, setting.cores, setting.seconds)
    launch = balancer.launch(order)
    log = order.directory / "output.log"
    with running(launch.command, log, setting.cores.balancer, launch.environment) as process:
        wait_until_answers(process, order.port, log, tls.secure() if tls else None)
        return read(balancer.name, process.pid, order, scenario, setting)


def read(name: str, pid: int, order: Order, scenario: Scenario, setting: Setting) -> dict[str, float]:
    """Measure the balancer, which runs, as the scenario says; return its values."""
    seconds = max(setting.seconds, scenario.least_seconds)
    tls = setting.tls_of(scenario)
    if scenario.idle:
        return read_idle(pid, order.port, scenario, tls)
    if scenario.tunnels:
        return read_tunnel(name, pid, order, scenario.tunnels, seconds)
    if scenario.slow:
        return read_slow(name, pid, order, scenario, setting.cores, seconds)
    if tls and scenario.handshakes:
        return read_handshakes(name, pid, order.port, tls, scenario.handshakes == "resumed", seconds)
    return read_load(pid, order, scenario, seconds, tls)


def read_load(pid: int, order: Order, scenario: Scenario, seconds: int, tls: Tls | None) -> dict[str, float]:
    """Warm up, then read the CPU time before and after one run of wrk."""
    warm_up(order.port, scenario, len(order.backends), tls)
    before = cpu_seconds(pid)
    load = send(order.port, scenario, seconds, tls)
    used = cpu_seconds(pid) - before
    check_load(load, scenario)
    return {
        "cpu_us": used * 1e6 / load.requests,
        "per_second": load.requests / load.seconds,
        "p50_us": load.p50,
        "p99_us": load.p99,
        "core": used / load.seconds,
        "requests": float(load.requests),
    }


def send(port: int, scenario: Scenario, seconds: int, tls: Tls | None) -> Load:
    """Run wrk as the scenario says."""
    origin = f"https://{NAME}:{port}" if tls else f"http://{HOST}:{port}"
    return run_load(origin + scenario.path, scenario.connections, seconds, tls.environment if tls else None)


def warm_up(port: int, scenario: Scenario, backends: int, tls: Tls | None) -> None:
    """Load without measuring until every backend has been asked several times."""
    done = 0
    for _ in range(MOST_WARM_UPS):
        done += send(port, scenario, WARM_UP, tls).requests
        if done >= REQUESTS_A_BACKEND * backends:
            return
    raise Invalid(f"only {done} requests in {MOST_WARM_UPS * WARM_UP} s of warming up {backends} backends")


def check_load(load: Load, scenario: Scenario) -> None:
    """Refuse a run in which anything but whole, good answers came."""
    if load.errors:
        raise Invalid(f"of {load.requests} requests: {', '.join(load.errors)}")
    if not load.requests:
        raise Invalid("no request was answered")
    if load.read / load.requests < scenario.least_bytes * READ_TOLERANCE:
        raise Invalid(
            f"{load.read / load.requests:.0f} bytes a response where {scenario.least_bytes} were due"
        )


def check_access_log(path: Path, values: Mapping[str, float]) -> None:
    """Refuse figures "with an access log" when none was written."""
    # Twisted's own log goes on in a new file with every megabyte.
    lines = sum(part.read_bytes().count(b"\n") for part in path.parent.glob(f"{path.name}*"))
    if lines < values["requests"] * LOGGED_SHARE:
        raise Invalid(f"the access log has {lines} lines, for {values['requests']:.0f} requests")


def read_idle(pid: int, port: int, scenario: Scenario, tls: Tls | None) -> dict[str, float]:
    """Read the private memory before and after many connections were opened."""
    warm_up(port, scenario, scenario.backends, tls)
    before = settled(lambda: private_kib(pid))
    with idle_connections(port, scenario.idle, tls.secure() if tls else None) as sockets:
        after = settled(lambda: private_kib(pid))
        check_still_open(sockets)
    return {"kib": (after - before) / scenario.idle, "connections": float(scenario.idle)}
