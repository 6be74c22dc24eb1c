"""Promises to clients that speak HTTP over TLS: from the handshake to the end, over real loopback sockets."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import struct
from typing import Any
from weakref import ref

from OpenSSL import SSL
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from zope.interface import implementer

from lbproxy.admission import ConnectionLimit
from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.deadlines import DeadlineSweep
from lbproxy.drain import DRAIN_LOOK, FIRST_REQUEST, Drain
from lbproxy.http1.factory import SecureFactory, ServerFactory
from lbproxy.listener import check_endpoints
from lbproxy.proxy.counters import BalancerCounters, ListenerCounters
from lbproxy.resource import LoadBalancerResource
from lbproxy.settings import Settings
from lbproxy.tls.layer import TlsFactory
from lbproxy.wire import HIGH_WATER

from ..http1.support import FakeMaker
from ..support import GET, OK, START, post, split, status
from .sessions import Session, TlsCase, TlsClient

V1 = b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(
    "!H4s4sHH", 12, socket.inet_aton("203.0.113.9"), socket.inet_aton("198.51.100.1"), 56324, 443
)


class Maker(FakeMaker):
    """Remembers who the clients are."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[Any, ...]] = []

    def client(self, address: str, secure: bool, source: Any, destination: Any, identity: bytes = b"") -> Any:
        self.met.append((address, secure, source, destination))
        return super().client(address, secure, source, destination, identity)


class ServerCase(TlsCase):
    """A listener for HTTP over TLS, whose exchanges the test answers, and whose deadlines pass when the test says so."""

    description = "tcp:0:interface=127.0.0.1"

    def factory(self) -> Any:
        self.clock = Clock()
        self.clock.advance(START)
        self.sweep = DeadlineSweep(self.clock, 1.0)
        self.sweep.start()
        self.maker = Maker()
        self.counters = ListenerCounters()
        self.server = ServerFactory(self.maker, Settings(), self.clock.seconds, self.sweep.watched, self.counters)
        return self.server

    def listen(self, build: Any) -> int:
        (endpoint,) = check_endpoints(self.reactor, (), tls_listen=[self.description], acceptor=self.acceptor)
        port: Any = self.successResultOf(endpoint.listen(build))
        self.listening = port
        return int(port.getHost().port)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)

    def connected(self, **settings: Any) -> TlsClient:
        before = self.counters.handshakes
        client = self.client(**settings)
        self.until(client.shake)
        self.until(lambda: self.counters.handshakes > before)
        return client

    def none_open(self) -> bool:
        return not self.server.connections

    def opened(self) -> None:
        self.until(lambda: bool(self.server.connections))

    def asked(self, client: TlsClient, request: bytes = GET) -> Any:
        """An exchange that runs."""
        before = len(self.maker.exchanges)
        client.tls.send(request)
        self.until(lambda: len(self.maker.exchanges) > before)
        return self.maker.exchanges[-1]


class Handshakes(ServerCase):
    """Each is counted once, by what became of it."""

    def check(self, failed: dict[str, int], timed_out: dict[str, int] | None = None, shaken: int = 0) -> None:
        self.until(self.none_open)
        self.turn(3)
        self.assertEqual((self.counters.handshakes, self.counters.handshakes_failed), (shaken, failed))
        self.assertEqual((self.counters.timed_out, self.counters.open), (timed_out or {}, 0))

    def test_one_that_succeeds(self) -> None:
        """And is no failure when it has been used."""
        client = self.connected()
        self.asked(client).respond()
        self.until(lambda: client.read() == OK)
        client.tls.shutdown()
        client.peer.close()
        self.check({}, shaken=1)

    def test_a_silent_client(self) -> None:
        """It has ten seconds, in whatever it is silent."""
        for words in (b"", b"\x16\x03\x01"):
            peer = self.dial(self.port)
            peer.send(words)
            self.opened()
            self.turn(3)
            self.wait(9.5)
            self.assertEqual(self.counters.open, 1)
            self.wait(1.5)
            self.until(self.none_open)
        self.check({"timeout": 2}, {"handshake": 2})

    def test_a_client_that_dribbles(self) -> None:
        """Ten seconds are all there is, however often it says something."""
        peer = self.dial(self.port)
        for _ in range(10):
            with contextlib.suppress(OSError):
                peer.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"[_ : _ + 1])
            self.turn(3)
            self.wait(1.25)
        self.check({"timeout": 1}, {"handshake": 1})

    def test_a_client_that_leaves(self) -> None:
        """At once, in the middle, or with a reset."""
        self.dial(self.port).close()
        self.until(lambda: self.counters.accepted == 1 and self.none_open())
        client = self.client()
        client.shake()
        self.turn(5)
        client.peer.close()
        self.until(self.none_open)
        peer = self.dial(self.port)
        self.opened()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        self.check({"closed": 3})

    def test_plain_http(self) -> None:
        """It is told in the clear what is wrong."""
        peer = self.dial(self.port)
        peer.send(GET)
        self.check({"plain-http": 1})
        peer.setblocking(True)
        answer = peer.recv(1000)
        self.assertEqual((status(answer), b"https" in answer, peer.recv(1000)), (400, True, b""))

    def test_garbage(self) -> None:
        """And plain words of another protocol."""
        for words in (b"\0" * 50, b"SSH-2.0-OpenSSH_9.2\r\n"):
            self.dial(self.port).send(words)
            self.until(lambda: bool(self.counters.accepted) and self.none_open())
        self.check({"not-tls": 2})

    def test_a_client_that_refuses_us(self) -> None:
        """By an alert."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER, None)
        client = self.client(context=context)

        def told() -> bool:
            client.shake()
            return bool(client.ended)

        self.until(told)
        self.check({"refused": 1})

    def test_it_counts_as_a_connection(self) -> None:
        """Of which there may be so many: one more waits until there is room."""
        limit = ConnectionLimit(self.counters, lambda: [self.listening], self.reactor)
        limit.start(1)
        self.server.gate = limit
        first = self.dial(self.port)
        self.opened()
        second = self.client()
        second.shake()
        self.turn(10)
        self.assertEqual((self.counters.open, limit.paused), (1, True))
        first.close()
        self.until(second.shake)
        self.until(lambda: self.counters.handshakes == 1)
        self.assertEqual(self.counters.open, 1)
        self.logged.clear()  # that there were as many as there may be

    def test_a_service_that_stops_gives_it_a_moment(self) -> None:
        """Then it is closed, and that is no failure of the client's."""
        slow, quick = self.client(), self.client()
        slow.shake()
        self.until(lambda: len(self.server.connections) == 2)
        drain = Drain(
            self.server, BalancerCounters(), self.counters, Settings(), self.clock, lambda: self.listening.stopListening()
        )
        drain.start()
        self.turn(3)
        self.until(quick.shake)
        exchange = self.asked(quick)
        self.clock.advance(DRAIN_LOOK)
        self.turn(3)
        self.assertEqual(self.counters.open, 2)
        self.clock.advance(FIRST_REQUEST)
        self.until(lambda: self.counters.open == 1)
        exchange.respond()
        self.until(lambda: bool(quick.read() and quick.ended))
        self.assertEqual((status(quick.read()), quick.ended), (200, "notified"))
        quick.peer.close()
        self.until(self.none_open)
        self.clock.advance(DRAIN_LOOK)
        self.successResultOf(drain.over)
        self.logged.clear()  # what the drain has said
        self.assertEqual((self.counters.handshakes_failed, self.counters.timed_out), ({}, {}))

    def test_a_drop_in_the_middle_is_none_either(self) -> None:
        """It is our own doing."""
        client = self.client()
        client.shake()
        self.opened()
        for connection in list(self.server.connections):
            connection.drop()
        self.check({})


class Exchanges(ServerCase):
    """HTTP/1.1 is what it is without TLS."""

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        """Over one session."""
        for tls12 in (False, True):
            client = self.connected(tls12=tls12)
            self.maker.answer = OK
            client.tls.send(GET * 5)
            self.until(lambda client=client: client.read() == OK * 5)  # type: ignore[misc]
            self.assertEqual(self.maker.met[-1][:2], ("127.0.0.1", True))

    def test_a_half_closed_client_is_answered(self) -> None:
        """It has told in good order that it says no more."""
        client = self.connected()
        exchange = self.asked(client)
        client.tls.shutdown()
        self.turn(5)
        exchange.respond()
        self.until(lambda: bool(client.read() and client.ended))
        self.assertEqual((client.read()[-2:], client.ended), (b"ok", "notified"))
        self.until(self.none_open)

    def test_a_body_that_is_cut_short_is_no_body(self) -> None:
        """Whether the session's end was told or not."""
        for told in (True, False):
            client = self.connected()
            exchange = self.asked(client, post(b"x" * 1000)[:-500])
            if told:
                client.tls.shutdown()
            client.peer.close()
            self.until(self.none_open)
            self.assertEqual((exchange.ended, exchange.end), (False, "client-left"))

    def test_an_early_answer_is_read_whole(self) -> None:
        """The client goes on sending, and no reset overtakes it; then the session ends in good order."""
        client = self.connected()
        body = b"x" * (1 << 20)
        exchange = self.asked(client, post(body)[:8000])
        answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 200000\r\n\r\n" + b"n" * 200000
        exchange.respond(answer)
        sent = 0

        def go_on() -> bool:
            nonlocal sent
            with contextlib.suppress(SSL.WantWriteError, SSL.WantReadError):
                while sent < len(body):
                    sent += client.tls.send(body[sent : sent + 16384])
            return bool(client.read() and client.ended and sent == len(body))

        self.until(go_on)
        self.assertEqual((status(client.read()), client.read()[-200000:]), (413, b"n" * 200000))
        self.assertEqual(client.ended, "notified")
        client.tls.shutdown()
        self.until(self.none_open)
        self.assertEqual(self.counters.timed_out, {})

    def test_a_slow_reader_pauses_the_response(self) -> None:
        """What waits for it is bounded, and it gets all."""
        client = self.connected()
        exchange = self.asked(client)
        part = bytes(range(250)) * 200
        size = 200 * len(part)
        exchange.respond(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, complete=False)
        (connection,) = self.server.connections
        sent = most = 0

        def pump() -> bool:
            nonlocal sent, most
            while sent < size and (not exchange.heard or exchange.heard[-1] == "resume"):
                exchange.downstream.write(part)
                sent += len(part)
                most = max(most, len(connection.transport._unsent or b""))
            return len(split(client.read())[2]) == size

        self.until(pump)
        exchange.finish()
        self.assertLess(most, HIGH_WATER + len(part) + 1)
        self.assertIn("pause", exchange.heard)
        self.assertEqual(split(client.read())[2], part * 200)

    def test_nothing_is_left_to_the_garbage_collector(self) -> None:
        """Of a connection that has had exchanges, or none."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for requests in (0, 2):
            client = self.connected()
            (connection,) = self.server.connections
            for _ in range(requests):
                self.asked(client).respond()
            self.until(lambda client=client: client.read().count(b"ok") >= 0)  # type: ignore[misc]
            gone = [ref(connection), ref(connection.transport.tls)]
            self.maker.exchanges.clear()
            del connection
            client.peer.close()
            self.until(self.none_open)
            self.turn(2)
            self.assertEqual([left() for left in gone], [None, None], requests)


class BehindAProxy(ServerCase):
    """A PROXY protocol header comes before the handshake, in the clear."""

    description = "haproxy:tcp:0:interface=127.0.0.1"

    def client(self, header: bytes = V1, **settings: Any) -> TlsClient:
        client = super().client(**settings)
        client.peer.send(header)
        return client

    def test_the_client_is_who_it_says_over_tls(self) -> None:
        """Of either version."""
        for header in (V1, V2):
            client = self.connected(header=header)
            self.asked(client).respond()
            self.until(lambda client=client: client.read() == OK)  # type: ignore[misc]
            self.assertEqual(self.maker.met[-1], ("203.0.113.9", True, ("203.0.113.9", 56324), ("198.51.100.1", 443)))

    def test_without_one_it_is_the_connections_own(self) -> None:
        """As for a proxy's own probes."""
        client = self.connected(header=b"PROXY UNKNOWN\r\n")
        self.asked(client).respond()
        self.assertEqual(self.maker.met[-1][:2], ("127.0.0.1", True))

    def test_split_anywhere(self) -> None:
        """Before, in and after the header, and with the handshake's beginning in one segment."""
        for header in (V1, V2):
            for place in range(0, len(header) + 1, 3):
                near, far = socket.socketpair()
                tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
                tls.set_connect_state()
                with contextlib.suppress(SSL.WantReadError):
                    tls.do_handshake()
                whole = header + tls.bio_read(1 << 16)
                near.close()
                far.close()
                peer = self.dial(self.port)
                if place:
                    peer.send(whole[:place])
                    self.turn(4)
                peer.send(whole[place:])
                before = self.counters.handshakes

                def shaken(peer: socket.socket = peer, tls: SSL.Connection = tls, before: int = before) -> bool:
                    with contextlib.suppress(BlockingIOError):
                        tls.bio_write(peer.recv(1 << 16))
                    with contextlib.suppress(SSL.WantReadError):
                        tls.do_handshake()
                    with contextlib.suppress(SSL.WantReadError):
                        peer.send(tls.bio_read(1 << 16))
                    return self.counters.handshakes > before

                self.until(shaken)

    def test_one_that_is_not_whole_keeps_nobody_busy(self) -> None:
        """What has come is taken, and the rest waited for; not for ever."""
        peer = self.dial(self.port)
        peer.send(V2[:20])
        self.opened()
        self.turn(3)
        self.assertLess(self.reads(), 2)
        self.wait(61)
        self.until(self.none_open)
        self.assertEqual((self.counters.handshakes_failed, self.counters.timed_out), ({}, {"head": 1}))

    def test_a_bad_one_is_told_nothing(self) -> None:
        """Nor is a handshake without one."""
        for words in (b"PROXY NONSENSE\r\n", b"\x16\x03\x01\x02\x00\x01\x00", GET):
            peer = self.dial(self.port)
            peer.send(words)
            before = self.counters.accepted
            self.until(lambda before=before: self.counters.accepted > before and self.none_open())  # type: ignore[misc]
            peer.setblocking(True)
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(peer.recv(100), b"")
        self.assertEqual((self.counters.rejected, self.counters.handshakes_failed), ({"proxy-protocol": 3}, {}))

    def test_the_handshakes_time_begins_after_it(self) -> None:
        """And is counted as its own."""
        peer = self.dial(self.port)
        peer.send(V1)
        self.opened()
        self.turn(3)
        self.wait(11)
        self.until(self.none_open)
        self.assertEqual((self.counters.handshakes_failed, self.counters.timed_out), ({"timeout": 1}, {"handshake": 1}))

    def test_plain_http_behind_one(self) -> None:
        """It is told what is wrong, as without."""
        peer = self.dial(self.port)
        peer.send(V1 + GET)
        self.until(lambda: self.counters.accepted == 1 and self.none_open())
        peer.setblocking(True)
        self.assertEqual(status(peer.recv(1000)), 400)
        self.assertEqual(self.counters.handshakes_failed, {"plain-http": 1})

    def test_who_leaves_before_its_end_has_begun_no_handshake(self) -> None:
        """Load balancers probe so."""
        peer = self.dial(self.port)
        peer.send(V1[:10])
        self.opened()
        peer.close()
        self.until(self.none_open)
        self.assertEqual((self.counters.handshakes, self.counters.handshakes_failed), (0, {}))


class Tunnels(TlsCase):
    """After a 101 the session carries whatever both sides say."""

    def factory(self) -> Any:
        pool = Pool(parse_backends([self.backend()]))
        settings = Settings(probe_interval=86400.0)
        self.resource = LoadBalancerResource(pool, reactor=self.reactor, settings=settings)
        self.addCleanup(self.resource.stop)
        sweep = self.resource.balancer.sweep
        server = ServerFactory(self.resource, settings, self.reactor.seconds, sweep.watched, ListenerCounters())
        return TlsFactory(SecureFactory(server, False), self.acceptor)

    def backend(self) -> str:
        """A backend that switches, and then says back what it hears."""
        self.backends: list[Any] = []

        class Echo(Session):
            transport: Any

            def dataReceived(echo, data: bytes) -> None:
                if not echo.data.endswith(b"\r\n\r\n"):
                    echo.data += data
                    if echo.data.endswith(b"\r\n\r\n"):
                        self.backends.append(echo)
                        echo.transport.registerProducer(Reader(echo.transport), True)
                        echo.transport.write(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                else:
                    echo.transport.write(data)

        return f"127.0.0.1:{super().listen(Echo)}"

    def test_large_messages_go_both_ways(self) -> None:
        """Byte for byte, although the client reads late."""
        client = self.client()
        self.until(client.shake)
        client.tls.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.until(lambda: client.read().endswith(b"\r\n\r\n"))
        client.data.clear()
        data = random.Random(3).randbytes(8 << 20)
        sent = 0

        def pump() -> bool:
            nonlocal sent
            with contextlib.suppress(SSL.WantWriteError, SSL.WantReadError):
                while sent < len(data):
                    sent += client.tls.send(data[sent : sent + 50000])
            return sent > 4 << 20 and len(client.read()) == len(data)

        self.until(pump)
        self.assertEqual(bytes(client.data), data)
        client.tls.shutdown()
        self.until(lambda: bool(self.backends[0].ends))
        self.until(lambda: bool(client.read() and client.ended))
        self.assertEqual(client.ended, "notified")


@implementer(IPushProducer)
class Reader:
    """Reads from where it writes to as fast as that takes it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone."""
