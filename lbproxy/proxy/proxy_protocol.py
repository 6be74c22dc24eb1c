"""The PROXY protocol's header, by which a connection to a backend begins with whose it is. Pure.

The source is HAProxy's ``proxy-protocol.txt``: section 2.1 for version 1, which is a line of text, and 2.2 for version 2, which
is binary.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from .addresses import Address, read_address

__all__ = ["proxy_header"]

_End = tuple[Address, int]

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# Version 2 and the command PROXY; the family and, of both families, the protocol TCP.
_VERSION_AND_COMMAND = 0x21
_UNSPEC, _TCP4, _TCP6 = 0x00, 0x11, 0x21


def proxy_header(version: int, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """The header for a connection that is made on behalf of a client.

    Where one end is IPv4 and the other IPv6, both are written as IPv6, the one as a mapped address. Where an end is not known (a
    Unix socket's, or a PROXY protocol header's that came in with none) neither is told: version 1 says ``UNKNOWN``, and version
    2 the command PROXY with the family UNSPEC, after which the backend goes by the connection's own ends, or refuses it. The
    command LOCAL would be wrong: it is for connections that the sender makes for itself, such as probes, which a backend may
    let by where it asks who a client is.

    :param version: 1 or 2.
    :param source: IP address and port of the client; ``("", 0)`` where there is none. Zones are left out.
    :param destination: of what the client connected to.
    """
    ends = _ends(source, destination)
    return _text(ends) if version == 1 else _binary(ends)


def _ends(source: tuple[str, int], destination: tuple[str, int]) -> tuple[_End, _End] | None:
    """Both ends; None unless both are known. A header that came in may hold anything, since Twisted does not check it."""
    first, second = read_address(source[0]), read_address(destination[0])
    if first is None or second is None or not (0 <= source[1] <= 0xFFFF and 0 <= destination[1] <= 0xFFFF):
        return None
    return (first, source[1]), (second, destination[1])


def _is_ipv4(ends: tuple[_End, _End]) -> bool:
    return all(isinstance(address, IPv4Address) for address, _ in ends)


def _text(ends: tuple[_End, _End] | None) -> bytes:
    if ends is None:
        return b"PROXY UNKNOWN\r\n"
    (source, source_port), (destination, destination_port) = ends
    if _is_ipv4(ends):
        line = f"PROXY TCP4 {source} {destination} {source_port} {destination_port}\r\n"
    else:
        line = f"PROXY TCP6 {_as_ipv6(source)} {_as_ipv6(destination)} {source_port} {destination_port}\r\n"
    return line.encode("ascii")


def _as_ipv6(address: Address) -> str:
    # In hexadecimal digits and colons, as the specification asks: newer Pythons write a mapped address with dots.
    return f"::ffff:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}" if isinstance(address, IPv4Address) else str(address)


def _binary(ends: tuple[_End, _End] | None) -> bytes:
    family, addresses = _UNSPEC, b""
    if ends is not None:
        (source, source_port), (destination, destination_port) = ends
        family, width = (_TCP4, 4) if _is_ipv4(ends) else (_TCP6, 16)
        addresses = _packed(source, width) + _packed(destination, width) + struct.pack("!HH", source_port, destination_port)
    return _SIGNATURE + struct.pack("!BBH", _VERSION_AND_COMMAND, family, len(addresses)) + addresses


def _packed(address: Address, width: int) -> bytes:
    return address.packed if width == len(address.packed) else b"\0" * 10 + b"\xff\xff" + address.packed
