"""There are never more client connections than there may be, and nobody is turned away for it."""

from __future__ import annotations

import os
import resource
import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbproxy import LoadBalancerService, Pool, Settings, parse_backends
from lbproxy.admission import NEAR, QUIET, ConnectionLimit, connections_for
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.testing import StubProbe

from .support import ReactorCase


class FilesTests(SynchronousTestCase):
    """From files to connections."""

    def test_half_of_the_files_less_a_reserve(self) -> None:
        """An exchange takes two; other things need some as well."""
        self.assertEqual([connections_for(files) for files in (1024, 300, 101, 10)], [462, 100, 1, 1])

    def test_without_a_limit_of_files(self) -> None:
        """There is none of connections either."""
        self.assertEqual(connections_for(resource.RLIM_INFINITY), 0)


class Port:
    """A port with what matters here of Twisted's."""

    def __init__(self) -> None:
        self.numberAccepts = 100
        self.paused = False

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False


class ConnectionLimitTests(SynchronousTestCase):
    """Ports pause and resume."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.counters = ListenerCounters()
        self.ports: list[Any] = [Port(), Port()]
        self.limit = ConnectionLimit(self.counters, lambda: self.ports, self.clock)

    def start(self, limit: int) -> None:
        self.limit.start(limit)
        self.clock.advance(0)

    def open(self, count: int = 1) -> None:
        for _ in range(count):
            self.limit.opened()
        self.clock.advance(0)

    def paused(self) -> list[bool]:
        return [port.paused for port in self.ports]

    def test_all_pause_and_resume(self) -> None:
        """At the limit, and as soon as there is room; each pause is counted."""
        self.start(3)
        self.open(2)
        self.assertEqual((self.paused(), self.counters.limited), ([False, False], {}))
        self.open()
        self.assertEqual((self.paused(), self.counters.limited), ([True, True], {"connections": 1}))
        self.limit.closed()
        self.assertEqual(self.paused(), [False, False])
        self.open()
        self.assertEqual((self.paused(), self.counters.limited), ([True, True], {"connections": 2}))

    def test_above_the_limit_they_stay_paused(self) -> None:
        """Until there is room again."""
        self.start(2)
        self.open(4)
        for _ in range(2):
            self.limit.closed()
            self.assertEqual(self.paused(), [True, True])
        self.limit.closed()
        self.assertEqual(self.paused(), [False, False])
        self.assertEqual(self.counters.limited, {"connections": 1})

    def test_bursts_are_held_to_the_room(self) -> None:
        """No port accepts more at once than may come, from the first burst on."""
        self.start(5)
        self.assertEqual([port.numberAccepts for port in self.ports], [5, 5])
        self.open(3)
        self.assertEqual([port.numberAccepts for port in self.ports], [2, 2])
        self.ports[0].numberAccepts += 20  # as a port does after a burst that was not enough
        self.limit.opened()
        self.assertEqual([port.numberAccepts for port in self.ports], [1, 1])
        self.ports[0].numberAccepts = 22  # a port does it after opened()
        self.clock.advance(0)
        self.assertEqual([port.numberAccepts for port in self.ports], [1, 1])

    def test_far_from_the_limit_ports_do_as_they_like(self) -> None:
        """And nothing is asked of the clock."""
        self.start(NEAR + 10)
        self.open(5)
        self.assertEqual([port.numberAccepts for port in self.ports], [100, 100])
        self.limit.opened()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_limit(self) -> None:
        """Where the files have none."""
        self.patch(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.start(0)
        self.open(10_000)
        self.assertEqual((self.paused(), self.counters.limited), ([False, False], {}))

    def test_what_was_open_counts_after_a_start(self) -> None:
        """A service that is started again while it drains may be full from the beginning."""
        self.start(2)
        self.open(2)
        self.ports = [Port()]
        self.start(2)
        self.assertEqual(self.paused(), [True])
        self.limit.closed()
        self.assertEqual(self.paused(), [False])

    def test_the_log(self) -> None:
        """Names the limit and the option, once a minute at most."""
        with capturedLogs() as events:
            self.start(1)
            self.open()
            for _ in range(3):
                self.clock.advance(QUIET / 3 - 1)
                self.limit.closed()
                self.open()
            self.clock.advance(4)
            self.limit.closed()
            self.open()
        said = "1 client connections are open, as many as --max-connections allows; others wait until there is room"
        self.assertEqual([formatEvent(event) for event in events], [said, said])
        self.assertEqual({event["log_level"].name for event in events}, {"warn"})
        self.assertEqual(self.counters.limited, {"connections": 5})

    def test_more_than_the_files_allow(self) -> None:
        """A limit that the process cannot reach is told of when it starts, with what to do; a lower one is not."""
        self.patch(resource, "getrlimit", lambda _: (300, 300))
        with capturedLogs() as events:
            self.start(100)
            self.start(101)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                (
                    "--max-connections is 101, but the process may open 300 files, which is enough for 100 connections with an "
                    "exchange on each; raise the limit of files (ulimit -n, LimitNOFILE=) or lower --max-connections"
                )
            ],
        )

    def test_a_port_that_cannot_pause(self) -> None:
        """Is told of once, and the others do what they can."""
        self.ports.append(object())
        with capturedLogs() as events:
            self.start(1)
            self.open()
            self.limit.closed()
            self.open()
        self.assertEqual([port.paused for port in self.ports[:2]], [True, True])
        told = [formatEvent(event) for event in events if "cannot pause" in formatEvent(event)]
        self.assertEqual(len(told), 1)
        self.assertIn("--max-connections does not hold for it", told[0])


class PortsTests(ReactorCase):
    """Twisted's own ports on real sockets."""

    def start(self, *listen: str, **settings: Any) -> LoadBalancerService:
        pool = Pool(parse_backends(["10.0.0.1:8000"]))
        service = LoadBalancerService(
            pool, listen, reactor=self.reactor, probe=StubProbe(), settings=Settings(drain=0, **settings)
        )
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service: LoadBalancerService) -> None:
        stopping = service.stopService()
        self.until(lambda: bool(stopping.called))

    def connect(self, service: LoadBalancerService, count: int) -> list[socket.socket]:
        """Clients whose connections are made before the reactor has a turn, spread over the listeners."""
        places: list[Any] = service.addresses()
        clients = []
        for number in range(count):
            place = places[number % len(places)]
            if hasattr(place, "name"):
                client = socket.socket(socket.AF_UNIX)
                client.connect(place.name)
            else:
                client = socket.create_connection(("127.0.0.1", place.port))
            self.addCleanup(client.close)
            clients.append(client)
        return clients

    def assert_kept(self, *listen: str) -> None:
        service = self.start(*listen, max_connections=3)
        self.connect(service, 12)
        self.until(lambda: service.counters.open == 3)
        for _ in range(4):
            self.turn(10)
            self.assertEqual(service.counters.open, 3)
            accepted = service.counters.accepted
            next(iter(service.factory.connections)).drop()
            self.until(lambda accepted=accepted: service.counters.accepted > accepted)  # type: ignore[misc]
        self.assertEqual(service.counters.open, 3)

    def test_tcp(self) -> None:
        """To the connection."""
        self.assert_kept("tcp:0:interface=127.0.0.1")

    def test_unix(self) -> None:
        """A Unix socket's port is one like any other."""
        directory = self.mktemp()
        os.makedirs(directory)
        self.assert_kept(f"unix:{os.path.relpath(directory)}/s")

    def test_wrapped(self) -> None:
        """Endpoints that wrap others give the others' ports."""
        self.assert_kept("haproxy:tcp:0:interface=127.0.0.1")

    def test_several(self) -> None:
        """All listeners together, also when their bursts come in one turn."""
        self.assert_kept(*["tcp:0:interface=127.0.0.1"] * 3)

    def test_no_operator_is_left_behind(self) -> None:
        """Whoever connected to the admin listener in its last moment is told of its end, too."""
        service = LoadBalancerService(
            Pool(parse_backends(["10.0.0.1:8000"])),
            ["tcp:0:interface=127.0.0.1"],
            reactor=self.reactor,
            probe=StubProbe(),
            admin="tcp:0:interface=127.0.0.1",
        )
        service.startService()
        place: Any = service.admin_address()
        operator = self.dial(place.port)
        self.stop(service)
        self.turn()
        self.assertRaises(ConnectionResetError, operator.recv, 1)

    def test_who_waits_when_it_stops_is_accepted(self) -> None:
        """A client whose connection was made is not reset, neither where the port is paused nor in mid-burst."""
        for settings in ({"max_connections": 1}, {}):
            service = self.start("tcp:0:interface=127.0.0.1", **settings)
            self.turn()
            self.connect(service, 150)
            stopping = service.stopService()
            self.until(lambda service=service: not service.addresses())  # type: ignore[misc]
            self.turn()
            self.assertEqual(service.counters.accepted, 150)
            self.until(lambda stopping=stopping: bool(stopping.called))  # type: ignore[misc]
