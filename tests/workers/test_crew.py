"""A supervisor's workers live, die, hang, and are replaced; they agree on what is gone by."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any
from unittest.mock import patch

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import lbproxy.service
from lbproxy.config.model import Configuration
from lbproxy.errors import LBProxyError
from lbproxy.workers import crew, lives
from lbproxy.workers.backoff import AT_MOST, TELL_AFTER
from lbproxy.workers.board import ROWS_EACH
from lbproxy.workers.state import packed
from lbproxy.workers.supervisor import SupervisorRole, supervised

from ..sites import configuration
from ..tls.fake_store import Threads
from .fakes import START, FakeProcess, HeldEndpoint, Reactor

ABORTED = [signal.SIGABRT, signal.SIGKILL]


class CrewCase(SynchronousTestCase):
    """Has a supervisor of two workers."""

    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.threads = Threads()
        self.ports: list[Any] = []
        self.patch(HeldEndpoint, "ports", self.ports)
        self.patch(SupervisorRole, "endpoint", lambda role, reactor, description: HeldEndpoint(description))
        self.patch(lbproxy.service, "in_thread_of", lambda reactor, job: self.threads(job))
        self.failed: list[Failure] = []
        self.logged: list[Any] = []
        observer: Any = self.logged.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.service = supervised(self.configured(), reactor=self.reactor, cannot_start=self.failed.append)
        role: Any = self.service.role
        self.crew = role.crew
        self.addCleanup(self.end)

    def configured(self, **more: Any) -> Configuration:
        """What is gone by."""
        given = configuration("10.0.0.1:80,10.0.0.2:80", **self.settings)
        return attrs.evolve(given, listen=("tcp:80",), workers=2, **more)

    def end(self) -> None:
        """All processes, and what would wait for them."""
        for process in self.reactor.processes:
            process.die(signal.SIGKILL)
        self.crew.stopService()
        for process in self.reactor.processes:
            process.die(signal.SIGKILL)

    def start(self) -> list[FakeProcess]:
        """All serve."""
        self.service.startService()
        self.reactor.go()
        return self.reactor.processes

    def heartbeat(self) -> float:
        """Seconds, as they are configured."""
        return self.configured().worker_heartbeat

    def said(self, level: LogLevel | None = None) -> list[str]:
        """What the log has of the workers."""
        events = [one for one in self.logged if str(one.get("log_namespace", "")).startswith("lbproxy.")]
        return [one["log_format"].format(**one) for one in events if level is None or one["log_level"] is level]

    def states(self) -> list[tuple[int, str]]:
        """The numbers and states of all, those first who hold a post; ``waiting``: nobody does."""
        found = []
        for post in self.crew.posts:
            found += [] if post.worker is not None else [(post.number, "waiting")]
            found += [(post.number, one.state) for one in post.processes]
        return found


class BeginTests(CrewCase):
    """Promises on how workers begin."""

    def test_each_is_given_a_number_and_what_is_served(self) -> None:
        """With its own row of the board, and the board itself; its standard input is nobody's."""
        processes = self.start()
        self.assertEqual([one.worker.begun["number"] for one in processes], [0, 1])
        self.assertEqual([one.worker.begun["row"] for one in processes], [0, 1])
        for process in processes:
            self.assertEqual(process.worker.said[:2], ["Socket tcp:80:backlog=1024", "Begin"])
            self.assertEqual(process.fds[1], 1)
            self.assertEqual(process.fds[2], "r")
            self.assertNotEqual(process.fds[0], 0)
            self.assertEqual(process.fds[4], self.crew.board.fd)

    def test_it_is_ready_when_all_serve(self) -> None:
        """Not sooner; and the log says only then that it serves."""
        self.reactor.prepare = lambda worker: worker.holds.add("Begin")
        ready = self.crew.when_ready()
        first, second = self.start()
        first.worker.answer()
        self.reactor.go()
        self.assertNoResult(ready)
        self.assertEqual(self.states(), [(0, "serving"), (1, "starting")])
        self.assertFalse([line for line in self.said() if line.startswith("serving")])
        second.worker.answer()
        self.reactor.go()
        self.assertIsNone(self.successResultOf(ready))
        self.assertIsNone(self.successResultOf(self.crew.when_ready()))
        self.assertEqual(len([line for line in self.said() if line.startswith("serving")]), 1)

    def test_not_all_of_many_begin_at_once(self) -> None:
        """They would wait for the cores together, until the time to begin is over for all of them."""
        self.patch(lives, "AT_ONCE", 1)
        self.reactor.prepare = lambda worker: worker.holds.add("Begin")
        (first,) = self.start()
        self.assertEqual(self.states(), [(0, "starting"), (1, "waiting")])
        first.worker.answer()
        self.reactor.go()
        self.assertEqual(self.states(), [(0, "serving"), (1, "starting")])
        first.die(signal.SIGKILL)
        self.reactor.go()
        self.assertEqual(self.states(), [(0, "waiting"), (1, "starting")])
        self.reactor.processes[1].die(signal.SIGKILL)
        self.reactor.go()
        self.assertEqual(self.states(), [(0, "starting"), (1, "waiting")])

    def test_those_that_have_not_begun_are_not_started_any_more_once_all_are_told_to_end(self) -> None:
        """Nobody is left behind."""
        self.patch(lives, "AT_ONCE", 1)
        self.reactor.prepare = lambda worker: worker.holds.add("Begin")
        (first,) = self.start()
        self.crew.drain()
        first.die(status=0)
        self.reactor.go()
        self.assertEqual(len(self.reactor.processes), 1)
        self.successResultOf(self.crew.when_gone())

    def test_the_configuration_is_packed_once_for_all(self) -> None:
        """It may be large, and the supervisor has more to do; another configuration is packed anew."""
        made: list[Any] = []

        def pack(given: Any) -> bytes:
            made.append(given)
            return packed(given)

        self.patch(crew, "packed", pack)
        first, _ = self.start()
        first.die(signal.SIGKILL)
        self.reactor.go()
        self.assertEqual((len(self.reactor.processes), len(made)), (3, 1))
        self.service.reload(self.configured(worker_heartbeat=9.0))
        self.reactor.go()
        self.assertEqual([one.worker_heartbeat for one in made], [self.configured().worker_heartbeat, 9.0])

    def test_a_refusal_at_the_first_start_ends_it(self) -> None:
        """All are ended, none is tried again, and whoever waits is told why."""
        self.reactor.prepare = lambda worker: worker.refuses.update(Begin="the plugin cannot be made")
        ready = self.crew.when_ready()
        self.start()
        self.reactor.go(60.0)
        self.assertEqual(self.failureResultOf(ready, LBProxyError).getErrorMessage(), "the plugin cannot be made")
        self.failureResultOf(self.crew.when_ready(), LBProxyError)
        self.assertEqual([one.getErrorMessage() for one in self.failed], ["the plugin cannot be made"])
        self.assertEqual(len(self.reactor.processes), 2)
        self.assertEqual([one.ended for one in self.reactor.processes], [True, True])

    def test_one_that_dies_again_and_again_at_the_first_start_ends_it(self) -> None:
        """Something is wrong with all of them."""
        self.reactor.prepare = lambda worker: worker.holds.add("Begin")
        ready = self.crew.when_ready()
        self.start()
        while not self.failed:
            self.reactor.processes[-1].write(b"ImportError: no such thing\n")
            self.reactor.processes[-1].die(status=1)
            self.reactor.go(5.0)
        why = self.failureResultOf(ready, LBProxyError).getErrorMessage()
        self.assertIn("ended with status 1", why)
        self.assertIn("ImportError: no such thing", why)
        self.assertEqual(len(self.reactor.processes), 1 + TELL_AFTER)

    def test_a_refusal_later_does_not_end_it(self) -> None:
        """The log says why, and it is tried again."""
        first, _ = self.start()
        self.reactor.prepare = lambda worker: worker.refuses.update(Begin="a file is gone")
        first.die(signal.SIGSEGV)
        self.reactor.go(2.0)
        self.assertIn("worker 0 cannot begin: a file is gone", self.said(LogLevel.error))
        self.assertEqual(self.failed, [])
        self.assertGreater(len(self.reactor.processes), 3)

    def test_one_that_does_not_begin_in_time_is_killed(self) -> None:
        """It says in the log where it hangs, and its successor is tried."""
        self.reactor.prepare = lambda worker: worker.holds.add("Begin")
        first, _ = self.start()
        self.reactor.prepare = lambda worker: None
        self.reactor.go(lives.BEGIN + 2.0)
        self.assertEqual(first.signals, ABORTED)
        self.assertEqual(self.states(), [(0, "serving"), (1, "serving")])
        self.assertIn("worker 0, process 100, has not begun to serve within 60 s: it is killed", self.said(LogLevel.error))

    def test_nothing_is_said_to_one_that_could_not_be_started(self) -> None:
        """There is no descriptor left, for a moment; what is said then is for those that there are, and nothing stays open."""
        self.start()
        before = len(os.listdir("/proc/self/fd"))
        with patch("lbproxy.workers.process.os.open", side_effect=OSError(errno.EMFILE, "too many open files")):
            self.crew.posts[0].step_down(self.crew.workers[0])
            self.crew._start(self.crew.posts[0])
            self.crew.read_certificates()
            self.crew.drain()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_where_no_process_can_be_started_it_is_tried_again(self) -> None:
        """The machine may have room for it later."""
        first, _ = self.start()
        self.reactor.broken = OSError(errno.EAGAIN, "no more processes")
        first.die(signal.SIGKILL)
        self.reactor.go(1.0)
        self.assertEqual(self.states()[0], (0, "waiting"))
        self.assertIn("no more processes", self.crew.posts[0].last_end)
        self.reactor.broken = None
        self.reactor.go(8.0)
        self.assertEqual(self.states(), [(0, "serving"), (1, "serving")])


class DeathTests(CrewCase):
    """Promises on workers that die."""

    def test_it_is_replaced_at_once(self) -> None:
        """By one of the same number; its sibling is not touched."""
        first, second = self.start()
        self.reactor.go(20.0)
        first.die(signal.SIGKILL)
        self.reactor.go()
        self.assertEqual(self.states(), [(0, "serving"), (1, "serving")])
        post = self.crew.posts[0]
        self.assertEqual((self.crew.workers[0].pid, post.restarts, post.last_end), (102, 1, "killed by SIGKILL"))
        self.assertFalse(second.signals)
        self.assertEqual(self.said(LogLevel.error), [], "the change of state is told as such, and once")

    def test_one_that_dies_early_is_replaced_later_and_later(self) -> None:
        """At once, after 0.5 s, after 1 s …"""
        self.start()
        waits = []
        for _ in range(10):
            self.crew.workers[0].transport.die(signal.SIGSEGV)
            waiting = self.crew.posts[0].waiting
            waits.append(0.0 if waiting is None else waiting.getTime() - self.reactor.seconds())
            self.reactor.go(waits[-1])
            self.assertIn(0, self.crew.workers)
        self.assertEqual(waits, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, AT_MOST, AT_MOST, AT_MOST])
        self.assertEqual(self.crew.posts[0].restarts, 10)

    def test_a_row_of_early_deaths_is_one_clear_error(self) -> None:
        """It names how often, the last reason, and the last line of its log."""
        self.start()
        for _ in range(TELL_AFTER + 2):
            self.crew.workers[0].transport.write(b"MemoryError: too little\n")
            self.crew.workers[0].transport.die(signal.SIGSEGV)
            self.reactor.go(AT_MOST)
            if 0 not in self.crew.workers:
                self.reactor.go(AT_MOST)
            if self.crew.workers[0].served:
                self.crew.workers[0].served = self.reactor.seconds()  # as if it had begun just now
        rows = [line for line in self.said(LogLevel.error) if "in a row" in line]
        self.assertEqual(len(rows), 1)
        for part in (f"{TELL_AFTER} times in a row", "killed by SIGSEGV", "MemoryError: too little", "[worker 0]"):
            self.assertIn(part, rows[0])

    def test_one_that_has_served_for_a_while_is_no_early_death(self) -> None:
        """What came before is forgotten."""
        self.start()
        for _ in range(3):
            self.crew.workers[0].transport.die(signal.SIGSEGV)
            self.reactor.go(1.0)
        self.reactor.go(10.0)
        self.crew.workers[0].transport.die(signal.SIGSEGV)
        self.assertEqual(self.states()[0], (0, "starting"))

    def test_who_counts_is_told_before_its_row_is_cleared(self) -> None:
        """What was in its hands stands there."""
        first, _ = self.start()
        self.crew.board.row(0)[1] = 7
        seen: list[Any] = []
        self.crew.on_end.insert(0, lambda worker, reason: seen.append((worker.number, self.crew.board.row(worker.row)[1])))
        first.die(signal.SIGKILL)
        self.assertEqual(seen, [(0, 7)])
        self.assertEqual(self.crew.board.row(0)[1], 0)

    def test_its_log_is_the_supervisors(self) -> None:
        """Marked with its number."""
        _, second = self.start()
        second.write(b"something odd\n")
        (event,) = [one for one in self.logged if one.get("log_system") == "worker 1"]
        self.assertEqual(event["text"], "something odd")


class HungTests(CrewCase):
    """Promises on workers that hang."""

    def test_reports_are_handed_on(self) -> None:
        """With whose they are."""
        self.reactor.prepare = lambda worker: setattr(worker, "sheet", {"answered": 3})
        taken: list[Any] = []
        self.crew.on_report.append(lambda worker, sheet: taken.append((worker.number, sheet)))
        self.start()
        self.assertEqual(taken, [(0, {"answered": 3}), (1, {"answered": 3})])
        self.reactor.go(1.0)
        self.assertEqual(len(taken), 6)

    def test_a_report_that_comes_late_counts(self) -> None:
        """One that hangs for a while says then what it has counted."""
        first, _ = self.start()
        self.reactor.go(0.125)
        first.worker.holds.add("Report")
        taken: list[Any] = []
        self.crew.on_report.append(lambda worker, sheet: taken.append(worker.number))
        asked = self.crew.ask_report(self.crew.workers[0])
        self.reactor.go(0.75)
        self.assertNoResult(asked)
        first.worker.answer()
        self.reactor.go()
        self.successResultOf(asked)
        self.assertIn(0, taken)

    def test_one_that_serves_is_told_of_at_once(self) -> None:
        """Before its first report: it may die before that."""
        told: list[int] = []
        self.crew.on_serve.append(lambda worker: told.append(worker.number))
        self.start()
        self.assertEqual(told, [0, 1])
        events = [event["reason"] for event in self.service.events.events()]
        self.assertEqual(events, ["process 100 serves", "process 101 serves"])

    def test_a_silent_one_is_killed_and_replaced(self) -> None:
        """It gets a second to say where it hangs; the log says why it was killed."""
        first, second = self.start()
        first.worker.holds.add("Report")
        self.reactor.go(2 * self.heartbeat() + 1.0)
        self.assertEqual(first.signals, [signal.SIGABRT])
        self.reactor.go(1.0)
        self.assertEqual(first.signals, ABORTED)
        self.assertEqual(second.signals, [])
        self.assertEqual(self.states(), [(0, "serving"), (1, "serving")])
        self.assertIn("worker 0, process 100, has not answered for 10 s: it is killed", self.said(LogLevel.error))
        self.assertEqual(self.crew.posts[0].last_end, "killed by SIGKILL, as it has not answered for 10 s")

    def test_one_that_dies_of_the_first_signal_is_not_sent_another(self) -> None:
        """Its number may be another process's by then."""
        first, _ = self.start()
        first.worker.holds.add("Report")
        self.reactor.go(2 * self.heartbeat() + 1.0)
        first.die(signal.SIGABRT)
        self.reactor.go(5.0)
        self.assertEqual(first.signals, [signal.SIGABRT])

    def test_one_whose_link_is_lost_is_replaced(self) -> None:
        """It brings to its end what runs, and is killed if it does not end."""
        first, _ = self.start()
        first.link.cut()
        self.reactor.go(2.0)
        self.assertEqual(self.states(), [(0, "serving"), (0, "draining"), (1, "serving")])
        self.assertEqual(first.signals, [])
        self.reactor.go(40.0)
        self.assertEqual(first.signals, [signal.SIGKILL])
        self.assertEqual(self.states(), [(0, "serving"), (1, "serving")])


class LeaveTests(CrewCase):
    """Promises on a worker that was told to end by a signal."""

    def test_its_successor_begins_while_it_drains(self) -> None:
        """With a row of its own on the board, so that both can count."""
        first, _ = self.start()
        first.worker.leave()
        self.reactor.go()
        self.assertEqual(self.states(), [(0, "serving"), (0, "draining"), (1, "serving")])
        self.assertEqual(self.reactor.processes[2].worker.begun["row"], 2)
        self.assertEqual(self.crew.posts[0].restarts, 1)
        first.die(status=0)
        self.assertEqual(self.states(), [(0, "serving"), (1, "serving")])
        self.assertEqual(len(self.reactor.processes), 3)

    def test_it_is_killed_if_it_does_not_end_in_time(self) -> None:
        """The time of a drain, and a little more."""
        first, _ = self.start()
        first.worker.leave()
        self.reactor.go(31.0)
        self.assertEqual(first.signals, [])
        self.reactor.go(2.0)
        self.assertEqual(first.signals, [signal.SIGKILL])

    def test_its_last_report_counts(self) -> None:
        """Nothing of what it has done is missing."""
        first, _ = self.start()
        taken: list[Any] = []
        self.crew.on_report.append(lambda worker, sheet: taken.append(sheet))
        first.worker.leave()
        first.worker.farewell({"answered": 9})
        self.reactor.go()
        self.assertIn({"answered": 9}, taken)

    def test_many_in_a_row_are_no_early_deaths(self) -> None:
        """Somebody wants it so. With more of them than the board has rows, one must have ended before the next one begins."""
        self.start()
        for _ in range(8):
            self.reactor.processes[-1].worker.leave()
            self.reactor.go()
        rows = [worker.row for post in self.crew.posts for worker in post.processes]
        self.assertEqual(len(set(rows)), len(rows))
        self.assertEqual(self.states()[1:], [(1, "waiting"), *[(1, "draining")] * ROWS_EACH])
        self.assertEqual(self.crew.posts[1].waiting, None)
        self.reactor.processes[1].die(status=0)
        self.reactor.go()
        self.assertEqual(self.states()[1:], [(1, "serving"), *[(1, "draining")] * (ROWS_EACH - 1)])


class EndTests(CrewCase):
    """Promises on the end of all."""

    settings = {"drain": 10.0}

    def test_all_drain_and_none_is_replaced(self) -> None:
        """It is over when the last one has ended."""
        first, second = self.start()
        stopped = self.service.stopService()
        self.reactor.go()
        self.assertEqual(first.worker.words[-1], "Drain")
        first.die(status=0)
        self.reactor.go(1.0)
        self.assertNoResult(stopped)
        second.die(status=0)
        self.successResultOf(stopped)
        self.assertEqual(len(self.reactor.processes), 2)

    def test_one_that_takes_too_long_is_killed(self) -> None:
        """Whoever stops the supervisor does not wait longer than for one process."""
        self.start()
        stopped = self.service.stopService()
        self.reactor.go(11.5)
        self.assertNoResult(stopped)
        self.reactor.go(1.0)
        self.successResultOf(stopped)

    def test_told_again_nothing_is_waited_for(self) -> None:
        """Workers are told so, and are killed soon."""
        first, _ = self.start()
        stopped = self.service.stopService()
        self.reactor.go(1.0)
        self.service.stopService()
        self.reactor.go()
        self.assertEqual(first.worker.words[-1], "Drain now")
        self.reactor.go(2.5)
        self.successResultOf(stopped)

    def test_one_that_has_not_begun_is_not_waited_for_long(self) -> None:
        """It may hang, and has nothing to bring to its end."""
        self.reactor.prepare = lambda worker: worker.holds.update({"Begin", "Drain"})
        self.start()
        stopped = self.service.stopService()
        self.reactor.go(lives.LATE + 0.5)
        self.successResultOf(stopped)

    def test_one_that_has_begun_meanwhile_drains(self) -> None:
        """It may have accepted connections. It is not what says that all serve."""
        self.reactor.prepare = lambda worker: worker.holds.update({"Begin", "Drain"})
        processes = self.start()
        ready = self.crew.when_ready()
        stopped = self.service.stopService()
        for process in processes:
            process.worker.answer()
        self.reactor.go(9.0)
        self.assertNoResult(stopped)
        self.assertEqual(self.states(), [(0, "waiting"), (0, "draining"), (1, "waiting"), (1, "draining")])
        self.assertNoResult(ready)
        self.reactor.go(4.0)
        self.successResultOf(stopped)

    def test_one_that_waits_to_be_started_is_not(self) -> None:
        """It would only have to be ended."""
        self.start()
        for _ in range(3):
            self.crew.workers[0].transport.die(signal.SIGSEGV)
            self.reactor.go(0.5)
        self.assertEqual(self.states()[0], (0, "waiting"))
        self.service.stopService()
        self.reactor.processes[1].die(status=0)
        self.reactor.go(10.0)
        self.assertEqual([one for one in self.reactor.processes if not one.ended], [])

    def test_those_that_leave_already_are_told_as_well(self) -> None:
        """A second signal is meant for them too."""
        first, _ = self.start()
        first.worker.leave()
        self.reactor.go()
        stopped = self.service.stopService()
        self.service.stopService()
        self.reactor.go()
        self.assertIn("Drain now", first.worker.said)
        self.reactor.go(3.0)
        self.successResultOf(stopped)

    def test_started_again_others_serve(self) -> None:
        """Those that were told to end do, and are not waited for."""
        self.start()
        stopped = self.service.stopService()
        self.reactor.go(1.0)
        self.service.startService()
        self.reactor.go()
        self.successResultOf(stopped)
        self.assertEqual(sorted(self.states()), [(0, "draining"), (0, "serving"), (1, "draining"), (1, "serving")])


class SlowEndTests(CrewCase):
    """Promises on the end where new connections are taken for a while."""

    settings = {"drain_delay": 5.0, "drain": 10.0}

    def test_listeners_are_closed_when_the_delay_is_over(self) -> None:
        """The supervisor's copies of the sockets are closed as the workers close theirs."""
        closed: list[float] = []

        def close() -> Deferred[None]:
            closed.append(self.reactor.seconds())
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done

        self.start()
        self.patch(self.service.listeners, "close_clients", close)
        self.service.stopService()
        self.assertTrue(self.service.draining)
        self.reactor.go(4.5)
        self.assertEqual(closed, [])
        self.reactor.go(1.0)
        self.assertEqual(closed, [START + 5.0])

    def test_told_again_they_are_closed_at_once(self) -> None:
        """And only once."""
        closed: list[float] = []
        ordinary = self.service.listeners.close_clients

        def close() -> Deferred[Any]:
            closed.append(self.reactor.seconds())
            return ordinary()

        self.patch(self.service.listeners, "close_clients", close)
        self.start()
        self.service.stopService()
        self.reactor.go(1.0)
        self.service.stopService()
        self.service.stopService()
        self.reactor.go(10.0)
        self.assertEqual(len(closed), 1)


class AgreementTests(CrewCase):
    """Promises on going from one configuration to another."""

    def change(self, **more: Any) -> Deferred[Any]:
        """Go by another configuration."""
        return self.service.reload(attrs.evolve(self.configured(), listen=("tcp:80", "tcp:81"), **more))

    def test_all_agree_and_all_go_by_it(self) -> None:
        """In this order: each has prepared before one is told to go by it."""
        first, second = self.start()
        second.worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go(1.0)
        self.assertEqual(first.worker.said.count("Prepare"), 1)
        self.assertNotIn("Commit", first.worker.said)
        self.assertNoResult(result)
        second.worker.answer()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)
        for process in (first, second):
            self.assertEqual(process.worker.said.count("Commit"), 1)
            self.assertEqual(process.worker.said.count("Socket tcp:81:backlog=1024"), 1)

    def test_one_that_refuses_refuses_for_all(self) -> None:
        """When all that were asked have answered; nobody goes by it, the supervisor included."""
        first, second = self.start()
        second.worker.refuses["Prepare"] = "pools.default: no such thing"
        second.worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go()
        self.assertNoResult(result)
        second.worker.answer()
        self.reactor.go()
        came = self.successResultOf(result)
        self.assertEqual((came.ok, came.errors), (False, ("pools.default: no such thing",)))
        for process in (first, second):
            self.assertEqual(process.worker.said.count("Abandon"), 1)
            self.assertNotIn("Commit", process.worker.said)
        assert self.service.configuration is not None
        self.assertEqual(self.service.configuration.listen, ("tcp:80",))
        self.assertEqual([port.open for port in self.ports], [True, False])

    def test_one_mistake_is_told_once(self) -> None:
        """Though all workers have found it."""
        for process in self.start():
            process.worker.refuses["Prepare"] = "a line\nanother"
        result = self.change()
        self.reactor.go()
        self.assertEqual(self.successResultOf(result).errors, ("a line", "another"))

    def test_of_one_that_dies_the_successor_is_asked(self) -> None:
        """It may have died of the question."""
        first, _ = self.start()
        first.worker.holds.add("Prepare")
        self.reactor.prepare = lambda worker: worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go()
        first.die(signal.SIGKILL)
        self.reactor.go()
        self.assertNoResult(result)
        third = self.reactor.processes[2].worker
        third.answer()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)
        self.assertEqual(third.words, ["Begin", "Prepare", "Commit"])
        self.assertIn("Socket tcp:81:backlog=1024", third.said)

    def test_what_kills_two_in_a_row_is_gone_by_by_none(self) -> None:
        """It would kill all, for which reason one is asked first; the others serve on and know nothing of it."""
        first, second = self.start()
        first.worker.holds.add("Prepare")
        self.reactor.prepare = lambda worker: worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go(1.0)
        first.die(signal.SIGSEGV)
        self.reactor.go()
        self.reactor.processes[2].die(signal.SIGSEGV)
        self.reactor.go()
        came = self.successResultOf(result)
        self.assertEqual((came.ok, came.errors), (False, ("worker 0 has ended twice while it prepared; its log may tell why",)))
        self.assertEqual(second.worker.words, ["Begin"])
        self.reactor.go(1.0)
        self.assertEqual(self.reactor.processes[3].worker.words, ["Begin"])

    def test_its_end_may_be_known_before_that_of_its_link(self) -> None:
        """Its successor has begun by then, and is asked once."""
        _, second = self.start()
        second.worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go()
        second.end_first()
        self.reactor.go()
        second.link.cut()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)
        self.assertEqual(self.reactor.processes[2].worker.words, ["Begin", "Prepare", "Commit"])

    def test_one_that_is_to_be_asked_dies_before(self) -> None:
        """Its successor is asked in its place."""
        first, second = self.start()
        first.worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go()
        second.die(signal.SIGKILL)
        self.reactor.go()
        self.assertNoResult(result)
        first.worker.answer()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)
        self.assertEqual(self.reactor.processes[2].worker.words, ["Begin", "Prepare", "Commit"])

    def test_one_that_cannot_begin_meanwhile_is_not_waited_for(self) -> None:
        """It would begin with whatever is decided."""
        first, second = self.start()
        second.worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go()
        self.reactor.prepare = lambda worker: worker.refuses.update(Begin="no memory")
        first.die(signal.SIGKILL)
        self.reactor.go()
        second.worker.answer()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)

    def test_no_successor_is_waited_for_once_all_are_to_end(self) -> None:
        """There will be none."""
        first, _ = self.start()
        self.crew.workers[0].heartbeat.stop()
        first.die(signal.SIGKILL)
        self.reactor.go(1.0)
        third = self.reactor.processes[2]
        third.worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go()
        third.die(signal.SIGKILL)
        self.assertEqual(self.states()[0], (0, "waiting"))
        self.assertNoResult(result)
        self.service.stopService()
        self.reactor.go()
        self.assertEqual(self.successResultOf(result).errors, ("nothing can be changed: it is stopping",))

    def test_one_that_begins_meanwhile_is_asked_too(self) -> None:
        """It begins with what there was, for nothing is decided yet, and is told what was."""
        first, second = self.start()
        second.worker.holds.add("Prepare")
        result = self.change()
        self.reactor.go()
        first.die(signal.SIGKILL)
        self.reactor.go()
        third = self.reactor.processes[2].worker
        self.assertEqual(third.words, ["Begin", "Prepare"])
        self.assertNoResult(result)
        second.worker.answer()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)
        self.assertEqual(third.words, ["Begin", "Prepare", "Commit"])

    def test_one_that_waits_begins_at_once_with_what_was_decided(self) -> None:
        """The reason for which its predecessors have ended may be gone. It is asked nothing."""
        self.start()
        for _ in range(3):
            self.crew.workers[0].transport.die(signal.SIGKILL)
            self.reactor.go(0.5)
        self.assertEqual(self.states()[0], (0, "waiting"))
        result = self.change()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)
        self.assertEqual(self.states()[0], (0, "serving"))
        self.assertEqual(self.reactor.processes[-1].worker.words, ["Begin"])

    def test_one_that_starts_just_now_is_waited_for(self) -> None:
        """It prepares when it has begun."""
        first, _ = self.start()
        self.reactor.prepare = lambda worker: worker.holds.update({"Begin", "Prepare"})
        first.die(signal.SIGKILL)
        self.reactor.go()
        result = self.change()
        self.reactor.go()
        third = self.reactor.processes[2].worker
        self.assertEqual(third.words, ["Begin", "Prepare"])
        self.assertNoResult(result)
        third.answer()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)

    def test_one_that_hangs_is_killed_and_all_others_go_by_it(self) -> None:
        """By the heartbeat; nobody waits for ever."""
        first, second = self.start()
        first.worker.holds |= {"Prepare", "Report"}
        result = self.change()
        self.reactor.go(2 * self.heartbeat() + 4.0)
        self.assertTrue(first.ended)
        self.assertTrue(self.successResultOf(result).ok)
        self.assertIn("Commit", second.worker.said)
        self.assertIn("Socket tcp:81:backlog=1024", self.reactor.processes[2].worker.said)

    def test_one_that_leaves_has_agreed(self) -> None:
        """It ends anyway, and is neither waited for nor killed for its refusal."""
        first, _ = self.start()
        first.worker.holds.add("Prepare")
        first.worker.refuses["Prepare"] = "it is stopping"
        result = self.change()
        self.reactor.go()
        first.worker.leave()
        first.worker.answer()
        self.reactor.go()
        self.assertTrue(self.successResultOf(result).ok)
        self.assertEqual(first.signals, [])

    def test_one_that_cannot_go_by_it_after_all_is_replaced(self) -> None:
        """Its successor begins with it."""
        first, _ = self.start()
        first.worker.refuses["Commit"] = "a mistake"
        result = self.change()
        self.reactor.go(1.0)
        self.assertTrue(self.successResultOf(result).ok)
        self.assertEqual(first.signals, [signal.SIGKILL])
        self.assertEqual(self.states(), [(0, "serving"), (1, "serving")])

    def test_where_the_supervisor_cannot_nobody_does(self) -> None:
        """Workers wait for no decision that never comes."""
        first, _ = self.start()

        def broken(*_: Any) -> None:
            raise RuntimeError("of all things")

        self.patch(self.service.site, "apply", broken)
        result = self.change()
        self.reactor.go()
        self.assertFalse(self.successResultOf(result).ok)
        self.assertEqual(first.worker.said.count("Abandon"), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_certificates_are_read_by_all(self) -> None:
        """When the supervisor has."""
        first, second = self.start()
        self.service.role.certificates_read()
        self.reactor.go()
        for process in (first, second):
            self.assertIn("Certificates", process.worker.said)
