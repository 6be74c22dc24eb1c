"""An exchange answered by a resource of ``twisted.web``: what stands where ``twisted.web`` has a connection.

:class:`Rendering` offers a :class:`twisted.web.http.Request` what Twisted's own HTTP/2 streams offer it, and the exchange what a
backend's connection offers it. So a resource need know nothing of this balancer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.server import Request
from twisted.web.server import version as version_of_twisted

from ..http1.answers import Answer
from ..http1.fields import pairs
from ..http1.head import ResponseHead

if TYPE_CHECKING:
    from ..proxy.exchange import Exchange

__all__ = ["Rendering"]

_log = Logger()

#: Fields of one connection (RFC 9110 section 7.6.1), and the length: they are written by us.
_FRAMING = frozenset(
    (b"connection", b"content-length", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")
)

_WITHOUT_BODY = frozenset((204, 304))

_TOO_LARGE = Answer(status=413, end="too-large", why="The request's body is larger than what is taken here.")
_BAD = Answer(status=400, end="bad-request", why="The request's body is not what its type says.")
_FAILED = Answer(status=500, end="bug", why="What should have answered failed.")


class _Request(Request):
    """A request that does not let a part be taken for a whole response."""

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500, or break off where the response has begun."""
        channel: Any = self.channel
        if self.startedWriting and channel is not None:
            _log.failure("a resource failed in mid-response", reason)
            channel.abortConnection()
        else:
            super().processingFailed(reason)  # type: ignore[no-untyped-call]
        return reason


class _Pull:
    """Asks a pull producer for one part in each turn of the reactor, as long as the client reads."""

    __slots__ = ("_call", "_clock", "_producer", "_rendering")

    def __init__(self, rendering: Rendering, producer: Any, clock: IReactorTime) -> None:
        self._rendering = rendering
        self._producer = producer
        self._clock = clock
        self._call: IDelayedCall | None = None

    def _turn(self) -> None:
        self._call = None
        self.resumeProducing()
        try:
            self._producer.resumeProducing()
        except Exception:
            _log.failure("a producer of a response failed")
            self.pauseProducing()
            self._rendering.abortConnection()

    def resumeProducing(self) -> None:
        """Ask in the next turn."""
        if self._call is None:
            self._call = self._clock.callLater(0, self._turn)

    def pauseProducing(self) -> None:
        """Ask no more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def stopProducing(self) -> None:
        """Nothing more is wanted."""
        self.pauseProducing()
        self._producer.stopProducing()


class Rendering:
    """One exchange, and the request that is made of it.

    :param site: finds the resource.
    :param prefix: segments of the path that lead to it.
    :param limit: bytes of the request's body. As by ``twisted.web`` itself, the body is here before the resource is asked: below
        100 kB in memory, or else in a temporary file.
    :ivar target: what the client has asked for, before any filter.
    """

    transport = None  # as HTTP/2 has it: a resource has no business with the connection

    def __init__(self, exchange: Exchange, site: Any, prefix: int, limit: int, clock: IReactorTime) -> None:
        self.site = site
        self.prefix = prefix
        self.target = exchange.request.target if exchange.target is None else exchange.target
        self._exchange: Exchange | None = exchange
        self._limit = limit
        self._clock = clock
        self._head: ResponseHead | None = None  # until it is sent
        self._first: list[bytes] = []  # what is written while the resource renders goes with the head
        self._at_once = False
        self._left = -1  # bytes of the response's body that its length has announced; -1: none was
        self._done = False
        self._paused = False
        self._producer: Any = None
        self._request: Any = _Request(self)  # type: ignore[no-untyped-call]

    def begin(self) -> None:
        """Make the request."""
        exchange, request = self._exchange, self._request
        assert exchange is not None
        head = exchange.request
        if head.length > self._limit:
            exchange.answer_with(_TOO_LARGE)
            return
        for name, value in pairs(head.fields + exchange.client.forwarded):
            request.requestHeaders.addRawHeader(name, value)
        request.requestHeaders.setRawHeaders(b"X-Request-ID", [exchange.request_id])
        request.parseCookies()
        request.gotLength(None if head.chunked else max(head.length, 0))
        exchange.serve(self)
        if not head.has_body:
            self.end_body()
        elif not exchange.end:
            exchange.invite()

    # What the exchange calls (lbproxy.proxy.passing.Server).

    def write_body(self, data: bytes) -> None:
        """A part of the request's body."""
        self._limit -= len(data)
        if self._limit >= 0:
            self._request.handleContentChunk(data)
        elif self._exchange is not None:
            self._exchange.answer_with(_TOO_LARGE)

    def end_body(self, trailers: bytes = b"") -> None:
        """The request is complete: let the resource render."""
        exchange = self._exchange
        assert exchange is not None
        head = exchange.request
        self._at_once = True
        try:
            self._request.requestReceived(head.method, head.target, b"HTTP/1.%d" % head.minor)
        except Exception:
            _log.failure("a request for a resource failed")
            self._fail()
        self._at_once = False
        self._begin_response()

    def pause(self) -> None:
        """The client is slow."""
        self._paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume(self) -> None:
        """It has caught up."""
        self._paused = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def over(self) -> None:
        """The exchange has ended. A resource that has not finished is told that the connection is gone."""
        self._exchange = None
        request, self._request = self._request, None
        if self._done:
            return
        self._done = True
        producer, self._producer = self._producer, None
        reason = Failure(ConnectionLost())
        for tell in ((producer.stopProducing,) if producer is not None else ()) + (lambda: request.connectionLost(reason),):
            try:
                tell()
            except Exception:
                _log.failure("a resource could not be told that its client has left")

    # What the request calls; the names are Twisted's.

    def getPeer(self) -> IAddress:
        """The client; behind a trusted proxy, that proxy's client."""
        assert self._exchange is not None
        client = self._exchange.client
        return _address(client.address, client.source[1] if client.source[0] == client.address else 0)

    def getHost(self) -> IAddress:
        """Where the client has connected to."""
        assert self._exchange is not None
        return _address(*self._exchange.client.destination)

    def isSecure(self) -> bool:
        """Whether the client came over TLS."""
        return self._exchange is not None and self._exchange.client.secure

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """The response's head, to be sent with what follows at once."""
        assert self._exchange is not None
        lines = [
            b"%b: %b\r\n" % (name, value)
            for name, values in headers.getAllRawHeaders()
            if name.lower() not in _FRAMING
            for value in values
            if value != version_of_twisted  # which nobody has asked for
        ]
        self._request.chunked = 0  # how it is framed is the listener's choice
        status = int(code)
        if not 200 <= status <= 999:  # what follows a 1xx would be read as another response
            _log.error("{uri!r}: a resource answered {status}, which is no answer", uri=self._request.uri, status=status)
            status, reason = 500, b"Internal Server Error"
        self._head = head = ResponseHead(status, reason, b"".join(lines))
        length = _length(headers)
        if length >= 0 and status != 204:
            head.fields += b"Content-Length: %d\r\n" % length
        if self._exchange.request.method == b"HEAD" or status in _WITHOUT_BODY:
            head.length = 0
        else:
            head.length = self._left = length

    def write(self, data: bytes) -> None:
        """A part of the response's body."""
        if self._exchange is None or not data:
            return
        if self._left >= 0:
            if len(data) > self._left:
                _log.error("{uri!r}: a resource wrote more than the length that it announced", uri=self._request.uri)
                data = data[: self._left]
            self._left -= len(data)
            if not data:
                return
        if self._head is None:
            self._exchange.response_data(data)
        else:
            self._first.append(data)
            if not self._at_once:
                self._begin_response()

    def writeSequence(self, parts: Iterable[bytes]) -> None:
        """Several parts."""
        self.write(b"".join(parts))

    def _begin_response(self, complete: bool = False) -> None:
        head, self._head = self._head, None
        if head is not None and self._exchange is not None:
            data, self._first = b"".join(self._first), []
            self._exchange.guarded(self._exchange.served, head, data, complete)

    def requestDone(self, request: Request) -> None:
        """The response is whole, if it has the length that was announced."""
        exchange = self._exchange
        if exchange is None:
            return
        if self._left > 0:
            _log.error("{uri!r}: a resource wrote less than the length that it announced", uri=request.uri)
            self._done = True
            self._fail()
            return
        self._done = True
        if self._head is None:
            exchange.served_all()
            return
        if self._head.length < 0:
            self._head.length = size = sum(map(len, self._first))
            self._head.fields += b"Content-Length: %d\r\n" % size
        self._begin_response(complete=True)

    def _fail(self) -> None:
        """It cannot be made whole: 500, unless some of it was sent."""
        self._head = None
        if self._exchange is not None:
            self._exchange.answer_with(_FAILED)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let something produce the response, no faster than the client reads."""
        if self._exchange is None:
            producer.stopProducing()
            return
        self._producer = producer if streaming else _Pull(self, producer, self._clock)
        if self._paused:
            self._producer.pauseProducing()
        elif not streaming:
            self._producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """It produces no more."""
        producer, self._producer = self._producer, None
        if isinstance(producer, _Pull):
            producer.pauseProducing()

    def abortConnection(self) -> None:
        """The resource breaks the response off."""
        self._fail()

    loseConnection = abortConnection

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._exchange is not None:
            self._exchange.answer_with(_BAD)


def _length(headers: Headers) -> int:
    """The length that a resource announces; -1 where it announces none, or several, or what is no number."""
    values = set(headers.getRawHeaders(b"content-length", []))
    value = values.pop() if len(values) == 1 else b""
    return int(value) if value.isdigit() and len(value) <= 18 else -1


def _address(host: str, port: int) -> IAddress:
    if host in ("", "unix", "unknown"):
        return UNIXAddress(None)
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)
