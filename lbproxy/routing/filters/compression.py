"""Compression of responses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ...errors import ConfigurationError
from ...http1.codings import CODINGS, NEEDS, Coder, available, choose, coder
from ...http1.fields import field_value, lines_without, pairs
from ...http1.head import ResponseHead
from ..checks import SIZE, matching, number, raise_all, size, some, texts, wrong
from ..filter import Filter, FilterContext

if TYPE_CHECKING:
    from ..passage import Passage

__all__ = ["TYPES", "Compression"]

#: What is text, or nearly: compressed to a third or less. Images, sound and archives are compressed already.
TYPES = (
    "text/*",
    "*/*+json",
    "*/*+xml",
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/xml",
    "font/otf",
    "font/ttf",
)

#: Statuses whose responses have no body of their own, or only a part of one.
_NEVER = frozenset((101, 204, 206, 304))

_MEDIA_TYPE = matching(r"(?:\*|[A-Za-z0-9!#$&^_.-]+)/[A-Za-z0-9!#$&^_.+*-]+", "a media type such as text/html or text/*")


def _codings(given: Any) -> Any:
    """Brotli may be called by its name."""
    names = texts(given)
    return tuple("br" if one == "brotli" else one for one in names) if isinstance(names, tuple) else names


def _known(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple):
        raise ConfigurationError(wrong("encodings", value, f"a list of {', '.join(CODINGS)}"))
    raise_all(_problems(value))


def _problems(codings: Iterable[Any]) -> Iterable[str]:
    for one in codings:
        if one not in CODINGS:
            yield wrong("encodings", one, ", ".join(CODINGS))
        elif one not in available():
            reason = f"the package {NEEDS[one]} is not installed; pip install 'lbproxy[compression]' installs it"
            yield wrong("encodings", one, ", ".join(available()), reason)


@attrs.frozen(kw_only=True)
class Compression:
    """Compresses responses for clients that ask for it, as they come: each part that a backend sends can be read by the client at
    once, so that streams of events are held back by nothing.

    Ending each part costs nothing where parts are as large as reads (64 KiB), 5 to 10 % of bytes at 4 KiB, and 20 to 40 % at 512
    bytes, where there is little to be gained anyway.

    Responses that hold a secret beside what the client has said (a CSRF token beside a search term, say) tell of the secret by
    their length when they are compressed over TLS, to who can make a browser ask again and again and sees how much comes back
    (BREACH). Such responses say ``Cache-Control: no-transform``, or have a route without this filter.

    :ivar encodings: ``zstd``, ``br`` (Brotli) and ``gzip``, the one to be preferred first; empty: all that are installed, in that
        order.
    :ivar types: the media types that are compressed; ``*`` stands for anything.
    :ivar min_size: bytes that a body must have, where that is known ahead; less than a packet's worth gains nothing (CloudFront:
        1,000).
    :ivar gzip_level: 1 to 9. nginx's is 1, zlib's own 6; 4 takes two thirds of the time of 6 for 5 to 15 % more bytes.
    :ivar brotli_level: 0 to 9. At 4 it is as fast as gzip there, for 4 to 10 % less. (10 and 11 are for files that are compressed
        once: they would hold up all else.)
    :ivar zstd_level: 1 to 12. 3 is its own default: as small as gzip, at three times the speed.
    """

    type: ClassVar[str] = "compression"

    encodings: tuple[str, ...] = attrs.field(default=(), converter=_codings, validator=_known)
    types: tuple[str, ...] = attrs.field(default=TYPES, converter=texts, validator=some(_MEDIA_TYPE))
    min_size: int = attrs.field(default=1024, converter=size, validator=SIZE)
    gzip_level: int = attrs.field(default=4, validator=number(1, 9, int))
    brotli_level: int = attrs.field(default=4, validator=number(0, 9, int))
    zstd_level: int = attrs.field(default=3, validator=number(1, 12, int))

    def make(self, context: FilterContext) -> Filter:
        """Make the live filter."""
        return LiveCompression(self, context)


class LiveCompression(Filter):
    """Counts what it compresses, by the coding."""

    def __init__(self, spec: Compression, context: FilterContext) -> None:
        self._offered = spec.encodings or available()
        self._levels = {"br": spec.brotli_level, "gzip": spec.gzip_level, "zstd": spec.zstd_level}
        self._least = max(spec.min_size, 1)
        patterns = "|".join(re.escape(one.lower()).replace(r"\*", "[^/]*") for one in spec.types)
        self._is_meant = re.compile(patterns.encode("ascii")).fullmatch
        self._count = context.count

    def request(self, passage: Passage) -> None:
        """Remember what the client takes: filters after this one may want the backend not to know."""
        passage.memory[self] = _accepted(passage.request.fields)

    def response(self, passage: Passage, head: ResponseHead) -> None:
        """Say what the response depends on, so that no cache gives it to a client that cannot read it."""
        accepted = passage.memory.pop(self, b"")
        if head.status == 304:
            if choose(accepted, self._offered):
                _weaken(head)
        elif self._may(passage, head):
            _vary(head)
            coding = choose(accepted, self._offered)
            if coding and passage.request.method == b"HEAD":
                self._as_of_get(head)
            elif coding:
                passage.memory[self] = coding

    def body(self, passage: Passage, head: ResponseHead) -> Coder | None:
        """The compression, if the client and the response are for it."""
        coding = passage.memory.pop(self, None)
        if coding is None or 0 <= head.length < self._least:
            return None
        head.fields += b"Content-Encoding: %b\r\n" % coding.encode("ascii")
        _weaken(head)
        self._count(coding)
        return coder(coding, self._levels[coding])

    def _as_of_get(self, head: ResponseHead) -> None:
        """Say no length that GET would not have (RFC 9110 section 8.6), and the tag that it would."""
        length = field_value(head.fields, b"content-length")
        if length is None or int(length) >= self._least:
            head.fields = lines_without(head.fields, (b"content-length",))
            _weaken(head)

    def _may(self, passage: Passage, head: ResponseHead) -> bool:
        """Whether the response is one to be compressed, whoever asks."""
        fields = head.fields
        if head.status in _NEVER or (0 <= head.length < self._least and passage.request.method != b"HEAD"):
            return False
        kind = field_value(fields, b"content-type")
        if kind is None or self._is_meant(kind.partition(b";")[0].strip(b" \t").lower()) is None:
            return False
        if field_value(fields, b"content-encoding") is not None or field_value(fields, b"content-range") is not None:
            return False
        return b"no-transform" not in _all(fields, b"cache-control").lower()


def _all(fields: bytes, name: bytes) -> bytes:
    """The values of all fields of a name (in lower case), joined."""
    if name not in fields.lower():
        return b""
    return b",".join(value for field, value in pairs(fields) if field.lower() == name)


def _accepted(fields: bytes) -> bytes:
    return _all(fields, b"accept-encoding")


def _vary(head: ResponseHead) -> None:
    named = {one.strip(b" \t") for one in _all(head.fields, b"vary").lower().split(b",")}
    if not named & {b"*", b"accept-encoding"}:
        head.fields += b"Vary: Accept-Encoding\r\n"


def _weaken(head: ResponseHead) -> None:
    """What is compressed is no more the same, byte by byte, as what the backend has named (RFC 9110 section 8.8.1)."""
    tag = field_value(head.fields, b"etag")
    if tag is not None and not tag.startswith(b"W/"):
        head.fields = b"%bETag: W/%b\r\n" % (lines_without(head.fields, (b"etag",)), tag)
