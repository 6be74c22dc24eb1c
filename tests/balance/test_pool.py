"""Promises about pools: who can be tried, what a verdict changes, what a change of backends keeps."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.policy import Asking, Policy
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import BackendState, Verdict
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IPoolControl


class LastFirst(Policy):
    """A policy of a user's own."""

    name = "last-first"

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        return iter(self.members[::-1])


class PoolCase(SynchronousTestCase):
    """A pool of three, and a clock."""

    backends = "a:1,b:2,c:3"

    def setUp(self) -> None:
        self.now = 100.0
        self.pool = Pool(parse_backends([self.backends]), seconds=lambda: self.now)

    def tell(self, address: str, up: bool, source: str = "probe", reason: str = "evidence") -> None:
        self.pool.apply(Verdict(address, up, reason, source))

    def tried(self) -> list[str]:
        """Whom one exchange would try."""
        return self.rest(self.pool.candidates())

    def rest(self, candidates: Iterator[BackendState]) -> list[str]:
        """Whom it would go on to try."""
        return [member.address for member in candidates if member.fit]


class Candidates(PoolCase):
    """Who can be tried for an exchange."""

    def test_every_backend_once(self) -> None:
        """An exchange that fails everywhere has tried each backend once."""
        for _ in range(5):
            self.assertEqual(sorted(self.tried()), ["a:1", "b:2", "c:3"])

    def test_backends_are_up_until_the_contrary_is_known(self) -> None:
        """A balancer that has just started serves before its first probe has an answer."""
        member = self.pool.members["a:1"]
        self.assertEqual((member.up, member.source, member.reason), (True, "start", "not checked yet"))

    def test_one_that_is_down_is_not_tried(self) -> None:
        """Whoever found it down, probe or traffic."""
        for source in ("probe", "traffic"):
            self.tell("b:2", False, source)
            self.assertEqual(sorted(self.tried()), ["a:1", "c:3"])
            self.tell("b:2", True, "probe")

    def test_one_that_goes_down_meanwhile_is_passed_over(self) -> None:
        """An exchange that is being retried does not go to a backend that others have found down."""
        candidates = self.pool.candidates()
        next(candidates)
        self.tell("b:2", False, "traffic")
        self.assertEqual(self.rest(candidates), ["c:3"])

    def test_the_others_are_tried_after_the_first_is_found_down(self) -> None:
        """The exchange that finds a backend down still goes on to every other one."""
        candidates = self.pool.candidates()
        self.tell(next(candidates).address, False, "traffic")
        self.assertEqual(self.rest(candidates), ["b:2", "c:3"])

    def test_of_two_the_other_is_tried_after_the_first_is_found_down(self) -> None:
        """With two backends as well."""
        self.pool.set_backends(parse_backends(["a:1,b:2"]))
        for _ in range(2):
            candidates = self.pool.candidates()
            first = next(candidates).address
            self.tell(first, False, "traffic")
            self.assertEqual(self.rest(candidates), ["b:2" if first == "a:1" else "a:1"])
            self.tell(first, True)

    def test_none_when_all_are_down(self) -> None:
        """With several backends there is no hoping against what is known."""
        for address in ("a:1", "b:2", "c:3"):
            self.tell(address, False, "traffic")
        self.assertEqual((self.tried(), self.pool.available), ([], False))

    def test_available_while_one_is_up(self) -> None:
        """One backend is enough to be of service."""
        self.tell("a:1", False)
        self.tell("b:2", False)
        self.assertTrue(self.pool.available)

    def test_a_policy_of_ones_own_orders_them(self) -> None:
        """A user's policy decides, among those that are up."""
        pool = Pool(parse_backends([self.backends]), policy=LastFirst())
        pool.apply(Verdict("b:2", False, "", "probe"))
        self.assertEqual([member.address for member in pool.candidates()], ["c:3", "a:1"])


class LoneBackend(PoolCase):
    """A pool's only backend is tried rather than refusing unseen."""

    backends = "a:1"

    def test_down_by_traffic_it_is_still_tried(self) -> None:
        """One lost connection is no outage."""
        self.tell("a:1", False, "traffic")
        self.assertEqual((self.tried(), self.pool.available), (["a:1"], False))

    def test_down_by_a_probe_it_is_not_tried(self) -> None:
        """A probe is evidence enough to say 503 at once."""
        self.tell("a:1", False, "probe")
        self.assertEqual(self.tried(), [])

    def test_a_probe_confirms_what_traffic_found(self) -> None:
        """Once a probe has found it down too, it is no longer tried."""
        self.tell("a:1", False, "traffic")
        self.tell("a:1", False, "probe")
        self.assertEqual(self.tried(), [])

    def test_a_probe_brings_it_back(self) -> None:
        """Up again on the first success."""
        self.tell("a:1", False, "probe")
        self.tell("a:1", True, "probe")
        self.assertEqual((self.tried(), self.pool.available), (["a:1"], True))

    def test_it_is_judged_like_the_others_once_it_has_company(self) -> None:
        """Being the only one is a matter of now, not of when it went down."""
        self.tell("a:1", False, "traffic")
        self.pool.set_backends(parse_backends(["a:1,b:2"]))
        self.tell("b:2", True)
        self.assertEqual(self.tried(), ["b:2"])


class Verdicts(PoolCase):
    """What a check's finding changes."""

    def test_it_takes_orders_from_the_control_plane(self) -> None:
        """It provides what the control plane asks of a pool."""
        verifyObject(IPoolControl, self.pool)

    def test_a_change_is_remembered_with_its_time_and_reason(self) -> None:
        """An operator sees since when, why and by whom a backend is down."""
        self.now = 200.0
        self.tell("a:1", False, "traffic", "refused")
        member = self.pool.members["a:1"]
        self.assertEqual((member.up, member.last_change, member.reason, member.source), (False, 200.0, "refused", "traffic"))

    def test_the_first_evidence_stays(self) -> None:
        """Repeating a verdict changes neither the time nor the reason."""
        self.tell("a:1", False, "probe", "first")
        self.now = 200.0
        self.tell("a:1", False, "probe", "second")
        self.tell("a:1", False, "traffic", "third")
        member = self.pool.members["a:1"]
        self.assertEqual((member.last_change, member.reason), (100.0, "first"))

    def test_a_probe_speaks_before_nobody_has(self) -> None:
        """The first probe replaces "not checked yet" although nothing changes."""
        self.tell("a:1", True, "probe", "connected")
        member = self.pool.members["a:1"]
        self.assertEqual((member.reason, member.source, member.last_change), ("connected", "probe", 100.0))

    def test_observers_hear_of_changes_alone(self) -> None:
        """Each change is told once, and no repetition."""
        heard: list[tuple[str, bool]] = []
        self.pool.observers.append(lambda change: heard.append((change.address, change.now == "up")))
        for up in (True, False, False, True):
            self.tell("a:1", up)
        self.assertEqual(heard, [("a:1", False), ("a:1", True)])

    def test_a_verdict_on_a_stranger_is_ignored(self) -> None:
        """A late finding on a backend that was taken out does no harm."""
        self.tell("z:9", False)
        self.assertEqual(len(self.tried()), 3)


class ChangedBackends(PoolCase):
    """A new list of backends keeps what is known of those that stay."""

    def test_one_that_stays_keeps_its_state(self) -> None:
        """Down stays down, counters go on, and its weight is the new one."""
        self.tell("a:1", False)
        before = self.pool.members["a:1"]
        before.requests = 7
        self.pool.set_backends(parse_backends(["a:1:weight=3,d:4"]))
        after = self.pool.members["a:1"]
        self.assertIs(after, before)
        self.assertEqual((after.up, after.requests, after.backend.weight, after.weight), (False, 7, 3, 3.0))
        self.tell("d:4", True)
        self.assertEqual(self.tried(), ["d:4"])

    def test_one_that_leaves_is_forgotten(self) -> None:
        """It is tried no more, and comes back as a stranger."""
        self.tell("b:2", False)
        self.pool.set_backends(parse_backends(["a:1"]))
        self.assertEqual(self.tried(), ["a:1"])
        self.pool.set_backends(parse_backends(["a:1,b:2"]))
        self.assertEqual(self.pool.members["b:2"].reason, "not checked yet")

    def test_one_that_is_new_waits_for_its_first_verdict(self) -> None:
        """A discovered backend gets no exchange before a check has found it well."""
        self.pool.set_backends(parse_backends([f"{self.backends},d:4"]))
        self.assertNotIn("d:4", self.tried())
        self.tell("d:4", True)
        self.assertIn("d:4", self.tried())

    def test_a_changed_weight_changes_the_share(self) -> None:
        """From the next exchange on."""
        self.pool.set_backends(parse_backends(["a:1:weight=2,b:2,c:3"]))
        firsts = [next(self.pool.candidates()).address for _ in range(40)]
        self.assertEqual([firsts.count(address) for address in ("a:1", "b:2", "c:3")], [20, 10, 10])

    def test_mistakes_are_refused_and_change_nothing(self) -> None:
        """No backend, or one named twice, is an error that names the pool."""
        for backends, words in (([], "no backend was given"), ([Backend("a", 1)] * 2, "named twice")):
            error = self.assertRaises(ConfigurationError, self.pool.set_backends, backends)
            self.assertIn(words, str(error))
            self.assertIn("default", str(error))
        self.assertEqual(len(self.tried()), 3)
