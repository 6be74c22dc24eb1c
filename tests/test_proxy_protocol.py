"""Promises about the PROXY protocol's header: byte for byte as the specification has it, and as Twisted reads it."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any

from hypothesis import strategies as st
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.addresses import read_address
from lbproxy.errors import BadMessage
from lbproxy.proxy_protocol import LONGEST_BLOCK, LONGEST_LINE, proxy_header, read_proxy_header

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
headers = st.builds(proxy_header, st.sampled_from((1, 2)), ends, ends)


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


def v2(command: int, family: int, addresses: bytes = b"", length: int | None = None) -> bytes:
    """A binary header of these bytes."""
    size = len(addresses) if length is None else length
    return SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + addresses


FOUR_BLOCK = b"\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb"
SIX_BLOCK = SIX_BYTES + b"\x07" + SIX_BYTES + b"\x01" + b"\xdc\x04\x01\xbb"
UNIX_BLOCK = b"/run/a.sock".ljust(108, b"\0") * 2
MAPPED = b"\0" * 10 + b"\xff\xff"

LINES = (
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", FOUR, FOUR_TOO),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535), ("255.255.255.255", 65535)),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ("0.0.0.0", 0), ("0.0.0.0", 0)),
    (b"PROXY TCP6 2001:db8::7 2001:DB8:0:0:0:0:0:1 56324 443\r\n", SIX, SIX_TOO),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6401 56324 443\r\n", FOUR, FOUR_TOO),
    (b"PROXY UNKNOWN\r\n", NOWHERE, NOWHERE),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", NOWHERE, NOWHERE),
    (b"PROXY UNKNOWN \xff\0 \r\n", NOWHERE, NOWHERE),
    (b"PROXY UNKNOWN ".ljust(LONGEST_LINE - 2, b"x") + b"\r\n", NOWHERE, NOWHERE),
)
BLOCKS = (
    (v2(0x21, 0x11, FOUR_BLOCK), FOUR, FOUR_TOO),
    (v2(0x21, 0x21, SIX_BLOCK), SIX, SIX_TOO),
    (v2(0x21, 0x21, MAPPED + FOUR_BLOCK[:4] + MAPPED + FOUR_BLOCK[4:]), FOUR, FOUR_TOO),
    # Extensions: an ALPN of h2, a checksum that is wrong, and what is none at all.
    (v2(0x21, 0x11, FOUR_BLOCK + b"\x01\x00\x02h2" + b"\x03\x00\x04nope" + b"\x04\xff\xffx"), FOUR, FOUR_TOO),
    (v2(0x21, 0x11, FOUR_BLOCK.ljust(LONGEST_BLOCK - 16, b"\0")), FOUR, FOUR_TOO),
    # LOCAL: whatever else it says is skipped.
    (v2(0x20, 0x00), NOWHERE, NOWHERE),
    (v2(0x20, 0x11, FOUR_BLOCK), NOWHERE, NOWHERE),
    (v2(0x20, 0xFF, b"anything"), NOWHERE, NOWHERE),
    # UNSPEC, in whole or in half, with and without something to be skipped.
    (v2(0x21, 0x00), NOWHERE, NOWHERE),
    (v2(0x21, 0x00, b"\x04\x00\x01x"), NOWHERE, NOWHERE),
    *((v2(0x21, family, FOUR_BLOCK), NOWHERE, NOWHERE) for family in (0x01, 0x02, 0x10, 0x20, 0x30)),
    # Defined, but no peer of a TCP connection: as UNSPEC.
    *((v2(0x21, family, SIX_BLOCK), NOWHERE, NOWHERE) for family in (0x12, 0x22)),
    *((v2(0x21, family, UNIX_BLOCK), NOWHERE, NOWHERE) for family in (0x31, 0x32)),
)
WHOLE = (*LINES, *BLOCKS)

BAD_LINES = (
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP5 192.0.2.7 198.51.100.1 56324 443\r\n",
    b"PROXY tcp4 192.0.2.7 198.51.100.1 56324 443\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY UNKNOWN a\nb\r\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY  TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
    b"PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
    b"PROXY TCP4\t192.0.2.7 198.51.100.1 56324 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n\r\n",
    *(b"PROXY TCP4 192.0.2.7 192.0.2.8 %b 443\r\n" % port for port in (b"x", b"-1", b"+1", b"01", b"1_0", b"65536", b"", b"1.")),
    *(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 %b\r\n" % port for port in (b"65536", b"99999", b"100000", b"\xb2", b"00")),
    *(
        b"PROXY TCP4 %b 198.51.100.1 56324 443\r\n" % address
        for address in (
            b"one", b"192.0.2", b"192.0.2.256", b"192.0.02.7", b"192.0.2.7.", b"3221225991", b"0x7f.1", b"::1", b"2001:db8::7",
            b"::ffff:192.0.2.7", b"6.6.6.6,7.7.7.7", b"a\nEvil:\tx", b"a\rb", b"\0", b"\xff\xff", b"192.0.2.7/32", b"",
        )
    ),
    *(
        b"PROXY TCP6 2001:db8::7 %b 56324 443\r\n" % address
        for address in (b"192.0.2.7", b"fe80::1%eth0", b"[::1]", b":::", b"1::2::3", b"12345::", b"::1/64", b"g::", b":", b".")
    ),
)  # fmt: skip
BAD_BLOCKS = (
    v2(0x11, 0x11, FOUR_BLOCK),
    v2(0x31, 0x11, FOUR_BLOCK),
    v2(0x01, 0x11, FOUR_BLOCK),
    v2(0x22, 0x11, FOUR_BLOCK),
    v2(0x2F, 0x11, FOUR_BLOCK),
    v2(0x21, 0x13, FOUR_BLOCK),
    v2(0x21, 0x41, FOUR_BLOCK),
    v2(0x21, 0xFF),
    v2(0x21, 0x11),
    v2(0x21, 0x11, FOUR_BLOCK[:-1]),
    v2(0x21, 0x21, FOUR_BLOCK),
    v2(0x21, 0x21, SIX_BLOCK[:-1]),
    v2(0x21, 0x11, FOUR_BLOCK, LONGEST_BLOCK - 15),
    v2(0x20, 0x00, b"", 0xFFFF),
)

BEGINNINGS = (b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGNATURE, SIGNATURE + b"\x21\x11")


class ReadHeaders(SynchronousTestCase):
    """The header by which a proxy before us tells whose a connection is."""

    def test_both_versions_are_read(self) -> None:
        """And how long they are: what follows is the client's."""
        for header, source, destination in WHOLE:
            for after in (b"", b"GET / HTTP/1.1\r\n", header):
                self.assertEqual(read_proxy_header(header + after), (len(header), source, destination), header)

    def test_half_a_header_is_waited_for(self) -> None:
        """However little of it is there."""
        for header, _, _ in WHOLE:
            for size in range(len(header)):
                self.assertIsNone(read_proxy_header(header[:size]), header[:size])

    def test_what_is_no_header_is_refused(self) -> None:
        """With a cause to be counted by."""
        for data in (*BAD_LINES, *BAD_BLOCKS):
            error = self.assertRaises(BadMessage, read_proxy_header, data + b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(error.cause, "proxy-protocol", data)

    def test_it_is_refused_as_soon_as_that_is_certain(self) -> None:
        """A client that knows nothing of the protocol is not waited for."""
        for data in (b"G", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"PRI * HTTP", b"\r\nG", b"\n", b" PROXY", b"proxy"):
            self.assertRaises(BadMessage, read_proxy_header, data)
        for data in BAD_BLOCKS:
            self.assertRaises(BadMessage, read_proxy_header, data[:16])

    def test_a_line_has_its_length(self) -> None:
        """107 bytes with its end, which no line needs more than; without an end it is not waited for beyond them."""
        begun = b"PROXY UNKNOWN ".ljust(LONGEST_LINE - 1, b"x")
        self.assertIsNone(read_proxy_header(begun))
        self.assertIsNone(read_proxy_header(begun[:-1] + b"\r"))
        for more in (b"x", b"\r", b"\r\n", b"x" * 10_000):
            self.assertRaises(BadMessage, read_proxy_header, begun + more)

    @given(st.sampled_from((1, 2)), ends, ends)
    def test_what_is_written_is_read(self, version: int, source: tuple[str, int], destination: tuple[str, int]) -> None:
        """Both ends come out as they went in, whole headers only."""
        header = proxy_header(version, source, destination)
        expected = [(str(read_address(host)), port) for host, port in (source, destination)]
        self.assertEqual(read_proxy_header(header + b"GET"), (len(header), *expected))
        for size in range(len(header)):
            self.assertIsNone(read_proxy_header(header[:size]))

    @given(headers, st.integers(0, 60), st.integers(0, 3), st.binary(max_size=3), st.binary(max_size=60))
    def test_whatever_comes_is_read_or_refused(self, header: bytes, place: int, gone: int, put: bytes, after: bytes) -> None:
        """And what is read is what it is written as, and what Twisted reads."""
        data = header[:place] + put + header[place + gone :] + after
        try:
            read = read_proxy_header(data)
        except BadMessage as error:
            self.assertEqual(error.cause, "proxy-protocol")
            return
        if read is None:
            self.assertLess(len(data), LONGEST_BLOCK)
            return
        size, source, destination = read
        self.assertIn(size, range(1, len(data) + 1))
        if source == NOWHERE:
            self.assertEqual(destination, NOWHERE)
            return
        for version in (1, 2):
            again = proxy_header(version, source, destination)
            self.assertEqual(read_proxy_header(again), (len(again), source, destination))
        parser: Any = V1Parser() if data.startswith(b"PROXY") else V2Parser()
        info, left = parser.feed(data)
        self.assertEqual(left, data[size:])
        for mine, theirs in ((source, info.source), (destination, info.destination)):
            self.assertEqual((as_six(mine[0]), mine[1]), (as_six(theirs.host), theirs.port))

    @given(st.sampled_from(BEGINNINGS), st.binary())
    def test_any_bytes_are_read_or_refused(self, before: bytes, data: bytes) -> None:
        """Nothing else happens."""
        try:
            read = read_proxy_header(before + data)
        except BadMessage as error:
            self.assertEqual(error.cause, "proxy-protocol")
        else:
            self.assertTrue(read is None or read[0] <= len(before + data))
