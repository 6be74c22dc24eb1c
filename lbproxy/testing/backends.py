"""Backends in memory, and the reactor whose connections lead to them."""

from __future__ import annotations

import enum
from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.web.resource import IResource
from twisted.web.server import Site
from twisted.web.static import Data

from ..balance.backend import Backend
from ..balance.pool import Pool
from ..http1.body import ChunkedBody, SizedBody
from ..http1.head import MessageLimits
from ..http1.request_head import parse_request_head

__all__ = ["FakeBackend", "Fault", "MemoryBackends"]

#: Rounds after which :meth:`MemoryBackends.settle` takes it that what it moves will never come to rest.
_ROUNDS = 10_000

_LIMITS = MessageLimits(1 << 20, 10_000, 1 << 20)


class Fault(enum.Enum):
    """How a :class:`FakeBackend` fails."""

    REFUSE = "refuse"
    """Connections are refused."""
    TIME_OUT = "time-out"
    """Connections never come about."""
    SILENT = "silent"
    """Requests are taken and never answered."""
    CLOSE = "close"
    """A request is taken, and the connection closed without an answer."""
    GARBAGE = "garbage"
    """The answer is not HTTP."""
    CUT = "cut"
    """The connection is closed in the middle of the answer's body."""


class FakeBackend:
    """A backend in memory.

    :param address: as an operator writes it, such as ``10.0.0.1:8000`` or ``unix:/run/app.sock``; an IP address, not a name.
    :param answer: what it serves: a resource, as the root of a site, or the bytes of one whole response, given to each request
        (and followed by the connection's end if they say ``Connection: close``). Without one it answers its own address.
    :param fault: how it fails; may be set, and set to None again, at any time.
    :ivar received: all bytes it was sent, one item for each connection so far.
    """

    def __init__(self, address: str, answer: IResource | bytes | None = None, *, fault: Fault | None = None) -> None:
        self.address = Backend.parse(address).address
        self.fault = fault
        self.received: list[bytearray] = []
        self._answer = _page(self.address) if answer is None else answer
        self._transports: list[FakeTransport] = []

    @property
    def open(self) -> int:
        """How many connections to it are open."""
        return sum(not transport.disconnecting for transport in self._transports)

    def close_connections(self) -> None:
        """Close all connections to it, as a restart or an idle time-out does."""
        for transport in self._transports:
            transport.loseConnection()
        self._transports.clear()

    def accept(self, reactor: Any) -> FakeTransport:
        """Make this end of a connection, its protocol not connected yet. Called by :class:`MemoryBackends`."""
        protocol: Any
        if isinstance(self._answer, bytes):
            protocol = _Scripted(self._answer)
        else:
            protocol = Site(self._answer, reactor=reactor).buildProtocol(None)
        received = bytearray()
        self.received.append(received)
        transport = _BackendTransport(self, protocol, received)
        self._transports.append(transport)
        return transport


def _page(text: str) -> IResource:
    page = Data(text.encode(), "text/plain")
    page.isLeaf = True
    return page


class _BackendTransport(FakeTransport):
    """A backend's end of a connection; it fails as the backend is told to."""

    def __init__(self, backend: FakeBackend, protocol: IProtocol, received: bytearray) -> None:
        super().__init__(protocol, isServer=True)  # type: ignore[no-untyped-call]
        self._backend = backend
        self._received = received
        self._in_body = False

    def bufferReceived(self, buf: bytes) -> None:
        self._received += buf
        fault = self._backend.fault
        if fault is Fault.GARBAGE:
            super().write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")  # type: ignore[no-untyped-call]
        if fault in (Fault.GARBAGE, Fault.CLOSE):
            self.loseConnection()  # type: ignore[no-untyped-call]
        elif fault is not Fault.SILENT:
            super().bufferReceived(buf)  # type: ignore[no-untyped-call]

    def write(self, data: bytes) -> None:
        if self._backend.fault is Fault.CUT:
            head, blank, body = (b"", b"", data) if self._in_body else data.partition(b"\r\n\r\n")
            self._in_body = self._in_body or bool(blank)
            data = head + blank + body[: len(body) // 2]
            if body:
                super().write(data)  # type: ignore[no-untyped-call]
                self.loseConnection()  # type: ignore[no-untyped-call]
                return
        super().write(data)  # type: ignore[no-untyped-call]


class _Scripted(Protocol):
    """Gives the same bytes to each request, once all of it is here."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._last = b"\r\nconnection: close" in answer.partition(b"\r\n\r\n")[0].lower()
        self._buffer = b""
        self._body: SizedBody | ChunkedBody | None = None

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self._buffer += data
        while self._take_request():
            self.transport.write(self._answer)
            if self._last:
                self.transport.loseConnection()

    def _take_request(self) -> bool:
        if self._body is None:
            end = self._buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                return False
            head = parse_request_head(self._buffer[:end], _LIMITS)
            self._body = ChunkedBody() if head.chunked else SizedBody(max(head.length, 0))
            self._buffer = self._buffer[end:]
        self._body.feed(self._buffer)
        self._buffer = self._body.rest
        if not self._body.done:
            return False
        self._body = None
        return True


class MemoryBackends(MemoryReactorClock):
    """A reactor whose connections lead to fake backends. Where there is none, they are refused.

    Pass it as ``reactor`` to a resource, a balancer, or a service.
    """

    def __init__(self, *backends: FakeBackend) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.backends = {backend.address: backend for backend in backends}
        self._asked: list[tuple[str, Any, Any]] = []
        self._links: list[IOPump] = []

    def pool(self, **options: Any) -> Pool:
        """A pool of these backends, in the order given.

        :param options: for :class:`~lbproxy.Pool`.
        """
        options.setdefault("seconds", self.seconds)
        return Pool([Backend.parse(address) for address in self.backends], **options)

    def settle(self) -> None:
        """Make and refuse connections, run what is due, and carry bytes, until nothing moves any more. No time passes."""
        for _ in range(_ROUNDS):
            # Each of the three may give the others something to do.
            if not (self._connect() | self._run_due() | self._carry()):
                return
        raise RuntimeError(f"something still moves after {_ROUNDS} rounds")

    def advance(self, amount: float) -> None:
        """Let *amount* seconds pass, then :meth:`settle`."""
        super().advance(amount)
        self.settle()

    # What endpoints call.

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: tuple[str, int] | None = None
    ) -> Any:
        """Note that a connection is asked for; :meth:`settle` makes it."""
        connector = super().connectTCP(host, port, factory, timeout, bindAddress)  # type: ignore[no-untyped-call]
        self._asked.append((Backend(host, port).address, factory, connector))
        return connector

    def connectUNIX(self, address: str, factory: Any, timeout: float = 30, checkPID: bool = False) -> Any:
        """Note that a connection is asked for; :meth:`settle` makes it."""
        connector = super().connectUNIX(address, factory, timeout, checkPID)  # type: ignore[no-untyped-call]
        self._asked.append((Backend(address).address, factory, connector))
        return connector

    def _connect(self) -> bool:
        asked, self._asked = self._asked, []
        for address, factory, connector in asked:
            backend = self.backends.get(address)
            if connector.stoppedConnecting:
                continue
            if backend is None or backend.fault is Fault.REFUSE:
                factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
            elif backend.fault is not Fault.TIME_OUT:
                self._link(backend, factory.buildProtocol(connector.getDestination()))
        return bool(asked)

    def _link(self, backend: FakeBackend, client: Any) -> None:
        if client is None:
            return
        server_end = backend.accept(self)
        client_end = FakeTransport(client, isServer=False)
        link = connect(server_end.protocol, server_end, client, client_end, greet=False, clock=self)
        self._links.append(link)

    def _run_due(self) -> bool:
        due = any(call.getTime() <= self.seconds() for call in self.getDelayedCalls())
        if due:
            Clock.advance(self, 0)
        return due

    def _carry(self) -> bool:
        moved = False
        for link in list(self._links):
            moved = link.flush(advanceClock=False) or moved
        self._links = [link for link in self._links if not (link.clientIO.disconnected and link.serverIO.disconnected)]
        return moved
