"""Another service says who may come in: it is asked about each request, by one without a body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from ...http1.answers import Answer
from ...http1.edit import field_line, remove_fields
from ...http1.fields import KNOWN_IN_RESPONSE, pairs
from ..checks import FIELD_NAME, PATH, SECONDS, Rule, each, matching, texts, unless_empty
from ..filter import Filter, FilterContext
from .names import OWN_FIELD
from .quietly import Quietly
from .service import Way

if TYPE_CHECKING:
    from ..passage import Passage

__all__ = ["BODY_LIMIT", "ForwardAuth"]

_log = Logger()

#: Bytes of the service's answer that a client may get: a page that says no, or a form.
BODY_LIMIT = 64 * 1024
#: Connections that are kept while nobody asks, and seconds for which each is.
_IDLE = 32
_IDLE_TIME = 15

#: What the service is not told: which frames a body that it does not get, is meant for the resource and not for it, would have it
#: answer in a coding that nobody here reads, or is said by us.
_NOT_ASKED = frozenset((
    b"accept-encoding", b"content-encoding", b"content-length", b"expect", b"host", b"if-match", b"if-modified-since",
    b"if-none-match", b"if-range", b"if-unmodified-since", b"range", b"trailer", b"transfer-encoding", b"x-forwarded-method",
    b"x-forwarded-uri",
))  # fmt: skip

_URL = matching(r"https?://[A-Za-z0-9._~\[\]:-]+(?:/[!-\"$-~]*)?", "an http or https URL without a user and a fragment")

_ANSWER_FIELD = Rule(
    "a header field's name, other than those that frame a message",
    lambda name: FIELD_NAME.holds(name)
    and name.lower().encode("ascii") not in {*KNOWN_IN_RESPONSE, b"date", b"content-type", b"content-encoding"},
)


@attrs.frozen(kw_only=True)
class ForwardAuth:
    """The service at *url* is asked by a GET with the request's fields, and by which method, scheme, host and target the client
    asks (``X-Forwarded-Method``, ``-Proto``, ``-Host``, ``-Uri``, as the client said them, before any filter) and who it is
    (``X-Forwarded-For``). If it answers with 2xx, the request goes on; any other answer is the client's, redirects included. If
    it gives none in time, the client is answered 503: nobody is let on unasked.

    :ivar url: where it is asked.
    :ivar ca: PEM file with the authorities that its certificate must be known to; empty: the system's. It is read once.
    :ivar request_fields: the fields it is told; none named: all but those of the connection and of the body, and conditions.
    :ivar response_fields: those of its answer that the backend is told. What a client says in them never goes on.
    :ivar answer_fields: those of its answer that a client gets who is not let on, beside the body's type.
    :ivar timeout: seconds for the whole of it.
    """

    type: ClassVar[str] = "forward-auth"

    url: str = attrs.field(validator=_URL)
    ca: str = attrs.field(default="", validator=unless_empty(PATH), metadata={"path": True})
    request_fields: tuple[str, ...] = attrs.field(default=(), converter=texts, validator=each(FIELD_NAME))
    response_fields: tuple[str, ...] = attrs.field(default=(), converter=texts, validator=each(OWN_FIELD))
    answer_fields: tuple[str, ...] = attrs.field(
        default=("Location", "Set-Cookie", "WWW-Authenticate", "Cache-Control", "Retry-After"),
        converter=texts,
        validator=each(_ANSWER_FIELD),
    )
    timeout: float = attrs.field(default=5.0, validator=SECONDS)

    def make(self, context: FilterContext) -> Filter:
        """Make the live filter."""
        return LiveForwardAuth(self, context)


def _lowered(names: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(name.lower().encode("ascii") for name in names)


class LiveForwardAuth(Filter):
    """Counts ``asked``, ``denied`` and ``failed``, and ``too-long`` for answers whose body is longer than :data:`BODY_LIMIT`.

    :ivar pool: its connections to the service. They end by themselves when they are not used.
    """

    def __init__(self, spec: ForwardAuth, context: FilterContext) -> None:
        self.spec = spec
        self.pool = HTTPConnectionPool(context.reactor, persistent=True)
        self.pool.maxPersistentPerHost = _IDLE
        self.pool.cachedConnectionTimeout = _IDLE_TIME
        self._agent = Agent.usingEndpointFactory(context.reactor, Way(context.reactor, spec.ca), self.pool)
        self._reactor = context.reactor
        self._clock = context.clock
        self._count = context.count
        self._chosen = _lowered(spec.request_fields)
        self._told = _lowered(spec.response_fields)
        self._quietly = Quietly(context.clock.seconds)

    def request(self, passage: Passage) -> Deferred[Answer | None]:
        """Ask the service. What the client says in fields that are the service's is dropped first of all."""
        request = passage.request
        fields = self._fields(passage)
        request.fields = remove_fields(request.fields, self._told)
        self._count("asked")
        asking = _Asking(self._agent, self.spec.url.encode("ascii"), fields)
        said = self._ask(asking)
        said.addCallback(self._judge, asking, passage)
        said.addErrback(self._failed, asking)
        return asking.verdict_of(said)

    def _ask(self, asking: _Asking) -> Deferred[Any]:
        """Fires with the answer's status and body, in time."""
        # A client of its own for each request: one that is kept keeps cookies, and gives them to others.
        client = HTTPClient(asking)
        said: Deferred[Any] = client.get(self.spec.url, allow_redirects=False, unbuffered=True, reactor=self._reactor)
        said.addCallback(self._read)
        return said.addTimeout(self.spec.timeout, self._clock, _too_late)

    def _fields(self, passage: Passage) -> Headers:
        """What the service is told."""
        exchange, client, request = passage.exchange, passage.client, passage.request
        fields = Headers()
        for name, value in pairs(request.fields):
            lowered = name.lower()
            if lowered.replace(b"_", b"-") not in _NOT_ASKED and (not self._chosen or lowered in self._chosen):
                fields.addRawHeader(name, value)
        for name, value in pairs(client.forwarded):
            fields.addRawHeader(name, value)
        host = client.forwarded_host or request.host
        if host is not None:
            fields.setRawHeaders(b"X-Forwarded-Host", [host])
        fields.setRawHeaders(b"X-Forwarded-Method", [request.method])
        fields.setRawHeaders(b"X-Forwarded-Uri", [request.target if exchange.target is None else exchange.target])
        fields.setRawHeaders(b"X-Request-ID", [exchange.request_id])
        return fields

    def _read(self, response: IResponse) -> Deferred[tuple[int, bytes | None]]:
        """The answer's status and body; a body that is too long is None."""
        body = _Body()
        response.deliverBody(body)
        return body.read.addCallback(lambda data: (response.code, data))

    def _judge(self, said: tuple[int, bytes | None], asking: _Asking, passage: Passage) -> Answer | None:
        status, body = said
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is no status")
        if 200 <= status < 300:
            passage.request.fields += _lines(asking.said, self.spec.response_fields)
            return None
        self._count("denied")
        if body is None:
            self._count("too-long")
        return Answer(
            status=status,
            end="forbidden" if status == 403 else "unauthorized",
            why="This is not for everybody.",
            fields=_lines(asking.said, self.spec.answer_fields) + _lines(asking.said, ("Content-Encoding",) if body else ()),
            body=body,
            kind=(asking.said.getRawHeaders("Content-Type") or ["text/plain; charset=utf-8"])[0],
        )

    def _failed(self, failure: Failure, asking: _Asking) -> Answer | None:
        if asking.left:
            return None
        self._count("failed")
        if self._quietly.now():
            _log.error("{url} does not say who may come in: {reason}", url=self.spec.url, reason=_reason(failure))
        return Answer(status=503, end="filter", why="It cannot be found out just now who may come in.", retry_after=1)


def _too_late(said: object, seconds: float) -> NoReturn:
    """In time there was no answer: whatever became of it by being cancelled."""
    raise TimeoutError(f"no answer within {seconds:g} seconds")


def _reason(failure: Failure) -> str:
    """A failure in words; one of the agent's holds the reasons in a list."""
    reasons = getattr(failure.value, "reasons", None) or [failure]
    return "; ".join(f"{one.type.__name__}: {one.getErrorMessage()}" for one in reasons)


def _lines(fields: Headers, names: tuple[str, ...]) -> bytes:
    """The fields of these names, as lines: whatever a value holds, it stays in its own."""
    return b"".join(
        field_line(name.encode("ascii"), value)
        for name in names
        for value in fields.getRawHeaders(name.encode("ascii"), [])
    )


@implementer(IAgent)
class _Asking:
    """Keeps treq's hands off: the request goes out as it is meant, not as a browser's, and of the answer's fields treq sees none,
    so that it neither keeps cookies nor unpacks what a few bytes can be blown up from.

    :ivar said: the answer's fields.
    :ivar left: whether nobody wants to know any more: whatever comes then is no failure.
    """

    def __init__(self, agent: IAgent, url: bytes, fields: Headers) -> None:
        self._agent = agent
        self._fields = fields
        self._url = url
        self.said = Headers()
        self.left = False

    def verdict_of(self, said: Deferred[Any]) -> Deferred[Any]:
        """Fires with the same, unless it is cancelled."""

        def leave(verdict: object) -> None:
            self.left = True
            said.cancel()

        verdict: Deferred[Any] = Deferred(leave)
        said.addCallback(lambda answer: None if self.left else verdict.callback(answer))
        return verdict

    def request(self, method: bytes, uri: bytes, headers: object = None, bodyProducer: object = None) -> Deferred[IResponse]:
        return self._agent.request(method, self._url, self._fields).addCallback(self._answered)

    def _answered(self, response: IResponse) -> IResponse:
        self.said, response.headers = response.headers, Headers()
        return response


class _Body(Protocol):
    """Reads a body that is not too long.

    :ivar read: fires with it; with None for one that is.
    """

    transport: Any

    def __init__(self) -> None:
        self.read: Deferred[bytes | None] = Deferred(lambda _: self._drop())
        self._data = bytearray()

    def _drop(self) -> None:
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > BODY_LIMIT and not self.read.called:
            self._drop()
            self.read.callback(None)
            self._data.clear()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.read.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.read.callback(bytes(self._data))
        else:
            self.read.errback(reason)
