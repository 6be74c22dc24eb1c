"""Heads of messages: from the bytes of one head to a value, with every rule that makes one acceptable.

llhttp (through httptools) does the parsing and refuses most of what is malformed: Content-Length together with
Transfer-Encoding, repeated, signed or huge lengths, folded lines, bare CR or LF, control bytes, spaces before the colon. What
it lets by is refused here: no Host or two, a Transfer-Encoding in HTTP/1.0 or other than ``chunked``, versions other than 1.0
and 1.1, request lines with more than single spaces, and heads that are too large.

A parser is made for each head (measured: 0.3 µs more than one kept for each connection): it is given the head and nothing
else, so that the body's framing stays in one place (:mod:`.body`) and a paused or pipelined message needs no parser to wait.
Its callback for each field only looks for the few that mean something here; a head of which nothing is dropped goes on as the
bytes it came in.
"""

from __future__ import annotations

import re
from math import inf

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from ..errors import BadMessage
from ..settings import Settings
from .fields import KNOWN_IN_REQUEST, KNOWN_IN_RESPONSE, NEVER_NAMED, lines_without

__all__ = ["MessageLimits", "RequestHead", "ResponseHead", "parse_request_head", "parse_response_head"]

#: Known fields as they came: (name, value).
Fields = list[tuple[bytes, bytes]]

_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}\Z")
# uri-host [ ":" port ] of RFC 9110 section 7.2, loosely: what can do no harm in a log, a URL or a route.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_VERSIONS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}

#: Known fields that may stand once only. The others are lists, whose parts may be spread over several lines.
_SINGLE = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect", b"idempotency-key"))


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
    :ivar target: the request target as it came.
    :ivar minor: 0 or 1, of HTTP/1.x.
    :ivar fields: the lines of the fields that go on, each ended by CRLF: in order, in their case, repeated ones kept.
    :ivar known: the values of the fields that mean something here (:data:`.fields.KNOWN_IN_REQUEST`), by lower-case name.
    :ivar host: the Host field's value; None in HTTP/1.0 without one.
    :ivar length: the body's Content-Length; -1 when there is none.
    :ivar chunked: whether the body comes in chunks.
    :ivar has_body: whether body bytes follow the head.
    :ivar keep_alive: whether the client wants the connection kept.
    :ivar expects_continue: whether the client waits for 100 before it sends the body.
    """

    # Defaults stand in the class, not in slots: most heads change none of them, and setting each costs.
    host: bytes | None = None
    length = -1
    chunked = False
    has_body = False
    keep_alive = True
    expects_continue = False

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
        self.has_body = chunked or length > 0


class ResponseHead:
    """One response's head.

    :ivar status: 100 to 999.
    :ivar reason: the reason phrase, perhaps empty.
    :ivar fields: the lines of the fields that go on, each ended by CRLF, in order; Content-Length is among them.
    :ivar length: the body's length; 0 when the response has none by rule, -1 when it is not known ahead.
    :ivar chunked: whether the body comes in chunks.
    :ivar keep_alive: whether the backend keeps the connection.
    """

    length = -1
    chunked = False
    keep_alive = True

    def __init__(self, status: int, reason: bytes, fields: bytes) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields

    @property
    def until_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return self.length < 0 and not self.chunked


class _Collector:
    """Takes llhttp's callbacks while one head is parsed; parsing never yields, so one serves for all heads of a kind.

    :ivar found: the known fields, as they came.
    """

    __slots__ = ("_table", "found")

    def __init__(self, table: dict[bytes, bool]) -> None:
        self._table = table
        self.found: Fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in self._table:
            self.found.append((name, value))


_request_collector = _Collector(KNOWN_IN_REQUEST)
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
        pass  # CONNECT, or an Upgrade that is not taken: an ordinary message for the rules here.
    except HttpParserError as error:
        raise _not_http(error, data) from None
    end = data.index(b"\r\n")
    try:
        method, target, version = data[:end].split(b" ")
    except ValueError:
        raise BadMessage("request-line", "its parts must stand with one space between them") from None
    if data[0] <= 0x20:
        # llhttp skips a lone CR or LF here, which would go on as part of the method.
        raise BadMessage("request-line", "white space before the method")
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
    if len(known) != 1 or host is None or not minor or method == b"CONNECT":
        _request_rules(head, known)
    return head


def _check_host(host: bytes) -> None:
    if not _HOST.match(host):
        raise BadMessage("host", f"the Host field {host[:64]!r} is no host")
    if len(_hosts_seen) >= 1000:
        _hosts_seen.clear()
    if len(host) <= 255:
        _hosts_seen.add(host)


def _request_rules(head: RequestHead, known: dict[bytes, bytes]) -> None:
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
    connection = known.get(b"connection")
    tokens = _NO_TOKENS if connection is None else _tokens(connection)
    head.keep_alive = b"close" not in tokens and (head.minor == 1 or b"keep-alive" in tokens)
    expect = known.get(b"expect")
    if expect is not None and head.minor and expect.lower() == b"100-continue":
        head.expects_continue = True
        tokens = tokens | {b"expect"}  # not forwarded: the listener answers it, and asks for the body
    head.fields = _without_named(head.fields, tokens)
    if b"idempotency-key" in tokens:
        known.pop(b"idempotency-key", None)  # no backend sees it, so it promises nothing
    if head.method == b"CONNECT":
        raise BadMessage("method", "CONNECT is not served here", 405)


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
        pass  # a 101, which the connection refuses
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
    if method == b"HEAD" or status == 204 or status == 304 or status < 200:
        head.length, head.chunked = 0, False
        if status == 204:  # RFC 9110 section 8.6: no Content-Length in a 204
            head.fields = lines_without(head.fields, (b"content-length",))
    elif head.length < 0 and not head.chunked:
        head.keep_alive = False
    return head


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
    if isinstance(error, HttpParserInvalidMethodError):
        well_formed = _METHOD.match(data.partition(b" ")[0])
        return BadMessage("method", str(error), 501 if well_formed else 400)
    if "HTTP version" in str(error):  # an odd one, such as 1.2; llhttp lets by 0.9, 2.0 and other protocols' for us to refuse
        return BadMessage("version", str(error), 505)
    return BadMessage("syntax", str(error))


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
        raise BadMessage(name.decode("ascii"), "the field stands more than once")
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
_FREQUENT = {b"keep-alive": _KEEP_ALIVE, b"Keep-Alive": _KEEP_ALIVE, b"close": _CLOSE}


def _tokens(value: bytes) -> frozenset[bytes]:
    """The tokens of a Connection field, in lower case (RFC 9110 section 7.6.1)."""
    frequent = _FREQUENT.get(value)
    if frequent is not None:
        return frequent
    return frozenset(token.strip(b" \t") for token in value.lower().split(b",")) - {b""}


def _without_named(fields: bytes, tokens: frozenset[bytes]) -> bytes:
    """The lines that remain when those go which Connection named."""
    if tokens is _NO_TOKENS or tokens is _KEEP_ALIVE or tokens is _CLOSE:
        return fields
    return lines_without(fields, tokens - NEVER_NAMED)
