"""Promises about the verdict of traffic: whom failures and differences take out, for how long, and who stays whatever happens."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import WISHES, BackendState, Change, Verdict, Wish
from lbproxy.health.traffic import SWEEP, TrafficCheck, ejection_seconds
from lbproxy.settings import Settings

from ..support import START, given


class TrafficCase(SynchronousTestCase):
    """A pool of four, its check, and a clock."""

    backends = "a:1,b:1,c:1,d:1"

    def setUp(self) -> None:
        self.make()

    def make(self, backends: str = "", **settings: Any) -> None:
        """A pool and its check anew, with these settings."""
        self.now = START
        self.settings = Settings(**settings)
        self.pool = Pool(parse_backends([backends or self.backends]), seconds=lambda: self.now)
        self.check = TrafficCheck(self.pool, self.settings, lambda: self.now)
        self.told: list[Change] = []
        self.pool.observers.append(self.told.append)

    def member(self, name: str) -> BackendState:
        return self.pool.members[f"{name}:1"]

    def fail(self, name: str, times: int = 3, cause: str = "lost") -> None:  # type: ignore[override]
        """So many attempts at it fail, and none succeeds between them."""
        for _ in range(times):
            self.check.failed(self.member(name), cause)

    def tell(self, name: str, up: bool, about: str = "answers", source: str = "probe") -> None:
        self.pool.apply(Verdict(f"{name}:1", up, "as the test says", source, about))

    def wait(self, seconds: float) -> None:
        """Let time pass, a quarter of a second at a time."""
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.check.tick()

    @property
    def out(self) -> str:
        """Who is out."""
        return "".join(member.address[0] for member in self.pool.members.values() if not member.up)

    def ejected_for(self, name: str, most: float = 1000.0) -> float:
        """Let time pass until it is back; gives how long that took."""
        began = self.now
        while not self.member(name).up and self.now - began < most:
            self.wait(0.25)
        return self.now - began


class FailuresInARow(TrafficCase):
    """So many, within the window, and nothing in between."""

    def test_the_third_ejects_and_says_why(self) -> None:
        """Two do not; the sentence has the figures."""
        self.fail("a", 2)
        self.assertEqual((self.out, self.member("a").failing), ("", 2))
        self.fail("a", 1, "response-timeout")
        self.assertEqual((self.out, self.member("a").failing), ("a", 0))
        (change,) = self.told
        self.assertEqual((change.now, change.source), ("down", "traffic"))
        self.assertEqual(change.reason, "3 failures in a row within 10 s, the last one: response-timeout; ejected for 10 s")

    def test_a_success_in_between_begins_the_count_anew(self) -> None:
        """Whoever answers now and then is not dead."""
        for _ in range(5):
            self.fail("a", 2)
            self.check.succeeded(self.member("a"))
            self.assertEqual(self.member("a").failing, 0)
        self.assertEqual(self.out, "")

    def test_the_window_holds_any_three_and_not_only_those_after_the_first(self) -> None:
        """Failures at 0, 9, 11 and 12 s: the last three are within 10 s."""
        for passed, out in ((0, ""), (9, ""), (2, ""), (1, "a")):
            self.now += passed
            self.fail("a", 1)
            self.assertEqual(self.out, out)

    def test_failures_that_are_far_apart_eject_nobody(self) -> None:
        """One each six seconds, for ever; how many there are in a row is still shown."""
        for _ in range(20):
            self.fail("a", 1)
            self.now += 6
        self.assertEqual((self.out, self.member("a").failing), ("", 20))

    def test_exactly_the_window_still_counts(self) -> None:
        """Within 10 s means at most."""
        self.fail("a", 2)
        self.now += 10
        self.fail("a", 1)
        self.assertEqual(self.out, "a")

    def test_each_backend_has_a_count_of_its_own(self) -> None:
        """Six failures at three backends are two each."""
        for name in "abcabc":
            self.fail(name, 1)
        self.assertEqual(self.out, "")

    def test_one_may_be_enough(self) -> None:
        """By settings; the sentence has no plural then."""
        self.make(eject_failures=1)
        self.fail("a", 1, "503")
        self.assertEqual(self.told[0].reason, "failed: 503; ejected for 10 s")

    def test_none_ever_by_settings(self) -> None:
        """0 failures turn it off, and nothing is counted."""
        self.make(eject_failures=0)
        self.fail("a", 100)
        self.assertEqual((self.out, self.member("a").failing, self.check.withheld), ("", 0, 0))

    def test_the_causes_are_counted(self) -> None:
        """For the metrics: by the last failure's word."""
        self.fail("a", cause="503")
        self.fail("b", cause="lost")
        self.assertEqual(self.check.ejections, {"503": 1, "lost": 1})
        self.assertEqual(self.member("a").ejections, 1)

    def test_late_failures_of_one_that_is_out_are_no_news(self) -> None:
        """What ran when it was ejected and fails later neither prolongs the ejection nor counts for the next one."""
        self.fail("a", 9)
        self.wait(10)
        self.assertEqual((self.out, self.member("a").failing), ("", 0))
        self.fail("a", 2)
        self.assertEqual(self.out, "")

    def test_one_that_a_probe_found_down_is_not_ejected_as_well(self) -> None:
        """What it drops as it dies says nothing new, and would keep it out when the probe finds it well again."""
        self.tell("a", False)
        self.fail("a", 5)
        self.tell("a", True, "connect")
        self.assertEqual((self.out, self.check.ejections), ("", {}))

    def test_a_stranger_is_ignored(self) -> None:
        """One that has left, or came back under its old address, does not answer for the other."""
        old = self.member("a")
        self.pool.set_backends(parse_backends(["b:1,c:1,d:1"]))
        self.pool.set_backends(parse_backends([self.backends]))
        self.tell("a", True)
        for _ in range(5):
            self.check.failed(old, "lost")
        self.assertEqual((self.out, self.member("a").failing, self.check.ejections), ("", 0, {}))


class Ends(TrafficCase):
    """Every ejection ends; each one in a row is twice as long."""

    def test_it_is_over_after_its_time(self) -> None:
        """Not a tick sooner; the reason says so."""
        self.fail("a")
        self.wait(9.75)
        self.assertEqual(self.out, "a")
        self.wait(0.25)
        self.assertEqual(self.out, "")
        self.assertEqual((self.told[-1].reason, self.told[-1].source), ("ejected for 10 s, which are over", "traffic"))

    def test_each_in_a_row_is_twice_as_long_up_to_the_limit(self) -> None:
        """10, 20, 40, 80, 160, 300, 300 seconds."""
        lasted = []
        for _ in range(7):
            self.fail("a")
            lasted.append(self.ejected_for("a"))
        self.assertEqual(lasted, [10, 20, 40, 80, 160, 300, 300])
        self.assertEqual(self.told[-2].reason, "3 failures in a row within 10 s, the last one: lost; ejected for 300 s")

    def test_a_first_time_above_the_limit_is_the_limit(self) -> None:
        """Whichever is less."""
        self.make(eject_time=20, eject_limit=5)
        for _ in range(3):
            self.fail("a")
            self.assertEqual(self.ejected_for("a"), 5)

    def test_the_count_falls_back_by_one_for_each_ejection_time_without_another(self) -> None:
        """After 10 and 20 s: 10 s of good conduct take one off, so that the next is 20 s again; 30 s take all."""
        for good_conduct, lasts in ((0, 10), (0, 20), (10, 20), (9.75, 40), (30, 10)):
            self.wait(good_conduct)
            self.fail("a")
            self.assertEqual(self.ejected_for("a"), lasts)

    def test_more_than_the_limit_asks_for_is_not_counted(self) -> None:
        """One that failed for a day is forgiven as soon as one that just reached the limit: six times 10 s."""
        for _ in range(30):
            self.fail("a")
            self.ejected_for("a")
        self.wait(60)
        self.fail("a")
        self.assertEqual(self.ejected_for("a"), 10)

    def test_a_clock_that_is_set_back_makes_no_ejection_longer(self) -> None:
        """The next one is twice as long as the last one, and not the longest there is."""
        self.fail("a")
        self.wait(10)
        self.now -= 3600
        self.fail("a")
        self.assertIn("ejected for 20 s", self.told[-1].reason)

    def test_a_probe_ends_it_early_but_the_next_one_is_longer(self) -> None:
        """The timer of the first does not end the second."""
        self.fail("a")
        self.wait(4)
        self.tell("a", True)
        self.assertEqual(self.out, "")
        self.fail("a")  # before any tick could see that the first is over
        self.assertEqual(self.ejected_for("a"), 20)

    def test_the_count_falls_back_from_the_probe_on(self) -> None:
        """Good conduct begins when the ejection ends, whoever ends it; the next tick sees that."""
        self.fail("a")
        self.wait(1)
        self.tell("a", True)
        self.wait(10.25)
        self.fail("a")
        self.assertEqual(self.ejected_for("a"), 10)

    def test_a_probe_that_only_connects_does_not_end_it(self) -> None:
        """It says nothing of answers."""
        self.fail("a")
        self.tell("a", True, "connect")
        self.assertEqual(self.ejected_for("a"), 10)

    def test_one_that_could_not_be_connected_to_stays_down(self) -> None:
        """The exchange took it down, and a probe brings it back: no timer does."""
        self.tell("a", False, "connect", "traffic")
        self.wait(1000)
        self.assertEqual(self.out, "a")

    def test_nor_does_the_timer_of_an_earlier_ejection_bring_it_back(self) -> None:
        """Ejected, re-admitted by a probe, and then not to be connected to, all within one tick."""
        self.fail("a")
        self.wait(5)
        self.tell("a", True)
        self.tell("a", False, "connect", "traffic")
        self.wait(1000)
        self.assertEqual(self.out, "a")

    def test_one_that_is_down_by_a_probe_too_stays_down(self) -> None:
        """The end of an ejection is not the end of the other reason; the probe's word is then why it is down."""
        self.fail("a")
        self.tell("a", False)
        self.wait(10)
        self.assertEqual((self.out, self.member("a").ejected, self.member("a").source), ("a", "", "probe"))
        self.tell("a", True)
        self.assertEqual(self.out, "")

    def test_the_end_of_a_strangers_ejection_changes_nothing(self) -> None:
        """It left and came back under its old address, where it is to be checked first."""
        self.fail("a")
        self.pool.set_backends(parse_backends(["b:1,c:1,d:1"]))
        self.pool.set_backends(parse_backends([self.backends]))
        self.wait(20)
        self.assertEqual((self.out, self.member("a").reason), ("a", "not checked yet"))


class Share(TrafficCase):
    """Not too many, never the last one."""

    def test_at_most_half_are_out(self) -> None:
        """Of four two; the third failure-run is withheld and counted."""
        for name in "abc":
            self.fail(name)
        self.assertEqual((self.out, self.check.withheld), ("ab", 1))

    def test_those_that_could_not_be_connected_to_count(self) -> None:
        """Whatever traffic took them out for."""
        self.tell("a", False, "connect", "traffic")
        for name in "bc":
            self.fail(name)
        self.assertEqual((self.out, self.check.withheld), ("ab", 1))

    def test_those_that_a_probe_found_down_do_not(self) -> None:
        """The share is traffic's."""
        self.tell("a", False)
        for name in "bcd":
            self.fail(name)
        self.assertEqual(self.out, "abc")

    def test_one_at_least_may_be_out(self) -> None:
        """10 % of four is nobody; one is."""
        self.make(eject_share=10)
        for name in "ab":
            self.fail(name)
        self.assertEqual((self.out, self.check.withheld), ("a", 1))

    def test_none_by_settings(self) -> None:
        """0 % is nobody."""
        self.make(eject_share=0)
        self.fail("a")
        self.assertEqual((self.out, self.check.withheld), ("", 1))

    def test_the_last_one_stays_whatever_the_share(self) -> None:
        """Of four with 100 %, three; and the lone backend of a pool."""
        self.make(eject_share=100)
        for name in "abcd":
            self.fail(name)
        self.assertEqual((self.out, self.check.withheld), ("abc", 1))
        self.make("a:1")
        self.fail("a")
        self.assertEqual((self.out, self.check.withheld), ("", 1))

    def test_the_last_one_is_the_last_that_is_wanted(self) -> None:
        """Others that drain or are in maintenance take no new exchanges."""
        self.pool.wish(Wish("b:1", "drain"))
        self.pool.wish(Wish("c:1", "maintenance"))
        self.tell("d", False)
        self.fail("a")
        self.assertEqual((self.member("a").up, self.check.withheld), (True, 1))

    def test_a_withheld_ejection_can_come_about_later(self) -> None:
        """Its failures begin anew; the next three take it out if there is room then."""
        for name in "abc":
            self.fail(name)
        self.assertEqual(self.member("c").failing, 0)
        self.wait(10)
        self.fail("c", 2)
        self.assertEqual(self.out, "")
        self.fail("c", 1)
        self.assertEqual(self.out, "c")

    def test_the_others_fail_so_one_is_let_back(self) -> None:
        """Two ejected, and a probe finds the other two down: the one whose time ends first is tried again at once."""
        self.fail("a")
        self.wait(1)
        self.fail("b")
        self.tell("c", False)
        self.tell("d", False)
        self.assertFalse(self.pool.available)
        self.wait(0.25)
        self.assertEqual(self.out, "bcd")
        self.assertEqual(self.told[-1].reason, "no other backend is up; of 10 s ejected 8.75 s are left")

    def test_nobody_is_let_back_against_a_probe_or_the_operator(self) -> None:
        """Their word is not traffic's to change."""
        self.fail("a")
        self.fail("b")
        self.pool.wish(Wish("a:1", "drain"))
        for name in "bcd":
            self.tell(name, False)
        self.wait(0.25)
        self.assertEqual(self.out, "abcd")
        self.assertEqual((self.member("a").ejected, self.member("b").ejected), ("answers", "answers"))


class Elsewhere(TrafficCase):
    """Failures that another process has seen, which does not decide."""

    def propose(self, name: str, why: str = "3 failures in a row (worker 1)") -> None:
        self.check.proposed(Verdict(f"{name}:1", False, why, "traffic"))

    def test_who_decides_says_for_how_long_and_ends_it(self) -> None:
        """As of its own; the cause has been counted by the other one."""
        self.propose("a")
        self.assertEqual(self.out, "a")
        self.assertEqual(self.member("a").reason, "3 failures in a row (worker 1); ejected for 10 s")
        self.assertEqual(self.check.ejections, {})
        self.assertEqual(self.ejected_for("a"), 10)

    def test_the_next_one_is_longer_whoever_saw_it(self) -> None:
        """One seen here, and one elsewhere."""
        self.fail("a")
        self.wait(10)
        self.propose("a")
        self.assertEqual(self.ejected_for("a"), 20)

    def test_too_many_are_refused_and_counted(self) -> None:
        """By the share, and the last one."""
        for name in "abc":
            self.propose(name)
        self.assertEqual((self.out, self.check.withheld), ("ab", 1))

    def test_of_one_that_is_down_and_of_strangers_it_says_nothing(self) -> None:
        """No second ejection, nor a longer one."""
        self.propose("a")
        self.propose("a")
        self.propose("z")
        self.check.proposed(Verdict("b:1", True, "well", "traffic"))
        self.assertEqual((self.out, self.check.withheld, self.member("a").ejections), ("a", 0, 1))
        self.assertEqual(self.ejected_for("a"), 10)

    def test_who_does_not_decide_takes_out_and_lets_nobody_back(self) -> None:
        """By its own failures, with what it sees of the share; how long that is, is not its to say."""
        self.check = TrafficCheck(self.pool, self.settings, lambda: self.now, decides=False)
        self.fail("a")
        self.assertEqual((self.out, self.check.ejections), ("a", {"lost": 1}))
        self.assertEqual(self.member("a").reason, "3 failures in a row within 10 s, the last one: lost")
        self.fail("b")
        self.fail("c")
        self.assertEqual((self.out, self.check.withheld), ("ab", 1))
        self.wait(100)
        self.assertEqual(self.out, "ab")


class Outliers(TrafficCase):
    """Each ten seconds, among peers."""

    backends = "a:1,b:1,c:1,d:1,e:1,f:1:tier=1"

    def answers(self, name: str, count: int = 100, bad: int = 0, seconds: float = 0.01) -> None:
        """It answers so often, so slowly, and so many times with an error."""
        member = self.member(name)
        for number in range(count):
            member.answered(500 if number < bad else 200, seconds)

    def test_a_low_success_rate_ejects_with_the_figures(self) -> None:
        """At the sweep, not before."""
        for name in "abcd":
            self.answers(name, 200)
        self.answers("e", 150, bad=57)
        self.wait(SWEEP - 0.25)
        self.assertEqual(self.out, "")
        self.wait(0.25)
        self.assertEqual((self.out, self.check.ejections), ("e", {"success-rate": 1}))
        self.assertEqual(
            self.told[-1].reason,
            "success rate 62.0 % of 150 requests, where the others' mean is 100.0 % and the limit 63.5 %; ejected for 10 s",
        )

    def test_only_what_happened_since_the_last_sweep_counts(self) -> None:
        """Errors of an hour ago are no reason, nor those from before the check began."""
        for name in "abcde":
            self.answers(name, bad=100 if name == "e" else 0)
        self.check = TrafficCheck(self.pool, self.settings, lambda: self.now)
        for _ in range(3):
            self.wait(SWEEP)
            for name in "abcde":
                self.answers(name)
        self.assertEqual(self.told, [])

    def test_latency_only_where_it_is_asked_for(self) -> None:
        """By the setting ``outliers``."""
        for outliers, out in ((("success-rate",), ""), (("latency",), "e"), ((), "")):
            self.make(outliers=outliers)
            for name in "abcde":
                self.answers(name, seconds=1.0 if name == "e" else 0.01)
            self.wait(SWEEP)
            self.assertEqual(self.out, out)

    def test_a_backend_of_another_tier_is_no_peer(self) -> None:
        """The backup across the ocean is slower by nature."""
        self.make(outliers=("latency",))
        for name in "abcdef":
            self.answers(name, seconds=1.0 if name == "f" else 0.01)
        self.wait(SWEEP)
        self.assertEqual(self.out, "")

    def test_one_that_is_out_is_not_ejected_again(self) -> None:
        """It fails in a row and has the lowest rate: one ejection, of 10 s."""
        for name in "abcde":
            self.answers(name, bad=100 if name == "e" else 0)
        self.wait(SWEEP - 1)
        self.fail("e")
        self.wait(1)
        self.assertEqual(self.check.ejections, {"lost": 1})

    def test_one_that_is_slow_and_fails_is_ejected_once(self) -> None:
        """For what is looked at first."""
        self.make(outliers=("latency", "success-rate"))
        for name in "abcde":
            self.answers(name, bad=100 if name == "e" else 0, seconds=1.0 if name == "e" else 0.01)
        self.wait(SWEEP)
        self.assertEqual((self.check.ejections, self.check.withheld), ({"latency": 1}, 0))

    def test_one_that_is_out_is_no_peer(self) -> None:
        """Beside it the next one would look like all the others: four at 100 %, one at 60, one at none."""
        self.make("a:1,b:1,c:1,d:1,e:1,f:1")
        for name, bad in zip("abcdef", (0, 0, 0, 0, 40, 100)):
            self.answers(name, bad=bad)
        self.wait(SWEEP - 1)
        self.fail("f")
        self.wait(1)
        self.assertEqual((self.out, self.check.ejections), ("ef", {"lost": 1, "success-rate": 1}))

    def test_a_newcomer_is_judged_from_its_beginning(self) -> None:
        """It came after the last sweep, so all it did was since."""
        self.wait(1)
        self.pool.set_backends(parse_backends([f"{self.backends},g:1"]))
        self.tell("g", True)
        for name in "abcdeg":
            self.answers(name, bad=100 if name == "g" else 0)
        self.wait(SWEEP)
        self.assertEqual(self.out, "g")

    def test_one_that_came_back_under_its_address_starts_from_nought(self) -> None:
        """Its counters are not compared with its predecessor's."""
        self.answers("a", 1000)
        self.wait(SWEEP)
        self.pool.set_backends(parse_backends(["b:1,c:1,d:1,e:1"]))
        self.pool.set_backends(parse_backends([self.backends]))
        self.tell("a", True)
        for name in "abcde":
            self.answers(name, bad=100 if name == "a" else 0)
        self.wait(SWEEP)
        self.assertEqual(self.out, "af")  # f came back too, and is to be checked first

    def test_nothing_is_kept_of_those_that_left(self) -> None:
        """Neither counters, nor failures, nor ejections."""
        self.fail("a")
        self.fail("b", 2)
        self.answers("c")
        self.wait(SWEEP / 2)
        self.pool.set_backends(parse_backends(["z:1"]))
        self.wait(SWEEP)
        (member,) = self.pool.members.values()
        self.assertEqual(list(self.check._before), [member])
        self.assertEqual((self.check._runs, self.check._ejected), ({}, {}))

    def test_ejections_are_forgotten_once_they_count_no_more(self) -> None:
        """A backend that was ejected once is not remembered for ever."""
        self.fail("a")
        self.wait(30)
        self.assertEqual(self.check._ejected, {})


NAMES = "abcdef"

#: What can happen, each to one backend: attempts that fail or succeed, probes, the exchange's own finding, the operator's wishes,
#: coming and going, and time.
EVENTS = st.one_of(
    st.tuples(st.sampled_from(("fail", "fail", "fail", "succeed", "toggle", "refuse", "answer")), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(("probe up", "probe down", "probe connects")), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(WISHES), st.sampled_from(NAMES)),
    st.tuples(st.just("wait"), st.sampled_from((0.25, 1.0, 5.0, 15.0, 120.0))),
)


class Whatever(TrafficCase):
    """What holds whatever happens."""

    backends = ",".join(f"{name}:1" for name in NAMES)

    def happen(self, what: str, where: Any) -> None:
        """Let one of :data:`EVENTS` happen."""
        if what == "wait":
            self.wait(where)
        elif what == "toggle":
            names = {address[0] for address in self.pool.members} ^ {where}
            if names:
                self.pool.set_backends(parse_backends([f"{name}:1" for name in sorted(names)]))
        elif f"{where}:1" not in self.pool.members:
            return
        elif what == "fail":
            self.fail(where)
        elif what == "succeed":
            self.check.succeeded(self.member(where))
        elif what == "answer":
            for _ in range(200):
                self.member(where).answered(500 if where == "a" else 200, 0.01)
        elif what == "refuse":
            self.tell(where, False, "connect", "traffic")
        elif what in WISHES:
            self.pool.wish(Wish(f"{where}:1", what))
        else:
            self.tell(where, what != "probe down", "connect" if what == "probe connects" else "answers")

    def ejections(self) -> int:
        return sum(self.check.ejections.values())

    @given(st.lists(EVENTS, max_size=60), st.sampled_from((0, 1, 30, 50, 100)))
    def test_no_ejection_goes_beyond_the_share_nor_takes_the_last_one(self, events: list[Any], share: int) -> None:
        """At each ejection there is room for it, and somebody else is left who is up and wanted."""
        self.make(eject_share=share)
        before = 0

        def ejecting(change: Change) -> None:
            if "; ejected for " in change.reason:
                out = sum(bool(member.ejected) for member in self.pool.members.values())
                self.assertLessEqual(out, max(1, len(self.pool.members) * share // 100) if share else 0)
                self.assertTrue(self.pool.available)

        self.pool.observers.append(ejecting)
        for what, where in events:
            self.happen(what, where)
            self.assertGreaterEqual(self.ejections(), before)
            before = self.ejections()

    @given(st.lists(EVENTS, max_size=60))
    def test_every_ejection_ends(self, events: list[Any]) -> None:
        """After the longest time there is, only those are out whom a probe or a refused connection keeps out; and after as many
        ejection times as doublings nothing is remembered."""
        self.make(eject_limit=40)
        for what, where in events:
            self.happen(what, where)
        self.wait(41)
        for member in self.pool.members.values():
            self.assertIn(member.ejected, ("", "connect"))
        self.wait(40)
        self.assertEqual(self.check._ejected, {})

    @given(st.lists(EVENTS, max_size=60))
    def test_traffic_alone_never_leaves_nobody(self, events: list[Any]) -> None:
        """After each tick somebody is up, unless a probe, a refused connection or the operator keeps out everyone."""
        self.make(eject_share=100)
        for what, where in events:
            self.happen(what, where)
            self.check.tick()
            wanted = [one for one in self.pool.members.values() if one.want == "ready" and one.probed_up]
            if any(one.ejected != "connect" for one in wanted):
                self.assertTrue(self.pool.available)

    @given(st.lists(EVENTS, max_size=60))
    def test_what_is_kept_is_bounded_by_the_pool(self, events: list[Any]) -> None:
        """After a sweep nothing is known of a stranger."""
        for what, where in events:
            self.happen(what, where)
        self.wait(SWEEP)
        members = set(self.pool.members.values())
        self.assertEqual(set(self.check._before), members)
        self.assertLessEqual(set(self.check._ejected) | set(self.check._runs), members)

    @given(st.integers(1, 10_000), st.floats(0.01, 86400), st.floats(0.01, 86400))
    def test_durations_double_and_are_capped(self, count: int, time: float, limit: float) -> None:
        """Whatever the settings, and however many there were."""
        settings = Settings(eject_time=time, eject_limit=limit)
        lasts, next_one = ejection_seconds(count, settings), ejection_seconds(count + 1, settings)
        self.assertIn(next_one, (2 * lasts, limit))
        self.assertLessEqual(lasts, min(limit, next_one))
