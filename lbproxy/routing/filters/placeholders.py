"""Words in braces, in the place of which something of the request is put."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..checks import FIELD_VALUE, Rule

if TYPE_CHECKING:
    from ..passage import Passage

__all__ = ["PLACEHOLDERS", "TEMPLATE", "Template", "template"]

#: Gives a value for one exchange.
Template = Callable[["Passage"], bytes]

_WORD = re.compile(r"\{([a-z][a-z-]*)\}")

#: What each stands for: of the request as it is when the filter has it, so that filters before have had their say.
PLACEHOLDERS: dict[str, Template] = {
    "client": lambda passage: passage.client.address.encode("ascii", "replace"),
    "host": lambda passage: passage.request.host or b"",
    "method": lambda passage: passage.request.method,
    "path": lambda passage: passage.request.target.partition(b"?")[0],
    "query": lambda passage: passage.request.target.partition(b"?")[2],
    "request-id": lambda passage: passage.exchange.request_id,
    "route": lambda passage: passage.route.name.encode("utf-8"),
    "scheme": lambda passage: b"https" if passage.client.secure else b"http",
    "uri": lambda passage: passage.request.target,
}


def _is_template(value: object) -> bool:
    if not isinstance(value, str) or not FIELD_VALUE.holds(value):
        return False
    unknown = [f"{{{word}}}" for word in _WORD.findall(value) if word not in PLACEHOLDERS]
    if unknown:
        raise ValueError(f"{unknown[0]} is not known")
    return True


#: A field's value, which may have placeholders. Other braces stand for themselves, as in a value that is JSON.
TEMPLATE = Rule(
    f"{FIELD_VALUE.allowed}; known in it are {', '.join(f'{{{word}}}' for word in sorted(PLACEHOLDERS))}", _is_template
)


def template(text: str) -> bytes | Template:
    """What gives a value, or where nothing in it varies the value itself.

    :param text: a :data:`TEMPLATE`. What is not ASCII goes as UTF-8.
    """
    parts = _WORD.split(text)
    if len(parts) == 1:
        return text.encode("utf-8")
    pieces: list[bytes | Template] = [
        PLACEHOLDERS[part] if place % 2 else part.encode("utf-8") for place, part in enumerate(parts)
    ]
    return lambda passage: b"".join([one if isinstance(one, bytes) else one(passage) for one in pieces])
