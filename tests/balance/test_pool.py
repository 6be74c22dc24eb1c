"""Promises about pools: who can be tried, what a verdict changes, what a change of backends keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.policy import Asking, Policy
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import WISHES, BackendState, Change, Verdict, Wish
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IPoolControl
from lbproxy.settings import Settings

from ..support import given


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

    def test_where_nobody_stays_the_new_ones_take_over_at_once(self) -> None:
        """As at the start: there is nobody else, and every exchange until the first check would be refused."""
        self.pool.set_backends(parse_backends(["d:4,e:5"]))
        self.assertEqual(sorted(self.tried()), ["d:4", "e:5"])
        self.tell("d:4", False)
        self.assertEqual(self.tried(), ["e:5"])

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


class ToldCase(PoolCase):
    """A pool whose changes are written down."""

    panic = 0

    def setUp(self) -> None:
        super().setUp()
        self.pool.settings = Settings(panic=self.panic)
        self.told: list[Change] = []
        self.pool.observers.append(self.told.append)

    def wish(self, address: str, want: str, reason: str = "") -> None:
        self.pool.wish(Wish(address, want, reason))

    def heard(self) -> list[tuple[str, str, str]]:
        """What was told since this was asked last."""
        told, self.told[:] = [(change.address, change.was, change.now) for change in self.told], []
        return told


class Wishes(ToldCase):
    """What the operator wants, kept apart from what is known of health."""

    def test_one_that_drains_or_is_in_maintenance_is_not_tried(self) -> None:
        """Until it is wanted again."""
        for want in ("drain", "maintenance"):
            self.wish("b:2", want)
            self.assertEqual(sorted(self.tried()), ["a:1", "c:3"])
            self.wish("b:2", "ready")
            self.assertIn("b:2", self.tried())

    def test_it_is_told_once_with_the_operators_reason(self) -> None:
        """Wanting the same again is no news; without a reason the wish is one."""
        self.now = 200.0
        self.wish("a:1", "drain", "deploy 7")
        self.wish("a:1", "drain", "again")
        self.wish("a:1", "ready")
        first, second = self.told
        self.assertEqual(first, Change(200.0, "default", "a:1", "up", "draining", "deploy 7", "operator"))
        self.assertEqual((second.was, second.now, second.reason), ("draining", "up", "the operator wants it so: ready"))

    def test_the_operators_words_are_kept_while_they_hold(self) -> None:
        """For the one who asks why it drains; once it is wanted again there is nothing to be said."""
        evidence = self.pool.members["a:1"].evidence
        self.wish("a:1", "drain", "deploy 7")
        self.assertEqual(evidence, {"operator": "deploy 7"})
        self.wish("a:1", "maintenance")
        self.assertEqual(evidence, {"operator": "the operator wants it so: maintenance"})
        self.tell("a:1", False, reason="refused")
        self.assertEqual(self.pool.members["a:1"].reason, "refused")
        self.wish("a:1", "ready", "deploy 7 is over")
        self.assertEqual(evidence, {"probe": "refused"})

    def test_health_goes_on_beneath_it(self) -> None:
        """A backend that a probe found down in maintenance is down when that ends; what was found is told meanwhile."""
        self.wish("a:1", "maintenance")
        self.tell("a:1", False, reason="refused")
        self.wish("a:1", "ready")
        self.assertEqual(
            self.heard(),
            [("a:1", "up", "maintenance"), ("a:1", "maintenance", "maintenance"), ("a:1", "maintenance", "down")],
        )
        self.assertEqual(self.pool.members["a:1"].reason, "refused")
        self.assertNotIn("a:1", self.tried())

    def test_it_outlasts_recovery(self) -> None:
        """A probe's success brings nobody back whom the operator took out."""
        self.wish("a:1", "drain")
        self.tell("a:1", False)
        self.tell("a:1", True)
        self.assertEqual(self.pool.members["a:1"].state, "draining")
        self.assertNotIn("a:1", self.tried())

    def test_it_outlasts_a_new_list_of_backends(self) -> None:
        """A changed weight is no reason to send it exchanges."""
        self.wish("a:1", "maintenance")
        self.pool.set_backends(parse_backends(["a:1:weight=9,b:2"]))
        self.assertEqual(self.tried(), ["b:2"])

    def test_since_when_is_the_words_own_time(self) -> None:
        """A finding that the word does not show leaves it as it is."""
        member = self.pool.members["a:1"]
        self.now = 200.0
        self.wish("a:1", "maintenance")
        self.now = 300.0
        self.tell("a:1", False)
        self.assertEqual(member.last_change, 200.0)
        self.wish("a:1", "ready")
        self.assertEqual(member.last_change, 300.0)

    def test_a_wish_for_a_stranger_is_ignored(self) -> None:
        """It may have left meanwhile."""
        self.wish("z:9", "drain")
        self.assertEqual(self.heard(), [])

    def test_all_can_be_taken_out(self) -> None:
        """The operator's word goes before every rule that keeps one."""
        for address in ("a:1", "b:2", "c:3"):
            self.wish(address, "maintenance")
        self.assertEqual((self.tried(), self.pool.available), ([], False))
        self.pool.set_backends(parse_backends(["a:1"]))
        self.assertEqual(self.tried(), [])

    def test_why_one_would_be_passed_over(self) -> None:
        """In words for the one who asks; nothing for one that would be taken."""
        member = self.pool.members["a:1"]
        self.assertEqual(self.pool.standing(member), "")
        self.wish("a:1", "drain")
        self.assertEqual(self.pool.standing(member), "draining")
        self.tell("a:1", False, reason="refused")
        self.assertEqual(self.pool.standing(member), "down: refused")
        self.wish("a:1", "maintenance")
        self.assertEqual(self.pool.standing(member), "maintenance")
        self.pool.set_backends(parse_backends(["b:2:max-in-flight=1"]))
        self.assertEqual(self.pool.standing(member), "no longer in the pool")
        self.pool.members["b:2"].in_flight = 1
        self.assertEqual(self.pool.standing(self.pool.members["b:2"]), "full: 1 in flight, at most 1")

    def test_one_that_came_back_is_another_one(self) -> None:
        """Its predecessor is still no longer in the pool."""
        member = self.pool.members["a:1"]
        self.pool.set_backends(parse_backends(["b:2"]))
        self.pool.set_backends(parse_backends(["a:1,b:2"]))
        self.assertEqual(self.pool.standing(member), "no longer in the pool")


class Told(ToldCase):
    """Observers hear each change once, in order, with its evidence."""

    def test_comings_and_goings(self) -> None:
        """Who left and who came, with the state it was and is in; who stays is no news."""
        self.tell("b:2", False)
        self.heard()
        self.pool.set_backends(parse_backends(["a:1:weight=2,c:3,d:4"]))
        self.assertEqual([change.reason for change in self.told], ["taken out of the pool", "added to the pool"])
        self.assertEqual({change.source for change in self.told}, {"configuration"})
        self.assertEqual(self.heard(), [("b:2", "down", ""), ("d:4", "", "down")])

    def test_everything_has_changed_when_they_hear_of_it(self) -> None:
        """An observer that looks sees the pool as the change says."""
        seen: list[bool] = []
        self.pool.observers.append(lambda change: seen.append(self.pool.members[change.address].fit))
        self.tell("a:1", False)
        self.tell("a:1", True)
        self.assertEqual(seen, [False, True])

    def test_what_an_observer_does_is_told_after_what_it_heard(self) -> None:
        """All hear in one order, the one that takes another backend out at once included."""
        done: list[str] = []

        def reacting(change: Change) -> None:
            if change.address == "a:1":
                self.wish("b:2", "drain")
            done.append(change.address)

        self.pool.observers.insert(0, reacting)
        self.tell("a:1", False)
        self.assertEqual(self.heard(), [("a:1", "up", "down"), ("b:2", "up", "draining")])
        self.assertEqual(done, ["a:1", "b:2"])

    def test_an_observer_that_raises_keeps_nothing_from_the_others(self) -> None:
        """They hear of all changes; whoever told the pool gets the first error, and the next change is told as ever."""

        def broken(change: Change) -> None:
            raise RuntimeError(change.address)

        self.pool.observers.insert(0, broken)
        backends = parse_backends(["a:1,d:4"])
        self.assertEqual(str(self.assertRaises(RuntimeError, self.pool.set_backends, backends)), "b:2")
        self.assertEqual(self.heard(), [("b:2", "up", ""), ("c:3", "up", ""), ("d:4", "", "down")])
        self.assertRaises(RuntimeError, self.tell, "a:1", False)
        self.assertEqual(self.heard(), [("a:1", "up", "down")])


class Panic(ToldCase):
    """Below a share of backends that are up, health is ignored, if the operator wants that."""

    panic = 50

    def test_it_is_off_by_default(self) -> None:
        """One of three is up, and takes all."""
        self.pool.settings = Settings()
        self.tell("a:1", False)
        self.tell("b:2", False)
        self.assertEqual((self.pool.panicking, self.tried()), (False, ["c:3"]))

    def test_it_begins_below_the_share_and_ends_at_it(self) -> None:
        """Both are told, with the figures, after the change that led to it."""
        self.tell("a:1", False)
        self.assertFalse(self.pool.panicking)
        self.tell("b:2", False)
        self.assertEqual((self.pool.panicking, sorted(self.tried())), (True, ["a:1", "b:2", "c:3"]))
        panic = self.told[-1]
        self.assertEqual((panic.reason, panic.source), ("1 of 3 backends are up: health is ignored", "pool"))
        self.tell("b:2", True)
        self.assertEqual((self.pool.panicking, sorted(self.tried())), (False, ["b:2", "c:3"]))
        self.assertEqual(self.told[-1].reason, "2 of 3 backends are up: health counts again")
        self.assertEqual(
            self.heard(),
            [
                ("a:1", "up", "down"),
                ("b:2", "up", "down"),
                ("", "normal", "panic"),
                ("b:2", "down", "up"),
                ("", "panic", "normal"),
            ],
        )

    def test_nobody_up_is_no_panic(self) -> None:
        """There is nothing to be gained from the dead."""
        for address in ("a:1", "b:2", "c:3"):
            self.tell(address, False)
        self.assertEqual((self.pool.panicking, self.tried()), (False, []))

    def test_what_the_operator_took_out_stays_out(self) -> None:
        """And does not count: of the two that are wanted one is up."""
        self.wish("a:1", "maintenance")
        self.tell("b:2", False)
        self.assertFalse(self.pool.panicking)
        self.pool.settings = Settings(panic=60)
        self.wish("a:1", "drain")
        self.assertEqual((self.pool.panicking, sorted(self.tried())), (True, ["b:2", "c:3"]))
        self.assertEqual(self.told[-1].reason, "1 of 2 backends are up: health is ignored")

    def test_a_wish_can_begin_it(self) -> None:
        """It leaves less than the share."""
        self.tell("a:1", False)
        self.heard()
        self.pool.settings = Settings(panic=60)
        self.wish("b:2", "drain")
        self.assertEqual(self.heard(), [("b:2", "up", "draining"), ("", "normal", "panic")])

    def test_a_new_list_of_backends_can_begin_and_end_it(self) -> None:
        """Newcomers are down before their first verdict: that is told as any other panic."""
        self.pool.set_backends(parse_backends(["a:1,d:4,e:5"]))
        self.assertEqual(self.heard()[-1], ("", "normal", "panic"))
        self.pool.set_backends(parse_backends(["a:1"]))
        self.assertEqual(self.heard()[-1], ("", "panic", "normal"))


ADDRESSES = ("a:1", "b:2", "c:3", "d:4")


class Whatever(ToldCase):
    """A pool against a small model of it, whatever it is told."""

    @given(
        st.lists(
            st.one_of(
                st.tuples(
                    st.just("tell"),
                    st.sampled_from(ADDRESSES),
                    st.booleans(),
                    st.sampled_from(("probe", "traffic")),
                ),
                st.tuples(st.just("wish"), st.sampled_from(ADDRESSES), st.sampled_from(WISHES)),
                st.tuples(st.just("set"), st.sets(st.sampled_from(ADDRESSES), min_size=1), st.integers(0, 3)),
            ),
            max_size=40,
        ),
        st.sampled_from((0, 50, 100)),
    )
    def test_who_is_tried_and_what_is_told(self, events: list[tuple[Any, ...]], panic: int) -> None:
        """Exactly those are tried whom the rules name, each once; and the changes told lead from one state to the next."""
        self.setUp()
        self.pool.settings = Settings(panic=panic)
        words = {member.address: member.state for member in self.pool.members.values()}
        words[""] = "normal"
        for what, *rest in events:
            if what == "tell":
                self.tell(*rest)
            elif what == "wish":
                self.wish(*rest)
            else:
                addresses, tier = rest
                self.pool.set_backends(parse_backends([f"{one}:tier={tier if one > 'b' else 0}" for one in sorted(addresses)]))
            for address, was, now in self.heard():
                self.assertEqual(words.pop(address, ""), was)
                if now:
                    words[address] = now
            self.assertEqual(words.pop(""), "panic" if self.pool.panicking else "normal")
            self.assertEqual(words, {member.address: member.state for member in self.pool.members.values()})
            words[""] = "panic" if self.pool.panicking else "normal"
            self.check_tried()

    def check_tried(self) -> None:
        members = self.pool.members.values()
        ready = {member.address for member in members if member.want == "ready"}
        up = {member.address for member in members if member.up} & ready
        tried = self.tried()
        self.assertEqual(len(tried), len(set(tried)))
        self.assertEqual(self.pool.available, bool(up))
        if self.pool.panicking:
            self.assertTrue(up)
            self.assertEqual(set(tried), ready)
        elif up:
            self.assertEqual(set(tried), up)
        else:
            lone = len(members) == 1 and next(iter(members)).probed_up
            self.assertEqual(set(tried), ready if lone else set())
        for member in members:
            self.assertEqual(self.pool.standing(member) == "", member.address in tried)
