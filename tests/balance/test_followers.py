"""Promises about those who follow a pool: they are told what it was told, and can have all of what it knows."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.known import Known
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Change, Verdict, Wish
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IPoolControl
from lbproxy.settings import Settings


@implementer(IPoolControl)
class Follower:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def set_backends(self, backends: Any, source: str = "configuration") -> None:
        self.told.append((tuple(backends), source))

    def apply(self, verdict: Verdict) -> None:
        self.told.append(verdict)

    def wish(self, wish: Wish) -> None:
        self.told.append(wish)

    def know(self, known: Known) -> None:
        self.told.append(known)


class FollowedCase(SynchronousTestCase):
    """A pool of two with a follower, and a clock."""

    def setUp(self) -> None:
        self.now = 100.0
        self.pool = self.make()
        self.follower = Follower()
        self.pool.followers.append(self.follower)

    def make(self, **settings: Any) -> Pool:
        return Pool(parse_backends(["a:1,b:2"]), seconds=lambda: self.now, settings=Settings(**settings))


class Followers(FollowedCase):
    """What they hear."""

    def test_all_that_the_pool_took_in_order(self) -> None:
        """Each call once, with the values that the pool was given; a verdict that changes nothing as well."""
        more = parse_backends(["a:1:weight=3,b:2,c:3"])
        down, wish = Verdict("a:1", False, "why", "probe"), Wish("b:2", "drain", "because")
        known = Known.of(self.pool.members["b:2"])
        self.pool.set_backends(iter(more), "operator")
        self.pool.apply(down)
        self.pool.apply(down)
        self.pool.wish(wish)
        self.pool.know(known)
        self.assertEqual(self.follower.told, [(tuple(more), "operator"), down, down, wish, known])

    def test_nothing_that_the_pool_ignored(self) -> None:
        """Strangers, and a wish that holds already."""
        stranger = Known.of(Pool([Backend("z", 9)]).members["z:9"])
        self.pool.apply(Verdict("z:9", False, "", "probe"))
        self.pool.wish(Wish("z:9", "drain"))
        self.pool.wish(Wish("a:1", "ready"))
        self.pool.know(stranger)
        self.assertEqual(self.follower.told, [])

    def test_nothing_that_the_pool_refused(self) -> None:
        """A list with a mistake in it changes neither."""
        for wrong in ([], [Backend("a", 1)] * 2):
            self.assertRaises(ConfigurationError, self.pool.set_backends, wrong)
        self.assertEqual(self.follower.told, [])

    def test_not_how_the_pool_began(self) -> None:
        """Nobody followed it then."""
        self.assertEqual(self.follower.told, [])

    def test_what_observers_make_of_it_keeps_nothing_from_them(self) -> None:
        """They hear it once, although an observer fails."""

        def fail(change: Change) -> None:
            raise ZeroDivisionError

        self.pool.observers.append(fail)
        down, wish = Verdict("a:1", False, "why", "probe"), Wish("b:2", "drain")
        self.assertRaises(ZeroDivisionError, self.pool.apply, down)
        self.assertRaises(ZeroDivisionError, self.pool.wish, wish)
        self.assertRaises(ZeroDivisionError, self.pool.set_backends, parse_backends(["b:2"]))
        self.assertEqual(self.follower.told, [down, wish, (tuple(parse_backends(["b:2"])), "configuration")])

    def test_what_an_observer_does_comes_after_what_it_heard(self) -> None:
        """In the order in which the pool took it."""
        down, up = Verdict("a:1", False, "why", "probe"), Verdict("a:1", True, "well", "probe")

        def lift(change: Change) -> None:
            if change.now == "down":
                self.pool.apply(up)

        self.pool.observers.append(lift)
        self.pool.apply(down)
        self.assertEqual(self.follower.told, [down, up])

    def test_the_pool_has_taken_it_by_then(self) -> None:
        """Whoever looks at the pool sees what came of it, when a backend began to warm up included."""
        seen: list[Known] = []
        self.pool = self.make(slow_start=40)
        look = Follower()
        look.apply = look.wish = lambda told: seen.append(Known.of(self.pool.members["a:1"]))  # type: ignore[assignment, method-assign]
        self.pool.followers.append(look)
        self.pool.apply(Verdict("a:1", False, "bad", "probe"))
        self.pool.apply(Verdict("a:1", True, "good", "probe"))
        self.pool.wish(Wish("a:1", "drain", "so"))
        self.assertEqual([(one.up, one.reason, one.want) for one in seen], [
            (False, "bad", "ready"), (True, "good", "ready"), (True, "good", "drain"),
        ])  # fmt: skip
        self.assertEqual([one.warm_from for one in seen], [None, 100.0, 100.0])
        self.assertEqual(seen[-1].evidence, {"probe": "good", "operator": "so"})


class Knowing(FollowedCase):
    """A pool that is told what is known elsewhere."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.make()
        self.told: list[Change] = []
        self.other.observers.append(self.told.append)

    def agree(self) -> None:
        """The other one is told all."""
        for member in self.pool.members.values():
            self.other.know(Known.of(member))

    def heard(self) -> list[tuple[str, ...]]:
        told, self.told[:] = list(self.told), []
        return [(one.address, one.was, one.now, one.reason, one.source) for one in told]

    def test_health_and_who_said_so(self) -> None:
        """A change is told as if the verdict had come here."""
        self.pool.apply(Verdict("a:1", False, "refused (worker 1)", "traffic", "connect"))
        self.agree()
        self.assertEqual(self.heard(), [("a:1", "up", "down", "refused (worker 1)", "traffic")])
        self.assertEqual([member.address for member in self.other.candidates()], ["b:2"])
        self.agree()
        self.assertEqual(self.heard(), [])
        self.pool.apply(Verdict("a:1", True, "connects", "probe", "connect"))
        self.agree()
        self.assertEqual(self.heard(), [("a:1", "down", "up", "connects", "probe")])

    def test_what_is_wanted(self) -> None:
        """With the operator's words, while there are any."""
        self.pool.wish(Wish("b:2", "maintenance", "a new disk"))
        self.agree()
        self.pool.wish(Wish("b:2", "ready"))
        self.agree()
        self.assertEqual(self.heard(), [
            ("b:2", "up", "maintenance", "a new disk", "operator"),
            ("b:2", "maintenance", "up", "the operator wants it so: ready", "operator"),
        ])  # fmt: skip

    def test_what_was_believed_here_is_forgotten(self) -> None:
        """What traffic said here first does not hold against what the other knows."""
        self.other.apply(Verdict("a:1", False, "first here", "traffic", "connect"))
        self.pool.apply(Verdict("a:1", False, "first there", "traffic", "answers"))
        self.agree()
        member = self.other.members["a:1"]
        self.assertEqual((member.ejected, member.reason), ("answers", "first there"))
        self.other.apply(Verdict("a:1", True, "connects", "probe", "connect"))
        self.assertFalse(member.up)

    def test_one_that_warms_up_goes_on_warming_up(self) -> None:
        """From when it began there, and not from now."""
        self.pool, self.other = self.make(slow_start=40), self.make(slow_start=40)
        self.pool.apply(Verdict("a:1", False, "", "probe"))
        self.pool.apply(Verdict("a:1", True, "", "probe"))
        self.now += 20
        self.agree()
        self.assertEqual(self.other.members["a:1"].weight, 0.5)
        self.now += 20
        self.other.tick()
        self.assertEqual(self.other.members["a:1"].weight, 1)

    def test_the_last_resort_is_judged_anew(self) -> None:
        """The only backend of a pool is tried while it is down by traffic alone, here as there."""
        self.pool, self.other = Pool([Backend("a", 1)]), Pool([Backend("a", 1)])
        member = self.other.members["a:1"]
        for source, fit in (("traffic", True), ("probe", False)):
            self.pool.apply(Verdict("a:1", False, "", source, "connect"))
            self.agree()
            self.assertEqual((member.up, member.fit), (False, fit))
