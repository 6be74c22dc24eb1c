"""What of a request is hashed, to send requests with the same key to the same backend. Pure.

A key is a client's own words, and is only ever hashed: nothing in it can do harm, except that a client may choose its backend.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .cookies import cookie_value
from .fields import field_value

if TYPE_CHECKING:
    from ..balance.policy import Asking

__all__ = ["KEYS", "RequestKey", "request_key"]

#: A request's key, or None where it has none.
RequestKey = Callable[["Asking"], bytes | None]

#: What a key may be, in words.
KEYS = "ip, uri, path, header:NAME, cookie:NAME and query:NAME, each perhaps with =~ REGEX, and several with or between them"

#: A token (RFC 9110 section 5.6.2): the name of a field or a cookie.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ARGUMENT = re.compile(r"[^\s&=#]+")
_OR = re.compile(r"\s+or\s+")
_MATCHES = re.compile(r"\s+=~\s+")
#: Characters of a pattern at most: whoever needs more should have it in a field.
_LONGEST_PATTERN = 500


def request_key(text: str) -> RequestKey:
    """Read which part of a request is its key.

    ``ip`` is the client's address, behind a trusted proxy that client's; ``uri`` the target with its query, ``path`` the target
    without; ``header:NAME`` the value of the first field of that name, ``cookie:NAME`` of the first cookie, ``query:NAME`` of the
    first argument in the query, as it stands there, percent signs and all. An empty value is none.

    ``header:Authorization =~ ^Bearer ([^_]+)_`` is what the pattern's first group finds in that value, or the whole of what the
    pattern finds where it has no groups. Of several keys with ``or`` between them it is the first that a request has.

    :raises ConfigurationError: for anything else.
    """
    keys = [_one_key(part) for part in _OR.split(text)]
    return keys[0] if len(keys) == 1 else _first_of(keys)


def _first_of(keys: list[RequestKey]) -> RequestKey:
    def first(exchange: Asking) -> bytes | None:
        return next((found for key in keys if (found := key(exchange)) is not None), None)

    return first


def _one_key(text: str) -> RequestKey:
    source, *patterns = _MATCHES.split(text, maxsplit=1)
    key = _source(source, text)
    return _found(key, patterns[0], text) if patterns else key


def _found(key: RequestKey, pattern: str, text: str) -> RequestKey:
    """What a pattern finds in a key."""
    try:
        if len(pattern) > _LONGEST_PATTERN:
            raise ValueError(f"it has more than {_LONGEST_PATTERN} characters")
        compiled = re.compile(pattern.encode("ascii"))
    except (ValueError, re.error, OverflowError, RecursionError) as error:
        raise ConfigurationError(
            f"hash: key {text[:200]!r} was given, whose pattern cannot be used ({error}); allowed is a regular expression of "
            "Python's, in ASCII"
        ) from None
    search, group = compiled.search, 1 if compiled.groups else 0

    def found(exchange: Asking) -> bytes | None:
        value = key(exchange)
        match = None if value is None else search(value)
        return None if match is None else match[group] or None

    return found


def _source(text: str, given: str) -> RequestKey:
    kind, colon, name = text.partition(":")
    if not colon and kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _NAMED:
        make, allowed = _NAMED[kind]
        if allowed.fullmatch(name) and name.isascii():
            return make(name.encode("ascii"))
    raise ConfigurationError(f"hash: key {given!r} was given; allowed are {KEYS}")


def _ip(exchange: Asking) -> bytes | None:
    address = exchange.client.address
    # All clients of a Unix socket have the same name, which tells none from the other.
    return None if address in ("unix", "unknown") else address.encode("utf-8", "replace")


def _uri(exchange: Asking) -> bytes | None:
    return exchange.request.target


def _path(exchange: Asking) -> bytes | None:
    return exchange.request.target.partition(b"?")[0]


def _header(name: bytes) -> RequestKey:
    lowered = name.lower()

    def header(exchange: Asking) -> bytes | None:
        request = exchange.request
        # Those that mean something here may not go on, and stand apart.
        value = request.known.get(lowered)
        return (field_value(request.fields, lowered) if value is None else value) or None

    return header


def _cookie(name: bytes) -> RequestKey:
    return lambda exchange: cookie_value(exchange.request.fields, name) or None


def _query(name: bytes) -> RequestKey:
    begin = name + b"="

    def query(exchange: Asking) -> bytes | None:
        arguments = exchange.request.target.partition(b"?")[2].split(b"&")
        return next((one[len(begin) :] for one in arguments if one.startswith(begin)), None) or None

    return query


_PLAIN: dict[str, RequestKey] = {"ip": _ip, "uri": _uri, "path": _path}
_NAMED: dict[str, tuple[Callable[[bytes], RequestKey], re.Pattern[str]]] = {
    "header": (_header, _TOKEN),
    "cookie": (_cookie, _TOKEN),
    "query": (_query, _ARGUMENT),
}
