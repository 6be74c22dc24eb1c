"""Promises about upgrades: what is asked of a backend, the tunnel that may come of it, and every way in which it can end."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from lbproxy.interfaces import IDownstream
from lbproxy.testing import FakeDownstream

from .proxy.test_exchange import ONE, PAIR, TWO, ExchangeCase
from .support import GET, OK, Peer, Rig, post, request, split, status, values
from .test_promises_edges import narrow_accept

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\n"


@implementer(IDownstream)
class _Refuses(FakeDownstream):
    """A downstream with a bug."""

    def switch(self, head: Any, data: bytes, end: Any) -> None:
        raise ValueError("a downstream's bug")


class TunnelCase(ExchangeCase):
    """A client and a backend that have agreed to speak something else."""

    def tunnel(self, rig: Rig) -> tuple[Peer, Peer]:
        """Both ends, just after the 101."""
        client = rig.client()
        client.send(UPGRADE)
        backend = rig.accept()
        backend.received()
        backend.send(SWITCHING)
        self.assertEqual(status(client.received()), 101)
        self.assertEqual((rig.counters.tunnels, rig.counters.in_flight, rig.member().in_flight), (1, 1, 1))
        return client, backend

    def assert_over(self, end: str) -> None:
        """The tunnel has ended in that way, and nothing is left of it."""
        rig = self.last
        rig.turn()
        self.assertEqual((rig.counters.tunnels, rig.counters.tunnels_total, rig.counters.ends), (0, 1, {end: 1}))
        self.assert_all_is_over()


class Asking(TunnelCase):
    """The request for an upgrade."""

    def test_the_backend_is_asked_what_the_client_asks(self) -> None:
        """Connection and Upgrade are written anew, everything else goes on as it came."""
        rig = self.rig()
        rig.client().send(UPGRADE)
        asked = rig.accept().received()
        self.assertEqual(split(asked)[0], b"GET /chat HTTP/1.1")
        for name, value in ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"k")):
            self.assertEqual(values(asked, name), [value])

    def test_what_would_pass_by_the_balancer_is_an_ordinary_request(self) -> None:
        """HTTP/2 in the clear would carry requests that nobody here looks at."""
        for protocol in (b"h2c", b"websocket, h2c", b"HTTP/2.0", b"TLS/1.0"):
            rig = self.rig()
            rig.client().send(UPGRADE.replace(b"websocket", protocol))
            asked = rig.accept().received()
            self.assertEqual((values(asked, b"Upgrade"), values(asked, b"Connection")), ([], []))

    def test_a_refusal_is_an_ordinary_response(self) -> None:
        """And the connections go on as they were."""
        for answer in (OK, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"):
            rig = self.rig()
            client = rig.client()
            client.send(UPGRADE)
            backend = rig.accept()
            backend.send(answer)
            self.assertEqual(client.received(), answer)
            backend.received()
            client.send(GET)
            self.assertTrue(backend.received().startswith(b"GET / HTTP/1.1\r\n"))
            self.assertEqual(rig.counters.tunnels_total, 0)

    def test_426_says_to_what(self) -> None:
        """Upgrade belongs to it (RFC 9110 section 15.5.22)."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        rig.accept().send(b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: foo/2\r\nContent-Length: 0\r\n\r\n")
        answer = client.received()
        self.assertEqual((values(answer, b"Upgrade"), values(answer, b"Connection")), ([b"foo/2"], [b"Upgrade"]))

    def test_it_is_tried_elsewhere_while_nothing_was_sent(self) -> None:
        """As any request is."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(UPGRADE)
        self.assertEqual(rig.refuse(4), [ONE] * 4)
        backend = rig.accept()
        backend.send(SWITCHING)
        self.assertEqual((status(client.received()), rig.member(TWO).in_flight), (101, 1))

    def test_a_101_that_nobody_asked_for_is_502(self) -> None:
        """What follows it could not be understood."""
        rig = self.rig()
        client = rig.client()
        client.send(post(b"x"))
        backend = rig.accept()
        backend.send(SWITCHING)
        self.assertEqual((status(client.received()), backend.aborted, rig.counters.tunnels_total), (502, True, 0))


class Bytes(TunnelCase):
    """What goes through."""

    def test_they_go_both_ways_as_they_are(self) -> None:
        """Whatever they look like, and counted."""
        rig = self.rig()
        client, backend = self.tunnel(rig)
        client.send(GET, b"\0" * 10)
        self.assertEqual(backend.received(), GET + b"\0" * 10)
        backend.send(OK)
        self.assertEqual(client.received(), OK)
        client.reset()
        self.assertEqual((rig.ended[0].request_bytes, rig.ended[0].response_bytes), (len(GET) + 10, len(OK)))
        self.assertEqual((rig.ended[0].status, rig.counters.statuses), (101, {101: 1}))

    def test_what_came_with_the_heads_goes_first(self) -> None:
        """Of the client's, and of the backend's."""
        rig = self.rig()
        client = rig.client()
        client.send(UPGRADE + b"early")
        backend = rig.accept()
        self.assertTrue(backend.received().endswith(b"\r\n\r\n"))
        backend.send(SWITCHING + b"hello")
        self.assertTrue(client.received().endswith(b"\r\n\r\nhello"))
        self.assertEqual(backend.received(), b"early")
        client.send(b"late")
        self.assertEqual(backend.received(), b"late")
        client.reset()
        self.assertEqual((rig.ended[0].request_bytes, rig.ended[0].response_bytes), (9, 5))

    def test_a_side_that_does_not_read_holds_the_other_back(self) -> None:
        """Both ways, and only as long as that."""
        client, backend = self.tunnel(self.rig())
        for slow, fast in ((client, backend), (backend, client)):
            slow.stop_reading()
            self.assertEqual((fast.unread, slow.unread), (True, False))
            slow.read_on()
            self.assertFalse(fast.unread)

    def test_a_backend_that_switches_before_it_has_read_the_request_is_waited_for(self) -> None:
        """Its connection is full as the tunnel begins."""
        rig = self.rig(head_limit=1 << 20)
        client = rig.client()
        client.send(UPGRADE[:-2] + b"X: " + b"x" * 100_000 + b"\r\n\r\n")
        backend = narrow_accept(rig)
        self.assertTrue(backend._full)
        backend.send(SWITCHING)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual((status(client.received()), client.unread), (101, True))
        backend.read_on()
        self.assertFalse(client.unread)


class Ends(TunnelCase):
    """How a tunnel ends."""

    def test_a_half_close_is_passed_on_and_the_other_way_stays_open(self) -> None:
        """From either side; when both have ended, so has the tunnel."""
        for first_is_client in (True, False):
            rig = self.rig()
            client, backend = self.tunnel(rig)
            first, second = (client, backend) if first_is_client else (backend, client)
            first.send(b"last words")
            first.half_close()
            self.assertEqual((second.received(), second.half_closed, second.closed), (b"last words", True, False))
            second.send(b"and mine")
            self.assertEqual((first.received(), rig.counters.tunnels), (b"and mine", 1))
            second.half_close()
            self.assertTrue(first.closed and second.closed)
            self.assert_over("done")

    def test_a_client_that_resets_ends_it(self) -> None:
        """The backend gets what was said before, then the end."""
        client, backend = self.tunnel(self.rig())
        client.send(b"said")
        client.reset()
        self.assertEqual((backend.received(), backend.ended, backend.aborted), (b"said", True, False))
        backend.hang_up()
        self.assert_over("client-left")

    def test_a_backend_that_resets_ends_it(self) -> None:
        """The client gets what was said before, then the end."""
        client, backend = self.tunnel(self.rig())
        backend.send(b"said")
        client.unsent = 4
        backend.reset()
        self.assertEqual((client.received(), client.ended), (b"said", True))
        client.send(b"and you?")  # which nobody hears, and no reset answers, as long as it could overtake what was said
        self.assertFalse(client.closed)
        client.unsent = 0
        client.send(b"hello?")
        self.assertTrue(client.closed)
        self.assert_over("truncated")

    def test_an_hour_of_silence_ends_it(self) -> None:
        """Not less, and a word from either side buys another."""
        rig = self.rig()
        client, backend = self.tunnel(rig)
        for side in (client, backend, client):
            rig.wait(3500)
            side.send(b"x")
        rig.wait(3500)
        self.assertEqual((rig.counters.tunnels, client.closed), (1, False))
        rig.wait(200)
        self.assertTrue(client.closed and backend.closed)
        self.assert_over("tunnel-idle")

    def test_a_client_that_does_not_read_is_dropped(self) -> None:
        """As in any response."""
        rig = self.rig()
        client, backend = self.tunnel(rig)
        client.stop_reading()
        rig.wait(50)
        client.read_on()
        rig.wait(50)
        client.stop_reading()
        rig.wait(50)
        self.assertEqual((rig.counters.tunnels, client.aborted), (1, False))
        rig.wait(15)
        self.assertEqual((client.aborted, backend.aborted, rig.listener.timed_out), (True, True, {"write": 1}))
        self.assert_over("client-timeout")

    def test_how_long_is_a_setting(self) -> None:
        """--tunnel-timeout."""
        rig = self.rig(tunnel_timeout=10)
        self.tunnel(rig)
        rig.wait(15)
        self.assert_over("tunnel-idle")

    def test_a_side_that_never_takes_the_last_words_is_dropped(self) -> None:
        """A tunnel that is over does not stay for who does not read."""
        rig = self.rig()
        client, backend = self.tunnel(rig)
        client._full, client.unsent = True, 100
        backend.reset()
        rig.wait(55)
        self.assertFalse(client.aborted)
        rig.wait(20)
        self.assertTrue(client.aborted)
        self.assert_over("truncated")
        self.assertEqual(len(rig.balancer.sweep.watched), 0)

    def test_a_side_that_has_taken_them_but_does_not_end_is_dropped_sooner(self) -> None:
        """It has had its last words, and a moment to say goodbye."""
        rig = self.rig()
        client, backend = self.tunnel(rig)
        client.unsent = 100
        backend.reset()
        rig.wait(4)
        client.send(b"still talking")
        client.unsent = 0
        self.assertFalse(client.aborted)
        rig.wait(3)
        self.assertTrue(client.aborted)
        self.assert_over("truncated")

    def test_nothing_of_it_is_watched_any_more(self) -> None:
        """Neither the tunnel nor its connections."""
        rig = self.rig()
        client, backend = self.tunnel(rig)
        self.assertEqual(len(rig.balancer.sweep.watched), 3)
        client.reset()
        backend.hang_up()
        rig.turn()
        self.assertEqual(len(rig.balancer.sweep.watched), 0)

    def test_a_drain_drops_it_when_its_time_is_over(self) -> None:
        """Both ends, at once."""
        rig = self.rig()
        client, backend = self.tunnel(rig)
        for connection in list(rig.factory.connections):
            connection.close_if_idle()
        self.assertFalse(client.closed)
        for connection in list(rig.factory.connections):
            connection.drop()
        self.assertEqual((client.aborted, backend.aborted), (True, True))
        self.assert_over("drain")

    def test_a_downstream_that_fails_to_switch_leaves_nothing_behind(self) -> None:
        """No tunnel, no attempt, no connection to the backend."""
        rig = self.rig()
        downstream = _Refuses()
        exchange = rig.resource.exchange(downstream, request(UPGRADE), rig.resource.client("192.0.2.7", False))
        rig.resource.forward(exchange)
        backend = rig.accept()
        backend.send(SWITCHING)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        rig.turn()
        self.assertEqual((rig.counters.in_flight, rig.counters.tunnels, rig.member().in_flight), (0, 0, 0))
        self.assertTrue(backend.closed)
        self.assertEqual(len(rig.balancer.sweep.watched), 0)

    def test_who_reads_the_last_words_slowly_gets_them_whole(self) -> None:
        """As with any other response: some progress buys more time."""
        rig = self.rig()
        client, backend = self.tunnel(rig)
        client.half_close()
        backend.send(b"x" * 60_000)
        client._full = True
        client.unsent = 60_000
        backend.half_close()
        for _ in range(6):
            rig.wait(30)
            client.unsent -= 10_000
        self.assertFalse(client.aborted)
        rig.wait(130)
        self.assertTrue(client.aborted)
        self.assertEqual(len(rig.balancer.sweep.watched), 0)
