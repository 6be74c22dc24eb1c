"""Promises about what is known of a backend: which word wins, which evidence stays, what a probe lifts."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend
from lbproxy.balance.state import DURATION_BOUNDS, WISHES, BackendState, Verdict, Wish
from lbproxy.errors import ConfigurationError

from ..support import given

VERDICTS = st.builds(
    Verdict,
    st.just("a:1"),
    st.booleans(),
    st.sampled_from(("one", "two", "three")),
    st.sampled_from(("probe", "traffic")),
    st.sampled_from(("connect", "answers")),
)


class StateCase(SynchronousTestCase):
    """A backend that counts as up, and one that is new."""

    def setUp(self) -> None:
        self.member = BackendState(Backend("a", 1), 0.0)
        self.new = BackendState(Backend("n", 1), 0.0, up=False)

    def probe(self, up: bool, reason: str = "probe", about: str = "answers", member: BackendState | None = None) -> bool:
        return (member or self.member).learn(Verdict("a:1", up, reason, "probe", about))

    def traffic(self, up: bool, reason: str = "traffic", about: str = "answers", member: BackendState | None = None) -> bool:
        return (member or self.member).learn(Verdict("a:1", up, reason, "traffic", about))

    @property
    def known(self) -> tuple[bool, str, str, str]:
        return self.member.up, self.member.ejected, self.member.source, self.member.reason


class Readmission(StateCase):
    """What brings back one that traffic took out."""

    def test_a_probe_lifts_what_it_is_about(self) -> None:
        """One that asks for answers lifts all; one that connects, only that it could not be connected to."""
        for taken_out_for, probed, lifted in (
            ("answers", "answers", True),
            ("connect", "answers", True),
            ("connect", "connect", True),
            ("answers", "connect", False),
        ):
            self.setUp()
            self.traffic(False, about=taken_out_for)
            self.assertEqual(self.probe(True, about=probed), lifted)
            self.assertEqual((self.member.up, self.member.ejected), (lifted, "" if lifted else taken_out_for))

    def test_a_failed_probe_lifts_nothing(self) -> None:
        """And once a weaker one succeeds, what traffic found is still there, and is the reason."""
        self.traffic(False, "no answers")
        self.probe(False, "refused")
        self.assertEqual(self.known, (False, "answers", "probe", "refused"))
        self.probe(True, "connected", "connect")
        self.assertEqual(self.known, (False, "answers", "traffic", "no answers"))

    def test_traffic_ends_its_own_word_alone(self) -> None:
        """It does not overrule a probe."""
        self.traffic(False)
        self.probe(False, "refused")
        self.traffic(True, "over")
        self.assertEqual(self.known, (False, "", "probe", "refused"))
        self.probe(True, "connected")
        self.assertEqual(self.known, (True, "", "probe", "connected"))

    def test_what_a_probe_has_lifted_is_no_evidence_any_more(self) -> None:
        """Traffic has nothing against it then, so no old sentence says that it has."""
        self.traffic(False, "3 failures")
        self.probe(True, "200 OK")
        self.assertEqual(self.member.evidence, {"probe": "200 OK"})


class Evidence(StateCase):
    """The first evidence stays: it is why the state is what it is."""

    def test_a_repetition_is_no_news(self) -> None:
        """Neither of the same source, nor with other words."""
        for up in (False, True):
            self.assertTrue(self.probe(up, "first"))
            self.assertFalse(self.probe(up, "second"))
            self.assertEqual(self.member.reason, "first")

    def test_both_words_are_kept(self) -> None:
        """For the one who asks why; a probe's is the reason while both say down."""
        self.probe(False, "refused")
        self.traffic(False, "lost")
        self.assertEqual(self.member.evidence, {"probe": "refused", "traffic": "lost"})
        self.assertEqual(self.known, (False, "answers", "probe", "refused"))

    def test_traffic_on_one_that_no_probe_has_seen_is_traffics_word(self) -> None:
        """A new backend that gets exchanges in a panic and refuses them: nobody may say that a probe found that."""
        self.traffic(False, "refused", member=self.new)
        self.assertEqual((self.new.source, self.new.reason), ("traffic", "refused"))
        self.traffic(True, "over", member=self.new)
        self.assertEqual((self.new.up, self.new.source, self.new.reason), (False, "start", "not checked yet"))

    def test_the_second_cause_of_traffic_does_not_replace_the_first(self) -> None:
        """What it was taken out for decides what lifts it."""
        self.traffic(False, "3 failures", "answers")
        self.traffic(False, "refused", "connect")
        self.assertEqual(self.known, (False, "answers", "traffic", "3 failures"))
        self.assertEqual(self.member.ejections, 1)

    def test_ejections_count_those_that_were_not_out(self) -> None:
        """Down again after it was back is another one."""
        for up in (False, False, True, True, False):
            self.traffic(up)
        self.assertEqual(self.member.ejections, 2)

    @given(st.lists(VERDICTS, max_size=12), st.booleans())
    def test_what_is_known_fits_together(self, verdicts: list[Verdict], up: bool) -> None:
        """Against a small model: the probe's last word and what traffic has against it say whether it is up; the reason is one
        that its source gave; whoever is said to have found it down did; and without news nothing changed."""
        member = BackendState(Backend("a", 1), 0.0, up=up)
        probed, against = up, ""
        for verdict in verdicts:
            before = (member.up, member.reason, member.source)
            news = member.learn(verdict)
            if verdict.source == "traffic":
                against = "" if verdict.up else against or verdict.about
            else:
                probed = verdict.up
                against = "" if verdict.up and (verdict.about == "answers" or against == "connect") else against
            self.assertEqual((member.probed_up, member.ejected, member.up), (probed, against, probed and not against))
            if not news:
                self.assertEqual(before, (member.up, member.reason, member.source))
            if member.source != "start":
                self.assertEqual(member.reason, member.evidence[member.source])
            if not member.up:
                self.assertTrue(against if member.source == "traffic" else not probed)
            if against:
                self.assertIn("traffic", member.evidence)


class Words(StateCase):
    """The state in a word."""

    def test_maintenance_goes_before_health_and_health_before_draining(self) -> None:
        """One word for each of six cases."""
        words = []
        for up in (True, False):
            self.probe(up)
            for want in WISHES:
                self.member.want = want
                words.append(self.member.state)
        self.assertEqual(words, ["up", "draining", "maintenance", "down", "down", "maintenance"])

    def test_a_wish_that_nobody_knows_is_refused(self) -> None:
        """With what is allowed."""
        error = self.assertRaises(ConfigurationError, Wish, "a:1", "gone")
        self.assertEqual(str(error), "backend a:1: 'gone' was wanted; allowed are ready, drain, maintenance")


class Counters(StateCase):
    """Plain counters."""

    @given(st.lists(st.floats(0, 20), max_size=30))
    def test_each_response_has_its_place_by_duration(self, durations: list[float]) -> None:
        """A bound belongs to the bucket below it, as Prometheus counts."""
        member = BackendState(Backend("a", 1), 0.0)
        for seconds in (*durations, *DURATION_BOUNDS):
            member.answered(200, seconds)
        counted = 0
        for bound, count in zip(DURATION_BOUNDS, member.buckets):
            counted += count
            self.assertEqual(counted, sum(seconds <= bound for seconds in (*durations, *DURATION_BOUNDS)))
        self.assertEqual(sum(member.buckets), member.statuses[200])
        self.assertAlmostEqual(member.latency_sum, sum(durations) + sum(DURATION_BOUNDS))
