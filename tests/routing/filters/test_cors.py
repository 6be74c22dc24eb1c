"""The filter ``cors``."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.answers import Answer
from lbproxy.http1.fields import pairs
from lbproxy.routing.filters.cors import Cors
from tests.routing.filters.support import live, passing, went
from tests.routing.support import RoutedRig
from tests.support import given, status, values

PREFLIGHT = "OPTIONS /x HTTP/1.1\nHost: a\nOrigin: https://app.example\nAccess-Control-Request-Method: PUT"
PLAIN = "HTTP/1.1 200 OK\nContent-Length: 0"


def _dict(fields: bytes) -> dict[str, str]:
    found = {name.decode(): value.decode() for name, value in pairs(fields)}
    assert len(found) == len(pairs(fields)), fields
    return {name.removeprefix("Access-Control-"): value for name, value in found.items() if name != "Content-Length"}


def asked(spec: Cors, text: str = PREFLIGHT) -> dict[str, str]:
    """What a preflight is answered."""
    answer = live(spec).request(passing(text))
    assert isinstance(answer, Answer)
    assert (answer.status, answer.end, answer.body) == (204, "cors", b"")
    return _dict(answer.fields)


def read(spec: Cors, origin: str = "https://app.example", text: str = PLAIN) -> dict[str, str]:
    """What an origin is told with a response; the names' beginning is left out."""
    line = f"\nOrigin: {origin}" if origin else ""
    return _dict(went(spec, text, passing(f"GET / HTTP/1.1\nHost: a{line}")).fields)


class PreflightTests(SynchronousTestCase):
    """Browsers ask first."""

    def test_an_allowed_origin_is_told_what_it_may_do(self) -> None:
        """The answer varies by all it depends on."""
        spec = Cors(origins="https://app.example", methods=["GET", "PUT"], headers=["X-A", "X-B"], credentials=True, max_age=60)
        self.assertEqual(
            asked(spec),
            {
                "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
                "Allow-Origin": "https://app.example",
                "Allow-Credentials": "true",
                "Allow-Methods": "GET, PUT",
                "Allow-Headers": "X-A, X-B",
                "Max-Age": "60",
            },
        )

    def test_another_origin_is_told_nothing(self) -> None:
        """But that it might be otherwise for others."""
        self.assertEqual(list(asked(Cors(origins=["https://other.example"]))), ["Vary"])

    def test_all_is_what_was_asked_for(self) -> None:
        """Which a star is not where there are credentials; what is no token is left out."""
        spec = Cors(origins="https://app.example", methods="*", headers="*", credentials=True)
        told = asked(spec, PREFLIGHT + "\nAccess-Control-Request-Headers: authorization,  x-a , b@d")
        self.assertEqual((told["Allow-Methods"], told["Allow-Headers"]), ("PUT", "authorization, x-a"))
        self.assertNotIn("Allow-Headers", asked(spec))

    def test_other_requests_go_on(self) -> None:
        """An OPTIONS that is no preflight, and a GET that looks like one."""
        one = live(Cors(origins="*"))
        for text in (PREFLIGHT.replace("OPTIONS", "GET"), PREFLIGHT.replace("Origin", "X"), PREFLIGHT.replace("-Method", "")):
            self.assertIsNone(one.request(passing(text)))


class ResponseTests(SynchronousTestCase):
    """Who may read a response."""

    def test_an_allowed_origin_may(self) -> None:
        """It is named, and the response varies."""
        self.assertEqual(
            read(Cors(origins="https://app.example", credentials=True, expose=["X-A", "X-B"])),
            {
                "Allow-Origin": "https://app.example",
                "Allow-Credentials": "true",
                "Expose-Headers": "X-A, X-B",
                "Vary": "Origin",
            },
        )

    def test_others_may_not(self) -> None:
        """Nothing is said but that it varies, whatever the backend said."""
        text = (
            PLAIN + "\nAccess-Control-Allow-Origin: *\nAccess-Control-Allow-Credentials: true\nAccess-Control-Expose-Headers: A"
        )
        for origin in ("https://app.example.evil", "http://app.example", "https://app.example:8443", "null", ""):
            self.assertEqual(read(Cors(origins="https://app.example"), origin, text), {"Vary": "Origin"})

    def test_all_origins_get_the_same(self) -> None:
        """So that nothing varies."""
        for origin in ("https://any.example", "null", ""):
            self.assertEqual(read(Cors(origins="*"), origin), {"Allow-Origin": "*"})

    def test_names_below_a_domain_are_allowed(self) -> None:
        """Of any depth, but not the domain itself, nor what only looks so."""
        spec = Cors(origins=["https://*.example.org", "http://localhost:3000"])
        for origin in ("https://a.example.org", "https://a.b.example.org", "http://localhost:3000"):
            self.assertEqual(read(spec, origin)["Allow-Origin"], origin)
        for origin in (
            "https://example.org",
            "https://evilexample.org",
            "https://a.example.org.evil",
            "https://evil/a.example.org",
            "https://a.exampleXorg",
            "http://a.example.org",
            "https://a.example.org:444",
            "https://.example.org@evil",
        ):
            self.assertEqual(read(spec, origin), {"Vary": "Origin"}, origin)

    def test_vary_is_said_once(self) -> None:
        """In any case, on several lines; a star is all."""
        for said, now in (("origin", {"origin"}), ("Accept, ORIGIN", {"Accept, ORIGIN"}), ("*", {"*"})):
            head = went(Cors(origins="https://a"), f"{PLAIN}\nVary: {said}", passing())
            self.assertEqual({value.decode() for name, value in pairs(head.fields) if name == b"Vary"}, now)
        head = went(Cors(origins="https://a"), f"{PLAIN}\nVary: Accept", passing())
        self.assertEqual([value for name, value in pairs(head.fields) if name == b"Vary"], [b"Accept", b"Origin"])

    def test_a_tunnel_is_none_of_it(self) -> None:
        """The head of a 101 stays as it is; a 304 says it again."""
        head = "HTTP/1.1 101 Go\nConnection: upgrade\nUpgrade: websocket"
        self.assertEqual(read(Cors(origins="https://app.example"), text=head), {})
        self.assertIn("Allow-Origin", read(Cors(origins="https://app.example"), text="HTTP/1.1 304 Not Modified"))

    @given(st.text(alphabet="htps:/.*examplorg@ ,%#?-0", max_size=40))
    def test_who_is_let_in_is_below_the_domain(self, origin: str) -> None:
        """Whatever an origin looks like."""
        said = read(Cors(origins="https://*.example.org"), origin.strip() or "x").get("Allow-Origin")
        self.assertTrue(said is None or (said.startswith("https://") and said.endswith(".example.org") and "/" not in said[8:]))


class SpecificationTests(SynchronousTestCase):
    """What cannot be said."""

    def refused(self, key: str, **keys: Any) -> None:
        error = self.assertRaises(ConfigurationError, Cors, **keys)
        self.assertTrue(str(error).startswith(f"{key}: "), error)

    def test_credentials_are_for_named_origins(self) -> None:
        """Neither for all, nor for those that hide who they are."""
        for origin in ("*", "null"):
            self.refused("origins", origins=["https://a", origin], credentials=True)
        self.refused("expose", origins="https://a", expose="*", credentials=True)

    def test_origins_are_origins(self) -> None:
        """Without path, in small letters, and not none of them."""
        for origin in ("https://a/", "example.org", "HTTPS://a", "https://*", "https://a.*.org", "https://*a.org", 3):
            self.refused("origins", origins=[origin])
        self.refused("origins", origins=[])
        self.refused("methods", origins="*", methods=["GET POST"])
        self.refused("headers", origins="*", headers=["a\r\nb"])


class WholeTests(SynchronousTestCase):
    """Through a whole balancer."""

    def test_a_preflight_reaches_no_backend(self) -> None:
        """It is answered with 204."""
        rig = RoutedRig(Cors(origins="https://app.example"))
        came = rig.refused(PREFLIGHT.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        self.assertEqual((status(came), rig.ended[0].end), (204, "cors"))
        self.assertEqual(values(came, b"Access-Control-Allow-Origin"), [b"https://app.example"])

    def test_a_response_names_the_origin_once(self) -> None:
        """Also where the backend has named one."""
        rig = RoutedRig(Cors(origins="https://app.example"))
        _, came = rig.ask(
            b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n",
        )
        self.assertEqual(values(came, b"Access-Control-Allow-Origin"), [b"https://app.example"])
