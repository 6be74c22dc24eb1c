"""Who is compared, and starting lbproxy with so many workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.balancers import Balancer, Launch, Order
from bench.balancers.classic import HAPROXY, NGINX
from bench.balancers.envoy import ENVOY
from bench.balancers.go import CADDY, TRAEFIK
from bench.balancers.python import LBPROXY, launch_lbproxy
from bench.processes import Cores, FreePorts, running, wait_until_answers
from bench.scenarios import Scenario

# Everything is on the same cores: as many as there are workers.
SHARED = Scenario(
    "shared", "small GETs kept alive, 64 connections, 3 backends; balancer, load and backends on the same cores", servers_only=True
)

# What others call a worker.
RIVALS = {
    NGINX: "worker processes",
    HAPROXY: "threads",
    ENVOY: "workers",
    TRAEFIK: "GOMAXPROCS",
    CADDY: "GOMAXPROCS",
}


def entrants(workers: int) -> tuple[Balancer, ...]:
    """Return lbproxy with one worker and with so many, and the others with so many."""
    ours = [with_workers(LBPROXY, count, ours_with(count), "workers") for count in (1, workers)]
    return (*ours, *(with_workers(rival, workers, rival.name, words) for rival, words in RIVALS.items()))


def ours_with(workers: int) -> str:
    """Return how lbproxy with so many workers is named."""
    return f"lbproxy-{workers}"


def with_workers(balancer: Balancer, workers: int, name: str, words: str) -> Balancer:
    """Return the same balancer with so many."""

    def launch(order: Order) -> Launch:
        return balancer.launch(replace(order, workers=workers))

    return replace(balancer, name=name, what=f"{balancer.name}, {words}: {workers}", launch=launch)


@dataclass(frozen=True)
class Running:
    """An lbproxy that answers.

    :ivar pid: of its first process, the supervisor where there are workers.
    """

    pid: int
    port: int
    admin_port: int
    log: Path


@contextmanager
def running_lbproxy(
    workers: int, backends: Sequence[str], ports: FreePorts, directory: Path, cores: Cores, *options: str, **environment: str
) -> Iterator[Running]:
    """Run one for the length of a ``with`` block.

    :param options: further ones of ``twistd lbproxy``.
    :param environment: what it has beyond ours and beyond what finds this checkout.
    :raises Invalid: it does not answer.
    """
    port, admin_port = ports.take(2)
    launch = launch_lbproxy(Order(port, admin_port, backends, directory, workers=workers))
    log = directory / f"lbproxy-{port}.log"
    command = [*launch.command, *options]
    with running(command, log, cores.balancer, {**launch.environment, **environment}) as process:
        wait_until_answers(process, port, log)
        yield Running(process.pid, port, admin_port, log)
