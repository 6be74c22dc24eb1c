"""The filter ``body-limit``: requests with larger bodies are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from ...http1.answers import Answer
from .. import checks
from ..filter import Filter

if TYPE_CHECKING:
    from ..filter import FilterContext, Verdict
    from ..passage import Passage

__all__ = ["BodyLimit"]


@attrs.frozen(kw_only=True)
class BodyLimit:
    """Larger bodies are answered with 413: at once where the request says its length; otherwise when so much of it has come.

    The site's own ``body-limit`` holds before this one, which can only be smaller.

    :ivar bytes: of a request's body at most; 0: no body at all.
    """

    type: ClassVar[str] = "body-limit"
    bytes: int = attrs.field(converter=checks.size, validator=checks.SIZE)

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _BodyLimit(self.bytes)


class _BodyLimit(Filter):
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._answer = Answer(status=413, end="too-large", why=f"A request's body may have {limit} bytes here.")

    def request(self, passage: Passage) -> Verdict:
        # What came with a head in chunks has been taken in before any filter is asked.
        size = max(passage.request.length, passage.exchange.request_bytes)
        return self._answer if size > self._limit else None

    def takes(self, passage: Passage, data: bytes) -> Answer | None:
        if not passage.request.chunked:
            return None
        size = passage.memory[self] = passage.memory.get(self, 0) + len(data)
        return self._answer if size > self._limit else None
