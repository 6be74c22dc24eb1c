"""Problems: paths of keys, nearest names, and lines of errors."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.config.problems import Place, Problem, did_you_mean, from_lines, path_of_text, path_text
from lbproxy.errors import ConfigurationError
from tests.support import given


class PathTests(SynchronousTestCase):
    """Paths are written as people read them."""

    def test_keys_and_places(self) -> None:
        """Dots between keys, brackets around places, quotes around what is no bare key."""
        self.assertEqual(path_text(("routes", 2, "path-regex")), "routes[2].path-regex")
        self.assertEqual(path_text(("pools", "a b", "policy")), 'pools."a b".policy')

    @given(st.lists(st.one_of(st.text("ab-.[\" é", max_size=5), st.integers(0, 99)), max_size=5).map(tuple))
    def test_what_is_written_reads_back(self, path: tuple[str | int, ...]) -> None:
        """Whatever the keys are."""
        self.assertEqual(path_of_text(path_text(path)), path)

    def test_what_is_no_path(self) -> None:
        """It is refused."""
        self.assertRaises(ValueError, path_of_text, "a b")


class ProblemTests(SynchronousTestCase):
    """How a mistake is told."""

    def test_in_a_file(self) -> None:
        """File, line, path, and keys without dashes."""
        problem = Problem(("sticky-key",), "it was given without --sticky", Place("lb.toml", 3))
        self.assertEqual(str(problem), "lb.toml:3: sticky-key: it was given without sticky")

    def test_of_an_option(self) -> None:
        """The option, and no file; others with their dashes."""
        problem = Problem(("pools", "default", "sticky-key"), "it was given without --sticky", Place("--sticky-key"))
        self.assertEqual(str(problem), "--sticky-key: it was given without --sticky")
        self.assertEqual(problem.of_an_option, "--sticky-key: it was given without --sticky")

    def test_lines_of_an_error(self) -> None:
        """Each is a problem of the key that it begins with, if there is such a key."""
        error = ConfigurationError("--probe-status: 'x' was given\nallow[2]: 5 was given\nhttp: no\nheaders.X-A: y")
        self.assertEqual(
            from_lines(error, ("probe-status", "allow", "headers"), ("pools",)),
            [
                Problem(("pools", "probe-status"), "'x' was given"),
                Problem(("pools", "allow", 2), "5 was given"),
                Problem(("pools",), "http: no"),
                Problem(("pools", "headers", "X-A"), "y"),
            ],
        )

    def test_the_nearest_name(self) -> None:
        """Only if one is near."""
        self.assertEqual(did_you_mean("retrys", ["retries", "hedge"]), " (did you mean retries?)")
        self.assertEqual(did_you_mean("xyz", ["retries"]), "")
