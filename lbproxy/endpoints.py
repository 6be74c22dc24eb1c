"""Addresses: from a backend's to the Twisted endpoint that connects to it, and what a connection's ends are called."""

from __future__ import annotations

import ipaddress
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from .balance.backend import Backend

__all__ = ["address_text", "client_endpoint", "place"]


def client_endpoint(reactor: Any, backend: Backend) -> IStreamClientEndpoint:
    """The endpoint for *backend*. It has no time-out of its own: its user bounds each connect (a name's resolution included)
    with ``Deferred.addTimeout``."""
    if backend.port is None:
        return UNIXClientEndpoint(reactor, backend.host, timeout=None)
    try:
        version = ipaddress.ip_address(backend.host).version
    except ValueError:
        return HostnameEndpoint(reactor, backend.host, backend.port, timeout=None)  # type: ignore[arg-type]
    endpoint = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
    return endpoint(reactor, backend.host, backend.port, timeout=None)  # type: ignore[arg-type]


def place(address: Any) -> tuple[str, int]:
    """An address's host and port; ``("", 0)`` for one that has none, such as a Unix socket's."""
    host = getattr(address, "host", None)
    if not host:
        return "", 0
    return host if isinstance(host, str) else host.decode("ascii", "replace"), address.port


def address_text(address: Any) -> str:
    """An address's host, ``unix`` for a Unix socket's, ``unknown`` for any other."""
    return place(address)[0] or ("unix" if hasattr(address, "name") else "unknown")
