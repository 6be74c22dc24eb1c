"""The connection of one HTTP probe: whatever comes over it, it holds little and ends."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ..tls.backends import BackendPeer
from ..tls.connecting import connect_tls
from .probes import NotWell

__all__ = ["BODY_LIMIT", "HEAD_LIMIT", "INTERIM_LIMIT", "Body", "Line"]

#: Bytes of a body that are looked at (nginx Plus's ``match``: 256 KiB); after them the connection is dropped.
BODY_LIMIT = 256 * 1024
#: Bytes of a response's head, interim ones before it included (HAProxy: 16 KiB).
HEAD_LIMIT = 16 * 1024
#: Heads before the final one: each interim response is a line in the log, which Twisted writes.
INTERIM_LIMIT = 10

_HEAD_END = re.compile(rb"\n\r?\n")


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Line:
    """The way to one backend for one request, and a guard on it.

    :param opening: what the connection begins with.
    :param peer: whom TLS is spoken with after that; None: it is not.
    :ivar answered: whether the final response's head has come.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, opening: bytes, peer: BackendPeer | None = None) -> None:
        self._opening = opening
        self._peer = peer
        self.answered = False
        self.problem = ""
        self._endpoint = endpoint
        self._transport: Any = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Whatever the URI says."""
        return self

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect with a guard before the agent's protocol."""

        def build() -> Guard:
            return Guard(self, factory.buildProtocol(None))  # type: ignore[arg-type]

        connecting: Deferred[Any]
        if self._peer is not None:
            connecting = connect_tls(self._endpoint, build, self._peer, self._opening)
        else:
            ours = Factory.forProtocol(build)
            ours.noisy = False
            opening: Deferred[Any] = self._endpoint.connect(ours)
            connecting = opening.addCallback(self._open)
        return connecting.addCallback(lambda guard: guard.begin())

    def _open(self, guard: Guard) -> Guard:
        if self._opening:
            self._transport.write(self._opening)
        return guard

    def connected(self, transport: Any) -> None:
        """It is there."""
        self._transport = transport

    def drop(self, problem: str = "") -> None:
        """End the connection at once, because of *problem* if there is one."""
        self.problem = self.problem or problem
        self._transport.abortConnection()

    def explain(self, failure: Failure) -> Failure:
        """A failed request in words for an operator."""
        if self.problem:
            raise NotWell(self.problem)
        if failure.check(ResponseNeverReceived):
            raise NotWell("the connection ended without an answer")
        if failure.check(ResponseFailed):
            raise NotWell("the answer's head cannot be read, or is cut short")
        return failure


@implementer(IHandshakeListener)
class Guard(Protocol):
    """Between the connection and the agent's protocol, which would take a head of any length.

    :ivar secured: with TLS, fires when the handshake is over.
    """

    transport: Any
    secured: Deferred[Any] | None = None

    def __init__(self, line: Line, inner: Any) -> None:
        self._begun = False
        self._inner = inner
        self._line = line
        self._left = HEAD_LIMIT
        self._heads = 0

    def connectionMade(self) -> None:
        self._line.connected(self.transport)

    def handshakeCompleted(self) -> None:
        assert self.secured is not None
        self.secured.callback(self)

    def begin(self) -> Any:
        """The connection is ready to be used; gives the agent's protocol."""
        self._begun = True
        self._inner.makeConnection(self.transport)
        return self._inner

    def dataReceived(self, data: bytes) -> None:
        while data and not (self._line.answered or self._line.problem):
            end = _HEAD_END.search(data)
            size = min(self._left, end.end() if end else len(data))
            piece, data = data[:size], data[size:]
            self._left -= size
            self._heads += end is not None
            self._inner.dataReceived(piece)
            self._check()
        if data and not self._line.problem:
            self._inner.dataReceived(data)

    def _check(self) -> None:
        if not self._line.answered:
            if self._left <= 0:
                self._line.drop(f"the answer's head is longer than {HEAD_LIMIT} bytes")
            elif self._heads > INTERIM_LIMIT:
                self._line.drop(f"more than {INTERIM_LIMIT} interim answers came, and no final one")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._begun:
            self._inner.connectionLost(reason)
        elif self.secured is not None and not self.secured.called:
            self.secured.errback(reason)


class Body(Protocol):
    """Reads a body, as much of it as is looked at.

    :ivar read: fires with it.
    """

    def __init__(self, line: Line) -> None:
        self.read: Deferred[bytes] = Deferred(lambda _: line.drop())
        self._line = line
        self._data = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if len(self._data) >= BODY_LIMIT:
            self._line.drop()
            self._fire()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone, PotentialDataLoss):
            self._fire()
        elif not self.read.called:
            self.read.errback(NotWell("the answer's body is cut short"))

    def _fire(self) -> None:
        if not self.read.called:
            self.read.callback(bytes(self._data[:BODY_LIMIT]))
