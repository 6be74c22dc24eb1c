"""The filter ``security-headers``: what browsers are told to be careful about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import attrs

from ...http1.edit import field_line, remove_fields
from ...http1.fields import field_value
from .. import checks
from ..checks import FIELD_VALUE, FLAG, each, one_of, unless_empty
from ..filter import Filter
from .names import IN_RESPONSE

if TYPE_CHECKING:
    from ...http1.head import ResponseHead
    from ..filter import FilterContext
    from ..passage import Passage

__all__ = ["SecurityHeaders"]

_REFERRER_POLICIES = one_of(
    *("no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin"),
    *("strict-origin-when-cross-origin", "unsafe-url"),
)


@attrs.frozen(kw_only=True)
class SecurityHeaders:
    """Every response has these fields, our own answers too; only a 101, after which there is no more HTTP, has not.

    The defaults are what OWASP's cheat sheet on HTTP headers advises for any site; what depends on the site is not set unless it
    is said. ``Strict-Transport-Security`` is the setting ``hsts``.

    :ivar content_type_options: whether ``X-Content-Type-Options: nosniff`` is sent.
    :ivar frame_options: ``X-Frame-Options``: ``DENY`` or ``SAMEORIGIN``; empty: none.
    :ivar referrer_policy: ``Referrer-Policy``; empty: none.
    :ivar content_security_policy: ``Content-Security-Policy``; empty: none. *permissions_policy* likewise.
    :ivar replace: whether these stand in the place of what a backend has said itself; otherwise its own word stands.
    :ivar remove: names of fields that are taken out, such as ``Server`` and ``X-Powered-By``.
    """

    type: ClassVar[str] = "security-headers"
    content_type_options: bool = attrs.field(default=True, validator=FLAG)
    frame_options: str = attrs.field(default="DENY", validator=unless_empty(one_of("DENY", "SAMEORIGIN")))
    referrer_policy: str = attrs.field(default="strict-origin-when-cross-origin", validator=unless_empty(_REFERRER_POLICIES))
    content_security_policy: str = attrs.field(default="", validator=FIELD_VALUE)
    permissions_policy: str = attrs.field(default="", validator=FIELD_VALUE)
    replace: bool = attrs.field(default=False, validator=FLAG)
    remove: tuple[str, ...] = attrs.field(default=(), converter=checks.texts, validator=each(IN_RESPONSE))

    def fields(self) -> Iterator[tuple[bytes, str]]:
        """Names and values of what is sent."""
        yield b"X-Content-Type-Options", "nosniff" if self.content_type_options else ""
        yield b"X-Frame-Options", self.frame_options
        yield b"Referrer-Policy", self.referrer_policy
        yield b"Content-Security-Policy", self.content_security_policy
        yield b"Permissions-Policy", self.permissions_policy

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _SecurityHeaders(self)


class _SecurityHeaders(Filter):
    def __init__(self, spec: SecurityHeaders) -> None:
        self._lines = [(name.lower(), field_line(name, text.encode("utf-8"))) for name, text in spec.fields() if text]
        replaced = [name for name, _ in self._lines] if spec.replace else []
        self._removed = (*(name.encode("ascii") for name in spec.remove), *replaced)

    def response(self, passage: Passage, head: ResponseHead) -> None:
        fields = remove_fields(head.fields, self._removed) if self._removed else head.fields
        if head.status != 101:
            fields += b"".join([line for name, line in self._lines if field_value(fields, name) is None])
        head.fields = fields
