"""Cookies as clients send them."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.cookies import cookie_value

from ..support import given


class CookieTests(SynchronousTestCase):
    """One cookie among others."""

    def test_found(self) -> None:
        """First or last, with or without spaces, in whatever case the field's name stands."""
        for line in (b"Cookie: id=7", b"cookie: a=1; id=7; b=2", b"COOKIE:a=1;id=7", b"Cookie: a=1;  id = 7 "):
            self.assertEqual(cookie_value(b"Host: a\r\n" + line + b"\r\nX: y\r\n", b"id"), b"7", line)

    def test_not_found(self) -> None:
        """Another name, another case, another field, a part of a name, a name without a value."""
        for line in (
            b"Cookie: a=1",
            b"Cookie: ID=7",
            b"X-Cookie: id=7",
            b"Cookie: xid=7; idx=7",
            b"Cookie: id",
            b"Cookie:",
            b"id: id=7",
        ):
            self.assertIsNone(cookie_value(line + b"\r\n", b"id"), line)
        self.assertIsNone(cookie_value(b"", b"id"))

    def test_the_first_of_several_counts(self) -> None:
        """In one field or in several: RFC 6265 section 5.4 puts the one with the longest path first."""
        self.assertEqual(cookie_value(b"Cookie: id=7; id=8\r\n", b"id"), b"7")
        self.assertEqual(cookie_value(b"Cookie: a=1\r\nCookie: id=7\r\nCookie: id=8\r\n", b"id"), b"7")

    def test_quotes_are_taken_off(self) -> None:
        """As a pair; one alone is part of the value."""
        for written, value in ((b'"7"', b"7"), (b'""', b""), (b'"', b'"'), (b'"7', b'"7'), (b"a=b", b"a=b"), (b"", b"")):
            self.assertEqual(cookie_value(b"Cookie: id=%b\r\n" % written, b"id"), value)

    @given(st.binary())
    def test_hostile_bytes(self, value: bytes) -> None:
        """Whatever a client sends, nothing is raised."""
        cookie_value(b"Cookie: id" + value + b"\r\n", b"id")
