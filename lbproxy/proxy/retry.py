"""What to do after a failed attempt. Pure: a decision from what happened on the wire and what was asked."""

from __future__ import annotations

import enum
from collections.abc import Collection

from ..errors import AttemptFailed, NoSocket, StaleConnection
from ..http1.head import RequestHead

__all__ = ["IDEMPOTENT", "Next", "after_failure", "backoff", "is_repeatable", "marks_down", "repeats_work"]

#: Methods that may be sent again although a backend may have processed them (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class Next(enum.Enum):
    """What an exchange does after a failed attempt."""

    SAME = "same"  # another attempt at the same backend
    OTHER = "other"  # an attempt at the next backend
    NONE = "none"  # answer the client with the failure's status


def is_repeatable(request: RequestHead) -> bool:
    """Whether the request may be sent again after a backend may have processed it."""
    return request.method in IDEMPOTENT or b"idempotency-key" in request.known


def after_failure(
    failure: AttemptFailed,
    request: RequestHead,
    *,
    replayable: bool,
    tries: int,
    retries: int,
    retry_on: Collection[str] = ("connect", "reset", "timeout"),
) -> Next:
    """Decide what follows.

    :param failure: how the attempt failed.
    :param replayable: whether all of the body that was sent is still at hand.
    :param tries: attempts at this backend so far, this one included.
    :param retries: further attempts allowed on one backend.
    :param retry_on: the kinds of failure that may be followed by another attempt at all.
    """
    if failure.sent and not is_repeatable(request):
        return Next.NONE
    if not replayable:
        return Next.NONE
    if isinstance(failure, StaleConnection):
        # It is no attempt of the client's: a new one follows it even where no retries are wanted.
        return Next.SAME
    if failure.kind not in retry_on:
        return Next.NONE
    return Next.SAME if failure.immediate and tries <= retries else Next.OTHER


def repeats_work(failure: AttemptFailed) -> bool:
    """Whether an attempt after this failure may have a second backend do what the first has done already: it needs a place in
    the retry budget."""
    return failure.sent and not isinstance(failure, StaleConnection)


#: Bounds of the back-off in seconds (Envoy's: 25 ms doubling to 250).
BACKOFF_BASE = 0.025
BACKOFF_LIMIT = 0.25


def backoff(turn: int, chance: float) -> float:
    """Seconds to wait before the next round over the backends.

    :param turn: 0 for the first.
    :param chance: from a random source, 0 to 1: the wait is anything up to the bound ("full jitter"), so that those who failed
        together do not come back together.
    """
    return chance * min(BACKOFF_LIMIT, BACKOFF_BASE * 2.0 ** min(turn, 10))


def marks_down(failure: AttemptFailed) -> bool:
    """Whether a backend whose attempts ran out with this failure is recorded as down.

    It is when it could not be reached, unless for want of a socket of ours. One that closes, stalls or talks nonsense after it
    took a request may fail on that request alone; the exchange goes on elsewhere and the failure is counted.
    """
    return not failure.sent and not isinstance(failure, NoSocket)
