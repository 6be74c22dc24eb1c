"""Promises about the probe that connects."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.health.probes import ConnectProbe
from lbproxy.health.schedule import ProbeSchedule
from lbproxy.interfaces import IProbe
from lbproxy.settings import Settings

from ..support import Connect


class ConnectProbes(SynchronousTestCase):
    """A backend is well when it accepts a connection."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.probe = ConnectProbe(self.reactor)

    def connect(self) -> Connect:
        host, port, factory, *_ = self.reactor.tcpClients[-1]
        return Connect(self.reactor, host, port, factory, self.reactor.connectors[-1])

    def test_it_is_a_probe(self) -> None:
        """It provides what the schedule asks of a probe."""
        verifyObject(IProbe, self.probe)

    def test_a_backend_that_accepts_is_well(self) -> None:
        """And the connection is closed at once, with nothing sent on it."""
        checking = self.probe.check(Backend("10.0.0.1", 8000))
        self.assertNoResult(checking)
        peer = self.connect().accept()
        self.assertEqual(self.successResultOf(checking), "probe: connected")
        self.assertEqual((peer.closed, peer.received()), (True, b""))

    def test_a_backend_that_refuses_is_not(self) -> None:
        """The reason is the connection's."""
        checking = self.probe.check(Backend("10.0.0.1", 8000))
        self.connect().refuse()
        self.assertIn("refused", self.failureResultOf(checking).getErrorMessage())

    def test_it_connects_where_the_backend_is(self) -> None:
        """IPv4, IPv6 and Unix sockets alike."""
        for backend in (Backend("10.0.0.1", 8000), Backend("::1", 8001)):
            self.probe.check(backend)
            self.assertEqual(self.reactor.tcpClients[-1][:2], (backend.host, backend.port))
        self.probe.check(Backend("/run/app.sock"))
        self.assertEqual(self.reactor.unixClients[-1][0], "/run/app.sock")

    def test_silence_is_no_answer_and_the_connect_is_given_up(self) -> None:
        """A backend that neither accepts nor refuses is down after the time-out, and the operator reads so."""
        pool = Pool(parse_backends(["10.0.0.1:8000"]))
        schedule = ProbeSchedule(pool, self.reactor, Settings(probe_timeout=2), self.probe)
        schedule.start()
        self.reactor.advance(2.1)
        member = pool.members["10.0.0.1:8000"]
        self.assertFalse(member.up)
        self.assertTrue(self.connect().cancelled)
        self.assertIn("no answer within 2 s", member.reason)
