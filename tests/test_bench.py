"""The benchmark reads, compares and reports rightly; measuring itself is tried by running it."""

# mypy: allow-untyped-calls

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.balancers import BALANCERS, Order
from bench.balancers.base import first_version
from bench.balancers.python import launch_lbproxy, launch_script
from bench.command_line import choose, parse
from bench.cpu import ProcessTimes, parse_private_kib, parse_stat, tree_below
from bench.goals import GOALS, Figure, Goal, Verdict, judge, verdict_line
from bench.load import parse_errors, parse_report
from bench.measure import Reading, check_load
from bench.processes import FIRST_PORT, LAST_PORT, Invalid, split_cores
from bench.report import Run, aligned, json_report, scenario_table, text_report
from bench.scenarios import SCENARIOS
from bench.turns import Spread, Summary, plan, spread, summarise, take_turns, time_left

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
        self.assertEqual([turn.balancer.name for turn in turns], ["lbproxy", "nginx", "lbproxy", "nginx"])
        self.assertEqual([turn.round for turn in turns], [1, 1, 2, 2])

    def test_single_backend_has_no_pool(self) -> None:
        """A balancer for a single backend is not measured with pools of many."""
        alone = [balancer for balancer in BALANCERS if balancer.one_backend]
        names = {turn.scenario.name for turn in plan(alone, SCENARIOS, 1)}
        self.assertEqual(names, {"small", "body", "log", "idle"})

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

    def test_time_left(self) -> None:
        """The rest is reckoned from what was done; at first there is nothing to reckon from."""
        self.assertEqual(time_left(0, 10, 0.0), "")
        self.assertEqual(time_left(2, 10, 10.0), ", 40 s left")
        self.assertEqual(time_left(5, 45, 25.0), ", 3 min left")


class GoalTests(SynchronousTestCase):
    """What is to be reached."""

    ratio = Goal("CPU", Figure("lbproxy", "small"), 0.85, Figure("envoy", "small"))
    plain = Goal("KiB", Figure("lbproxy", "idle", "kib"), 6.0)

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
        self.assertTrue(str(error).startswith("unknown: ngnix; allowed: lbproxy, nginx, haproxy, "))

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

    def order(self, access_log: bool = False) -> Order:
        """Make an order for two backends."""
        log = Path("/logs/access.log") if access_log else None
        return Order(8080, 8081, ["127.0.0.1:9001", "127.0.0.1:9002"], Path("/nowhere"), log)

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
