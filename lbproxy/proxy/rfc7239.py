"""The ``Forwarded`` field (RFC 7239): read into its elements, and one element written. Pure."""

from __future__ import annotations

import re

__all__ = ["element", "parse"]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QDTEXT = rb"[\t !#-\[\]-~\x80-\xff]*"
# One pair or none, and what ends it. White space around the semicolon is in no rule of the RFC, but in many a sender's output.
# Every repetition ends where the next part begins, so that no text makes the search go back and forth.
_PAIR = re.compile(
    rb'[ \t]*(?:(%b)=(?:(%b)|"(%b(?:\\[\t !-~\x80-\xff]%b)*)")[ \t]*)?(,|;|\Z)' % (_TOKEN, _TOKEN, _QDTEXT, _QDTEXT)
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_IS_TOKEN = re.compile(_TOKEN + rb"\Z")
_TO_ESCAPE = re.compile(rb'(["\\])')


def parse(value: bytes) -> list[dict[bytes, bytes]]:
    """The elements of a Forwarded field, in order: each its parameters' values, unquoted, by lower-case name.

    :raises ValueError: when anything in it is malformed, a parameter stands twice in an element, or there is no element.
    """
    elements: list[dict[bytes, bytes]] = []
    pairs: dict[bytes, bytes] = {}
    place, end = 0, b","
    while end:
        found = _PAIR.match(value, place)
        if found is None:
            raise ValueError("malformed")
        name, token, quoted, end = found.groups()
        if name is not None:
            name = name.lower()
            if name in pairs:
                raise ValueError("a parameter stands twice in one element")
            pairs[name] = _ESCAPED.sub(rb"\1", quoted) if token is None else token
        if end != b";" and pairs:
            elements.append(pairs)
            pairs = {}
        place = found.end()
    if not elements:
        raise ValueError("no element")
    return elements


def element(address: str, host: bytes | None, secure: bool) -> bytes:
    """One element: who asked, for which host, and how.

    :param address: an IP address, ``unix`` or ``unknown``. A Unix socket is written as ``_unix``: names that a proxy gives
        itself begin with ``_`` (section 6.3).
    :param host: None where the request had none.
    """
    parts = [b"for=" + _node(address)]
    if host is not None:
        parts.append(b"host=" + (host if _IS_TOKEN.match(host) else b'"%b"' % _TO_ESCAPE.sub(rb"\\\1", host)))
    parts.append(b"proto=https" if secure else b"proto=http")
    return b";".join(parts)


def _node(address: str) -> bytes:
    if address == "unix":
        return b"_unix"
    node = address.encode("ascii")
    return b'"[%b]"' % node if b":" in node else node
