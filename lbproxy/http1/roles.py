"""What connections need of others: who gets a request, who makes an exchange of it, who hears a tunnel's end, what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.python.failure import Failure

from ..interfaces import IDownstream
from .head import RequestHead, ResponseHead

if TYPE_CHECKING:
    from .client import UpstreamConnection

__all__ = [
    "ConnectionOwner",
    "ExchangeMaker",
    "Gate",
    "ListenerCounts",
    "Place",
    "RequestReceiver",
    "Response",
    "ResponseReceiver",
    "TunnelEnd",
]

#: An IP address and a port; ``("", 0)`` where there is none, such as of a Unix socket.
Place = tuple[str, int]


Response = tuple[ResponseHead, bytes, bool]
"""A response's head, the body bytes that came with it, and whether they are the whole body."""


class RequestReceiver(Protocol):
    """Who gets the request: the exchange made of it."""

    def body_data(self, data: bytes) -> None:
        """A part of the request's body, never empty."""

    def body_end(self, trailers: bytes = b"") -> None:
        """The request's body is complete; *trailers* are the lines that go on, each ended by CRLF."""

    def client_lost(self, end: str = "client-left", status: int = 0) -> None:
        """The client is gone."""

    def pause_response(self) -> None:
        """The client takes no more for now."""

    def resume_response(self) -> None:
        """The client takes more."""


class ResponseReceiver(Protocol):
    """Who gets the response: the exchange that runs on the connection."""

    def response_interim(self, head: ResponseHead) -> None:
        """An interim (1xx) response came; the response is still to come."""

    def response_data(self, data: bytes) -> None:
        """A further part of the body, never empty."""

    def response_end(self, data: bytes, trailers: bytes = b"") -> None:
        """The body has ended as its framing said, with this last part of it, perhaps empty, and the lines of these trailer
        fields. The connection may carry another exchange already: it is not to be touched any more."""

    def response_lost(self, reason: str) -> None:
        """The body was cut short."""

    def pause_request(self) -> None:
        """The backend takes no more of the request's body for now."""

    def resume_request(self) -> None:
        """The backend takes more."""


class ConnectionOwner(Protocol):
    """Who keeps connections between exchanges."""

    def release(self, connection: UpstreamConnection) -> None:
        """The connection is free for another exchange."""

    def closing(self, connection: UpstreamConnection) -> None:
        """The connection is about to be closed."""

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection has ended."""


class TunnelEnd(Protocol):
    """Who hears of one end of a tunnel, once its connection has switched to it."""

    transport: Any
    """Where the connection's bytes go; set by the connection as it switches."""

    def data(self, data: bytes) -> None:
        """Bytes from the peer."""

    def half_closed(self) -> None:
        """The peer sends no more; it may still read."""

    def lost(self, reason: Failure) -> None:
        """The connection has ended."""

    def pause(self) -> None:
        """The peer takes no more for now."""

    def resume(self) -> None:
        """The peer takes more."""

    def drop(self, end: str) -> None:
        """End the tunnel now, both ends of it."""


class ExchangeMaker(Protocol):
    """Who makes exchanges of requests, and forwards them."""

    def client(self, address: str, secure: bool, source: Place, destination: Place, identity: bytes = b"") -> Any:
        """What is to be remembered of a client for all its requests.

        :param address: an IP address, ``unix`` or ``unknown``.
        :param secure: whether the connection came over TLS.
        :param source: the client's end of the connection.
        :param destination: ours.
        :param identity: what backends are told of its TLS certificate, as lines of a head each ended by CRLF.
        """

    def exchange(self, downstream: IDownstream, head: RequestHead, client: Any) -> Any:
        """Make an exchange, a :class:`RequestReceiver`; nothing happens yet."""

    def forward(self, exchange: Any) -> None:
        """Carry it."""


class Gate(Protocol):
    """Who keeps the number of connections within its limit."""

    def opened(self) -> None:
        """There is one more."""

    def closed(self) -> None:
        """There is one less."""


class ListenerCounts(Protocol):
    """What a listener counts (:class:`lbproxy.proxy.counters.ListenerCounters`)."""

    accepted: int
    open: int
    rejected: dict[str, int]
    timed_out: dict[str, int]
    limited: dict[str, int]
    fields_dropped: int
    handshakes: int

    def count_handshake(self, cause: str) -> None:
        """A TLS handshake failed."""
