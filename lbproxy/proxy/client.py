"""Who asks: what an exchange knows of its client."""

from __future__ import annotations

__all__ = ["NOWHERE", "Client"]

#: An end of a connection that has no IP address, such as a Unix socket's.
NOWHERE = ("", 0)


class Client:
    """Who asks: made once for each connection, or for each request where it :attr:`varies` (:mod:`.forwarding`).

    :ivar address: its IP address, ``unix`` for a Unix socket, ``unknown`` otherwise. Behind a trusted proxy it is the client's
        of that proxy, which goes to the log.
    :ivar secure: whether it came over TLS; behind a trusted proxy, whether it came to that proxy so.
    :ivar forwarded: the lines about it that go to a backend, each ended by CRLF.
    :ivar forwarded_host: the value of ``X-Forwarded-Host``; None: the request's own Host.
    :ivar request_id: the value of ``X-Request-ID``; empty: one is to be made.
    :ivar varies: whether each request needs a client of its own.
    :ivar trusted: whether the peer is a trusted proxy, whose account of who asks is believed.
    :ivar source: IP address and port of the peer, :data:`NOWHERE` when it has none; it is the peer's although it is trusted.
    :ivar destination: IP address and port that the peer connected to.
    """

    __slots__ = (
        "address", "destination", "forwarded", "forwarded_host", "request_id", "secure", "source", "trusted", "varies",
    )  # fmt: skip

    def __init__(
        self,
        address: str,
        secure: bool,
        forwarded: bytes,
        *,
        forwarded_host: bytes | None = None,
        request_id: bytes = b"",
        varies: bool = False,
        trusted: bool = False,
        source: tuple[str, int] = NOWHERE,
        destination: tuple[str, int] = NOWHERE,
    ) -> None:
        self.address = address
        self.secure = secure
        self.forwarded = forwarded
        self.forwarded_host = forwarded_host
        self.request_id = request_id
        self.varies = varies
        self.trusted = trusted
        self.source = source
        self.destination = destination
