"""Which header fields go on, which are read here, and which are ours to write. Pure.

A head keeps the fields that go on as one piece of bytes, every line ended by CRLF: they are looked at once, when the head is
parsed, and written as they are. The functions here take such bytes apart for those who want to know more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .head import RequestHead

__all__ = [
    "KNOWN_IN_REQUEST",
    "KNOWN_IN_RESPONSE",
    "NEVER_NAMED",
    "field_value",
    "forwarded_for",
    "lines_without",
    "pairs",
    "request_bytes",
]

# Fields of one connection only (RFC 9110 section 7.6.1), and the one that frames a message, which each side writes anew.
# Trailer goes because trailers are dropped with the chunks that carried them.
_HOP_BY_HOP = (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")

#: The fields that mean something here, by lower-case name, and whether they go on. All others are copied.
KNOWN_IN_REQUEST: dict[bytes, bool] = {
    b"host": True,
    b"content-length": True,
    b"expect": True,
    b"idempotency-key": True,
    **dict.fromkeys(_HOP_BY_HOP, False),
    # What an unknown client says of itself is replaced by what we know.
    b"x-forwarded-for": False,
    b"x-forwarded-proto": False,
    b"x-forwarded-host": False,
}
KNOWN_IN_RESPONSE: dict[bytes, bool] = {b"content-length": True, **dict.fromkeys(_HOP_BY_HOP, False)}

#: Naming one of these in Connection must not take it away: the message would lose its frame or its target.
NEVER_NAMED = frozenset((b"host", b"content-length"))


def lines_without(fields: bytes, names: Iterable[bytes]) -> bytes:
    """The lines of *fields* whose name is not among *names* (in lower case).

    Of a request's, Host and Content-Length are never to be taken away because Connection named them: see
    :data:`NEVER_NAMED`.
    """
    dropped = frozenset(names)
    lines = fields.splitlines(keepends=True)
    return b"".join([line for line in lines if line[: line.index(b":")].lower() not in dropped])


def pairs(fields: bytes) -> list[tuple[bytes, bytes]]:
    """The fields as (name, value) pairs, repeated ones kept."""
    parts = (line.partition(b":") for line in fields.split(b"\r\n"))
    return [(name, value.strip(b" \t")) for name, _, value in parts if name]


def field_value(fields: bytes, name: bytes) -> bytes | None:
    """The value of the first field of that name (in lower case); None when there is none."""
    lowered = b"\r\n" + fields.lower()
    place = lowered.find(b"\r\n" + name + b":")
    if place < 0:
        return None
    begin = place + len(name) + 1
    return fields[begin : fields.index(b"\r\n", begin)].strip(b" \t")


def forwarded_for(client: bytes, secure: bool) -> bytes:
    """The fields about a client's connection, made once for each: its address and whether it came over TLS."""
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (client, b"https" if secure else b"http")


def request_bytes(head: RequestHead, forwarded: bytes, backend: bytes = b"localhost") -> bytes:
    """The head that a backend gets: target, Host and the other fields that go on, as they came; then *forwarded* (from
    :func:`forwarded_for`), X-Forwarded-Host, and one framing field if the body is chunked.

    :param backend: what stands in Host where the client, being HTTP/1.0, sent none: HTTP/1.1 needs one.
    """
    return b"%b %b HTTP/1.1\r\n%b%b%b%b" % (
        head.method,
        head.target,
        head.fields,
        forwarded,
        b"Host: %b\r\n" % backend if head.host is None else b"X-Forwarded-Host: %b\r\n" % head.host,
        b"Transfer-Encoding: chunked\r\n\r\n" if head.chunked else b"\r\n",
    )
