"""The filter ``security-headers``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.fields import pairs
from lbproxy.routing.filters.security import SecurityHeaders
from tests.routing.filters.support import went
from tests.routing.support import RoutedRig
from tests.support import GET, status, values

PLAIN = "HTTP/1.1 200 OK\nContent-Length: 0"


class SecurityHeadersTests(SynchronousTestCase):
    """What browsers are told."""

    def fields(self, spec: SecurityHeaders, text: str = PLAIN) -> dict[bytes, bytes]:
        found = pairs(went(spec, text).fields)
        self.assertEqual(len(found), len(dict(found)), found)
        return dict(found)

    def test_the_defaults_fit_any_site(self) -> None:
        """Three fields, and none that depends on the site."""
        self.assertEqual(
            self.fields(SecurityHeaders()),
            {
                b"Content-Length": b"0",
                b"X-Content-Type-Options": b"nosniff",
                b"X-Frame-Options": b"DENY",
                b"Referrer-Policy": b"strict-origin-when-cross-origin",
            },
        )

    def test_each_can_be_left_out_and_others_be_said(self) -> None:
        """By its key."""
        spec = SecurityHeaders(
            content_type_options=False,
            frame_options="",
            referrer_policy="same-origin",
            content_security_policy="default-src 'self'",
            permissions_policy="camera=()",
        )
        self.assertEqual(
            self.fields(spec),
            {
                b"Content-Length": b"0",
                b"Referrer-Policy": b"same-origin",
                b"Content-Security-Policy": b"default-src 'self'",
                b"Permissions-Policy": b"camera=()",
            },
        )

    def test_what_a_backend_says_itself_stands(self) -> None:
        """Unless it is to be replaced."""
        text = f"{PLAIN}\nx-frame-options: SAMEORIGIN"
        self.assertEqual(self.fields(SecurityHeaders(), text)[b"x-frame-options"], b"SAMEORIGIN")
        self.assertEqual(self.fields(SecurityHeaders(replace=True), text)[b"X-Frame-Options"], b"DENY")

    def test_what_tells_of_the_backend_can_be_removed(self) -> None:
        """By name."""
        left = self.fields(SecurityHeaders(remove=["Server", "x-powered-by"]), f"{PLAIN}\nServer: a\nX-Powered-By: b")
        self.assertEqual({b"Server", b"X-Powered-By"} & set(left), set())

    def test_a_tunnel_is_told_nothing(self) -> None:
        """After a 101 there is no more HTTP; a 304 says it again."""
        self.assertEqual(self.fields(SecurityHeaders(), "HTTP/1.1 101 Go\nConnection: upgrade\nUpgrade: a"), {})
        self.assertIn(b"Referrer-Policy", self.fields(SecurityHeaders(), "HTTP/1.1 304 Not Modified"))

    def test_words_are_those_that_there_are(self) -> None:
        """And values stay in their line; framing is not removed."""
        for key, value in (
            ("frame_options", "ALLOW-FROM x"),
            ("referrer_policy", "x"),
            ("content_security_policy", "a\nb"),
            ("replace", 1),
            ("remove", ["Content-Length"]),
        ):
            error = self.assertRaises(ConfigurationError, SecurityHeaders, **{key: value})
            self.assertTrue(str(error).startswith(key.replace("_", "-") + ": "))


class WholeTests(SynchronousTestCase):
    """Through a whole balancer."""

    def test_every_response_has_them(self) -> None:
        """A backend's, and our own."""
        rig = RoutedRig(SecurityHeaders())
        self.assertEqual(values(rig.ask()[1], b"X-Frame-Options"), [b"DENY"])
        rig = RoutedRig(SecurityHeaders())
        client = rig.client()
        client.send(GET)
        while rig.connects:
            rig.refuse()
        came = client.received()
        self.assertEqual((status(came), values(came, b"X-Frame-Options")), (503, [b"DENY"]))
