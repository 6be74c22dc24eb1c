"""Fakes and helpers that the tests share: connections and backends in memory, moved on by a clock that is advanced by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import hypothesis
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Verdict
from lbproxy.http1.body import ChunkedBody
from lbproxy.http1.factory import ServerFactory
from lbproxy.http1.fields import request_bytes
from lbproxy.http1.head import MessageLimits, RequestHead, ResponseHead
from lbproxy.http1.request_head import parse_request_head
from lbproxy.http1.response_head import parse_response_head
from lbproxy.interfaces import IProbe
from lbproxy.observe.running import Running
from lbproxy.proxy.client import Client
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.proxy.exchange import Exchange
from lbproxy.resource import LoadBalancerResource
from lbproxy.settings import Settings

LIMITS = MessageLimits(16 * 1024, 100, 8 * 1024)

#: The clock of a test does not begin at nought, as no real one does.
START = 1000.0

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def given(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """Hypothesis's own, without its time limit for each example: a busy machine is no failure."""

    def decorate(test: Any) -> Any:
        return hypothesis.settings(deadline=None)(hypothesis.given(*args, **kwargs)(test))

    return decorate


def post(body: bytes, *fields: bytes, method: bytes = b"POST") -> bytes:
    """A request with a Content-Length, its body included."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"%b / HTTP/1.1\r\nHost: example.org\r\n%bContent-Length: %d\r\n\r\n%b" % (method, lines, len(body), body)


def request(data: bytes) -> RequestHead:
    """The head in *data*."""
    return parse_request_head(data, LIMITS)


def response(data: bytes, method: bytes = b"GET") -> ResponseHead:
    """The response head in *data*."""
    return parse_response_head(data, LIMITS, method)


def sent(head: RequestHead) -> bytes:
    """The head that a backend gets, without anything about the client."""
    return request_bytes(head, Client("192.0.2.7", False, b""), b"7")


def split(message: bytes) -> tuple[bytes, list[bytes], bytes]:
    """A message's start line, its field lines, and what follows them."""
    head, _, body = message.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    return first, fields, body


def values(message: bytes, name: bytes) -> list[bytes]:
    """The values of all fields of that name, in order."""
    fields = [line.split(b":", 1) for line in split(message)[1]]
    return [value.strip() for field, value in fields if field.lower() == name.lower()]


def status(message: bytes) -> int:
    """A response's status; 0 when there is none."""
    return int(message[9:12]) if message else 0


def unchunk(data: bytes) -> bytes:
    """The bytes of a whole chunked body."""
    body = ChunkedBody()
    whole = body.feed(data)
    assert body.done and not body.rest, data
    return whole


class Peer(StringTransport):
    """The far end of a connection in memory, and the transport that leads there.

    Like a socket it hands on what the peer sends only while it is read, and reports an end that our side asked for in a later
    turn of the clock.

    :ivar half_closed: our side has ended its writing.
    :ivar aborted: our side has reset the connection.
    :ivar lost: the protocol has been told of the connection's end.
    """

    def __init__(self, clock: IReactorTime, address: str = "192.0.2.7") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 40000), lenient=True)
        self._clock = clock
        self._protocol: Any = None
        self._arrived = b""
        self._ending: Exception | None = None
        self._full = self._reads_on = False
        self.half_closed = self.aborted = self.lost = self._gone = False
        self.at_once = 1 << 30  # bytes that our side reads at once
        self.unsent = 0  # what a wire would say of it

    def attach(self, protocol: Any) -> Peer:
        """Connect with *protocol*."""
        self._protocol = protocol
        protocol.makeConnection(self)
        return self

    # What the peer does.

    def send(self, *parts: bytes) -> None:
        """The peer sends the parts, one after the other."""
        for part in parts:
            self._arrived += part
            self._hand_on()

    def received(self) -> bytes:
        """What has reached the peer since this was asked last."""
        data: bytes = self.value()
        self.clear()
        return data

    def hang_up(self) -> None:
        """The peer closes in good order. To one that may write on after a half-close it looks like one; what is still written
        to the peer then is answered with a reset."""
        self._ending = ConnectionDone()
        self._hand_on()

    def half_close(self) -> None:
        """The peer sends no more, but still reads."""
        self._reads_on = True
        self.hang_up()

    def reset(self) -> None:
        """The peer resets the connection."""
        self._ending = ConnectionLost()
        self._hand_on()

    def stop_reading(self) -> None:
        """The peer reads no more, and what is between is full."""
        self._full = True
        if self.producer is not None:
            self.producer.pauseProducing()

    def read_on(self) -> None:
        """The peer has read all there was."""
        self._full = False
        if self.disconnecting:
            self._end(ConnectionDone())
        elif self.producer is not None:
            self.producer.resumeProducing()

    @property
    def unread(self) -> bool:
        """Whether our side has stopped reading from the peer."""
        return self.producerState == "paused"

    @property
    def closed(self) -> bool:
        """Whether our side has closed or reset the connection."""
        return self.disconnecting

    @property
    def ended(self) -> bool:
        """Whether our side says no more: it has closed, reset or half-closed the connection."""
        return self.disconnecting or self.half_closed

    def _hand_on(self) -> None:
        if self.lost or self.unread or self.disconnecting:
            return
        while self._arrived and not (self.unread or self.disconnecting):
            data, self._arrived = self._arrived[: self.at_once], self._arrived[self.at_once :]
            self._protocol.dataReceived(data)
        if self._ending is not None and not self.unread:
            self._end_of_data(self._ending)

    def _end_of_data(self, reason: Exception) -> None:
        # As a wire does, which knows the protocol itself and not what an endpoint has wrapped it in.
        protocol = getattr(self._protocol, "_wrappedProtocol", self._protocol)
        if isinstance(reason, ConnectionDone) and IHalfCloseableProtocol.providedBy(protocol):
            self._gone = not self._reads_on
            self._ending = None
            protocol.readConnectionLost()
        else:
            self._end(reason)

    def _end(self, reason: Exception) -> None:
        if not self.lost:
            self.lost = self.disconnecting = True
            self._protocol.connectionLost(Failure(reason))

    # What our side does.

    def write(self, data: bytes) -> None:
        if self._gone:
            self._clock.callLater(0, self._end, ConnectionLost())
        elif not self.aborted:
            super().write(data)

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            if not self._full:
                self._clock.callLater(0, self._end, ConnectionDone())

    def abortConnection(self) -> None:
        self.disconnecting = self.aborted = True
        self._clock.callLater(0, self._end, ConnectionAborted())

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing waits here anyway."""

    def unregisterProducer(self) -> None:
        self.producer = None

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._clock.callLater(0, self._hand_on)


@implementer(IProbe)
class FakeProbe:
    """A probe whose findings are up to the test: each check waits until the test fires its Deferred."""

    def __init__(self) -> None:
        self.checks: list[tuple[str, Deferred[str]]] = []

    def check(self, backend: Backend) -> Deferred[str]:
        checking: Deferred[str] = Deferred()
        self.checks.append((backend.address, checking))
        return checking


class Connect:
    """A connection that the balancer asked for and that the test has not made yet."""

    def __init__(self, clock: IReactorTime, host: str, port: int, factory: Any, connector: Any) -> None:
        self._clock = clock
        self._factory = factory
        self._connector = connector
        self.address = f"{host}:{port}"

    @property
    def cancelled(self) -> bool:
        """Whether the balancer no longer wants it."""
        return bool(self._connector.stoppedConnecting)

    def accept(self) -> Peer:
        """The backend accepts."""
        destination = self._connector.getDestination()
        return Peer(self._clock, destination.host).attach(self._factory.buildProtocol(destination))

    def refuse(self) -> None:
        """The backend refuses."""
        self.fail(ConnectionRefusedError())

    def fail(self, error: Exception) -> None:
        """No connection comes about, for this reason."""
        self._factory.clientConnectionFailed(self._connector, Failure(error))


class Rig:
    """A whole balancer in memory: listener, exchanges, upstream connections; clients and backends are the test's.

    Probes find nothing, there are no back-offs, and the other settings are the defaults, unless the test says otherwise.

    :ivar ended: the finished exchanges.
    """

    def __init__(
        self,
        backends: str = "10.0.0.1:8000",
        *,
        probe: Any = None,
        policy: Any = None,
        backend_tls: Any = None,
        **settings: Any,
    ) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(START)
        self.settings = Settings(**{"probe_interval": 86400, "probe_timeout": 86400, "backoffs": 0, **settings})
        self.pool = Pool(parse_backends([backends]), policy=policy, seconds=self.reactor.seconds)
        self.probe = FakeProbe() if probe is None else probe
        self.resource = LoadBalancerResource(
            self.pool,
            reactor=self.reactor,
            settings=self.settings,
            probe=self.probe,
            observers=(self,),  # type: ignore[arg-type]
            backend_tls=backend_tls,
        )
        self.balancer = self.resource.balancer
        self.counters = self.balancer.counters
        self.listener = ListenerCounters()
        self.factory = ServerFactory(
            self.resource,
            self.settings,
            self.reactor.seconds,
            self.balancer.sweep.watched,
            self.listener,
        )
        self.ended: list[Exchange] = []
        self._taken = 0

    def running(self, version: str = "1", **more: Any) -> Running:
        """What there is to be seen of it."""
        return Running(site=self.resource.site, listener=self.listener, version=version, started=START, **more)

    def exchange_finished(self, exchange: Exchange) -> None:
        """As an observer: keep it."""
        self.ended.append(exchange)

    def client(self, address: str = "192.0.2.7") -> Peer:
        """A client connects."""
        return Peer(self.reactor, address).attach(self.factory.buildProtocol(None))

    @property
    def connects(self) -> list[Connect]:
        """The connections asked for that the test has not dealt with yet."""
        asked = zip(self.reactor.tcpClients, self.reactor.connectors)
        return [Connect(self.reactor, *asking[:3], connector) for asking, connector in asked][self._taken :]

    def connect(self) -> Connect:
        """The next connection asked for."""
        connect = self.connects[0]
        self._taken += 1
        return connect

    def accept(self) -> Peer:
        """The backend that is connected to accepts."""
        return self.connect().accept()

    def refuse(self, times: int = 1) -> list[str]:
        """The backends that are connected to refuse; gives their addresses."""
        refused = []
        for _ in range(times):
            connect = self.connect()
            connect.refuse()
            refused.append(connect.address)
        return refused

    def turn(self) -> None:
        """Let a turn of the reactor pass."""
        self.reactor.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass, a quarter of a second at a time."""
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)

    def member(self, address: str = "10.0.0.1:8000") -> Any:
        """What is known of a backend."""
        return self.pool.members[address]

    def mark(self, address: str, *, up: bool, source: str = "probe") -> None:
        """Tell the pool a verdict."""
        self.pool.apply(Verdict(address, up, "as the test says", source))

    def kept_alive(self, exchange: bytes = GET, answer: bytes = OK) -> tuple[Peer, Peer]:
        """A client and a backend that have had one exchange over connections which are now idle."""
        client = self.client()
        client.send(exchange)
        backend = self.accept()
        backend.received()
        backend.send(answer)
        client.received()
        return client, backend


class ReactorCase(SynchronousTestCase):
    """A reactor of the test's own, for real loopback sockets; it runs only when the test lets it."""

    def make_reactor(self) -> Any:
        """Whichever kind is to be tested."""
        return SelectReactor()

    def setUp(self) -> None:
        self.reactor = self.make_reactor()
        self.addCleanup(self._close)

    def _close(self) -> None:
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))
        for waking in list(self.reactor._internalReaders):  # the reactor's own pipe, which only a stopped run would close
            waking.connectionLost(Failure(ConnectionDone()))

    def listen(self, build: Any) -> int:
        """Listen on a free loopback port with a factory, or with what *build* makes; gives the port."""
        factory = build if isinstance(build, Factory) else Factory.forProtocol(build)
        factory.noisy = False
        return int(self.reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port)

    def dial(self, port: int) -> socket.socket:
        """A plain socket, connected there; it never blocks."""
        peer = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(peer.close)
        peer.setblocking(False)
        return peer

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the reactor work until *condition* holds; it waits for events, and not for ever."""
        for _ in range(500):
            if condition():
                return
            self.reactor.iterate(0.005)
        self.fail("it did not come to pass")

    def turn(self, count: int = 3) -> None:
        """Let some turns of the reactor pass."""
        for _ in range(count):
            self.reactor.iterate(0)


class Recorder(Protocol):
    """A protocol that remembers what happens to it."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        self.lost = reason
