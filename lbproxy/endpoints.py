"""From a backend's address to the Twisted endpoint that connects to it."""

from __future__ import annotations

import ipaddress
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from .balance.backend import Backend

__all__ = ["client_endpoint"]


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
