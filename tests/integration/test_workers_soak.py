"""``python -m bench soak`` in short: several workers under a mixed load, reloaded and killed, pass its checks."""

from __future__ import annotations

import os

from bench.soak.engine import Schedule, Soak

from .support import IntegrationTestCase

SECONDS = float(os.environ.get("LBPROXY_SOAK_SECONDS", "15"))


class SoakTests(IntegrationTestCase):
    """Its engine and its checks; the long run is another matter of patience alone."""

    def test_nothing_is_lost_and_memory_is_level(self) -> None:
        """No request fails but those that a killed worker had in hand, reloads go well meanwhile, and no process grows."""
        told: list[str] = []
        schedule = Schedule(SECONDS, workers=2, warm_up=SECONDS / 5, reload_every=SECONDS / 5, kill_every=SECONDS / 3)
        story = Soak(schedule, self.folder, told.append).run()
        self.assertEqual(story.problems, [], told)
        self.assertEqual((story.reloads, len(story.kills)), (5, 3))
        self.assertEqual({sample.name for sample in story.samples}, {"supervisor", "worker 0", "worker 1"})
        self.assertGreater(min(story.answered.values()), 0)
