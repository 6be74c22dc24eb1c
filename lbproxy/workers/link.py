"""One end of the link between a supervisor and a worker."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

__all__ = ["Link"]


class Link(amp.AMP):
    """AMP without its two lines in the log for each connection: that a worker began, and that it ended, is said elsewhere."""

    def makeConnection(self, transport: Any) -> None:
        """The link is there."""
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The link is gone: whoever waits for an answer gets a failure."""
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None
