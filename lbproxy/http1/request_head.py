"""Heads of requests: from the bytes of one head to a value, with every rule that makes one acceptable.

llhttp (through httptools) does the parsing and refuses most of what is malformed: Content-Length together with
Transfer-Encoding, repeated, signed or huge lengths, folded lines, bare CR or LF, control bytes, spaces before the colon. What
it lets by is refused here: no Host or two, a Transfer-Encoding in HTTP/1.0 or other than ``chunked``, versions other than 1.0
and 1.1, request lines with more than single spaces, targets that are none or name another host, and what is too large.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from ..errors import BadMessage
from .fields import KNOWN_IN_REQUEST, lines_without, without_underscores
from .head import MessageLimits, RequestHead
from .head_parts import (
    NO_TOKENS,
    ORDINARY,
    PROTOCOLS,
    VERSIONS,
    Collector,
    Fields,
    body_length,
    known_fields,
    not_http,
    only_chunked,
    tokens_of,
    without_named,
)
from .target import is_host, origin_form

__all__ = ["parse_request_head"]

#: Protocols that carry HTTP themselves: what a backend is asked through them would pass by every rule of this balancer.
_BYPASSES = frozenset((b"http", b"h2", b"h2c", b"h3", b"tls"))

_SLASH, _HASH, _UNDERSCORE = b"/#_"


class _RequestCollector(Collector):
    """The same for requests.

    :ivar underscored: whether there was a name with an underscore since this was unset.
    """

    __slots__ = ("underscored",)

    def __init__(self, table: dict[bytes, bool]) -> None:
        super().__init__(table)
        self.underscored = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name not in ORDINARY:
            if _UNDERSCORE in name:
                self.underscored = True
            elif name.lower() in self._table:
                self.found.append((name, value))


_request_collector = _RequestCollector(KNOWN_IN_REQUEST)

#: Host fields found well formed, so that each is examined once: at most 1,000, then it is emptied, and none longer than a name
#: can be, since strangers send them.
_hosts_seen: set[bytes] = set()


def parse_request_head(data: bytes, limits: MessageLimits) -> RequestHead:
    """Read one request's head.

    :param data: exactly the head, from the method to the empty line.
    :raises BadMessage: for whatever must not be forwarded; its status is the client's answer.
    """
    found: Fields = []
    _request_collector.found = found
    try:
        HttpRequestParser(_request_collector).feed_data(data)
    except HttpParserUpgrade:
        if data[:8] == b"CONNECT ":
            raise BadMessage("method", "CONNECT is not served here", 405) from None
        # An Upgrade is a message like others for the rules here.
    except HttpParserError as error:
        raise not_http(error, data) from None
    end = data.index(b"\r\n")
    try:
        method, target, version = data[:end].split(b" ")
    except ValueError:
        raise BadMessage("syntax", "the request line's parts must stand with one space between them") from None
    if data[0] <= 0x20:
        # llhttp skips a lone CR or LF here, which would go on as part of the method.
        raise BadMessage("syntax", "white space before the method")
    minor = VERSIONS.get(version)
    if minor is None:
        raise BadMessage("version", f"{version!r} was given; allowed are HTTP/1.1 and HTTP/1.0", 505)
    if len(target) > limits.target:
        raise BadMessage("target-size", f"the target is longer than {limits.target} bytes", 414)
    fields, known = known_fields(data[end + 2 : -2], found, KNOWN_IN_REQUEST, limits)
    head = RequestHead(method, target, minor, fields, known)
    host = known.get(b"host")
    if host is not None:
        head.host = host
        if host not in _hosts_seen:
            _check_host(host)
    elif minor:
        raise BadMessage("host", "an HTTP/1.1 request needs a Host field")
    # Looking for a byte's number costs a sixth of looking for a byte (20 to 140 ns).
    if target[0] != _SLASH or _HASH in target:
        _rewrite_target(head)
    if len(known) != 1 or host is None or not minor:
        _request_rules(head, known, limits)
    if _request_collector.underscored:  # or it was when a head before this one was refused, which does no harm
        _request_collector.underscored = False
        head.fields, head.fields_dropped = without_underscores(head.fields, limits.underscores)
    return head


def _check_host(host: bytes) -> None:
    if not is_host(host):
        raise BadMessage("host", f"the Host field {host[:64]!r} is no host")
    if len(_hosts_seen) >= 1000:
        _hosts_seen.clear()
    if len(host) <= 255:
        _hosts_seen.add(host)


def _rewrite_target(head: RequestHead) -> None:
    """A target that is no plain path."""
    head.target, authority = origin_form(head.method, head.target, head.host)
    if head.host is None and authority:
        head.host = head.known[b"host"] = authority
        head.fields = b"Host: %b\r\n%b" % (authority, head.fields)


def _request_rules(head: RequestHead, known: dict[bytes, bytes], limits: MessageLimits) -> None:
    """RFC 9112 sections 6.1 to 6.3 and 9.3, for what llhttp has already found consistent."""
    coding, length = known.get(b"transfer-encoding"), known.get(b"content-length")
    if coding is not None:
        if head.minor == 0:
            raise BadMessage("framing", "HTTP/1.0 has no Transfer-Encoding")
        if length is not None:
            raise BadMessage("framing", "Content-Length and Transfer-Encoding together")
        only_chunked(coding)
        head.frame(-1, True)
    elif length is not None:
        head.frame(body_length(length), False)
        if head.length > limits.body:
            raise BadMessage("body-size", f"the body is larger than {limits.body} bytes", 413)
    connection = known.get(b"connection")
    tokens = NO_TOKENS if connection is None else tokens_of(connection)
    head.keep_alive = b"close" not in tokens and (head.minor == 1 or b"keep-alive" in tokens)
    head.fields = without_named(head.fields, tokens)
    if b"idempotency-key" in tokens:
        known.pop(b"idempotency-key", None)  # no backend sees it, so it promises nothing
    if b"expect" in known:
        _expectation(head, known[b"expect"])
    if b"upgrade" in tokens and head.minor and not head.has_body:
        head.upgrade = _upgrade(known.get(b"upgrade", b""))
        head.plain = head.plain and not head.upgrade
    if b"te" in known and head.minor:
        head.trailers_wanted = b"trailers" in tokens_of(known[b"te"])
        head.plain = head.plain and not head.trailers_wanted


def _expectation(head: RequestHead, expect: bytes) -> None:
    """RFC 9110 section 10.1.1. What servers make of anything near ``100-continue`` differs, and with it where they look for
    the body: so nothing else goes on, as Apache and Squid have it."""
    if not head.minor or not head.has_body:
        head.fields = lines_without(head.fields, (b"expect",))
    if head.minor:
        if expect.lower() != b"100-continue":
            raise BadMessage("expect", f"Expect is {expect[:64]!r}; only 100-continue can be met", 417)
        head.expects_continue = head.has_body


def _upgrade(value: bytes) -> bytes:
    """The value of a request's Upgrade field, if all of it may go on; otherwise nothing."""
    if not PROTOCOLS.match(value):
        return b""
    names = {protocol.strip(b" \t").partition(b"/")[0] for protocol in value.lower().split(b",")}
    return b"" if names & _BYPASSES else value
