"""Settings: what is taken, and what an embedder is told of what is not."""

from __future__ import annotations

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
            wrong: tuple[Any, ...] = (-1, "3", None, True, float("nan"), float("inf"))
            for given in wrong:
                with self.assertRaises(ConfigurationError) as raised:
                    Settings(**{field.name: given})
                said = str(raised.exception)
                self.assertIn(field.name.replace("_", "-"), said)
                self.assertIn(repr(given), said)
                self.assertIn("allowed is a ", said)

    def test_counts_and_sizes_are_whole(self) -> None:
        """Half a retry is none."""
        for name in ("retries", "upstream_idle", "replay_limit", "head_limit", "field_limit", "target_limit"):
            with self.assertRaisesRegex(ConfigurationError, "a whole number"):
                Settings(**{name: 300.5})  # type: ignore[arg-type]
