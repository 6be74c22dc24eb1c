"""The proxy one would write by hand: a resource that asks an ``Agent``, backends in turn, connections kept.

It streams bodies of responses, as a usable proxy must, and does nothing more: no retries, no health, no
request bodies.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from bench.balancers.base import IDLE_A_BACKEND, KEEP_ALIVE
from bench.servers.serving import serve

# What belongs to one connection only, or what the Agent writes itself.
NOT_FORWARDED = frozenset(
    (b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"content-length")
)


class Relay(Protocol):
    """Passes a response's body on as it comes."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def dataReceived(self, data: bytes) -> None:
        """Pass a piece on."""
        self.request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is at its end."""
        if not self.request._disconnected:
            self.request.finish()


class AgentProxy(Resource):
    """Forwards every GET to the next backend."""

    isLeaf = True

    def __init__(self, agent: Agent, backends: Sequence[str]) -> None:
        super().__init__()
        self.agent = agent
        self.turn = itertools.cycle(b"http://" + backend.encode() for backend in backends)

    def render_GET(self, request: Request) -> int:
        """Ask the backend, then answer as it answers."""
        fields = [
            field
            for field in request.requestHeaders.getAllRawHeaders()
            if field[0].lower() not in NOT_FORWARDED
        ]
        headers = Headers(dict(fields))
        headers.addRawHeader(b"X-Forwarded-For", request.getClientAddress().host.encode())
        asked = self.agent.request(b"GET", next(self.turn) + request.uri, headers)
        asked.addCallbacks(self.answer, self.fail, callbackArgs=(request,), errbackArgs=(request,))
        return NOT_DONE_YET

    def answer(self, response: Any, request: Request) -> None:
        """Copy the head and have the body follow."""
        request.setResponseCode(response.code, response.phrase)
        for name, values in response.headers.getAllRawHeaders():
            if name.lower() not in NOT_FORWARDED:
                request.responseHeaders.setRawHeaders(name, values)
        if isinstance(response.length, int):
            request.setHeader(b"Content-Length", b"%d" % response.length)
        response.deliverBody(Relay(request))

    def fail(self, failure: Failure, request: Request) -> None:
        """Answer 502: the load generator counts it, and the measurement is void."""
        request.setResponseCode(502)
        request.finish()


def make_resource(reactor: Any, backends: Sequence[str]) -> AgentProxy:
    """Make the proxy with a generous connection pool."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = IDLE_A_BACKEND
    pool.cachedConnectionTimeout = KEEP_ALIVE
    return AgentProxy(Agent(reactor, pool=pool), backends)


if __name__ == "__main__":
    serve(make_resource)
