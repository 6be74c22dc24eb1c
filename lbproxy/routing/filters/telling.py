"""What a backend is told of who asks, where a filter has a say in it."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from ...http1.edit import field_line, remove_fields
from ...http1.fields import field_value

if TYPE_CHECKING:
    from ...http1.head import RequestHead
    from ...proxy.client import Client
    from ..passage import Passage

__all__ = ["keep_known", "set_host", "tell", "tell_prefix"]


def _own_client(passage: Passage) -> Client:
    """The exchange's client as a value of its own: others on the same connection are told of as before."""
    client = passage.exchange.client = copy(passage.exchange.client)
    return client


def tell(passage: Passage, name: bytes, value: bytes | None) -> None:
    """Tell the backend this, in the place of what it would be told under that name.

    :param name: of a field about the client, but ``X-Request-ID``.
    :param value: None: it is told nothing.
    """
    client = _own_client(passage)
    if name.lower() == b"x-forwarded-host":
        client.forwarded_host = value
    else:
        client.forwarded = remove_fields(client.forwarded, (name,)) + (b"" if value is None else field_line(name, value))
    keep_known(passage.request, name.lower(), value)


def keep_known(head: RequestHead, name: bytes, value: bytes | None) -> None:
    """Let what is read of a request be what a backend is told.

    :param name: in lower case.
    :param value: None: there is none.
    """
    if value is None:
        head.known.pop(name, None)
    else:
        head.known[name] = value


def tell_prefix(passage: Passage, prefix: bytes) -> None:
    """Tell the backend in ``X-Forwarded-Prefix`` what has been taken off the path, after what was before it came here."""
    before = field_value(passage.exchange.client.forwarded, b"x-forwarded-prefix") or b""
    tell(passage, b"X-Forwarded-Prefix", before.rstrip(b"/") + prefix)


def set_host(passage: Passage, host: bytes) -> None:
    """Ask the backend for another host. ``X-Forwarded-Host`` says which one the client has asked for."""
    head = passage.request
    client = passage.exchange.client
    if not client.forwarded_host and head.host is not None:
        tell(passage, b"X-Forwarded-Host", head.host)
    head.fields = field_line(b"Host", host) + remove_fields(head.fields, (b"host",))
    head.host = head.known[b"host"] = host
