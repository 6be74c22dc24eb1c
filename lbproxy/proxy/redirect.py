"""Where a request that came in the clear is sent: to the same place under ``https``. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..http1.target import is_host

if TYPE_CHECKING:
    from ..http1.head import RequestHead
    from .client import Client

__all__ = ["secure_location"]

# What a URI is made of (RFC 3986 appendix A); targets may hold more.
_NOT_IN_URI = re.compile(rb"[^!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]")

_PORT = re.compile(rb":([0-9]*)\Z")


def secure_location(request: RequestHead, client: Client, port: int | None) -> bytes | None:
    """The URI of the same resource under ``https``; None where the request does not say of which host.

    A request whose Host names no port has come to port 80, perhaps through a mapping of ports that nobody here knows of: so it
    is sent to ``https`` without a port, which is 443, as it is mapped. Where Host names another one the client has it from a
    URI, and is as near to the listeners as that port is: then it is sent to theirs.

    :param client: behind a trusted proxy, the host is what that proxy says that the client has asked for, if it says so.
    :param port: where TLS is listened for, if that is known.
    """
    host = client.forwarded_host
    if not host or not is_host(host):
        host = request.host or b""
    found = _PORT.search(host)
    name = host if found is None else host[: found.start()]
    if not name:
        return None
    elsewhere = found is not None and found[1].lstrip(b"0") not in (b"", b"80")
    place = b":%d" % port if elsewhere and port not in (None, 443) else b""
    # RFC 9110 section 7.1: what * stands for has a URI without a path.
    target = b"" if request.target == b"*" else _NOT_IN_URI.sub(_encoded, request.target)
    return b"https://%b%b%b" % (name, place, target)


def _encoded(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(found[0])
