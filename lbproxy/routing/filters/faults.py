"""The filter ``faults``: some requests are delayed or refused on purpose, to see what becomes of those who ask."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, ClassVar

import attrs
from twisted.internet.defer import Deferred

from ...http1.answers import Answer
from .. import checks
from ..checks import PERCENT, SECONDS_OR_NONE, Rule, number
from ..filter import Filter

if TYPE_CHECKING:
    from ..filter import FilterContext, Verdict
    from ..passage import Passage

__all__ = ["Faults"]

_STATUS = Rule("a status from 200 to 599, and 0 for none", lambda value: value == 0 or checks.STATUS.holds(value))
_SEED = Rule(
    "a whole number from 0 on, or nothing for another chance each time",
    lambda value: value is None or number(0, 1 << 64, int).holds(value),
)


@attrs.frozen(kw_only=True)
class Faults:
    """A share of requests is delayed, a share answered instead of sent on; one that is chosen for both is answered late.

    :ivar delay: seconds. *delay_share*: of how many requests, in percent.
    :ivar abort: the status of the answer; 0: none is answered. *abort_share*: how many are, in percent.
    :ivar seed: with the same, the same requests in a row have the same faults, whatever the shares of others; None: by chance.
    """

    type: ClassVar[str] = "faults"
    delay: float = attrs.field(default=0.0, validator=SECONDS_OR_NONE)
    delay_share: float = attrs.field(default=100.0, validator=PERCENT)
    abort: int = attrs.field(default=0, validator=_STATUS)
    abort_share: float = attrs.field(default=100.0, validator=PERCENT)
    seed: int | None = attrs.field(default=None, validator=_SEED)

    def __attrs_post_init__(self) -> None:
        if not self.delay and not self.abort:
            checks.raise_all([checks.wrong("delay", self.delay, "more than 0 seconds, unless abort is a status")])

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _Faults(self, context)


class _Faults(Filter):
    def __init__(self, spec: Faults, context: FilterContext) -> None:
        self._spec = spec
        self._count = context.count
        self._clock = context.clock
        self._random = context.random if spec.seed is None else Random(spec.seed)
        self._answer = Answer(status=spec.abort, end="fault", why="This is a fault that was asked for.")

    def request(self, passage: Passage) -> Verdict:
        spec = self._spec
        # Both are drawn each time, so that the one does not depend on whether there is the other.
        late, refused = (self._random.random() * 100 for _ in range(2))
        answer = self._answer if spec.abort and refused < spec.abort_share else None
        if answer is not None:
            self._count("abort")
        if not spec.delay or late >= spec.delay_share:
            return answer
        self._count("delay")
        return self._later(answer)

    def _later(self, answer: Answer | None) -> Deferred[Answer | None]:
        waiting: Deferred[Answer | None] = Deferred(lambda _: call.cancel())
        call = self._clock.callLater(self._spec.delay, waiting.callback, answer)
        return waiting
