"""The filters ``prefix-strip``, ``prefix-add`` and ``path-rewrite``: a backend is asked for another path than the client's.

The log has the target that the client sent. What goes on is a request target again whatever was made of it: it begins with one
slash (two would be an authority to some backends), and what may not stand in one is percent-encoded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote_to_bytes

import attrs

from ...http1.answers import Answer
from .. import checks
from ..filter import Filter
from ..readings import climbs
from .telling import tell_prefix

if TYPE_CHECKING:
    from ..filter import FilterContext, Verdict
    from ..passage import Passage

__all__ = ["PathRewrite", "PrefixAdd", "PrefixStrip"]

# Visible ASCII but the # that begins a fragment. Wider than RFC 3986, as the targets are that clients may send.
_NOT_IN_TARGET = re.compile(rb"[^!\"$-~]")

_PREFIX = checks.matching(
    r"(?:/[^/?#\s\x00-\x1f\x7f\ud800-\udfff]+)+/?", "a path of one segment or more, which begins with one slash, such as /app"
)


def _encoded(target: bytes) -> bytes:
    return _NOT_IN_TARGET.sub(lambda found: b"%%%02X" % ord(found[0]), target)


def _prefix(text: str) -> bytes:
    return _encoded(text.rstrip("/").encode("utf-8"))


def _go_on(passage: Passage, path: bytes, query: bytes, limit: int) -> Verdict:
    """Ask for another path.

    :param query: with its question mark, if there is one.
    :param limit: bytes of the target at most; if it were longer, the client is told so.
    """
    target = _encoded(b"/" + path.lstrip(b"/") + query)
    if len(target) > limit:
        return Answer(status=414, end="too-large", why="The path becomes too long on its way.")
    exchange = passage.exchange
    if exchange.target is None:
        exchange.target = passage.request.target
    passage.request.target = target
    return None


def _parts(passage: Passage) -> tuple[bytes, bytes]:
    """The path, and the query with its question mark. A path that is none (``*``) is empty."""
    path, mark, query = passage.request.target.partition(b"?")
    return path if path[:1] == b"/" else b"", mark + query


@attrs.frozen(kw_only=True)
class PrefixStrip:
    """A prefix is taken off the path.

    Whole segments: ``/app`` is taken off ``/app`` and ``/app/x``, which become ``/`` and ``/x``, and not off ``/apple``. Percent
    signs in either are read. A path that does not begin so goes on as it is. The backend is told the prefix in
    ``X-Forwarded-Prefix``.
    """

    type: ClassVar[str] = "prefix-strip"
    prefix: str = attrs.field(validator=_PREFIX)

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _PrefixStrip(_prefix(self.prefix), context.settings.target_limit)


class _PrefixStrip(Filter):
    def __init__(self, prefix: bytes, limit: int) -> None:
        self._prefix = prefix
        self._segments = _segments(prefix)
        self._limit = limit

    def request(self, passage: Passage) -> Verdict:
        path, query = _parts(passage)
        count = len(self._segments)
        parts = path.split(b"/", count)
        if [unquote_to_bytes(part) for part in parts[:count]] != self._segments:
            return None
        verdict = _go_on(passage, parts[count] if len(parts) > count else b"", query, self._limit)
        if verdict is None:
            tell_prefix(passage, self._prefix)
        return verdict


def _segments(path: bytes) -> list[bytes]:
    """The segments with what is before the first slash, decoded."""
    return [unquote_to_bytes(part) for part in path.split(b"/")]


@attrs.frozen(kw_only=True)
class PrefixAdd:
    """A prefix is put before the path: with ``/v1``, ``/x`` becomes ``/v1/x``."""

    type: ClassVar[str] = "prefix-add"
    prefix: str = attrs.field(validator=_PREFIX)

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _PrefixAdd(_prefix(self.prefix), context.settings.target_limit)


class _PrefixAdd(Filter):
    def __init__(self, prefix: bytes, limit: int) -> None:
        self._prefix = prefix
        self._limit = limit

    def request(self, passage: Passage) -> Verdict:
        path, query = _parts(passage)
        return _go_on(passage, self._prefix + path, query, self._limit) if path else None


@attrs.frozen(kw_only=True)
class PathRewrite:
    r"""The place that a regular expression finds first in the path is replaced.

    The path is looked at as the client wrote it, percent signs and all, without its query; ``^`` and ``$`` make it the whole.
    What is not found goes on as it is. A path that would get two dots as a segment, which it had not before, is answered 404: the
    route was chosen by where it was. The query is kept; a replacement that has one is put before it.

    A regular expression can take very long for some texts (those with a repetition in a repetition): clients choose the path.

    :ivar replacement: ``$1`` or ``\1`` stands for the first group, ``\g<name>`` for one with a name, ``\g<0>`` for all of it.
    """

    type: ClassVar[str] = "path-rewrite"
    regex: str = attrs.field(validator=checks.REGEX)
    replacement: str = attrs.field(validator=checks.matching(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,1024}", "a text of one line"))

    def __attrs_post_init__(self) -> None:
        try:
            self._check()
        except (re.error, IndexError) as error:
            words = rf"a text in which $1 and \1 stand for groups that {self.regex!r} has"
            checks.raise_all([checks.wrong("replacement", self.replacement, words, str(error))])

    def _check(self) -> None:
        found = re.compile(self.regex + "|").search("")  # the same groups, and it is found anywhere
        if found is not None:
            found.expand(_template(self.replacement))

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _PathRewrite(re.compile(self.regex), _template(self.replacement), context.settings.target_limit)


def _template(replacement: str) -> str:
    """As :mod:`re` writes it. Paths are looked at as bytes, each a character."""
    return re.sub(r"\$([0-9]{1,2})", r"\\g<\1>", replacement.encode("utf-8").decode("latin-1"))


_CLIMBS = Answer(status=404, end="no-route", why="Nothing is served at this place.")


class _PathRewrite(Filter):
    def __init__(self, regex: re.Pattern[str], template: str, limit: int) -> None:
        self._regex = regex
        self._template = template
        self._limit = limit

    def request(self, passage: Passage) -> Verdict:
        path, query = _parts(passage)
        text: Any = path.decode("latin-1")
        found = self._regex.search(text) if path else None
        if found is None:
            return None
        text = text[: found.start()] + found.expand(self._template) + text[found.end() :]
        before = path
        path, mark, own = text.encode("latin-1").partition(b"?")
        if climbs(path) and not climbs(before):
            return _CLIMBS
        query = b"&".join(part for part in (own, query[1:]) if part) if mark else query[1:]
        return _go_on(passage, path, b"?" + query if query else b"", self._limit)
