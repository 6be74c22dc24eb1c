"""What of a request is its key."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.keys import request_key
from lbproxy.proxy.client import Client

from ..support import given, request


class Asked:
    """An exchange, as far as its key goes."""

    def __init__(self, target: bytes = b"/", *fields: bytes, address: str = "192.0.2.7") -> None:
        lines = b"".join(field + b"\r\n" for field in fields)
        self.request = request(b"GET %b HTTP/1.1\r\nHost: Example.org\r\n%b\r\n" % (target, lines))
        self.client = Client(address, False, b"")


def key(text: str, *words: Any, **options: Any) -> bytes | None:
    """The key of a request."""
    return request_key(text)(Asked(*words, **options))


class KeyTests(SynchronousTestCase):
    """Each kind of key."""

    def test_ip(self) -> None:
        """The client's address; a Unix socket's clients have none."""
        self.assertEqual(key("ip"), b"192.0.2.7")
        self.assertEqual(key("ip", address="2001:db8::7"), b"2001:db8::7")
        self.assertIsNone(key("ip", address="unix"))
        self.assertIsNone(key("ip", address="unknown"))

    def test_uri_and_path(self) -> None:
        """With the query and without."""
        self.assertEqual(key("uri", b"/a?b=c?d"), b"/a?b=c?d")
        self.assertEqual(key("path", b"/a?b=c?d"), b"/a")
        self.assertEqual(key("path", b"/a"), b"/a")

    def test_header(self) -> None:
        """The first of that name, in any case; an empty one is none."""
        self.assertEqual(key("header:X-User", b"/", b"x-user:  anna ", b"X-User: berta"), b"anna")
        self.assertIsNone(key("header:X-User", b"/", b"X-Users: anna"))
        self.assertIsNone(key("header:X-User", b"/", b"X-User:"))

    def test_header_that_does_not_go_on(self) -> None:
        """Host, and those about the client that we write ourselves, can be keys as well."""
        self.assertEqual(key("header:Host"), b"Example.org")
        self.assertEqual(key("header:X-Real-IP", b"/", b"X-Real-IP: 10.1.1.1"), b"10.1.1.1")

    def test_cookie(self) -> None:
        """Its value; an empty one is none."""
        self.assertEqual(key("cookie:id", b"/", b'Cookie: a=b; id="7"'), b"7")
        self.assertIsNone(key("cookie:id", b"/", b"Cookie: id="))
        self.assertIsNone(key("cookie:id"))

    def test_query(self) -> None:
        """The first argument of that name, as it stands; an empty one is none."""
        self.assertEqual(key("query:id", b"/?a=1&id=%37&id=8"), b"%37")
        self.assertEqual(key("query:id", b"/?id=a=b"), b"a=b")
        for target in (b"/", b"/?", b"/?id", b"/?id=", b"/?xid=7&id2=7", b"/id=7"):
            self.assertIsNone(key("query:id", target), target)

    def test_a_part_of_a_value(self) -> None:
        """What the pattern's first group finds, or the pattern where it has none; nothing found is no key."""
        user = "header:Authorization =~ ^Bearer syt_([^_]+)_"
        self.assertEqual(key(user, b"/", b"Authorization: Bearer syt_YW5uYQ_x_1"), b"YW5uYQ")
        self.assertIsNone(key(user, b"/", b"Authorization: Bearer other"))
        self.assertIsNone(key(user))
        self.assertEqual(key("path =~ /rooms/[^/]+", b"/v3/rooms/!a/send"), b"/rooms/!a")
        self.assertIsNone(key("path =~ /rooms/([^/]*)", b"/v3/rooms/"))

    def test_the_first_of_several(self) -> None:
        """Which of them a request has."""
        text = "header:X-User or cookie:user or ip"
        self.assertEqual(key(text, b"/", b"X-User: anna", b"Cookie: user=berta"), b"anna")
        self.assertEqual(key(text, b"/", b"Cookie: user=berta"), b"berta")
        self.assertEqual(key(text), b"192.0.2.7")
        self.assertRaises(ConfigurationError, request_key, "ip or nothing")

    def test_a_pattern_that_is_none(self) -> None:
        """The message says why."""
        for text, why in (("ip =~ (", "missing )"), ("ip =~ ä", "ascii"), ("ip =~ " + "a" * 501, "more than 500 characters")):
            self.assertIn(why, str(self.assertRaises(ConfigurationError, request_key, text)))

    def test_what_is_no_key_is_refused(self) -> None:
        """The message says what is allowed."""
        for text in (
            "",
            "cookies",
            "header",
            "header:",
            "header:X User",
            "cookie:a=b",
            "query:",
            "query:a&b",
            "ip:4",
            "header:Ä",
        ):
            error = self.assertRaises(ConfigurationError, request_key, text)
            allowed = (
                "ip, uri, path, header:NAME, cookie:NAME and query:NAME, each perhaps with =~ REGEX, and several with or between "
                "them"
            )
            self.assertEqual(str(error), f"hash: key {text!r} was given; allowed are {allowed}")

    @given(st.sampled_from(("header:X-User", "cookie:id", "query:id", "uri", "path")), st.binary())
    def test_hostile_bytes(self, kind: str, value: bytes) -> None:
        """Whatever a client sends, the key is bytes or nothing."""
        asked = Asked()
        asked.request.target = b"/?id=" + value
        asked.request.fields = b"X-User: " + value + b"\r\nCookie: id=" + value + b"\r\n"
        self.assertIsInstance(request_key(kind)(asked) or b"", bytes)
