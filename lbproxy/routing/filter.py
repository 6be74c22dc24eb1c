"""What a filter is: one small class that looks at exchanges, changes them, or answers them, on their way to where a route leads.

A filter is written in a file as a frozen ``attrs`` class, its *specification*, which says what it may be told and makes the live
filter (:class:`FilterSpec`). What a filter must remember between exchanges lives in the live one; what it must remember of one
exchange, in :attr:`.passage.Passage.memory`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..http1.answers import Answer
from ..http1.head import ResponseHead
from ..interfaces import IFilter
from ..settings import Settings

if TYPE_CHECKING:
    from .passage import Passage

__all__ = ["BodyFilter", "Filter", "FilterContext", "FilterSpec", "Verdict", "files_of"]

#: What a filter says of a request: nothing, and it goes on; an answer, and it ends here; or either of the two later.
Verdict = Answer | Deferred[Answer | None] | None


class BodyFilter(Protocol):
    """What becomes of one response's body on its way."""

    def write(self, data: bytes) -> bytes:
        """A part of the body, never empty; gives what goes on of it, perhaps nothing yet."""

    def finish(self) -> bytes:
        """The body has ended; gives what is left of it."""


@implementer(IFilter)
class Filter:
    """Does nothing: the base of those that do something. Only what a class overrides costs anything.

    In a route's order each filter sees the request; then, in the opposite order, those that have let it on see the response, be
    it a backend's or our own. What one of them answers itself is seen by those before it.
    """

    def request(self, passage: Passage) -> Verdict:
        """A request: change it (:attr:`~.passage.Passage.request`), or answer it. While that is waited for, the client's body is
        not read, and the Deferred is cancelled if the client leaves. A failure is answered with 500."""
        return None

    def takes(self, passage: Passage, data: bytes) -> Answer | None:
        """A part of the request's body came, never empty: an answer, and the exchange ends here; otherwise it goes on. Called for
        each part, in the route's order, of a request that this filter has let on."""
        return None

    def response(self, passage: Passage, head: ResponseHead) -> None:
        """A response's head, which may be changed; not called for interim ones."""

    def body(self, passage: Passage, head: ResponseHead) -> BodyFilter | None:
        """What changes the response's body; None: nothing does. Asked after :meth:`response`, and only where there may be a
        body, be it empty (``head.length`` is 0 then); where something does, the response goes without the Content-Length it
        had."""
        return None

    def over(self, passage: Passage) -> None:
        """The exchange has ended, in whatever way. Called once for each that :meth:`request` has let on, or was still asked
        about."""

    def given(self, most: int) -> dict[bytes, int]:
        """Asked every 50 ms where several processes do the work together (:attr:`FilterContext.workers`): what the filters of
        this name in the others must know, and have not been told yet; numbers by key, whose meaning is the filter's. Only a
        class that overrides this is asked.

        :param most: keys at most; what is left is given when this is asked the next time.
        """
        return {}

    def given_elsewhere(self, worker: int, given: Mapping[bytes, int]) -> None:
        """Another process said this, within about 100 ms. What a process says comes in its order, and once."""

    def begun_elsewhere(self) -> None:
        """Another process has begun, or has taken the place of one, and has been told nothing: what it must know of this one is
        to be given again."""

    def ended_elsewhere(self, worker: int) -> None:
        """Another process has ended: what is known of it does not hold any more."""

    def take_over(self, old: Any) -> None:
        """Called once on a reload, before any exchange comes here, with the live filter of the same class that stood in this
        place until now: take of what it has remembered what still holds. Exchanges that came to it before go on with it, so that
        it is told of their ends."""


@attrs.frozen(kw_only=True)
class FilterContext:
    """What live filters are made with.

    :ivar reactor: connects.
    :ivar clock: gives the time, and runs what is to be done later.
    :ivar random: the only source of chance.
    :ivar count: ``count(what)`` counts something a filter did, by a word, for ``/status`` and the metrics.
    :ivar settings: the site's, for those that must keep to its limits.
    :ivar workers: processes that do this work together, this one among them; where it is more than 1, a filter that keeps to a
        limit may tell the others what it has given (:meth:`Filter.given`).
    """

    reactor: Any
    clock: IReactorTime
    random: Random
    count: Callable[[str], None] = lambda what: None
    settings: Settings = attrs.field(factory=Settings)
    workers: int = 1


class FilterSpec(Protocol):
    """A filter as an operator says it: a frozen ``attrs`` class, whose attributes are its keys in the file.

    An attribute whose metadata says ``{"path": True}`` names a file, relative to the one that it stands in. When it has changed,
    the next reload makes the filter anew; unless the live one reads it by itself, which ``"watched": True`` beside it says.

    :cvar type: what it is called there.
    """

    type: ClassVar[str]

    def make(self, context: FilterContext) -> Filter:
        """Make the live filter. It may take long, and is called in a thread while exchanges go on: nothing is connected to, and
        nothing put off until later.

        :raises ConfigurationError: for what can only be found wrong by looking, such as a file that is missing.
        """


def files_of(spec: Any) -> tuple[str, ...]:
    """The files that a filter is made of, and does not read anew by itself."""
    if not attrs.has(type(spec)):
        return ()
    named = (one for one in attrs.fields(type(spec)) if one.metadata.get("path") and not one.metadata.get("watched"))
    return tuple(path for one in named if isinstance(path := getattr(spec, one.name), str) and path)


#: Filters by their type.
FilterTypes = Mapping[str, type[Any]]
