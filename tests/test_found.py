"""What an adversary found: each test fails until its cause is mended."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.interfaces import IDownstream
from lbproxy.testing import FakeDownstream

from .support import Rig, request
from .test_promises_tunnels import SWITCHING, UPGRADE


@implementer(IDownstream)
class _Refuses(FakeDownstream):
    """A downstream with a bug."""

    def switch(self, head: Any, data: bytes, end: Any) -> None:
        raise ValueError("a downstream's bug")


class Tunnels(SynchronousTestCase):
    """Beginnings and ends of tunnels."""

    def test_a_downstream_that_fails_to_switch_leaves_nothing_behind(self) -> None:
        """No tunnel, no attempt, no connection to the backend."""
        rig = Rig()
        downstream = _Refuses()
        exchange = rig.resource.exchange(downstream, request(UPGRADE), rig.resource.client("192.0.2.7", False))
        rig.resource.forward(exchange)
        backend = rig.accept()
        backend.send(SWITCHING)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        rig.turn()
        self.assertEqual((rig.counters.in_flight, rig.counters.tunnels, rig.member().in_flight), (0, 0, 0))
        self.assertTrue(backend.closed)
        self.assertEqual(len(rig.balancer.sweep.watched), 0)

    def test_who_reads_the_last_words_slowly_gets_them_whole(self) -> None:
        """As with any other response: some progress buys more time."""
        rig = Rig()
        client = rig.client()
        client.send(UPGRADE)
        backend = rig.accept()
        backend.send(SWITCHING)
        client.half_close()
        backend.send(b"x" * 60_000)
        client._full = True
        client.unsent = 60_000
        backend.half_close()
        for _ in range(6):
            rig.wait(30)
            client.unsent -= 10_000
        self.assertFalse(client.aborted)
