"""A pool's members are what the configuration says and what operators said at run time over it."""

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
from lbproxy.balance.state import Change, Wish
from lbproxy.config.model import PoolConfiguration
from lbproxy.discovery.file import LOOK_INTERVAL
from lbproxy.errors import ConfigurationError
from lbproxy.members import Members, MembershipConflict, Memberships, UnknownBackend

from .support import START
from .tls.fake_store import Threads


def backends(text: str) -> tuple[Backend, ...]:
    """As an operator writes them."""
    return tuple(parse_backends([text]))


class MembersTests(SynchronousTestCase):
    """``Members`` of a pool with two backends."""

    def setUp(self) -> None:
        self.pool = Pool(backends("a:1,b:1"), name="app", policy=RoundRobin())
        self.changes: list[Change] = []
        self.pool.observers.append(self.changes.append)
        self.said = 0
        self.members = Members(self.pool, self.changed)

    def changed(self) -> None:
        """What operators said is another thing."""
        self.said += 1

    def there(self) -> list[tuple[str, int]]:
        """The pool's members, with their weights."""
        return [(member.address, member.backend.weight) for member in self.pool.members.values()]

    def test_added(self) -> None:
        """It is down until a probe found it well; to add it again changes nothing."""
        for _ in range(2):
            self.members.add(Backend("c", 1, 3))
        self.assertEqual((self.there()[-1], self.pool.members["c:1"].up, self.said), (("c:1", 3), False, 1))
        self.assertEqual(len(self.changes), 1)

    def test_added_as_another_one(self) -> None:
        """One that is there is not described anew by it."""
        error = self.assertRaises(MembershipConflict, self.members.add, Backend("a", 1, 3))
        self.assertIn("backend a:1 is there already", str(error))
        self.assertEqual(self.changes, [])

    def test_removed(self) -> None:
        """The others keep their state."""
        self.pool.members["b:1"].requests = 7
        self.members.remove("a:1")
        self.assertEqual((self.there(), self.pool.members["b:1"].requests, self.said), ([("b:1", 1)], 7, 1))

    def test_the_last_one_stays(self) -> None:
        """A pool must have one."""
        self.members.remove("a:1")
        self.assertIn("is the only one", str(self.assertRaises(MembershipConflict, self.members.remove, "b:1")))
        self.assertEqual(self.there(), [("b:1", 1)])

    def test_weight(self) -> None:
        """It keeps its state, and another weight than a number in the range is refused."""
        member = self.pool.members["a:1"]
        self.members.weigh("a:1", 5)
        self.assertIs(self.pool.members["a:1"], member)
        self.assertEqual((self.there()[0], member.weight), (("a:1", 5), 5.0))
        self.assertRaises(ConfigurationError, self.members.weigh, "a:1", 0)
        self.assertEqual((self.there()[0], self.members.overlay.weights, self.said), (("a:1", 5), {"a:1": 5}, 1))

    def test_wish(self) -> None:
        """It is told to the pool, and kept with its reason."""
        self.members.wish(Wish("a:1", "drain", "update"))
        self.assertEqual((self.pool.members["a:1"].state, self.members.overlay.wishes["a:1"].reason), ("draining", "update"))
        self.members.wish(Wish("a:1", "ready"))
        self.assertEqual((self.pool.members["a:1"].state, bool(self.members.overlay), self.said), ("up", False, 2))

    def test_unknown(self) -> None:
        """The error names those that there are."""
        for say in (
            lambda: self.members.remove("x:1"),
            lambda: self.members.weigh("x:1", 2),
            lambda: self.members.wish(Wish("x:1", "drain")),
        ):
            error = self.assertRaises(UnknownBackend, say)
            self.assertEqual(str(error), "pool app: there is no backend x:1; there is a:1, b:1")
        self.assertEqual((self.said, self.changes), (0, []))

    def test_a_configuration_that_says_the_same_touches_nothing(self) -> None:
        """Not even the policy is told."""
        self.members.add(Backend("c", 1))
        self.changes.clear()
        self.pool.set_backends = self.fail  # type: ignore[assignment,method-assign]
        self.members.configure(backends("a:1,b:1"))

    def test_a_configuration_that_changes_keeps_what_was_said(self) -> None:
        """Additions, removals, weights and wishes."""
        self.members.add(Backend("c", 1))
        self.members.remove("a:1")
        self.members.weigh("b:1", 5)
        self.members.wish(Wish("b:1", "drain"))
        self.members.configure(backends("a:1,b:1,d:1"))
        self.assertEqual(self.there(), [("b:1", 5), ("d:1", 1), ("c:1", 1)])
        self.assertEqual(self.pool.members["b:1"].want, "drain")
        said = self.said
        self.members.configure(backends("b:1:weight=5,c:1"))
        self.assertEqual((self.members.overlay, self.said), (Overlay(wishes={"b:1": Wish("b:1", "drain")}), said + 1))

    def test_what_the_pool_cannot_have_changes_nothing(self) -> None:
        """A policy object is for one tier alone."""
        self.assertRaises(ConfigurationError, self.members.add, Backend("c", 1, tier=1))
        self.assertRaises(ConfigurationError, self.members.configure, backends("a:1,c:1:backup"))
        self.assertRaises(ConfigurationError, self.members.configure, ())
        self.assertEqual((self.there(), self.members.configured), ([("a:1", 1), ("b:1", 1)], backends("a:1,b:1")))
        self.assertEqual((bool(self.members.overlay), self.said), (False, 0))

    def test_an_observer_that_fails_is_none_of_the_members_business(self) -> None:
        """The pool has taken it, so it is kept."""

        def fail(change: Change) -> None:
            raise ValueError("oops")

        self.pool.observers.append(fail)
        self.members.add(Backend("c", 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.members.overlay, Overlay(added=backends("c:1")))

    def test_restored(self) -> None:
        """All that was said at another time holds, as far as there is somebody whom it concerns."""
        wish = Wish("b:1", "maintenance", "update")
        kept = Overlay(backends("c:1"), ("a:1",), {"b:1": 5}, {"b:1": wish})
        self.members.restore(
            Overlay(backends("c:1"), ("a:1", "x:1"), {"b:1": 5, "x:1": 2}, {"b:1": wish, "x:1": Wish("x:1", "drain")})
        )
        self.assertEqual((self.there(), self.members.overlay), ([("b:1", 5), ("c:1", 1)], kept))
        self.assertEqual(self.pool.members["b:1"].evidence["operator"], "update")


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
