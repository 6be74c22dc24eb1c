"""The filter ``error-pages``: what a browser shows where something went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ...errors import ConfigurationError
from ...files import opened
from ...http1.edit import field_line, remove_fields
from .. import checks
from ..checks import FIELD_VALUE, PATH, Rule, some, unless_empty
from ..filter import BodyFilter, Filter

if TYPE_CHECKING:
    from ...http1.head import ResponseHead
    from ..filter import FilterContext
    from ..passage import Passage

__all__ = ["PAGE_LIMIT", "ErrorPages"]

#: Bytes of a page at most.
PAGE_LIMIT = 1 << 20

_RANGE = re.compile(r"([45][0-9]{2})(?:-([45][0-9]{2}))?\Z")

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".htm": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".xml": "application/xml",
    ".svg": "image/svg+xml",
}

# What a backend says of its own body, and so of none that is put in its place.
_OF_THE_BODY = (
    *(b"content-type", b"content-encoding", b"content-language", b"content-location", b"content-disposition", b"content-md5"),
    *(b"content-digest", b"repr-digest", b"digest", b"etag", b"last-modified", b"accept-ranges", b"trailer"),
)


def _is_range(value: Any) -> bool:
    found = _RANGE.match(value) if isinstance(value, str) else None
    return found is not None and found[1] <= (found[2] or found[1])


def _texts(given: Any) -> Any:
    """A status or a list of statuses, each a number or a text."""
    items = given if isinstance(given, (list, tuple)) else (given,)
    return tuple(str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in items)


@attrs.frozen(kw_only=True)
class ErrorPages:
    """Responses with these statuses have this body, be they a backend's or our own; the status stays, and so do all fields but
    those about the body. What a backend sends as its body is read and thrown away. To HEAD the length is told.

    :ivar statuses: such as ``404`` and ``500-599``; from 400 to 599.
    :ivar file: a file that is read when the configuration is, of 1 MiB at most; or
    :ivar text: the page itself.
    :ivar media_type: of the page; empty: by the file's extension (html, txt, json, xml and svg are known), and of a text that
        begins with ``<`` HTML, of any other plain text.
    """

    type: ClassVar[str] = "error-pages"
    statuses: tuple[str, ...] = attrs.field(
        converter=_texts, validator=some(Rule("a status from 400 to 599, or a range such as 500-599", _is_range))
    )
    file: str = attrs.field(default="", validator=unless_empty(PATH), metadata={"path": True})
    text: str = attrs.field(default="", validator=Rule("a text", lambda value: isinstance(value, str)))
    media_type: str = attrs.field(default="", validator=unless_empty(FIELD_VALUE))

    def __attrs_post_init__(self) -> None:
        checks.raise_all(self._problems())

    def _problems(self) -> Iterable[str]:
        if bool(self.file) == bool(self.text):
            yield checks.wrong("file", self.file, "either a file or a text")
        if len(self.text.encode("utf-8", "replace")) > PAGE_LIMIT:
            yield f"text: {len(self.text)} characters were given; allowed are {PAGE_LIMIT} bytes"
        if self.file and not self.kind:
            yield checks.wrong("media-type", "", f"a media type, unless the file's name ends with {', '.join(_KINDS)}")

    @property
    def kind(self) -> str:
        """The page's media type."""
        if self.media_type or self.file:
            return self.media_type or _KINDS.get(PurePath(self.file).suffix.lower(), "")
        return _KINDS[".html" if self.text.lstrip().startswith("<") else ".txt"]

    def make(self, context: FilterContext) -> Filter:
        """Make the filter.

        :raises ConfigurationError: where the file cannot be read, or is too large.
        """
        page = _read(self.file) if self.file else self.text.encode("utf-8", "replace")
        return _ErrorPages(_statuses(self.statuses), page, self.kind)


def _read(path: str) -> bytes:
    try:
        with opened(path) as file:
            data = file.read(PAGE_LIMIT + 1)
    except OSError as error:
        raise ConfigurationError(checks.wrong("file", path, "a file that can be read", str(error.strerror))) from None
    if len(data) > PAGE_LIMIT:
        raise ConfigurationError(checks.wrong("file", path, f"a file of {PAGE_LIMIT} bytes at most", "it is larger"))
    return data


def _statuses(ranges: Iterable[str]) -> frozenset[int]:
    ends = (one.partition("-") for one in ranges)
    return frozenset(status for first, _, last in ends for status in range(int(first), int(last or first) + 1))


class _ErrorPages(Filter):
    def __init__(self, statuses: frozenset[int], page: bytes, kind: str) -> None:
        self._statuses = statuses
        self._page = page
        self._kind = field_line(b"Content-Type", kind.encode("utf-8")) if page else b""

    def response(self, passage: Passage, head: ResponseHead) -> None:
        if head.status not in self._statuses:
            return
        head.fields = remove_fields(head.fields, _OF_THE_BODY) + self._kind
        if passage.request.method == b"HEAD":  # where there is a body, whoever puts it in frames it
            head.fields = remove_fields(head.fields, (b"content-length",)) + b"Content-Length: %d\r\n" % len(self._page)

    def body(self, passage: Passage, head: ResponseHead) -> BodyFilter | None:
        return _Page(self._page) if head.status in self._statuses else None


class _Page:
    """Puts a page in the place of a body: all of it at once, since the client need not wait for what is thrown away."""

    def __init__(self, page: bytes) -> None:
        self._page = page

    def write(self, data: bytes) -> bytes:
        page, self._page = self._page, b""
        return page

    def finish(self) -> bytes:
        return self.write(b"")
