"""From a request of ``twisted.web`` to a request's head.

What a request is and what must not be forwarded is said once, in :mod:`.http1.request_head`: a request of ``twisted.web`` is
written out as the head it came as and read by the same parser as the lean listener's, so that both faces refuse the same.
(Measured with five fields: 4.7 µs a request, against 2.2 to 3.4 for filling in the value with a second set of rules.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from .errors import BadMessage
from .http1.fields import lines_without
from .http1.head import MessageLimits, RequestHead
from .http1.request_head import parse_request_head

__all__ = ["request_head"]


def request_head(request: Any, limits: MessageLimits) -> RequestHead:
    """Make a head of a ``twisted.web`` request.

    ``twisted.web`` has taken the body's framing off already, so the head is that of a sized body: one Content-Length, and no
    Transfer-Encoding. The fields' names are in ``twisted.web``'s case, and fields of one name stand together.

    :raises BadMessage: for what the lean listener refuses too.
    """
    proto = request.clientproto
    fields: Iterable[tuple[bytes, Sequence[bytes]]] = request.requestHeaders.getAllRawHeaders()
    if proto == b"HTTP/2":
        fields = _from_http2(fields)
    version = b"HTTP/1.0" if proto == b"HTTP/1.0" else b"HTTP/1.1"
    lines = [b"%b: %b\r\n" % (name, value) for name, values in fields for value in values]
    data = b"%b %b %b\r\n%b\r\n" % (request.method, request.uri, version, b"".join(lines))
    if len(data) > limits.size:
        raise BadMessage("head-size", f"the head is larger than {limits.size} bytes", 431)
    if data.count(b"\n") != len(lines) + 2:
        # HTTP/2 carries any byte; one that ends a line in HTTP/1.1 would make two requests of one.
        raise BadMessage("syntax", "a line break within the request line or a field")
    head = parse_request_head(data, limits)
    size = _size(request.content)
    if size > limits.body:
        raise BadMessage("body-size", f"the body is larger than {limits.body} bytes", 413)
    if head.chunked or size != max(head.length, 0):
        _frame(head, size)
    if head.expects_continue:
        # twisted.web has asked for the body long ago, and has it.
        head.fields = lines_without(head.fields, (b"expect",))
        head.expects_continue = False
    head.upgrade, head.trailers_wanted = b"", False
    return head


def _from_http2(fields: Iterable[tuple[bytes, Sequence[bytes]]]) -> Iterable[tuple[bytes, Sequence[bytes]]]:
    """What RFC 9113 asks of those who hand a request on to HTTP/1.1: cookies in one field again (section 8.2.3), and one Host
    where ``:authority`` and an equal Host came (section 8.3.1)."""
    for name, values in fields:
        if name == b"Cookie":
            yield name, [b"; ".join(values)]
        elif name == b"Host" and len(set(values)) == 1:
            yield name, values[:1]
        else:
            yield name, values


def _size(content: BinaryIO) -> int:
    """The body's size. Whoever has looked at it before does not matter: it is read from its beginning."""
    size = content.seek(0, 2)
    content.seek(0)
    return size


def _frame(head: RequestHead, size: int) -> None:
    """Let the head say that the body has *size* bytes, whatever framed it on its way here."""
    head.fields = b"%bContent-Length: %d\r\n" % (lines_without(head.fields, (b"content-length",)), size)
    head.frame(size, False)
