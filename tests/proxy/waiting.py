"""What the tests of waiting exchanges share."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.proxy.waits import Waits

from ..support import GET, OK, Peer, Rig

ONE, TWO, THREE = "10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"
PAIR = f"{ONE},{TWO}"
#: Backends that take one exchange at a time.
SMALL = f"{ONE}:max-in-flight=1"
SMALL_PAIR = f"{ONE}:max-in-flight=1,{TWO}:max-in-flight=1"

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"


class WaitsCase(SynchronousTestCase):
    """After each test nothing may be left: no exchange, no place that is taken, nobody who waits, no timer."""

    def rig(self, backends: str = ONE, **settings: Any) -> Rig:
        rig = Rig(backends, **settings)
        rig.balancer.start()
        self.addCleanup(self.assert_nothing_is_left, rig)
        return rig

    def assert_nothing_is_left(self, rig: Rig) -> None:
        """Once everybody has gone."""
        for connection in list(rig.factory.connections):
            connection.drop()
        rig.turn()
        balancer, counters = rig.balancer, rig.counters
        self.assertEqual(counters.in_flight, 0)
        self.assertEqual([member.in_flight for member in rig.pool.members.values()], [0] * len(rig.pool.members))
        self.assertEqual((balancer.budget.active, balancer.budget.waiting, list(balancer.line.waiting)), (0, 0, []))
        self.assertEqual([one for one in balancer.sweep.watched if isinstance(one, Waits)], [])
        for counted in (counters.statuses, counters.ends):
            self.assertEqual(sum(counted.values()), len(rig.ended))
        rig.resource.stop()
        rig.turn()
        self.assertEqual(rig.reactor.getDelayedCalls(), [])

    def asks(self, rig: Rig, data: bytes = GET) -> Peer:
        """A client comes and asks."""
        client = rig.client()
        client.send(data)
        return client

    def addresses(self, rig: Rig) -> list[str]:
        """The backends that are being connected to, without those whose connection is wanted no more."""
        return [connect.address for connect in rig.connects if not connect.cancelled]

    def set_backends(self, rig: Rig, backends: str) -> None:
        """The operator changes the pool."""
        rig.pool.set_backends(parse_backends([backends]))

    def wait(self, rig: Rig, seconds: float) -> None:
        """Let time pass in steps so small that each back-off ends in its own."""
        for _ in range(int(seconds * 200)):
            rig.reactor.advance(0.005)

    def serve(self, rig: Rig, backends: list[Peer], *, refusing: str = "") -> None:
        """All that are asked answer, and all but one accept, until nobody is asked any more."""
        busy = True
        while busy:
            busy = False
            for _ in rig.connects:
                connect = rig.connect()
                if connect.address == refusing:
                    connect.refuse()
                elif not connect.cancelled:
                    backends.append(connect.accept())
                busy = True
            for backend in backends:
                if backend.received():
                    backend.send(OK)
                    busy = True

    def line(self, rig: Rig) -> int:
        """How many wait for a place."""
        return len(rig.balancer.line.waiting)
