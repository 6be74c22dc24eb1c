"""When a worker that has died is replaced: at once, and later and later when its successors die as soon as they have begun."""

from __future__ import annotations

__all__ = ["AT_MOST", "SOON", "TELL_AFTER", "Backoff"]

#: Seconds; who has lived for less has died soon.
SOON = 10.0
#: Seconds between a death and the next start, at most.
AT_MOST = 30.0
#: Early deaths in a row after which the operator is told that something is wrong with all of them, not with one.
TELL_AFTER = 5

_FIRST = 0.5


class Backoff:
    """Of one worker and its successors.

    :ivar early: how many of them in a row have died soon.
    """

    def __init__(self) -> None:
        self.early = 0

    def died(self, lived: float) -> float:
        """One of them has died, this many seconds after it began.

        :return: seconds until the next one is to begin: 0 after the first early death in a row, then 0.5, 1, 2, 4 … up to
            :data:`AT_MOST`.
        """
        if lived >= SOON:
            self.early = 0
            return 0.0
        self.early += 1
        if self.early == 1:
            return 0.0
        return min(AT_MOST, _FIRST * 2.0 ** min(self.early - 2, 10))

    @property
    def to_be_told(self) -> bool:
        """Whether the death that was counted last is the one after which the operator is told."""
        return self.early == TELL_AFTER
