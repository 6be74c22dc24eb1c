"""Routes as values: what may be said, and what is said where it may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.routing.model import (
    Condition,
    FixedAnswer,
    Match,
    Mirror,
    Redirect,
    Route,
    Split,
    StaticFiles,
    conditions,
)


class RouteModelTests(SynchronousTestCase):
    """What is converted, and what is refused."""

    def refused(self, make: Callable[..., Any], *parts: str, **given: Any) -> None:
        """It cannot be made; the message has all of these parts."""
        message = str(self.assertRaises(ConfigurationError, make, **given))
        for part in parts:
            self.assertIn(part, message)

    def test_one_text_is_a_list_of_one(self) -> None:
        """What may be several need not be."""
        match = Match(host="shop.example", path="/a", path_prefix="/b", path_regex="^/c", method="GET", client="10.0.0.0/8")
        self.assertEqual(
            match,
            Match(
                host=["shop.example"], path=["/a"], path_prefix=["/b"], path_regex=["^/c"], method=["GET"], client=["10.0.0.0/8"]
            ),
        )

    def test_hosts_are_kept_as_they_compare(self) -> None:
        """Case and the dot at the end mean nothing, nor does saying one twice; an address is a host too."""
        match = Match(host=["Shop.Example.", "shop.example", "*.SHOP.example", "192.0.2.1", "[2001:DB8:0::1]"])
        self.assertEqual(match.host, ("shop.example", "*.shop.example", "192.0.2.1", "[2001:db8::1]"))

    def test_hosts_that_are_none_are_refused_with_a_hint(self) -> None:
        """All of a list at once."""
        for given, hint in (
            ("shop.example:80", "it has a port"),
            ("[::1]:80", "it has a port"),
            ("münchen.example", "write xn--mnchen-3ya.example"),
            ("a.*.example", "only allowed as the whole first label"),
            ("*shop.example", "only allowed as the whole first label"),
            ("*", "a route for any host has no host"),
            ("https://shop.example/", "it is a URI"),
            ("shop..example", "allowed is a name such as"),
            ("", "allowed is a name such as"),
            ("-a.example", "allowed is a name such as"),
            ("[1.2.3.4]", "allowed is a name such as"),
            (f"{'a.' * 127}example", "allowed is a name such as"),
        ):
            self.refused(Match, f"host: {given!r} was given", hint, host=given)
        self.refused(Match, "host: 'a b'", "host: 7 ", host=["a b", 7])

    def test_paths_begin_with_a_slash_and_mean_one_thing(self) -> None:
        """What backends read in different ways could never be met."""
        for given, hint in (
            ("cart", "it does not begin with a slash"),
            ("/cart?x=1", "arguments are said with query"),
            ("/cart#x", "it has a fragment"),
            ("/a b", "write a space as %20"),
            ("/a/../b", "backends read it in different ways"),
            ("//a", "backends read it in different ways"),
            ("/a;x", "backends read it in different ways"),
            ("/a%2Fb", "backends read it in different ways"),
            ("/a\\b", "backends read it in different ways"),
        ):
            self.refused(Match, f"path: {given!r} was given", hint, path=given)
            self.refused(Match, f"path-prefix: {given!r} was given", hint, path_prefix=given)
        Match(path="/.well-known/käse", path_prefix=["/", "/api/", "/a%20b"])

    def test_regular_expressions_compile_and_are_not_endless(self) -> None:
        """The reason stands with the mistake."""
        self.refused(Match, "path-regex: '('", "unterminated subpattern", path_regex="(")
        self.refused(Match, "path-regex:", "at most 1024 characters", path_regex="a" * 1025)

    def test_methods_are_written_in_capitals(self) -> None:
        """They are compared as they are, and CONNECT is not served."""
        self.refused(Match, "method: 'get'", "in capitals: GET", method="get")
        self.refused(Match, "method: 'CONNECT'", "not served", method=["GET", "CONNECT"])
        self.refused(Match, "method: 'G T'", method="G T")

    def test_networks_and_schemes(self) -> None:
        """A network is one, and a scheme is one of two."""
        self.refused(Match, "client: '10.0.0.1/8'", "host bits", client="10.0.0.1/8")
        self.refused(Match, "scheme: 'ftp'", "http or https", scheme="ftp")

    def test_conditions_are_read_as_they_stand_in_a_file(self) -> None:
        """A text, a pattern, yes and no."""
        given = {"X-Beta": "1", "Cookie": {"regex": "beta="}, "X-Old": False, "X-Any": True}
        expected = (
            Condition(name="X-Beta", exact="1"),
            Condition(name="Cookie", regex="beta="),
            Condition(name="X-Old", present=False),
            Condition(name="X-Any"),
        )
        self.assertEqual(conditions(given), expected)
        self.assertEqual(Match(header=given).header, expected)
        self.assertEqual(Match(query=expected).query, expected)

    def test_conditions_that_cannot_be_are_refused(self) -> None:
        """Each with its name, all at once."""
        self.refused(Match, "header.X: 3 was given", "header.Y: regex: '('", header={"X": 3, "Y": {"regex": "("}})
        self.refused(Match, "query.v: {'exact':", "allowed is a text", query={"v": {"exact": "1", "what": "2"}})
        self.refused(Match, "query: 'v=1' was given", query="v=1")
        self.refused(Match, "said with host", header={"Host": "a"})
        self.refused(Match, "any name but connection, content-length", header={"Content-Length": "1"})
        self.refused(Match, "header: 'a b'", header={"a b": "1"})
        self.refused(Match, "whatever its case", header={"X-A": "1", "x-a": False})
        self.refused(Match, "no value has white space around it", header={"X-A": " 1"})
        self.refused(Match, "header.X-A: 'a\\nb'", header={"X-A": "a\nb"})
        self.refused(Match, "query: ''", query={"": "1"})
        self.refused(Match, "twice", query=(Condition(name="v"), Condition(name="v", exact="1")))
        self.refused(Condition, "exact and regex: both", name="a", exact="1", regex="1")
        self.refused(Condition, "present: false", name="a", exact="1", present=False)

    def test_a_split_has_weights_and_a_key(self) -> None:
        """At least one of them is above 0."""
        self.assertEqual(Split(pools={"a": 95, "b": 0}, by="cookie:user").pools, {"a": 95, "b": 0})
        self.refused(Split, "pools: {}", pools={})
        self.refused(Split, "at least one of them above 0", pools={"a": 0})
        self.refused(Split, "pools.a: 1001", "from 0 to 1000", "pools.b: True", pools={"a": 1001, "b": True})
        self.refused(Split, "by: 'cooky:x'", "cookie:NAME", pools={"a": 1}, by="cooky:x")

    def test_a_redirect_leads_to_a_uri(self) -> None:
        """With parts of the request, and a status that is for it."""
        self.assertEqual(Redirect(to="https://{host}{uri}").status, 308)
        self.refused(Redirect, "in braces stand scheme, host", to="https://{hots}/")
        self.refused(Redirect, "visible ASCII", to="/a b")
        self.refused(Redirect, "to: 'cart'", to="cart")
        self.refused(Redirect, "301, 302, 303, 307 or 308", to="/", status=304)

    def test_answers_files_and_mirrors(self) -> None:
        """In their ranges, and with nothing that could end a line."""
        FixedAnswer(status=503, headers={"Retry-After": "5"})
        self.refused(FixedAnswer, "status: 101", status=101)
        self.refused(FixedAnswer, "headers: 'content-length'", headers={"content-length": "5"})
        self.refused(FixedAnswer, "headers.X: 'a\\r\\nb'", headers={"X": "a\r\nb"})
        self.refused(FixedAnswer, "type: 'text'", "media type", kind="text")
        self.assertEqual(StaticFiles(directory="/srv", index="a.html").index, ("a.html",))
        self.refused(StaticFiles, "directory: ''", directory="")
        self.refused(StaticFiles, "index: '../x'", directory="/srv", index=["../x"])
        self.refused(Mirror, "share: 101", "from 0 to 100", pool="a", share=101)

    def test_a_route_leads_to_exactly_one_place(self) -> None:
        """Those that were given are named."""
        self.refused(Route, "none was given", "pool, split, redirect, answer, static and resource", name="a")
        self.refused(Route, "pool and redirect were given", name="a", pool="app", redirect="/x")
        self.refused(Route, "name: 'a\\nb'", name="a\nb", pool="app")
        self.refused(Route, "split: {'app': 1}", name="a", split={"app": 1})
        self.assertEqual(Route(name="a", redirect="/x").redirect, Redirect(to="/x"))

    def test_a_route_tells_its_pools(self) -> None:
        """Those of a split, and the mirror's."""
        self.assertEqual(Route(name="a", pool="app", mirror=Mirror(pool="shadow")).pools, ("app", "shadow"))
        self.assertEqual(Route(name="a", split=Split(pools={"a": 1, "b": 2})).pools, ("a", "b"))
        self.assertEqual(Route(name="a", redirect="/").pools, ())
