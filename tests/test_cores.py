"""How many cores a process may use."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.cores import available, cores


class CoresTests(SynchronousTestCase):
    """Eight, unless something says less."""

    def setUp(self) -> None:
        self.groups = Path(self.mktemp())
        self.groups.mkdir()
        self.own = Path(self.mktemp())
        patched = patch("os.sched_getaffinity", lambda pid: set(range(8)), create=True)
        patched.start()
        self.addCleanup(patched.stop)

    def count(self, own: str | None = "0::/\n", **quotas: str) -> int:
        """What is found.

        :param own: what says which group is ours.
        :param quotas: by group, what its ``cpu.max`` says; underscores stand for slashes.
        """
        for group, text in quotas.items():
            folder = self.groups / group.strip("_").replace("_", "/")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cpu.max").write_text(text)
        if own is not None:
            self.own.write_text(own)
        return available(str(self.groups), str(self.own))

    def test_those_that_it_may_run_on(self) -> None:
        """Where nothing else is said, or cannot be read."""
        self.assertEqual(self.count(None), 8)
        self.assertEqual(self.count(), 8)
        self.assertEqual(self.count("1:cpu:/old\n", _="max 100000\n"), 8)
        self.assertEqual(self.count(_="something else entirely\n"), 8)

    def test_a_quota_is_rounded_up(self) -> None:
        """One and a half cores are two, and a tenth of one is one."""
        for text, cores_found in (("150000 100000", 2), ("200000 100000", 2), ("10000 100000", 1), ("1600000 100000", 8)):
            self.assertEqual(self.count(_=text), cores_found, text)

    def test_the_least_quota_on_the_way_up_counts(self) -> None:
        """A group has no more than the one that it is in."""
        quotas = {"_": "max 100000", "a": "300000 100000", "a_b": "500000 100000"}
        self.assertEqual(self.count("0::/a/b\n", **quotas), 3)
        self.assertEqual(self.count("12:cpu:/x\n0::/a\n", a="200000 100000"), 2)
        self.assertEqual(self.count("0::/elsewhere\n"), 8)

    def test_where_a_system_does_not_say_which_it_may_run_on(self) -> None:
        """All that there are, and one where it does not know that either."""
        for count, found in ((4, 4), (None, 1)):
            with patch.object(os, "cpu_count", return_value=count), patch.object(os, "sched_getaffinity", None):
                self.assertEqual(self.count(None), found)

    def test_once_asked_it_stays(self) -> None:
        """A file that says ``auto`` says the same at each reload."""
        cores.cache_clear()
        self.addCleanup(cores.cache_clear)
        with patch("lbproxy.cores.available", return_value=3):
            self.assertEqual(cores(), 3)
        with patch("lbproxy.cores.available", return_value=5):
            self.assertEqual(cores(), 3)
