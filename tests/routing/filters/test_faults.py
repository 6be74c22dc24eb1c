"""The filter ``faults``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.answers import Answer
from lbproxy.routing.filters.faults import Faults
from tests.routing.filters.support import context, live, passing
from tests.routing.support import RoutedRig
from tests.support import GET, OK, status


def course(spec: Faults, count: int = 200) -> list[str]:
    """What becomes of so many requests in a row."""
    one = live(spec)
    verdicts = [one.request(passing()) for _ in range(count)]
    return ["late" if isinstance(one, Deferred) else "abort" if one is not None else "" for one in verdicts]


class FaultsTests(SynchronousTestCase):
    """Some requests are delayed, some are answered."""

    def test_all_are_answered_where_no_share_is_said(self) -> None:
        """With the status that was asked for."""
        answer = live(Faults(abort=503)).request(passing())
        assert isinstance(answer, Answer)
        self.assertEqual((answer.status, answer.end), (503, "fault"))

    def test_a_share_is_a_share(self) -> None:
        """Of 1000 requests a tenth, more or less; and none of them at 0 %."""
        self.assertTrue(60 < course(Faults(abort=500, abort_share=10, seed=7), 1000).count("abort") < 140)
        self.assertEqual(set(course(Faults(abort=500, abort_share=0))), {""})

    def test_the_seed_says_which(self) -> None:
        """The same in each run, and others with another; a delay does not change which are answered."""
        first = course(Faults(abort=500, abort_share=30, seed=1))
        self.assertEqual(course(Faults(abort=500, abort_share=30, seed=1)), first)
        self.assertNotEqual(course(Faults(abort=500, abort_share=30, seed=2)), first)
        self.assertEqual(course(Faults(abort=500, abort_share=30, delay=1, delay_share=0, seed=1)), first)

    def test_a_delay_ends_by_the_clock(self) -> None:
        """Then the request goes on, or is answered after all."""
        for spec, expected in ((Faults(delay=2), None), (Faults(delay=2, abort=500), 500)):
            counted: list[str] = []
            made: Any = context(count=counted.append)
            waiting = spec.make(made).request(passing())
            assert isinstance(waiting, Deferred)
            made.clock.advance(1.9)
            self.assertNoResult(waiting)
            made.clock.advance(0.1)
            answer = self.successResultOf(waiting)
            self.assertEqual(answer and answer.status, expected)
            self.assertEqual(counted, (["abort"] if expected else []) + ["delay"])

    def test_who_leaves_is_not_waited_for(self) -> None:
        """Nothing is left with the clock."""
        made: Any = context()
        waiting: Any = Faults(delay=2).make(made).request(passing())
        waiting.addErrback(lambda reason: None)
        waiting.cancel()
        self.assertEqual(made.clock.getDelayedCalls(), [])

    def test_a_fault_is_needed(self) -> None:
        """And each key has its range."""
        for keys in ({}, {"delay": -1}, {"abort": 100}, {"abort": 500, "abort_share": 101}, {"abort": 500, "seed": "x"}):
            self.assertRaises(ConfigurationError, Faults, **keys)


class WholeTests(SynchronousTestCase):
    """Through a whole balancer."""

    def test_a_delayed_request_comes_late(self) -> None:
        """To the backend too."""
        rig = RoutedRig(Faults(delay=2))
        client = rig.client()
        client.send(GET)
        self.assertEqual(rig.connects, [])
        rig.wait(2)
        backend = rig.accept()
        backend.send(OK)
        rig.turn()
        self.assertEqual((status(client.received()), rig.counted), (200, ["delay"]))

    def test_a_client_that_leaves_ends_its_delay(self) -> None:
        """No backend hears of it."""
        rig = RoutedRig(Faults(delay=2))
        client = rig.client()
        client.send(GET)
        client.reset()
        rig.wait(3)
        self.assertEqual((rig.connects, rig.ended[0].end), ([], "client-left"))

    def test_a_status_without_a_body_has_none(self) -> None:
        """Nothing that a client would take for the next response."""
        for code in (204, 304):
            answer = RoutedRig(Faults(abort=code)).refused(GET + GET)
            heads = answer.split(b"\r\n\r\n")
            self.assertEqual((answer.count(b"HTTP/1.1 %d" % code), len(heads), heads[2]), (2, 3, b""))
            self.assertNotIn(b"content-length", answer.lower())

    def test_an_aborted_request_reaches_no_backend(self) -> None:
        """Its end says why; HEAD is answered without a body."""
        rig = RoutedRig(Faults(abort=418))
        came = rig.refused(GET.replace(b"GET", b"HEAD"))
        self.assertEqual((status(came), rig.ended[0].end), (418, "fault"))
        self.assertTrue(came.endswith(b"\r\n\r\n"))
