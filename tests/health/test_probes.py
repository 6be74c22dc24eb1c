"""Promises about the probe that connects, and about functions as probes."""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.health.probes import CallableProbe, ConnectProbe
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


class Functions(SynchronousTestCase):
    """A backend is well when a function of the user's own says so."""

    def found(self, function: Any) -> str:
        """What is found: the evidence, or the reason why it is not well, as the operator reads it."""
        clock = Clock()
        pool = Pool(parse_backends(["10.0.0.1:8000"]), seconds=clock.seconds)
        schedule = ProbeSchedule(pool, clock, Settings(probe_timeout=2), function)
        schedule.start()
        clock.advance(2)
        found = schedule.last("10.0.0.1:8000")
        assert found is not None
        self.assertEqual(found.up, pool.members["10.0.0.1:8000"].up)
        return ("+ " if found.up else "- ") + found.evidence

    def test_it_is_a_probe(self) -> None:
        """It provides what the schedule asks of a probe, and what it says is about the backend's answers."""
        probe = CallableProbe(lambda backend: None)
        verifyObject(IProbe, probe)
        self.assertEqual((probe.about, ConnectProbe.about), ("answers", "connect"))

    def test_it_gets_the_backend(self) -> None:
        """Which it may look at."""
        self.assertEqual(self.found(lambda backend: f"asked {backend.host}"), "+ probe: asked 10.0.0.1")

    def test_it_returns_what_it_found(self) -> None:
        """Nothing, True and a text are well, a text being the evidence; False is not; anything else is a mistake."""
        for value, expected in (
            (None, "+ probe: well"),
            (True, "+ probe: well"),
            ("3 workers", "+ probe: 3 workers"),
            (False, "- probe: the function says that it is not well"),
            (3, "- probe: the function gave 3; allowed are None, True, False and a text"),
        ):
            self.assertEqual(self.found(lambda backend, value=value: value), expected)
            self.assertEqual(self.found(lambda backend, value=value: succeed(value)), expected)

    def test_it_raises_or_fails(self) -> None:
        """The message is the reason; where there is none, the error is."""

        def broken(backend: Backend) -> None:
            raise ValueError("out of order")

        self.assertEqual(self.found(broken), "- probe: out of order")
        self.assertEqual(self.found(lambda backend: fail(OSError("no disk"))), "- probe: no disk")
        self.assertEqual(self.found(lambda backend: fail(KeyError())), "- probe: KeyError()")

    def test_it_may_be_asynchronous(self) -> None:
        """A coroutine, a coroutine that waits, another awaitable, or an asyncio future."""

        async def well(backend: Backend) -> str:
            return await succeed("waited")

        async def broken(backend: Backend) -> None:
            await succeed(None)
            raise ValueError("out of order")

        class Awaitable:
            def __await__(self) -> Any:
                yield from succeed(None).__await__()
                return "awaited"

        self.assertEqual(self.found(well), "+ probe: waited")
        self.assertEqual(self.found(broken), "- probe: out of order")
        self.assertEqual(self.found(lambda backend: Awaitable()), "+ probe: awaited")

    def test_it_may_be_an_asyncio_future(self) -> None:
        """As under Twisted's asyncio reactor."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        future = loop.create_future()
        checking = CallableProbe(lambda backend: future).check(Backend("10.0.0.1", 8000))
        self.assertNoResult(checking)
        future.set_result("in time")
        loop.run_until_complete(asyncio.sleep(0))
        self.assertEqual(self.successResultOf(checking), "probe: in time")

    def test_it_may_never_end(self) -> None:
        """Not even when it is cancelled, as often as one likes: its time is over all the same."""

        async def stubborn(backend: Backend) -> None:
            while True:
                try:
                    await Deferred()
                except CancelledError:
                    pass

        self.assertEqual(self.found(stubborn), "- probe: no answer within 2 s")
        self.assertEqual(self.found(lambda backend: Deferred()), "- probe: no answer within 2 s")

    def test_evidence_is_a_line(self) -> None:
        """Fit for a log and a page: without control characters, and not endless."""
        self.assertEqual(self.found(lambda backend: "a\r\n\x1b[31mb\0"), "+ probe: a [31mb")
        self.assertLess(len(self.found(lambda backend: fail(ValueError("x" * 10_000)))), 310)
