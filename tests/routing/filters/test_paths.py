"""The filters that change the path."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.answers import Answer
from lbproxy.routing.filters.paths import PathRewrite, PrefixAdd, PrefixStrip
from tests.routing.filters.support import live, passing, told
from tests.routing.support import RoutedRig
from tests.support import given, split, status, values


def became(spec: Any, target: bytes) -> bytes:
    """What a target becomes."""
    passage = passing()
    passage.request.target = target
    assert live(spec).request(passage) is None
    result: bytes = passage.request.target
    return result


class PrefixStripTests(SynchronousTestCase):
    """Segments are taken off the beginning of the path."""

    def test_whole_segments_go(self) -> None:
        """What is left begins with a slash."""
        spec = PrefixStrip(prefix="/app/v1/")
        for target, left in (
            (b"/app/v1/x?y=/app", b"/x?y=/app"),
            (b"/app/v1", b"/"),
            (b"/app/v1/", b"/"),
            (b"/app/v1?a", b"/?a"),
        ):
            self.assertEqual(became(spec, target), left)

    def test_another_path_goes_on_as_it_is(self) -> None:
        """Nor is anything said of a prefix."""
        for target in (b"/apple", b"/ap", b"/", b"/x/app", b"//app", b"*"):
            self.assertEqual(became(PrefixStrip(prefix="/app"), target), target)
        self.assertEqual(values(told(PrefixStrip(prefix="/app"), "GET /x HTTP/1.1\nHost: a"), b"X-Forwarded-Prefix"), [])

    def test_what_is_left_is_no_authority(self) -> None:
        """It begins with one slash, however many there were."""
        self.assertEqual(became(PrefixStrip(prefix="/app"), b"/app//evil.example/x"), b"/evil.example/x")

    def test_percent_signs_are_read(self) -> None:
        """A path is the same whichever of its letters are encoded; an encoded slash ends no segment."""
        self.assertEqual(became(PrefixStrip(prefix="/app"), b"/%61pp/%62"), b"/%62")
        self.assertEqual(became(PrefixStrip(prefix="/é"), b"/%c3%a9/x"), b"/x")
        self.assertEqual(became(PrefixStrip(prefix="/app"), b"/app%2Fx"), b"/app%2Fx")

    def test_the_backend_is_told_the_prefix(self) -> None:
        """After what a proxy or filter before has taken off."""
        text = "GET /app/v1/x HTTP/1.1\nHost: a\nX-Forwarded-Prefix: /evil"
        self.assertEqual(values(told(PrefixStrip(prefix="/app"), text), b"X-Forwarded-Prefix"), [b"/app"])
        passage = passing(text)
        live(PrefixStrip(prefix="/app")).request(passage)
        live(PrefixStrip(prefix="/v1")).request(passage)
        self.assertTrue(passage.client.forwarded.endswith(b"X-Forwarded-Prefix: /app/v1\r\n"))
        self.assertEqual((passage.request.target, passage.exchange.target), (b"/x", b"/app/v1/x"))

    def test_prefixes_are_paths(self) -> None:
        """Of one segment at least, without query."""
        for prefix in ("", "/", "app", "//app", "/a//b", "/a?b", "/a#b", "/a b", "/a\n", 3):
            self.assertRaises(ConfigurationError, PrefixStrip, prefix=prefix)
            self.assertRaises(ConfigurationError, PrefixAdd, prefix=prefix)


class PrefixAddTests(SynchronousTestCase):
    """A prefix is put before the path."""

    def test_it_stands_before_the_path(self) -> None:
        """The query stays."""
        for target, now in ((b"/x?y", b"/v1/x?y"), (b"/", b"/v1/"), (b"//x", b"/v1//x"), (b"*", b"*")):
            self.assertEqual(became(PrefixAdd(prefix="/v1/"), target), now)

    def test_what_becomes_too_long_is_refused(self) -> None:
        """As a target of that length would be."""
        passage = passing("GET /123456789012345 HTTP/1.1\nHost: a")
        answer = live(PrefixAdd(prefix="/v1"), target_limit=16).request(passage)
        assert isinstance(answer, Answer)
        self.assertEqual((answer.status, answer.end), (414, "too-large"))
        self.assertEqual(passage.request.target, b"/123456789012345")


class PathRewriteTests(SynchronousTestCase):
    """What a regular expression finds is replaced."""

    def test_groups_stand_in_the_replacement(self) -> None:
        """Written in either way."""
        for replacement in (r"/u/\2/\1", "/u/$2/$1", r"/u/\g<who>/\g<1>"):
            spec = PathRewrite(regex=r"^/([a-z]+)/(?P<who>[^/]+)$", replacement=replacement)
            self.assertEqual(became(spec, b"/user/%C3%A9?q=1"), b"/u/%C3%A9/user?q=1")

    def test_no_path_begins_to_climb(self) -> None:
        """What is put together is no segment of two dots, in any reading; one that was there before was the router's to judge."""
        spec = PathRewrite(regex="-", replacement="")
        for target in (b"/a/.-./adm", b"/a/.-.", b"/a/%2e-%2E/adm", b"/a/.-.;x/adm", b"/a%2F.-.%5cadm", b"/a/%-2e./adm"):
            passage = passing()
            passage.request.target = target
            verdict = live(spec).request(passage)
            assert isinstance(verdict, Answer)
            self.assertEqual((verdict.status, passage.request.target), (404, target))
        for target, left in ((b"/a/../-b", b"/a/../b"), (b"/a/..-b", b"/a/..b"), (b"/-x?a=/../", b"/x?a=/../")):
            self.assertEqual(became(spec, target), left)

    def test_the_first_place_is_replaced(self) -> None:
        """Also by an expression that would find the empty text after it."""
        self.assertEqual(became(PathRewrite(regex="a", replacement="b"), b"/aa"), b"/ba")
        self.assertEqual(became(PathRewrite(regex="(.*)", replacement="/x$1"), b"/a"), b"/x/a")

    def test_what_is_not_found_goes_on(self) -> None:
        """As it is."""
        for target in (b"/b?a", b"*"):
            self.assertEqual(became(PathRewrite(regex="a", replacement="c"), target), target)

    def test_a_query_in_the_replacement_comes_first(self) -> None:
        """The client's follows."""
        spec = PathRewrite(regex="^/p/(.*)$", replacement="/page?name=$1")
        self.assertEqual(became(spec, b"/p/a?b=c"), b"/page?name=a&b=c")
        self.assertEqual(became(spec, b"/p/a"), b"/page?name=a")

    def test_what_may_not_stand_in_a_target_is_encoded(self) -> None:
        """Spaces, fragments, and what is not ASCII."""
        self.assertEqual(became(PathRewrite(regex="^.*$", replacement="/é #"), b"/"), b"/%C3%A9%20%23")

    def test_an_optional_group_may_be_missing(self) -> None:
        """It is empty then."""
        self.assertEqual(became(PathRewrite(regex="^/a(b)?", replacement="/c$1d"), b"/a"), b"/cd")

    def test_a_replacement_has_groups_that_there_are(self) -> None:
        """Numbers and names."""
        for replacement in ("$2", r"\2", r"\g<name>", r"\q", "a\r\nb"):
            error = self.assertRaises(ConfigurationError, PathRewrite, regex="^/(a)", replacement=replacement)
            self.assertTrue(str(error).startswith("replacement: "), error)

    @given(st.binary(max_size=30), st.sampled_from((r"$1", r"/$1/$1", r"$1?$1", "")))
    def test_what_comes_of_it_is_a_target(self, path: bytes, replacement: str) -> None:
        """Whatever a client sends and the replacement makes of it."""
        target = became(PathRewrite(regex="(?s)^/(.*)$", replacement=replacement), b"/" + path)
        self.assertRegex(target, rb"\A/(?!/)[!\"$-~]*\Z")


class WholeTests(SynchronousTestCase):
    """Through a whole balancer."""

    def test_the_log_has_what_the_client_asked_for(self) -> None:
        """And the backend what came of it, after all filters."""
        rig = RoutedRig(PrefixStrip(prefix="/app"), PrefixAdd(prefix="/v1"), PathRewrite(regex="x$", replacement="y"))
        got, came = rig.ask(b"GET /app/x?q HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(split(got)[0], b"GET /v1/y?q HTTP/1.1")
        self.assertEqual((status(came), rig.ended[0].target), (200, b"/app/x?q"))
