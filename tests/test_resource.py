"""The resource: its place in a tree, and what it gives to both kinds of listener."""

from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import IResource, Resource
from zope.interface.verify import verifyObject

from lbproxy import LoadBalancerResource, Settings
from lbproxy.testing import FakeBackend, FakeDownstream, Fault, MemoryBackends, StubProbe

from .support import GET, request

ADDRESS = "10.0.0.1:8000"


class LoadBalancerResourceTests(SynchronousTestCase):
    """A resource before one backend."""

    def setUp(self) -> None:
        self.backend = FakeBackend(ADDRESS)
        self.reactor = MemoryBackends(self.backend)
        self.probe = StubProbe()
        self.resource = LoadBalancerResource(self.reactor.pool(), reactor=self.reactor, probe=self.probe)

    def test_it_fits_wherever_a_reverse_proxy_does(self) -> None:
        self.assertIsInstance(self.resource, ReverseProxyResource)
        verifyObject(IResource, self.resource)

    def test_everything_below_is_its_own(self) -> None:
        self.assertIs(self.resource.getChild(b"a", None), self.resource)
        self.assertIs(self.resource.getChildWithDefault(b"b", None), self.resource)
        self.assertTrue(self.resource.isLeaf)

    def test_it_serves_any_method(self) -> None:
        root = Resource()
        root.putChild(b"api", self.resource)
        client: Any = StubTreq(root)
        for method in ("GET", "POST", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            asking = client.request(method, "http://app.example/api/x")
            self.reactor.settle()
            client.flush()
            self.successResultOf(asking)
            self.assertIn(f"{method} /api/x HTTP/1.1".encode(), bytes(self.backend.received[-1]))

    def test_a_clock_of_its_own_runs_probes_and_time_outs(self) -> None:
        """The reactor only connects."""
        clock = Clock()
        backend = FakeBackend(ADDRESS, fault=Fault.SILENT)
        reactor = MemoryBackends(backend)
        probe = StubProbe()
        resource = LoadBalancerResource(reactor.pool(), reactor=reactor, clock=clock, probe=probe, settings=Settings(retries=0))
        self.addCleanup(resource.stop)
        resource.start()
        clock.pump([1.0] * 16)
        self.assertGreater(len(probe.checked), 2)
        downstream = FakeDownstream()
        resource.forward(resource.exchange(downstream, request(GET), resource.client("192.0.2.1", False)))
        reactor.settle()
        clock.pump([1.0] * 32)
        assert downstream.head is not None
        self.assertEqual(downstream.head.status, 504)

    def test_probes_begin_with_the_first_request(self) -> None:
        self.reactor.advance(60)
        self.assertEqual(self.probe.checked, [])
        downstream = FakeDownstream()
        client = self.resource.client("192.0.2.1", False)
        self.resource.forward(self.resource.exchange(downstream, request(GET), client))
        self.assertEqual(self.probe.checked, [ADDRESS])

    def test_probes_begin_and_end_when_told_to(self) -> None:
        self.resource.start()
        self.assertEqual(self.probe.checked, [ADDRESS])
        self.resource.stop()
        self.reactor.advance(60)
        self.assertEqual(self.probe.checked, [ADDRESS])

    def test_stop_closes_what_is_idle_and_leaves_no_timer(self) -> None:
        self.resource.forward(self.resource.exchange(FakeDownstream(), request(GET), self.resource.client("192.0.2.1", False)))
        self.reactor.settle()
        self.assertEqual(self.backend.open, 1)
        self.resource.stop()
        self.reactor.settle()
        self.assertEqual(self.backend.open, 0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_client_is_remembered_by_where_it_comes_from(self) -> None:
        client = self.resource.client("192.0.2.1", True)
        self.assertEqual((client.address, client.secure), ("192.0.2.1", True))
        self.assertIn(b"X-Forwarded-For: 192.0.2.1\r\n", client.forwarded)
        self.assertIn(b"X-Forwarded-Proto: https\r\n", client.forwarded)
        self.assertIn(b"X-Forwarded-Proto: http\r\n", self.resource.client("192.0.2.1", False).forwarded)

    def test_the_limits_are_the_settings(self) -> None:
        settings = Settings(head_limit=1000, field_limit=10, target_limit=100)
        limits = LoadBalancerResource(self.reactor.pool(), reactor=self.reactor, settings=settings).limits
        self.assertEqual((limits.size, limits.fields, limits.target), (1000, 10, 100))
