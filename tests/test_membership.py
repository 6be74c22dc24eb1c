"""A pool's members are what the configuration says and what operators said at run time over it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.overlay import Overlay
from lbproxy.balance.pool import Pool
from lbproxy.balance.round_robin import RoundRobin
from lbproxy.balance.state import Change, Wish
from lbproxy.errors import ConfigurationError
from lbproxy.membership import Members, MembershipConflict, UnknownBackend


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

    def test_who_said_so(self) -> None:
        """An operator's additions and removals are told as such, the configuration's as its own."""
        self.members.add(Backend("c", 1))
        self.members.remove("a:1")
        self.members.configure(parse_backends(["a:1,b:1,d:1"]))
        told = [(change.address, change.now, change.source) for change in self.changes]
        self.assertEqual(told, [("c:1", "down", "operator"), ("a:1", "", "operator"), ("d:1", "down", "configuration")])

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
