"""What the balancer answers in its own name."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from math import ceil

import attrs

from .edit import field_line
from .head import ResponseHead

__all__ = ["Answer", "hsts_line", "last_answer", "own_answer"]

#: What 405 says of the methods that are served here (RFC 9110 section 15.5.6): any of HTTP's but CONNECT.
_ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n"

#: Statuses without a body, whatever their fields say (RFC 9110 section 6.4.1).
_WITHOUT_BODY = (204, 304)

_WHY = {
    502: "The backend's answer could not be understood, or it gave none.",
    503: "No backend can take a request just now.",
    504: "The backend did not answer in time.",
}


@attrs.frozen(kw_only=True)
class Answer:
    """An answer of our own, as whoever decides on it says it.

    :ivar end: how the exchange ends by it, in a word.
    :ivar why: a sentence for the one who reads it; there is one for each of 502, 503 and 504.
    :ivar fields: further lines of its head, each ended by CRLF.
    :ivar body: the body, of media type *kind*; None: a short text of status and *why*, which nobody is to store.
    :ivar retry_after: seconds until it makes sense to come back; None: nothing is said of that.
    """

    status: int
    end: str
    why: str = ""
    fields: bytes = b""
    body: bytes | None = None
    kind: str = "text/plain; charset=utf-8"
    retry_after: float | None = None

    def message(self) -> tuple[ResponseHead, bytes]:
        """The response's head, and its body."""
        if self.body is None and self.status not in _WITHOUT_BODY:
            head, data = own_answer(self.status, why=self.why, retry_after=self.retry_after)
        else:
            head, data = _with_body(self.status, self.body or b"", self.kind)
        head.fields += self.fields
        return head, data


def _with_body(status: int, data: bytes, kind: str) -> tuple[ResponseHead, bytes]:
    """What an operator wants to be answered; how long it may be kept is the operator's to say."""
    if status in _WITHOUT_BODY:
        data = b""
    lines = b"Date: %b\r\n" % formatdate(usegmt=True).encode("ascii")
    if data:
        lines += field_line(b"Content-Type", kind.encode("utf-8", "replace"))
    if status not in _WITHOUT_BODY:  # of a 304 it would be the length of what the client has
        lines += b"Content-Length: %d\r\n" % len(data)
    head = ResponseHead(status, _phrase(status).encode("ascii"), lines)
    head.length = len(data)
    return head, data


def own_answer(status: int, *, why: str = "", retry_after: float | None = None) -> tuple[ResponseHead, bytes]:
    """A short plain-text response: its head and its body.

    :param why: a sentence for the one who reads it; there is one for each of 502, 503 and 504.
    :param retry_after: seconds until it makes sense to come back.
    """
    phrase = _phrase(status)
    body = f"{status} {phrase}\n{why or _WHY.get(status, '')}\n".encode("ascii", "replace")
    fields = b"Date: %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nCache-Control: no-store\r\n" % (
        formatdate(usegmt=True).encode("ascii"),
        len(body),
    )
    if status == 405:
        fields += _ALLOW
    if retry_after is not None:
        fields += b"Retry-After: %d\r\n" % max(1, ceil(retry_after))
    head = ResponseHead(status, phrase.encode("ascii"), fields)
    head.length = len(body)
    return head, body


def _phrase(status: int) -> str:
    """What the status is called, be it one that a backend made up."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def last_answer(status: int, why: str, fields: bytes = b"") -> bytes:
    """A whole response outside any exchange, after which the connection ends.

    :param fields: further lines of its head, each ended by CRLF.
    """
    head, body = own_answer(status, why=why)
    return b"HTTP/1.1 %d %b\r\n%b%bConnection: close\r\n\r\n%b" % (status, head.reason, head.fields, fields, body)


def hsts_line(seconds: int) -> bytes:
    """The line by which a response over TLS asks browsers to come over TLS only (RFC 6797 section 6.1), ended by CRLF; nothing
    for 0 seconds. To be written in no response in the clear (section 7.2)."""
    return b"Strict-Transport-Security: max-age=%d\r\n" % seconds if seconds else b""
