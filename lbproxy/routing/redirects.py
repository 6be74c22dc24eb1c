"""Where a redirect leads: a URI with what stands for parts of the request's. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..http1.target import is_host

if TYPE_CHECKING:
    from ..http1.head import RequestHead
    from ..proxy.client import Client

__all__ = ["Location", "with_slash"]

_PLACE = re.compile(rb"\{(scheme|host|path|query|uri)\}")

# What a URI is not made of (RFC 3986 appendix A), and percent signs that begin no encoded byte; targets may hold both.
_NOT_IN_URI = re.compile(rb"[^!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]|%(?![0-9A-Fa-f]{2})")
_NOT_IN_HOST = re.compile(rb"[^!$&'()*+,\-.0-9:;=A-Z_a-z~\[\]%]|%(?![0-9A-Fa-f]{2})")
_PORT = re.compile(rb":[0-9]*\Z")


class Location:
    """Writes a Location field's value.

    ``{scheme}`` is ``http`` or ``https``; ``{host}`` the host that was asked for, without its port; ``{path}`` the path,
    ``{query}`` the query with its question mark, or nothing, ``{uri}`` both. All are those of the request as the filters have
    left it. Bytes that have no place in a URI are percent-encoded, so that none can end the field or begin another one.

    :param to: the URI, as :class:`.model.Redirect` has it.
    """

    def __init__(self, to: str) -> None:
        self._parts = _PLACE.split(to.encode("ascii"))  # every second is a name
        self._needs_host = b"host" in self._parts[1::2]

    def of(self, request: RequestHead, client: Client) -> bytes | None:
        """The URI for one request; None where it would name the request's host, and that has none."""
        host = _host(request, client) if self._needs_host else b""
        if self._needs_host and not host:
            return None
        path, mark, query = _NOT_IN_URI.sub(_encoded, b"" if request.target == b"*" else request.target).partition(b"?")
        values = {
            b"scheme": b"https" if client.secure else b"http",
            b"host": host,
            b"path": path,
            b"query": mark + query,
            b"uri": path + mark + query,
        }
        places = iter(self._parts)
        uri = next(places)
        for name in places:
            uri += values[name] + next(places)
        # What begins with two slashes names a host: the client's own words must not lead it elsewhere.
        return b"/" + uri.lstrip(b"/") if uri[:2] == b"//" else uri


def with_slash(target: bytes) -> bytes:
    """The same place with a slash at the end of its path; it is one of the same host."""
    path, mark, query = _NOT_IN_URI.sub(_encoded, target).partition(b"?")
    name = path.strip(b"/")
    return b"/%b%b%b%b" % (name, b"/" if name else b"", mark, query)


def _host(request: RequestHead, client: Client) -> bytes:
    host = client.forwarded_host
    if not host or not is_host(host):
        host = request.host or b""
    return _NOT_IN_HOST.sub(_encoded, _PORT.sub(b"", host))


def _encoded(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(found[0])
