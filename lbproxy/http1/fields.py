"""Which header fields go on, and which are ours to write. Pure."""

from __future__ import annotations

from .head import RequestHead, ResponseHead

__all__ = ["forwarded_for", "request_bytes", "response_fields", "response_pairs"]

# Fields of one connection only (RFC 9110 section 7.6.1), and the ones that frame a message, which each side writes anew.
# Trailer goes because trailers are dropped with the chunks that carried them.
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
# What an unknown client says of itself is replaced by what we know.
_NOT_FORWARDED = _HOP_BY_HOP | {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
# RFC 9110 section 8.6: no Content-Length in a 204.
_NOT_IN_204 = _HOP_BY_HOP | {b"content-length"}
# Naming one of these in Connection must not take it away: the message would lose its frame, its target or its origin.
_NEVER_NAMED = frozenset((b"host", b"content-length", b"transfer-encoding", b"close", b"keep-alive"))


def forwarded_for(client: bytes, secure: bool) -> bytes:
    """The fields about a client's connection, made once for each: its address and whether it came over TLS."""
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (client, b"https" if secure else b"http")


def request_bytes(head: RequestHead, forwarded: bytes) -> bytes:
    """The head that a backend gets.

    Target, Host, and all other fields' order and case stay; hop-by-hop fields and those named in Connection go; then
    *forwarded* (from :func:`forwarded_for`) and X-Forwarded-Host follow, and one framing field if the body is chunked.
    """
    dropped = _dropped(_NOT_FORWARDED, head.connection)
    if head.expects_continue:
        dropped = dropped | {b"expect"}  # answered by the listener, which asks for the body
    lines = [b"%b: %b\r\n" % field for field, name in zip(head.fields, head.names) if name not in dropped]
    host = b"" if head.host is None else b"X-Forwarded-Host: %b\r\n" % head.host
    framing = b"Transfer-Encoding: chunked\r\n\r\n" if head.chunked else b"\r\n"
    return b"%b %b HTTP/1.1\r\n%b%b%b%b" % (head.method, head.target, b"".join(lines), forwarded, host, framing)


def response_fields(head: ResponseHead) -> bytes:
    """The fields of a response that go on to the client, each ended by CRLF. Content-Length is among them."""
    dropped = _not_returned(head)
    return b"".join([b"%b: %b\r\n" % field for field, name in zip(head.fields, head.names) if name not in dropped])


def response_pairs(head: ResponseHead) -> list[tuple[bytes, bytes]]:
    """The same as (name, value) pairs."""
    dropped = _not_returned(head)
    return [field for field, name in zip(head.fields, head.names) if name not in dropped]


def _not_returned(head: ResponseHead) -> frozenset[bytes]:
    return _dropped(_NOT_IN_204 if head.status == 204 else _HOP_BY_HOP, head.connection)


def _dropped(always: frozenset[bytes], named: frozenset[bytes]) -> frozenset[bytes]:
    return always | (named - _NEVER_NAMED) if named else always
