"""Promises about where a request is sent that came in the clear."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hypothesis import assume, example
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import BadMessage
from lbproxy.http1.head import RequestHead
from lbproxy.proxy.client import Client
from lbproxy.proxy.redirect import secure_location

from ..support import given, request


def ask(target: bytes = b"/a?b=c", host: bytes | None = b"example.org", method: bytes = b"GET") -> RequestHead:
    """A request's head as the listener has read it."""
    line = b"" if host is None else b"Host: %b\r\n" % host
    return request(b"%b %b HTTP/1.%d\r\n%b\r\n" % (method, target, host is not None, line))


def location(head: RequestHead, port: int | None = None, forwarded_host: bytes | None = None) -> bytes | None:
    """Where it is sent."""
    return secure_location(head, Client("192.0.2.7", False, b"", forwarded_host=forwarded_host), port)


hosts = st.one_of(
    st.from_regex(rb"[A-Za-z0-9._~!$&'()*+,;=%-]{0,20}(:[0-9]{0,5})?", fullmatch=True),
    st.from_regex(rb"\[[0-9A-Fa-f:.]{1,20}\](:[0-9]{0,5})?", fullmatch=True),
)
anything = st.binary(max_size=30)
targets = st.one_of(anything.map(lambda data: b"/" + data), st.from_regex(rb"/[!-~]{0,30}", fullmatch=True))


class Locations(SynchronousTestCase):
    """The same resource, under https."""

    def test_host_and_target_are_kept(self) -> None:
        """As they were asked for."""
        self.assertEqual(location(ask()), b"https://example.org/a?b=c")
        self.assertEqual(location(ask(host=b"[2001:db8::1]")), b"https://[2001:db8::1]/a?b=c")

    def test_no_port_is_written_where_the_host_names_none(self) -> None:
        """Ports may be mapped before us: who came to 80 goes to 443, whatever is listened at here."""
        for host in (b"example.org", b"example.org:80", b"example.org:", b"example.org:080"):
            self.assertEqual(location(ask(host=host), 8443), b"https://example.org/a?b=c")

    def test_who_names_a_port_is_sent_to_the_listeners(self) -> None:
        """Where one is known; and none is written where it is the default."""
        head = ask(host=b"example.org:8080")
        self.assertEqual(location(head, 8443), b"https://example.org:8443/a?b=c")
        for port in (443, None):
            self.assertEqual(location(head, port), b"https://example.org/a?b=c")
        self.assertEqual(location(ask(host=b"[::1]:8080"), 8443), b"https://[::1]:8443/a?b=c")

    def test_who_names_no_host_can_be_sent_nowhere(self) -> None:
        """HTTP/1.0 need not name one, and HTTP/1.1 may name an empty one."""
        for host in (None, b"", b":8080"):
            self.assertIsNone(location(ask(host=host), 8443))

    def test_a_target_in_absolute_form_is_sent_to_its_own_place(self) -> None:
        """Its host is the request's, whether a Host field says so too or not."""
        self.assertEqual(location(ask(b"http://example.org/a?b")), b"https://example.org/a?b")
        self.assertEqual(location(ask(b"http://example.org?b")), b"https://example.org/?b")
        self.assertEqual(location(ask(b"http://b.example:81/a", None), 8443), b"https://b.example:8443/a")

    def test_a_whole_server_is_a_uri_without_a_path(self) -> None:
        """RFC 9110 section 7.1; in absolute form it is asked for so, too."""
        for target in (b"*", b"http://example.org"):
            self.assertEqual(location(ask(target, method=b"OPTIONS")), b"https://example.org")

    def test_behind_a_trusted_proxy_its_word_on_the_host_counts(self) -> None:
        """Many ask us by a name of their own; what is no host is not heeded."""
        self.assertEqual(location(ask(host=b"10.0.0.5:8080"), 8443, b"example.org"), b"https://example.org/a?b=c")
        for word in (b"a, b", b"evil.example/", b"user@evil.example", b"\xff", b""):
            self.assertEqual(location(ask(), 8443, word), b"https://example.org/a?b=c")

    def test_what_a_uri_cannot_hold_is_encoded(self) -> None:
        """The resource is the same."""
        self.assertEqual(location(ask(b'/"<>\\^`{|}')), b"https://example.org/%22%3C%3E%5C%5E%60%7B%7C%7D")
        self.assertEqual(location(ask(b"/%0d%0a/%zz")), b"https://example.org/%0d%0a/%zz")

    @given(targets, hosts, st.sampled_from([None, 443, 8443]))
    @example(b"//evil.example/", b"example.org", None)
    @example(b"/\\evil.example", b"example.org", None)
    @example(b"/@evil.example", b"example.org:1", 8443)
    @example(b"/\r\nX: y", b"example.org", None)
    def test_nobody_is_sent_elsewhere_and_nothing_is_added(self, target: bytes, host: bytes, port: int | None) -> None:
        """Whatever request is taken: the place is one line of a URI's characters, its host the request's, its target too."""
        try:
            head = ask(target, host)
        except (BadMessage, ValueError):
            assume(False)
        found = location(head, port)
        if found is None:
            self.assertIn(host.partition(b":")[0], (b"", b"["))
            return
        self.assertTrue(re.fullmatch(rb"https://[!-~]+", found), found)
        authority, slash, path = found.removeprefix(b"https://").partition(b"/")
        name = re.sub(rb":[0-9]*\Z", b"", host)
        self.assertIn(authority, (name, b"%b:%d" % (name, port or 0)))
        self.assertEqual(slash, b"/")
        self.assertNotRegex(authority, rb"[/\\@?#]")
        if re.fullmatch(rb"[A-Za-z0-9.-]+", name):
            parts = urlsplit(found)
            self.assertEqual((parts.scheme, parts.hostname, parts.username), (b"https", name.lower(), None))
        encoded = re.sub(rb"%([0-9A-F]{2})", lambda each: bytes([int(each[1], 16)]), slash + path)
        self.assertEqual(encoded, re.sub(rb"%([0-9A-F]{2})", lambda each: bytes([int(each[1], 16)]), target))

    @given(anything)
    def test_whatever_a_trusted_proxy_says_of_the_host_is_one_line(self, word: bytes) -> None:
        """And names a host, or is not heeded."""
        found = location(ask(), 8443, word)
        if found is not None:
            self.assertTrue(re.fullmatch(rb"https://[!-.0-~]+/a\?b=c", found), found)
