"""All pools of a site have their members, from configurations, files and operators, and each by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.overlay import Overlay
from lbproxy.balance.pool import Pool
from lbproxy.balance.round_robin import RoundRobin
from lbproxy.config.model import PoolConfiguration
from lbproxy.discovery.file import LOOK_INTERVAL
from lbproxy.errors import ConfigurationError
from lbproxy.members import Memberships

from .support import START
from .tls.fake_store import Threads


def backends(text: str) -> tuple[Backend, ...]:
    """As an operator writes them."""
    return tuple(parse_backends([text]))


class MembershipsTests(SynchronousTestCase):
    """``Memberships`` of two pools."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.memberships = Memberships(self.clock, Threads())
        self.addCleanup(self.memberships.stop)
        self.said = 0
        self.memberships.observers.append(self.changed)
        self.app = Pool(backends("a:1,b:1"), name="app")
        self.other = Pool(backends("o:1"), name="other")
        for pool in (self.app, self.other):
            self.memberships.configure(pool)

    def changed(self) -> None:
        """What operators said is another thing."""
        self.said += 1

    def file(self, text: str) -> str:
        """A file that lists backends."""
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        return str(path)

    def there(self, pool: Any = None) -> list[str]:
        """The addresses of a pool's members."""
        return list((pool or self.app).members)

    def test_what_was_said_is_known_by_pool(self) -> None:
        """Pools of which nothing was said are left out."""
        self.memberships.of(self.app).remove("a:1")
        self.assertEqual((self.memberships.overlays, self.said), ({"app": Overlay(removed=("a:1",))}, 1))

    def test_a_file(self) -> None:
        """It is watched while the memberships run, and what was said holds over it."""
        path = self.file("a:1\nf:1\n")
        self.memberships.of(self.app).add(Backend("c", 1))
        self.memberships.configure(self.app, backends("a:1,f:1"), path)
        self.assertEqual(self.there(), ["a:1", "f:1", "c:1"])
        Path(path).write_text("f:1\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.memberships.start()
        self.assertEqual(self.there(), ["f:1", "c:1"])
        self.memberships.configure(self.app, (), path)  # a reload that says the same
        self.assertEqual((self.there(), len(self.clock.getDelayedCalls())), (["f:1", "c:1"], 1))
        self.memberships.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_a_configuration_names(self) -> None:
        """By itself, or by a file, whose mistakes are the configuration's."""
        read = self.memberships.read
        self.assertEqual(read(PoolConfiguration(backends=backends("a:1,b:1"))), backends("a:1,b:1"))
        self.assertEqual(read(PoolConfiguration(backends_file=self.file("c:1"))), backends("c:1"))
        error = self.assertRaises(ConfigurationError, read, PoolConfiguration(backends_file="/nowhere"))
        self.assertTrue(str(error).startswith("/nowhere: "))

    def test_another_file_and_none(self) -> None:
        """The one before is watched no more; a pool that comes by a reload has its file watched at once."""
        self.memberships.start()
        first, second = self.file("a:1\n"), self.file("s:1\n")
        self.memberships.configure(self.app, backends("a:1"), first)
        self.memberships.configure(self.app, backends("s:1"), second)
        os.unlink(first)
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual((self.there(), self.memberships.files["app"].reads["failure"]), (["s:1"], 0))
        self.memberships.configure(self.app, backends("a:1"))
        self.assertEqual((self.there(), self.memberships.files, self.clock.getDelayedCalls()), (["a:1"], {}, []))

    def test_a_pool_that_goes(self) -> None:
        """Its file and what was said of it go with it."""
        self.memberships.start()
        self.memberships.configure(self.app, (), self.file("a:1\nb:1\n"))
        self.memberships.of(self.app).remove("a:1")
        self.memberships.drop("app")
        self.memberships.drop("app")
        self.assertEqual((self.memberships.overlays, self.memberships.files, self.clock.getDelayedCalls()), ({}, {}, []))
        self.assertEqual((self.said, list(self.memberships.members)), (2, ["other"]))

    def test_another_pool_under_a_name(self) -> None:
        """What was said of the one before holds for it."""
        self.memberships.of(self.app).remove("a:1")
        pool = Pool(backends("a:1,c:1"), name="app")
        self.memberships.of(pool)
        self.assertEqual((self.there(pool), self.there()), (["c:1"], ["b:1"]))

    def test_restored(self) -> None:
        """The log says what is dropped because there is nobody whom it concerns."""
        with capturedLogs() as events:
            self.memberships.restore(
                {
                    "app": Overlay(removed=("a:1", "x:1")),
                    "gone": Overlay(removed=("a:1",)),
                    "other": Overlay(weights={"o:1": 2}),
                }
            )
        self.assertEqual((self.there(), self.memberships.overlays["other"].weights), (["b:1"], {"o:1": 2}))
        logged = [formatEvent(event) for event in events]
        self.assertEqual(len(logged), 2)
        self.assertIn("of pool app at run time", logged[0])
        self.assertIn("there is no such pool", logged[1])

    def test_what_a_pool_cannot_have_is_not_restored(self) -> None:
        """The others get theirs."""
        self.memberships.of(Pool(backends("z:1"), name="z", policy=RoundRobin()))
        with capturedLogs() as events:
            self.memberships.restore({"z": Overlay(added=backends("y:1:backup")), "app": Overlay(removed=("a:1",))})
        self.assertEqual((self.there(), len(events)), (["b:1"], 1))
