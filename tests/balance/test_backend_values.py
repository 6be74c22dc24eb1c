"""A backend reads the same as a text, as a table, and as the text that is made of it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend
from lbproxy.balance.backend_values import backend_of, backend_text
from lbproxy.errors import ConfigurationError

from ..support import given

PLACES = st.sampled_from((("10.0.0.1", 80), ("app.example", 8443), ("::1", 1), ("/run/app.sock", None)))
BACKENDS = st.builds(
    lambda place, **options: Backend(*place, **options),
    PLACES,
    weight=st.integers(1, 1000),
    tier=st.integers(0, 100),
    max_in_flight=st.integers(0, 1_000_000),
    proxy_protocol=st.integers(0, 2),
)
TLS = st.builds(
    lambda place, **options: Backend(*place, tls=True, **options),
    PLACES.filter(lambda place: place[1] is not None),
    verify=st.booleans(),
    verify_name=st.sampled_from(("other.example", "192.0.2.1", "2001:db8::1")),
    weight=st.integers(1, 1000),
)


class BackendValueTests(SynchronousTestCase):
    """``backend_of`` and ``backend_text``."""

    def refused(self, value: Any) -> str:
        """Why."""
        return str(self.assertRaises(ConfigurationError, backend_of, value))

    @given(BACKENDS | TLS)
    def test_the_text_reads_the_same_again(self, backend: Backend) -> None:
        """Whatever was said of it."""
        self.assertEqual(backend_of(backend_text(backend)), backend)

    def test_the_text_says_no_more_than_it_must(self) -> None:
        """What is as it would be anyhow is left out."""
        for text in ("10.0.0.1:80", "https://app.example:443", "unix:/run/app.sock:weight=2:backup", "https://[::1]:1:verify=off"):
            self.assertEqual(backend_text(Backend.parse(text)), text)

    def test_a_table(self) -> None:
        """Each key is an option of the same name."""
        for table, text in (
            ({"address": "10.0.0.1:80"}, "10.0.0.1:80"),
            ({"address": "a:1", "weight": 2, "tier": 1, "max-in-flight": 9}, "a:1:weight=2:tier=1:max-in-flight=9"),
            ({"address": "a:1", "tier": "backup", "proxy-protocol": "v2"}, "a:1:backup:proxy-protocol=v2"),
            ({"address": "https://[::1]:1", "verify": False}, "https://[::1]:1:verify=off"),
            ({"address": "https://a:1", "verify": True, "verify-name": "b"}, "https://a:1:verify-name=b"),
            ({"address": "https://a:1", "verify-name": "::1"}, "https://a:1:verify-name=[::1]"),
        ):
            self.assertEqual(backend_of(table), Backend.parse(text), table)

    def test_mistakes(self) -> None:
        """Each says what was given, and what is allowed."""
        for value, expected in (
            (7, "backend 7 was given; allowed is a text such as 10.0.0.1:8000, or a table with address"),
            ({}, "backend: no address was given; allowed is a text such as"),
            ({"address": 7}, "backend: address 7 was given; allowed is a text"),
            ({"address": "a:1", "wieght": 2}, "backend: key 'wieght' is not known (did you mean weight?); known are address,"),
            ({"address": "a:1", "weight": "2"}, "backend a:1: weight '2' was given; allowed is a whole number"),
            ({"address": "a:1", "weight": True}, "backend a:1: weight True was given; allowed is a whole number"),
            ({"address": "a:1", "weight": 0}, "weight 0 was given; allowed is a whole number from 1 to 1000"),
            ({"address": "a:1", "tier": -1}, "tier '-1' was given; allowed is a whole number from 0 to 99"),
            ({"address": "a:1", "verify": "off"}, "backend a:1: verify 'off' was given; allowed is true or false"),
            ({"address": "a:1:weight=2", "weight": 2}, "option 'weight' is given twice"),
            ({"address": "a:1", "verify-name": "b:weight=2"}, "verify-name"),
        ):
            self.assertIn(expected, self.refused(value))
