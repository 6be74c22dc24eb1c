"""The filter ``addresses``."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.answers import Answer
from lbproxy.routing.filters.addresses import Addresses
from tests.routing.filters.support import live, passing
from tests.routing.support import RoutedRig
from tests.support import given, status

_NETWORKS = st.lists(
    st.builds(
        lambda value, bits: ip_network((value >> (32 - bits) << (32 - bits), bits)), st.integers(0, 7), st.integers(28, 32)
    ),
    max_size=4,
)


class AddressesTests(SynchronousTestCase):
    """Who may come."""

    def may_come(self, address: str, **lists: Any) -> bool:
        answer = live(Addresses(**lists)).request(passing(address=address))
        if isinstance(answer, Answer):
            self.assertEqual((answer.status, answer.end), (403, "forbidden"))
        return answer is None

    def test_who_is_allowed_alone_may_come(self) -> None:
        """All others are denied, also those of the other version of IP."""
        self.assertTrue(self.may_come("10.1.2.3", allow=["10.0.0.0/8"]))
        self.assertFalse(self.may_come("11.1.2.3", allow=["10.0.0.0/8"]))
        self.assertFalse(self.may_come("2001:db8::1", allow=["10.0.0.0/8"]))

    def test_who_is_denied_may_not_come(self) -> None:
        """All others may."""
        self.assertFalse(self.may_come("2001:db8::1", deny="2001:db8::/32"))
        self.assertTrue(self.may_come("10.1.2.3", deny="2001:db8::/32"))

    def test_the_smallest_network_decides(self) -> None:
        """Whichever list it is in, and of the same size the one that denies."""
        lists = dict(allow=["10.0.0.0/8", "10.1.1.1"], deny=["10.1.0.0/16", "0.0.0.0/0"])
        for address, may in (("10.0.0.1", True), ("10.1.0.1", False), ("10.1.1.1", True), ("9.9.9.9", False)):
            self.assertIs(self.may_come(address, **lists), may, address)
        self.assertFalse(self.may_come("10.0.0.1", allow=["10.0.0.0/8"], deny=["10.0.0.0/8"]))

    def test_mapped_addresses_are_ipv4(self) -> None:
        """In the lists as well."""
        self.assertTrue(self.may_come("::ffff:10.0.0.1", allow=["10.0.0.0/8"]))
        self.assertTrue(self.may_come("10.0.0.1", allow=["::ffff:10.0.0.0/104"]))

    def test_who_has_no_address_is_in_no_network(self) -> None:
        """Not even in that of everybody."""
        for address in ("unix", "unknown"):
            self.assertFalse(self.may_come(address, allow=["0.0.0.0/0", "::/0"]))
            self.assertTrue(self.may_come(address, deny=["0.0.0.0/0", "::/0"]))

    def test_one_network_is_needed(self) -> None:
        """And each must be one."""
        self.assertRaises(ConfigurationError, Addresses)
        self.assertRaises(ConfigurationError, Addresses, allow=["10.0.0.1/8"])

    @given(_NETWORKS, _NETWORKS, st.integers(0, 7))
    def test_it_is_as_if_each_network_was_looked_at(self, allow: list, deny: list, value: int) -> None:
        """The longest prefix, of those the denying ones first."""
        if not allow and not deny:
            return
        address = ip_address(value)
        rules = [(one.prefixlen, one in deny, one not in deny) for one in (*allow, *deny) if address in one]
        may = max(rules)[2] if rules else not allow
        self.assertIs(self.may_come(str(address), allow=allow, deny=deny), may)


class WholeTests(SynchronousTestCase):
    """Through a whole balancer."""

    def test_who_may_not_come_reaches_no_backend(self) -> None:
        """Others do."""
        rig = RoutedRig(Addresses(deny=["192.0.2.0/24"]))
        self.assertEqual((status(rig.refused()), rig.ended[0].end), (403, "forbidden"))
        self.assertEqual(status(rig.ask(address="198.51.100.1")[1]), 200)

    def test_behind_a_trusted_proxy_its_client_counts(self) -> None:
        """And not the proxy."""
        rig = RoutedRig(Addresses(deny=["203.0.113.9"]), trusted_proxies=["192.0.2.7"])
        asked = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.%d\r\n\r\n"
        self.assertEqual(status(rig.refused(asked % 9)), 403)
        self.assertEqual(status(rig.ask(asked % 8)[1]), 200)
