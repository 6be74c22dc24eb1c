"""``python -m bench workers`` has everybody work with as many, counts connections and verdicts rightly, and says what is met."""

# mypy: allow-untyped-calls

from __future__ import annotations

import math
import os
import socket
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench.balancers import Order
from bench.connecting import HOST
from bench.measure import Reading
from bench.turns import summarise
from bench.workers import tap
from bench.workers.command import parse
from bench.workers.entrants import entrants
from bench.workers.looking import (
    ALONE,
    Memory,
    accepted_at,
    connections_of,
    counted_by_process,
    members,
    memory,
    open_files,
    parse_memory,
)
from bench.workers.memory import Held, memory_rows
from bench.workers.report import Found, as_values, cost_ratio, goals, load_rows, text
from bench.workers.spread import by_chance, share_of_busiest, spread_rows
from bench.workers.verdicts import Note, hanging, parse_notes, verdict_rows, ways
from lbproxy.balance.backend import Backend
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Verdict

MS = 1_000_000
SUPERVISOR, A, B, C = 1, 10, 20, 30

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 101 1 0 20 4 30 10 -1
   2: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0 20 4 30 10 -1
   3: 0100007F:1F90 0100007F:C002 06 00000000:00000000 00:00000000 00000000     0        0 103 1 0 20 4 30 10 -1
"""


def note(when: float, pid: int, up: bool = False, told: bool = True, address: str = "a:1") -> Note:
    """Compose one; *when* is in ms."""
    return Note(int(when * MS), pid, address, up, told)


def reading(balancer: str, number: int, cost: float, rate: float = 1000.0) -> Reading:
    """Compose one."""
    values = {"cpu_us": cost, "per_second": rate, "p50_us": 1000.0, "p99_us": 2000.0, "core": 1.5, "requests": 3000.0}
    return Reading(balancer, "shared", number, values)


class EntrantTests(SynchronousTestCase):
    """Who takes part, with how many workers."""

    def command(self, name: str) -> str:
        """How an entrant is started, with what it is told in files and its environment."""
        (entrant,) = (one for one in entrants(2) if one.name == name)
        folder = Path(self.mktemp())
        folder.mkdir()
        launch = entrant.launch(Order(8000, 8001, ["127.0.0.1:9000"], folder))
        files = "\n".join(path.read_text() for path in folder.iterdir())
        return f"{' '.join(launch.command)}\n{dict(launch.environment)}\n{files}"

    def test_everybody_has_as_many(self) -> None:
        """Workers, processes or threads."""
        told = {"lbproxy-2": "--workers=2", "nginx": "worker_processes 2;", "haproxy": "nbthread 2", "envoy": "--concurrency 2"}
        for name, words in {**told, "traefik": "'GOMAXPROCS': '2'", "caddy": "'GOMAXPROCS': '2'"}.items():
            entrant = next(one for one in entrants(2) if one.name == name)
            if not entrant.missing():
                self.assertIn(words, self.command(name))

    def test_one_worker_is_the_ordinary_process(self) -> None:
        """Nothing is said of workers."""
        self.assertNotIn("workers", self.command("lbproxy-1"))

    def test_names(self) -> None:
        """lbproxy takes part twice."""
        names = [one.name for one in entrants(3)]
        self.assertEqual(names, ["lbproxy-1", "lbproxy-3", "nginx", "haproxy", "envoy", "traefik", "caddy"])

    def test_options(self) -> None:
        """Parts and balancers are chosen by their names."""
        options = parse(["--part", "spread,memory", "--only", "nginx,lbproxy-1", "--rounds", "2"])
        self.assertEqual([part.name for part in options.part], ["spread", "memory"])
        self.assertEqual([one.name for one in options.only], ["lbproxy-1", "nginx"])
        self.assertEqual((options.rounds, options.workers), (2, 2))


class LookingTests(SynchronousTestCase):
    """What is seen of processes."""

    def test_memory(self) -> None:
        """In KiB."""
        rollup = "55d0-7ff ---p [rollup]\nRss:   2048 kB\nPss:   1024 kB\nPss_Dirty: 3 kB\n"
        self.assertEqual(parse_memory(rollup), Memory(2048, 1024))
        mine = memory(os.getpid())
        self.assertGreaterEqual(mine.rss, mine.pss)
        self.assertGreater(mine.pss, 0)

    def test_descriptors(self) -> None:
        """One more is one more."""
        before = open_files(os.getpid())
        with socket.socket():
            self.assertEqual(open_files(os.getpid()), before + 1)

    def test_members_by_status(self) -> None:
        """Workers are named by their numbers; one that is just being replaced has no process."""
        status = {"workers": [{"number": 1, "pid": 7}, {"number": 0, "pid": 9}, {"number": 2, "pid": 0}]}
        self.assertEqual(members(5, status), {"supervisor": 5, "worker 0": 9, "worker 1": 7})

    def test_a_process_without_children_is_alone(self) -> None:
        """There is no supervisor where nobody is supervised."""
        status = {"workers": None}
        self.assertEqual(members(2**22 + 1, status), {ALONE: 2**22 + 1})

    def test_accepted(self) -> None:
        """Only connections that stand, and on the server's side of them."""
        self.assertEqual(accepted_at(8080, TCP), {101})

    def test_connections_by_process(self) -> None:
        """Who has a socket open has the connection."""
        with (
            closing(socket.create_server((HOST, 0))) as listening,
            closing(socket.create_connection(listening.getsockname())),
            closing(listening.accept()[0]),
        ):
            accepted = accepted_at(listening.getsockname()[1], Path("/proc/net/tcp").read_text())
            self.assertEqual(counted_by_process(accepted, [os.getpid()]), [1])

    def test_connections_by_status(self) -> None:
        """Where it says them, nobody else is asked."""
        self.assertEqual(connections_of(0, 0, {"workers": [{"connections": 3}, {"connections": 5}]}), [3, 5])


class SpreadTests(SynchronousTestCase):
    """How even is even."""

    def test_share(self) -> None:
        """The busiest worker's."""
        self.assertEqual(share_of_busiest([30, 10]), 75.0)

    def test_by_chance(self) -> None:
        """For two workers the mean is that of a normal distribution's absolute deviation, 1 / sqrt(2πn), above a half."""
        average, high = by_chance(256, 2)
        self.assertLess(abs(average - 50 - 100 * (2 * math.pi * 256) ** -0.5), 0.3)
        self.assertGreater(high, average)
        self.assertLess(by_chance(1000, 2)[0], average)

    def test_rows(self) -> None:
        """The least, the middle and the most of all openings, and chance beside them."""
        rows = spread_rows({64: [50.0, 60.0, 55.0]}, 2)
        self.assertEqual(rows[1][:4], ["64", "55.0 %", "50.0 %", "60.0 %"])
        self.assertEqual(len(rows[0]), len(rows[1]))


class VerdictTests(SynchronousTestCase):
    """The time until all know."""

    def ways(self, *notes: Note) -> list[float]:
        """Of these."""
        return ways(notes, SUPERVISOR, (A, B, C))

    def test_until_the_last_is_told(self) -> None:
        """The supervisor and all other workers; that its own word comes back to who said it takes no part."""
        told = [note(1, SUPERVISOR), note(2, A), note(3, B), note(5, C)]
        self.assertEqual(self.ways(note(0, A, told=False), *told), [5.0])

    def test_who_has_not_heard(self) -> None:
        """Then it is still on its way."""
        self.assertEqual(self.ways(note(0, A, told=False), note(1, SUPERVISOR), note(3, B)), [])

    def test_who_learns_it_too(self) -> None:
        """By its own traffic, while the word is on its way: it must still be told, and its own is no news."""
        notes = [note(0, A, told=False), note(1, B, told=False), note(2, SUPERVISOR), note(3, B), note(4, C)]
        self.assertEqual(self.ways(*notes), [4.0])
        self.assertEqual(self.ways(*notes, note(5, B, told=False)), [4.0])

    def test_what_is_overruled(self) -> None:
        """It never arrives."""
        notes = [note(0, A, told=False), note(1, SUPERVISOR), note(2, B), note(3, SUPERVISOR, up=True, told=False), note(9, C)]
        self.assertEqual(self.ways(*notes), [])

    def test_one_after_the_other(self) -> None:
        """Each counts, whoever learns it."""
        def round_of(start: float, origin: int, others: tuple[int, ...]) -> list[Note]:
            down = [note(start, origin, told=False), *(note(start + 2, pid) for pid in (SUPERVISOR, *others))]
            back = [note(start + 5, pid, up=True, told=pid != SUPERVISOR) for pid in (SUPERVISOR, A, B, C)]
            return [*down, *back]

        self.assertEqual(self.ways(*round_of(0, A, (B, C)), *round_of(10, B, (A, C))), [2.0, 2.0])

    def test_strangers(self) -> None:
        """A worker that has been replaced is none of them."""
        notes = [note(0, A, told=False), note(1, SUPERVISOR), note(2, 99), note(3, B), note(4, C)]
        self.assertEqual(self.ways(*notes), [4.0])

    def test_notes_are_read(self) -> None:
        """Whole lines, in the order of time."""
        text = "20 7 a:1 0 1\n10 8 b:2 1 0\n30 7 a"
        self.assertEqual(parse_notes(text), [Note(10, 8, "b:2", True, False), Note(20, 7, "a:1", False, True)])

    def test_rows(self) -> None:
        """Median, p99 and the longest."""
        self.assertEqual(verdict_rows([1.0, 2.0, 30.0])[1], ["3", "2.00 ms", "30.00 ms", "30.00 ms"])

    def test_hanging(self) -> None:
        """Who connects is left alone; who asks is left without an answer."""
        with closing(socket.socket()) as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        with hanging(port) as address, closing(socket.create_connection((HOST, port), 5)) as connection:
            self.assertEqual(address, f"{HOST}:{port}")
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(connection.recv(10), b"")


class TapTests(SynchronousTestCase):
    """Notes in each process."""

    def pool_with(self, notes: Path) -> Any:
        """A pool of a kind that makes notes."""
        file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.addCleanup(os.close, file)
        noting = type("Noting", (Pool,), {"apply": tap.noting(Pool.apply, file)})
        return noting([Backend("a", 1), Backend("b", 2)])

    def test_a_verdict_is_noted(self) -> None:
        """Who, of whom, and that it was learnt here."""
        notes = Path(self.mktemp())
        pool = self.pool_with(notes)
        pool.apply(Verdict("a:1", False, "it fails", "traffic"))
        pool.apply(Verdict("stranger:1", False, "it fails", "traffic"))
        (only,) = parse_notes(notes.read_text())
        self.assertEqual((only.pid, only.address, only.up, only.told), (os.getpid(), "a:1", False, False))
        self.assertFalse(pool.members["a:1"].up)

    def test_told_by_another_process(self) -> None:
        """Is what comes through the link."""
        link = ModuleType("lbproxy.workers.link_of_a_test")
        exec("import sys\ndef frame(): return sys._getframe()", link.__dict__)
        self.assertTrue(tap.by_another(link.frame()))
        self.assertFalse(tap.by_another(sys._getframe()))

    def test_nothing_without_being_asked(self) -> None:
        """A process that finds the tap and no place for notes stays as it is."""
        self.assertNotIn(tap.VARIABLE, os.environ)
        apply = Pool.apply
        tap.install()
        self.assertIs(Pool.apply, apply)


class ReportTests(SynchronousTestCase):
    """Tables and goals."""

    readings = [
        *(reading("lbproxy-1", number, cost) for number, cost in ((1, 50.0), (2, 100.0), (3, 50.0))),
        *(reading("lbproxy-2", number, cost, 2000.0) for number, cost in ((1, 54.0), (2, 108.0), (3, 90.0))),
    ]

    def test_the_ratio_is_the_median_of_the_rounds(self) -> None:
        """A round in which the machine was slow for both says nothing against workers."""
        self.assertAlmostEqual(cost_ratio(self.readings, 2) or 0, 1.08)

    def test_a_round_that_is_missing(self) -> None:
        """One without the other is no ratio."""
        self.assertIsNone(cost_ratio(self.readings[:3], 2))
        broken = [*self.readings[:3], Reading("lbproxy-2", "shared", 1, problem="no answer")]
        self.assertIsNone(cost_ratio(broken, 2))

    def test_goals(self) -> None:
        """Met, missed, or not measured, said aloud."""
        lines = [goal.line() for goal in goals(Found(2, self.readings, verdicts=[1.0, 150.0]))]
        self.assertEqual(lines[0], "met           CPU a request with 2 workers, × 1: 1.08 (at most 1.1)")
        self.assertEqual(lines[1], "MISSED        ms of a verdict's way, p99: 150.00 (at most 100)")
        nothing = goals(Found(2))
        self.assertEqual([goal.met for goal in nothing], [False, False])
        self.assertTrue(all(goal.line().startswith("not measured") for goal in nothing))

    def test_requests_are_compared_with_ours(self) -> None:
        """With as many workers."""
        rows = load_rows(summarise([*self.readings, Reading("nginx", "shared", 1, problem="no answer")]), 2)
        self.assertEqual([row[2] for row in rows], ["× lbproxy-2", "0.50", "1.00", "–"])
        self.assertEqual(len({len(row) for row in rows}), 1)

    def test_memory_rows(self) -> None:
        """A line a process, MiB, the median of the rounds."""
        held = Held(Memory(2048, 1024), Memory(4096, 3072))
        rows = memory_rows({1: [{ALONE: held}], 2: [{"supervisor": held, "worker 0": held}] * 3})
        self.assertEqual([row[0] for row in rows[1:]], [f"1 worker: {ALONE}", "2 workers: supervisor", "2 workers: worker 0"])
        self.assertEqual(rows[1][1:], ["2.0", "1.0", "4.0", "3.0"])

    def test_what_was_not_measured_is_left_out(self) -> None:
        """And why stands at the end."""
        found = Found(2, verdicts=[1.0], problems=["spread: no answer"])
        told = text(found, ["heading"])
        self.assertNotIn("spread of connections", told)
        self.assertIn("a verdict's way", told)
        self.assertTrue(told.endswith("  ! spread: no answer\n"))

    def test_values(self) -> None:
        """Everything, for JSON."""
        values = as_values(Found(2, self.readings, {64: [50.0]}, [1.0]))
        self.assertEqual([goal["met"] for goal in values["goals"]], [True, True])
        self.assertEqual(list(values["by_chance"]), [64])
