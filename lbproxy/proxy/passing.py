"""What an exchange asks of its way through its route's filters."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Passing"]


class Passing(Protocol):
    """The way of one exchange through filters (:class:`lbproxy.routing.passage.Passage`)."""

    def takes(self, data: bytes) -> bool:
        """A part of the request's body came, never empty. Returns whether it goes on; if not, the exchange has been answered."""

    def body_ended(self, trailers: bytes) -> None:
        """The request's body is complete."""

    def over(self) -> None:
        """The exchange has ended, in whatever way."""
