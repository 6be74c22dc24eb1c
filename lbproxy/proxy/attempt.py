"""An attempt: what an exchange remembers of each backend that it tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..balance.state import BackendState
from ..errors import AttemptFailed

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from ..http1.client import UpstreamConnection
    from ..interfaces import IPolicy

__all__ = ["Attempt"]


class Attempt:
    """One try of an exchange at one backend.

    :ivar member: the backend.
    :ivar policy: what was told of its beginning, and is to be told of its end, whatever the pool goes by then.
    :ivar started: the clock's seconds when it began, ``ended`` when it was over; None while it runs.
    :ivar seconds: to its response's head, or to its failure; None until then, and of one that was given up before.
    :ivar reused: whether it went over a kept-alive connection.
    :ivar why: what it is for: empty for an exchange's first; ``retry``, ``status`` (another's status was to be tried again) or
        ``hedge``.
    :ivar failure: how it failed; None while it runs, when a response's head came, and when it was given up.
    :ivar connecting: the connection that is being made for it.
    :ivar connection: the connection that carries it.
    """

    policy: IPolicy

    # Defaults stand in the class: most attempts change few of them, and setting each costs.
    connecting: Deferred[UpstreamConnection] | None = None
    connection: UpstreamConnection | None = None
    ended: float | None = None
    failure: AttemptFailed | None = None
    reused = False
    seconds: float | None = None
    why = ""

    def __init__(self, member: BackendState, started: float) -> None:
        self.member = member
        self.started = started
