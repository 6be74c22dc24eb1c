"""Promises about outliers: who differs from its peers, and who does not."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend
from lbproxy.balance.state import BackendState
from lbproxy.health.outliers import Figures, latency_outliers, success_rate_outliers

from ..support import given


def rated(*bad: int, requests: int = 100) -> dict[str, Figures]:
    """Backends n0, n1, … with so many failures of so many requests."""
    return {f"n{number}": Figures(requests, count) for number, count in enumerate(bad)}


def timed(*milliseconds: float, answers: int = 100) -> dict[str, Figures]:
    """Backends n0, n1, … with these mean latencies."""
    return {f"n{number}": Figures(answers, 0, answers, mean * answers / 1000) for number, mean in enumerate(milliseconds)}


class Counted(SynchronousTestCase):
    """What is read from a backend's counters."""

    def test_a_failed_attempt_and_a_response_of_500_and_above_are_bad(self) -> None:
        """404 is the client's affair, 500 and a lost connection are the backend's."""
        member = BackendState(Backend("a", 1), 0.0)
        for status in (200, 404, 500, 503):
            member.answered(status, 0.25)
        member.failures = 2
        self.assertEqual(Figures.of(member), Figures(6, 4, 4, 1.0))

    def test_an_interval_is_what_was_added(self) -> None:
        """Figures are compared by what happened between two looks."""
        self.assertEqual(Figures(9, 4, 6, 3.0).since(Figures(5, 3, 4, 2.5)), Figures(4, 1, 2, 0.5))


class SuccessRate(SynchronousTestCase):
    """Envoy's rule: below the mean less 1.9 standard deviations."""

    def test_the_one_that_fails_is_named_with_the_figures(self) -> None:
        """One of five fails 38 of 100, the others 2: the mean is 90.8 %, the deviation 14.4 %."""
        (outlier,) = success_rate_outliers(rated(2, 2, 2, 2, 38))
        self.assertEqual((outlier.address, outlier.cause), ("n4", "success-rate"))
        self.assertEqual(
            outlier.evidence, "success rate 62.0 % of 100 requests, where the others' mean is 98.0 % and the limit 63.4 %"
        )

    def test_a_few_failures_are_none(self) -> None:
        """Where the others have none at all, four in a hundred would be far off the mean."""
        self.assertEqual(success_rate_outliers(rated(0, 0, 0, 0, 4)), [])
        self.assertEqual(len(success_rate_outliers(rated(0, 0, 0, 0, 5))), 1)

    def test_four_backends_are_too_few(self) -> None:
        """Deviations say nothing among so few."""
        self.assertEqual(success_rate_outliers(rated(0, 0, 0, 100)), [])

    def test_a_backend_with_99_requests_is_not_judged_nor_a_peer(self) -> None:
        """Four that are busy and one that is not are four."""
        figures = {**rated(0, 0, 0, 0), "idle": Figures(99, 99)}
        self.assertEqual(success_rate_outliers(figures), [])
        self.assertEqual(success_rate_outliers({**rated(0, 0, 0, 0, 0), "idle": Figures(99, 99)}), [])

    def test_two_of_five_that_fail_are_no_outliers(self) -> None:
        """What so many do is no exception: both are within 1.9 deviations."""
        self.assertEqual(success_rate_outliers(rated(0, 0, 0, 50, 50)), [])

    def test_the_worst_comes_first(self) -> None:
        """As not all may be ejected."""
        found = success_rate_outliers(rated(*[0] * 18, 50, 60))
        self.assertEqual([outlier.address for outlier in found], ["n19", "n18"])

    @given(st.integers(5, 50), st.integers(0, 1000), st.integers(1, 7))
    def test_equals_have_no_outlier(self, hosts: int, bad: int, times: int) -> None:
        """However they all fail, and however their rates are rounded."""
        self.assertEqual(success_rate_outliers(rated(*[bad * times] * hosts, requests=1000 * times)), [])

    @given(st.lists(st.integers(0, 100), min_size=5, max_size=30))
    def test_never_the_best_and_never_most(self, bad: list[int]) -> None:
        """By Chebyshev's one-sided inequality at most a share of 1 / (1 + 1.9²) can be so far below the mean."""
        found = [int(outlier.address[1:]) for outlier in success_rate_outliers(rated(*bad))]
        self.assertLessEqual(len(found), len(bad) / (1 + 1.9**2) + 1e-9)
        for place in found:
            self.assertGreater(bad[place], min(bad))


class Latency(SynchronousTestCase):
    """The mirrored rule: above the mean plus 1.9 standard deviations, and above twice the others' mean."""

    def test_the_one_that_is_slow_is_named_with_the_figures(self) -> None:
        """Ten times as slow as its four peers."""
        (outlier,) = latency_outliers(timed(10, 10, 10, 10, 100))
        self.assertEqual((outlier.address, outlier.cause), ("n4", "latency"))
        self.assertEqual(
            outlier.evidence, "mean latency 100 ms of 100 responses, where the others' mean is 10 ms and the limit 96.4 ms"
        )

    def test_twice_as_slow_is_within_what_equals_differ_by(self) -> None:
        """It deviates by 2 standard deviations, as any single one does, but takes no more than twice as long."""
        self.assertEqual(latency_outliers(timed(10, 10, 10, 10, 19.9)), [])
        self.assertEqual(len(latency_outliers(timed(10, 10, 10, 10, 20.1))), 1)

    def test_the_fast_one_is_no_outlier(self) -> None:
        """Only those above the mean are."""
        self.assertEqual(latency_outliers(timed(100, 100, 100, 100, 1)), [])

    def test_few_peers_and_few_responses_say_nothing(self) -> None:
        """As for the success rate."""
        self.assertEqual(latency_outliers(timed(1, 1, 1, 100)), [])
        self.assertEqual(latency_outliers(timed(1, 1, 1, 1, 100, answers=99)), [])

    def test_the_slowest_comes_first(self) -> None:
        """As not all may be ejected."""
        found = latency_outliers(timed(*[1] * 18, 50, 60))
        self.assertEqual([outlier.address for outlier in found], ["n19", "n18"])

    @given(st.lists(st.floats(10, 19.9), min_size=5, max_size=30))
    def test_a_pool_of_equals_has_no_outlier(self, means: list[float]) -> None:
        """Whatever they differ by, as long as none takes twice as long as another."""
        self.assertEqual(latency_outliers(timed(*means)), [])
