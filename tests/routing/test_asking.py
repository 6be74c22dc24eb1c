"""Requests as a person writes them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.fields import field_value
from lbproxy.routing.asking import request_of


class AskingTests(SynchronousTestCase):
    """A text becomes a request and its client."""

    def test_a_method_and_a_url_are_a_request(self) -> None:
        """Its host, target and scheme are those of the URL."""
        head, who = request_of("POST https://shop.example:8443/cart?x=1")
        self.assertEqual((head.method, head.target, head.host), (b"POST", b"/cart?x=1", b"shop.example:8443"))
        self.assertEqual((who.address, who.secure), ("192.0.2.1", True))

    def test_a_url_alone_is_asked_for_with_get(self) -> None:
        """As browsers do; without a path it is for the root, and a path that is not ASCII is encoded."""
        head, who = request_of("http://shop.example")
        self.assertEqual((head.method, head.target, who.secure), (b"GET", b"/", False))
        self.assertEqual(request_of("http://shop.example?x")[0].target, b"/?x")
        self.assertEqual(request_of("http://shop.example/k\u00e4se/%2F;x")[0].target, b"/k%C3%A4se/%2F;x")

    def test_fields_and_the_client_can_be_said(self) -> None:
        """As a table, or one after the other; a Host takes the place of the URL's."""
        head, who = request_of("http://shop.example/", {"X-A": "1", "Host": "other.example"}, "2001:DB8::1")
        self.assertEqual((field_value(head.fields, b"x-a"), head.host, who.address), (b"1", b"other.example", "2001:db8::1"))
        head, who = request_of("http://shop.example/", [("X-A", "1"), ("X-A", "2")], "unix")
        self.assertEqual((head.fields.count(b"X-A"), who.address), (2, "unix"))

    def test_what_is_no_request_is_refused_with_a_hint(self) -> None:
        """So is what no route would ever see."""
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("/cart", {}, "a host, with http:// or https:// before it, is missing"),
            ("", {}, "allowed is METHOD URL"),
            ("GET http://a/ HTTP/1.1", {}, "allowed is METHOD URL"),
            ("GET ftp://shop.example/", {}, "allowed is METHOD URL"),
            ("GET https://m\u00fcnchen.example/", {}, "punycode"),
            ("GET https:///x", {}, "it has no host"),
            ("GET https://me@shop.example/", {}, "it has a user"),
            ("GET http://shop.example/#x", {}, "answered 400 before any route"),
            ("get http://shop.example/", {}, "answered 400 before any route"),
            ("http://a b", {}, "allowed is METHOD URL"),
            ("http://shop.example/", {"client": "here"}, "client: 'here' was given; allowed is an IP address"),
            ("http://shop.example/", {"headers": {"X": "a\r\nY: b"}}, "without control characters"),
            ("http://shop.example/", {"headers": {"X Y": "a"}}, "answered 400 before any route"),
        ]
        for text, more, message in cases:
            error = self.assertRaises(ConfigurationError, request_of, text, **more)
            self.assertIn(message, str(error))
