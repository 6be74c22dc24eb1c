"""Request targets and hosts: what a server is asked for, and that it is asked of one host only (RFC 9112 section 3.2). Pure."""

from __future__ import annotations

import re

from ..errors import BadMessage

__all__ = ["is_host", "origin_form"]

# uri-host [ ":" port ] of RFC 9110 section 7.2, loosely: what can do no harm in a log, a URL or a route.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z")

# absolute-form: scheme, authority, path with query.
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(.*)\Z", re.IGNORECASE)

_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}


def is_host(value: bytes) -> bool:
    """Whether *value* may stand in a Host field."""
    return _HOST.match(value) is not None


def origin_form(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes]:
    """What goes on of a target, and the host that it names, if it names one.

    A target in absolute form is meant for a proxy of the client's own; what goes on of it is its path with the query, or ``*``
    for OPTIONS without a path.

    :param host: the Host field's value, which must be the host that the target names; None where there is none.
    :raises BadMessage: for a fragment, a user, a scheme other than http and https, another host, or ``*`` without OPTIONS.
    """
    if b"#" in target:
        raise BadMessage("target", "a fragment is none of a server's business")
    if target[:1] == b"/":
        return target, b""
    if target == b"*":
        if method != b"OPTIONS":
            raise BadMessage("target", "* stands for a whole server, which only OPTIONS is about")
        return target, b""
    found = _ABSOLUTE.match(target)
    if found is None:
        raise BadMessage("target", f"{target[:64]!r} is no path, no http or https URL and no *")
    scheme, authority, path = found.groups()
    _check_authority(authority, scheme.lower(), host)
    if not path and method == b"OPTIONS":
        return b"*", authority  # RFC 9112 section 3.2.4
    return path if path[:1] == b"/" else b"/" + path, authority


def _check_authority(authority: bytes, scheme: bytes, host: bytes | None) -> None:
    if b"@" in authority:
        raise BadMessage("target", "a user in the target")
    if authority[:1] in (b"", b":") or not is_host(authority):
        raise BadMessage("target", f"the target's host {authority[:64]!r} is no host")
    if host is not None and _without_default_port(authority, scheme) != _without_default_port(host, scheme):
        raise BadMessage("host", f"the target names the host {authority[:64]!r}, the Host field {host[:64]!r}")


def _without_default_port(host: bytes, scheme: bytes) -> bytes:
    """A host as it compares (RFC 3986 section 6.2.3)."""
    name, colon, port = host.lower().rpartition(b":")
    return name if colon and port in (b"", _DEFAULT_PORTS[scheme]) else host.lower()
