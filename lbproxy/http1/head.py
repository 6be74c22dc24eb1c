"""Heads of messages: from the bytes of one head to a value, with every rule that makes one acceptable.

llhttp (through httptools) does the parsing and refuses most of what is malformed: Content-Length together with
Transfer-Encoding, repeated, signed or huge lengths, folded lines, bare CR or LF, control bytes, spaces before the colon. What
it lets by is refused here: no Host or two, a Transfer-Encoding in HTTP/1.0 or other than ``chunked``, versions other than 1.0
and 1.1, request lines with more than single spaces, targets that are none or name another host, statuses below 100, and what is
too large.

A parser is made for each head (measured: 0.3 µs more than one kept for each connection): it is given the head and nothing
else, so that the body's framing stays in one place (:mod:`.body`) and a paused or pipelined message needs no parser to wait.
Its callback for each field only looks for the few that mean something here; a head of which nothing is dropped goes on as the
bytes it came in.
"""

from __future__ import annotations

import re
from math import inf

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from ..errors import BadMessage
from ..settings import Settings
from .fields import KNOWN_IN_REQUEST, KNOWN_IN_RESPONSE, NEVER_NAMED, lines_without, without_underscores
from .target import is_host, origin_form

__all__ = ["MessageLimits", "RequestHead", "ResponseHead", "parse_request_head", "parse_response_head"]

#: Known fields as they came: (name, value).
Fields = list[tuple[bytes, bytes]]

_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}\Z")
# The protocols of an Upgrade field (RFC 9110 section 7.8), without the empty parts that a list may have.
_PROTOCOL = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?"
_PROTOCOLS = re.compile(rb"%b(?:[ \t]*,[ \t]*%b)*\Z" % (_PROTOCOL, _PROTOCOL))
#: Protocols that carry HTTP themselves: what a backend is asked through them would pass by every rule of this balancer.
_BYPASSES = frozenset((b"http", b"h2", b"h2c", b"h3", b"tls"))

_SLASH, _HASH, _UNDERSCORE = b"/#_"

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_VERSIONS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}

#: Known fields that may stand once only, and the cause that counts if they do not. The others are lists, whose parts may be
#: spread over several lines.
_SINGLE = {
    b"host": "host",
    b"content-length": "framing",
    b"transfer-encoding": "framing",
    b"expect": "expect",
    b"idempotency-key": "syntax",
}

#: Statuses with rules of their own: no statuses at all, those without a body, and the one that asks for an upgrade.
_APART = frozenset((*range(200), 204, 304, 426))


class MessageLimits:
    """What a message may be.

    :ivar size: bytes of a head.
    :ivar fields: fields in a head.
    :ivar target: bytes of a request target.
    :ivar body: bytes of a request's body.
    :ivar underscores: whether a request's field names may have them.
    """

    __slots__ = ("body", "fields", "size", "target", "underscores")

    def __init__(self, size: int, fields: int, target: int, body: float = inf, underscores: bool = False) -> None:
        self.fields = fields
        self.size = size
        self.target = target
        self.body = body
        self.underscores = underscores

    @classmethod
    def of(cls, settings: Settings) -> MessageLimits:
        """As the settings say."""
        return cls(
            settings.head_limit,
            settings.field_limit,
            settings.target_limit,
            settings.body_limit or inf,
            settings.allow_underscores,
        )


class RequestHead:
    """One request's head.

    :ivar method: as it came, such as ``b"GET"``.
    :ivar target: the request target as it came; of one in absolute form, the part that goes on: the path with its query, or
        ``*``.
    :ivar minor: 0 or 1, of HTTP/1.x.
    :ivar fields: the lines of the fields that go on, each ended by CRLF: in order, in their case, repeated ones kept.
    :ivar known: the values of the fields that mean something here (:data:`.fields.KNOWN_IN_REQUEST`), by lower-case name.
    :ivar host: the Host field's value, or in HTTP/1.0 without one the host of a target in absolute form; otherwise None.
    :ivar length: the body's Content-Length; -1 when there is none.
    :ivar chunked: whether the body comes in chunks.
    :ivar has_body: whether body bytes follow the head.
    :ivar keep_alive: whether the client wants the connection kept.
    :ivar expects_continue: whether the client waits for 100 before it sends the body; its Expect field goes on.
    :ivar upgrade: the protocols that the client would go over to, as its Upgrade field names them; empty when there are none,
        or one among them that would lead past this balancer's rules: then it is an ordinary request.
    :ivar trailers_wanted: whether the client takes trailers.
    :ivar fields_dropped: lines that do not go on because their names have underscores.
    :ivar plain: whether there is nothing in it for its next hop alone to be told.
    """

    # Defaults stand in the class, not in slots: most heads change none of them, and setting each costs.
    host: bytes | None = None
    length = -1
    chunked = False
    has_body = False
    keep_alive = True
    expects_continue = False
    upgrade = b""
    trailers_wanted = False
    fields_dropped = 0
    plain = True

    def __init__(self, method: bytes, target: bytes, minor: int, fields: bytes, known: dict[bytes, bytes]) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.known = known

    def frame(self, length: int, chunked: bool) -> None:
        """Say how the body is framed; heads without this have none."""
        self.length = length
        self.chunked = chunked
        self.plain = self.plain and not chunked
        self.has_body = chunked or length > 0


class ResponseHead:
    """One response's head.

    :ivar status: 100 to 999.
    :ivar reason: the reason phrase, perhaps empty.
    :ivar fields: the lines of the fields that go on, each ended by CRLF, in order; Content-Length is among them.
    :ivar length: the body's length; 0 when the response has none by rule, -1 when it is not known ahead.
    :ivar chunked: whether the body comes in chunks.
    :ivar keep_alive: whether the backend keeps the connection.
    :ivar upgrade: the Upgrade field's value, of a 101 (never empty there) or a 426.
    """

    length = -1
    chunked = False
    keep_alive = True
    upgrade = b""

    def __init__(self, status: int, reason: bytes, fields: bytes) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields

    @property
    def until_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return self.length < 0 and not self.chunked


_FREQUENT = (
    b"Accept Accept-Encoding Accept-Language Accept-Ranges Age Authorization Cache-Control Content-Encoding Content-Type Cookie "
    b"Date DNT ETag Expires If-Modified-Since If-None-Match Last-Modified Location Origin Pragma Priority Range Referer "
    b"Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Server "
    b"Set-Cookie Upgrade-Insecure-Requests User-Agent Vary X-Requested-With"
).split()
#: Frequent names that mean nothing here, as they are mostly written: no more is to be asked about these (measured: 40 to 60 ns
#: each).
_ORDINARY = frozenset((*_FREQUENT, *map(bytes.lower, _FREQUENT)))


class _Collector:
    """Takes llhttp's callbacks while one head is parsed; parsing never yields, so one serves for all heads of a kind.

    :ivar found: the known fields, as they came.
    """

    __slots__ = ("_table", "found")

    def __init__(self, table: dict[bytes, bool]) -> None:
        self._table = table
        self.found: Fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name not in _ORDINARY and name.lower() in self._table:
            self.found.append((name, value))


class _RequestCollector(_Collector):
    """The same for requests.

    :ivar underscored: whether there was a name with an underscore since this was unset.
    """

    __slots__ = ("underscored",)

    def __init__(self, table: dict[bytes, bool]) -> None:
        super().__init__(table)
        self.underscored = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name not in _ORDINARY:
            if _UNDERSCORE in name:
                self.underscored = True
            elif name.lower() in self._table:
                self.found.append((name, value))


_request_collector = _RequestCollector(KNOWN_IN_REQUEST)
_response_collector = _Collector(KNOWN_IN_RESPONSE)

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
        raise _not_http(error, data) from None
    end = data.index(b"\r\n")
    try:
        method, target, version = data[:end].split(b" ")
    except ValueError:
        raise BadMessage("syntax", "the request line's parts must stand with one space between them") from None
    if data[0] <= 0x20:
        # llhttp skips a lone CR or LF here, which would go on as part of the method.
        raise BadMessage("syntax", "white space before the method")
    minor = _VERSIONS.get(version)
    if minor is None:
        raise BadMessage("version", f"{version!r} was given; allowed are HTTP/1.1 and HTTP/1.0", 505)
    if len(target) > limits.target:
        raise BadMessage("target-size", f"the target is longer than {limits.target} bytes", 414)
    fields, known = _known_fields(data[end + 2 : -2], found, KNOWN_IN_REQUEST, limits)
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
        if not limits.underscores:
            head.fields, head.fields_dropped = without_underscores(head.fields)
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
        _only_chunked(coding)
        head.frame(-1, True)
    elif length is not None:
        head.frame(_length(length), False)
        if head.length > limits.body:
            raise BadMessage("body-size", f"the body is larger than {limits.body} bytes", 413)
    connection = known.get(b"connection")
    tokens = _NO_TOKENS if connection is None else _tokens(connection)
    head.keep_alive = b"close" not in tokens and (head.minor == 1 or b"keep-alive" in tokens)
    head.fields = _without_named(head.fields, tokens)
    if b"idempotency-key" in tokens:
        known.pop(b"idempotency-key", None)  # no backend sees it, so it promises nothing
    if b"expect" in known:
        _expectation(head, known[b"expect"])
    if b"upgrade" in tokens and head.minor and not head.has_body:
        head.upgrade = _upgrade(known.get(b"upgrade", b""))
        head.plain = head.plain and not head.upgrade
    if b"te" in known and head.minor:
        head.trailers_wanted = b"trailers" in _tokens(known[b"te"])
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
    if not _PROTOCOLS.match(value):
        return b""
    names = {protocol.strip(b" \t").partition(b"/")[0] for protocol in value.lower().split(b",")}
    return b"" if names & _BYPASSES else value


def parse_response_head(data: bytes, limits: MessageLimits, method: bytes) -> ResponseHead:
    """Read one response's head.

    :param data: exactly the head, from the version to the empty line.
    :param method: the request's, since a response to HEAD has no body whatever its fields say.
    :raises BadMessage: when it is not an HTTP/1.x response.
    """
    found: Fields = []
    _response_collector.found = found
    try:
        HttpResponseParser(_response_collector).feed_data(data)
    except HttpParserUpgrade:
        pass  # a 101
    except HttpParserError as error:
        raise _not_http(error, data) from None
    end = data.index(b"\r\n")
    version, _, status_and_reason = data[:end].partition(b" ")
    minor = _VERSIONS.get(version)
    if minor is None:
        raise BadMessage("version", f"the response's version is {version[:16]!r}")
    status = int(status_and_reason[:3])
    fields, known = _known_fields(data[end + 2 : -2], found, KNOWN_IN_RESPONSE, limits)
    reason = status_and_reason[4:]
    if reason != b"OK" and _CONTROL.search(reason):
        raise BadMessage("syntax", "a control byte in the reason phrase")
    head = ResponseHead(status, reason, fields)
    if not minor:
        head.keep_alive = False
    if known:
        _response_rules(head, known)
    if not minor and head.chunked:
        head.keep_alive = False  # RFC 9112 section 6.1: HTTP/1.0 knows no chunks, so nothing after this can be trusted
    if status in _APART or method == b"HEAD":
        _rules_apart(head, known, minor, method)
    if head.length < 0 and not head.chunked:
        head.keep_alive = False
    return head


def _rules_apart(head: ResponseHead, known: dict[bytes, bytes], minor: int, method: bytes) -> None:
    """Responses without a body, whatever their fields say (RFC 9112 section 6.3), and those with an Upgrade."""
    status = head.status
    if status < 100:
        raise BadMessage("syntax", f"the response's status is {status:03}")
    if status in (101, 426):
        _response_upgrade(head, known.get(b"upgrade", b""), minor)
    if status < 200 or status == 204:
        # RFC 9110 section 8.6: no Content-Length. A backend that sends one may well send the body too.
        if head.chunked or head.length > 0:
            if status < 200:
                raise BadMessage("framing", f"a body in a {status}")
            head.keep_alive = False
        head.fields = lines_without(head.fields, (b"content-length",))
    if status != 426 or method == b"HEAD":
        head.length, head.chunked = 0, False


def _response_upgrade(head: ResponseHead, value: bytes, minor: int) -> None:
    """RFC 9110 sections 7.8 and 15.5.22."""
    if _PROTOCOLS.match(value):
        head.upgrade = value
    if head.status == 101 and not (head.upgrade and minor):
        raise BadMessage("upgrade", f"a 101 over HTTP/1.{minor} whose Upgrade is {value[:64]!r}")


def _response_rules(head: ResponseHead, known: dict[bytes, bytes]) -> None:
    """RFC 9112 section 6.3 for a response, for what llhttp has already found consistent."""
    coding, length = known.get(b"transfer-encoding"), known.get(b"content-length")
    if length is not None:
        if coding is not None:
            raise BadMessage("framing", "Content-Length and Transfer-Encoding together in a response")
        head.length = _length(length)
    elif coding is not None:
        _only_chunked(coding)
        head.chunked = True
    connection = known.get(b"connection")
    if connection is not None:
        tokens = _tokens(connection)
        head.keep_alive = b"close" not in tokens and (head.keep_alive or b"keep-alive" in tokens)
        head.fields = _without_named(head.fields, tokens)


def _not_http(error: HttpParserError, data: bytes) -> BadMessage:
    words = str(error)
    if "nvalid method" in words:  # also a known method of RTSP or another relative
        well_formed = _METHOD.match(data.partition(b" ")[0])
        return BadMessage("method", words, 501 if well_formed else 400)
    if "HTTP version" in words:  # an odd one, such as 1.2; llhttp lets by 0.9, 2.0 and other protocols' for us to refuse
        return BadMessage("version", words, 505)
    return BadMessage(next((cause for part, cause in _CAUSES if part in words), "syntax"), words)


#: The cause that counts for llhttp's words, by a part of them.
_CAUSES = (("Content-Length", "framing"), ("Transfer-Encoding", "framing"), (" url", "target"), ("Upgrade", "upgrade"))


def _known_fields(
    fields: bytes, found: Fields, table: dict[bytes, bool], limits: MessageLimits
) -> tuple[bytes, dict[bytes, bytes]]:
    """The lines that go on, and the values of the known fields by lower-case name.

    :param fields: all lines, each ended by CRLF, as llhttp has accepted them.
    :param found: the known fields among them.
    :param table: whether they go on.
    """
    # A line has three bytes at least, with its end: most heads are too short to hold too many.
    if len(fields) > 3 * limits.fields and fields.count(b"\r\n") > limits.fields:
        raise BadMessage("field-count", f"more than {limits.fields} header fields", 431)
    known: dict[bytes, bytes] = {}
    lines = None
    for name, value in found:
        lowered = name.lower()
        if not table[lowered]:
            lines = fields.split(b"\r\n") if lines is None else lines
            _remove(lines, name, value)
        content = value.strip(b" \t")
        known[lowered] = _again(lowered, known[lowered], content) if lowered in known else content
    return fields if lines is None else b"\r\n".join(lines), known


def _remove(lines: list[bytes], name: bytes, value: bytes) -> None:
    """Remove the first line of a field."""
    try:
        lines.remove(b"%b: %b" % (name, value))
    except ValueError:  # other white space than one space
        lines.remove(next(line for line in lines if line.partition(b":")[0] == name))


def _again(name: bytes, before: bytes, value: bytes) -> bytes:
    """A known field stands again: lists may be spread over several lines, all others may not."""
    if name in _SINGLE:
        raise BadMessage(_SINGLE[name], f"the field {name.decode('ascii')} stands more than once")
    return before + b"," + value


def _only_chunked(coding: bytes) -> None:
    if coding.lower() != b"chunked":
        raise BadMessage("framing", f"Transfer-Encoding is {coding[:64]!r}; only chunked is taken")


def _length(value: bytes) -> int:
    # 18 digits are under 2**63; llhttp has refused what overflows its own 64 bits.
    if not value.isdigit() or len(value) > 18:
        raise BadMessage("framing", f"Content-Length is {value[:32]!r}")
    return int(value)


_NO_TOKENS: frozenset[bytes] = frozenset()
_CLOSE = frozenset((b"close",))
_KEEP_ALIVE = frozenset((b"keep-alive",))
_FREQUENT_TOKENS = {b"keep-alive": _KEEP_ALIVE, b"Keep-Alive": _KEEP_ALIVE, b"close": _CLOSE}


def _tokens(value: bytes) -> frozenset[bytes]:
    """The tokens of a Connection field, in lower case (RFC 9110 section 7.6.1)."""
    frequent = _FREQUENT_TOKENS.get(value)
    if frequent is not None:
        return frequent
    return frozenset(token.strip(b" \t") for token in value.lower().split(b",")) - {b""}


def _without_named(fields: bytes, tokens: frozenset[bytes]) -> bytes:
    """The lines that remain when those go which Connection named."""
    if tokens is _NO_TOKENS or tokens is _KEEP_ALIVE or tokens is _CLOSE:
        return fields
    return lines_without(fields, tokens - NEVER_NAMED)
