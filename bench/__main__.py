"""``python -m bench``: see ``--help``."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from bench.backends import running_backends
from bench.certificates import Tls
from bench.chart import draw_chart
from bench.command_line import Request, parse
from bench.goals import judge
from bench.measure import Reading, Setting, measure
from bench.policies import main as measure_policies
from bench.processes import FreePorts, find_program, raise_file_limit, split_cores
from bench.report import Run, json_report, machine, text_report
from bench.routing import main as measure_routing
from bench.soak.command import main as soak
from bench.suites import TLS, Suite
from bench.turns import plan, summarise, take_turns
from bench.workers.command import main as measure_workers

# Without these nothing can be measured: program, what for, Debian package.
NEEDED = (("wrk", "to make the load", "wrk"), ("nginx", "to serve as the backend", "nginx"))

# Open files a balancer needs for the idle or slow connections, as many connections to backends, and itself.
FILES_A_CONNECTION, FILES_TO_SPARE = 2, 2000

OK, GOALS_MISSED, CANNOT_RUN, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; return the exit status."""
    if arguments and arguments[0] == "policies":
        return measure_policies(arguments[1:])
    if arguments and arguments[0] == "routing":
        return measure_routing(arguments[1:])
    if arguments and arguments[0] == "workers":
        return measure_workers(arguments[1:])
    if arguments and arguments[0] == "soak":
        return soak(arguments[1:])
    request = parse(arguments)
    if request.list_only:
        print(listing(request.suite))
        return OK
    missing = {balancer.name: why for balancer in request.balancers if (why := balancer.missing())}
    complaint = why_not(request, missing)
    if complaint:
        print(f"bench: {complaint}", file=sys.stderr)
        return CANNOT_RUN
    for name, why in missing.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return run(request, missing)
    except KeyboardInterrupt:
        print("\nbench: interrupted; all servers were stopped, no results written", file=sys.stderr)
        return INTERRUPTED


def interrupt(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C: the servers are to be stopped in both cases."""
    raise KeyboardInterrupt


def listing(suite: Suite) -> str:
    """Name what can be measured."""
    lines = ["balancers:"]
    for balancer in suite.balancers:
        why = balancer.missing()
        lines.append(
            f"  {balancer.name:<17} {balancer.what}; {f'not here: {why}' if why else balancer.version()}"
        )
    return "\n".join(
        [*lines, "scenarios:", *(f"  {scenario.name:<17} {scenario.what}" for scenario in suite.scenarios)]
    )


def why_not(request: Request, missing: Mapping[str, str]) -> str:
    """Say all that stands against measuring what is asked; empty when nothing does."""
    reasons = [
        f"{program} is needed {purpose} and is not on the PATH (Debian package: {package})"
        for program, purpose, package in NEEDED
        if find_program(program) is None
    ]
    if len(missing) == len(request.balancers):
        reasons.append(
            "none of the balancers is here: " + "; ".join(f"{name}: {why}" for name, why in missing.items())
        )
    wanted = FILES_A_CONNECTION * max(scenario.held for scenario in request.scenarios) + FILES_TO_SPARE
    allowed = raise_file_limit()
    if allowed < wanted:
        reasons.append(f"the limit of open files is {allowed}; these scenarios need {wanted} (ulimit -Hn)")
    return "; ".join(reasons)


def run(request: Request, missing: Mapping[str, str]) -> int:
    """Measure, then write table, JSON and chart."""
    balancers = [balancer for balancer in request.balancers if balancer.name not in missing]
    where = machine()
    readings = measure_all(request, missing)
    summaries = summarise(readings)
    results = Run(
        date=time.strftime("%Y-%m-%d %H:%M"),
        rounds=request.rounds,
        seconds=request.seconds,
        versions={balancer.name: balancer.version() for balancer in balancers},
        missing=missing,
        readings=readings,
        summaries=summaries,
        verdicts=judge(summaries, request.suite.goals),
        note=tls_of(request, Path()).note() if request.suite is TLS else "",
    )
    write_results(results, where, request)
    reached = all(verdict.reached for verdict in results.verdicts)
    return GOALS_MISSED if request.check_goals and not reached else OK


def measure_all(request: Request, missing: Mapping[str, str]) -> list[Reading]:
    """Run the backends and take every turn; all but the balancer stays off the balancer's core."""
    cores = split_cores(frozenset(os.sched_getaffinity(0)))
    if cores.balancer == cores.others:
        print(
            "only one core: balancer, load and backends share it, and latencies mean little", file=sys.stderr
        )
    os.sched_setaffinity(0, cores.others)
    balancers = [balancer for balancer in request.balancers if balancer.name not in missing]
    turns = plan(balancers, request.scenarios, request.rounds)
    ports = FreePorts()
    backend_ports = ports.take(max(scenario.backends for scenario in request.scenarios))
    with (
        tempfile.TemporaryDirectory(prefix="lbproxy-bench-") as directory,
        running_backends(backend_ports, Path(directory), cores.others) as backends,
    ):
        setting = Setting(backends, ports, cores, request.seconds, tls_of(request, Path(directory)))
        return take_turns(
            turns, lambda turn: measure(turn.balancer, turn.scenario, turn.round, setting), sys.stderr
        )


def tls_of(request: Request, directory: Path) -> Tls:
    """Return what a run with TLS needs; nothing is written before it is used."""
    return Tls(directory, request.key_type, request.names_key_type)


def write_results(results: Run, where: Mapping[str, str | int], request: Request) -> None:
    """Print the table, and leave it beside the JSON and the chart."""
    request.out.mkdir(parents=True, exist_ok=True)
    text = text_report(results, where)
    (request.out / "table.txt").write_text(text)
    (request.out / "results.json").write_text(json_report(results, where))
    print(f"\n{text}\nwritten to {request.out}: table.txt, results.json", end="")
    title = f"On one core each, lower is better unless said: medians of {results.rounds} × {results.seconds} s, in turns"
    charts = [request.out / "chart.png", *([request.suite.chart] if request.publish else [])]
    try:
        for chart in charts:
            draw_chart(results.summaries, f"{title}\n{results.note}".rstrip(), chart)
    except ModuleNotFoundError as error:
        print(f"\nno chart: {error} (PyPI: matplotlib)")
    else:
        print(f", {', '.join(chart.name for chart in charts)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
