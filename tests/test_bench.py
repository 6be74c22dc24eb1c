"""The benchmark reads, compares and reports rightly; measuring itself is tried by running it."""

# mypy: allow-untyped-calls

from __future__ import annotations

import io
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from bench.balancers import BALANCERS, Order
from bench.balancers.base import first_version
from bench.balancers.envoy import envoy_listener
from bench.balancers.python import launch_lbproxy, launch_script
from bench.chart import UNITS, panels_of
from bench.clients import paced, slow
from bench.clients.bounds import MOST_SECONDS, TO_SPARE, end_in_time
from bench.clients.paced import PACE, latencies, percentile
from bench.clients.slow import SlowClients
from bench.clients.tunnel import DOWN, UP, look_up_often, move, move_all, receive, send
from bench.command_line import choose, parse
from bench.connecting import HOST
from bench.cpu import ProcessTimes, parse_private_kib, parse_stat, tree_below
from bench.goals import GOALS, Figure, Goal, Verdict, judge, verdict_line
from bench.handshake import NotSwitched, accept_value, check_answer, upgrade_request
from bench.idle import LONGEST_ANSWER
from bench.load import parse_errors, parse_report
from bench.measure import Reading, check_load
from bench.processes import FIRST_PORT, LAST_PORT, Invalid, run_client, split_cores
from bench.report import COLUMNS, Run, aligned, json_report, scenario_table, text_report
from bench.scenarios import SCENARIOS
from bench.servers.tunnel_backend import Backend
from bench.slow import (
    BETWEEN_ANSWERS,
    CALM_ANSWERS,
    LONGEST_REST,
    parse_accepted,
    parse_counts,
    slow_values,
    wait_until_calm,
)
from bench.tunnels import Moved, received_by, tunnel_values
from bench.turns import IN_SHORT, Spread, Summary, in_short, plan, spread, summarise, take_turns, time_left

WRK = """\
Running 3s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.94ms  310.21us  12.06ms   91.17%
    Req/Sec    33.10k     1.20k   35.01k    76.67%
  Latency Distribution
     50%  {p50}
     75%    2.02ms
     90%    2.21ms
     99%  {p99}
  98765 requests in 3.01s, 14.50MB read
{errors}Requests/sec:  32812.29
Transfer/sec:      4.82MB
"""
STAT = "{pid} ({name}) S {parent} 1 1 0 -1 4194560 9 9 9 9 {utime} {stime} {cutime} {cstime} 20 0 1 0 99 0 0"


def wrk(p50: str = "1.93ms", p99: str = "3.30ms", errors: str = "") -> str:
    """Compose a report as wrk prints it."""
    return WRK.format(p50=p50, p99=p99, errors=errors)


def stat(pid: int, parent: int, times: tuple[int, int, int, int] = (0, 0, 0, 0), name: str = "nginx") -> str:
    """Compose a line of /proc/PID/stat."""
    utime, stime, cutime, cstime = times
    return STAT.format(
        pid=pid, parent=parent, name=name, utime=utime, stime=stime, cutime=cutime, cstime=cstime
    )


def summary(balancer: str, scenario: str, median: float, value: str = "cpu_us") -> Summary:
    """Compose the summary of one value that was the same in every round."""
    return Summary(balancer, scenario, {value: Spread(median, median, median)}, 5, ())


class LoadTests(SynchronousTestCase):
    """What wrk prints."""

    def test_totals(self) -> None:
        """Requests, seconds and bytes are read."""
        load = parse_report(wrk())
        self.assertEqual((load.requests, load.seconds, load.read), (98765, 3.01, 14.5 * 1024**2))

    def test_units_of_latency(self) -> None:
        """Latencies come out in microseconds, in whichever unit wrk chose."""
        for text, expected in [("850.00us", 850.0), ("1.93ms", 1930.0), ("1.20s", 1.2e6), ("2.00m", 120e6)]:
            self.assertAlmostEqual(parse_report(wrk(p50=text)).p50, expected)
            self.assertAlmostEqual(parse_report(wrk(p99=text)).p99, expected)

    def test_no_errors(self) -> None:
        """A report without a line of errors has none."""
        self.assertEqual(parse_report(wrk()).errors, ())

    def test_socket_errors(self) -> None:
        """Only the kinds of socket error that occurred are named."""
        text = wrk(errors="  Socket errors: connect 0, read 2, write 0, timeout 3\n")
        self.assertEqual(parse_report(text).errors, ("2 read", "3 timeout"))

    def test_bad_status(self) -> None:
        """Responses with an error status are named."""
        text = "  Non-2xx or 3xx responses: 17\n"
        self.assertEqual(parse_errors(text), ("17 responses that were neither 2xx nor 3xx",))

    def test_not_a_report(self) -> None:
        """Anything else is refused, and shown."""
        error = self.assertRaises(Invalid, parse_report, "unable to connect to 127.0.0.1:8080")
        self.assertIn("unable to connect", str(error))

    def test_errors_make_invalid(self) -> None:
        """A run with errors is not used."""
        load = parse_report(wrk(errors="  Socket errors: connect 0, read 0, write 0, timeout 3\n"))
        error = self.assertRaises(Invalid, check_load, load, SCENARIOS[0])
        self.assertIn("3 timeout", str(error))

    def test_short_bodies_make_invalid(self) -> None:
        """A run of "1 MiB bodies" in which less came is not used."""
        body = next(scenario for scenario in SCENARIOS if scenario.least_bytes)
        error = self.assertRaises(Invalid, check_load, parse_report(wrk()), body)
        self.assertIn("1048576 were due", str(error))


class ProcTests(SynchronousTestCase):
    """What /proc shows."""

    def test_times(self) -> None:
        """User and system time count, and those of children that have ended."""
        self.assertEqual(parse_stat(stat(7, 1, (10, 20, 300, 4000))), ProcessTimes(7, 1, 4330))

    def test_name_with_brackets(self) -> None:
        """A program's name may hold what separates the fields."""
        self.assertEqual(parse_stat(stat(7, 1, (1, 2, 0, 0), "a (b) c) S 9")), ProcessTimes(7, 1, 3))

    def test_tree(self) -> None:
        """Children and grandchildren belong to a process, its siblings and parent do not."""
        processes = [parse_stat(stat(*ids)) for ids in [(1, 0), (5, 1), (6, 1), (7, 5), (8, 7), (9, 6)]]
        self.assertEqual({process.pid for process in tree_below(5, processes)}, {5, 7, 8})

    def test_tree_of_none(self) -> None:
        """A process that has gone has no tree."""
        self.assertEqual(tree_below(5, [parse_stat(stat(1, 0))]), [])

    def test_private_memory(self) -> None:
        """Only pages that this process has written count."""
        text = "Rss: 900 kB\nPss: 500 kB\nShared_Clean: 300 kB\nPrivate_Clean: 8 kB\nPrivate_Dirty:   40 kB\n"
        self.assertEqual(parse_private_kib(text), 40)


class TurnTests(SynchronousTestCase):
    """The order of measurements and their medians."""

    def test_in_turns(self) -> None:
        """Within a scenario the balancers follow each other, round by round."""
        turns = plan(BALANCERS[:2], SCENARIOS[:1], 2)
        self.assertEqual([turn.balancer.name for turn in turns], ["lbproxy", "lbproxy-config"] * 2)
        self.assertEqual([turn.round for turn in turns], [1, 1, 2, 2])

    def test_single_backend_has_no_pool(self) -> None:
        """A balancer for a single backend is not measured with pools of many."""
        alone = [balancer for balancer in BALANCERS if balancer.one_backend]
        names = {turn.scenario.name for turn in plan(alone, SCENARIOS, 1)}
        self.assertEqual(names, {"small", "body", "log", "idle"})

    def test_resources_are_no_servers(self) -> None:
        """What lives in a tree of twisted.web is not measured where it is about a server at the edge."""
        edge = [scenario for scenario in SCENARIOS if scenario.servers_only]
        names = {turn.balancer.name for turn in plan(BALANCERS, edge, 1)}
        self.assertEqual(names, {"lbproxy", "lbproxy-config", "nginx", "haproxy", "envoy", "traefik", "caddy"})
        self.assertEqual([scenario.name for scenario in edge], ["two-choices", "tunnel", "slow"])

    def test_spread(self) -> None:
        """The middle of the rounds counts, not their mean."""
        self.assertEqual(spread([9.0, 1.0, 2.0]), Spread(2.0, 1.0, 9.0))
        self.assertEqual(spread([1.0, 4.0]), Spread(2.5, 1.0, 4.0))

    def test_invalid_rounds_are_left_out(self) -> None:
        """Medians are of valid rounds; the others are named with their reason."""
        readings = [
            Reading("nginx", "small", 1, {"cpu_us": 30.0}),
            Reading("nginx", "small", 2, problem="of 9 requests: 3 timeout"),
            Reading("nginx", "small", 3, {"cpu_us": 32.0}),
        ]
        (only,) = summarise(readings)
        self.assertEqual(only.values, {"cpu_us": Spread(31.0, 30.0, 32.0)})
        self.assertEqual((only.valid, only.problems), (2, ("round 2: of 9 requests: 3 timeout",)))

    def test_progress(self) -> None:
        """Each turn is announced and its result told."""
        progress = io.StringIO()
        turns = plan(BALANCERS[:1], SCENARIOS[:1], 1)
        readings = take_turns(turns, lambda turn: Reading("lbproxy", "small", 1, {"cpu_us": 72.0}), progress)
        self.assertEqual(len(readings), 1)
        self.assertEqual(progress.getvalue(), "[1/1] round 1 of 1, small, lbproxy … 72.0 µs\n")

    def test_in_short(self) -> None:
        """Progress tells what the scenario compares, whichever it is."""
        for name, expected in [("kib", "1.5 KiB"), ("mib_cpu", "2 MiB a CPU second"), ("p99_ratio", "p99 × 1.50")]:
            self.assertEqual(in_short(Reading("nginx", "any", 1, {name: 1.5, "core": 0.5})), expected)

    def test_every_scenario_is_told_in_short(self) -> None:
        """What a scenario compares has a column and a unit."""
        compared = {scenario.compared for scenario in SCENARIOS}
        self.assertLessEqual(compared, IN_SHORT.keys())
        self.assertLessEqual(compared, UNITS.keys())
        self.assertLessEqual(compared, {column.value for column in COLUMNS})

    def test_time_left(self) -> None:
        """The rest is reckoned from what was done; at first there is nothing to reckon from."""
        self.assertEqual(time_left(0, 10, 0.0), "")
        self.assertEqual(time_left(2, 10, 10.0), ", 40 s left")
        self.assertEqual(time_left(5, 45, 25.0), ", 3 min left")


class GoalTests(SynchronousTestCase):
    """What is to be reached."""

    ratio = Goal("CPU", Figure("lbproxy", "small"), 0.85, Figure("envoy", "small"))
    plain = Goal("KiB", Figure("lbproxy", "idle", "kib"), 6.0)

    floor = Goal(
        "MiB", Figure("lbproxy", "tunnel", "mib_cpu"), 1.0, Figure("caddy", "tunnel", "mib_cpu"), at_least=True
    )

    def judged(self, goal: Goal, *summaries: Summary) -> Verdict:
        """Judge one goal."""
        (verdict,) = judge(summaries, [goal])
        return verdict

    def test_reached(self) -> None:
        """A ratio at the limit is within it."""
        verdict = self.judged(self.ratio, summary("lbproxy", "small", 85.0), summary("envoy", "small", 100.0))
        self.assertIs(verdict.reached, True)
        self.assertEqual(verdict_line(verdict), "reached       CPU: 0.85 (at most 0.85)")

    def test_missed(self) -> None:
        """A ratio above the limit is a miss, said aloud."""
        verdict = self.judged(self.ratio, summary("lbproxy", "small", 90.0), summary("envoy", "small", 100.0))
        self.assertIs(verdict.reached, False)
        self.assertTrue(verdict_line(verdict).startswith("MISSED"))

    def test_at_least(self) -> None:
        """Where more is better, the limit is one from below."""
        caddy = summary("caddy", "tunnel", 800.0, "mib_cpu")
        for ours, reached, line in [
            (800.0, True, "reached       MiB: 1.00 (at least 1)"),
            (600.0, False, "MISSED        MiB: 0.75 (at least 1)"),
        ]:
            verdict = self.judged(self.floor, summary("lbproxy", "tunnel", ours, "mib_cpu"), caddy)
            self.assertIs(verdict.reached, reached)
            self.assertEqual(verdict_line(verdict), line)

    def test_plain_figure(self) -> None:
        """A goal without a rival limits the figure itself."""
        verdict = self.judged(self.plain, summary("lbproxy", "idle", 4.5, "kib"))
        self.assertEqual((verdict.measured, verdict.reached), (4.5, True))

    def test_not_measured(self) -> None:
        """Without the rival, or without a valid round of it, a goal is neither reached nor missed."""
        empty = Summary("envoy", "small", {}, 0, ("round 1: no answer",))
        verdict = self.judged(self.ratio, summary("lbproxy", "small", 90.0), empty)
        self.assertIsNone(verdict.reached)
        self.assertTrue(verdict_line(verdict).startswith("not measured"))

    def test_goals_name_what_exists(self) -> None:
        """Every goal compares balancers and scenarios that there are."""
        figures = [figure for goal in GOALS for figure in (goal.figure, goal.against) if figure]
        self.assertLessEqual({figure.balancer for figure in figures}, {entry.name for entry in BALANCERS})
        self.assertLessEqual({figure.scenario for figure in figures}, {entry.name for entry in SCENARIOS})


class ReportTests(SynchronousTestCase):
    """What is written."""

    def test_table(self) -> None:
        """A table has the ratio to lbproxy beside the figure that is compared."""
        table = scenario_table(
            SCENARIOS[0], [summary("lbproxy", "small", 80.0), summary("nginx", "small", 32.0)]
        )
        self.assertEqual(
            table.splitlines()[1:],
            [
                "balancer       CPU µs/request  × lbproxy",
                "lbproxy   80.0 (80.0 to 80.0)       1.00",
                "nginx     32.0 (32.0 to 32.0)       0.40",
            ],
        )

    def test_table_without_figures(self) -> None:
        """A balancer without a valid round has dashes, and its problem stands below."""
        broken = Summary("nginx", "small", {}, 0, ("round 1: no answer",))
        lines = scenario_table(SCENARIOS[0], [summary("lbproxy", "small", 80.0), broken]).splitlines()
        self.assertEqual(lines[3].split(), ["nginx", "–", "–"])
        self.assertEqual(lines[4], "  ! nginx, round 1: no answer")

    def test_long_problem(self) -> None:
        """Of a log's end the table shows its last line, which says most."""
        broken = Summary("nginx", "small", {}, 0, ("round 1: its log ends:\n  here\n  no such file",))
        table = scenario_table(SCENARIOS[0], [broken])
        self.assertEqual(table.splitlines()[-1], "  ! nginx, round 1: its log ends: … no such file")

    def test_tunnels_are_compared_with_caddy(self) -> None:
        """The table of tunnels stands without lbproxy's figures: the goal is against Caddy."""
        scenario = next(scenario for scenario in SCENARIOS if scenario.tunnels)
        problem = "round 1: lbproxy did not answer 101 but HTTP/1.1 200 OK"
        summaries = [
            Summary("lbproxy", "tunnel", {}, 0, (problem,)),
            summary("nginx", "tunnel", 300.0, "mib_cpu"),
            summary("caddy", "tunnel", 600.0, "mib_cpu"),
        ]
        self.assertEqual(
            scenario_table(scenario, summaries).splitlines()[1:],
            [
                "balancer         MiB/CPU s  × caddy",
                "lbproxy                  –        –",
                "nginx     300 (300 to 300)     0.50",
                "caddy     600 (600 to 600)     1.00",
                f"  ! lbproxy, {problem}",
            ],
        )

    def test_no_reference(self) -> None:
        """What is a ratio already is not shown as a multiple of anyone's."""
        scenario = next(scenario for scenario in SCENARIOS if scenario.slow)
        lines = scenario_table(scenario, [summary("lbproxy", "slow", 1.25, "p99_ratio")]).splitlines()
        self.assertEqual(lines[1:], ["balancer   p99 with ÷ without", "lbproxy   1.25 (1.25 to 1.25)"])

    def test_chart_has_the_best_on_top(self) -> None:
        """Bars rise where less is better, and fall where more is."""
        values = [("small", "cpu_us"), ("tunnel", "mib_cpu")]
        summaries = [
            summary(name, scenario, median, value)
            for scenario, value in values
            for name, median in (("nginx", 30.0), ("caddy", 90.0), ("envoy", 60.0))
        ]
        order = {value: [bar.balancer for bar in bars] for value, _, bars in panels_of(summaries)}
        self.assertEqual(order["cpu_us"], ["nginx", "envoy", "caddy"])
        self.assertEqual(order["mib_cpu"], ["caddy", "envoy", "nginx"])

    def test_aligned(self) -> None:
        """Names stand to the left, figures to the right."""
        self.assertEqual(aligned([["a", "10"], ["bbb", "9"]]), ["a    10", "bbb   9"])

    def make_run(self) -> Run:
        """Make a run with one measurement and one balancer left out."""
        reading = Reading("lbproxy", "small", 1, {"cpu_us": 80.0})
        verdicts = [Verdict(GOALS[0], None)]
        versions, missing = {"lbproxy": "1.0"}, {"envoy": "no envoy on the PATH"}
        return Run("2026-01-02", 1, 3, versions, missing, [reading], summarise([reading]), verdicts)

    def test_text(self) -> None:
        """The text says what was left out and why, and how the goals stand."""
        text = text_report(self.make_run(), {"processor": "fast", "cores": 2})
        self.assertIn("Left out: envoy: no envoy on the PATH\n", text)
        self.assertIn("\nGoals\nnot measured  CPU a small request, × Envoy", text)

    def test_json(self) -> None:
        """The JSON has each reading, each median and each verdict."""
        data = json.loads(json_report(self.make_run(), {"cores": 2}))
        self.assertEqual(data["readings"][0]["values"], {"cpu_us": 80.0})
        self.assertEqual(data["summaries"][0]["values"]["cpu_us"]["median"], 80.0)
        self.assertIsNone(data["verdicts"][0]["reached"])
        self.assertEqual(data["machine"], {"cores": 2})


class CommandLineTests(SynchronousTestCase):
    """What can be asked, and what is answered to a mistake."""

    def test_choose(self) -> None:
        """Names with commas choose, in the order of the offer."""
        self.assertEqual([entry.name for entry in choose("nginx, lbproxy", BALANCERS)], ["lbproxy", "nginx"])

    def test_unknown_name(self) -> None:
        """A mistyped name is answered with all that is allowed."""
        error = self.assertRaises(ValueError, choose, "lbproxy,ngnix", BALANCERS)
        self.assertTrue(str(error).startswith("unknown: ngnix; allowed: lbproxy, lbproxy-config, nginx, haproxy, "))

    def refused(self, *arguments: str) -> str:
        """Have a command line refused with exit status 2; return what was said."""
        said = io.StringIO()
        self.patch(sys, "stderr", said)
        error = self.assertRaises(SystemExit, parse, arguments)
        self.assertEqual(error.code, 2)
        return said.getvalue()

    def test_unknown_name_on_the_command_line(self) -> None:
        """The message names the option, what was given and what is allowed."""
        self.assertIn(
            "argument --scenario: unknown: smal; allowed: small, body", self.refused("--scenario", "smal")
        )

    def test_numbers(self) -> None:
        """Rounds and seconds have bounds."""
        self.assertIn("'0' is not a whole number from 1 to 100", self.refused("--rounds", "0"))
        self.assertIn("'1.5' is not a whole number from 1 to 60", self.refused("--seconds", "1.5"))

    def test_defaults(self) -> None:
        """Without options everything is measured, five rounds of three seconds."""
        request = parse([])
        self.assertEqual((request.balancers, request.scenarios), (BALANCERS, SCENARIOS))
        self.assertEqual((request.rounds, request.seconds), (5, 3))

    def test_quick(self) -> None:
        """The quick run is one of a second, and gives way to what is said beside it."""
        self.assertEqual((parse(["--quick"]).rounds, parse(["--quick"]).seconds), (1, 1))
        self.assertEqual(parse(["--quick", "--rounds", "2"]).rounds, 2)


class LaunchTests(SynchronousTestCase):
    """How entrants are started, as far as no file is written for it."""

    def order(self, access_log: bool = False, upgrades: bool = False) -> Order:
        """Make an order for two backends."""
        log = Path("/logs/access.log") if access_log else None
        return Order(8080, 8081, ["127.0.0.1:9001", "127.0.0.1:9002"], Path("/nowhere"), log, upgrades=upgrades)

    def test_lbproxy(self) -> None:
        """It is started with its own defaults: only addresses are given."""
        self.assertEqual(
            list(launch_lbproxy(self.order()).command)[-4:],
            [
                "lbproxy",
                "--backends=127.0.0.1:9001,127.0.0.1:9002",
                "--listen=tcp:8080:interface=127.0.0.1",
                "--admin=tcp:8081:interface=127.0.0.1",
            ],
        )

    def test_access_log(self) -> None:
        """An access log is asked for where it is measured."""
        self.assertEqual(launch_lbproxy(self.order(True)).command[-1], "--access-log=/logs/access.log")
        command = list(launch_script("site_agent", self.order(True)).command)
        self.assertEqual(command[-3:], ["--access-log=/logs/access.log", "127.0.0.1:9001", "127.0.0.1:9002"])

    def test_upgrades(self) -> None:
        """Envoy is told to pass WebSockets where they are measured, and only there."""
        upgrades = [{"upgrade_type": "websocket"}]
        self.assertIn(json.dumps({"upgrade_configs": upgrades})[1:-1], json.dumps(envoy_listener(self.order(upgrades=True))))
        self.assertNotIn("upgrade", json.dumps(envoy_listener(self.order())))

    def test_versions(self) -> None:
        """The first version in what a program prints is its own."""
        for text, expected in [
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17", "2.6.12"),
            ("v2.11.7 h1:abc=", "2.11.7"),
            ("none", "unknown"),
        ]:
            self.assertEqual(first_version(text), expected)

    def test_cores(self) -> None:
        """The balancer has a core to itself where there is more than one."""
        self.assertEqual(split_cores(frozenset([2, 3, 5])).balancer, {2})
        self.assertEqual(split_cores(frozenset([2, 3, 5])).others, {3, 5})
        self.assertEqual(split_cores(frozenset([4])).others, {4})

    def test_ports(self) -> None:
        """The ports for servers have room for the largest pool."""
        largest = max(scenario.backends for scenario in SCENARIOS)
        self.assertGreater(LAST_PORT - FIRST_PORT, 10 * largest)


class HandshakeTests(SynchronousTestCase):
    """How a WebSocket is opened."""

    key, accepted = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    def answer(self, *lines: bytes) -> bytes:
        """Compose a response's head."""
        return b"\r\n".join([*lines, b"", b""])

    def test_accept_value(self) -> None:
        """The example of RFC 6455 section 1.3 comes out."""
        self.assertEqual(accept_value(self.key), self.accepted)

    def test_request(self) -> None:
        """A handshake has all that RFC 6455 section 4.1 asks for."""
        lines = upgrade_request("/down", self.key).split(b"\r\n")
        self.assertEqual(lines[0], b"GET /down HTTP/1.1")
        self.assertLessEqual(
            {b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"}, set(lines)
        )
        self.assertIn(b"Sec-WebSocket-Key: " + self.key, lines)

    def test_accepted(self) -> None:
        """The right 101 is taken, however its field names are written."""
        check_answer(self.answer(b"HTTP/1.1 101 Switching", b"SEC-WebSocket-accept:" + self.accepted), self.key)

    def test_refused(self) -> None:
        """Any other answer is named by its status line."""
        answer = self.answer(b"HTTP/1.1 200 OK", b"Content-Length: 13")
        error = self.assertRaises(NotSwitched, check_answer, answer, self.key)
        self.assertEqual(str(error), "HTTP/1.1 200 OK")

    def test_wrong_accept(self) -> None:
        """A 101 for another handshake is none."""
        answer = self.answer(b"HTTP/1.1 101 Switching", b"Sec-WebSocket-Accept: b3RoZXI=")
        error = self.assertRaises(NotSwitched, check_answer, answer, self.key)
        self.assertIn("'b3RoZXI='", str(error))


class TunnelTests(SynchronousTestCase):
    """Bytes through tunnels, and the helpers that move them."""

    def test_values(self) -> None:
        """Both ways count in the main figure, each by its bytes and its CPU time."""
        values = tunnel_values(Moved(300 * 2**20, 3.0, 1.0), Moved(100 * 2**20, 2.0, 1.0))
        self.assertEqual(
            values,
            {"mib_cpu": 200.0, "mib_cpu_down": 300.0, "mib_cpu_up": 100.0, "mib_second": 80.0, "core": 0.4},
        )

    def test_nothing_moved(self) -> None:
        """A direction in which nothing came is no figure, and is named."""
        error = self.assertRaises(Invalid, tunnel_values, Moved(1e9, 3.0, 1.0), Moved(0.0, 3.0, 0.1))
        self.assertIn("to the backend: 0 bytes", str(error))

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Make two connected sockets, the first of which looks up often."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        look_up_often(ours)
        return ours, theirs

    def test_silence_ends(self) -> None:
        """Receiving stops in time although nothing comes."""
        ours, _ = self.pair()
        self.assertEqual(list(receive(ours, time.monotonic() + 0.05)), [])

    def test_unread_ends(self) -> None:
        """Sending stops in time although nobody reads."""
        ours, _ = self.pair()
        self.assertGreater(sum(send(ours, time.monotonic() + 0.5)), 0)

    def test_cut(self) -> None:
        """A tunnel that ends too early is an error, with what it moved."""
        ours, theirs = self.pair()
        theirs.sendall(b"12345")
        theirs.close()
        error = self.assertRaises(ConnectionError, move, ours, DOWN, time.monotonic() + 60)
        self.assertEqual(str(error), "it was ended after 5 bytes")

    def test_backend(self) -> None:
        """The backend sends and receives through tunnels, counts what came, and lets go when they are closed."""
        backend = Backend(0)
        # Closing it then waits for every connection's thread.
        backend.daemon_threads = False
        port = backend.server_address[1]
        serving = Thread(target=backend.serve_forever, args=(0.01,))
        serving.start()
        try:
            down, up = (move_all(port, path, 2, 0.5) for path in (DOWN, UP))
            told = received_by(f"{HOST}:{port}")
        finally:
            backend.shutdown()
            serving.join()
            backend.server_close()
        self.assertGreater(down["bytes"], 0)
        self.assertGreaterEqual(down["seconds"], 0.5)
        self.assertEqual(sum(count[0] for count in backend.counts), up["bytes"])
        self.assertLessEqual(told, up["bytes"])


class PacedTests(SynchronousTestCase):
    """The normal client."""

    def setUp(self) -> None:
        """Set a clock that only sleeping and asking move."""
        self.time = 100.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds

    def latencies(self, answers: Sequence[float], seconds: float) -> list[float]:
        """Ask, each answer taking as long as given; return the latencies in ms."""
        times = iter(answers)
        took = latencies(lambda: self.sleep(next(times)), 100.0, seconds, lambda: self.time, self.sleep)
        return [round(latency * 1000, 3) for latency in took]

    def test_pace(self) -> None:
        """Requests come at an even pace, and each answer's time is its own."""
        self.assertEqual(self.latencies([0.001, 0.002, 0.003], 3 * PACE - 0.001), [1.0, 2.0, 3.0])
        self.assertAlmostEqual(self.time, 100.0 + 2 * PACE + 0.003)

    def test_late(self) -> None:
        """A stall counts for every request that was due in it."""
        self.assertEqual(self.latencies([2.5 * PACE, 0.0, 0.0, 0.0], 4 * PACE - 0.001), [50.0, 30.0, 10.0, 0.0])

    def test_stall_ends(self) -> None:
        """A server that is hopelessly late is not asked all that was due."""
        answers = self.latencies([1.0] * 100, 1.0)
        self.assertEqual(len(answers), 1 + LONGEST_ANSWER)

    def test_percentile(self) -> None:
        """Percentiles are values that occurred: the nearest rank."""
        values = [float(value) for value in range(200, 0, -1)]
        self.assertEqual((percentile(values, 50), percentile(values, 99)), (100.0, 198.0))
        self.assertEqual(percentile([7.0], 99), 7.0)
        self.assertRaises(ValueError, percentile, [], 50)

    def test_silent_server(self) -> None:
        """A server that never answers ends the client, with an error."""
        self.patch(paced, "LONGEST_ANSWER", 0.05)
        with closing(listen()) as listener:
            self.assertRaises(OSError, paced.run, listener.getsockname()[1], 2, 0.1)

    def test_as_a_process(self) -> None:
        """What a client complains of is said of the balancer."""
        with closing(listen()) as listener:
            port = listener.getsockname()[1]
        options = [f"--port={port}", "--connections=1", "--seconds=1"]
        error = self.assertRaises(Invalid, run_client, "nginx", "paced", options, 1)
        self.assertTrue(str(error).startswith("nginx did not answer a normal client: "), str(error))


def listen() -> socket.socket:
    """Listen on a free port; nobody accepts."""
    return socket.create_server((HOST, 0))


class Enough(Exception):
    """What a test waited for has come."""


class SlowTests(SynchronousTestCase):
    """Slow clients, and what is made of them."""

    alone, beside = {"p50_us": 300.0, "p99_us": 800.0}, {"p50_us": 330.0, "p99_us": 1000.0}

    def setUp(self) -> None:
        """Have clients that are less slow."""
        self.patch(slow, "RAMP", 0.01)
        self.patch(slow, "BACK_AFTER", 0.0)
        self.patch(slow, "BETWEEN_BYTES", 0.001)
        self.patch(slow, "BETWEEN_LINES", 0.0)

    def test_values(self) -> None:
        """The normal client's p99 beside the slow ones is compared with its own without them."""
        values = slow_values(self.alone, self.beside, 1990, 12, 0.25)
        self.assertEqual((values["p99_ratio"], values["slow_open"], values["slow_cut"]), (1.25, 1990.0, 12.0))
        self.assertEqual((values["p99_with_us"], values["p99_without_us"]), (1000.0, 800.0))

    def test_none_open(self) -> None:
        """Without a slow connection nothing was compared."""
        self.assertRaises(Invalid, slow_values, self.alone, self.beside, 0, 0, 0.1)

    def calm_after(self, *answers: float) -> float:
        """Return after how many seconds a balancer counts as at rest whose answers take so long, later ones no time."""
        self.time, times = 0.0, iter(answers)
        wait_until_calm(lambda: self.sleep(next(times, 0.0)), lambda: self.time, self.sleep)
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds

    def test_calm(self) -> None:
        """Only quick answers in a row show that a balancer has come to rest: after a late one they count anew."""
        quickest = CALM_ANSWERS * BETWEEN_ANSWERS
        self.assertAlmostEqual(self.calm_after(), quickest)
        self.assertAlmostEqual(self.calm_after(0.0, 0.0, 0.4), 3 * BETWEEN_ANSWERS + 0.4 + quickest)

    def test_never_calm(self) -> None:
        """One that never comes to rest is measured all the same."""
        self.assertAlmostEqual(self.calm_after(*[0.4] * 100), LONGEST_REST)

    def test_counts(self) -> None:
        """The last whole line counts; before the first one nobody is connected."""
        lines = '{"open": 1, "cut": 0}\n{"open": 2, "cut": 3}\n'
        self.assertEqual(parse_counts(lines + '{"open'), {"open": 2, "cut": 3})
        self.assertEqual(parse_counts(lines + "Traceback\n"), {"open": 2, "cut": 3})
        self.assertEqual(parse_counts(""), {"open": 0, "cut": 0})

    def test_accepted(self) -> None:
        """Connections to the port count when established and accepted, and no others."""
        line = " 0: 0100007F:{} 0100007F:9C40 {} 00000000:00000000 00:00000000 00000000 0 0 {} 1 0 20 4 30 10 -1\n"
        sockets = [
            ("1F90", "01", "77"),
            ("1F90", "01", "78"),
            ("1F90", "01", "0"),
            ("1F90", "08", "79"),
            ("1F90", "0A", "80"),
            ("1F91", "01", "81"),
        ]
        text = "  sl  local_address rem_address   st\n" + "".join(line.format(*each) for each in sockets)
        self.assertEqual(parse_accepted(text, 0x1F90), 2)

    def run_until(self, port: int, reached: dict[str, int], meanwhile: Callable[[], object] = bool) -> None:
        """Run four clients until each count has come so far; let ``meanwhile`` do something again and again."""
        clients = SlowClients(port, 4)

        def tell(line: str) -> None:
            meanwhile()
            counts = json.loads(line)
            if all(counts[name] >= count for name, count in reached.items()):
                raise Enough

        self.assertRaises(Enough, clients.run, 60, tell)

    def test_all_connect(self) -> None:
        """Half of them drip a head, the others send a request whole and take as little as over Ethernet at a time."""
        with closing(listen()) as listener:
            self.run_until(listener.getsockname()[1], {"open": 4})
            connections = [listener.accept()[0] for _ in range(4)]
            sent = [connection.recv(1) for connection in connections]
            rest = sorted(connection.recv(4096) for connection in connections)
            segments = sorted(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) for connection in connections)
            for connection in connections:
                connection.close()
        self.assertEqual(sent, [b"G"] * 4)
        self.assertEqual(rest[2:], [slow.UNREAD[1:]] * 2)
        self.assertTrue(all(slow.DRIPPED[1:].startswith(dripped) for dripped in rest[:2]))
        self.assertLessEqual(segments[1], slow.SEGMENT)
        self.assertGreater(segments[2], slow.SEGMENT)

    def test_cut_off(self) -> None:
        """Who is cut off connects again, whether it drips or does not read."""
        with closing(listen()) as listener:
            listener.setblocking(False)

            def cut_off() -> None:
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    pass

            self.run_until(listener.getsockname()[1], {"cut": 20}, cut_off)

    def test_refused(self) -> None:
        """Who is refused tries again."""
        with closing(listen()) as listener:
            port = listener.getsockname()[1]
        self.run_until(port, {"cut": 20})

    def test_stop(self) -> None:
        """When their time is over all of them let go."""
        with closing(listen()) as listener:
            clients = SlowClients(listener.getsockname()[1], 4)
            clients.run(0.05, lambda line: None)
        self.assertEqual([client.connection for client in clients.by_file.values()], [None] * len(clients.by_file))

    def test_bounded(self) -> None:
        """No client runs longer than allowed: the kernel ends it."""
        alarms: list[int] = []
        self.patch(signal, "alarm", alarms.append)
        end_in_time(1.5)
        self.assertEqual(alarms, [2 + TO_SPARE])
        self.assertRaises(ValueError, end_in_time, MOST_SECONDS + 1)
        self.assertRaises(ValueError, end_in_time, 0)
