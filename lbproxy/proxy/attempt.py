"""An attempt: what an exchange remembers of each backend that it tried."""

from __future__ import annotations

from ..balance.state import BackendState
from ..errors import AttemptFailed

__all__ = ["Attempt"]


class Attempt:
    """One try of an exchange at one backend.

    :ivar member: the backend.
    :ivar reused: whether it went over a kept-alive connection.
    :ivar failure: how it failed; None while it runs and when a response's head came.
    """

    __slots__ = ("failure", "member", "reused")

    def __init__(self, member: BackendState) -> None:
        self.member = member
        self.reused = False
        self.failure: AttemptFailed | None = None
