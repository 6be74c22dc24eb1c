"""Promises about the wire: a transport on a real loopback socket, driven by a reactor of the test's own."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
from typing import Any
from weakref import ref

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, IReadWriteDescriptor, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest
from zope.interface import alsoProvides, implementer
from zope.interface.verify import verifyObject

from lbproxy import wire
from lbproxy.polling import WirePoll, poll_of
from lbproxy.wire import HIGH_WATER, Wire, adopt

from .support import Peer, ReactorCase, Recorder

MEBIBYTE = 1 << 20


class Adopting(Recorder):
    """A protocol that asks for a wire, as ours do."""

    def connectionMade(self) -> None:
        self.given = self.transport
        self.transport: Any = adopt(self.transport, self)


@implementer(IPushProducer)
class Producer:
    """A producer that remembers what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def pauseProducing(self) -> None:
        self.heard.append("pause")

    def resumeProducing(self) -> None:
        self.heard.append("resume")

    def stopProducing(self) -> None:
        self.heard.append("stop")


class LoopbackCase(ReactorCase):
    """A listener on a free loopback port, and one connection to it."""

    def setUp(self) -> None:
        super().setUp()
        self.made: list[Adopting] = []
        self.port = self.listen(self.build)
        self.peer = self.dial(self.port)
        self.until(lambda: bool(self.made))
        self.protocol = self.made[0]
        self.wire = self.protocol.transport

    def build(self) -> Adopting:
        protocol = Adopting()
        self.made.append(protocol)
        return protocol

    def watched(self) -> bool:
        """Whether anybody is to be told of what happens on the wire."""
        poll = poll_of(self.reactor)
        if self.wire._poll is poll and isinstance(poll, WirePoll):
            return self.wire in poll.wires
        return self.wire in self.reactor.getReaders() + self.reactor.getWriters()

    def sent(self, size: int) -> bytes:
        """What has been sent to the peer, once it is that much."""
        got = bytearray()

        def read() -> bool:
            try:
                got.extend(self.peer.recv(MEBIBYTE))
            except BlockingIOError:
                pass
            return len(got) >= size

        self.until(read)
        return bytes(got)

    def peer_sees(self) -> str:
        """How the connection ends for the peer: in good order or by a reset."""
        found: list[str] = []

        def read() -> bool:
            try:
                if not self.peer.recv(MEBIBYTE):
                    found.append("end")
            except BlockingIOError:
                pass
            except ConnectionResetError:
                found.append("reset")
            return bool(found)

        self.until(read)
        return found[0]

    def fill(self) -> bytes:
        """Write until the socket takes no more; gives all that was written."""
        data = bytes(range(256)) * (16 * MEBIBYTE // 256)
        self.wire.write(data)
        return data

    def lost(self) -> bool:
        return self.protocol.lost is not None


class Adoption(LoopbackCase):
    """Which transports become wires."""

    def test_a_tcp_socket_is_taken_over(self) -> None:
        """The protocol gets a wire that is a transport in every sense."""
        self.assertIsInstance(self.wire, Wire)
        for interface in (ITransport, IConsumer, IPushProducer, IReadWriteDescriptor):
            verifyObject(interface, self.wire)

    def test_it_knows_both_ends(self) -> None:
        """As the transport did."""
        self.assertEqual(self.wire.getPeer().port, self.peer.getsockname()[1])
        self.assertEqual(self.wire.getHost().port, self.port)

    def test_a_transport_in_memory_stays(self) -> None:
        """The same protocols run over it unchanged."""
        for transport in (StringTransport(), Peer(Clock())):
            self.assertIs(adopt(transport, Protocol()), transport)

    def test_a_wrapped_transport_stays(self) -> None:
        """Whatever wraps it has a reason to see the bytes."""
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        wrapper.transport = self.protocol.given
        self.assertIs(adopt(wrapper, Protocol()), wrapper)

    def test_a_transport_that_encrypts_stays(self) -> None:
        """Nobody writes plain text past TLS."""
        self.protocol.given.TLS = True
        self.assertIs(adopt(self.protocol.given, Protocol()), self.protocol.given)
        self.protocol.given.TLS = False


class Writing(LoopbackCase):
    """From the protocol to the socket."""

    def test_it_is_sent_at_once(self) -> None:
        """In the call, not in the reactor's next turn."""
        self.wire.write(b"hello")
        self.peer.setblocking(True)
        self.assertEqual(self.peer.recv(100), b"hello")

    def test_what_does_not_fit_is_sent_later_and_in_order(self) -> None:
        """Nothing is lost, nothing overtakes."""
        data = self.fill()
        self.wire.write(b"and ")
        self.wire.writeSequence([b"the ", b"end"])
        self.assertEqual(self.sent(len(data) + 11), data + b"and the end")

    def test_a_producer_is_paused_at_high_water_and_resumed(self) -> None:
        """Once each."""
        producer = Producer()
        self.wire.registerProducer(producer, True)
        self.wire.write(b"small")
        self.assertEqual(producer.heard, [])
        data = self.fill()
        self.wire.write(b"x" * HIGH_WATER)
        self.assertEqual(producer.heard, ["pause"])
        self.sent(len(data) + HIGH_WATER + 5)
        self.until(lambda: len(producer.heard) > 1)
        self.assertEqual(producer.heard, ["pause", "resume"])

    def test_a_second_producer_is_refused(self) -> None:
        """And so is one that has to be pulled."""
        self.assertRaises(ValueError, self.wire.registerProducer, Producer(), False)
        self.wire.registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, self.wire.registerProducer, Producer(), True)
        self.wire.unregisterProducer()
        self.wire.registerProducer(Producer(), True)

    def test_what_the_peer_has_not_taken_is_known(self) -> None:
        """It falls as the peer reads, byte by byte, long before the socket can be written to again."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.assertEqual(self.wire.unsent, 0)
        self.fill()
        seen = self.wire.unsent
        self.assertGreater(seen, MEBIBYTE)

        def read_on() -> bool:
            try:
                self.peer.recv(65536)
            except BlockingIOError:
                pass
            return bool(self.wire.unsent < seen)

        self.until(read_on)
        self.wire.abortConnection()
        self.until(self.lost)
        self.assertEqual(self.wire.unsent, 0)

    def test_an_error_of_send_is_no_error_of_the_caller(self) -> None:
        """The protocol hears of it as a lost connection, later."""
        self.reset_by_peer()
        for _ in range(3):
            self.wire.write(b"x" * 1000)
            self.assertFalse(self.lost())
        self.until(self.lost)
        self.wire.write(b"after the end")

    def test_an_error_of_send_is_told_although_reading_is_paused(self) -> None:
        """A paused side must not hide that the other end is gone."""
        self.wire.pauseProducing()
        self.reset_by_peer()
        for _ in range(3):
            self.wire.write(b"x" * 1000)
        self.assertFalse(self.lost())
        self.until(self.lost)

    def test_a_pause_after_an_error_of_send_does_not_hide_it(self) -> None:
        """Nor may a pause that comes between the error and its report."""
        self.reset_by_peer()
        for _ in range(3):
            self.wire.write(b"x" * 1000)
        self.wire.pauseProducing()
        self.until(self.lost)

    def reset_by_peer(self) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.peer.close()


class Reading(LoopbackCase):
    """From the socket to the protocol."""

    def test_what_the_peer_sends_arrives(self) -> None:
        """Byte for byte."""
        self.peer.sendall(b"hello")
        self.until(lambda: self.protocol.data == b"hello")

    def test_a_pause_holds_it_back(self) -> None:
        """Nothing is read until it is resumed, and nothing is lost."""
        self.wire.pauseProducing()
        self.peer.sendall(b"hello")
        self.turn(10)
        self.assertEqual(self.protocol.data, b"")
        self.wire.resumeProducing()
        self.until(lambda: self.protocol.data == b"hello")

    def test_the_peers_end_is_told(self) -> None:
        """As a connection that was closed in good order."""
        self.peer.sendall(b"bye")
        self.peer.close()
        self.until(self.lost)
        assert self.protocol.lost is not None
        self.assertTrue(self.protocol.lost.check(ConnectionDone))
        self.assertEqual(self.protocol.data, b"bye")

    def test_in_bulk_it_is_lent_and_passed_on_whole(self) -> None:
        """Through a second wire, which cannot take it all at once: byte for byte, although the next read uses the same place."""
        reader = self.dial(self.port)
        self.until(lambda: len(self.made) == 2)
        lent: set[type] = set()

        def pass_on(data: Any) -> None:
            lent.add(type(data))
            self.made[1].transport.write(data)

        self.protocol.dataReceived = pass_on  # type: ignore[method-assign]
        self.wire.read_in_bulk()
        data = random.Random(1).randbytes(8 * MEBIBYTE)
        sent, got = 0, bytearray()

        def pump() -> bool:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                sent += self.peer.send(data[sent : sent + MEBIBYTE])
            if sent == len(data) or sent % 3 == 0:  # at first it is mostly written, so that it does not fit
                with contextlib.suppress(BlockingIOError):
                    got.extend(reader.recv(MEBIBYTE))
            return len(got) == len(data)

        self.until(pump)
        self.assertEqual((lent, bytes(got)), ({memoryview}, data))

    def test_a_half_close_is_told_to_who_knows_of_it(self) -> None:
        """Nothing more is read, writing goes on, and resuming changes nothing."""
        told: list[str] = []
        self.protocol.readConnectionLost = lambda: told.append("half-closed")  # type: ignore[attr-defined]
        alsoProvides(self.protocol, IHalfCloseableProtocol)
        self.peer.sendall(b"bye")
        self.peer.shutdown(socket.SHUT_WR)
        self.until(lambda: bool(told))
        self.wire.pauseProducing()
        self.wire.resumeProducing()
        self.turn(5)
        self.assertEqual((told, self.protocol.data, self.lost()), (["half-closed"], b"bye", False))
        self.wire.write(b"and to you")
        self.assertEqual(self.sent(10), b"and to you")
        self.wire.loseConnection()
        self.until(self.lost)

    def test_a_half_closed_peer_that_is_gone_is_found_out_by_writing(self) -> None:
        """Its reset is the end, although nothing is read any more."""
        self.protocol.readConnectionLost = lambda: None  # type: ignore[attr-defined]
        alsoProvides(self.protocol, IHalfCloseableProtocol)
        self.peer.close()
        self.until(lambda: not self.watched())

        def write_on() -> bool:
            self.wire.write(b"x")
            return self.lost()

        self.until(write_on)

    def test_a_pause_within_the_call_is_heeded(self) -> None:
        """A protocol may pause while it is being given data."""
        self.protocol.dataReceived = lambda data: self.wire.pauseProducing()  # type: ignore[method-assign]
        self.peer.sendall(b"x")
        self.until(lambda: not self.watched())
        self.turn()
        self.assertFalse(self.watched())
        self.wire.resumeProducing()
        self.assertTrue(self.watched())


class Ending(LoopbackCase):
    """Ways to end a connection."""

    def test_losing_it_sends_first_what_was_written(self) -> None:
        """However much that is; then the peer sees an end in good order."""
        data = self.fill()
        self.wire.loseConnection()
        self.assertEqual(self.sent(len(data)), data)
        self.assertEqual(self.peer_sees(), "end")
        self.until(self.lost)

    def test_losing_it_is_told_later(self) -> None:
        """Not within the call."""
        self.wire.loseConnection()
        self.assertFalse(self.lost())
        self.until(self.lost)
        assert self.protocol.lost is not None
        self.assertTrue(self.protocol.lost.check(ConnectionDone))

    def test_a_half_close_lets_the_peer_go_on(self) -> None:
        """It sees the end of our bytes after all of them, and its own still arrive."""
        data = self.fill()
        self.wire.loseWriteConnection()
        self.wire.write(b"too late")
        self.assertEqual(self.sent(len(data)), data)
        self.assertEqual(self.peer_sees(), "end")
        self.peer.sendall(b"still here")
        self.until(lambda: self.protocol.data == b"still here")
        self.assertFalse(self.lost())
        self.peer.close()
        self.until(self.lost)

    def test_a_half_close_leaves_the_wire_in_charge(self) -> None:
        """Reading can still be paused, and the end is told once."""
        self.wire.loseWriteConnection()
        self.turn()
        self.wire.pauseProducing()
        self.peer.sendall(b"x")
        self.turn(10)
        self.assertEqual(self.protocol.data, b"")
        self.wire.abortConnection()
        self.until(self.lost)
        self.assertEqual(self.wire.fileno(), -1)

    def test_an_abort_is_a_reset(self) -> None:
        """What is unsent is dropped, and the peer cannot take what it has for the whole."""
        self.fill()
        self.wire.abortConnection()
        self.assertFalse(self.lost())
        self.until(self.lost)
        assert self.protocol.lost is not None
        self.assertTrue(self.protocol.lost.check(ConnectionAborted))
        self.assertEqual(self.peer_sees(), "reset")

    def test_the_end_is_told_once(self) -> None:
        """Whatever is asked for after it."""
        told: list[Failure] = []
        self.protocol.connectionLost = told.append  # type: ignore[assignment, method-assign]
        self.wire.loseConnection()
        self.wire.abortConnection()
        self.until(lambda: bool(told))
        for ask in (self.wire.loseConnection, self.wire.abortConnection, self.wire.loseWriteConnection):
            ask()
        self.wire.resumeProducing()
        self.wire.write(b"x")
        self.turn()
        self.assertEqual(len(told), 1)
        self.assertEqual((self.watched(), self.reactor.getWriters()), (False, []))

    def test_an_abort_overtakes_a_close_that_cannot_finish(self) -> None:
        """A peer that reads nothing cannot keep a closing connection."""
        self.fill()
        self.wire.loseConnection()
        self.turn()
        self.assertFalse(self.lost())
        self.wire.abortConnection()
        self.until(self.lost)

    def test_nothing_is_left_to_the_garbage_collector(self) -> None:
        """However it ends: a busy listener's connections are freed as they go."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for end in ("loseConnection", "abortConnection", "loseWriteConnection"):
            peer = self.dial(self.port)
            self.made.clear()
            self.until(lambda: bool(self.made))
            protocol = self.made[-1]
            del protocol.given
            protocol.transport.write(b"hello")
            getattr(protocol.transport, end)()
            peer.close()
            self.until(lambda protocol=protocol: protocol.lost is not None)  # type: ignore[misc]
            gone = [ref(protocol)]
            self.made.clear()
            del protocol
            self.turn()
            self.assertEqual([left() for left in gone], [None], end)

    def test_twisteds_own_count_stays_right(self) -> None:
        """The listener knows that the connection is over."""
        self.wire.loseConnection()
        self.until(self.lost)
        self.assertFalse(self.protocol.given.connected)
        self.assertEqual(self.protocol.given.fileno(), -1)


class EPollCase:
    """The same over epoll, where the reactor knows descriptors by their number."""

    def make_reactor(self) -> Any:
        try:
            from twisted.internet.epollreactor import EPollReactor
        except ImportError:
            raise SkipTest("no epoll here") from None
        return EPollReactor()


class EPollAdoption(EPollCase, Adoption):
    """Adoption over epoll."""


class EPollWriting(EPollCase, Writing):
    """Writing over epoll."""


class EPollReading(EPollCase, Reading):
    """Reading over epoll."""


class EPollEnding(EPollCase, Ending):
    """Ending over epoll."""


class BareCase:
    """The same where there is no epoll to be had, and wires are registered with the reactor itself."""

    def setUp(self) -> None:
        self.patch(wire, "poll_of", lambda reactor: reactor)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]


class BareWriting(BareCase, Writing):
    """Writing, registered with the reactor."""


class BareReading(BareCase, Reading):
    """Reading, registered with the reactor."""


class BareEnding(BareCase, Ending):
    """Ending, registered with the reactor."""
