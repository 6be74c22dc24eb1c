"""How a path may be read."""

from __future__ import annotations

from hypothesis import strategies
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.routing.readings import LONGEST_AMBIGUOUS, normal_path, readings
from tests.support import given

_PARTS = (b"a", b"b", b".", b"..", b";x", b"%2F", b"\\", b"", b"%3b", b"%61", b"%2e", b"%25", b"%")
_PATHS = strategies.lists(strategies.sampled_from(_PARTS), max_size=7).map(lambda parts: b"/" + b"/".join(parts))


class ReadingsTests(SynchronousTestCase):
    """What servers make of a path."""

    def test_spellings_that_mean_nothing_are_one(self) -> None:
        """What needs no encoding is decoded, all else in capitals."""
        self.assertEqual(normal_path(b"/%61%70i/%c3%a4%20"), b"/api/\xc3\xa4 ")
        self.assertEqual(normal_path(b"/a%2fb%5c%3b%3f%23%25"), b"/a%2Fb%5C%3B%3F%23%25")
        self.assertEqual(normal_path(b"/100%/%zz"), b"/100%/%zz")

    def test_an_ordinary_path_has_one_reading(self) -> None:
        """What has dots in names, encoded text or a slash at the end is nothing out of the ordinary."""
        for path in (b"/", b"/a/b/", b"/.well-known/x", b"/a..b/c.html", b"/%C3%A4", b"/a%3Fb", b"*", b"/a:b@c=d,e"):
            self.assertEqual(readings(path), (path,))

    def test_several_spellings_of_one_thing_have_none(self) -> None:
        """A server that knows one of them and not the other comes out where nobody else does."""
        for path in (
            b"/b%2F..%2Fadmin%2Fq\\..\\..\\..\\x",  # /admin/… where only %2F is a slash
            b"/b%2f..%2fadmin%2fq%5c..%5c..%5c..%5cx",
            b"/b\\..\\admin\\q%5c..%5c..%5c..%5cx",
            b"/;x%5Cy%2Fadmin",  # //admin where only %2F is a slash
            b"/a%3b%2F..%2Fadmin;%2F..",  # /admin where only a plain semicolon begins parameters
        ):
            self.assertEqual(readings(normal_path(path)), (), path)
        for path in (b"/a;b=c%3bd", b"/a%2Fb\\c", b"/a/../b;c"):
            self.assertIn(normal_path(path), readings(normal_path(path)))

    def test_every_way_to_read_a_path_is_among_its_readings(self) -> None:
        """Dots, slashes, encoded slashes, backslashes and parameters, each alone and together."""
        for path, meant in (
            (b"/x/../api", b"/api"),
            (b"/%2e%2e/api", b"/api"),
            (b"/./api", b"/api"),
            (b"//api", b"/api"),
            (b"/api;v=1/x", b"/api/x"),
            (b"/api%3Bv=1", b"/api"),
            (b"/x/..;/api", b"/api"),
            (b"/x%2f..%2Fapi", b"/api"),
            (b"/x\\..\\api", b"/api"),
            (b"/x%5c..%5Capi", b"/api"),
            (b"/x//../../api", b"/api"),
            (b"/x//../api", b"/x/api"),
            (b"/x;y%2Fapi", b"/x/api"),
            (b"/x;y%2Fapi", b"/x"),
            (b"/x;y%2Fz/api%2Fa", b"/x/api/a"),
            (b"/api/x/..", b"/api/"),
        ):
            found = readings(normal_path(path))
            self.assertIn(meant, found, path)
            self.assertEqual(found[0], normal_path(path))

    def test_a_null_byte_leaves_no_reading(self) -> None:
        """Where such a path ends is anybody's guess."""
        self.assertEqual(readings(normal_path(b"/admin%00.html")), ())

    def test_what_is_long_and_ambiguous_has_none(self) -> None:
        """Looking at all readings of it would take too long; one that is only long is read as any."""
        long = b"/a" * LONGEST_AMBIGUOUS
        self.assertEqual(readings(long + b"/.well-known"), (long + b"/.well-known",))
        self.assertEqual(readings(long + b"//x"), ())
        self.assertEqual(len(readings(long[: LONGEST_AMBIGUOUS - 3] + b"//x")), 2)

    @given(_PATHS)
    def test_no_spelling_of_a_path_adds_to_what_it_is(self, path: bytes) -> None:
        """The normal form of a normal form with no loose percent sign is itself; readings are paths, and differ."""
        normal = normal_path(path)
        if path.count(b"%") == sum(path.count(one) for one in (b"%2F", b"%3b", b"%61", b"%2e", b"%25")):
            self.assertEqual(normal_path(normal), normal)
        found = readings(normal)
        self.assertEqual(len(set(found)), len(found))
        self.assertTrue(all(one.startswith(b"/") for one in found))
