"""Which values of a configuration are secrets, by how their keys are called. Pure."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["HIDDEN", "without_secrets"]

#: What is shown in the place of one.
HIDDEN = "(not shown)"

_SECRET = re.compile(
    r"sticky-key\Z|(?:proxy-)?authorization\Z|(?:set-)?cookie\Z|.*(?:password|passwd|secret|token|api-?key|credential(?!s\Z))",
    re.IGNORECASE,
)
#: A field in one text, and the user of a URI.
_FIELD = re.compile(r"([A-Za-z0-9-]+):[ \t]*(.+)\Z", re.DOTALL)
_USER = re.compile(r"(://)[^/@\s?#]+@")


def without_secrets(key: str, value: Any) -> Any:
    """A value as it can be shown to everybody. What only names a secret, as ``${NAME}`` and ``{ file = "path" }`` do, is none.

    :param key: the last step of its path.
    """
    if isinstance(value, dict):
        if value.keys() == {"file"}:
            return value
        return {name: without_secrets(key if _SECRET.match(key) else name, one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(key, one) for one in value]
    if not isinstance(value, str) or not value or "${" in value.replace("$$", ""):
        return value
    if _SECRET.match(key):
        return HIDDEN
    field = _FIELD.match(value) if key == "probe-header" else None
    if field and _SECRET.match(field[1]):
        return f"{field[1]}: {HIDDEN}"
    return _USER.sub(rf"\1{HIDDEN}@", value)
