"""What reading heads of requests and of responses has in common.

A parser of llhttp is made for each head (measured: 0.3 µs more than one kept for each connection): it is given the head and
nothing else, so that the body's framing stays in one place (:mod:`.body`) and a paused or pipelined message needs no parser to
wait. Its callback for each field only looks for the few that mean something here; a head of which nothing is dropped goes on as
the bytes it came in.
"""

from __future__ import annotations

import re

from httptools import HttpParserError

from ..errors import BadMessage
from .fields import NEVER_NAMED, lines_without
from .head import MessageLimits

__all__ = [
    "NO_TOKENS",
    "ORDINARY",
    "PROTOCOLS",
    "VERSIONS",
    "Collector",
    "Fields",
    "body_length",
    "known_fields",
    "not_http",
    "only_chunked",
    "tokens_of",
    "without_named",
]

#: Known fields as they came: (name, value).
Fields = list[tuple[bytes, bytes]]

_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}\Z")

#: The minor version, by the start line's word for it.
VERSIONS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}

# The protocols of an Upgrade field (RFC 9110 section 7.8), without the empty parts that a list may have.
_PROTOCOL = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?"
PROTOCOLS = re.compile(rb"%b(?:[ \t]*,[ \t]*%b)*\Z" % (_PROTOCOL, _PROTOCOL))

#: Known fields that may stand once only, and the cause that counts if they do not. The others are lists, whose parts may be
#: spread over several lines.
_SINGLE = {
    b"host": "host",
    b"content-length": "framing",
    b"transfer-encoding": "framing",
    b"expect": "expect",
    b"idempotency-key": "syntax",
}

_FREQUENT = (
    b"Accept Accept-Encoding Accept-Language Accept-Ranges Age Authorization Cache-Control Content-Encoding Content-Type Cookie "
    b"Date DNT ETag Expires If-Modified-Since If-None-Match Last-Modified Location Origin Pragma Priority Range Referer "
    b"Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Server "
    b"Set-Cookie Upgrade-Insecure-Requests User-Agent Vary X-Requested-With"
).split()
#: Frequent names that mean nothing here, as they are mostly written: no more is to be asked about these (measured: 40 to 60 ns
#: each).
ORDINARY = frozenset((*_FREQUENT, *map(bytes.lower, _FREQUENT)))


class Collector:
    """Takes llhttp's callbacks while one head is parsed; parsing never yields, so one serves for all heads of a kind.

    :ivar found: the known fields, as they came.
    """

    __slots__ = ("_table", "found")

    def __init__(self, table: dict[bytes, bool]) -> None:
        self._table = table
        self.found: Fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name not in ORDINARY and name.lower() in self._table:
            self.found.append((name, value))


def not_http(error: HttpParserError, data: bytes) -> BadMessage:
    words = str(error)
    if "nvalid method" in words:  # also a known method of RTSP or another relative
        well_formed = _METHOD.match(data.partition(b" ")[0])
        return BadMessage("method", words, 501 if well_formed else 400)
    if "HTTP version" in words:  # an odd one, such as 1.2; llhttp lets by 0.9, 2.0 and other protocols' for us to refuse
        return BadMessage("version", words, 505)
    return BadMessage(next((cause for part, cause in _CAUSES if part in words), "syntax"), words)


#: The cause that counts for llhttp's words, by a part of them.
_CAUSES = (("Content-Length", "framing"), ("Transfer-Encoding", "framing"), (" url", "target"), ("Upgrade", "upgrade"))


def known_fields(
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


def only_chunked(coding: bytes) -> None:
    if coding.lower() != b"chunked":
        raise BadMessage("framing", f"Transfer-Encoding is {coding[:64]!r}; only chunked is taken")


def body_length(value: bytes) -> int:
    # 18 digits are under 2**63; llhttp has refused what overflows its own 64 bits.
    if not value.isdigit() or len(value) > 18:
        raise BadMessage("framing", f"Content-Length is {value[:32]!r}")
    return int(value)


NO_TOKENS: frozenset[bytes] = frozenset()
_CLOSE = frozenset((b"close",))
_KEEP_ALIVE = frozenset((b"keep-alive",))
_FREQUENT_TOKENS = {b"keep-alive": _KEEP_ALIVE, b"Keep-Alive": _KEEP_ALIVE, b"close": _CLOSE}


def tokens_of(value: bytes) -> frozenset[bytes]:
    """The tokens of a Connection field, in lower case (RFC 9110 section 7.6.1)."""
    frequent = _FREQUENT_TOKENS.get(value)
    if frequent is not None:
        return frequent
    return frozenset(token.strip(b" \t") for token in value.lower().split(b",")) - {b""}


def without_named(fields: bytes, tokens: frozenset[bytes]) -> bytes:
    """The lines that remain when those go which Connection named."""
    if tokens is NO_TOKENS or tokens is _KEEP_ALIVE or tokens is _CLOSE:
        return fields
    return lines_without(fields, tokens - NEVER_NAMED)
