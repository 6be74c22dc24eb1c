"""Who asks: what an exchange knows of its client."""

from __future__ import annotations

from functools import lru_cache

from ..http1.fields import forwarded_for
from .addresses import read_address

__all__ = ["NOWHERE", "Client", "client_at"]

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


# A request of twisted.web does not know what was remembered of its connection, but it mostly comes from where one came before.
@lru_cache(maxsize=1024)
def client_at(address: str, secure: bool) -> Client:
    """The client at an address, as a listener names it.

    What is no address is ``unknown``: a PROXY protocol header is not checked by Twisted, and must not become a line of a
    backend's request.
    """
    if address != "unix":
        address = str(read_address(address) or "unknown")
    return Client(address, secure, forwarded_for(address.encode("ascii"), secure))
