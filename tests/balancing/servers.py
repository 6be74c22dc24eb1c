"""Simulated servers, and the connections that lead to them in the place of real ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from lbproxy.balance.backend import Backend
from lbproxy.balance.state import BackendState
from lbproxy.deadlines import NEVER, InOrder
from lbproxy.errors import ConnectFailed, ResponseTimedOut, UpstreamLost
from lbproxy.http1.head import RequestHead, ResponseHead
from lbproxy.http1.roles import Response, ResponseReceiver
from lbproxy.interfaces import IProbe
from lbproxy.proxy.client import Client

__all__ = ["Network", "Server"]

#: Calls a function in so many seconds; who does not want it any more ignores the call.
Later = Callable[..., None]

#: Seconds until a refusal is heard of.
REFUSAL = 0.0005


class Server:
    """A server with some workers, and a queue of what they have not come to yet.

    What is given up by who asked is served all the same: a server seldom notices, and that is what makes retries dear.

    :param later: calls when a request is done.
    :param random: draws the service times, and which requests fail.
    :param seconds: mean service time. Times are exponential, as in most models of queues; their 99th percentile is 4.6 times
        the mean.
    :param workers: requests served at once; None: any number.
    :ivar slower: factor of the service times.
    :ivar down: whether connections are refused.
    :ivar failing: share of the requests that fail, 0 to 1.
    :ivar failure: how they do: answered with this status, or ``"lost"``: the connection ends without an answer.
    :ivar taken: requests that have reached it.
    :ivar most: the most requests that it had at once.
    """

    def __init__(self, later: Later, random: Random, seconds: float, workers: int | None = None) -> None:
        self.slower = 1.0
        self.down = False
        self.failing = 0.0
        self.failure: int | str = 503
        self.taken = 0
        self.most = 0
        self.connections: dict[Connection, None] = {}  # in the order in which they were made
        self._later = later
        self._random = random
        self._seconds = seconds
        self._free = workers
        self._queue: deque[Connection] = deque()
        self._present = 0

    def kill(self) -> None:
        """It dies: what it was at is lost, and connections are refused."""
        self.down = True
        self._queue.clear()
        for connection in list(self.connections):
            connection.lost()

    def take(self, connection: Connection) -> None:
        """A request came: serve it when a worker is free."""
        self.taken += 1
        self._present += 1
        self.most = max(self.most, self._present)
        if self._free is None:
            self._serve(connection)
        elif self._free:
            self._free -= 1
            self._serve(connection)
        else:
            self._queue.append(connection)

    def _serve(self, connection: Connection) -> None:
        # Both are drawn whether needed or not, so that runs in which one server fails and does not differ in that alone.
        seconds, chance = self._random.expovariate(1 / self._seconds), self._random.random()
        if chance < self.failing:
            self._later(REFUSAL, self._done, connection, self.failure)
        else:
            self._later(seconds * self.slower, self._done, connection, 200)

    def _done(self, connection: Connection, result: int | str) -> None:
        self._present -= 1
        if self._queue:
            self._serve(self._queue.popleft())
        elif self._free is not None:
            self._free += 1
        if result == "lost":
            connection.lost()
        else:
            connection.answered(int(result))


class Connection:
    """A connection to a simulated server, in the place of an :class:`lbproxy.http1.client.UpstreamConnection`; it carries one
    exchange.

    :ivar deadline: as there: when :meth:`deadline_passed` is due.
    """

    host = b"server"
    stalled = False

    def __init__(self, network: Network, server: Server) -> None:
        self.deadline = NEVER
        self._network = network
        self._server = server
        self._waiting: Deferred[Response] | None = None

    def request(self, request: RequestHead, data: bytes, ended: bool, receiver: ResponseReceiver) -> Deferred[Response]:
        """Begin the exchange."""
        waiting: Deferred[Response] = Deferred()
        self._waiting = waiting
        self.deadline = self._network.seconds() + self._network.patience
        self._network.watched.add(self)
        self._server.connections[self] = None
        self._server.take(self)
        return waiting

    def answered(self, status: int) -> None:
        """The server answers, if anybody still waits."""
        waiting = self._forget()
        if waiting is not None:
            waiting.callback((ResponseHead(status, b"", b""), b"", True))

    def lost(self) -> None:
        """The connection ends without an answer."""
        waiting = self._forget()
        if waiting is not None:
            waiting.errback(UpstreamLost("the server closed the connection"))

    def abort(self) -> None:
        """Nobody waits any more."""
        self._forget()

    def _forget(self) -> Deferred[Response] | None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.deadline = NEVER
            self._network.watched.discard(self)
            self._server.connections.pop(self, None)
        return waiting

    def deadline_passed(self) -> None:
        """No answer came in time."""
        waiting = self._forget()
        if waiting is not None:
            waiting.errback(ResponseTimedOut("no response"))


@implementer(IProbe)
class Network:
    """All connections to the servers, in the place of a balancer's :class:`~lbproxy.proxy.upstreams.Upstreams`; and its probe,
    which finds a server well that can be connected to.

    :param servers: by their backend's address.
    :param later: calls when a refusal is heard of.
    :ivar seconds: the clock.
    :ivar patience: the response time-out.
    :ivar watched: what has a deadline, for a :class:`~lbproxy.deadlines.DeadlineSweep`.
    """

    about = "connect"

    def __init__(self, servers: dict[str, Server], later: Later, seconds: Callable[[], float], patience: float) -> None:
        self.seconds = seconds
        self.patience = patience
        self.watched = InOrder()
        self._servers = servers
        self._later = later

    def idle(self, member: BackendState) -> None:
        """None are kept: each attempt makes its own."""

    def connect(self, member: BackendState, client: Client) -> Deferred[Connection]:
        """Make a connection; to a server that is down it is refused."""
        member.connects += 1
        server = self._servers[member.address]
        if not server.down:
            return succeed(Connection(self, server))
        refused: Deferred[Connection] = Deferred(lambda _: None)
        self._later(REFUSAL, _refuse, refused)
        return refused

    def check(self, backend: Backend) -> Deferred[str]:
        """As a probe: connect."""
        if self._servers[backend.address].down:
            return fail(ConnectFailed("refused"))
        return succeed("probe: connected")

    def open(self) -> None:
        """There is nothing to be kept."""

    def close(self) -> None:
        """There is nothing to be closed."""


def _refuse(refused: Deferred[Connection]) -> None:
    if not refused.called:
        refused.errback(ConnectFailed("refused"))
