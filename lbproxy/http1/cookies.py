"""Cookies as a client sends them (RFC 6265 section 4.2). Pure."""

from __future__ import annotations

from .fields import pairs

__all__ = ["cookie_value"]


def cookie_value(fields: bytes, name: bytes) -> bytes | None:
    """The value of the first cookie of that name, without quotes around it; None when there is none.

    :param fields: lines of fields, each ended by CRLF; HTTP/2 and its heirs may have spread the cookies over several.
    :param name: as the cookie was set; case counts.
    """
    if name not in fields:  # mostly, and at the cost of one look
        return None
    for field, value in pairs(fields):
        if field.lower() == b"cookie":
            for cookie in value.split(b";"):
                found, equals, content = cookie.partition(b"=")
                if equals and found.strip(b" \t") == name:
                    return _unquoted(content.strip(b" \t"))
    return None


def _unquoted(value: bytes) -> bytes:
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
