"""Which header fields go on, which are read here, and which are ours to write. Pure.

A head keeps the fields that go on as one piece of bytes, every line ended by CRLF: they are looked at once, when the head is
parsed, and written as they are. The functions here take such bytes apart for those who want to know more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .head import RequestHead

__all__ = [
    "ABOUT_CLIENT",
    "HOP_BY_HOP",
    "KNOWN_IN_REQUEST",
    "KNOWN_IN_RESPONSE",
    "NEVER_NAMED",
    "NOT_IN_TRAILERS",
    "field_value",
    "lines_without",
    "pairs",
    "request_bytes",
    "without_underscores",
]

#: Fields of one connection only (RFC 9110 section 7.6.1), and the one that frames a message, which each side writes anew.
#: HTTP2-Settings belongs to an upgrade to h2c, which is not let by.
HOP_BY_HOP = (b"connection", b"http2-settings", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")

#: Who asks, by which way, and for what: a backend is to hear it from us.
#: Client-Cert and its chain are what RFC 9440 calls a client's certificate, X-Forwarded-Client-Cert is Envoy's word for it.
ABOUT_CLIENT = frozenset((
    b"client-cert",
    b"client-cert-chain",
    b"forwarded",
    b"true-client-ip",
    b"x-client-ip",
    b"x-forwarded-client-cert",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
    b"x-forwarded-scheme",
    b"x-forwarded-server",
    b"x-forwarded-ssl",
    b"x-real-ip",
    b"x-request-id",
    b"x-ssl-client-s-dn",
    b"x-ssl-client-san",
    b"x-ssl-client-sha256",
    b"x-ssl-client-verify",
))  # fmt: skip

#: The fields that mean something here, by lower-case name, and whether they go on. All others are copied.
KNOWN_IN_REQUEST: dict[bytes, bool] = {
    b"host": True,
    b"content-length": True,
    b"expect": True,
    b"idempotency-key": True,
    b"x-lbproxy-explain": False,
    **dict.fromkeys(HOP_BY_HOP, False),
    # What an unknown client says of itself is replaced by what we know; of a trusted one it is written anew.
    **dict.fromkeys(ABOUT_CLIENT, False),
}
KNOWN_IN_RESPONSE: dict[bytes, bool] = {
    b"content-length": True,
    b"x-lbproxy-explain": False,  # it would be taken for our own
    **dict.fromkeys(HOP_BY_HOP, False),
}

#: Naming one of these in Connection must not take it away: the message would lose its frame or its target, or the client would
#: wait for a 100 that nobody asked the backend for.
NEVER_NAMED = frozenset((b"host", b"content-length", b"expect"))

#: Fields that do not go on in trailers (RFC 9110 section 6.5.1): those that frame, route, modify, authenticate or describe a
#: message, so that whoever adds trailers to the fields can be told nothing new; and those that this balancer writes itself.
NOT_IN_TRAILERS = frozenset(
    (
        *HOP_BY_HOP,
        *ABOUT_CLIENT,
        *(b"host", b"content-length", b"trailer", b"via", b"date", b"location", b"expect", b"max-forwards", b"idempotency-key"),
        *(b"authorization", b"proxy-authorization", b"www-authenticate", b"proxy-authenticate", b"cookie", b"set-cookie"),
        *(b"content-encoding", b"content-type", b"content-range", b"range", b"if-match", b"if-none-match", b"if-range"),
        *(b"if-modified-since", b"if-unmodified-since", b"cache-control", b"pragma", b"age", b"expires", b"vary"),
        *(b"retry-after", b"warning", b"allow", b"early-data", b"x-http-method-override", b"x-lbproxy-explain"),
        b"strict-transport-security",
    )
)


def lines_without(fields: bytes, names: Iterable[bytes]) -> bytes:
    """The lines of *fields* whose name is not among *names* (in lower case).

    Of a request's, Host and Content-Length are never to be taken away because Connection named them: see
    :data:`NEVER_NAMED`.
    """
    dropped = frozenset(names)
    lines = fields.splitlines(keepends=True)
    return b"".join([line for line in lines if line[: line.index(b":")].lower() not in dropped])


def without_underscores(fields: bytes, allowed: bool = False) -> tuple[bytes, int]:
    """The lines of *fields* whose name has no underscore, and how many have: CGI and its heirs (WSGI, Rack, PHP) cannot tell
    ``Content_Length`` from ``Content-Length``.

    :param allowed: whether such names may go on. Those that are then read as one of ours still do not: what is dropped as
        ``X-SSL-Client-Verify`` must not come back by another spelling.
    """
    lines = fields.splitlines(keepends=True)
    kept = [line for line in lines if not _is_disguised(line[: line.index(b":")], allowed)]
    return b"".join(kept), len(lines) - len(kept)


def _is_disguised(name: bytes, allowed: bool) -> bool:
    return b"_" in name and not (allowed and KNOWN_IN_REQUEST.get(name.lower().replace(b"_", b"-"), True))


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


class Sender(Protocol):
    """Who asks, as a backend is told (:class:`lbproxy.proxy.client.Client`)."""

    @property
    def forwarded(self) -> bytes:
        """Lines about the client, each ended by CRLF."""

    @property
    def forwarded_host(self) -> bytes | None:
        """What a trusted proxy said that the client's Host was."""


def request_bytes(head: RequestHead, sender: Sender, request_id: bytes, backend: bytes = b"localhost") -> bytes:
    """The head that a backend gets: target, Host and the other fields that go on, as they came; then those about the client, the
    request's id, and the fields of this connection.

    :param backend: what stands in Host where the client, being HTTP/1.0, sent none: HTTP/1.1 needs one.
    """
    host = sender.forwarded_host or head.host
    return b"%b %b HTTP/1.1\r\n%b%b%b%bX-Request-ID: %b\r\n%b" % (
        head.method,
        head.target,
        b"" if head.host is not None else b"Host: %b\r\n" % backend,
        head.fields,
        sender.forwarded,
        b"" if host is None else b"X-Forwarded-Host: %b\r\n" % host,
        request_id,
        b"\r\n" if head.plain else _of_this_connection(head),
    )


def _of_this_connection(head: RequestHead) -> bytes:
    """What the request's next hop alone is told, written anew: how the body is framed, and what is asked of the connection."""
    lines = b"Transfer-Encoding: chunked\r\n" if head.chunked else b""
    if head.upgrade:
        lines += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
    elif head.trailers_wanted:
        lines += b"Connection: TE\r\nTE: trailers\r\n"
    return lines + b"\r\n"
