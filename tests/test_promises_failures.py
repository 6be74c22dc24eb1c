"""Promises to users and operators about what goes wrong: nothing broken is passed off as whole, nobody waits for nothing."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.balance.backend import Backend
from lbproxy.balance.pool import Pool
from lbproxy.http1.factory import ServerFactory
from lbproxy.interfaces import IProbe
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.resource import LoadBalancerResource
from lbproxy.settings import Settings

from .support import GET, OK, FakeProbe, ReactorCase, Rig, post, status, values

ONE, TWO = "10.0.0.1:8000", "10.0.0.2:8000"
PAIR = f"{ONE},{TWO}"
MEBIBYTE = 1 << 20


class ATruncatedBodyAbortsTheClient(SynchronousTestCase):
    """A response that a backend cut short is never finished as if whole."""

    def cut_short(self, answer: bytes, request: bytes = GET) -> tuple[Rig, Any]:
        rig = Rig()
        client = rig.client()
        client.send(request)
        backend = rig.accept()
        backend.send(answer)
        backend.hang_up()
        return rig, client

    def test_sized(self) -> None:
        """The kept-alive client cannot take the next response for the missing bytes."""
        rig, client = self.cut_short(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        self.assertEqual((client.aborted, rig.counters.ends), (True, {"truncated": 1}))

    def test_chunked(self) -> None:
        """No last chunk is written."""
        _, client = self.cut_short(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        self.assertTrue(client.aborted)
        self.assertTrue(client.received().endswith(b"4\r\nhalf\r\n"))

    def test_for_an_old_client(self) -> None:
        """Whose body the connection's end would end: it sees a reset."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        ):
            _, client = self.cut_short(answer, b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(client.aborted)


class EarlyRefusalsReachTheUploader(SynchronousTestCase):
    """A backend that refuses an upload is heard while the upload runs."""

    def test_413_during_the_upload(self) -> None:
        """The client gets it at once, need not send the rest, and nothing of the rest is taken for a request."""
        rig = Rig()
        client = rig.client()
        client.send(post(b"x" * 100_000)[:-90_000])
        backend = rig.accept()
        rig.turn()
        backend.send(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        backend.hang_up()
        answer = client.received()
        self.assertEqual((status(answer), answer[-2:], values(answer, b"Connection")), (413, b"no", [b"close"]))
        client.send(b"x" * 90_000, GET)
        self.assertEqual((client.received(), client.half_closed, rig.connects), (b"", True, []))

    def test_413_although_the_backend_resets_at_once(self) -> None:
        """What it said before it closed is read before the end is."""
        rig = Rig(PAIR)
        client = rig.client()
        client.send(post(b"x" * 1000)[:-900])
        backend = rig.accept()
        backend.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        backend.reset()
        self.assertEqual((status(client.received()), rig.counters.statuses), (413, {413: 1}))

    def test_what_is_pipelined_behind_the_last_request_does_not_reset_its_answer_away(self) -> None:
        """RFC 9112 section 9.6: half-close, and read on for a while."""
        rig = Rig(connection_requests=1)
        client = rig.client()
        client.send(GET + GET)
        rig.accept().send(OK)
        self.assertIn(b"Connection: close", client.received())
        self.assertTrue(client.half_closed)

    def test_what_is_pipelined_in_a_drain_does_not_reset_the_answer_away(self) -> None:
        """Whoever pipelines does not know of it."""
        rig = Rig()
        client = rig.client()
        client.send(GET + GET)
        backend = rig.accept()
        rig.factory.draining = True
        backend.send(OK)
        self.assertIn(b"Connection: close", client.received())
        self.assertTrue(client.half_closed)

    def test_an_early_response_goes_on_for_a_client_that_gives_its_body_up(self) -> None:
        """It ends its sending when it sees the refusal, and reads that to its end (RFC 9112 section 9.5)."""
        rig = Rig()
        client = rig.client()
        client.send(post(b"x" * 10)[:-5])
        backend = rig.accept()
        backend.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 10\r\n\r\nbegun")
        client.half_close()
        rig.wait(50)
        client.stop_reading()
        client.read_on()
        rig.wait(50)
        backend.send(b"ended")
        self.assertTrue(client.received().endswith(b"begunended"))
        self.assertFalse(client.aborted)


@implementer(IProbe)
class RaisingProbe:
    """A probe with a bug, until it is mended."""

    def __init__(self) -> None:
        self.broken = True

    def check(self, backend: Backend) -> Deferred[str]:
        if self.broken:
            raise ZeroDivisionError("a bug in a probe")
        checking: Deferred[str] = Deferred()
        checking.callback("probe: well")
        return checking


class ARaisingProbeDoesNotEndProbing(SynchronousTestCase):
    """Verdicts do not freeze because a probe has a bug."""

    def test_it_is_a_failed_check_and_the_next_comes(self) -> None:
        """Down with the bug as the reason, and up one interval after it is mended; service goes on."""
        probe = RaisingProbe()
        rig = Rig(PAIR, probe=probe, probe_interval=5, probe_timeout=2)
        rig.balancer.start()
        rig.wait(11)
        self.assertFalse(rig.pool.available)
        self.assertIn("a bug in a probe", rig.member(ONE).reason)
        client = rig.client()
        client.send(GET)
        self.assertEqual(status(client.received()), 503)
        probe.broken = False
        rig.wait(6)
        client.send(GET)
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)


class AClientThatLeavesIsNotWorkedFor(SynchronousTestCase):
    """Its backend is told, and the operator can count it."""

    def test_the_backends_connection_is_aborted_and_counted(self) -> None:
        """Before the answer and during it."""
        for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"):
            rig = Rig()
            client = rig.client()
            client.send(GET)
            backend = rig.accept()
            backend.send(answer)
            client.reset()
            self.assertEqual((backend.aborted, rig.counters.ends, rig.member().in_flight), (True, {"client-left": 1}, 0))

    def test_a_connect_under_way_is_cancelled_and_counted(self) -> None:
        """No connection is made for nobody."""
        rig = Rig()
        client = rig.client()
        client.send(GET)
        connect = rig.connect()
        client.reset()
        self.assertEqual((connect.cancelled, rig.counters.ends, rig.member().in_flight), (True, {"client-left": 1}, 0))


class AStaleConnectionIsNotTheClientsTrouble(SynchronousTestCase):
    """A backend may close an idle connection at any moment."""

    def stale(self, data: bytes) -> None:
        """A request that goes out on a connection as its backend closes it."""
        self.rig = Rig(PAIR)
        self.client, stale = self.rig.kept_alive()
        self.client.send(GET)
        self.other = self.rig.accept()
        self.other.send(OK)
        self.client.received()
        self.client.send(data)
        self.assertTrue(stale.received())
        stale.hang_up()

    def test_get_succeeds(self) -> None:
        """On a new connection, and the backend is not blamed."""
        self.stale(GET)
        self.rig.accept().send(OK)
        self.assertEqual((status(self.client.received()), self.rig.member(ONE).failures), (200, 0))

    def test_get_succeeds_on_another_backend_when_this_one_is_gone(self) -> None:
        """A backend that is being restarted costs no GET, and the attempts stay within their budget."""
        self.stale(GET)
        self.assertEqual(self.rig.refuse(3), [ONE] * 3)
        self.other.send(OK)
        self.assertEqual((status(self.client.received()), self.rig.member(ONE).up, self.rig.connects), (200, False, []))

    def test_post_is_not_repeated_after_bytes_were_sent(self) -> None:
        """502, and the client decides."""
        self.stale(post(b"order"))
        self.assertEqual((status(self.client.received()), self.rig.connects), (502, []))


class TwoBackendsNeverShareAConnection(SynchronousTestCase):
    """What is balanced to one backend goes to that backend."""

    def test_idle_ones_are_kept_apart(self) -> None:
        """An idle connection to one is no connection to the other."""
        rig = Rig(PAIR)
        client, first = rig.kept_alive()
        client.send(GET)
        self.assertEqual([connect.address for connect in rig.connects], [TWO])
        second = rig.accept()
        second.send(OK)
        second.received()
        for number in range(4):
            client.send(GET.replace(b"/ ", b"/%d " % number))
            got = [backend.received()[:6] for backend in (first, second)]
            self.assertEqual(got, [b"GET /%d" % number, b""][:: 1 if number % 2 == 0 else -1])
            (first, second)[number % 2].send(OK)


class ASlowSidePausesTheFastOne(ReactorCase):
    """Over real sockets: what a slow side does not take waits at the fast one, not in memory.

    Loopback sockets hold some MiB each; what is sent beyond that would be held by us.
    """

    SENT, HELD = 128 * MEBIBYTE, 48 * MEBIBYTE

    def setUp(self) -> None:
        super().setUp()
        self.backend = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.backend.close)
        self.backend.setblocking(False)
        pool = Pool([Backend("127.0.0.1", self.backend.getsockname()[1])])
        resource = LoadBalancerResource(pool, reactor=self.reactor, probe=FakeProbe())
        self.addCleanup(resource.stop)
        sweep = resource.balancer.sweep
        factory = ServerFactory(resource, Settings(), self.reactor.seconds, sweep.watched, ListenerCounters())
        self.client = self.dial(self.listen(factory))

    def accepted(self) -> socket.socket:
        """The connection that the balancer makes to the backend."""
        made: list[socket.socket] = []

        def accept() -> bool:
            try:
                made.append(self.backend.accept()[0])
            except BlockingIOError:
                return False
            return True

        self.until(accept)
        self.addCleanup(made[0].close)
        made[0].setblocking(False)
        return made[0]

    def pour(self, into: socket.socket) -> int:
        """Send until no more is taken for a while; gives how much was."""
        sent, refused = 0, 0
        while sent < self.SENT and refused < 20:
            try:
                sent += into.send(bytes(MEBIBYTE))
                refused = 0
            except BlockingIOError:
                refused += 1
            self.reactor.iterate(0.001)
        return sent

    def drink(self, out_of: socket.socket, size: int) -> None:
        """Read that many bytes."""
        left = [size]

        def read() -> bool:
            try:
                left[0] -= len(out_of.recv(8 * MEBIBYTE))
            except BlockingIOError:
                pass
            return left[0] <= 0

        self.until(read)

    def test_a_reader_that_stops_pauses_the_backend(self) -> None:
        """A client that does not read holds up the backend's sending; when it reads, it goes on."""
        self.client.send(GET)
        backend = self.accepted()
        self.until(lambda: self.readable(backend))
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        sent = self.pour(backend)
        self.assertLess(sent, self.HELD)
        self.drink(self.client, sent)

    def test_a_backend_that_stops_pauses_the_uploader(self) -> None:
        """A backend that does not read holds up the client's sending; when it reads, it goes on."""
        self.client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        backend = self.accepted()
        sent = self.pour(self.client)
        self.assertLess(sent, self.HELD)
        self.drink(backend, sent)

    def readable(self, peer: socket.socket) -> bool:
        try:
            return bool(peer.recv(MEBIBYTE))
        except BlockingIOError:
            return False
