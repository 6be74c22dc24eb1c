"""IP addresses as peers write them, and the networks that they are in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from .settings import Network

__all__ = ["LONGEST_NODE", "Address", "Networks", "as_ipv4", "node_address", "read_address"]

Address = IPv4Address | IPv6Address

# With a port, or in brackets, or both. A port may be hidden behind a name (RFC 7239 section 6.3).
_WITH_PORT = re.compile(r"(?:\[([^\]]*:[^\]]*)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?\Z")

#: The longest that can be an address, with a zone, brackets and a port; whatever is longer is not looked at.
LONGEST_NODE = 100

#: Where IPv6 holds the IPv4 addresses.
_MAPPED = IPv6Network("::ffff:0:0/96")


def read_address(text: str) -> Address | None:
    """The IP address that *text* is; None when it is none.

    An IPv4-mapped IPv6 address is read as the IPv4 one, so that a client is the same whichever kind of socket took it. The zone
    of an IPv6 address (``%eth0``) is left out: it means something on the machine that wrote it only (RFC 4007 section 11), and
    :mod:`ipaddress` takes any text for it, line ends included.
    """
    if len(text) > LONGEST_NODE:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or (IPv6Address(int(address)) if "%" in text else address)


def node_address(node: bytes) -> Address | None:
    """The address of one proxy's or client's entry in a chain, with or without a port: ``1.2.3.4``, ``1.2.3.4:5678``, ``::1``,
    ``[::1]`` or ``[::1]:80``; None for what is no address, such as ``unknown`` or ``_hidden``.
    """
    text = node[: LONGEST_NODE + 1].decode("latin-1")
    found = _WITH_PORT.match(text)
    return read_address(text if found is None else found[1] or found[2])


class Networks:
    """A set of networks, asked whether an address is in it.

    They are kept by the length of their prefix, so that an answer takes a look-up for each length there is (33 and 129 at most)
    and not one for each network: a chain of trusted addresses asks for every link.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, networks: Iterable[Network]) -> None:
        prefixes: dict[tuple[int, int], set[int]] = {}
        for network in map(as_ipv4, networks):
            bits = network.max_prefixlen
            shift = bits - network.prefixlen
            prefixes.setdefault((bits, shift), set()).add(int(network.network_address) >> shift)
        self._prefixes = {
            bits: [(shift, values) for (kind, shift), values in prefixes.items() if kind == bits] for bits in (32, 128)
        }

    def __contains__(self, address: Address) -> bool:
        value = int(address)
        return any(value >> shift in values for shift, values in self._prefixes[address.max_prefixlen])


def as_ipv4(network: Network) -> Network:
    """The IPv4 network that an IPv6 one of mapped addresses means; any other as it is."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
    return network
