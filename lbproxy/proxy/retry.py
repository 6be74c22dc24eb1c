"""What to do after a failed attempt. Pure: a decision from what happened on the wire and what was asked."""

from __future__ import annotations

import enum

from ..errors import AttemptFailed, NoSocket, StaleConnection
from ..http1.head import RequestHead

__all__ = ["IDEMPOTENT", "Next", "after_failure", "is_repeatable", "marks_down"]

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


def after_failure(failure: AttemptFailed, request: RequestHead, *, replayable: bool, tries: int, retries: int) -> Next:
    """Decide what follows.

    :param failure: how the attempt failed.
    :param replayable: whether all of the body that was sent is still at hand.
    :param tries: attempts at this backend so far, this one included.
    :param retries: further attempts allowed on one backend.
    """
    if failure.sent and not is_repeatable(request):
        return Next.NONE
    if not replayable:
        return Next.NONE
    if failure.immediate and (tries <= retries or isinstance(failure, StaleConnection)):
        # A stale connection is no attempt of the client's: a new one follows it even where no retries are wanted.
        return Next.SAME
    return Next.OTHER


def marks_down(failure: AttemptFailed) -> bool:
    """Whether a backend whose attempts ran out with this failure is recorded as down.

    It is when it could not be reached, unless for want of a socket of ours. One that closes, stalls or talks nonsense after it
    took a request may fail on that request alone; the exchange goes on elsewhere and the failure is counted.
    """
    return not failure.sent and not isinstance(failure, NoSocket)
