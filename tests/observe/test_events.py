"""Promises about events: each change is remembered, in order, with its evidence, and a flood of them floods nothing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Change, Verdict, Wish
from lbproxy.observe.events import LINES, LINES_SECONDS, EventLog
from lbproxy.settings import Settings

from ..support import START, given


def change(number: int = 1, was: str = "up", now: str = "down", reason: str = "refused: nobody there") -> Change:
    """Some backend's change of state."""
    return Change(START + number, "default", f"10.0.0.{number}:8000", was, now, reason, "traffic")


class EventCase(SynchronousTestCase):
    """An event log, and what is written meanwhile."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.log = EventLog(self.clock)

    def written(self, act: Any) -> list[tuple[LogLevel, str]]:
        """The log's lines while *act* is called."""
        with capturedLogs() as events:
            act()
        return [(event["log_level"], formatEvent(event)) for event in events]

    def flap(self, count: int) -> None:
        """So many changes at once."""
        for number in range(count):
            self.log(change(number))


class Kept(EventCase):
    """What can be asked for."""

    def test_a_change_is_kept_with_its_evidence(self) -> None:
        """Every word of it, with the time as people and programs read it."""
        self.log(change())
        self.assertEqual(
            self.log.events(),
            [
                {
                    "number": 1,
                    "time": "1970-01-01T00:16:41.000Z",
                    "pool": "default",
                    "address": "10.0.0.1:8000",
                    "was": "up",
                    "now": "down",
                    "reason": "refused: nobody there",
                    "source": "traffic",
                }
            ],
        )

    def test_the_oldest_comes_first(self) -> None:
        """Numbered from 1 on; who knows some already asks for those after them."""
        self.flap(5)
        self.assertEqual([event["number"] for event in self.log.events()], [1, 2, 3, 4, 5])
        self.assertEqual([event["number"] for event in self.log.events(since=3)], [4, 5])
        self.assertEqual((self.log.events(since=5), self.log.events(since=99)), ([], []))

    @given(st.integers(1, 7), st.integers(0, 30), st.integers(0, 40))
    def test_none_is_lost_unsaid(self, limit: int, count: int, since: int) -> None:
        """The last ones are kept; those that are asked for and kept no more are counted."""
        log = EventLog(Clock(), limit)
        with capturedLogs():
            for number in range(count):
                log(change(number))
        kept = [event["number"] for event in log.events(since)]
        self.assertEqual(kept, list(range(max(since, count - limit) + 1, count + 1)))
        self.assertEqual(len(kept) + log.dropped(since), max(0, count - since))
        self.assertEqual(log.last, count)

    def test_a_thousand_are_kept(self) -> None:
        """Memory has a bound, whatever flaps."""
        self.flap(1500)
        self.assertEqual((len(self.log.events()), self.log.dropped(), self.log.dropped(400)), (1000, 500, 100))

    def test_a_pool_tells_its_story(self) -> None:
        """As an observer of a pool: traffic, a probe, the operator, the configuration, and panic, in order."""
        pool = Pool(parse_backends(["a:1,b:2,c:3"]), seconds=self.clock.seconds, settings=Settings(panic=50))
        pool.observers.append(self.log)
        pool.apply(Verdict("a:1", False, "refused", "traffic"))
        pool.apply(Verdict("b:2", False, "probe: no answer", "probe"))
        pool.apply(Verdict("a:1", True, "connected", "probe"))
        pool.wish(Wish("c:3", "drain", "kernel update"))
        pool.set_backends(parse_backends(["a:1,c:3,d:4"]))
        told = [(event["address"], event["was"], event["now"], event["source"]) for event in self.log.events()]
        self.assertEqual(
            told,
            [
                ("a:1", "up", "down", "traffic"),
                ("b:2", "up", "down", "probe"),
                ("", "normal", "panic", "pool"),
                ("a:1", "down", "up", "probe"),
                ("", "panic", "normal", "pool"),
                ("c:3", "up", "draining", "operator"),
                ("b:2", "down", "", "configuration"),
                ("d:4", "", "down", "configuration"),
            ],
        )
        self.assertEqual(self.log.events()[5]["reason"], "kernel update")
        json.dumps(self.log.events())


class Written(EventCase):
    """What the log gets."""

    def test_a_line_says_who_and_why(self) -> None:
        """Bad news is a warning."""
        self.assertEqual(
            self.written(lambda: self.log(change())),
            [(LogLevel.warn, "10.0.0.1:8000 in pool default: up -> down (traffic): refused: nobody there")],
        )
        self.assertEqual(
            self.written(lambda: self.log(change(was="down", now="up", reason="connected"))),
            [(LogLevel.info, "10.0.0.1:8000 in pool default: down -> up (traffic): connected")],
        )

    def test_who_comes_and_who_goes(self) -> None:
        """A backend that is new was nothing before, and one that leaves is nothing after."""
        ((_, new),) = self.written(lambda: self.log(change(was="", now="up")))
        ((_, gone),) = self.written(lambda: self.log(change(was="up", now="")))
        self.assertIn(": new -> up (", new)
        self.assertIn(": up -> gone (", gone)

    def test_a_pools_panic_is_a_warning(self) -> None:
        """It is told of the pool, not of a backend."""
        panic = Change(START, "default", "", "normal", "panic", "1 of 3 backends are up: health is ignored", "pool")
        line = "pool default: normal -> panic (pool): 1 of 3 backends are up: health is ignored"
        self.assertEqual(self.written(lambda: self.log(panic)), [(LogLevel.warn, line)])

    def test_a_worker_is_of_no_pool(self) -> None:
        """Its line reads like a backend's."""
        ended = Change(START, "", "worker 0", "up", "down", "killed by SIGKILL; nothing was lost", "supervisor")
        line = "worker 0: up -> down (supervisor): killed by SIGKILL; nothing was lost"
        self.assertEqual(self.written(lambda: self.log(ended)), [(LogLevel.warn, line)])

    def test_evidence_cannot_forge_a_line(self) -> None:
        """Nor steer a terminal; letters of any language stay."""
        ((_, line),) = self.written(lambda: self.log(change(reason="x\r\ny\x1b[2J\x9b\u2028 größer {now}")))
        self.assertTrue(line.endswith(": x\\r\\ny\\x1b[2J\\x9b\\u2028 größer {now}"), line)

    def test_evidence_cannot_turn_a_line_round(self) -> None:
        """What makes text run from right to left, or cannot be written at all, is written as its number."""
        ((_, line),) = self.written(lambda: self.log(change(reason="\u202epu \u2066\udcff\u200b ok")))
        self.assertTrue(line.endswith(": \\u202epu \\u2066\\udcff\\u200b ok"), line)

    def test_a_flood_is_cut_short(self) -> None:
        """A hundred lines, and when the time is over one that says how many there were besides; then there are lines again."""
        self.assertEqual(len(self.written(lambda: self.flap(1000))), LINES)
        self.assertEqual(self.written(lambda: self.clock.advance(LINES_SECONDS - 0.1)), [])
        ((level, line),) = self.written(lambda: self.clock.advance(0.1))
        self.assertEqual(level, LogLevel.warn)
        self.assertEqual(line, "900 further changes of state within 10 s were left out here; /events has the last 1000")
        self.assertEqual(len(self.written(lambda: self.flap(3))), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_few_changes_are_all_written(self) -> None:
        """However long it goes on; and no timer runs for them."""
        for _ in range(20):
            self.assertEqual(len(self.written(lambda: self.flap(LINES))), LINES)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.clock.advance(LINES_SECONDS)

    def test_what_was_left_out_is_told_before_the_next_line(self) -> None:
        """Even when the timer is late."""
        self.written(lambda: self.flap(LINES + 1))
        self.clock.rightNow += LINES_SECONDS
        lines = self.written(lambda: self.flap(1))
        self.assertEqual([line[:9] for _, line in lines], ["1 further", "10.0.0.0:"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stop_leaves_nothing_behind(self) -> None:
        """What was left out is told, once, and no call waits."""
        self.written(lambda: self.flap(LINES + 7))
        ((_, line),) = self.written(self.log.stop)
        self.assertTrue(line.startswith("7 further changes"))
        self.assertEqual((self.clock.getDelayedCalls(), self.written(self.log.stop)), ([], []))
