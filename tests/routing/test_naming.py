"""Names for routes that were given none."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.routing.model import Match
from lbproxy.routing.naming import name_of, named
from tests.routing.support import route


class NamingTests(SynchronousTestCase):
    """A name says what a route is for, and is its own."""

    def test_a_name_says_what_a_route_is_for(self) -> None:
        """As far as there is anything to say; not what a header field must be, which may be a secret."""
        for match, name in (
            (Match(), "*"),
            (Match(host="shop.example", path_prefix="/cart/"), "shop.example/cart/*"),
            (Match(host=["shop.example", "*.shop.example"], path="/cart"), "shop.example(+1)/cart"),
            (Match(path_regex="^/a"), "~^/a"),
            (Match(path_prefix="/"), "/*"),
            (Match(method=["GET", "HEAD"], scheme="https"), "GET HEAD https://*"),
            (
                Match(header={"A": "1", "B": False}, query={"v": {"regex": "x"}}, client="10.0.0.0/8"),
                "* [A, B!, v~x, 10.0.0.0/8]",
            ),
        ):
            self.assertEqual(name_of(match), name)

    def test_a_name_is_of_one_line_and_not_endless(self) -> None:
        """Whatever the conditions are."""
        name = name_of(Match(query={"v": "a\nb" * 100}))
        self.assertEqual(len(name), 100)
        self.assertNotIn("\n", name)

    def test_every_route_has_a_name_of_its_own(self) -> None:
        """Those that were given stay; what is made gives way."""
        routes = named([route(""), route("", path="/a"), route("*"), route("")])
        self.assertEqual([one.name for one in routes], ["* (2)", "/a", "*", "* (3)"])
        self.assertEqual(named(routes), routes)

    def test_a_name_given_twice_is_refused(self) -> None:
        """All of them are named."""
        error = self.assertRaises(ConfigurationError, named, [route("a"), route("b"), route("a"), route("b"), route("c")])
        self.assertEqual([line.split()[1] for line in str(error).splitlines()], ["'a'", "'b'"])
