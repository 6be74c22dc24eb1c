"""The link between the two programs: a line of JSON a message."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from .word import message_line

__all__ = ["Link"]


class Link(LineOnlyReceiver):
    """One end.

    :param said: is told each message.
    :param lost: is told when the other end is closed.
    """

    delimiter = b"\n"
    MAX_LENGTH = 64 << 20  # what operators have said is among it, of whose length there is no other limit

    def __init__(self, said: Callable[[dict[str, Any]], None], lost: Callable[[], None]) -> None:
        self._said = said
        self._lost = lost

    def lineReceived(self, line: bytes) -> None:
        """A message, or what is none and is ignored: the other program may be of another version."""
        try:
            message = json.loads(line)
        except ValueError:
            return
        if isinstance(message, dict):
            self._said(message)

    def say(self, **message: Any) -> None:
        """Send a message."""
        if self.transport is not None:
            self.transport.write(message_line(message))

    def close(self) -> None:
        """Close it, after what was said has been sent."""
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other end is closed, or this one."""
        self._lost()
