"""Promises about the PROXY protocol's header: byte for byte as the specification has it, and as Twisted reads it."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any

from hypothesis import strategies as st
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.proxy_protocol import proxy_header

from .support import given

FOUR, FOUR_TOO = ("192.0.2.7", 56324), ("198.51.100.1", 443)
SIX, SIX_TOO = ("2001:db8::7", 56324), ("2001:db8::1", 443)
NOWHERE = ("", 0)

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
SIX_BYTES = b"\x20\x01\x0d\xb8" + b"\x00" * 11

ports = st.integers(0, 65535)
fours = st.tuples(st.ip_addresses(v=4).map(str), ports)
sixes = st.tuples(st.ip_addresses(v=6).map(str), ports)
ends = st.one_of(fours, sixes)


def as_six(address: str) -> IPv6Address:
    """An address of either kind as IPv6."""
    read = ip_address(address)
    return read if isinstance(read, IPv6Address) else IPv6Address(f"::ffff:{address}")


def as_read(parser: Any, version: int, source: tuple[str, int], destination: tuple[str, int]) -> tuple:
    """Both ends as Twisted reads them from the header, the addresses as IPv6; and what is left, which must be the request."""
    info, left = parser.feed(proxy_header(version, source, destination) + b"GET / HTTP/1.1\r\n")
    read = [(as_six(end.host), end.port) for end in (info.source, info.destination)]
    return (*read, left)


class ProxyHeaders(SynchronousTestCase):
    """The header by which a backend learns whose connection it has."""

    def test_version_1_is_a_line_of_text(self) -> None:
        """Section 2.1: the family, the addresses, the ports, with single spaces."""
        self.assertEqual(proxy_header(1, FOUR, FOUR_TOO), b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n")
        self.assertEqual(proxy_header(1, SIX, SIX_TOO), b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n")

    def test_version_2_is_binary(self) -> None:
        """Section 2.2: signature, version and command, family and protocol, length, addresses, ports."""
        self.assertEqual(
            proxy_header(2, FOUR, FOUR_TOO),
            SIGNATURE + b"\x21\x11\x00\x0c" + b"\xc0\x00\x02\x07" + b"\xc6\x33\x64\x01" + b"\xdc\x04" + b"\x01\xbb",
        )
        self.assertEqual(
            proxy_header(2, SIX, SIX_TOO),
            SIGNATURE + b"\x21\x21\x00\x24" + SIX_BYTES + b"\x07" + SIX_BYTES + b"\x01" + b"\xdc\x04" + b"\x01\xbb",
        )

    def test_ends_of_two_families_are_written_as_ipv6(self) -> None:
        """The IPv4 one as a mapped address, in hexadecimal digits as version 1 wants them."""
        self.assertEqual(proxy_header(1, FOUR, SIX_TOO), b"PROXY TCP6 ::ffff:c000:207 2001:db8::1 56324 443\r\n")
        self.assertEqual(proxy_header(1, SIX, FOUR_TOO), b"PROXY TCP6 2001:db8::7 ::ffff:c633:6401 56324 443\r\n")
        mapped = b"\x00" * 10 + b"\xff\xff\xc0\x00\x02\x07"
        self.assertEqual(
            proxy_header(2, FOUR, SIX_TOO),
            SIGNATURE + b"\x21\x21\x00\x24" + mapped + SIX_BYTES + b"\x01" + b"\xdc\x04" + b"\x01\xbb",
        )

    def test_a_mapped_client_is_an_ipv4_one(self) -> None:
        """A listener for both families names its IPv4 clients by mapped addresses."""
        mapped, mapped_too = ("::ffff:192.0.2.7", 56324), ("::ffff:198.51.100.1", 443)
        for version in (1, 2):
            self.assertEqual(proxy_header(version, mapped, mapped_too), proxy_header(version, FOUR, FOUR_TOO))

    def test_an_end_that_is_not_known_is_said_to_be_so(self) -> None:
        """Neither end is told then; the connection is still one made for somebody else, so that it is not called LOCAL."""
        for source, destination in ((NOWHERE, NOWHERE), (FOUR, NOWHERE), (NOWHERE, SIX), (("unknown", 0), FOUR)):
            self.assertEqual(proxy_header(1, source, destination), b"PROXY UNKNOWN\r\n")
            self.assertEqual(proxy_header(2, source, destination), SIGNATURE + b"\x21\x00\x00\x00")

    def test_what_a_header_that_came_in_held_goes_no_further_unread(self) -> None:
        """Twisted takes any text for an address, and any number for a port."""
        for end in (("1.2.3.4 ", 1), ("evil\r\nGET", 1), ("fe80::1%a\nb%", 1), ("1.2.3.4", -1), ("1.2.3.4", 65536)):
            for version in (1, 2):
                self.assertEqual(proxy_header(version, end, FOUR), proxy_header(version, NOWHERE, NOWHERE))
                self.assertEqual(proxy_header(version, FOUR, end), proxy_header(version, NOWHERE, NOWHERE))

    def test_a_zone_is_left_out(self) -> None:
        """It means nothing on another machine."""
        for version in (1, 2):
            with_zone = proxy_header(version, ("fe80::1%eth0", 5), ("fe80::2%\n", 6))
            self.assertEqual(with_zone, proxy_header(version, ("fe80::1", 5), ("fe80::2", 6)))

    @given(ends, ends)
    def test_twisted_reads_version_1(self, source: tuple[str, int], destination: tuple[str, int]) -> None:
        """Both ends come out as they went in, and the request after them whole."""
        expected = ((as_six(source[0]), source[1]), (as_six(destination[0]), destination[1]), b"GET / HTTP/1.1\r\n")
        self.assertEqual(as_read(V1Parser(), 1, source, destination), expected)

    @given(ends, ends)
    def test_twisted_reads_version_2(self, source: tuple[str, int], destination: tuple[str, int]) -> None:
        """Both ends come out as they went in, and the request after them whole."""
        expected = ((as_six(source[0]), source[1]), (as_six(destination[0]), destination[1]), b"GET / HTTP/1.1\r\n")
        self.assertEqual(as_read(V2Parser(), 2, source, destination), expected)

    @given(st.tuples(st.text(max_size=50), st.integers()), st.tuples(st.text(max_size=50), st.integers()))
    def test_whatever_the_ends_are_the_header_is_one(self, source: tuple[str, int], destination: tuple[str, int]) -> None:
        """One line of at most 107 bytes, or a block of the length that it names."""
        line = proxy_header(1, source, destination)
        self.assertEqual((line[:6], line.find(b"\r\n"), line.count(b"\n")), (b"PROXY ", len(line) - 2, 1))
        self.assertLessEqual(len(line), 107)
        block = proxy_header(2, source, destination)
        self.assertEqual((block[:12], int.from_bytes(block[14:16], "big")), (SIGNATURE, len(block) - 16))

    def test_twisted_takes_version_2_of_an_unknown_end(self) -> None:
        """It goes by the connection's own ends."""
        parser: Any = V2Parser()
        info, left = parser.feed(proxy_header(2, NOWHERE, NOWHERE) + b"GET")
        self.assertEqual((info.source, info.destination, left), (None, None, b"GET"))
