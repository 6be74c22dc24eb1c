"""A request's body as an exchange holds it: what has not been sent yet, and what is kept for another attempt."""

from __future__ import annotations

__all__ = ["RequestBody"]


class RequestBody:
    """The parts of one request's body that are still at hand.

    All that has not been sent is kept (the listener is paused meanwhile, so that is at most what it had read). What has been
    sent is kept up to *limit* bytes, and dropped as a whole once there is more.

    :ivar ended: whether the client has sent all of it, and with it the lines of its ``trailers``.
    :ivar size: bytes received so far.
    """

    __slots__ = ("_limit", "_parts", "ended", "size", "trailers")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] | None = []
        self.ended = False
        self.trailers = b""
        self.size = 0

    @property
    def replayable(self) -> bool:
        """Whether all that was received is still at hand."""
        return self._parts is not None

    @property
    def here(self) -> bytes:
        """All that was received, as long as it is at hand."""
        return b"".join(self._parts or ())

    def add(self, data: bytes) -> None:
        """Take a part that arrived, before it is sent."""
        self.size += len(data)
        if self._parts is not None:
            self._parts.append(data)

    def take(self) -> bytes:
        """All that was received, to be sent now. Only while :attr:`replayable`."""
        assert self._parts is not None
        data = b"".join(self._parts)
        self._parts = [data] if data else []
        self.sent()
        return data

    def sent(self) -> None:
        """What was received has been sent: keep it only within the limit."""
        if self.size > self._limit:
            self._parts = None
