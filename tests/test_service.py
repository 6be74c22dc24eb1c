"""The service: either all of it starts or nothing does, and it stops without breaking off what can be ended."""

from __future__ import annotations

import errno
import json
import os
import resource
from socket import AF_INET
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

import lbproxy.service
from lbproxy import Settings, Verdict
from lbproxy.drain import DRAIN_LOOK, FIRST_REQUEST
from lbproxy.errors import ConfigurationError, ListenError
from lbproxy.listener import Listener
from lbproxy.observe.access_log import AccessLog
from lbproxy.resource import LoadBalancerResource
from lbproxy.service import LoadBalancerService
from lbproxy.testing import FakeBackend, Fault, MemoryBackends, RecordingObserver, StubProbe
from lbproxy.tls.backends import BackendTls

from .support import GET, Peer, status
from .tls.fake_store import FakeStore, Threads
from .tls.servers import authority, authority_file, replace


@implementer(IListeningPort)
class Port:
    """A listening port in memory, which can be seen to be open."""

    addressFamily = AF_INET

    def __init__(self, number: int, factory: Any, host: str = "") -> None:
        self.number = number
        self.host = host
        self.factory = factory
        self.open = True
        self.paused = False

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def startListening(self) -> None:
        """Twisted's ports are made listening."""

    def stopListening(self) -> Any:
        self.open = False
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self.host or "0.0.0.0", self.number or 49152)

    @property
    def socket(self) -> Any:
        """What can be closed."""
        return self

    def stopReading(self) -> None:
        """Accept no more."""
        self.paused = True

    def close(self) -> None:
        """A shared socket is closed, not shut down, when nobody reads it."""
        assert self.paused
        self.open = False

    def fileno(self) -> int:
        """What it is known by."""
        return self.number


class Reactor(MemoryBackends):
    """A reactor in memory some of whose ports may be occupied.

    :ivar ports: all that were ever opened.
    """

    def __init__(self, *backends: FakeBackend) -> None:
        super().__init__(*backends)
        self.occupied: set[int] = set()
        self.ports: list[Port] = []

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        """Open a port on the socket of another one."""
        self.ports.append(Port(fileDescriptor, factory))
        return self.ports[-1]

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Open a port, unless it is occupied."""
        mine = [(one.number, one.host) for one in self.ports if one.open and one.number]
        if port in self.occupied or (port, interface) in mine:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        self.ports.append(Port(port, factory, interface))
        return self.ports[-1]

    @property
    def open_ports(self) -> list[int]:
        return [port.number for port in self.ports if port.open]


class ServiceTestCase(SynchronousTestCase):
    """Has a service in front of one backend in memory."""

    def setUp(self) -> None:
        self.backend = FakeBackend("10.0.0.1:8000")
        self.reactor = Reactor(self.backend)
        self.probe = StubProbe()
        self.observer = RecordingObserver()

    def service(self, *listen: str, **options: Any) -> LoadBalancerService:
        options.setdefault("probe", self.probe)
        return LoadBalancerService(
            self.reactor.pool(), listen or ("tcp:8080",), reactor=self.reactor, observers=[self.observer], **options
        )

    def started(self, *listen: str, **options: Any) -> LoadBalancerService:
        service = self.service(*listen, **options)
        service.privilegedStartService()
        service.startService()
        return service

    def client(self, service: LoadBalancerService) -> Peer:
        return Peer(self.reactor).attach(service.factory.buildProtocol(None))


class MakingTests(ServiceTestCase):
    """What the constructor takes, and refuses."""

    def test_is_a_service(self) -> None:
        """It can be put into any Twisted application."""
        verifyObject(IService, self.service())

    def test_opens_nothing(self) -> None:
        """Making it does nothing that could be seen from outside."""
        self.service("tcp:8080", admin="tcp:8081", access_log=self.mktemp())
        self.assertEqual((self.reactor.ports, self.probe.checked), ([], []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_default_listener(self) -> None:
        """Without a word on it clients connect to port 8080."""
        service = LoadBalancerService(self.reactor.pool(), reactor=self.reactor)
        service.privilegedStartService()
        self.assertEqual(self.reactor.open_ports, [8080])

    def test_default_listeners_with_certificates(self) -> None:
        """They are the command's: TLS at port 8443, and nothing in the clear beside it but who sends clients there."""
        store: Any = FakeStore()
        redirecting = Settings(redirect_to_https=True)
        for said, ports in (
            ({}, [8443]),
            ({"tls_listen": "tcp:443"}, [443]),
            ({"listen": "tcp:80"}, [80, 8443]),
            ({"listen": "tcp:80", "tls_listen": []}, [80]),
            ({"settings": redirecting}, [8080, 8443]),
        ):
            self.reactor.ports.clear()
            options: Any = said
            service = LoadBalancerService(self.reactor.pool(), reactor=self.reactor, certificates=store, **options)
            service.privilegedStartService()
            self.assertEqual(self.reactor.open_ports, ports)

    def test_one_description(self) -> None:
        """A single description need not stand in a list."""
        LoadBalancerService(self.reactor.pool(), "tcp:8082", reactor=self.reactor).privilegedStartService()
        self.assertEqual(self.reactor.open_ports, [8082])

    def test_settings_reach_the_listener(self) -> None:
        """Limits and time-outs are those of the settings."""
        service = self.service(settings=Settings(head_limit=1000, field_limit=7, target_limit=99, idle_timeout=12))
        factory = service.factory
        self.assertEqual((factory.limits.size, factory.limits.fields, factory.limits.target), (1000, 7, 99))
        self.assertEqual(factory.times.idle, 12)

    def test_descriptions_are_checked(self) -> None:
        """All descriptions that cannot be read are named at once, with what is allowed."""
        error = self.assertRaises(ConfigurationError, self.service, "nonsense:1", "tcp:8080", "tcp", admin="tcp:x")
        first, second, third = str(error).splitlines()
        self.assertIn("--listen: 'nonsense:1' was given", first)
        self.assertIn("--listen: 'tcp' was given", second)
        self.assertIn("--admin: 'tcp:x' was given", third)
        for line in (first, second, third):
            self.assertIn("allowed is a Twisted server endpoint description, such as tcp:8080", line)

    def test_no_listener(self) -> None:
        """A service that listens nowhere is a mistake."""
        error = self.assertRaises(ConfigurationError, LoadBalancerService, self.reactor.pool(), (), reactor=self.reactor)
        self.assertEqual(str(error), "--listen: nothing was given; at least one endpoint description is needed")

    def test_resource(self) -> None:
        """The same load balancer can serve in a twisted.web tree."""
        self.assertIsInstance(self.service().resource, LoadBalancerResource)


class StartTests(ServiceTestCase):
    """Binding and starting."""

    def test_binds_while_privileged(self) -> None:
        """Ports are opened before privileges are shed; probes begin after."""
        service = self.service("tcp:80", "tcp:8080", admin="tcp:8081")
        service.privilegedStartService()
        self.assertEqual(self.reactor.open_ports, [80, 8080, 8081])
        self.assertEqual(self.probe.checked, [])
        service.startService()
        self.assertEqual(self.reactor.open_ports, [80, 8080, 8081])
        self.assertEqual(self.probe.checked, ["10.0.0.1:8000"])

    def test_start_alone_binds(self) -> None:
        """An application that only calls startService has it listening, too."""
        self.service().startService()
        self.assertEqual(self.reactor.open_ports, [8080])

    def test_in_a_running_parent(self) -> None:
        """It can be added to a service that runs already."""
        parent = MultiService()
        parent.startService()
        self.service().setServiceParent(parent)
        self.assertEqual(self.reactor.open_ports, [8080])
        self.assertEqual(self.probe.checked, ["10.0.0.1:8000"])

    def test_addresses(self) -> None:
        """Who asked for any free port can ask which it is; before the start and after the end there is none."""
        service = self.service("tcp:0", "tcp:8080", admin="tcp:8081")
        self.assertEqual((service.addresses(), service.admin_address()), ([], None))
        service.startService()
        self.assertEqual(service.addresses(), [IPv4Address("TCP", "0.0.0.0", 49152), IPv4Address("TCP", "0.0.0.0", 8080)])
        self.assertEqual(service.admin_address(), IPv4Address("TCP", "0.0.0.0", 8081))
        self.successResultOf(service.stopService())
        self.assertEqual((service.addresses(), service.admin_address()), ([], None))

    def test_serves(self) -> None:
        """A request that comes in goes to a backend, and its answer comes back."""
        client = self.client(self.started())
        client.send(GET)
        self.reactor.settle()
        self.assertEqual(status(client.received()), 200)

    def test_access_log(self) -> None:
        """A file's path is enough for an access log; it is complete when the service has stopped."""
        path = self.mktemp()
        service = self.started(access_log=path)
        self.client(service).send(GET)
        self.reactor.settle()
        self.stop(service)
        with open(path) as log:
            self.assertIn('"GET / HTTP/1.1" 200', log.read())

    def test_access_log_object(self) -> None:
        """One that is given is used as it is."""
        path = self.mktemp()
        service = self.started(access_log=AccessLog(path, "json", self.reactor))
        self.client(service).send(GET)
        self.reactor.settle()
        self.stop(service)
        with open(path) as log:
            self.assertTrue(log.read().startswith("{"))

    def stop(self, service: LoadBalancerService) -> None:
        stopping = service.stopService()
        for _ in range(2):
            self.reactor.advance(DRAIN_LOOK)
        self.successResultOf(stopping)


class OccupiedTests(ServiceTestCase):
    """Nothing half starts."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor.occupied = {80}

    def test_error(self) -> None:
        """The error names the description and the cause."""
        error = self.assertRaises(ListenError, self.service("tcp:80").privilegedStartService)
        self.assertEqual(str(error), "cannot listen on tcp:80: Address already in use")
        self.assertIsInstance(error.__cause__, CannotListenError)

    def test_open_ports_are_closed(self) -> None:
        """What was open already is closed again, and nothing is probed."""
        service = self.service("tcp:8080", "tcp:80", "tcp:8082", admin="tcp:8081")
        self.assertRaises(ListenError, service.startService)
        self.assertEqual(self.reactor.open_ports, [])
        self.assertEqual(self.probe.checked, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(service.addresses(), [])

    def test_admin(self) -> None:
        """The admin listener's port counts as much as the others."""
        service = self.service("tcp:8080", admin="tcp:80")
        self.assertRaises(ListenError, service.privilegedStartService)
        self.assertEqual(self.reactor.open_ports, [])

    def test_access_log_first(self) -> None:
        """Where the access log cannot be opened, no port is."""
        service = self.service("tcp:8080", access_log=os.path.join(self.mktemp(), "missing", "log"))
        self.assertRaises(ConfigurationError, service.privilegedStartService)
        self.assertEqual(self.reactor.ports, [])

    def test_in_a_running_parent(self) -> None:
        """The one who adds it to a running parent gets the error; the parent can still be stopped."""
        parent = MultiService()
        parent.startService()
        self.assertRaises(ListenError, self.service("tcp:8080", "tcp:80").setServiceParent, parent)
        self.assertEqual(self.reactor.open_ports, [])
        self.successResultOf(parent.stopService())

    def test_again(self) -> None:
        """When the port has become free, the same service starts."""
        service = self.service("tcp:8080", "tcp:80")
        self.assertRaises(ListenError, service.startService)
        self.reactor.occupied.clear()
        service.startService()
        self.assertEqual(self.reactor.open_ports, [8080, 80])

    def test_stop_without_start(self) -> None:
        """Stopping what never started does nothing."""
        self.successResultOf(self.service().stopService())


@implementer(IStreamServerEndpoint)
class LateEndpoint:
    """An endpoint of a plugin that knows only later whether it listens.

    :ivar listening: what it gave to the one who wants to listen.
    """

    def __init__(self) -> None:
        self.listening: Deferred[Any] = Deferred()

    def listen(self, factory: Any) -> Deferred[Any]:
        return self.listening


class LateTests(SynchronousTestCase):
    """Listeners on endpoints that take their time."""

    def setUp(self) -> None:
        self.endpoint = LateEndpoint()
        self.listener = Listener(self.endpoint, "late:1", Factory(), Clock())
        self.listener.startService()

    def test_port(self) -> None:
        """There is an address from when there is a port, until it is closed."""
        port = Port(8080, None)
        self.assertIsNone(self.listener.address)
        self.endpoint.listening.callback(port)
        self.assertEqual(self.listener.address, port.getHost())
        self.successResultOf(self.listener.stopService())
        self.assertEqual((self.listener.address, port.open), (None, False))

    def test_failure(self) -> None:
        """What comes too late to be raised is logged."""
        self.endpoint.listening.errback(CannotListenError("", 1, OSError("no")))
        self.assertEqual(len(self.flushLoggedErrors(CannotListenError)), 1)
        self.successResultOf(self.listener.stopService())

    def test_stop_before(self) -> None:
        """Stopping gives up, and that is no error."""
        self.successResultOf(self.listener.stopService())
        self.assertIsNone(self.listener.address)


class StopTests(ServiceTestCase):
    """Draining and stopping."""

    def kept_alive(self, service: LoadBalancerService) -> Peer:
        """A client that has had an answer and may ask again."""
        client = self.client(service)
        client.send(GET)
        self.reactor.settle()
        self.assertEqual(status(client.received()), 200)
        return client

    def busy(self, service: LoadBalancerService) -> Peer:
        """A client whose request no backend ever answers."""
        self.backend.fault = Fault.SILENT
        client = self.client(service)
        client.send(GET)
        self.reactor.settle()
        return client

    def looks(self, seconds: float) -> None:
        """Let that time pass, a look at a time."""
        for _ in range(round(seconds / DRAIN_LOOK)):
            self.reactor.advance(DRAIN_LOOK)

    def health(self) -> tuple[int, bool]:
        """What the admin listener says to an orchestrator: a status, and whether /status says that it drains."""
        answers = []
        for path in (b"healthz", b"status"):
            operator = Peer(self.reactor).attach(self.reactor.ports[-1].factory.buildProtocol(None))
            operator.send(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            answers.append(operator.received())
            operator.hang_up()
        return status(answers[0]), json.loads(answers[1].partition(b"\r\n\r\n")[2])["draining"]

    def test_idle(self) -> None:
        """With nothing to wait for it has stopped at once, and nothing runs on."""
        service = self.started(admin="tcp:8081")
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.open_ports, [])
        self.reactor.advance(60)
        self.assertEqual(self.probe.checked, ["10.0.0.1:8000"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_idle_clients(self) -> None:
        """Kept-alive connections without a request are closed, but not before what had arrived was read."""
        service = self.started()
        client = self.kept_alive(service)
        stopping = service.stopService()
        self.assertFalse(client.closed)
        self.looks(2 * DRAIN_LOOK)
        self.assertTrue(client.lost)
        self.assertFalse(client.aborted)
        self.successResultOf(stopping)

    def test_a_request_that_had_arrived_is_answered(self) -> None:
        """It was sent to a service that was there."""
        service = self.started()
        client = self.kept_alive(service)
        service.stopService()
        client.send(GET)
        self.reactor.settle()
        answer = client.received()
        self.assertEqual(status(answer), 200)
        self.assertIn(b"Connection: close", answer)

    def test_a_new_connection_has_a_moment_for_its_first_request(self) -> None:
        """Whoever was accepted last has not been served yet; whoever says nothing is not waited for."""
        service = self.started()
        asking, silent = self.client(service), self.client(service)
        stopping = service.stopService()
        self.looks(FIRST_REQUEST / 2)
        asking.send(GET)
        self.reactor.settle()
        self.assertEqual(status(asking.received()), 200)
        asking.hang_up()
        self.assertFalse(silent.closed)
        self.looks(FIRST_REQUEST / 2)
        self.assertTrue(silent.closed)
        self.looks(DRAIN_LOOK)
        self.successResultOf(stopping)

    def test_running_exchange_ends(self) -> None:
        """An exchange that runs gets its answer, with word that the connection ends; only then the service has stopped."""
        service = self.started()
        client = self.client(service)
        client.send(GET)
        stopping = service.stopService()
        self.assertNoResult(stopping)
        self.assertEqual(self.reactor.open_ports, [])
        self.reactor.settle()
        answer = client.received()
        self.assertEqual(status(answer), 200)
        self.assertIn(b"Connection: close", answer)
        client.hang_up()
        self.looks(2 * DRAIN_LOOK)
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_slow_exchange_is_dropped(self) -> None:
        """One that takes longer than it is given is dropped, upstream too; observers, counters and the log tell of it."""
        service = self.started(settings=Settings(drain=3))
        client = self.busy(service)
        stopping = service.stopService()
        self.looks(3 - DRAIN_LOOK)
        self.assertNoResult(stopping)
        self.assertFalse(client.aborted)
        with capturedLogs() as events:
            self.looks(3 * DRAIN_LOOK)
        self.assertTrue(client.aborted)
        self.successResultOf(stopping)
        self.assertEqual([exchange.end for exchange in self.observer.exchanges], ["drain"])
        self.assertEqual(self.backend.open, 0)
        self.assertEqual(service.counters.limited, {"drain": 1})
        self.assertIn("dropped 1 connection after 3 s (--drain)", said(events))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_time_at_all(self) -> None:
        """With --drain 0 nothing is waited for."""
        service = self.started(settings=Settings(drain=0))
        client = self.busy(service)
        stopping = service.stopService()
        self.looks(2 * DRAIN_LOOK)
        self.assertTrue(client.aborted)
        self.successResultOf(stopping)

    def test_what_is_waited_for_is_said(self) -> None:
        """At the beginning, and every few seconds."""
        service = self.started()
        self.busy(service)
        with capturedLogs() as events:
            service.stopService()
        what = "1 exchange running, 0 tunnels among them, 1 connection open; {} s left at most"
        self.assertIn("draining: " + what.format(30), said(events))
        with capturedLogs() as events:
            self.looks(11)
        self.assertEqual(said(events).count("still draining"), 2)
        self.assertIn("still draining: " + what.format(20), said(events))

    def test_health_fails_first(self) -> None:
        """/healthz and /status say at once that it drains, while the listeners and the admin listener go on."""
        service = self.started(admin="tcp:8081", settings=Settings(drain_delay=5))
        self.assertEqual(self.health(), (200, False))
        stopping = service.stopService()
        self.assertEqual(self.health(), (503, True))
        self.assertEqual(self.reactor.open_ports, [8080, 8081])
        client = self.kept_alive(service)
        self.reactor.advance(4)
        self.assertEqual(self.reactor.open_ports, [8080, 8081])
        self.assertFalse(client.closed)
        self.reactor.advance(1)
        self.assertEqual(self.reactor.open_ports, [8081])
        self.assertEqual(self.health(), (503, True))
        self.looks(2 * DRAIN_LOOK)
        self.assertTrue(client.closed)
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.open_ports, [])
        self.assertFalse(service.draining)

    def test_a_second_stop_ends_it_at_once(self) -> None:
        """Both of those who wait are told."""
        service = self.started()
        client = self.busy(service)
        first = service.stopService()
        self.looks(1)
        with capturedLogs() as events:
            second = service.stopService()
        self.assertTrue(client.aborted)
        self.looks(DRAIN_LOOK)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertIn("dropped 1 connection at once, as it was told again to stop", said(events))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_second_stop_ends_the_delay(self) -> None:
        """Listeners close, and nothing is waited for after that either."""
        service = self.started(settings=Settings(drain_delay=600))
        client = self.busy(service)
        first = service.stopService()
        second = service.stopService()
        self.assertEqual(self.reactor.open_ports, [])
        self.assertTrue(client.aborted)
        self.looks(2 * DRAIN_LOOK)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopped_thrice(self) -> None:
        """A third word changes nothing, and neither does one after the end."""
        service = self.started()
        self.busy(service)
        stops = [service.stopService() for _ in range(3)]
        self.looks(2 * DRAIN_LOOK)
        for stopping in [*stops, service.stopService()]:
            self.successResultOf(stopping)
        self.assertEqual(service.counters.limited, {"drain": 1})

    def test_a_bug_does_not_keep_it_from_stopping(self) -> None:
        """What goes wrong while it drains is logged, and the drain is over."""
        service = self.started()
        self.busy(service)
        stopping = service.stopService()
        (connection,) = service.factory.connections
        self.patch(type(connection), "close_if_idle", lambda _: 1 / 0)
        self.looks(DRAIN_LOOK)
        self.successResultOf(stopping)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_admin_connections(self) -> None:
        """Connections to the admin listener do not outlive the service."""
        service = self.started(admin="tcp:8081")
        site = self.reactor.ports[-1].factory
        operator = Peer(self.reactor).attach(site.buildProtocol(None))
        self.successResultOf(service.stopService())
        self.assertTrue(operator.aborted)

    def test_again(self) -> None:
        """What was stopped can be started again, and keeps connections alive again."""
        service = self.started()
        self.successResultOf(service.stopService())
        service.startService()
        client = self.client(service)
        client.send(GET)
        self.reactor.settle()
        self.assertEqual(self.reactor.open_ports, [8080])
        self.assertNotIn(b"Connection: close", client.received())

    def test_a_pool_that_outlives_its_services(self) -> None:
        """It tells nothing to those that have stopped: each change is logged once, and nobody is remembered for ever."""
        pool = self.reactor.pool()
        heard = len(pool.observers)
        for _ in range(3):
            service = LoadBalancerService(pool, reactor=self.reactor, probe=self.probe)
            for _ in range(2):
                service.startService()
                pool.apply(Verdict("10.0.0.1:8000", False, "as the test says", "probe"))
                pool.apply(Verdict("10.0.0.1:8000", True, "as the test says", "probe"))
                self.successResultOf(service.stopService())
            self.assertEqual((len(pool.observers), service.events.last), (heard, 4))

    def test_again_while_it_drains(self) -> None:
        """All ports listen, the admin listener's has all the while; what ran goes on, and who waited for the end is told."""
        service = self.started("tcp:8080", "tcp:8082", admin="tcp:8081", access_log=self.mktemp())
        client = self.busy(service)
        stopping = service.stopService()
        self.looks(1)
        service.startService()
        self.successResultOf(stopping)
        self.assertEqual(sorted(self.reactor.open_ports), [8080, 8081, 8082])
        self.assertEqual(len(self.reactor.ports), 5)
        self.looks(40)
        self.assertFalse(service.draining)
        self.assertFalse(client.aborted)
        self.assertEqual(status(client.received()), 504)

    def test_again_during_the_delay(self) -> None:
        """Nothing was closed yet, so nothing is opened."""
        service = self.started(admin="tcp:8081", settings=Settings(drain_delay=600))
        stopping = service.stopService()
        service.startService()
        self.successResultOf(stopping)
        self.assertEqual(len(self.reactor.ports), 2)
        self.kept_alive(service)

    def test_again_in_vain(self) -> None:
        """A port that is occupied by then ends neither the drain nor the admin listener."""
        service = self.started("tcp:8080", "tcp:8082", admin="tcp:8081")
        client = self.client(service)
        client.send(GET)
        stopping = service.stopService()
        self.reactor.occupied = {8082}
        self.assertRaises(ListenError, service.startService)
        self.assertEqual(self.reactor.open_ports, [8081])
        self.reactor.settle()
        self.assertEqual(status(client.received()), 200)
        client.hang_up()
        self.looks(2 * DRAIN_LOOK)
        self.successResultOf(stopping)


class ConnectionLimitTests(ServiceTestCase):
    """How many clients there may be. What the ports do then is tested in test_admission.py."""

    def test_from_the_settings(self) -> None:
        """The operator's word holds."""
        service = self.started(settings=Settings(max_connections=77))
        self.assertEqual(service.counters.connections_limit, 77)

    def test_from_the_files(self) -> None:
        """Otherwise it comes from what the process may open when the service starts, not when it is made."""
        service = self.service()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        service.startService()
        self.assertEqual(service.counters.connections_limit, 100)

    def test_all_listeners_share_it(self) -> None:
        """And the admin listener has no part in it."""
        service = self.started("tcp:8080", "tcp:8082", admin="tcp:8081", settings=Settings(max_connections=2))
        for port in self.reactor.ports:
            Peer(self.reactor).attach(port.factory.buildProtocol(None))
        self.assertEqual(service.counters.limited, {"connections": 1})
        self.assertEqual([port.paused for port in self.reactor.ports], [True, True, False])


class CertificateTests(ServiceTestCase):
    """A service that has certificates."""

    def setUp(self) -> None:
        super().setUp()
        self.threads = Threads()
        self.patch(lbproxy.service, "in_thread_of", lambda reactor, job: self.threads(job))
        self.store = FakeStore()

    def tls_service(self, *, start: bool = True, **options: Any) -> LoadBalancerService:
        store: Any = self.store
        make = self.started if start else self.service
        return make("tcp:8080", tls_listen="tcp:8443", certificates=store, **options)

    def stop(self, service: LoadBalancerService) -> None:
        stopping = service.stopService()
        self.reactor.pump([DRAIN_LOOK] * 2)
        self.successResultOf(stopping)

    def test_files_are_watched_while_it_runs(self) -> None:
        """As often as the settings say, from its start to its end."""
        service = self.tls_service(start=False, settings=Settings(certificate_check=3))
        self.reactor.advance(30)
        self.assertEqual(self.store.taken(), [])
        service.startService()
        self.reactor.advance(3)
        self.assertEqual(self.store.taken(), ["changed"])
        self.stop(service)
        self.reactor.advance(30)
        self.assertEqual((self.store.taken(), self.reactor.getDelayedCalls()), ([], []))

    def test_while_it_drains(self) -> None:
        """And while a client may still connect. A start that calls the drain off changes nothing of it."""
        service = self.tls_service(settings=Settings(drain_delay=60))
        service.stopService()
        self.successResultOf(service.reload_certificates())
        self.assertEqual(self.store.taken(), ["load", "swap"])
        service.startService()
        self.reactor.advance(10)
        self.assertEqual(self.store.taken(), ["changed"])

    def test_never(self) -> None:
        """With --certificate-check 0 they are read when somebody asks."""
        service = self.tls_service(settings=Settings(certificate_check=0))
        self.reactor.pump([10] * 10)
        self.assertEqual(self.store.taken(), [])
        came = self.successResultOf(service.reload_certificates())
        self.assertEqual((self.store.taken(), came and came.ok), (["load", "swap"], True))

    def test_stopped_while_they_are_read(self) -> None:
        """Who waits for it is told that nothing came of it."""
        service = self.tls_service()
        self.threads.held = True
        reloading = service.reload_certificates()
        self.stop(service)
        self.assertIsNone(self.successResultOf(reloading))
        self.threads.finish()
        self.assertEqual(self.store.taken(), ["load"])

    def test_without_certificates(self) -> None:
        """There is nothing to be read, and the log says so."""
        with capturedLogs() as events:
            self.assertIsNone(self.successResultOf(self.started().reload_certificates()))
        self.assertIn("there is nothing to be read anew: no certificates were given", said(events))

    def test_files_for_backends(self) -> None:
        """They are watched as well, be there certificates for clients or not."""
        ca = authority_file(self)
        tls = BackendTls(ca=ca)
        service = self.started(backend_tls=tls)
        context = tls.context
        replace(ca, authority("theirs").cert_pem)
        self.assertTrue(service.reloads)
        self.reactor.advance(10)
        self.assertIsNot(tls.context, context)
        came = self.successResultOf(service.reload_certificates())
        self.assertEqual(came and came.ok, True)
        self.stop(service)
        self.reactor.advance(30)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_without_files(self) -> None:
        """Nothing runs for it."""
        for tls in (None, BackendTls()):
            service = self.started(backend_tls=tls)
            self.assertFalse(service.reloads)
            self.assertIsNone(self.successResultOf(service.reload_certificates()))
            self.stop(service)

    def test_operators_see_them(self) -> None:
        """In /status and in /metrics."""
        self.tls_service(admin="tcp:8081")
        self.store.wrong = "certificate: '/a.pem' has no key"
        self.reactor.advance(10)
        site = self.reactor.ports[-1].factory
        pages = {}
        for path in (b"status", b"metrics"):
            operator = Peer(self.reactor).attach(site.buildProtocol(None))
            operator.send(b"GET /" + path + b" HTTP/1.0\r\n\r\n")
            self.reactor.advance(0)
            pages[path] = operator.received().partition(b"\r\n\r\n")[2]
        self.assertEqual(json.loads(pages[b"status"])["tls"]["last_reload"]["errors"], [self.store.wrong])
        self.assertIn(b'lbproxy_frontend_tls_reloads_total{result="failure"} 1.0\n', pages[b"metrics"])


class ProxyProtocolTests(ServiceTestCase):
    """A listener whose peers send the PROXY protocol's header, beside others."""

    LINE = b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n"

    def connect(self, service: LoadBalancerService, number: int) -> Peer:
        """A client of that listener."""
        return Peer(self.reactor).attach(self.reactor.ports[number].factory.buildProtocol(None))

    def test_the_claimed_client_is_served_and_logged(self) -> None:
        """On that listener alone: on any other the header is no request."""
        path = self.mktemp()
        service = self.started("haproxy:tcp:8080", "tcp:8082", access_log=path)
        claiming, lying = self.connect(service, 0), self.connect(service, 1)
        for client in (claiming, lying):
            client.send(self.LINE + GET)
            self.reactor.settle()
        self.assertEqual([status(client.received()) for client in (claiming, lying)], [200, 501])
        self.assertIn(b"X-Forwarded-For: 203.0.113.9\r\n", bytes(self.backend.received[0]))
        service.stopService()
        self.reactor.advance(60)
        with open(path) as log:
            self.assertTrue(log.read().startswith("203.0.113.9 "))

    def test_one_set_of_books(self) -> None:
        """Connections of all listeners are counted, limited and drained together."""
        service = self.started("haproxy:tcp:8080", "tcp:8082", settings=Settings(max_connections=2))
        proxied, direct = self.connect(service, 0), self.connect(service, 1)
        self.assertEqual((service.counters.open, service.counters.limited), (2, {"connections": 1}))
        self.assertEqual([port.paused for port in self.reactor.ports], [True, True])
        self.assertEqual(len(service.factory.connections), 2)
        stopping = service.stopService()
        for _ in range(round((FIRST_REQUEST + 2 * DRAIN_LOOK) / DRAIN_LOOK)):
            self.reactor.advance(DRAIN_LOOK)
        self.assertEqual((proxied.lost, direct.lost), (True, True))
        self.successResultOf(stopping)

    def test_who_connected_last_has_a_moment(self) -> None:
        """For the header and its first request, also while the service stops."""
        service = self.started("haproxy:tcp:8080")
        client = self.connect(service, 0)
        stopping = service.stopService()
        self.reactor.advance(DRAIN_LOOK)
        client.send(self.LINE, GET)
        self.reactor.settle()
        answer = client.received()
        self.assertEqual(status(answer), 200)
        self.assertIn(b"Connection: close", answer)
        client.hang_up()
        for _ in range(4):
            self.reactor.advance(DRAIN_LOOK)
        self.successResultOf(stopping)


def said(events: Any) -> str:
    """What was logged, a line each."""
    return "\n".join(formatEvent(event) for event in events)
