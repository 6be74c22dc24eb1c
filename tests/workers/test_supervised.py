"""Where several workers can be."""

from __future__ import annotations

import os
from unittest.mock import patch

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy import Configuration, PoolConfiguration
from lbproxy.errors import ConfigurationError
from lbproxy.workers.supervisor import supervised


class SystemTests(SynchronousTestCase):
    """Not on every system."""

    def test_a_system_without_shared_memory_of_that_kind(self) -> None:
        """It is said before anything is started."""
        memory = getattr(os, "memfd_create", None)
        configuration = Configuration(pools=(PoolConfiguration(backends=("a:1",)),), workers=3)
        with patch.object(os, "memfd_create", memory, create=True):
            del os.memfd_create
            error = self.assertRaises(ConfigurationError, supervised, configuration, reactor=MemoryReactorClock())
        self.assertEqual(str(error), "workers: 3 was given; several workers need Linux; allowed is 1")
