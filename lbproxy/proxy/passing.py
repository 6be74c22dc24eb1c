"""What an exchange asks of its way through its route's filters, and of those who answer it from here."""

from __future__ import annotations

from typing import Protocol

from ..http1.answers import Answer
from ..http1.head import ResponseHead

__all__ = ["FILTER_FAILED", "Passing", "Server"]

FILTER_FAILED = Answer(status=500, end="filter", why="A filter of this route failed.")


class Passing(Protocol):
    """The way of one exchange through filters (:class:`lbproxy.routing.passage.Passage`)."""

    def takes(self, data: bytes) -> bool:
        """A part of the request's body came, never empty. Returns whether it goes on; if not, the exchange has been answered."""

    def body_ended(self, trailers: bytes) -> None:
        """The request's body is complete."""

    def back(self, head: ResponseHead, data: bytes, complete: bool) -> bytes:
        """A response's head goes back, which may be changed, with the beginning of its body; gives what becomes of that.

        :raises Exception: if a filter fails; nothing has been sent.
        """

    def through(self, data: bytes) -> bytes:
        """A further part of the body, never empty; gives what goes on, perhaps nothing yet.

        :raises Exception: if a filter fails.
        """

    def last(self, data: bytes, trailers: bytes) -> tuple[bytes, bytes]:
        """The body's last part, and its trailers; gives what goes on of both.

        :raises Exception: if a filter fails.
        """

    def over(self) -> None:
        """The exchange has ended, in whatever way."""


class Server(Protocol):
    """Who answers an exchange from here, bit by bit, as a backend's connection does from elsewhere."""

    def write_body(self, data: bytes) -> None:
        """A part of the request's body."""

    def end_body(self, trailers: bytes = b"") -> None:
        """It is complete."""

    def pause(self) -> None:
        """The client is slow."""

    def resume(self) -> None:
        """It has caught up."""

    def over(self) -> None:
        """The exchange has ended, be the response whole or not."""
