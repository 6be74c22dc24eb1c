"""The probe that asks for a page. Not on the data path: what it needs of others' HTTP must not be needed there."""

from __future__ import annotations

import re
from typing import Any

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IResponse
from zope.interface import implementer

from ..balance.backend import Backend
from ..endpoints import client_endpoint
from ..interfaces import IProbe
from ..proxy_protocol import proxy_header
from .probes import ConnectProbe, NotWell
from .spec import ProbeSpec

__all__ = ["BODY_LIMIT", "HEAD_LIMIT", "HttpProbe", "make_probe"]

#: Bytes of a body that are looked at (nginx Plus's ``match``: 256 KiB); after them the connection is dropped.
BODY_LIMIT = 256 * 1024
#: Bytes of a response's head, interim ones before it included (HAProxy: 16 KiB).
HEAD_LIMIT = 16 * 1024
#: Heads before the final one: each interim response is a line in the log, which Twisted writes.
INTERIM_LIMIT = 10

# What the agent is asked for: its host leads nowhere, since the endpoint is the backend's own.
_URL = "http://backend"

# Of the PROXY protocol, that this connection is the proxy's own: UNKNOWN, and the command LOCAL (sections 2.1 and 2.2).
_OUR_OWN = {0: b"", 1: proxy_header(1, ("", 0), ("", 0)), 2: b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"}

_HEAD_END = re.compile(rb"\n\r?\n")


def make_probe(spec: ProbeSpec, reactor: Any) -> IProbe:
    """The probe that an operator wants."""
    return HttpProbe(reactor, spec) if spec.path else ConnectProbe(reactor)


@implementer(IProbe)
class HttpProbe:
    """A backend is well when it answers a GET request with an allowed status, and with a body in which a pattern is found.

    Redirects are not followed: a redirect is a status like any other. No connection is kept. The body is read to its end, or to
    its first 256 KiB: who cannot send the page is not well. A backend whose connections begin with a PROXY protocol header gets
    one here too, unless the probe goes to another port (as HAProxy has it). For a Unix socket another port means nothing.
    """

    about = "answers"

    def __init__(self, reactor: Any, spec: ProbeSpec) -> None:
        self._reactor = reactor
        self._spec = spec
        self._pattern = re.compile(spec.body) if spec.body else None
        self._pool = HTTPConnectionPool(reactor, persistent=False)

    def check(self, backend: Backend) -> Deferred[str]:
        """Ask for the page."""
        began = self._reactor.seconds()
        opening = b"" if self._spec.port else _OUR_OWN[backend.proxy_protocol]
        if self._spec.port and backend.port is not None:
            backend = attrs.evolve(backend, port=self._spec.port)
        line = _Line(client_endpoint(self._reactor, backend), opening)
        agent = Agent.usingEndpointFactory(self._reactor, line, self._pool)
        # A client of its own for each request: one that is kept keeps cookies.
        client = HTTPClient(_Asking(agent, line, _URL + self._spec.path, self._fields(backend)))
        asking: Deferred[Any] = client.get(_URL, allow_redirects=False, unbuffered=True, reactor=self._reactor)
        asking.addCallback(self._answered, line)
        asking.addErrback(line.explain)
        return asking.addCallback(lambda status: f"probe: {status} in {(self._reactor.seconds() - began) * 1000:.0f} ms")

    def _fields(self, backend: Backend) -> Headers:
        fields = Headers()
        for name, value in (("Host", self._spec.host or _host(backend)), ("Accept", "*/*"), ("User-Agent", "lbproxy")):
            fields.setRawHeaders(name, [value])
        for name, _ in self._spec.headers:
            fields.removeHeader(name)
        for name, value in self._spec.headers:
            fields.addRawHeader(name, value)
        return fields

    def _answered(self, response: IResponse, line: _Line) -> Deferred[int]:
        if response.version[:2] != (b"HTTP", 1):
            line.drop("the answer is not HTTP/1")
            raise NotWell(line.problem)
        body = _Body(line)
        response.deliverBody(body)
        return body.read.addCallback(self._judge, response.code)

    def _judge(self, data: bytes, status: int) -> int:
        if not self._spec.allows(status):
            raise NotWell(f"status {status}; allowed is {self._spec.allowed}")
        if self._pattern is not None and not self._pattern.search(data.decode("utf-8", "replace")):
            looked_at = f"the body's first {BODY_LIMIT} bytes do" if len(data) == BODY_LIMIT else "the body does"
            raise NotWell(f"{looked_at} not match {self._spec.body!r}")
        return status


def _host(backend: Backend) -> str:
    """The Host field for a backend (RFC 9110 section 7.2). A zone means nothing to others (RFC 6874)."""
    if backend.port is None:
        return "localhost"
    host = f"[{backend.host.partition('%')[0]}]" if ":" in backend.host else backend.host
    return host if backend.port == 80 else f"{host}:{backend.port}"


@implementer(IAgent)
class _Asking:
    """Keeps treq's hands off: the request goes out as it is meant, not as a browser's, and of the answer's fields treq sees none,
    so that it neither keeps cookies nor unpacks what a few bytes can be blown up from."""

    def __init__(self, agent: IAgent, line: _Line, url: str, fields: Headers) -> None:
        self._agent = agent
        self._line = line
        self._url = url.encode("ascii")
        self._fields = fields

    def request(self, method: bytes, uri: bytes, headers: object = None, bodyProducer: object = None) -> Deferred[IResponse]:
        return self._agent.request(method, self._url, self._fields).addCallback(self._answered)

    def _answered(self, response: IResponse) -> IResponse:
        self._line.answered = True
        response.headers = Headers()
        return response


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Line:
    """The way to one backend for one request, and a guard on it.

    :ivar answered: whether the final response's head has come.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, opening: bytes) -> None:
        self.opening = opening
        self.answered = False
        self.problem = ""
        self._endpoint = endpoint
        self._transport: Any = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Whatever the URI says."""
        return self

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect with a guard before the agent's protocol."""
        ours = Factory.forProtocol(lambda: _Guard(self, factory.buildProtocol(None)))  # type: ignore[arg-type]
        ours.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(ours)
        return connecting.addCallback(lambda guard: guard.inner)

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


class _Guard(Protocol):
    """Between the connection and the agent's protocol, which would take a head of any length."""

    def __init__(self, line: _Line, inner: Any) -> None:
        self.inner = inner
        self._line = line
        self._left = HEAD_LIMIT
        self._heads = 0

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self._line.connected(transport)
        if self._line.opening:
            transport.write(self._line.opening)
        self.inner.makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        while data and not (self._line.answered or self._line.problem):
            end = _HEAD_END.search(data)
            size = min(self._left, end.end() if end else len(data))
            piece, data = data[:size], data[size:]
            self._left -= size
            self._heads += end is not None
            self.inner.dataReceived(piece)
            self._check()
        if data and not self._line.problem:
            self.inner.dataReceived(data)

    def _check(self) -> None:
        if not self._line.answered:
            if self._left <= 0:
                self._line.drop(f"the answer's head is longer than {HEAD_LIMIT} bytes")
            elif self._heads > INTERIM_LIMIT:
                self._line.drop(f"more than {INTERIM_LIMIT} interim answers came, and no final one")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.inner.connectionLost(reason)


class _Body(Protocol):
    """Reads a body, as much of it as is looked at.

    :ivar read: fires with it.
    """

    def __init__(self, line: _Line) -> None:
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
