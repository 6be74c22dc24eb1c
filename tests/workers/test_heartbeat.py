"""A worker that does not answer any more is noticed, and no other is."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.workers.heartbeat import REPORT, Heartbeat


class HeartbeatTests(SynchronousTestCase):
    """Promises on the heartbeat."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[None]] = []
        self.silent: list[float] = []
        self.answers = True
        self.heartbeat = Heartbeat(self.ask, lambda: self.silent.append(self.clock.seconds()), lambda: 10.0, self.clock)
        self.heartbeat.start()

    def ask(self) -> Deferred[None]:
        """A question, answered or not."""
        self.asked.append(succeed(None) if self.answers else Deferred())
        return self.asked[-1]

    def pass_time(self, seconds: float) -> None:
        """In steps that no look is late by."""
        self.clock.pump([REPORT] * round(seconds / REPORT))

    def test_it_asks_at_once_and_every_half_second(self) -> None:
        """As often as the figures are to be new."""
        self.assertEqual(len(self.asked), 1)
        self.pass_time(5.0)
        self.assertEqual(len(self.asked), 11)

    def test_one_that_answers_is_never_silent(self) -> None:
        """However long it lives."""
        self.pass_time(100.0)
        self.assertEqual(self.silent, [])

    def test_silence_is_told_once(self) -> None:
        """After the limit, and then nothing more is asked."""
        self.answers = False
        self.pass_time(30.0)
        self.assertEqual(self.silent, [10.5])
        self.assertEqual(len(self.asked), 2)

    def test_who_is_slow_is_asked_when_it_has_answered(self) -> None:
        """Questions do not pile up, and a late answer ends the silence."""
        self.answers = False
        self.pass_time(9.0)
        self.assertEqual(len(self.asked), 2)
        self.answers = True
        self.asked[-1].callback(None)
        self.pass_time(30.0)
        self.assertEqual(self.silent, [])

    def test_time_in_which_the_supervisor_itself_was_stopped_is_no_silence(self) -> None:
        """A machine that was suspended for an hour has its workers afterwards."""
        self.answers = False
        self.pass_time(1.0)
        self.clock.advance(3600.0)
        self.assertEqual(self.silent, [])
        self.pass_time(9.0)
        self.assertEqual(len(self.silent), 1)

    def test_an_answer_that_is_a_failure_is_one(self) -> None:
        """The end of a worker is told elsewhere."""
        self.answers = False
        self.pass_time(1.0)
        self.asked[-1].errback(RuntimeError("gone"))
        self.pass_time(1.0)
        self.assertEqual(len(self.asked), 3)

    def test_stopped_it_leaves_no_call_behind(self) -> None:
        """Twice does no harm."""
        self.heartbeat.stop()
        self.heartbeat.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
