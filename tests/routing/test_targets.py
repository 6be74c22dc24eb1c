"""Routes that answer by themselves: fixed answers and redirects."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.head import RequestHead
from lbproxy.proxy.client import Client
from lbproxy.routing.model import FixedAnswer, Redirect
from lbproxy.routing.redirects import Location
from lbproxy.routing.targets import AnswerTarget, RedirectTarget

from ..support import GET, given, post, request, split, status, values
from .passing import FilteredRig, Noted


def location(to: str, target: bytes, host: bytes = b"shop.example:8080", secure: bool = False) -> bytes | None:
    """Where a request is sent."""
    head = request(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    head.target = target
    return Location(to).of(head, Client("192.0.2.7", secure, b""))


class LocationTests(SynchronousTestCase):
    """What a Location field says."""

    def test_parts(self) -> None:
        """Each name stands for its part of the request's URI."""
        for to, expected in (
            ("https://{host}{uri}", b"https://shop.example/a%20b?x=1"),
            ("{scheme}://www.{host}:8443{path}", b"http://www.shop.example:8443/a%20b"),
            ("/new{path}{query}", b"/new/a%20b?x=1"),
            ("https://new.example/", b"https://new.example/"),
        ):
            self.assertEqual(location(to, b"/a%20b?x=1"), expected)
        self.assertEqual(location("{scheme}://{host}{path}{query}", b"/", secure=True), b"https://shop.example/")
        self.assertEqual(location("https://{host}{uri}", b"*"), b"https://shop.example")
        self.assertEqual(location("https://{host}/", b"/", host=b"[2001:db8::1]:80"), b"https://[2001:db8::1]/")

    def test_no_open_redirect(self) -> None:
        """A path that begins with two slashes, or their like, names no other host."""
        for target in (b"//evil.example/", b"///evil.example", b"/\\evil.example"):
            for to in ("{uri}", "{path}", "/{uri}"):
                found = location(to, target)
                assert found is not None
                self.assertNotEqual(found[:2], b"//")
                self.assertNotIn(b"\\", found)

    def test_no_host(self) -> None:
        """Without a host there is none to be named, and none is needed where none is."""
        head = RequestHead(b"GET", b"/", 0, b"", {})
        client = Client("192.0.2.7", False, b"")
        self.assertIsNone(Location("https://{host}/").of(head, client))
        self.assertEqual(Location("/x").of(head, client), b"/x")

    @given(strategies.binary())
    def test_a_uri_in_any_case(self, rest: bytes) -> None:
        """Whatever a target holds: a URI comes of it, with valid percent-encoding, and all of its bytes."""
        found = location("{uri}", b"/x" + rest)
        assert found is not None
        self.assertTrue(re.fullmatch(rb"(?:[!$&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]|%[0-9A-Fa-f]{2})*", found), found)


class TargetTests(SynchronousTestCase):
    """Exchanges that are answered."""

    def answered(self, given: Any, *filters: Any, data: bytes = GET) -> tuple[Any, bytes]:
        kind = AnswerTarget if isinstance(given, FixedAnswer) else RedirectTarget
        rig = FilteredRig(*filters, target=lambda rig: kind(given, rig.resource.site.router))
        client = rig.client()
        client.send(data)
        return rig, client.received()

    def test_a_fixed_answer(self) -> None:
        """Status, body, media type and fields are the operator's."""
        rig, answer = self.answered(FixedAnswer(status=418, body="téa", kind="text/x-tea", headers={"X-A": "1", "X-B": "2"}))
        self.assertEqual((status(answer), split(answer)[2]), (418, "téa".encode()))
        self.assertEqual((values(answer, b"x-a"), values(answer, b"content-type")), ([b"1"], [b"text/x-tea"]))
        self.assertEqual((rig.ended[0].end, rig.ended[0].pool, rig.live.statuses), ("route", "", {418: 1}))
        self.assertEqual((rig.books.in_flight, rig.books.ends), (0, {"route": 1}))

    def test_through_filters(self) -> None:
        """Filters before it see both the request and the answer, and it is booked once."""
        one = Noted()
        rig, answer = self.answered(FixedAnswer(status=200), one)
        self.assertEqual((status(answer), one.notes[-1], rig.books.in_flight), (200, "one over", 0))

    def test_head(self) -> None:
        """HEAD gets the length and no body."""
        _, answer = self.answered(FixedAnswer(body="abc"), data=GET.replace(b"GET", b"HEAD"))
        self.assertEqual((values(answer, b"content-length"), split(answer)[2]), ([b"3"], b""))

    def test_the_connection_stays(self) -> None:
        """An answer to a request whose body is here, and to what is pipelined behind it."""
        _, answer = self.answered(FixedAnswer(status=204), data=post(b"abc") + GET)
        self.assertEqual(answer.count(b"HTTP/1.1 204"), 2)

    def test_a_redirect(self) -> None:
        """Every status of a redirect has its Location."""
        for code in (301, 302, 303, 307, 308):
            rig, answer = self.answered(Redirect(to="https://{host}{uri}", status=code))
            self.assertEqual((status(answer), values(answer, b"location")), (code, [b"https://example.org/"]))
            self.assertEqual(rig.ended[0].end, "route")

    def test_nothing_can_be_put_in(self) -> None:
        """What could end the field is encoded."""
        _, answer = self.answered(Redirect(to="/x{uri}"), data=b"GET /%0d%0aX:1?%\"< HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(values(answer, b"location"), [b"/x/%0d%0aX:1?%25%22%3C"])
        self.assertEqual(values(answer, b"x"), [])

    def test_a_redirect_without_a_host(self) -> None:
        """HTTP/1.0 need not say which host, and then there is nowhere to send it."""
        rig, answer = self.answered(Redirect(to="https://{host}/"), data=b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((status(answer), rig.ended[0].end), (400, "route"))
