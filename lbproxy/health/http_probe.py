"""The probe that asks for a page. Not on the data path: what it needs of others' HTTP must not be needed there."""

from __future__ import annotations

import re
from typing import Any

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from ..balance.backend import Backend
from ..endpoints import client_endpoint
from ..interfaces import IProbe
from ..tls.backends import BackendTls
from .http_line import BODY_LIMIT, Body, Line
from .probes import OUR_OWN, ConnectProbe, NotWell
from .spec import ProbeSpec

__all__ = ["HttpProbe", "make_probe"]

# What the agent is asked for: its host leads nowhere, since the endpoint is the backend's own.
_URL = "http://backend"


def make_probe(spec: ProbeSpec, reactor: Any, tls: BackendTls | None = None) -> IProbe:
    """The probe that an operator wants.

    :param tls: how TLS is spoken with backends; by default they must be known to the system's authorities.
    """
    return HttpProbe(reactor, spec, tls) if spec.path else ConnectProbe(reactor, tls, spec.scheme)


@implementer(IProbe)
class HttpProbe:
    """A backend is well when it answers a GET request with an allowed status, and with a body in which a pattern is found.

    Redirects are not followed: a redirect is a status like any other. No connection is kept. The body is read to its end, or to
    its first 256 KiB: who cannot send the page is not well. A backend whose connections begin with a PROXY protocol header gets
    one here too, unless the probe goes to another port (as HAProxy has it). For a Unix socket another port means nothing.

    Whether it is asked over TLS is said by the probe (``https:/path``) and not by the backend; how its certificate is verified
    is said by the backend.
    """

    about = "answers"

    def __init__(self, reactor: Any, spec: ProbeSpec, tls: BackendTls | None = None) -> None:
        self._reactor = reactor
        self._spec = spec
        self._tls = (BackendTls() if tls is None else tls) if spec.scheme == "https" else None
        self._pattern = re.compile(spec.body) if spec.body else None
        self._pool = HTTPConnectionPool(reactor, persistent=False)

    def check(self, backend: Backend) -> Deferred[str]:
        """Ask for the page."""
        began = self._reactor.seconds()
        opening = b"" if self._spec.port else OUR_OWN[backend.proxy_protocol]
        if self._spec.port and backend.port is not None:
            backend = attrs.evolve(backend, port=self._spec.port)
        peer = None if self._tls is None else self._tls.prober(backend)
        line = Line(client_endpoint(self._reactor, backend), opening, peer)
        agent = Agent.usingEndpointFactory(self._reactor, line, self._pool)
        # A client of its own for each request: one that is kept keeps cookies.
        client = HTTPClient(_Asking(agent, line, _URL + self._spec.path, self._fields(backend)))
        asking: Deferred[Any] = client.get(_URL, allow_redirects=False, unbuffered=True, reactor=self._reactor)
        asking.addCallback(self._answered, line)
        asking.addErrback(line.explain)
        return asking.addCallback(lambda status: f"probe: {status} in {(self._reactor.seconds() - began) * 1000:.0f} ms")

    def _fields(self, backend: Backend) -> Headers:
        fields = Headers()
        host = self._spec.host or _host(backend, 80 if self._tls is None else 443)
        for name, value in (("Host", host), ("Accept", "*/*"), ("User-Agent", "lbproxy")):
            fields.setRawHeaders(name, [value])
        for name, _ in self._spec.headers:
            fields.removeHeader(name)
        for name, value in self._spec.headers:
            fields.addRawHeader(name, value)
        return fields

    def _answered(self, response: IResponse, line: Line) -> Deferred[int]:
        if response.version[:2] != (b"HTTP", 1):
            line.drop("the answer is not HTTP/1")
            raise NotWell(line.problem)
        body = Body(line)
        response.deliverBody(body)
        return body.read.addCallback(self._judge, response.code)

    def _judge(self, data: bytes, status: int) -> int:
        if not self._spec.allows(status):
            raise NotWell(f"status {status}; allowed is {self._spec.allowed}")
        if self._pattern is not None and not self._pattern.search(data.decode("utf-8", "replace")):
            looked_at = f"the body's first {BODY_LIMIT} bytes do" if len(data) == BODY_LIMIT else "the body does"
            raise NotWell(f"{looked_at} not match {self._spec.body!r}")
        return status


def _host(backend: Backend, default: int) -> str:
    """The Host field for a backend (RFC 9110 section 7.2). A zone means nothing to others (RFC 6874)."""
    if backend.port is None:
        return "localhost"
    host = f"[{backend.host.partition('%')[0]}]" if ":" in backend.host else backend.host
    return host if backend.port == default else f"{host}:{backend.port}"


@implementer(IAgent)
class _Asking:
    """Keeps treq's hands off: the request goes out as it is meant, not as a browser's, and of the answer's fields treq sees none,
    so that it neither keeps cookies nor unpacks what a few bytes can be blown up from."""

    def __init__(self, agent: IAgent, line: Line, url: str, fields: Headers) -> None:
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
