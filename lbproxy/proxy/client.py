"""Who asks: what an exchange knows of its client."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from ..http1.fields import forwarded_for

__all__ = ["Client", "client_at"]


class Client:
    """Who asks: what a listener knows of a client's connection, made once for each.

    :ivar address: its IP address, ``unix`` for a Unix socket, ``unknown`` otherwise.
    :ivar secure: whether it came over TLS.
    :ivar forwarded: the fields that tell a backend so (:func:`lbproxy.http1.fields.forwarded_for`).
    """

    __slots__ = ("address", "forwarded", "secure")

    def __init__(self, address: str, secure: bool, forwarded: bytes) -> None:
        self.address = address
        self.secure = secure
        self.forwarded = forwarded


# A request of twisted.web does not know what was remembered of its connection, but it mostly comes from where one came before.
@lru_cache(maxsize=1024)
def client_at(address: str, secure: bool) -> Client:
    """The client at an address, as a listener names it.

    What is no address is ``unknown``: a PROXY protocol header is not checked by Twisted, and must not become a line of a
    backend's request.
    """
    address = address if _is_address(address) else "unknown"
    return Client(address, secure, forwarded_for(address.encode("ascii", "replace"), secure))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return text == "unix"
    return True
