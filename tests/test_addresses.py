"""Promises about addresses that peers write, and the networks that they are in."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.addresses import Networks, node_address, read_address

from .support import given

addresses = st.ip_addresses().map(lambda address: read_address(str(address)))
# Of IPv6 the global ones, so that none holds mapped addresses, of which there are tests of their own.
networks = st.one_of(
    st.builds(IPv4Network, st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.just(False)),
    st.builds(IPv6Network, st.tuples(st.ip_addresses(network="2000::/3"), st.integers(3, 128)), st.just(False)),
)


class Addresses(SynchronousTestCase):
    """An address is read in every form that it is written in, and nothing else is one."""

    def test_every_form_of_a_node_is_read(self) -> None:
        """With a port, in brackets, hidden ports of RFC 7239 included."""
        for text, address in (
            (b"1.2.3.4", "1.2.3.4"),
            (b"1.2.3.4:5678", "1.2.3.4"),
            (b"1.2.3.4:_port-1", "1.2.3.4"),
            (b"::1", "::1"),
            (b"[::1]", "::1"),
            (b"[::1]:80", "::1"),
            (b"[2001:DB8:0:0::1]:_x", "2001:db8::1"),
            (b"2001:db8::1:80", "2001:db8::1:80"),
            (b"::ffff:1.2.3.4", "1.2.3.4"),
            (b"[::ffff:102:304]:80", "1.2.3.4"),
            (b"fe80::1%eth0", "fe80::1"),
            (b"[fe80::1%eth0]:80", "fe80::1"),
        ):
            self.assertEqual(str(node_address(text)), address, text)

    def test_what_is_no_address_is_none(self) -> None:
        """Names, numbers, unknown and hidden nodes, and what only begins as an address."""
        for text in (
            b"", b"unknown", b"_hidden", b"_1.2.3.4", b"localhost", b"16909060", b"0x1020304", b"1.2.3", b"1.2.3.256",
            b"01.2.3.4", b"1.2.3.4:", b"1.2.3.4:x", b"1.2.3.4:123456", b"1.2.3.4 ", b"1.2.3.4 5.6.7.8", b"[1.2.3.4]", b"[::1",
            b"::1]", b"[::1]80", b"[]", b"[::g]", b"1.2.3.4%eth0", b"\xb2.2.3.4", b"1.2.3.4\n", b"::1\n", b"<script>",
            b"fe80::1%" + b"a" * 20000,
        ):  # fmt: skip
            self.assertIsNone(node_address(text), text)

    @given(st.one_of(st.text(max_size=120), st.text().map("fe80::1%".__add__), st.text().map("1.2.3.4".__add__)))
    def test_what_is_read_is_written_safely(self, text: str) -> None:
        """An address is hexadecimal digits, dots and colons, whatever stood in its zone."""
        address = read_address(text)
        if address is not None:
            self.assertRegex(str(address), r"\A[0-9a-f.:]+\Z")
            self.assertEqual(read_address(str(address)), address)


class NetworkSets(SynchronousTestCase):
    """Whether an address is in one of many networks."""

    @given(st.lists(networks, max_size=8), addresses)
    def test_a_set_holds_what_its_networks_hold(self, given_networks: list, address) -> None:
        """As asking each in turn would find."""
        self.assertEqual(address in Networks(given_networks), any(address in network for network in given_networks))

    @given(networks, st.integers(0))
    def test_a_set_holds_all_of_a_network(self, network, number: int) -> None:
        """From its first address to its last."""
        own = Networks([network])
        for place in (0, number % network.num_addresses, network.num_addresses - 1):
            self.assertIn(read_address(str(network[place])), own)

    def test_mapped_networks_mean_ipv4_ones(self) -> None:
        """An operator may write them as the addresses in a log are written."""
        own = Networks([ip_network("::ffff:10.0.0.0/104"), ip_network("::ffff:192.0.2.1")])
        for text, inside in (("10.255.0.1", True), ("11.0.0.1", False), ("192.0.2.1", True), ("192.0.2.2", False)):
            self.assertEqual(ip_address(text) in own, inside, text)

    def test_all_of_ipv6_is_no_ipv4(self) -> None:
        """Trusting one family trusts nobody of the other, mapped or not."""
        self.assertNotIn(read_address("::ffff:1.2.3.4"), Networks([ip_network("::/0")]))
        self.assertNotIn(read_address("::1"), Networks([ip_network("0.0.0.0/0")]))

    def test_a_thousand_networks_are_as_one(self) -> None:
        """What is looked up is a prefix of each length, not each network."""
        many = Networks([ip_network(f"10.{number // 256}.{number % 256}.0/24") for number in range(1000)])
        (kept,) = many._prefixes[32]
        self.assertEqual((kept[0], len(kept[1])), (8, 1000))
        self.assertIn(ip_address("10.3.231.9"), many)
        self.assertNotIn(ip_address("10.3.232.9"), many)
