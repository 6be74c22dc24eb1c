"""Heads of messages: from the bytes of one head to a value, with every rule that makes one acceptable.

llhttp (through httptools) does the parsing and refuses most of what is malformed: Content-Length together with
Transfer-Encoding, repeated, signed or huge lengths, folded lines, bare CR or LF, control bytes, spaces before the colon. What
it lets by is refused here: no Host or two, a Transfer-Encoding in HTTP/1.0 or other than ``chunked``, versions other than 1.0
and 1.1, request lines with more than single spaces, and heads that are too large.

A parser is made for each head (measured: 0.3 µs more than one kept for each connection): it is given the head and nothing
else, so that the body's framing stays in one place (:mod:`.body`) and a paused or pipelined message needs no parser to wait.
"""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from ..errors import BadMessage

__all__ = ["HeadLimits", "RequestHead", "ResponseHead", "parse_request_head", "parse_response_head"]

Fields = list[tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}\Z")
# uri-host [ ":" port ] of RFC 9110 section 7.2, loosely: what can do no harm in a log, a URL or a route.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")

#: The fields of a request that the balancer itself reads; only these cost anything beyond copying.
_READ_IN_REQUEST = frozenset(
    (b"host", b"connection", b"content-length", b"transfer-encoding", b"expect", b"idempotency-key", b"proxy-connection")
)
_READ_IN_RESPONSE = frozenset((b"connection", b"content-length", b"transfer-encoding"))


class HeadLimits:
    """How large a head may be: bytes in all, fields, bytes of the request target."""

    __slots__ = ("fields", "size", "target")

    def __init__(self, size: int, fields: int, target: int) -> None:
        self.size = size
        self.fields = fields
        self.target = target


class RequestHead:
    """One request's head.

    :ivar method: as it came, such as ``b"GET"``.
    :ivar target: the request target as it came.
    :ivar minor: 0 or 1, of HTTP/1.x.
    :ivar fields: (name, value) pairs in order, in their case, repeated ones kept.
    :ivar names: the fields' names in lower case, in the same order.
    :ivar host: the Host field's value; None in HTTP/1.0 without one.
    :ivar length: the body's Content-Length; -1 when there is none.
    :ivar chunked: whether the body comes in chunks.
    :ivar keep_alive: whether the client wants the connection kept.
    :ivar connection: the lower-case tokens of Connection, usually empty.
    :ivar expects_continue: whether the client waits for 100 before it sends the body.
    :ivar has_key: whether it carries an Idempotency-Key.
    """

    __slots__ = (
        "chunked", "connection", "expects_continue", "fields", "has_key", "host", "keep_alive", "length", "method", "minor",
        "names", "target",
    )  # fmt: skip

    method: bytes
    target: bytes
    minor: int

    def __init__(self, method: bytes, target: bytes, minor: int, fields: Fields, names: list[bytes]) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.names = names
        self.host: bytes | None = None
        self.length = -1
        self.chunked = False
        self.keep_alive = minor == 1
        self.connection: frozenset[bytes] = _NO_TOKENS
        self.expects_continue = False
        self.has_key = False

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow the head."""
        return self.chunked or self.length > 0


class ResponseHead:
    """One response's head.

    :ivar status: 200 to 999; interim responses are not given to anyone.
    :ivar reason: the reason phrase, perhaps empty.
    :ivar fields: (name, value) pairs as they came, in order.
    :ivar names: the fields' names in lower case, in the same order.
    :ivar length: the body's length; 0 when the response has none by rule, -1 when it is not known ahead.
    :ivar chunked: whether the body comes in chunks.
    :ivar keep_alive: whether the backend keeps the connection.
    :ivar connection: the lower-case tokens of Connection.
    """

    __slots__ = ("chunked", "connection", "fields", "keep_alive", "length", "names", "reason", "status")

    def __init__(self, status: int, reason: bytes, fields: Fields, names: list[bytes]) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
        self.names = names
        self.length = -1
        self.chunked = False
        self.keep_alive = True
        self.connection: frozenset[bytes] = _NO_TOKENS

    @property
    def until_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return self.length < 0 and not self.chunked


_NO_TOKENS: frozenset[bytes] = frozenset()


class _Collector:
    """Takes llhttp's callbacks while one head is parsed; parsing never yields, so one serves for all."""

    __slots__ = ("fields", "reason", "target")

    def __init__(self) -> None:
        self.target = self.reason = b""
        self.fields: Fields = []

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


_collector = _Collector()


def parse_request_head(data: bytes, limits: HeadLimits) -> RequestHead:
    """Read one request's head.

    :param data: exactly the head, from the method to the empty line.
    :raises BadMessage: for whatever must not be forwarded; its status is the client's answer.
    """
    fields = _parse(HttpRequestParser, data)
    target = _collector.target
    head = _request_line(data, target, fields, limits)
    special = _READ_IN_REQUEST.intersection(head.names)
    if b"host" in special:
        head.host = _only(head, b"host")
        if not _HOST.match(head.host):
            raise BadMessage("host", f"the Host field {head.host!r} is no host")
        if len(special) == 1:
            return head
    elif head.minor == 1:
        raise BadMessage("host", "an HTTP/1.1 request needs a Host field")
    _request_framing(head, special)
    return head


def _request_line(data: bytes, target: bytes, fields: Fields, limits: HeadLimits) -> RequestHead:
    end = data.index(b"\r\n")
    version = data[end - 9 : end]
    if version not in (b" HTTP/1.1", b" HTTP/1.0"):
        raise BadMessage("version", f"{data[end - 9 : end]!r}; allowed are HTTP/1.1 and HTTP/1.0", 505)
    method_end = end - 10 - len(target)
    if method_end < 1 or data[method_end : method_end + 1] != b" " or b" " in data[:method_end]:
        raise BadMessage("request-line", "its parts must stand with one space between them")
    if len(target) > limits.target:
        raise BadMessage("target-size", f"the target is longer than {limits.target} bytes", 414)
    if len(fields) > limits.fields:
        raise BadMessage("field-count", f"more than {limits.fields} header fields", 431)
    return RequestHead(data[:method_end], target, 1 if version[-1] == 0x31 else 0, fields, [name.lower() for name, _ in fields])


def _request_framing(head: RequestHead, special: frozenset[bytes]) -> None:
    """RFC 9112 sections 6.1 to 6.3 and 9.3, for what llhttp has already found consistent."""
    if b"transfer-encoding" in special:
        if head.minor == 0:
            raise BadMessage("framing", "HTTP/1.0 has no Transfer-Encoding")
        if _only(head, b"transfer-encoding").strip(b" \t").lower() != b"chunked":
            raise BadMessage("framing", "the only Transfer-Encoding taken is chunked")
        if b"content-length" in special:
            raise BadMessage("framing", "Content-Length and Transfer-Encoding together")
        head.chunked = True
    elif b"content-length" in special:
        head.length = _length(_only(head, b"content-length"))
    if b"connection" in special:
        head.connection = tokens = _tokens(head.fields, head.names)
        head.keep_alive = b"close" not in tokens and (head.minor == 1 or b"keep-alive" in tokens)
    if b"expect" in special and head.minor == 1:
        head.expects_continue = _only(head, b"expect").strip(b" \t").lower() == b"100-continue"
    head.has_key = b"idempotency-key" in special


def parse_response_head(data: bytes, limits: HeadLimits, method: bytes) -> ResponseHead:
    """Read one response's head.

    :param data: exactly the head, from the version to the empty line.
    :param method: the request's, since a response to HEAD has no body whatever its fields say.
    :raises BadMessage: when it is not an HTTP/1.x response.
    """
    fields = _parse(HttpResponseParser, data)
    if data[:8] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadMessage("version", f"the response's version is {data[:8]!r}")
    if len(fields) > limits.fields:
        raise BadMessage("field-count", f"more than {limits.fields} header fields in a response")
    status = int(data[9:12])
    names = [name.lower() for name, _ in fields]
    head = ResponseHead(status, _collector.reason, fields, names)
    special = _READ_IN_RESPONSE.intersection(names)
    if special:
        _response_framing(head, special)
    if data[7] == 0x30 and b"keep-alive" not in head.connection:
        head.keep_alive = False
    if method == b"HEAD" or status in (204, 304) or status < 200:
        head.length, head.chunked = 0, False
    elif head.until_close:
        head.keep_alive = False
    return head


def _response_framing(head: ResponseHead, special: frozenset[bytes]) -> None:
    """RFC 9112 section 6.3 for a response, for what llhttp has already found consistent."""
    if b"transfer-encoding" in special:
        if b"content-length" in special:
            raise BadMessage("framing", "Content-Length and Transfer-Encoding together in a response")
        coding = b",".join(value for (_, value), name in zip(head.fields, head.names) if name == b"transfer-encoding")
        if coding.strip(b" \t").lower() != b"chunked":
            raise BadMessage("framing", f"the response's Transfer-Encoding is {coding!r}; only chunked is taken")
        head.chunked = True
    elif b"content-length" in special:
        head.length = _length(_only(head, b"content-length"))
    if b"connection" in special:
        head.connection = _tokens(head.fields, head.names)
        head.keep_alive = b"close" not in head.connection


def _parse(parser: type[HttpRequestParser] | type[HttpResponseParser], data: bytes) -> Fields:
    """Run llhttp over one head; its fields are returned, target and reason stay in the collector."""
    collector = _collector
    collector.fields = fields = []
    collector.target = collector.reason = b""
    try:
        parser(collector).feed_data(data)
    except HttpParserUpgrade:
        pass  # CONNECT, or an Upgrade that is not taken: an ordinary message for the rules here.
    except HttpParserInvalidMethodError as error:
        known = _TOKEN.match(data.partition(b" ")[0])
        raise BadMessage("method", str(error), 501 if known else 400) from None
    except HttpParserError as error:
        raise BadMessage("syntax", str(error)) from None
    return fields


def _only(head: RequestHead | ResponseHead, name: bytes) -> bytes:
    """The value of a field that must stand once."""
    place = head.names.index(name)
    if head.names.count(name) > 1:
        raise BadMessage(name.decode("ascii"), "the field stands more than once")
    return head.fields[place][1].rstrip(b" \t")


def _length(value: bytes) -> int:
    # 18 digits are under 2**63; llhttp has refused what overflows its own 64 bits.
    if not value.isdigit() or len(value) > 18:
        raise BadMessage("framing", f"Content-Length {value[:32]!r}")
    return int(value)


def _tokens(fields: Fields, names: list[bytes]) -> frozenset[bytes]:
    """The tokens of all Connection fields, in lower case (RFC 9110 section 7.6.1)."""
    values = b",".join(value for (_, value), name in zip(fields, names) if name == b"connection")
    return frozenset(token.strip(b" \t") for token in values.lower().split(b",")) - {b""}
