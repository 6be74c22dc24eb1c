"""Whose requests are counted together: the key ``by`` of filters that count."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ...addresses import read_address
from ...errors import ConfigurationError
from ...http1.keys import KEYS, RequestKey, request_key
from ..checks import Rule, number

if TYPE_CHECKING:
    from ..passage import Passage

__all__ = ["BY", "PREFIX", "KeyOf", "key_of_request"]

#: Who asks, in bytes, of 64 at most.
KeyOf = Callable[["Passage"], bytes]

#: Longer keys are told by their hash, so that a client cannot fill the memory with a long one.
_LONGEST = 64


def _is_known(text: object) -> bool:
    if not isinstance(text, str):
        return False
    if text not in ("client", "route"):
        try:
            request_key(text)
        except ConfigurationError:
            return False
    return True


BY = Rule(f"client, route or a request key: {KEYS}", _is_known)
PREFIX = number(1, 128, int, " (bits)")


def key_of_request(by: str, prefix: int) -> KeyOf:
    """What finds the key of a request.

    ``client`` is the client's address, of an IPv6 one its first *prefix* bits, since one client has a whole network of them;
    ``route`` is the route that it takes; all others are :func:`~lbproxy.http1.keys.request_key`'s. Requests without the key count
    together: who leaves it out gains nothing.
    """
    if by == "route":
        return lambda passage: passage.route.name.encode("utf-8")
    if by == "client":
        network = _network_of(prefix)
        return lambda passage: network(passage.client.address)
    return _of_request(request_key(by))


def _network_of(prefix: int) -> Callable[[str], bytes]:
    """The key of an address. Most come from where one came before; bounded, since strangers choose where they come from."""

    @lru_cache(maxsize=4096)
    def network(text: str) -> bytes:
        address = read_address(text)
        if address is None:
            return text.encode("utf-8", "replace")[:_LONGEST]
        if isinstance(address, IPv4Address):
            return address.packed
        return b"%x/%d" % (int(address) >> 128 - prefix, prefix)

    return network


def _of_request(read: RequestKey) -> KeyOf:
    def key(passage: Passage) -> bytes:
        value = read(passage.exchange) or b""
        return value if len(value) <= _LONGEST else b"#" + blake2b(value, digest_size=32).digest()

    return key
