"""Heads of responses: from the bytes of one head to a value, with every rule that makes one acceptable.

What llhttp refuses is what it refuses in requests (:mod:`.request_head`); here, statuses below 100, versions other than 1.0 and
1.1, bodies where there can be none, a 101 without its Upgrade, control bytes in the reason, and what is too large.
"""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ..errors import BadMessage
from .fields import KNOWN_IN_RESPONSE, lines_without
from .head import MessageLimits, ResponseHead
from .head_parts import (
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

__all__ = ["agrees", "parse_response_head"]

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

#: Statuses with rules of their own: no statuses at all, those without a body, and the one that asks for an upgrade.
_APART = frozenset((*range(200), 204, 304, 426))

_response_collector = Collector(KNOWN_IN_RESPONSE)


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
        raise not_http(error, data) from None
    end = data.index(b"\r\n")
    version, _, status_and_reason = data[:end].partition(b" ")
    minor = VERSIONS.get(version)
    if minor is None:
        raise BadMessage("version", f"the response's version is {version[:16]!r}")
    status = int(status_and_reason[:3])
    fields, known = known_fields(data[end + 2 : -2], found, KNOWN_IN_RESPONSE, limits)
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
    if PROTOCOLS.match(value):
        head.upgrade = value
    if head.status == 101 and not (head.upgrade and minor):
        raise BadMessage("upgrade", f"a 101 over HTTP/1.{minor} whose Upgrade is {value[:64]!r}")


def _response_rules(head: ResponseHead, known: dict[bytes, bytes]) -> None:
    """RFC 9112 section 6.3 for a response, for what llhttp has already found consistent."""
    coding, length = known.get(b"transfer-encoding"), known.get(b"content-length")
    if length is not None:
        if coding is not None:
            raise BadMessage("framing", "Content-Length and Transfer-Encoding together in a response")
        head.length = body_length(length)
    elif coding is not None:
        only_chunked(coding)
        head.chunked = True
    connection = known.get(b"connection")
    if connection is not None:
        tokens = tokens_of(connection)
        head.keep_alive = b"close" not in tokens and (head.keep_alive or b"keep-alive" in tokens)
        head.fields = without_named(head.fields, tokens)


def agrees(asked: bytes, given: bytes) -> bool:
    """Whether a 101 that names *given* goes over to what a request's Upgrade *asked* for (RFC 9110 section 15.2.2)."""
    protocols = tokens_of(given)
    return bool(protocols) and protocols <= tokens_of(asked)
