"""What a listener's connections need of others: who gets a request, who makes an exchange of it, what is counted."""

from __future__ import annotations

from typing import Any, Protocol

from ..interfaces import IDownstream
from .head import RequestHead

__all__ = ["ExchangeMaker", "Gate", "ListenerCounts", "RequestReceiver"]


class RequestReceiver(Protocol):
    """Who gets the request: the exchange made of it."""

    def body_data(self, data: bytes) -> None:
        """A part of the request's body, never empty."""

    def body_end(self) -> None:
        """The request's body is complete."""

    def client_lost(self, end: str = "client-left", status: int = 0) -> None:
        """The client is gone."""

    def pause_response(self) -> None:
        """The client takes no more for now."""

    def resume_response(self) -> None:
        """The client takes more."""


class ExchangeMaker(Protocol):
    """Who makes exchanges of requests, and forwards them."""

    def client(self, address: str, secure: bool) -> Any:
        """What is to be remembered of a client for all its requests."""

    def exchange(self, downstream: IDownstream, head: RequestHead, client: Any) -> Any:
        """Make an exchange, a :class:`RequestReceiver`; nothing happens yet."""

    def forward(self, exchange: Any) -> None:
        """Carry it."""


class Gate(Protocol):
    """Who limits the connections (:class:`lbproxy.admission.ConnectionLimit`)."""

    def opened(self) -> None:
        """A client has connected."""

    def closed(self) -> None:
        """A client's connection has ended."""


class ListenerCounts(Protocol):
    """What a listener counts (:class:`lbproxy.proxy.counters.ListenerCounters`)."""

    accepted: int
    open: int
    rejected: dict[str, int]
    timed_out: dict[str, int]
