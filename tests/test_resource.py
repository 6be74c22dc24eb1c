"""The resource: its place in a tree, and what it gives to both kinds of listener."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import IResource, Resource
from twisted.web.static import Data
from zope.interface.verify import verifyObject

import lbproxy.resource
from lbproxy import Configuration, LoadBalancerResource, Match, PoolConfiguration, Route, Settings, filter_spec
from lbproxy.errors import ConfigurationError
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


class OfConfigurationTests(SynchronousTestCase):
    """A resource that is made of a configuration: all of it but what a tree has itself."""

    def setUp(self) -> None:
        self.one, self.two = FakeBackend(ADDRESS), FakeBackend("10.0.0.2:8000")
        self.reactor = MemoryBackends(self.one, self.two)
        root = Resource()
        self.own = Resource()
        self.own.putChild(b"", Data(b"own", "text/plain"))
        self.resources: dict[str, Any] = {"own": self.own}
        self.resource = LoadBalancerResource.of(self.wanted(), reactor=self.reactor, resources=self.resources)
        self.addCleanup(self.resource.stop)
        root.putChild(b"api", self.resource)
        self.client: Any = StubTreq(root)

    def wanted(self, *more: Route, **values: Any) -> Configuration:
        """Two pools, and a resource, below /api."""
        pools = [PoolConfiguration(name="a", backends=[ADDRESS]), PoolConfiguration(name="b", backends=["10.0.0.2:8000"])]
        routes = [
            *more,
            Route(match=Match(path_prefix="/api/b"), pool="b"),
            Route(match=Match(path_prefix="/api/own"), resource="own"),
            Route(match=Match(path_prefix="/api"), pool="a", filters=[filter_spec("headers", response_set={"X-A": "1"})]),
        ]
        return Configuration(pools=pools, routes=routes, **values)

    def ask(self, path: str) -> Any:
        """The answer to a GET."""
        asking = self.client.get(f"http://app.example{path}")
        self.reactor.settle()
        self.client.flush()
        return self.successResultOf(asking)

    def text(self, path: str) -> str:
        """Its body."""
        return str(self.successResultOf(self.ask(path).text()))

    def test_routes_match_the_whole_path(self) -> None:
        """What is above the resource in the tree included; filters are passed."""
        answer = self.ask("/api/x")
        self.assertEqual(answer.headers.getRawHeaders("X-A"), ["1"])
        self.assertIn(b"GET /api/x ", bytes(self.one.received[-1]))
        self.ask("/api/b/x")
        self.assertIn(b"GET /api/b/x ", bytes(self.two.received[-1]))
        self.assertEqual(self.text("/api/own/"), "own")

    def test_another_configuration(self) -> None:
        """Only what differs is touched; what came into the application's resources meanwhile can be named."""
        before = self.resource.site.balancers["a"]
        self.resources["late"] = Data(b"late", "text/plain")
        changes = self.resource.reload(self.wanted(Route(match=Match(path_prefix="/api/late"), resource="late")))
        self.assertEqual(str(changes[0]), "route /api/late/* comes (resource)")
        self.assertIs(self.resource.site.balancers["a"], before)
        self.assertEqual(self.text("/api/late"), "late")

    def test_mistakes_change_nothing(self) -> None:
        """All are told at once."""
        wrong = self.wanted(Route(name="x", pool="c"), Route(name="y", pool="d"))
        error = self.assertRaises(ConfigurationError, self.resource.reload, wrong)
        self.assertIn("routes[0].pool: 'c' was given", str(error))
        self.assertIn("routes[1].pool: 'd' was given", str(error))
        self.assertEqual(self.text("/api/own/"), "own")

    def test_what_a_tree_has_itself(self) -> None:
        """Is refused, each by its name."""
        error = self.assertRaises(ConfigurationError, self.resource.reload, self.wanted(listen=["tcp:1"], admin="tcp:2"))
        self.assertEqual([line.partition(":")[0] for line in str(error).splitlines()], ["listen", "admin"])

    def test_of_a_pool_alone(self) -> None:
        """There is nothing to compare with, and it says so."""
        resource = LoadBalancerResource(self.reactor.pool(), reactor=self.reactor)
        error = self.assertRaises(ConfigurationError, resource.reload, self.wanted())
        self.assertIn("LoadBalancerResource.of", str(error))

    def test_members_from_a_file(self) -> None:
        """It is looked at from the first request on, until the resource is stopped."""
        self.patch(lbproxy.resource, "in_thread_of", lambda reactor, job: maybeDeferred(job))
        path = Path(self.mktemp()).with_suffix(".json")
        path.write_text(f'["{ADDRESS}"]')
        configuration = Configuration(pools=[PoolConfiguration(name="a", backends_file=str(path))])
        resource = LoadBalancerResource.of(configuration, reactor=self.reactor)
        self.assertEqual([*resource.pool.members], [ADDRESS])
        resource.start()
        self.assertNotEqual(self.reactor.getDelayedCalls(), [])
        resource.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
