"""The filter ``headers``."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.fields import field_value, pairs
from lbproxy.http1.keys import request_key
from lbproxy.routing.filters.headers import Headers
from tests.routing.filters.support import live, passing, told, went
from tests.routing.support import RoutedRig
from tests.support import GET, given, status, values

REQUEST = "GET /a/b?c=d HTTP/1.1\nHost: shop.example\nX-Old: 1\nX-Old: 2\nAccept: */*"


class RequestTests(SynchronousTestCase):
    """Fields of requests."""

    def test_a_field_is_set_in_the_place_of_all_others(self) -> None:
        """The client's own of that name go."""
        self.assertEqual(values(told(Headers(request_set={"x-old": "3"}), REQUEST), b"X-Old"), [b"3"])

    def test_a_field_is_added_to_others(self) -> None:
        """The client's own stay."""
        self.assertEqual(values(told(Headers(request_add={"X-Old": "3"}), REQUEST), b"X-Old"), [b"1", b"2", b"3"])

    def test_a_field_is_removed(self) -> None:
        """All of that name."""
        self.assertEqual(values(told(Headers(request_remove="X-OLD"), REQUEST), b"X-Old"), [])

    def test_placeholders_stand_for_the_request(self) -> None:
        """Each for its part; other braces for themselves."""
        text = '{client} {host} {method} {path} {query} {request-id} {route} {scheme} {uri} {} {"a": 1}'
        line = values(told(Headers(request_set={"X-All": text}), REQUEST, secure=True), b"X-All")
        self.assertEqual(line, [b'192.0.2.7 shop.example GET /a/b c=d id-7 everything https /a/b?c=d {} {"a": 1}'])

    def test_a_value_that_is_not_ascii_goes_as_utf_8(self) -> None:
        """As files are written."""
        self.assertEqual(values(told(Headers(request_set={"X-Name": "é"}), REQUEST), b"X-Name"), ["é".encode()])

    def test_what_says_who_asks_can_be_set(self) -> None:
        """The operator's word stands alone."""
        head = told(Headers(request_set={"X-Forwarded-For": "10.9.9.9", "X_Real_IP": "{client}"}), REQUEST)
        self.assertEqual(values(head, b"X-Forwarded-For"), [b"10.9.9.9"])
        self.assertEqual(values(head, b"X-Real-IP"), [b"192.0.2.7"])
        self.assertEqual(values(head, b"X-Forwarded-Proto"), [b"http"])

    def test_what_says_who_asks_can_be_removed(self) -> None:
        """Then the backend does not hear of the client."""
        self.assertEqual(values(told(Headers(request_remove=["X-Forwarded-For"]), REQUEST), b"X-Forwarded-For"), [])

    def test_other_requests_of_the_connection_are_told_of_as_before(self) -> None:
        """The connection's client is not changed."""
        passage = passing(REQUEST)
        before = passage.client
        live(Headers(request_set={"X-Forwarded-For": "10.9.9.9"})).request(passage)
        self.assertIn(b"192.0.2.7", before.forwarded)

    def test_a_host_that_is_set_leaves_the_clients_to_be_known(self) -> None:
        """X-Forwarded-Host names it; what a trusted proxy said of it stands."""
        spec = Headers(request_set={"host": "app.internal:8080"})
        head = told(spec, REQUEST)
        self.assertEqual(values(head, b"Host"), [b"app.internal:8080"])
        self.assertEqual(values(head, b"X-Forwarded-Host"), [b"shop.example"])
        passage = passing(REQUEST)
        passage.client.forwarded_host = b"outside.example"
        live(spec).request(passage)
        self.assertEqual(passage.client.forwarded_host, b"outside.example")
        self.assertEqual((passage.request.host, passage.request.known[b"host"]), (b"app.internal:8080",) * 2)

    def test_a_forwarded_host_that_is_set_wins(self) -> None:
        """Over the client's."""
        head = told(Headers(request_set={"X-Forwarded-Host": "www.example", "Host": "a"}), REQUEST)
        self.assertEqual(values(head, b"X-Forwarded-Host"), [b"www.example"])

    def test_a_client_without_host_gets_one(self) -> None:
        """HTTP/1.0 need not have any."""
        self.assertEqual(values(told(Headers(request_set={"Host": "a"}), "GET / HTTP/1.0"), b"Host"), [b"a"])

    def test_an_idempotency_key_makes_repeatable_and_without_it_none_is(self) -> None:
        """What the balancer reads of it agrees with what the backend is sent."""
        passage = passing(REQUEST)
        live(Headers(request_set={"Idempotency-Key": "{request-id}"})).request(passage)
        self.assertEqual(passage.request.known[b"idempotency-key"], b"id-7")
        self.assertEqual(field_value(passage.request.fields, b"idempotency-key"), b"id-7")
        live(Headers(request_remove=["idempotency-key"])).request(passage)
        self.assertNotIn(b"idempotency-key", passage.request.known)
        self.assertIsNone(field_value(passage.request.fields, b"idempotency-key"))

    def test_a_hash_has_the_fields_as_they_go_on(self) -> None:
        """Of what stands in the fields, and of what is told of the client."""
        passage = passing(REQUEST + "\nX-Real-IP: 6.6.6.6")
        live(Headers(request_set={"X-Real-IP": "{client}", "X-Old": "9"})).request(passage)
        self.assertEqual(request_key("header:X-Real-IP")(passage.exchange), b"192.0.2.7")
        self.assertEqual(request_key("header:X-Old")(passage.exchange), b"9")

    @given(st.binary(max_size=40).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")))
    def test_no_target_makes_a_line(self, path: bytes) -> None:
        """Whatever a client puts into its path, a placeholder for it stays in its line."""
        passage = passing()
        passage.request.target = b"/" + path
        live(Headers(request_set={"X-Path": "{uri}"})).request(passage)
        self.assertEqual([name for name, _ in pairs(passage.request.fields)], [b"Host", b"X-Path"])


class ResponseTests(SynchronousTestCase):
    """Fields of responses."""

    def test_fields_are_set_added_and_removed(self) -> None:
        """As of requests."""
        spec = Headers(
            response_set={"Server": "lb", "X-Id": "{request-id}"},
            response_add={"Set-Cookie": "b=2"},
            response_remove=["X-Powered-By"],
        )
        head = went(spec, "HTTP/1.1 200 OK\nServer: x\nX-Powered-By: y\nSet-Cookie: a=1\nContent-Length: 0")
        self.assertEqual(
            sorted(pairs(head.fields)),
            [(b"Content-Length", b"0"), (b"Server", b"lb"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"X-Id", b"id-7")],
        )

    def test_responses_without_a_body_get_them_too(self) -> None:
        """101, 204 and 304."""
        for line in ("101 Switching Protocols\nConnection: upgrade\nUpgrade: websocket", "204 No Content", "304 Not Modified"):
            head = went(Headers(response_set={"X-A": "1"}), f"HTTP/1.1 {line}")
            self.assertEqual(field_value(head.fields, b"x-a"), b"1")


class SpecificationTests(SynchronousTestCase):
    """What cannot be said."""

    def refused(self, **keys: object) -> str:
        return str(self.assertRaises(ConfigurationError, Headers, **keys))

    def test_framing_and_the_connection_are_not_touched(self) -> None:
        """Neither in requests nor in responses, however they are spelled."""
        for name in ("Connection", "te", "Transfer-Encoding", "content-length", "Content_Length", "Upgrade", "Keep-Alive"):
            for key in ("request_set", "request_add", "response_set", "response_add"):
                self.assertIn("the balancer writes it itself", self.refused(**{key: {name: "x"}}))
            for key in ("request_remove", "response_remove"):
                self.refused(**{key: [name]})

    def test_what_a_request_needs_is_not_removed(self) -> None:
        """Its host."""
        self.assertIn("a request needs it", self.refused(request_remove=["host"]))

    def test_what_stands_once_is_not_added(self) -> None:
        """It would stand twice; the message says what to do."""
        for name in ("Host", "X-Forwarded-For", "Idempotency-Key"):
            self.assertIn("use request-set", self.refused(request_add={name: "x"}))

    def test_a_value_cannot_be_two_lines(self) -> None:
        """Nor have a placeholder that is not known."""
        self.assertTrue(self.refused(request_set={"X-A": "b\r\nX-C: d"}).startswith("request-set.X-A: "))
        self.assertIn("{foo} is not known", self.refused(response_set={"X-A": "{foo}"}))

    def test_a_field_is_set_once(self) -> None:
        """Two names that differ in their case are one."""
        self.assertIn("each field once", self.refused(response_set={"X-A": "1", "x-a": "2"}))

    def test_a_host_is_one(self) -> None:
        """Without placeholders: clients must not choose it."""
        for host in ("a b", "{client}", ""):
            self.assertTrue(self.refused(request_set={"Host": host}).startswith("request-set.Host: "))


class WholeTests(SynchronousTestCase):
    """Through a whole balancer."""

    def test_backend_and_client_get_what_is_set(self) -> None:
        """Each its own."""
        rig = RoutedRig(Headers(request_set={"X-To": "backend", "Host": "inside"}, response_set={"X-To": "{client}"}))
        got, came = rig.ask()
        self.assertEqual((values(got, b"X-To"), values(got, b"Host")), ([b"backend"], [b"inside"]))
        self.assertEqual(values(got, b"X-Forwarded-Host"), [b"example.org"])
        self.assertEqual((status(came), values(came, b"X-To")), (200, [b"192.0.2.7"]))

    def test_answers_of_our_own_get_them_too(self) -> None:
        """No backend is up: 503, with the field."""
        rig = RoutedRig(Headers(response_set={"X-To": "client"}))
        client = rig.client()
        client.send(GET)
        while rig.connects:
            rig.refuse()
        came = client.received()
        self.assertEqual((status(came), values(came, b"X-To")), (503, [b"client"]))
