"""Promises about cookies: the one that is meant is found, and nothing else is taken for it."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.cookies import cookie_value

from ..support import given

names = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
#: A cookie-octet is neither a control, white space, a quote, a comma, a semicolon nor a backslash.
contents = st.from_regex(rb"[!#-+\--:<-\[\]-~]{0,20}", fullmatch=True)


class CookieValue(SynchronousTestCase):
    """``cookie_value`` of a head's fields."""

    def test_found_among_others(self) -> None:
        """Wherever the cookie stands in its field, and however the field's name is written."""
        for field in (b"Cookie: lb=x", b"cookie:lb=x", b"COOKIE: a=1; lb=x; b", b"Cookie: a=1;lb=x", b"Cookie: \ta=1;\tlb = x "):
            fields = b"Host: example.org\r\n%b\r\nAccept: */*\r\n" % field
            self.assertEqual(cookie_value(fields, b"lb"), b"x", field)

    def test_the_first_of_all_fields_counts(self) -> None:
        """A client may send several Cookie fields; the first cookie of the name counts, as most servers have it."""
        self.assertEqual(cookie_value(b"Cookie: a=1\r\nX: y\r\nCookie: lb=x; lb=y\r\nCookie: lb=z\r\n", b"lb"), b"x")

    def test_quotes_around_the_value_are_taken_off(self) -> None:
        """Those around the whole value only."""
        for sent, meant in ((b'"x"', b"x"), (b'""', b""), (b'"', b'"'), (b'"x', b'"x'), (b'x"y"', b'x"y"')):
            self.assertEqual(cookie_value(b"Cookie: lb=%b\r\n" % sent, b"lb"), meant, sent)

    def test_a_value_may_have_an_equals_sign(self) -> None:
        """Only the first one ends the name."""
        self.assertEqual(cookie_value(b"Cookie: lb=eA==\r\n", b"lb"), b"eA==")

    def test_another_name_is_not_taken_for_it(self) -> None:
        """Neither one that ends or begins alike, nor one in another case, nor the name without a value."""
        for cookie in (b"xlb=1", b"lbx=1", b"LB=1", b"lb", b"x=lb=1", b"x lb=1", b"=lb", b'x="lb"'):
            self.assertIsNone(cookie_value(b"Cookie: %b\r\n" % cookie, b"lb"), cookie)

    def test_only_cookie_fields_are_looked_at(self) -> None:
        """What stands in other fields is no cookie, whatever their names end in."""
        for field in (b"Set-Cookie: lb=1", b"X-Cookie: lb=1", b"Cookie2: lb=1", b"X: Cookie: lb=1", b"X: \nCookie: lb=1"):
            self.assertIsNone(cookie_value(field + b"\r\n", b"lb"), field)
        self.assertIsNone(cookie_value(b"", b"lb"))

    @given(st.lists(st.lists(st.tuples(names, contents), min_size=1, max_size=5), max_size=4))
    def test_every_cookie_can_be_had(self, fields: list[list[tuple[bytes, bytes]]]) -> None:
        """The first of each name, from whichever field."""
        lines = [b"Cookie: " + b"; ".join(b"%b=%b" % pair for pair in pairs) + b"\r\n" for pairs in fields]
        first: dict[bytes, bytes] = {}
        for pairs in fields:
            for name, value in pairs:
                first.setdefault(name, value)
        for name, value in first.items():
            self.assertEqual(cookie_value(b"".join(lines), name), value)

    @given(st.lists(st.binary(max_size=30).map(lambda value: b"Cookie: lb" + value + b"\r\n"), max_size=4).map(b"".join))
    def test_any_bytes_are_harmless(self, fields: bytes) -> None:
        """Whatever a client sends, there is a value that it sent, or none."""
        value = cookie_value(fields, b"lb")
        self.assertTrue(value is None or value in fields)
