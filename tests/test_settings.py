"""Settings: what is taken, and what an embedder is told of what is not."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy import Settings
from lbproxy.errors import ConfigurationError


class SettingsTests(SynchronousTestCase):
    """Every field has a range, and its error names it."""

    def test_defaults_are_in_their_ranges(self) -> None:
        """Settings() can be made."""
        self.assertEqual(Settings().retries, 3)

    def test_what_is_out_of_range_is_refused_by_name(self) -> None:
        """The message names the setting, what was given and what is allowed."""
        for field in attrs.fields(Settings):
            wrong: list[Any] = [-1, "a b", None, float("nan"), float("inf")]
            if not isinstance(field.default, bool):
                wrong.append(True)
            for given in wrong:
                with self.assertRaises(ConfigurationError) as raised:
                    Settings(**{field.name: given})
                said = str(raised.exception)
                self.assertIn(field.name.replace("_", "-"), said)
                self.assertIn("" if field.name == "sticky_key" else repr(given), said)  # a secret is not shown
                self.assertIn("allowed is a ", said)

    def test_trusted_proxies_are_addresses_and_networks(self) -> None:
        """Of either version, as texts or as values."""
        networks = Settings(trusted_proxies=("10.0.0.0/8", "::1", ip_network("192.0.2.0/24"))).trusted_proxies
        self.assertEqual([str(network) for network in networks], ["10.0.0.0/8", "::1/128", "192.0.2.0/24"])

    def test_every_mistaken_network_is_named(self) -> None:
        """At once; host bits below the mask are a mistake too."""
        with self.assertRaises(ConfigurationError) as raised:
            Settings(trusted_proxies=("10.0.0.1/8", "::1", "proxy.example.org", 5))
        said = str(raised.exception).splitlines()
        self.assertEqual(len(said), 3)
        self.assertIn("'10.0.0.1/8' was given, which is none (10.0.0.1/8 has host bits set)", said[0])
        self.assertIn("'proxy.example.org' was given", said[1])
        self.assertIn("5 was given, which is none (it is no text)", said[2])

    def test_a_name_for_via(self) -> None:
        """A pseudonym, or a host with its port."""
        for name in ("", "lb-1", "lb.example.org:8080", "[::1]:80"):
            self.assertEqual(Settings(via=name).via, name)

    def test_counts_and_sizes_are_whole(self) -> None:
        """Half a retry is none."""
        for name in ("retries", "upstream_idle", "replay_limit", "head_limit", "field_limit", "target_limit"):
            with self.assertRaisesRegex(ConfigurationError, "a whole number"):
                Settings(**{name: 300.5})  # type: ignore[arg-type]
