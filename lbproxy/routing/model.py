"""Routes as values: what an operator says of them, read from a file or made in Python.

One set of names: an attribute ``path_prefix`` is the key ``path-prefix`` of a ``[[routes]]`` table. Every value is checked when
it is made; errors are :class:`~lbproxy.errors.ConfigurationError` and begin with the key.
"""

from __future__ import annotations

from typing import Any

import attrs

from ..settings import Network

__all__ = [
    "Condition",
    "FixedAnswer",
    "Match",
    "Mirror",
    "Redirect",
    "Route",
    "Split",
    "StaticFiles",
]


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


@attrs.frozen(kw_only=True)
class Match:
    """Which requests a route is for: those that meet every condition that is said here; of several values, any of them.

    :ivar host: names as ``shop.example``, or ``*.shop.example`` for all names below it, whatever their depth.
    :ivar path: whole paths. *path_prefix*: their first segments, so that ``/api`` is for ``/api`` and ``/api/x`` and not for
        ``/apix``. *path_regex*: found in the path, from its beginning on. One of the three suffices.
    :ivar method: such as ``GET``.
    :ivar header: all of them. *query* likewise, of the query's arguments, decoded.
    :ivar client: networks that the client is in.
    :ivar scheme: ``http`` or ``https``; empty: either.
    """

    host: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    path_prefix: tuple[str, ...] = ()
    path_regex: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    header: tuple[Condition, ...] = ()
    query: tuple[Condition, ...] = ()
    client: tuple[Network, ...] = ()
    scheme: str = ""


@attrs.frozen(kw_only=True)
class Split:
    """Several pools, each with its share.

    :ivar pools: weights by pool; 0: none of it.
    :ivar by: a request key (:func:`lbproxy.http1.keys.request_key`): who has the same goes to the same pool, as long as the
        weights stay; empty: each exchange by chance.
    """

    pools: dict[str, int]
    by: str = ""


@attrs.frozen(kw_only=True)
class Redirect:
    """Somewhere else.

    :ivar to: a URI, in which ``{scheme}``, ``{host}``, ``{path}``, ``{query}`` (with its question mark, if there is one) and
        ``{uri}`` stand for the request's.
    """

    to: str
    status: int = 308


@attrs.frozen(kw_only=True)
class FixedAnswer:
    """An answer of our own.

    :ivar kind: its media type (the key ``type``).
    :ivar headers: further fields.
    """

    status: int = 200
    body: str = ""
    kind: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class StaticFiles:
    """The files below a directory, by ``twisted.web.static``; the prefix that the route matched is taken off the path.

    :ivar index: names that are looked for where a directory is asked for.
    """

    directory: str
    index: tuple[str, ...] = ("index.html",)


@attrs.frozen(kw_only=True)
class Mirror:
    """A share of a route's requests is sent to another pool as well, whose answers are thrown away.

    :ivar share: percent of them.
    """

    pool: str
    share: float = 100.0


@attrs.frozen(kw_only=True)
class Route:
    """Which requests, through which filters, to where. Exactly one of the six targets is given.

    :ivar name: for logs, metrics and people.
    :ivar match: whom it is for (in a file, its keys stand in the route's own table).
    :ivar filters: names of filters that stand by themselves, and filters of this route alone; in order.
    :ivar pool: a pool's name.
    :ivar resource: the name of an :class:`~twisted.web.resource.IResource` that the embedding application gives.
    """

    name: str
    match: Match = Match()
    filters: tuple[Any, ...] = ()
    pool: str = ""
    split: Split | None = None
    redirect: Redirect | None = None
    answer: FixedAnswer | None = None
    static: StaticFiles | None = None
    resource: str = ""
    mirror: Mirror | None = None
