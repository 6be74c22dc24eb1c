"""Promises at the edges: several things at once, full buffers, errors of ours, deadlines that cross."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from twisted.internet.error import ConnectBindError, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.policy import Policy
from lbproxy.balance.pool import Pool
from lbproxy.http1.client import UpstreamConnection
from lbproxy.http1.upstream import UpstreamTimes
from lbproxy.interfaces import IExchangeObserver
from lbproxy.service import LoadBalancerService
from lbproxy.testing import StubProbe
from lbproxy.wire import HIGH_WATER, READ_SIZE, adopt

from .support import GET, LIMITS, OK, Peer, ReactorCase, Recorder, Rig, post, request, sent, status
from .test_web import WebRig

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
POST_10 = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegin"


class Narrow(Peer):
    """A peer whose connection says, as a socket does, that it is full when more than HIGH_WATER bytes are unread, once."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.value()) > HIGH_WATER and not self._full:
            self.stop_reading()


def narrow_accept(rig: Rig) -> Narrow:
    """A backend accepts, with a narrow connection."""
    connect = rig.connect()
    destination = connect._connector.getDestination()
    peer = Narrow(rig.reactor, destination.host)
    peer.attach(connect._factory.buildProtocol(destination))
    return peer


def narrow_client(rig: Rig) -> Narrow:
    """A client with a narrow connection."""
    peer = Narrow(rig.reactor)
    peer.attach(rig.factory.buildProtocol(None))
    return peer


class Relay(SynchronousTestCase):
    """Backpressure and deadlines hold in every order of events."""

    def test_an_upload_waits_when_its_first_part_fills_the_connection(self) -> None:
        """What the first write says about a full connection is not taken back."""
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000", replay_limit=1 << 20)
        client = rig.client()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        first = rig.accept()
        client.send(b"x" * 300_000)
        first.reset()
        second = narrow_accept(rig)
        self.assertTrue(second._full)
        rig.turn()
        client.send(*[b"x" * 65536] * 100)
        self.assertLess(len(second.value()), 2_000_000)
        self.assertTrue(client.unread)

    def test_an_upload_over_a_used_connection_that_is_full_waits(self) -> None:
        """A connection whose backend has not read the last upload is not used for the next."""
        rig = Rig()
        client = rig.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        backend = narrow_accept(rig)
        client.send(b"x" * 200_000)
        self.assertTrue(backend._full)
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)
        rig.turn()
        other = rig.client()
        other.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        rig.turn()
        if rig.connects:
            backend = narrow_accept(rig)
        other.send(*[b"x" * 65536] * 100)
        self.assertLess(len(backend.value()), 1_000_000)

    def test_a_client_that_is_full_before_its_response_pauses_the_backend(self) -> None:
        """A 100 Continue can be the write that fills the client's connection."""
        rig = Rig()
        client = narrow_client(rig)
        client.send(GET)
        backend = rig.accept()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
        body = b"x" * (HIGH_WATER - len(head % HIGH_WATER) + 2 - 5)
        backend.send(head % len(body) + body)
        self.assertFalse(client._full)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        backend.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertTrue(client._full)
        client.send(b"hello")
        backend.send(CHUNKED)
        backend.send(*[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 50)
        self.assertTrue(backend.unread)

    def test_a_busy_upstream_is_not_failed_for_its_idle_deadline(self) -> None:
        """What was late when the sweep began may be in use again when its turn comes."""
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000", response_timeout=60.0, upstream_idle_timeout=60.0)
        one, two = rig.client(), rig.client()
        one.send(GET)  # to the first, which never answers
        first = rig.accept()
        two.send(GET)  # to the second, whose connection is then idle
        second = rig.accept()
        second.send(OK)
        second.received()
        # A set has any order; here the first backend's connection comes before the second's.
        sweep = rig.balancer.sweep
        busy, idle = sorted((one for one in sweep.watched if isinstance(one, UpstreamConnection)), key=lambda one: one.address)
        sweep.watched = _Ordered(sweep.watched, busy, idle)
        rig.wait(61)
        self.assertTrue(first.aborted)
        self.assertIn(b"GET /", second.received())  # the retry went over the idle connection
        self.assertFalse(second.aborted)
        second.send(OK)
        self.assertEqual(status(one.received()), 200)

    def test_a_closing_connection_to_a_backend_that_reads_nothing_ends(self) -> None:
        """What is unsent does not keep it open for ever."""
        rig = Rig()
        client = rig.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        backend = narrow_accept(rig)
        client.send(b"x" * 200_000)
        self.assertTrue(backend._full)
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        self.assertEqual(status(client.received()), 200)
        rig.wait(300)
        self.assertTrue(backend.lost)

    def test_a_paused_upload_is_no_silence_after_the_client_caught_up(self) -> None:
        """A client that is held up for the backend's sake is not silent."""
        rig = Rig()
        client = rig.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegin")
        backend = rig.accept()
        rig.turn()
        backend.send(CHUNKED)
        backend.stop_reading()
        self.assertTrue(client.unread)
        client.stop_reading()
        client.read_on()
        for _ in range(8):
            rig.wait(10)
            backend.send(b"2\r\nok\r\n")
        self.assertFalse(client.aborted)
        self.assertEqual([one.end for one in rig.ended], [])

    def test_a_response_paused_for_the_client_is_no_silence_of_the_backend(self) -> None:
        """A backend that is held up for the client's sake is not silent."""
        rig = Rig(idle_timeout=20, write_timeout=100, body_rate=0)
        client = rig.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegin")
        backend = rig.accept()
        rig.turn()
        backend.send(CHUNKED)
        client.stop_reading()
        backend.stop_reading()
        backend.read_on()
        for _ in range(8):
            rig.wait(10)
            client.send(b"x")
        self.assertEqual([one.end for one in rig.ended], [])

    def test_all_that_was_asked_before_a_half_close_is_answered(self) -> None:
        """Also when the answers of our own fill the connection."""
        rig = Rig()
        client = narrow_client(rig)
        client.send(GET)
        backend = rig.accept()
        client.send(GET * 900)
        client.half_close()
        rig.mark("10.0.0.1:8000", up=False)
        backend.send(OK)
        answers = b""
        for _ in range(20):
            answers += client.received()
            client.read_on()
            rig.turn()
        self.assertEqual(answers.count(b"HTTP/1.1 "), 901)


class WriteStall(SynchronousTestCase):
    """A client that reads nothing is dropped after the time for it, whatever else happens."""

    def assert_dropped(self, rig: Rig, client: Any) -> None:
        rig.wait(200)
        self.assertTrue(client.aborted)
        self.assertEqual((rig.counters.in_flight, rig.listener.timed_out), (0, {"write": 1}))

    def test_the_end_of_its_body_does_not_excuse_it(self) -> None:
        """It sends the rest of its body, but reads nothing of a response that came early."""
        rig = Rig()
        client = rig.client()
        client.send(POST_10)
        rig.accept().send(CHUNKED)
        client.stop_reading()
        client.send(b"hello")
        self.assert_dropped(rig, client)

    def test_an_invitation_that_it_does_not_read_does_not_excuse_it(self) -> None:
        """A 100 was the write that filled its connection."""
        rig = Rig()
        client = rig.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        backend = rig.accept()
        backend.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.stop_reading()
        client.send(b"hello")
        backend.send(CHUNKED)
        self.assert_dropped(rig, client)

    def test_a_backend_that_holds_up_its_body_for_a_while_does_not_excuse_it(self) -> None:
        """Its body was not read for a while, and is again."""
        rig = Rig()
        client = rig.client()
        client.send(POST_10)
        backend = rig.accept()
        backend.send(CHUNKED)
        client.stop_reading()
        backend.stop_reading()
        backend.read_on()
        self.assert_dropped(rig, client)

    def test_the_time_to_read_is_not_the_time_between_requests(self) -> None:
        """A whole response that fills its connection has as long to be read as any."""
        rig = Rig(idle_timeout=5, write_timeout=60)
        client = narrow_client(rig)
        client.send(GET)
        rig.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
        self.assertTrue(client._full)
        rig.wait(30)
        self.assertFalse(client.aborted)

    def test_nor_is_it_longer(self) -> None:
        """However long a connection may wait for the next request."""
        rig = Rig(idle_timeout=3600, write_timeout=10)
        client = narrow_client(rig)
        client.send(GET)
        rig.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
        rig.wait(30)
        self.assertTrue(client.aborted)


class Web(SynchronousTestCase):
    """The same through ``twisted.web``."""

    def test_a_pipelined_response_waits_for_a_client_that_is_full_already(self) -> None:
        """A channel that is full before the response is one to wait for too."""
        rig = WebRig()
        client = Narrow(rig.reactor).attach(rig.site.buildProtocol(None))
        client.send(GET + GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HIGH_WATER + b"x" * HIGH_WATER)
        self.assertTrue(client._full)
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", *[b"x" * 65536] * 50)
        self.assertTrue(backend.unread)

    def test_a_render_that_fails_leaves_no_exchange_behind(self) -> None:
        """Nothing stays in flight."""
        policy = _Broken()
        policy.broken = True
        rig = WebRig(policy=policy)
        client = rig.client()
        client.send(GET)
        self.flushLoggedErrors()
        self.assertEqual(rig.counters.in_flight, 0)


class Small(SynchronousTestCase):
    """What is easily overlooked."""

    def test_a_want_of_sockets_here_takes_no_backend_down(self) -> None:
        """The client is told to come back, and every backend is as well as before."""
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000", retries=1)
        client = rig.client()
        client.send(GET)
        for _ in range(4):
            rig.connect().fail(ConnectBindError(errno.EMFILE, "Too many open files"))
        self.assertEqual((status(client.received()), rig.counters.ends), (503, {"no-socket": 1}))
        self.assertEqual([(member.up, member.failures) for member in rig.pool.members.values()], [(True, 0)] * 2)

    def test_a_stop_in_the_middle_of_a_round_ends_it(self) -> None:
        """Nothing is probed after it."""
        probe = StubProbe()
        probe.down = {"10.0.0.1:8000": "gone"}
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000", probe=probe)
        rig.pool.observers.append(lambda member: rig.resource.stop())
        rig.balancer.start()
        self.assertEqual(probe.checked, ["10.0.0.1:8000"])

    def test_a_post_whose_key_no_backend_saw_is_not_repeated(self) -> None:
        """An Idempotency-Key that Connection names is taken away, and promises nothing."""
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000")
        client = rig.client()
        client.send(post(b"pay", b"Idempotency-Key: k", b"Connection: idempotency-key"))
        backend = rig.accept()
        self.assertNotIn(b"Idempotency", backend.received())
        backend.reset()
        self.assertEqual(rig.connects, [])

    def test_a_clock_at_nought_does_not_switch_backpressure_off(self) -> None:
        """Time may begin at 0, as it does in tests."""
        rig = Rig()
        rig.reactor.rightNow = 0.0
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(CHUNKED)
        client.stop_reading()
        self.assertTrue(backend.unread)


class _Ordered(set):
    """The watched connections, in an order that a set may have."""

    def __init__(self, items: Any, *first: Any) -> None:
        super().__init__(items)
        self.first = first

    def __iter__(self) -> Any:
        yield from (one for one in self.first if one in self)
        yield from (one for one in list(super().__iter__()) if one not in self.first)


@implementer(IExchangeObserver)
class _Raises:
    """An observer with a bug."""

    def exchange_finished(self, exchange: Any) -> None:
        raise ValueError("an observer's bug")


class _Broken(Policy):
    """A policy that can be made to raise."""

    name = "broken"
    broken = False

    def candidates(self, exchange: Any = None) -> Any:
        if self.broken:
            raise ValueError("a policy's bug")
        return iter(self.members)


class Bugs(SynchronousTestCase):
    """What users plug in may have bugs; no client hangs for them, and no count stays."""

    def test_a_pipelined_request_does_not_hang_when_a_policy_raises(self) -> None:
        """Its connection is dropped, as a first request's would be."""
        policy = _Broken()
        rig = Rig(policy=policy)
        client = rig.client()
        client.send(GET + GET)
        backend = rig.accept()
        policy.broken = True
        backend.send(OK)
        self.flushLoggedErrors()
        rig.wait(200)
        self.assertTrue(client.closed)
        self.assertEqual(rig.counters.in_flight, 0)

    def test_a_pools_observer_that_raises_ends_no_exchange(self) -> None:
        """It is told that a backend is down; the client is served by the next one all the same."""

        def broken(member: object) -> None:
            raise ValueError("an observer's bug")

        rig = Rig("10.0.0.1:8000,10.0.0.2:8000", retries=0)
        rig.pool.observers.append(broken)
        client = rig.client()
        client.send(GET)
        rig.refuse(1)
        rig.accept().send(OK)
        self.assertEqual(client.received(), OK)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_client_does_not_hang_when_an_observer_raises(self) -> None:
        """It gets its response."""
        rig = Rig()
        rig.balancer.observers = (_Raises(),)
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(OK)
        self.flushLoggedErrors()
        rig.wait(200)
        self.assertEqual(client.received(), OK)

    def test_counters_when_an_observer_raises_as_the_client_leaves(self) -> None:
        """The attempt is aborted and counted off all the same."""
        rig = Rig()
        rig.balancer.observers = (_Raises(),)
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        client.reset()
        self.flushLoggedErrors()
        self.assertEqual(rig.member().in_flight, 0)
        self.assertTrue(backend.aborted)


class Wires(ReactorCase):
    """Ends of real sockets."""

    def test_a_reset_that_send_saw_first_is_no_end_in_good_order(self) -> None:
        """The socket tells its error once, and it was told to send."""
        recorder = Recorder()
        port = self.listen(lambda: recorder)
        peer = self.dial(port)
        self.until(lambda: recorder.transport is not None)
        wire = adopt(recorder.transport, recorder)
        peer.sendall(b"half of a bo")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        wire.write(b"more of the upload")
        self.until(lambda: recorder.lost is not None)
        assert recorder.lost is not None
        self.assertIs(recorder.lost.type, ConnectionLost)

    def test_an_answer_is_read_whole_although_what_waits_can_no_longer_be_sent(self) -> None:
        """As a refusal that a backend gives and closes with, while more of an upload waits to be sent to it."""
        recorder = Recorder()
        port = self.listen(lambda: recorder)
        peer = self.dial(port)
        self.until(lambda: recorder.transport is not None)
        wire = adopt(recorder.transport, recorder)
        wire.write(b"x" * 20_000_000)
        peer.sendall(b"y" * (READ_SIZE + 10_000))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        self.until(lambda: recorder.lost is not None)
        self.assertEqual(len(recorder.data), READ_SIZE + 10_000)

    def test_an_error_of_send_alone_ends_the_connection(self) -> None:
        """One that reading does not show, such as a want of buffers."""
        recorder = Recorder()
        port = self.listen(lambda: recorder)
        self.dial(port)
        self.until(lambda: recorder.transport is not None)
        wire = adopt(recorder.transport, recorder)

        def refuse(data: bytes) -> int:
            raise OSError(errno.ENOBUFS, "no buffer space")

        wire._send = refuse
        wire.write(b"never sent")
        self.turn(20)
        self.assertIsNotNone(recorder.lost)

    def test_a_truncated_response_is_not_whole_because_an_upload_ran(self) -> None:
        """A body that the connection's end ends needs an end in good order."""
        heard: list[str] = []

        class Receiver:
            def response_data(self, data: bytes) -> None:
                heard.append("data")

            def response_end(self, data: bytes, trailers: bytes = b"") -> None:
                heard.append("end")

            def response_interim(self, head: Any) -> None: ...

            def response_lost(self, reason: str) -> None:
                heard.append("lost")

            def pause_request(self) -> None: ...
            def resume_request(self) -> None: ...

        class Owner:
            def release(self, connection: Any) -> None: ...
            def closing(self, connection: Any) -> None: ...
            def lost(self, connection: Any) -> None: ...

        connection = UpstreamConnection(Owner(), "a:1", LIMITS, UpstreamTimes(30, 60, 60), self.reactor.seconds)
        port = self.listen(lambda: connection)
        peer = self.dial(port)
        self.until(lambda: connection.transport is not None)
        head = request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        got: list[Any] = []
        connection.request(head, sent(head), False, Receiver()).addBoth(got.append)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf of")
        self.until(lambda: bool(got))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        connection.write_body(b"more of the upload")
        self.until(lambda: "end" in heard or "lost" in heard)
        self.assertEqual(heard[-1], "lost")


class Services(SynchronousTestCase):
    """A service's lives do not mix."""

    def test_a_service_started_again_while_it_drains_goes_on(self) -> None:
        """The end of the drain does not stop what has begun since."""
        reactor = MemoryReactorClock()
        reactor.advance(1000)
        probe = StubProbe()
        service = LoadBalancerService(Pool(parse_backends(["10.0.0.1:8000"])), ["tcp:8080"], reactor=reactor, probe=probe)
        service.startService()
        client = Peer(reactor).attach(service.factory.buildProtocol(None))
        client.send(GET)
        stopping = service.stopService()
        reactor.advance(0.1)
        service.startService()
        client.hang_up()
        for _ in range(40):
            reactor.advance(0.25)
        self.successResultOf(stopping)
        probe.checked.clear()
        for _ in range(40):
            reactor.advance(0.25)
        self.assertNotEqual(probe.checked, [])
        service.stopService()
