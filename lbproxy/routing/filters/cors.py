"""The filter ``cors``: which other origins' pages may read what is served (the Fetch standard, section "CORS protocol")."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from ...http1.answers import Answer
from ...http1.edit import field_line, remove_fields
from ...http1.fields import field_value, pairs
from .. import checks
from ..checks import FLAG, each, matching, number, some
from ..filter import Filter

if TYPE_CHECKING:
    from ...http1.head import ResponseHead
    from ..filter import FilterContext, Verdict
    from ..passage import Passage

__all__ = ["Cors"]

_ORIGIN = matching(
    r"\*|null|[a-z][a-z0-9+.-]*://(?:\*\.)?(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?",
    "an origin in small letters such as https://app.example or http://localhost:3000, "
    "one with all names below a domain such as https://*.example.org, null, or * for all",
)
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}"
_METHOD = matching(_TOKEN, "a method, or * for all")
_NAME = matching(_TOKEN, "a header field's name, or * for all")
_IS_TOKEN = re.compile(_TOKEN.encode("ascii"))

# What this filter says of a response is its own to say.
_OURS = (b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers")


@attrs.frozen(kw_only=True)
class Cors:
    """Browsers are told which origins may read responses, whatever a backend says of that.

    A preflight request (OPTIONS with ``Origin`` and ``Access-Control-Request-Method``) is answered here with 204, and reaches no
    backend; of an origin that is not allowed the answer says nothing, by which the browser knows. All other requests go on,
    whoever they are from: CORS protects readers, not backends. Responses vary by ``Origin`` unless all origins get the same.

    :ivar origins: exact ones; ``*`` for all; or ``https://*.example.org`` for all names below it, of whatever depth.
    :ivar methods: that may be used beside GET, HEAD and POST, which browsers allow anyway; ``*``: all.
    :ivar headers: fields that pages may send beyond those that are always allowed; ``*``: all.
    :ivar expose: fields of responses that pages may read beyond those that are always allowed.
    :ivar credentials: whether pages may send cookies and the like; not together with ``*`` or ``null`` for origins.
    :ivar max_age: seconds for which a preflight's answer holds (the Fetch standard's default: 5).
    """

    type: ClassVar[str] = "cors"
    origins: tuple[str, ...] = attrs.field(converter=checks.texts, validator=some(_ORIGIN))
    methods: tuple[str, ...] = attrs.field(default=("GET", "HEAD", "POST"), converter=checks.texts, validator=each(_METHOD))
    headers: tuple[str, ...] = attrs.field(default=(), converter=checks.texts, validator=each(_NAME))
    expose: tuple[str, ...] = attrs.field(default=(), converter=checks.texts, validator=each(_NAME))
    credentials: bool = attrs.field(default=False, validator=FLAG)
    max_age: int = attrs.field(default=5, validator=number(0, 86400, int, " (seconds)"))

    def __attrs_post_init__(self) -> None:
        words = "origins that are named: with credentials = true, all of a user's data would be any page's to read"
        checks.raise_all(checks.wrong("origins", one, words) for one in ("*", "null") if self.credentials and one in self.origins)
        if self.credentials and "*" in self.expose:
            checks.raise_all([checks.wrong("expose", "*", "names of fields: with credentials = true, * is none of them")])

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _Cors(self)


def _pattern(origin: str) -> str:
    scheme, _, name = origin.partition("://*.")
    return f"{re.escape(scheme)}://[a-z0-9_.-]+\\.{re.escape(name)}" if name else re.escape(origin)


def _listed(name: bytes, words: Iterable[str]) -> bytes:
    text = ", ".join(words)
    return field_line(name, text.encode("ascii")) if text else b""


class _Cors(Filter):
    def __init__(self, spec: Cors) -> None:
        self._all = "*" in spec.origins
        self._allowed = re.compile("|".join(map(_pattern, spec.origins)).encode("ascii"))
        self._credentials = b"Access-Control-Allow-Credentials: true\r\n" if spec.credentials else b""
        self._expose = _listed(b"Access-Control-Expose-Headers", spec.expose)
        self._methods = None if "*" in spec.methods else _listed(b"Access-Control-Allow-Methods", spec.methods)
        self._headers = None if "*" in spec.headers else _listed(b"Access-Control-Allow-Headers", spec.headers)
        self._max_age = b"Access-Control-Max-Age: %d\r\n" % spec.max_age

    def request(self, passage: Passage) -> Verdict:
        head = passage.request
        if head.method != b"OPTIONS":
            return None
        origin = field_value(head.fields, b"origin")
        method = field_value(head.fields, b"access-control-request-method")
        if origin is None or method is None:
            return None
        fields = b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
        allowed = self._origin(origin)
        if allowed:
            fields += allowed + self._asked_for(method, field_value(head.fields, b"access-control-request-headers") or b"")
        return Answer(status=204, end="cors", fields=fields, body=b"")

    def _asked_for(self, method: bytes, names: bytes) -> bytes:
        """What a preflight asked for. All is said by naming what was asked for: ``*`` is no word for Authorization, nor for
        anything where there are credentials."""
        lines = _echo(b"Access-Control-Allow-Methods", method) if self._methods is None else self._methods
        lines += _echo(b"Access-Control-Allow-Headers", names) if self._headers is None else self._headers
        return lines + self._max_age

    def _origin(self, origin: bytes) -> bytes:
        """The lines that let an origin in; empty for those that are not."""
        if self._all:
            return b"Access-Control-Allow-Origin: *\r\n"
        if self._allowed.fullmatch(origin) is None:
            return b""
        return b"Access-Control-Allow-Origin: %b\r\n%b" % (origin, self._credentials)

    def response(self, passage: Passage, head: ResponseHead) -> None:
        if head.status == 101:  # a WebSocket's handshake is none of CORS
            return
        origin = field_value(passage.request.fields, b"origin")
        fields = remove_fields(head.fields, _OURS)
        allowed = b"" if origin is None and not self._all else self._origin(origin or b"")
        fields += allowed + (self._expose if allowed else b"")
        head.fields = fields if self._all else _varied(fields)


def _echo(name: bytes, words: bytes) -> bytes:
    tokens = [word.strip(b" \t") for word in words.split(b",")]
    named = b", ".join([token for token in tokens if _IS_TOKEN.fullmatch(token)])
    return field_line(name, named) if named else b""


def _varied(fields: bytes) -> bytes:
    """The lines, among which Vary names Origin."""
    said = b",".join([value for name, value in pairs(fields) if name.lower() == b"vary"]).lower()
    words = {word.strip(b" \t") for word in said.split(b",")}
    return fields if words & {b"origin", b"*"} else fields + b"Vary: Origin\r\n"
