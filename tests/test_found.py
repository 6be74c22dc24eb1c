"""What an adversary found: each test fails until its cause is mended."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .support import Rig
from .test_promises_tunnels import SWITCHING, UPGRADE


class Tunnels(SynchronousTestCase):
    """Beginnings and ends of tunnels."""

    def test_who_reads_the_last_words_slowly_gets_them_whole(self) -> None:
        """As with any other response: some progress buys more time."""
        rig = Rig()
        client = rig.client()
        client.send(UPGRADE)
        backend = rig.accept()
        backend.send(SWITCHING)
        client.half_close()
        backend.send(b"x" * 60_000)
        client._full = True
        client.unsent = 60_000
        backend.half_close()
        for _ in range(6):
            rig.wait(30)
            client.unsent -= 10_000
        self.assertFalse(client.aborted)
