"""The filter ``headers``: fields of requests and responses are set, added and removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

import attrs

from ...http1.edit import field_line, remove_fields
from ...http1.fields import ABOUT_CLIENT
from ...http1.target import is_host
from .. import checks
from ..checks import each, table_of
from ..filter import Filter
from .names import ADDED_TO_REQUEST, IN_RESPONSE, REMOVED_FROM_REQUEST, SET_IN_REQUEST, SINGLE_IN_REQUEST, plain_name
from .placeholders import TEMPLATE, Template, template
from .telling import keep_known, set_host, tell

if TYPE_CHECKING:
    from ...http1.head import ResponseHead
    from ..filter import FilterContext, Verdict
    from ..passage import Passage

__all__ = ["Headers"]


def _twice(key: str, names: dict[str, str]) -> Iterator[str]:
    """What is wrong with names that are the same but for their case."""
    seen: set[bytes] = set()
    for name, value in names.items():
        if plain_name(name) in seen:
            yield checks.wrong(f"{key}.{name}", value, "each field once")
        seen.add(plain_name(name))


@attrs.frozen(kw_only=True)
class Headers:
    """Fields are removed, then set (in the place of all of that name), then added (to those there are).

    Values may have placeholders: ``{client}``, ``{host}``, ``{method}``, ``{path}``, ``{query}``, ``{request-id}``, ``{route}``,
    ``{scheme}`` and ``{uri}`` (path with query), of the request as it goes on. What says who asks (``X-Forwarded-For`` and its
    like) can be set, in the place of what the balancer would say, and removed. ``Host`` can be set: ``X-Forwarded-Host`` then
    names the one that the client has asked for.

    The responses are all that the client gets but interim ones: a backend's, 101 and 304 too, and the balancer's own.
    """

    type: ClassVar[str] = "headers"
    request_set: dict[str, str] = attrs.field(factory=dict, converter=checks.table, validator=table_of(SET_IN_REQUEST, TEMPLATE))
    request_add: dict[str, str] = attrs.field(
        factory=dict, converter=checks.table, validator=table_of(ADDED_TO_REQUEST, TEMPLATE)
    )
    request_remove: tuple[str, ...] = attrs.field(default=(), converter=checks.texts, validator=each(REMOVED_FROM_REQUEST))
    response_set: dict[str, str] = attrs.field(factory=dict, converter=checks.table, validator=table_of(IN_RESPONSE, TEMPLATE))
    response_add: dict[str, str] = attrs.field(factory=dict, converter=checks.table, validator=table_of(IN_RESPONSE, TEMPLATE))
    response_remove: tuple[str, ...] = attrs.field(default=(), converter=checks.texts, validator=each(IN_RESPONSE))

    def __attrs_post_init__(self) -> None:
        checks.raise_all((*_twice("request-set", self.request_set), *_twice("response-set", self.response_set), *self._hosts()))

    def _hosts(self) -> Iterator[str]:
        for name, value in self.request_set.items():
            if plain_name(name) == b"host" and not (value and is_host(value.encode("utf-8"))):
                yield checks.wrong(f"request-set.{name}", value, "a host's name, perhaps with a port, without placeholders")

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _Headers(self)


class _Edits:
    """The changes to the lines of one head."""

    def __init__(self, set_: dict[str, str], add: dict[str, str], remove: Iterable[str]) -> None:
        self._removed = tuple(name.lower().encode("ascii") for name in (*remove, *set_))
        self._written: list[tuple[bytes, bytes | Template]] = []
        for text, written in (*set_.items(), *add.items()):
            name, value = text.encode("ascii"), template(written)
            self._written.append((name, field_line(name, value) if isinstance(value, bytes) else value))

    def __bool__(self) -> bool:
        return bool(self._removed or self._written)

    def apply(self, fields: bytes, passage: Passage) -> bytes:
        """The lines as they are to be."""
        if self._removed:
            fields = remove_fields(fields, self._removed)
        for name, line in self._written:
            fields += line if isinstance(line, bytes) else field_line(name, line(passage))
        return fields


class _Headers(Filter):
    def __init__(self, spec: Headers) -> None:
        ordinary = {name: value for name, value in spec.request_set.items() if not _is_known(name)}
        removed = [name for name in spec.request_remove if not _is_told(name)]
        self._request = _Edits(ordinary, spec.request_add, removed)
        self._response = _Edits(spec.response_set, spec.response_add, spec.response_remove)
        self._known = list(_known(spec))

    def request(self, passage: Passage) -> Verdict:
        head = passage.request
        values = [(name, value(passage) if callable(value) else value) for name, value in self._known]
        if self._request:
            head.fields = self._request.apply(head.fields, passage)
        for name, value in values:
            _set_known(passage, name, value)
        return None

    def response(self, passage: Passage, head: ResponseHead) -> None:
        if self._response:
            head.fields = self._response.apply(head.fields, passage)


def _is_told(name: str) -> bool:
    """Whether it is none of the client's fields that go on, but what the balancer says of the client."""
    return plain_name(name) in ABOUT_CLIENT


def _is_known(name: str) -> bool:
    return plain_name(name) in SINGLE_IN_REQUEST


def _known(spec: Headers) -> Iterator[tuple[bytes, bytes | Template | None]]:
    """The fields that do not stand in a head's lines alone; None: it is removed."""
    for name in spec.request_remove:
        if _is_known(name):
            yield plain_name(name), None
    for name, text in spec.request_set.items():
        if _is_known(name):
            yield name.replace("_", "-").encode("ascii"), template(text)


def _set_known(passage: Passage, name: bytes, value: bytes | None) -> None:
    head, lowered = passage.request, name.lower()
    if lowered == b"host":
        set_host(passage, value or b"")
    elif lowered in ABOUT_CLIENT:
        tell(passage, name, value)
    else:
        head.fields = remove_fields(head.fields, (lowered,)) + (b"" if value is None else field_line(name, value))
        keep_known(head, lowered, value)
