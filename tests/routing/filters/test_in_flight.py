"""Promises of the filter in-flight."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IFilter
from lbproxy.routing.filters.in_flight import InFlight
from lbproxy.testing import FilterConformance, StubPassage

from ...support import GET, OK, status
from .filtered import FilteredRig, context

UPGRADE = b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class InFlightConformance(FilterConformance, SynchronousTestCase):
    """It is a filter."""

    def make_filter(self, context: Any) -> Any:
        return InFlight(limit=20, by="route").make(context)


class InFlightTests(SynchronousTestCase):
    """On values."""

    def make(self, **options: Any) -> Any:
        made, self.counted = context()
        return InFlight(**{"limit": 2, **options}).make(made)

    def test_it_provides_the_interface(self) -> None:
        """As a filter of anybody's."""
        verifyObject(IFilter, self.make())

    def test_clients_are_told_apart(self) -> None:
        """Each has its own places, and what is over makes room."""
        live = self.make()
        passages = [StubPassage(client=address) for address in ("192.0.2.1",) * 3 + ("192.0.2.2",)]
        self.assertEqual([live.request(passage) is None for passage in passages], [True, True, False, True])
        live.over(passages[0])
        self.assertIsNone(live.request(passages[2]))
        self.assertEqual(self.counted, {"refused": 1})

    def test_nothing_is_left(self) -> None:
        """When all are over; being told so twice, or of one that was refused, does no harm."""
        live = self.make()
        passages = [StubPassage(client=f"192.0.2.{number % 3}") for number in range(9)]
        for passage in passages:
            live.request(passage)
        for passage in passages * 2:
            live.over(passage)
        self.assertEqual(live.running, {})

    def test_one_that_stands_twice_in_a_route_counts_once(self) -> None:
        """As a default filter and as the route's own, say."""
        live = self.make(limit=1)
        passage = StubPassage()
        self.assertEqual([live.request(passage), live.request(passage)], [None, None])
        live.over(passage)
        live.over(passage)
        self.assertEqual(live.running, {})

    def test_those_that_run_count_on_after_a_reload(self) -> None:
        """With another limit; their ends, told to the old filter, make room in the new one. With other keys all begins anew."""
        old, passage = self.make(limit=1), StubPassage()
        old.request(passage)
        new = self.make(limit=2)
        new.take_over(old)
        self.assertEqual([new.request(StubPassage()) is None for _ in range(2)], [True, False])
        old.over(passage)
        self.assertIsNone(new.request(StubPassage()))
        other = self.make(limit=1, by="path")
        other.take_over(new)
        self.assertIsNone(other.request(StubPassage()))

    def test_mistakes(self) -> None:
        """Each names the key, what was given and what is allowed."""
        for options, said in (
            ({"limit": 0}, "limit: 0 was given; allowed is a whole number from 1 to 1000000"),
            ({"limit": 1.5}, "limit: 1.5 was given"),
            ({"by": "nobody"}, "by: 'nobody' was given; allowed is client, route or"),
            ({"status": 302}, "status: 302 was given; allowed is a whole number from 400 to 599"),
        ):
            error = self.assertRaises(ConfigurationError, InFlight, **{"limit": 1, **options})
            self.assertIn(said, str(error))


class BalancerTests(SynchronousTestCase):
    """Through a whole balancer: a place is free again however an exchange ends."""

    def setUp(self) -> None:
        self.rig = FilteredRig(InFlight(limit=1))

    def assert_taken(self, taken: bool) -> None:
        """Whether the only place is."""
        client = self.rig.begin(GET)
        answer = client.received()
        if taken:
            self.assertEqual(status(answer), 429)
            self.assertEqual(self.rig.ended[-1].end, "too-many-in-flight")
        else:
            self.assertEqual(answer, b"")
            client.reset()
        self.rig.turn()
        self.assertEqual(self.rig.live[0].running, {b"\xc0\x00\x02\x07": 1} if taken else {})

    def test_done(self) -> None:
        """It was answered."""
        client = self.rig.begin(GET)
        self.assert_taken(True)
        self.assertEqual(status(self.rig.answered(client)[1]), 200)
        self.assert_taken(False)

    def test_the_client_left(self) -> None:
        """Before there was an answer."""
        client = self.rig.begin(GET)
        self.assert_taken(True)
        client.reset()
        self.assert_taken(False)

    def test_no_backend(self) -> None:
        """It was answered in our own name."""
        client = self.rig.begin(GET)
        for _ in range(4):
            if self.rig.connects:
                self.rig.refuse()
        self.assertEqual(status(client.received()), 503)
        self.assert_taken(False)

    def test_truncated(self) -> None:
        """The backend broke its answer off."""
        self.rig.begin(GET)
        backend = self.rig.accept()
        backend.send(OK[:-1])
        self.assert_taken(True)
        backend.reset()
        self.assert_taken(False)

    def test_a_tunnel(self) -> None:
        """It counts as long as it is open."""
        client = self.rig.begin(UPGRADE)
        backend = self.rig.accept()
        backend.send(SWITCHED)
        self.assertEqual(status(client.received()), 101)
        client.send(b"hello")
        self.assert_taken(True)
        backend.hang_up()
        client.hang_up()
        self.rig.turn()
        self.assert_taken(False)
