"""The client side of HTTP/1.1: one connection to a backend, which carries one exchange at a time.

How a connection begins and ends stands in the base, :mod:`.upstream`; what can be said of a head or a body by itself, in
:mod:`.response_head` and :mod:`.body`.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from ..errors import BadMessage, BadResponse
from .body import LAST_CHUNK, ChunkedBody, SizedBody, UntilCloseBody, chunk, last_chunk
from .head import RequestHead, ResponseHead
from .response_head import agrees, parse_response_head
from .roles import Response, ResponseReceiver
from .upstream import Upstream

__all__ = ["INTERIM_LIMIT", "UpstreamConnection"]

#: Interim responses in one exchange at most: a client that does not read them would have them pile up here.
INTERIM_LIMIT = 100


class UpstreamConnection(Upstream):
    """A connection to one backend.

    :meth:`request` begins an exchange on it; the Deferred it returns fires with the response's head, or errbacks with an
    :class:`~lbproxy.errors.AttemptFailed`. What follows the head goes to the receiver. When both messages are complete and
    the backend keeps the connection, it goes back to its owner; in all other cases it is closed.
    """

    # The request.

    def request(self, request: RequestHead, data: bytes, ended: bool, receiver: ResponseReceiver) -> Deferred[Response]:
        """Begin an exchange.

        :param request: what is asked; its framing says how :meth:`write_body` writes.
        :param data: the head's bytes, and after them the part of the body that is here already, framed.
        :param ended: whether that is the whole request.
        :param receiver: gets what follows the response's head.
        :return: fires with (head, data, complete). Cancelling it does nothing; call :meth:`abort`.
        """
        self.uses += 1
        self._receiver = receiver
        self._request = request
        self._heard = False
        self._interim = 0
        waiting: Deferred[Response] = Deferred()
        self._waiting = waiting
        if ended:
            self._sending = False
            self.deadline = self._seconds() + self._times.response  # as _set_deadline, without the call
        else:
            self._sending = True
            self._held = request.expects_continue
            self._set_deadline()
        self.transport.write(data)
        return waiting

    def write_body(self, data: bytes) -> None:
        """Send a further, non-empty part of the request's body."""
        if self._held:
            self._body_comes()
        assert self._request is not None
        self.transport.write(chunk(data) if self._request.chunked else data)

    def _body_comes(self) -> None:
        """The body comes, asked for or not: the backend's time begins when all of it is here, unless its response has begun."""
        self._held = False
        if self._body is None and not self._stalled:  # one that does not read has a deadline for that
            self._set_deadline()

    def end_body(self, trailers: bytes = b"") -> None:
        """The request's body is complete; *trailers* are lines, each ended by CRLF."""
        self._sending = self._held = False
        assert self._request is not None
        if self._request.chunked:
            self.transport.write(last_chunk(trailers) if trailers else LAST_CHUNK)
        if self._body is None:
            self._set_deadline()

    # The response.

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a response; without an exchange they are none that anybody asked for, and the connection is closed."""
        body = self._body
        if body is not None:
            self._continue(body, data)
        elif self._receiver is not None:
            self._head(data)
        elif self._tunnel is not None:
            self._tunnel.data(data)
        else:
            self.close()

    def _head(self, data: bytes) -> None:
        """Bytes of a response's head, or of interim responses before it."""
        self._heard = True
        request = self._request
        assert request is not None
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while True:
            end = data.find(b"\r\n\r\n") + 4  # less than 4: it is not here yet
            if (len(data) if end < 4 else end) > self._limits.size:
                self._fail(BadResponse(f"a response head of more than {self._limits.size} bytes"))
                return
            if end < 4:
                self._buffer = data
                return
            try:
                head = parse_response_head(data[:end], self._limits, request.method)
                if head.status < 200 and head.status != 101:
                    self._interim_response(head)
            except BadMessage as error:
                self._fail(BadResponse(str(error)))
                return
            data = data[end:]
            if head.status == 101:
                self._switching(request, head, data)
                return
            if head.status >= 200:
                self._begin(head, data)
                return
            if self._waiting is None:
                return  # the exchange has ended meanwhile

    def _interim_response(self, head: ResponseHead) -> None:
        """Hand a 1xx on. It buys no time, but for a 100: that begins when the body is here."""
        self._interim += 1
        if self._interim > INTERIM_LIMIT:
            raise BadMessage("interim", f"more than {INTERIM_LIMIT} interim responses")
        if head.status == 100 and self._held:
            self._body_comes()
        assert self._receiver is not None
        self._receiver.response_interim(head)

    def _switching(self, request: RequestHead, head: ResponseHead, data: bytes) -> None:
        """A 101: to be had only by a request that asked for it, and with what it asked for (RFC 9110 section 15.2.2)."""
        if not agrees(request.upgrade, head.upgrade):
            words = f"101 to {head.upgrade[:64]!r}, where {request.upgrade[:64]!r} was asked for"
            self._fail(BadResponse(f"upgrade: {words}"))
            return
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        self._set_deadline()
        waiting.callback((head, data, False))

    def _begin(self, head: ResponseHead, data: bytes) -> None:
        """The head is here: hand it over with what came after it."""
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        self._reusable = head.keep_alive
        if len(data) == head.length and not head.chunked:  # most small responses come whole
            self._complete(b"")
            waiting.callback((head, data, True))
            return
        body = self._body_of(head)
        try:
            data = body.feed(data)
        except BadMessage as error:
            self._waiting = waiting
            self._fail(BadResponse(str(error)))
            return
        if body.done and not body.trailers:
            self._complete(body.rest)
            waiting.callback((head, data, True))
        else:
            self._body = body
            self._set_deadline()
            waiting.callback((head, data, False))
            if body.done and self._body is body:  # only its trailers are still to be told
                assert self._receiver is not None
                self._end(body, self._receiver, b"")

    def _body_of(self, head: ResponseHead) -> SizedBody | ChunkedBody | UntilCloseBody:
        """What takes the body's framing off."""
        if head.chunked:
            return ChunkedBody(fields=self._limits.fields, underscores=True)
        return SizedBody(head.length) if head.length >= 0 else UntilCloseBody()

    def _continue(self, body: SizedBody | ChunkedBody | UntilCloseBody, data: bytes) -> None:
        """Bytes of the response's body."""
        receiver = self._receiver
        assert receiver is not None
        try:
            data = body.feed(data)
        except BadMessage as error:
            self.abort()
            receiver.response_lost(str(error))
            return
        if body.done:
            self._end(body, receiver, data)
            return
        if not self._paused:  # what was on its way when it was paused is no sign that more is waited for
            self.deadline = self._seconds() + self._times.silence  # as _set_deadline, without the call
        if data:
            receiver.response_data(data)

    def _end(self, body: SizedBody | ChunkedBody | UntilCloseBody, receiver: ResponseReceiver, data: bytes) -> None:
        if self._paused:  # the next exchange would wait for ever
            self.resume()
        self._complete(body.rest)
        receiver.response_end(data, body.trailers)

    def _complete(self, rest: bytes) -> None:
        """The response is whole: keep the connection if nothing speaks against it, before anyone is told, so that what
        follows from it can use the connection at once."""
        # A stalled one has said pause already, and would not say it again to the next exchange.
        if self._reusable and not (self._sending or self._stalled or self.single or rest):
            self._receiver = self._body = None
            self.deadline = self._seconds() + self._times.idle
            self._owner.release(self)
        elif self._sending or self._stalled:
            self.abort()
        else:
            self.close()
