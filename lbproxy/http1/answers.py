"""What the balancer answers in its own name."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from math import ceil

from .head import ResponseHead

__all__ = ["last_answer", "own_answer"]

#: What 405 says of the methods that are served here (RFC 9110 section 15.5.6): any of HTTP's but CONNECT.
_ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n"

_WHY = {
    502: "The backend's answer could not be understood, or it gave none.",
    503: "No backend can take a request just now.",
    504: "The backend did not answer in time.",
}


def own_answer(status: int, *, why: str = "", retry_after: float | None = None) -> tuple[ResponseHead, bytes]:
    """A short plain-text response: its head and its body.

    :param why: a sentence for the one who reads it; there is one for each of 502, 503 and 504.
    :param retry_after: seconds until it makes sense to come back.
    """
    phrase = HTTPStatus(status).phrase
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


def last_answer(status: int, why: str) -> bytes:
    """A whole response outside any exchange, after which the connection ends."""
    head, body = own_answer(status, why=why)
    return b"HTTP/1.1 %d %b\r\n%bConnection: close\r\n\r\n%b" % (status, head.reason, head.fields, body)
