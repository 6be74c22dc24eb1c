"""Changes to the fields of a head, which are one piece of bytes with every line ended by CRLF. Pure.

Whatever a value holds, it stays in its line: control characters in it become spaces (RFC 9110 section 5.5), and a name that is
none is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["field_line", "remove_fields"]

_NAME = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token (RFC 9110 section 5.1)

#: All control characters but the tab.
_SPACED = bytes(0x20 if (code < 0x20 and code != 9) or code == 0x7F else code for code in range(256))


def field_line(name: bytes, value: bytes) -> bytes:
    """The line of one field.

    :raises ValueError: for what is no name.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a field")
    return b"%b: %b\r\n" % (name, value.translate(_SPACED).strip(b" \t"))


def remove_fields(fields: bytes, names: Iterable[bytes]) -> bytes:
    """The lines but those of these names, whatever their case. An underscore counts as the hyphen that CGI and its heirs take it
    for: what is removed, or set, as ``X-User`` must not come by as ``X_User``."""
    dropped = frozenset(map(_as_read, names))
    lines = fields.splitlines(keepends=True)  # of bytes, it splits at CR and LF alone
    return b"".join([line for line in lines if _as_read(line.partition(b":")[0]) not in dropped])


def _as_read(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")
