"""Requests a second, by client or whoever else asks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from twisted.logger import Logger

from ...http1.answers import Answer
from ...http1.head import ResponseHead
from ..checks import FLAG, matching, number
from ..filter import Filter, FilterContext
from .asking import BY, PREFIX, key_of_request
from .buckets import Buckets, Taken
from .quietly import Quietly

if TYPE_CHECKING:
    from ..passage import Passage

__all__ = ["RateLimit"]

_log = Logger()

#: What an RFC 9651 string can hold without being escaped.
_NAME = matching(r"[ !#-\[\]-~]{1,64}", "a name of at most 64 visible ASCII characters, without quotes and backslashes")


@attrs.frozen(kw_only=True)
class RateLimit:
    """A token bucket for each key: *burst* requests at once, and *rate* a second from then on; further ones are answered 429.

    Answers say how the one who asks stands, in ``RateLimit`` and ``RateLimit-Policy``
    (draft-ietf-httpapi-ratelimit-headers, in the form that it has had since its version 09), and refusals also in
    ``Retry-After``. On a reload buckets live on with what they have given, if *by* and *prefix_v6* stay.

    Several workers tell each other what they have given, and take it off their own buckets, into debt if need be: in the long
    run all of them together give *rate*. For a moment each may give what is asked of it in the 100 ms before it knows of the
    others, and never more than *burst* each. A worker that begins knows of nothing that was given before.

    :ivar rate: requests a second, from 0.00001 (not quite one a day) to 1,000,000.
    :ivar burst: requests at once; 0: as many as come in a second, at least one.
    :ivar by: whose requests count together: ``client``, ``route`` (one bucket for all that take it), or a request key.
    :ivar prefix_v6: bits of an IPv6 address that tell a client, 64 by default: what one customer of a provider has at least.
    :ivar status: of a refusal (RFC 6585 section 4: 429; nginx: 503).
    :ivar policy: what the fields call it; two filters of a route should have different names.
    :ivar fields: whether the three fields are sent.
    :ivar dry_run: nothing is refused, and nobody is told: what would be is counted, and said in the log once a minute.
    :ivar buckets: that are kept; 100,000 take 30 MB at most. Full ones are forgotten first, then those asked least recently.
    """

    type: ClassVar[str] = "rate-limit"

    rate: float = attrs.field(validator=number(0.00001, 1_000_000, unit=" (requests a second)"))
    burst: int = attrs.field(default=0, validator=number(0, 1_000_000, int))
    by: str = attrs.field(default="client", validator=BY)
    prefix_v6: int = attrs.field(default=64, validator=PREFIX)
    status: int = attrs.field(default=429, validator=number(400, 599, int))
    policy: str = attrs.field(default="default", validator=_NAME)
    fields: bool = attrs.field(default=True, validator=FLAG)
    dry_run: bool = attrs.field(default=False, validator=FLAG)
    buckets: int = attrs.field(default=100_000, validator=number(1, 10_000_000, int))

    @property
    def at_once(self) -> int:
        """Tokens that a bucket holds."""
        return self.burst or ceil(self.rate)

    def make(self, context: FilterContext) -> Filter:
        """Make the live filter."""
        return LiveRateLimit(self, context)


class LiveRateLimit(Filter):
    """Counts ``limited`` (or ``would-limit``), and ``forgotten`` where the limit of buckets struck."""

    def __init__(self, spec: RateLimit, context: FilterContext) -> None:
        self.spec = spec
        self._count = context.count
        self._quietly = Quietly(context.clock.seconds)
        self._key = key_of_request(spec.by, spec.prefix_v6)
        self._given: dict[bytes, int] | None = {} if context.workers > 1 else None
        self._buckets = Buckets(spec.rate, spec.at_once, context.clock.seconds, spec.buckets, lambda: context.count("forgotten"))
        self._policy = b'RateLimit-Policy: "%b";q=%d;w=%d\r\n' % (
            spec.policy.encode("ascii"), spec.at_once, ceil(spec.at_once / spec.rate)
        )  # fmt: skip
        self._limit = b'RateLimit: "%b"' % spec.policy.encode("ascii")

    def request(self, passage: Passage) -> Answer | None:
        """Take a token."""
        key = self._key(passage)
        taken = self._buckets.take(key)
        if taken.allowed and self._given is not None:
            self._given[key] = self._given.get(key, 0) + 1
        if self.spec.dry_run:
            if not taken.allowed:
                self._count("would-limit")
                self._say(passage)
            return None
        if taken.allowed:
            passage.memory[self] = taken
            return None
        self._count("limited")
        return Answer(
            status=self.spec.status,
            end="rate-limited",
            why="Too many requests came from here; more are taken later.",
            fields=self._fields(taken),
            retry_after=taken.wait if self.spec.fields else None,
        )

    def response(self, passage: Passage, head: ResponseHead) -> None:
        """Say how the client stands."""
        taken = passage.memory.get(self)
        if taken is not None:
            head.fields += self._fields(taken)

    def _fields(self, taken: Taken) -> bytes:
        if not self.spec.fields:
            return b""
        # Of a refusal it names the same time as Retry-After, as the draft wants it.
        until = taken.full if taken.allowed else max(taken.wait, 1.0)
        return b"%b%b;r=%d;t=%d\r\n" % (self._policy, self._limit, taken.remaining, ceil(until))

    def _say(self, passage: Passage) -> None:
        if self._quietly.now():
            _log.info(
                "rate-limit {policy!r} would have refused a request of route {route} from {client}; it is a dry run",
                policy=self.spec.policy, route=passage.route.name, client=passage.client.address,
            )  # fmt: skip

    def given(self, most: int) -> dict[bytes, int]:
        """The tokens that were taken since this was asked last, by key."""
        given = self._given
        if not given:
            return {}
        return {key: given.pop(key) for key in list(islice(given, most))}

    def given_elsewhere(self, worker: int, given: Mapping[bytes, int]) -> None:
        """They are missing here as well."""
        for key, count in given.items():
            self._buckets.take_elsewhere(key, count)

    def take_over(self, old: Any) -> None:
        """The buckets live on, where they are of the same keys."""
        spec = self.spec
        if (spec.by, spec.prefix_v6) == (old.spec.by, old.spec.prefix_v6):
            self._buckets, self._given = old._buckets, old._given
            self._buckets.change(spec.rate, spec.at_once, spec.buckets)
