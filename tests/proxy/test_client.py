"""Promises about what is remembered of a client."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.proxy.client import NOWHERE, Client
from lbproxy.proxy.forwarding import Forwarding

from ..support import given


class Clients(SynchronousTestCase):
    """Who asks."""

    def test_a_client_of_its_address_alone_is_like_most(self) -> None:
        """Its requests share it, it brings no request id, and its Host is the request's own."""
        lines = b"X-Forwarded-For: 192.0.2.7\r\n"
        client = Client("192.0.2.7", True, lines)
        self.assertEqual((client.address, client.secure, client.forwarded), ("192.0.2.7", True, lines))
        self.assertEqual((client.forwarded_host, client.request_id), (None, b""))
        self.assertEqual((client.varies, client.trusted, client.source, client.destination), (False, False, NOWHERE, NOWHERE))

    def test_a_client_is_small(self) -> None:
        """There is one for each connection, of which there may be many thousands."""
        self.assertFalse(hasattr(Client("unix", False, b""), "__dict__"))

    @given(st.one_of(st.text(), st.just("fe80::1%\nX-Evil: 1"), st.sampled_from(["1.2.3.4\r\nX: y", "1.2.3.4 ", "::1%"])))
    def test_a_client_is_an_address_or_unknown(self, text: str) -> None:
        """Whatever a listener calls it, it adds two lines, and nothing in them is what was not read as an address."""
        lines = Forwarding().client(NOWHERE, NOWHERE, False, text).forwarded.splitlines()
        self.assertEqual((len(lines), lines[1]), (2, b"X-Forwarded-Proto: http"))
        self.assertRegex(lines[0], rb"\AX-Forwarded-For: (?:[0-9a-f.:]+|unix|unknown)\Z")
