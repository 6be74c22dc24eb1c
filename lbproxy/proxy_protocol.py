"""The PROXY protocol's header, by which a connection begins with whose it is: a client's, from a proxy before us, and ours to a
backend. Pure.

The source is HAProxy's ``proxy-protocol.txt``: section 2.1 for version 1, which is a line of text, and 2.2 for version 2, which
is binary.
"""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address, IPv6Address

from .addresses import Address, read_address
from .errors import BadMessage

__all__ = ["proxy_header", "read_proxy_header"]

#: The longest line of version 1, its line end included (section 2.1).
LONGEST_LINE = 107
#: The longest header of version 2 that is taken. It may be 64 KiB long, all but the first 52 bytes of it extensions (TLVs) that
#: are of no use here, and until it is whole it is kept: for everyone who can connect. nginx takes as many.
LONGEST_BLOCK = 4096

_End = tuple[Address, int]

_NOWHERE = ("", 0)

_WORD = b"PROXY "
# Of what follows UNKNOWN nothing counts. What is no address is found out by reading it; a zone is none of the characters.
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
)

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# Version 2 and the command PROXY; the family and, of both families, the protocol TCP.
_VERSION_AND_COMMAND = 0x21
_UNSPEC, _TCP4, _TCP6 = 0x00, 0x11, 0x21
# What follows the signature: version and command, family and protocol, length.
_FIXED = struct.Struct("!BBH")
_START = len(_SIGNATURE) + _FIXED.size


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
    """Both ends; None unless both are known. Through Twisted's wrapper a header may hold anything: it checks nothing."""
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
    return _SIGNATURE + _FIXED.pack(_VERSION_AND_COMMAND, family, len(addresses)) + addresses


def _packed(address: Address, width: int) -> bytes:
    return address.packed if width == len(address.packed) else b"\0" * 10 + b"\xff\xff" + address.packed


def read_proxy_header(data: bytes) -> tuple[int, tuple[str, int], tuple[str, int]] | None:
    """The header at the beginning of *data*, of either version; None while it is not whole.

    A header may tell of no ends: ``UNKNOWN``, the command LOCAL (the proxy's own connection, such as a probe), the family or the
    protocol UNSPEC. So is taken what cannot be the peer of a TCP connection, Unix sockets and datagrams, as section 2.2 allows;
    what it does not define is refused, as it demands. Extensions (TLVs) are skipped unread. So is the checksum among them, whose
    check is left to the receiver: TCP has one of its own, and whoever forges a header can compute it.

    An address of either version is written as :mod:`ipaddress` does; a mapped one as the IPv4 address that it means.

    :return: the header's size in bytes, and IP address and port of the source and the destination; both ``("", 0)`` where none
        are told: then the connection's own ends hold.
    :raises BadMessage: for what is no header, as soon as that is certain.
    """
    if _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        return _read_binary(data) if len(data) >= _START else None
    if _WORD.startswith(data[: len(_WORD)]):
        return _read_text(data)
    raise _bad("there is none")


def _bad(detail: str) -> BadMessage:
    return BadMessage("proxy-protocol", f"not a header: {detail}")


def _read_text(data: bytes) -> tuple[int, tuple[str, int], tuple[str, int]] | None:
    size = data.find(b"\r\n", 0, LONGEST_LINE) + 2
    if size < 2:
        if len(data) >= LONGEST_LINE:
            raise _bad(f"the line is longer than {LONGEST_LINE} bytes")
        return None
    found = _LINE.fullmatch(data, 0, size)
    if found is None:
        raise _bad("the line is malformed")
    version, source, destination, source_port, destination_port = found.groups()
    if version is None:
        return size, _NOWHERE, _NOWHERE
    kind = IPv4Address if version == b"4" else IPv6Address
    return size, _end(kind, source.decode(), int(source_port)), _end(kind, destination.decode(), int(destination_port))


def _read_binary(data: bytes) -> tuple[int, tuple[str, int], tuple[str, int]] | None:
    command, family, length = _FIXED.unpack_from(data, len(_SIGNATURE))
    size = _START + length
    if command >> 4 != 2 or command & 0xF > 1:
        raise _bad(f"version and command 0x{command:02x} are not known")
    if size > LONGEST_BLOCK:
        raise _bad(f"it is longer than {LONGEST_BLOCK} bytes")
    local = command & 0xF == 0
    if not local and (family >> 4 > 3 or family & 0xF > 2):
        raise _bad(f"family and protocol 0x{family:02x} are not known")
    width = 0 if local else {_TCP4: 4, _TCP6: 16}.get(family, 0)
    if width and length < 2 * width + 4:
        raise _bad("its addresses are cut short")
    if len(data) < size:
        return None
    if not width:
        return size, _NOWHERE, _NOWHERE
    kind = IPv4Address if width == 4 else IPv6Address
    source, destination, source_port, destination_port = struct.unpack_from(f"!{width}s{width}sHH", data, _START)
    return size, _end(kind, source, source_port), _end(kind, destination, destination_port)


def _end(kind: type[Address], address: str | bytes, port: int) -> tuple[str, int]:
    """One end of a connection as it is called everywhere else."""
    try:
        read = kind(address)
    except ValueError:
        raise _bad("an address is none of its family") from None
    if port > 0xFFFF:
        raise _bad("a port is larger than 65535")
    return str(read.ipv4_mapped or read if isinstance(read, IPv6Address) else read), port
