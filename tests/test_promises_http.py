"""Promises about what HTTP/1.1 allows and few intermediaries let by: it passes through a whole balancer unharmed."""

from __future__ import annotations

import struct
from typing import Any

from .proxy.test_exchange import ONE, PAIR, ExchangeCase
from .support import GET, OK, post, split, status, values

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ASKS = post(b"hello", b"Expect: 100-continue")[:-5]
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"


class ContinueGoesEndToEnd(ExchangeCase):
    """``Expect: 100-continue`` is between the client and the backend."""

    def test_the_backend_is_asked_and_the_client_waits(self) -> None:
        """The body is asked for when the backend asks for it."""
        rig = self.rig()
        client = rig.client()
        client.send(ASKS)
        backend = rig.accept()
        asked = backend.received()
        self.assertEqual((values(asked, b"Expect"), split(asked)[2], client.received()), ([b"100-continue"], b"", b""))
        backend.send(CONTINUE)
        self.assertEqual(client.received(), CONTINUE)
        client.send(b"hello")
        self.assertEqual(backend.received(), b"hello")
        backend.send(OK)
        self.assertEqual((client.received(), client.closed, rig.counters.interim), (OK, False, 1))
        self.assert_all_is_over()

    def test_a_refusal_reaches_the_client_at_once(self) -> None:
        """Its body is never asked for, and never sent."""
        rig = self.rig()
        client = rig.client()
        client.send(ASKS)
        backend = rig.accept()
        backend.received()
        backend.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"Connection"), backend.received()), (413, [b"close"], b""))
        self.assert_all_is_over()

    def test_a_backend_that_never_asks_is_late(self) -> None:
        """The client is told so, instead of waiting for ever."""
        rig = self.rig(response_timeout=30)
        client = rig.client()
        client.send(ASKS)
        rig.accept()
        rig.wait(33)
        self.assertEqual((status(client.received()), rig.counters.ends), (504, {"response-timeout": 1}))
        self.assert_all_is_over()

    def test_a_backend_that_invites_and_does_not_read_is_given_up(self) -> None:
        """Its 100 takes nothing from the time that it has to read what was written to it."""
        rig = self.rig()
        client = rig.client()
        client.send(ASKS.replace(b"POST", b"PUT"))
        backend = rig.accept()
        backend.stop_reading()
        backend.send(CONTINUE)
        rig.wait(300)
        self.assertEqual((rig.counters.in_flight, backend.aborted), (0, True))

    def test_a_client_that_does_not_wait_is_served_as_any(self) -> None:
        """As those do that have waited a second for nothing."""
        rig = self.rig()
        client = rig.client()
        client.send(ASKS)
        backend = rig.accept()
        backend.received()
        client.send(b"hello")
        self.assertEqual(backend.received(), b"hello")
        backend.send(OK)
        self.assertEqual(client.received(), OK)

    def test_with_no_backend_it_is_refused_at_once(self) -> None:
        """503, and no body is asked for."""
        rig = self.rig()
        rig.mark(ONE, up=False)
        client = rig.client()
        client.send(ASKS)
        self.assertEqual(status(client.received()), 503)

    def test_the_client_is_invited_once(self) -> None:
        """Whatever becomes of the attempt after it."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(ASKS.replace(b"POST", b"PUT"))
        first = rig.accept()
        first.send(CONTINUE)
        client.send(b"hello")
        first.reset()
        second = rig.accept()
        self.assertTrue(second.received().endswith(b"\r\n\r\nhello"))
        second.send(CONTINUE + OK)
        self.assertEqual(client.received(), CONTINUE + OK)
        self.assert_all_is_over()

    def test_a_body_that_nobody_asked_for_does_not_excuse_a_backend_that_falls_silent(self) -> None:
        """It had begun its response instead of asking."""
        rig = self.rig()
        client = rig.client()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun")
        client.send(b"hello")
        rig.wait(70)
        self.assertTrue(client.aborted and backend.aborted)
        self.assert_all_is_over()

    def test_a_body_that_nobody_asked_for_is_held_to_its_rate_at_once(self) -> None:
        """A client that does not wait for 100 has no more time than one that never said it would."""
        rig = self.rig(body_grace=10, idle_timeout=60)
        client = rig.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
        rig.accept()
        rig.turn()
        for _ in range(8):
            client.send(b"x")
            rig.wait(2.5)
        self.assertEqual(rig.listener.timed_out, {"body": 1})


class InterimResponses(ExchangeCase):
    """103 and its like."""

    def test_they_are_passed_on(self) -> None:
        """In order, with their fields, before the response; hop-by-hop fields stay here."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: y\r\n\r\n")
        self.assertEqual(client.received(), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        backend.send(b"HTTP/1.1 199 Odd\r\n\r\n" + OK)
        self.assertEqual(client.received(), b"HTTP/1.1 199 Odd\r\n\r\n" + OK)
        self.assertEqual(rig.counters.statuses, {200: 1})
        self.assert_all_is_over()

    def test_a_backend_that_fails_after_one_is_replaced(self) -> None:
        """For what may be repeated: an interim response is no answer."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        backend.reset()
        rig.accept().send(OK)
        self.assertTrue(client.received().endswith(OK))
        self.assert_all_is_over()


class TrailersPass(ExchangeCase):
    """Fields after the body, in both directions."""

    def test_of_a_request(self) -> None:
        """With the Trailer field that announces them, also when the body came with the head, and in a second attempt."""
        rig = self.rig(PAIR)
        client = rig.client()
        head = CHUNKED.replace(b"POST", b"PUT") + b"Trailer: X-Sum\r\n\r\n"
        client.send(head + b"2\r\nhi\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n")
        for _ in range(2):
            backend = rig.accept()
            asked = backend.received()
            self.assertEqual(values(asked, b"Trailer"), [b"X-Sum"])
            self.assertTrue(asked.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"), asked)
            if rig.counters.retries == 0:
                backend.reset()
        backend.send(OK)
        self.assertEqual(client.received(), OK)
        self.assert_all_is_over()

    def test_of_a_streamed_request(self) -> None:
        """They come last there too."""
        rig = self.rig()
        client = rig.client()
        client.send(CHUNKED + b"\r\n")
        backend = rig.accept()
        backend.received()
        client.send(b"2\r\nhi\r\n")
        client.send(b"0\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual(backend.received(), b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n")

    def test_of_a_response(self) -> None:
        """Whether all came at once or not; the connections are kept."""
        rig = self.rig()
        client, backend = rig.kept_alive()
        head = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = head + b"2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\n\r\n"
        for step in (len(answer), 30, 1):
            client.send(GET)
            backend.received()
            backend.send(*[answer[place : place + step] for place in range(0, len(answer), step)])
            got = client.received()
            self.assertEqual(values(got, b"Trailer"), [b"X-Sum"])
            self.assertTrue(got.endswith(b"0\r\nX-Sum: 1\r\n\r\n"), got)
        self.assertEqual((rig.connects, client.closed), ([], False))
        self.assert_all_is_over()

    def test_a_backend_is_told_that_they_are_wanted(self) -> None:
        """By a TE of this hop's own; other codings than chunked are not asked for."""
        rig = self.rig()
        rig.client().send(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n")
        asked = rig.accept().received()
        self.assertEqual((values(asked, b"TE"), values(asked, b"Connection")), ([b"trailers"], [b"TE"]))


class LongStreams(ExchangeCase):
    """Responses that come when they come."""

    def test_each_event_is_passed_on_as_it_comes(self) -> None:
        """In the call that brought it, for as long as there is one within the idle time."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.received()
        for _ in range(20):
            rig.wait(50)
            backend.send(b"9\r\ndata: x\n\n\r\n")
            self.assertEqual(client.received(), b"9\r\ndata: x\n\n\r\n")
        backend.send(b"0\r\n\r\n")
        self.assertEqual((client.received(), client.closed), (b"0\r\n\r\n", False))
        self.assert_all_is_over()

    def test_a_long_poll_outlives_a_half_close(self) -> None:
        """A client that has said all it had to say still listens."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        client.half_close()
        rig.wait(25)
        backend.send(OK)
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"Connection"), client.closed), (200, [b"close"], True))
        self.assertEqual(rig.counters.ends, {"done": 1})
        self.assert_all_is_over()

    def test_a_client_that_is_gone_is_noticed_when_it_is_written_to(self) -> None:
        """Then its backend is let go."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        client.hang_up()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        rig.turn()
        self.assertEqual((backend.aborted, rig.counters.ends), (True, {"client-left": 1}))
        self.assert_all_is_over()

    def test_or_when_it_goes_by_option(self) -> None:
        """--abort-on-close."""
        rig = self.rig(abort_on_close=True)
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        client.hang_up()
        self.assertEqual((backend.aborted, rig.counters.ends), (True, {"client-left": 1}))
        self.assert_all_is_over()


class TheClientIsKnown(ExchangeCase):
    """What backends are told of who asks, through the whole way."""

    def asked(self, data: bytes, **settings: Any) -> bytes:
        """The head that a backend gets of a request from 192.0.2.7."""
        rig = self.rig(ONE, **settings)
        rig.client("192.0.2.7").send(data)
        asked: bytes = rig.accept().received()
        return asked

    FORGED = (
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
        b"Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-ID: mine\r\n\r\n"
    )

    def test_nobody_can_say_who_it_is(self) -> None:
        """All that a stranger says of itself is replaced, or left out."""
        asked = self.asked(self.FORGED)
        self.assertEqual(values(asked, b"X-Forwarded-For"), [b"192.0.2.7"])
        self.assertEqual(values(asked, b"X-Forwarded-Proto"), [b"http"])
        self.assertEqual(values(asked, b"X-Forwarded-Host"), [b"a"])
        self.assertEqual((values(asked, b"Forwarded"), values(asked, b"X-Real-IP")), ([], []))
        self.assertRegex(values(asked, b"X-Request-ID")[0], rb"\A[0-9a-f]{32}\Z")

    def test_but_a_trusted_proxy(self) -> None:
        """Its chain is kept, and the client is found in it."""
        asked = self.asked(self.FORGED, trusted_proxies=("192.0.2.0/24",))
        self.assertEqual(values(asked, b"X-Forwarded-For"), [b"6.6.6.6, 192.0.2.7"])
        self.assertEqual(values(asked, b"X-Forwarded-Proto"), [b"https"])
        self.assertEqual(values(asked, b"X-Forwarded-Host"), [b"evil"])
        self.assertEqual(values(asked, b"X-Request-ID"), [b"mine"])
        rig = self.last
        rig.client("192.0.2.7").send(self.FORGED)
        rig.accept().send(OK)
        self.assertEqual((rig.ended[0].client.address, rig.ended[0].request_id), ("6.6.6.6", b"mine"))

    def test_each_request_has_an_id_of_its_own(self) -> None:
        """The same in every attempt, and in what observers are given."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(GET)
        first = rig.accept()
        given = values(first.received(), b"X-Request-ID")
        first.reset()
        second = rig.accept()
        self.assertEqual(values(second.received(), b"X-Request-ID"), given)
        second.send(OK)
        client.send(GET)
        other = values(second.received(), b"X-Request-ID")
        second.send(OK)
        self.assertNotEqual(other, given)
        self.assertEqual([[exchange.request_id] for exchange in rig.ended], [given, other])

    def test_forwarded_and_via_by_option(self) -> None:
        """RFC 7239, and RFC 9110 section 7.6.3 in both directions."""
        rig = self.rig(forwarded=True, via="lb-1")
        client = rig.client("192.0.2.7")
        client.send(GET)
        backend = rig.accept()
        asked = backend.received()
        self.assertEqual(values(asked, b"Forwarded"), [b"for=192.0.2.7;host=example.org;proto=http"])
        self.assertEqual(values(asked, b"Via"), [b"1.1 lb-1"])
        backend.send(OK)
        self.assertEqual(values(client.received(), b"Via"), [b"1.1 lb-1"])

    def test_a_backend_can_be_told_by_the_proxy_protocol(self) -> None:
        """Its connection begins with whose it is, and carries no other's request."""
        rig = self.rig("10.0.0.1:8000:proxy-protocol=v1")
        client = rig.client("192.0.2.7")
        for _ in range(2):
            client.send(GET)
            backend = rig.accept()
            sent = backend.received()
            self.assertTrue(sent.startswith(b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 12345\r\nGET / HTTP/1.1\r\n"), sent)
            backend.send(OK)
            self.assertEqual((client.received(), backend.closed), (OK, True))

    def test_or_by_its_binary_form(self) -> None:
        """Version 2."""
        rig = self.rig("10.0.0.1:8000:proxy-protocol=v2")
        rig.client("192.0.2.7").send(GET)
        sent = rig.accept().received()
        self.assertTrue(sent.startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H4B", 12, 192, 0, 2, 7)), sent)
        self.assertIn(b"GET / HTTP/1.1\r\n", sent)


class TooMuch(ExchangeCase):
    """What is over a limit is answered by us and never forwarded whole."""

    def test_a_body_over_the_limit(self) -> None:
        """413; the backend's request is broken off, never finished."""
        rig = self.rig(body_limit=10)
        client = rig.client()
        client.send(CHUNKED + b"\r\n8\r\n12345678\r\n")
        backend = rig.accept()
        rig.turn()
        client.send(b"8\r\n12345678\r\n0\r\n\r\n")
        self.assertEqual((status(client.received()), backend.aborted), (413, True))
        self.assertFalse(backend.received().endswith(b"0\r\n\r\n"))
        self.assertEqual((rig.counters.ends, rig.listener.rejected), ({"too-large": 1}, {"body-size": 1}))
        self.assert_all_is_over()
