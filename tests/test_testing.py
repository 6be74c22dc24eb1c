"""The fakes for embedders do what they say."""

from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from zope.interface.verify import verifyObject

from lbproxy import Backend, LoadBalancerResource, Settings
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IDownstream, IExchangeObserver, IProbe
from lbproxy.testing import FakeBackend, FakeDownstream, Fault, MemoryBackends, ProbeFailed, RecordingObserver, StubProbe

from .support import Recorder, response

ONE, TWO = "10.0.0.1:8000", "10.0.0.2:8000"


class Echo(Resource):
    """Answers what it was sent."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"%b %b %b" % (request.method, request.uri, request.content.read())


class Application:
    """An application under test: its balancer before fake backends, and a client in memory."""

    def __init__(self, *backends: FakeBackend, **options: Any) -> None:
        self.reactor = MemoryBackends(*backends)
        self.observer = RecordingObserver()
        self.resource = LoadBalancerResource(self.reactor.pool(), reactor=self.reactor, observers=(self.observer,), **options)
        self.client: Any = StubTreq(self.resource)

    def ask(self, method: str = "GET", url: str = "http://app.example/x", **options: Any) -> Any:
        """Begin a request and let it run as far as it goes without time."""
        asking = self.client.request(method, url, **options)
        self.settle()
        return asking

    def settle(self) -> None:
        """Carry what there is to carry."""
        self.reactor.settle()
        self.client.flush()


class MemoryBackendsTests(SynchronousTestCase):
    """A network in memory."""

    def text(self, application: Application, asking: Any) -> str:
        reading = self.successResultOf(asking).text()
        application.settle()
        return str(self.successResultOf(reading))

    def test_a_backend_serves_a_resource(self) -> None:
        application = Application(FakeBackend(ONE, Echo()))
        self.assertEqual(self.text(application, application.ask()), "GET /x ")
        self.assertEqual(self.text(application, application.ask("POST", data=b"hello")), "POST /x hello")

    def test_without_an_answer_it_says_its_address(self) -> None:
        application = Application(FakeBackend(ONE), FakeBackend(TWO))
        self.assertEqual([self.text(application, application.ask()) for _ in range(4)], [ONE, TWO, ONE, TWO])

    def test_a_backend_gives_fixed_bytes_for_each_request(self) -> None:
        backend = FakeBackend(ONE, b"HTTP/1.1 418 Teapot\r\nContent-Length: 2\r\n\r\nno")
        application = Application(backend)
        for method, body in (("GET", b""), ("PUT", b"hello"), ("GET", b"")):
            asking = application.ask(method, data=body)
            self.assertEqual(self.successResultOf(asking).code, 418)
        self.assertEqual(backend.open, 1)

    def test_fixed_bytes_that_say_close_close(self) -> None:
        backend = FakeBackend(ONE, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
        application = Application(backend)
        self.assertEqual(self.text(application, application.ask()), "to the end")
        self.assertEqual(backend.open, 0)

    def test_a_backend_keeps_what_it_was_sent(self) -> None:
        backend = FakeBackend(ONE)
        Application(backend).ask(headers={"X-Mine": "1"})
        self.assertIn(b"X-Mine: 1\r\n", backend.received[-1])

    def test_a_unix_socket_is_an_address_too(self) -> None:
        application = Application(FakeBackend("unix:/run/app.sock"))
        self.assertEqual(self.text(application, application.ask()), "unix:/run/app.sock")

    def test_an_address_that_is_none_is_refused(self) -> None:
        with self.assertRaises(ConfigurationError):
            FakeBackend("10.0.0.1")

    def test_refused_is_not_noticed_while_another_is_well(self) -> None:
        dead = FakeBackend(ONE, fault=Fault.REFUSE)
        application = Application(dead, FakeBackend(TWO), probe=StubProbe())
        self.assertEqual(self.text(application, application.ask()), TWO)
        attempts = application.observer.exchanges[0].attempts
        self.assertEqual([attempt.failure and attempt.failure.cause for attempt in attempts], ["refused"] * 4 + [None])
        dead.fault = None
        for _ in range(6):
            application.reactor.advance(1)
        self.assertEqual({self.text(application, application.ask()) for _ in range(2)}, {ONE, TWO})

    def test_time_out_takes_time(self) -> None:
        application = Application(FakeBackend(ONE, fault=Fault.TIME_OUT), probe=StubProbe())
        asking = application.ask()
        self.assertNoResult(asking)
        application.reactor.advance(3)
        application.settle()
        self.assertEqual(self.successResultOf(asking).code, 504)

    def test_silent_takes_time(self) -> None:
        application = Application(FakeBackend(ONE, fault=Fault.SILENT), settings=Settings(response_timeout=4))
        asking = application.ask()
        for _ in range(6):
            application.reactor.advance(1)
        application.settle()
        self.assertEqual(self.successResultOf(asking).code, 504)

    def test_close_and_garbage_are_a_bad_gateway(self) -> None:
        for fault in (Fault.CLOSE, Fault.GARBAGE):
            asking = Application(FakeBackend(ONE, fault=fault)).ask("POST")
            self.assertEqual(self.successResultOf(asking).code, 502, fault)

    def test_cut_breaks_the_body_off(self) -> None:
        for answer in (None, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"):
            backend = FakeBackend(ONE, answer, fault=Fault.CUT)
            application = Application(backend)
            asking = application.ask()
            self.assertEqual(application.observer.exchanges[0].end, "truncated")
            self.assertGreater(application.observer.exchanges[0].response_bytes, 0)
            self.failureResultOf(self.successResultOf(asking).content())

    def test_connections_can_be_closed_under_the_balancer(self) -> None:
        backend = FakeBackend(ONE)
        application = Application(backend)
        application.ask()
        backend.close_connections()
        self.assertEqual(self.text(application, application.ask()), ONE)
        self.assertEqual(len(backend.received), 3)  # the probe's among them
        self.assertEqual(backend.open, 1)

    def test_where_there_is_no_backend_connections_are_refused(self) -> None:
        reactor = MemoryBackends(FakeBackend(ONE))
        connecting = TCP4ClientEndpoint(reactor, "10.0.0.9", 8000).connect(Factory.forProtocol(Recorder))
        self.assertNoResult(connecting)
        reactor.settle()
        self.failureResultOf(connecting, ConnectionRefusedError)

    def test_a_connection_given_up_is_not_made(self) -> None:
        backend = FakeBackend(ONE)
        reactor = MemoryBackends(backend)
        connecting = TCP4ClientEndpoint(reactor, "10.0.0.1", 8000).connect(Factory.forProtocol(Recorder))
        connecting.cancel()
        reactor.settle()
        self.failureResultOf(connecting)
        self.assertEqual(backend.received, [])

    def test_what_never_comes_to_rest_is_an_error(self) -> None:
        reactor = MemoryBackends()

        def ask_again(*_: object) -> None:
            TCP4ClientEndpoint(reactor, "10.0.0.9", 8000).connect(Factory.forProtocol(Recorder)).addErrback(ask_again)

        ask_again()
        with self.assertRaises(RuntimeError):
            reactor.settle()

    def test_a_pool_has_the_backends_in_order(self) -> None:
        pool = MemoryBackends(FakeBackend(TWO), FakeBackend(ONE)).pool(name="shop")
        self.assertEqual((pool.name, list(pool.members)), ("shop", [TWO, ONE]))


class FakesTests(SynchronousTestCase):
    """The stand-ins for one part each."""

    def test_each_is_what_it_stands_for(self) -> None:
        verifyObject(IProbe, StubProbe())
        verifyObject(IExchangeObserver, RecordingObserver())
        verifyObject(IDownstream, FakeDownstream())

    def test_a_probe_finds_what_it_is_told_to(self) -> None:
        probe = StubProbe()
        application = Application(FakeBackend(ONE), FakeBackend(TWO), probe=probe)
        probe.down[ONE] = "maintenance"
        application.resource.start()
        application.reactor.advance(0)
        self.assertEqual(probe.checked, [ONE, TWO])
        member = application.resource.pool.members[ONE]
        self.assertEqual((member.up, member.reason), (False, "probe: maintenance"))
        self.failureResultOf(probe.check(Backend.parse(ONE)), ProbeFailed)
        self.successResultOf(probe.check(Backend.parse(TWO)))

    def test_a_downstream_writes_down_what_it_is_told(self) -> None:
        downstream, head = FakeDownstream(), response(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        downstream.respond(head, b"a", False)
        downstream.write(b"bc")
        self.assertEqual((downstream.head, downstream.body, downstream.ended), (head, b"abc", ""))
        downstream.finish()
        self.assertEqual(downstream.ended, "done")
        downstream.abort()
        self.assertEqual(downstream.ended, "aborted")
        downstream.pause_body()
        self.assertTrue(downstream.paused)
        downstream.resume_body()
        self.assertFalse(downstream.paused)
        whole = FakeDownstream()
        whole.respond(head, b"abc", True)
        self.assertEqual(whole.ended, "done")

    def test_a_downstream_can_stand_before_a_balancer(self) -> None:
        from .support import GET, request

        application = Application(FakeBackend(ONE))
        downstream, resource = FakeDownstream(), application.resource
        resource.forward(resource.exchange(downstream, request(GET), resource.client("192.0.2.1", False)))
        application.reactor.settle()
        self.assertEqual((downstream.body, downstream.ended), (ONE.encode(), "done"))
