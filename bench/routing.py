"""``python -m bench routing``: what routes cost, by their number: a request in a process of its own, and a look-up in memory."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bench.backends import running_backends
from bench.balancers.python import ENVIRONMENT
from bench.connecting import HOST
from bench.cpu import cpu_seconds
from bench.load import run_load
from bench.processes import (
    Cores,
    FreePorts,
    Invalid,
    find_program,
    raise_file_limit,
    running,
    split_cores,
    wait_until_answers,
)
from bench.report import aligned, machine
from lbproxy.http1.head import RequestHead
from lbproxy.proxy.client import Client
from lbproxy.routing.model import Match, Route
from lbproxy.routing.table import RouteTable

# A request of one of so many hosts, of which each has so many routes, may cost so much times one of a single route.
HOSTS, ROUTES_A_HOST, GOAL = 1000, 10, 1.2

# By number of hosts: none is without routes, one has one route for everything.
TABLES = {0: "no routes", 1: "1 route", HOSTS: f"{HOSTS * ROUTES_A_HOST:,} routes"}

LOOK_UPS, BATCHES = 20_000, 7
CONNECTIONS, BACKENDS, WARM_UP = 64, 3, 1

# The load: a request to each host in turn, each time to another of its routes. The same for every table.
SCRIPT = f"""\
local requests, count = {{}}, 0
init = function(arguments)
  for host = 0, {HOSTS - 1} do
    local path = "/r" .. host % {ROUTES_A_HOST} .. "/items/7?page=2"
    requests[host + 1] = wrk.format("GET", path, {{Host = "h" .. host .. ".example"}})
  end
end
request = function()
  count = count % #requests + 1
  return requests[count]
end
"""


def routes_of(hosts: int) -> list[Route]:
    """Return ten routes for each of so many hosts, and one by which a server shows that it is there; for one host, one route for
    everything."""
    if hosts <= 1:
        return [Route(name="all", pool="default")] * hosts
    ready = Route(name="ready", match=Match(path="/"), pool="default")
    return [ready] + [
        Route(name=f"{host} {number}", match=Match(host=f"h{host}.example", path_prefix=f"/r{number}"), pool="default")
        for host in range(hosts)
        for number in range(ROUTES_A_HOST)
    ]


def requests_of(hosts: int) -> list[RequestHead]:
    """Return a request to each of so many hosts, each to another route."""
    made = []
    for host in range(hosts):
        name = b"h%d.example" % host
        target = b"/r%d/items/7?page=2" % (host % ROUTES_A_HOST)
        head = RequestHead(b"GET", target, 1, b"Host: %b\r\n" % name, {b"host": name})
        head.host = name
        made.append(head)
    return made


def look_up_cost(hosts: int, batches: int = BATCHES, look_ups: int = LOOK_UPS) -> float:
    """Return the CPU µs of one look-up: the best of some batches."""
    table, client = RouteTable(routes_of(hosts)), Client("192.0.2.1", False, b"")
    requests = requests_of(HOSTS)
    assert all(table.find(head, client) is not None for head in requests)
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(batches):
            begin = time.thread_time()
            for number in range(look_ups):
                table.find(requests[number % HOSTS], client)
            best = min(best, time.thread_time() - begin)
    finally:
        gc.enable()
    return best / look_ups * 1e6


def request_cost(hosts: int, backends: Sequence[str], port: int, directory: Path, cores: Cores, seconds: int) -> float:
    """Return the CPU µs of one request through a process that has so many hosts' routes."""
    command = [sys.executable, "-m", "bench.servers.routed", f"--port={port}", f"--hosts={hosts}", *backends]
    log, script = directory / "output.log", directory / "requests.lua"
    script.write_text(SCRIPT)
    with running(command, log, cores.balancer, ENVIRONMENT) as process:
        wait_until_answers(process, port, log)
        url = f"http://{HOST}:{port}/"
        run_load(url, CONNECTIONS, WARM_UP, script=script)
        before = cpu_seconds(process.pid)
        load = run_load(url, CONNECTIONS, seconds, script=script)
        used = cpu_seconds(process.pid) - before
    if load.errors or not load.requests:
        raise Invalid(f"{TABLES[hosts]}: of {load.requests} requests: {', '.join(load.errors)}")
    return used / load.requests * 1e6


def measure_requests(rounds: int, seconds: int) -> dict[int, list[float]]:
    """Return what a request costs, in µs, by number of hosts: the tables take turns, one figure a round."""
    cores = split_cores(frozenset(os.sched_getaffinity(0)))
    os.sched_setaffinity(0, cores.others)
    raise_file_limit()
    ports = FreePorts()
    costs: dict[int, list[float]] = {hosts: [] for hosts in TABLES}
    with tempfile.TemporaryDirectory(prefix="lbproxy-bench-") as name:
        directory = Path(name)
        with running_backends(ports.take(BACKENDS), directory, cores.others) as backends:
            for number in range(rounds):
                for hosts in TABLES:
                    (port,) = ports.take(1)
                    addresses = backends.addresses(BACKENDS)
                    costs[hosts].append(request_cost(hosts, addresses, port, directory, cores, seconds))
                print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return costs


def ratio(costs: Mapping[int, Sequence[float]]) -> float:
    """Return what a request of many routes costs as a multiple of one of a single route: the median of the rounds', in each of
    which both were measured one after the other."""
    return median(many / one for many, one in zip(costs[HOSTS], costs[1], strict=True))


def table(look_ups: Mapping[int, float], costs: Mapping[int, Sequence[float]]) -> str:
    """Return the figures as lines."""
    rows = [["", "µs a look-up", "µs a request"]]
    for hosts, name in TABLES.items():
        look_up = f"{look_ups[hosts]:.2f}" if hosts in look_ups else ""
        rows.append([name, look_up, f"{median(costs[hosts]):.1f}" if costs else ""])
    lines = aligned(rows)
    if costs:
        multiple = ratio(costs)
        lines.append(f"many routes: {multiple:.2f} × one (goal ≤ {GOAL}){' !' if multiple > GOAL else ''}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measure; return the exit status: 1 for a goal missed with --check-goals, 2 where nothing can be measured."""
    parser = argparse.ArgumentParser("python -m bench routing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each table; 0: look-ups in memory alone; default: 5")
    parser.add_argument("--seconds", type=int, default=3, help="window of each measurement; default: 3")
    parser.add_argument("--check-goals", action="store_true", help="exit status 1 unless the goal is reached")
    options = parser.parse_args(arguments)
    missing = [name for name in ("wrk", "nginx") if options.rounds and find_program(name) is None]
    if missing:
        print(f"bench: not on the PATH: {', '.join(missing)} (--rounds 0 measures without)", file=sys.stderr)
        return 2
    where = machine()
    look_ups = {hosts: look_up_cost(hosts) for hosts in TABLES if hosts}
    try:
        costs = measure_requests(options.rounds, options.seconds) if options.rounds else {}
    except Invalid as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    print(table(look_ups, costs))
    return int(bool(options.check_goals and costs and ratio(costs) > GOAL))
