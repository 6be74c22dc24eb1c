"""Routes as values: what an operator says of them, read from a file or made in Python.

One set of names: an attribute ``path_prefix`` is the key ``path-prefix`` of a ``[[routes]]`` table. Every value is checked when
it is made; errors are :class:`~lbproxy.errors.ConfigurationError` and begin with the key.
"""

from __future__ import annotations

from typing import Any

import attrs

from ..errors import ConfigurationError
from ..http1.keys import request_key
from ..settings import Network
from .checks import (
    FIELD_NAME,
    FIELD_VALUE,
    NETWORK,
    PATH,
    PERCENT,
    REGEX,
    SIZE,
    STATUS,
    TEXT,
    Rule,
    each,
    matching,
    networks,
    number,
    one_of,
    raise_all,
    size,
    table,
    table_of,
    texts,
    unless_empty,
    wrong,
)
from .match_values import (
    HOST,
    METHOD,
    PATH_PREFIX,
    WHOLE_PATH,
    condition_problems,
    conditions_of,
    header_problems,
    hosts,
    query_problems,
)

__all__ = [
    "TARGETS",
    "Condition",
    "FixedAnswer",
    "Match",
    "Mirror",
    "Redirect",
    "Route",
    "Split",
    "StaticFiles",
    "conditions",
]

_NAME = matching(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}", "a text of one line, of at most 200 characters")
_WEIGHT = number(0, 1000, int)
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
#: What stands for a part of the request in a redirect.
_PARTS = ("scheme", "host", "path", "query", "uri")


@attrs.frozen(kw_only=True)
class Condition:
    """What a header field, or an argument of the query, must be.

    :ivar name: of the field (in any case) or of the argument.
    :ivar exact: the value; None: any.
    :ivar regex: found in the value; None: any.
    :ivar present: False: there must be none of that name.
    """

    name: str
    exact: str | None = None
    regex: str | None = None
    present: bool = True

    def __attrs_post_init__(self) -> None:
        raise_all(condition_problems(self))


def conditions(given: Any, key: str = "header") -> tuple[Condition, ...]:
    """Conditions as they stand in a file: ``{X-Beta = "1", Cookie = {regex = "…"}, X-Old = false, X-Any = true}``.

    :param key: where they stand, for messages.
    :raises ConfigurationError: with a line for each that cannot be read.
    """
    return conditions_of(given, key, Condition)


def _header(given: Any) -> tuple[Condition, ...]:
    return conditions_of(given, "header", Condition, header_problems)


def _query(given: Any) -> tuple[Condition, ...]:
    return conditions_of(given, "query", Condition, query_problems)


def _for_header(instance: object, attribute: attrs.Attribute[Any], value: tuple[Condition, ...]) -> None:
    raise_all(header_problems("header", value))


def _for_query(instance: object, attribute: attrs.Attribute[Any], value: tuple[Condition, ...]) -> None:
    raise_all(query_problems("query", value))


@attrs.frozen(kw_only=True)
class Match:
    """Which requests a route is for: those that meet every condition that is said here; of several values, any of them.

    Hosts are compared with the Host field, whatever its case, port, and dot at the end; what a trusted proxy says in
    ``X-Forwarded-Host`` is for backends, and does not choose a route. Paths are compared in the form that
    :func:`.readings.normal_path` gives them, the request's and those here, so that ``/%61pi`` and ``/api`` are the same; case
    counts. A request whose path servers read in different ways takes a route only if all readings take the same one
    (:mod:`.readings`).

    :ivar host: names as ``shop.example``, or ``*.shop.example`` for all names below it, whatever their depth.
    :ivar path: whole paths. *path_prefix*: their first segments, so that ``/api`` is for ``/api`` and ``/api/x`` and not for
        ``/apix``; a slash at its end means nothing, and ``/`` is for everything, ``*`` included. *path_regex*: found in the
        path, from its beginning on; what UTF-8 it has is decoded. One of the three suffices.
    :ivar method: such as ``GET``, which is not ``HEAD`` as well.
    :ivar header: all of them; of several fields of that name any will do. *query* likewise, of the query's arguments, decoded.
    :ivar client: networks that the client is in; what comes from a Unix socket is in none.
    :ivar scheme: ``http`` or ``https``; empty: either.
    """

    host: tuple[str, ...] = attrs.field(default=(), converter=hosts, validator=each(HOST))
    path: tuple[str, ...] = attrs.field(default=(), converter=texts, validator=each(WHOLE_PATH))
    path_prefix: tuple[str, ...] = attrs.field(default=(), converter=texts, validator=each(PATH_PREFIX))
    path_regex: tuple[str, ...] = attrs.field(default=(), converter=texts, validator=each(REGEX))
    method: tuple[str, ...] = attrs.field(default=(), converter=texts, validator=each(METHOD))
    header: tuple[Condition, ...] = attrs.field(default=(), converter=_header, validator=_for_header)
    query: tuple[Condition, ...] = attrs.field(default=(), converter=_query, validator=_for_query)
    client: tuple[Network, ...] = attrs.field(default=(), converter=networks, validator=each(NETWORK))
    scheme: str = attrs.field(default="", validator=unless_empty(one_of("http", "https")))


def _has_weight(instance: object, attribute: attrs.Attribute[Any], value: dict[str, int]) -> None:
    if not value or not any(value.values()):
        raise ConfigurationError(wrong("pools", value, "a table of pools with their weights, at least one of them above 0"))


def _is_key(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        request_key(value)
    except ConfigurationError:
        return False
    return True


@attrs.frozen(kw_only=True)
class Split:
    """Several pools, each with its share.

    :ivar pools: weights by pool; 0: none of it.
    :ivar by: a request key (:func:`lbproxy.http1.keys.request_key`): who has the same goes to the same pool, as long as the
        weights stay; empty: each exchange by chance.
    """

    pools: dict[str, int] = attrs.field(converter=table, validator=[table_of(_NAME, _WEIGHT), _has_weight])
    by: str = attrs.field(
        default="", validator=unless_empty(Rule("ip, uri, path, header:NAME, cookie:NAME or query:NAME", _is_key))
    )


def _is_target(value: object) -> bool:
    """Raises the reason where it can be told."""
    if not isinstance(value, str) or not value:
        return False
    if not value.isascii() or any(ord(character) <= 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError("a URI is of visible ASCII characters; others are written as %20, or in punycode")
    rest = value
    for part in _PARTS:
        rest = rest.replace(f"{{{part}}}", "")
    if "{" in rest or "}" in rest:
        raise ValueError(f"in braces stand {', '.join(_PARTS)} alone")
    return value.startswith(("/", "{", "http://", "https://"))


def _is_redirect(value: object) -> bool:
    return type(value) is int and value in _REDIRECT_STATUSES


@attrs.frozen(kw_only=True)
class Redirect:
    """Somewhere else.

    :ivar to: a URI, in which ``{scheme}``, ``{host}``, ``{path}``, ``{query}`` (with its question mark, if there is one) and
        ``{uri}`` stand for the request's.
    """

    to: str = attrs.field(
        validator=Rule(
            "a URI such as https://{host}{uri}, or a path, with {scheme}, {host}, {path}, {query} and {uri}", _is_target
        )
    )
    status: int = attrs.field(default=308, validator=Rule("301, 302, 303, 307 or 308", _is_redirect))


#: They are written by us, as the answer has it.
_OURS = ("connection", "content-length", "content-type", "date", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")


_MEDIA_TYPE = matching(r"[!-~]+/[!-~]+(?:[ \t!-~]*[!-~])?", "a media type such as text/html; charset=utf-8")


def _media_type(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    raise_all(_MEDIA_TYPE.problems("type", value))


def _answers(instance: object, attribute: attrs.Attribute[Any], value: dict[str, str]) -> None:
    raise_all(wrong("headers", name, f"any name but {', '.join(_OURS)}") for name in value if name.lower() in _OURS)


@attrs.frozen(kw_only=True)
class FixedAnswer:
    """An answer of our own.

    :ivar kind: its media type (the key ``type``).
    :ivar headers: further fields.
    """

    status: int = attrs.field(default=200, validator=STATUS)
    body: str = attrs.field(default="", validator=Rule("a text", lambda value: isinstance(value, str)))
    kind: str = attrs.field(default="text/plain; charset=utf-8", validator=_media_type, metadata={"key": "type"})
    headers: dict[str, str] = attrs.field(factory=dict, converter=table, validator=[table_of(FIELD_NAME, FIELD_VALUE), _answers])


@attrs.frozen(kw_only=True)
class StaticFiles:
    """The files below a directory, by ``twisted.web.static``; the prefix that the route matched is taken off the path.

    :ivar index: names that are looked for where a directory is asked for.
    """

    directory: str = attrs.field(validator=PATH)
    index: tuple[str, ...] = attrs.field(
        default=("index.html",),
        converter=texts,
        validator=each(matching(r"(?!\.\.?$)[^/\x00]+", "a file's name, without a directory")),
    )


@attrs.frozen(kw_only=True)
class Mirror:
    """A share of a route's requests is sent to another pool as well, whose answers are thrown away.

    :ivar share: percent of them.
    :ivar most: copies at once; further ones are not made.
    :ivar hold: bytes of a body that are held for one copy while the other pool is slow to take them; of more, it is dropped.
    """

    pool: str = attrs.field(validator=TEXT)
    share: float = attrs.field(default=100.0, validator=PERCENT)
    most: int = attrs.field(default=128, validator=number(1, 100_000, int))
    hold: int = attrs.field(default=64 << 10, converter=size, validator=SIZE)


#: The keys by which a route says where it leads.
TARGETS = ("pool", "split", "redirect", "answer", "static", "resource")


def _redirect(given: Any) -> Any:
    return Redirect(to=given) if isinstance(given, str) else given


def _a(kind: type[Any]) -> Any:
    """A validator: such a value, or None."""
    return Rule("a table", lambda value: value is None or isinstance(value, kind))


@attrs.frozen(kw_only=True)
class Route:
    """Which requests, through which filters, to where. Exactly one of the six targets is given.

    :ivar name: for logs, metrics and people; empty: one is made of what it matches (:func:`.naming.named`).
    :ivar match: whom it is for (in a file, its keys stand in the route's own table).
    :ivar filters: names of filters that stand by themselves, and filters of this route alone; in order.
    :ivar pool: a pool's name.
    :ivar resource: the name of an :class:`~twisted.web.resource.IResource` that the embedding application gives.
    """

    name: str = attrs.field(default="", validator=unless_empty(_NAME))
    match: Match = attrs.field(factory=Match, validator=Rule("a Match", lambda value: isinstance(value, Match)))
    filters: tuple[Any, ...] = attrs.field(default=(), converter=texts)
    pool: str = attrs.field(default="", validator=unless_empty(TEXT))
    split: Split | None = attrs.field(default=None, validator=_a(Split))
    redirect: Redirect | None = attrs.field(default=None, converter=_redirect, validator=_a(Redirect))
    answer: FixedAnswer | None = attrs.field(default=None, validator=_a(FixedAnswer))
    static: StaticFiles | None = attrs.field(default=None, validator=_a(StaticFiles))
    resource: str = attrs.field(default="", validator=unless_empty(TEXT))
    mirror: Mirror | None = attrs.field(default=None, validator=_a(Mirror))

    def __attrs_post_init__(self) -> None:
        given = self.targets
        if len(given) != 1:
            *most, last = TARGETS
            said = " and ".join(given) + " were given" if given else "none was given"
            raise ConfigurationError(f"target: {said}; allowed is exactly one of {', '.join(most)} and {last}")

    @property
    def targets(self) -> tuple[str, ...]:
        """The keys by which it says where it leads: one."""
        return tuple(key for key in TARGETS if getattr(self, key))

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that it names, its mirror's last."""
        split = () if self.split is None else tuple(self.split.pools)
        return ((self.pool,) if self.pool else split) + (() if self.mirror is None else (self.mirror.pool,))
