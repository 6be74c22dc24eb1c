"""Promises about a wire that speaks TLS: a transport on a real loopback socket, whatever the peer does."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import struct
import threading
from typing import Any
from weakref import ref

from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ISSLTransport, ITransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides
from zope.interface.verify import verifyObject

from lbproxy.polling import poll_of
from lbproxy.tls.failures import HandshakeFailed, forget_errors
from lbproxy.tls.layer import TlsFactory
from lbproxy.tls.renewals import RENEWALS
from lbproxy.tls.wire import RECORD, TlsWire
from lbproxy.wire import HIGH_WATER, half_close

from ..support import given
from ..test_wire import Producer
from .sessions import DATA, HANDSHAKE, KEY_UPDATE, TlsCase, TlsClient

MEBIBYTE = 1 << 20
RESET = struct.pack("ii", 1, 0)


def lots(size: int = 8 * MEBIBYTE) -> bytes:
    return random.Random(1).randbytes(size)


class Handshakes(TlsCase):
    """How a session comes about, or not."""

    def test_it_is_a_transport_in_every_sense(self) -> None:
        """And one of TLS, which our own half-closing knows."""
        self.connected()
        self.assertIsInstance(self.wire, TlsWire)
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, self.wire)
        self.assertTrue(ISSLTransport.providedBy(self.wire))
        self.assertEqual((self.session.shaken, self.wire.getHost().port), (1, self.port))

    def test_byte_by_byte(self) -> None:
        """The protocol hears of it once, when it is whole."""
        context = SSL.Context(SSL.TLS_METHOD)
        tls, peer = SSL.Connection(context, None), self.dial(self.port)
        tls.set_connect_state()
        shaken = False
        while not shaken:
            with contextlib.suppress(SSL.WantReadError):
                tls.do_handshake()
                shaken = True
            with contextlib.suppress(SSL.WantReadError):
                for byte in tls.bio_read(1 << 16):
                    peer.send(bytes([byte]))
                    self.turn(1)
            with contextlib.suppress(BlockingIOError):
                tls.bio_write(peer.recv(1 << 16))
        self.until(lambda: bool(self.session.shaken))
        self.turn(5)
        self.assertEqual((self.session.shaken, self.session.data), (1, b""))

    def test_data_that_comes_with_its_end_is_read(self) -> None:
        """In the same segment as the client's last word of the handshake."""
        client = self.client()
        tls = client.tls
        self.until(client.shake)
        tls.send(b"at once")
        self.until(lambda: self.session.data == b"at once")

    def failed(self) -> str:
        self.until(lambda: bool(self.made and self.session.ends))
        self.turn(3)
        self.assertEqual((self.session.ends, self.session.shaken), (1, 0))
        error = self.session.lost.value
        self.assertIsInstance(error, HandshakeFailed)
        self.assertIsNone(error.__traceback__)
        return str(error.cause)

    def test_a_scan(self) -> None:
        """It opens and closes."""
        self.dial(self.port).close()
        self.assertEqual(self.failed(), "closed")

    def test_a_scan_that_resets(self) -> None:
        """The same."""
        peer = self.dial(self.port)
        self.until(lambda: bool(self.made))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()
        self.assertEqual(self.failed(), "closed")

    def test_a_client_that_leaves_in_the_middle(self) -> None:
        """After it has been answered."""
        client = self.client()
        client.shake()
        self.turn(5)
        client.peer.close()
        self.assertEqual(self.failed(), "closed")

    def test_garbage(self) -> None:
        """It is no TLS."""
        self.dial(self.port).send(b"\x80\x2e\x01garbage" * 10)
        self.assertEqual(self.failed(), "not-tls")

    def test_an_old_version(self) -> None:
        """Nothing before TLS 1.2 is spoken, and the client is told so by an alert that it can read."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_min_proto_version(SSL.TLS1_1_VERSION)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        client = self.client(context=context)

        def told() -> bool:
            client.shake()
            return bool(client.ended)

        self.until(told)
        self.assertEqual((self.failed(), client.ended), ("version", "tlsv1 alert protocol version"))

    def test_no_common_cipher(self) -> None:
        """The client has none of ours."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"PSK-AES128-GCM-SHA256:NULL:@SECLEVEL=0")
        client = self.client(context=context, tls12=True)
        client.shake()
        self.assertEqual(self.failed(), "cipher")

    def test_a_client_that_does_not_trust_us(self) -> None:
        """Its alert says so."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_verify(SSL.VERIFY_PEER, None)
            context.set_max_proto_version(version)
            client = self.client(context=context)

            def told(client: TlsClient = client) -> bool:
                client.shake()
                return bool(client.ended)

            self.until(told)
            self.assertEqual(self.failed(), "refused")

    def test_a_write_before_it_waits_for_it(self) -> None:
        """It is neither sent in the clear nor lost, and nobody waits in circles."""
        client = self.client()
        self.until(lambda: bool(self.made))
        self.wire.write(b"early ")
        self.wire.write(b"bird ")
        self.assertLess(self.reads(), 3)
        self.session.on_shaken = lambda: self.wire.write(b"sings")
        self.until(client.shake)
        self.until(lambda: client.read() == b"early bird sings")

    def test_a_half_close_before_it_waits_too(self) -> None:
        """What was written before comes first."""
        client = self.client()
        self.until(lambda: bool(self.made))
        self.wire.write(b"all")
        self.wire.loseWriteConnection()
        self.until(client.shake)
        self.until(lambda: bool(client.read() and client.ended))
        self.assertEqual((client.read(), client.ended), (b"all", "notified"))

    def test_closing_before_it_is_closing_at_once(self) -> None:
        """What was written has nobody to go to."""
        for end, expected in (("loseConnection", ConnectionDone), ("abortConnection", ConnectionAborted)):
            client = self.client()
            client.shake()
            self.turn(3)
            self.wire.write(b"early")
            getattr(self.wire, end)()
            self.until(lambda: bool(self.session.ends))
            self.assertTrue(self.session.lost.check(expected))
            self.assertEqual(self.session.ends, 1)

    def test_a_client_that_reads_nothing_does_not_keep_it_busy(self) -> None:
        """A flight that does not fit waits for room, however much the client sends."""
        accept = self.acceptor.accept

        class Full:
            """A session whose first flight never fits."""

            def __init__(self, real: SSL.Connection) -> None:
                self._real = real
                self.calls = 0

            def do_handshake(self) -> None:
                self.calls += 1
                raise SSL.WantWriteError

        full: list[Full] = []

        def accept_full(given: Any) -> Any:
            full.append(Full(accept(given)))
            given.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            with contextlib.suppress(BlockingIOError):
                while True:
                    given.send(b"x" * MEBIBYTE)
            return full[-1]

        self.patch(self.acceptor, "accept", accept_full)
        peer = self.dial(self.port)
        peer.send(b"x" * 1000)
        self.until(lambda: bool(full and full[-1].calls))
        calls = full[-1].calls
        self.turn(50)
        self.assertEqual(full[-1].calls, calls)


class InTheClear(TlsCase):
    """What is said without TLS to a listener for TLS."""

    def factory(self) -> Any:
        from twisted.internet.protocol import Factory

        return TlsFactory(Factory.forProtocol(self.build), self.acceptor, to_http=b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def test_http_is_answered_whatever_its_method(self) -> None:
        """In the clear, and no reset overtakes it."""
        for method in (b"GET", b"POST", b"DELETE", b"OPTIONS", b"PROPFIND"):
            peer = self.dial(self.port)
            peer.send(method + b" / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
            got: list[bytes] = []

            def read(peer: socket.socket = peer, got: list[bytes] = got) -> bool:
                with contextlib.suppress(BlockingIOError):
                    got.append(peer.recv(1000))
                return bool(got and not got[-1])

            self.until(read)
            self.assertEqual(b"".join(got), b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self.assertEqual((self.session.lost.value.cause, self.session.ends), ("plain-http", 1))

    def test_garbage_is_told_nothing(self) -> None:
        """Who speaks neither has no business here."""
        peer = self.dial(self.port)
        peer.send(b"\0" * 100)
        self.until(lambda: bool(self.made and self.made[-1].ends))
        peer.setblocking(True)
        self.assertEqual(peer.recv(1000)[:4], b"")


class Writing(TlsCase):
    """From the protocol to the peer."""

    def drain(self, client: TlsClient, size: int) -> None:
        self.until(lambda: len(client.read()) >= size or bool(client.ended))

    def test_what_does_not_fit_is_sent_later_and_in_order(self) -> None:
        """Whatever it is made of, and although what waits grows meanwhile."""
        for tls12 in (False, True):
            client = self.connected(tls12=tls12)
            data = lots()
            parts = [data, b"", b"and", memoryview(b" then "), bytes(20000), bytearray(b"the end")]
            for part in parts:
                self.wire.write(part)
                self.turn(2)
            whole = b"".join(bytes(part) for part in parts)
            self.drain(client, len(whole))
            self.assertEqual((client.read() == whole, client.ended), (True, ""))

    def test_a_producer_is_paused_at_high_water_and_resumed(self) -> None:
        """Once each: a slow reader costs a bounded memory."""
        client = self.connected()
        producer = Producer()
        self.wire.registerProducer(producer, True)
        self.wire.write(lots())
        self.wire.write(b"x" * HIGH_WATER)
        self.assertEqual(producer.heard, ["pause"])
        self.drain(client, 8 * MEBIBYTE + HIGH_WATER)
        self.until(lambda: producer.heard == ["pause", "resume"])
        self.assertEqual(self.wire._unsent, None)

    def test_an_error_of_send_is_no_error_of_the_caller(self) -> None:
        """The protocol hears of a lost connection, later and once."""
        client = self.connected()
        client.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.peer.close()
        for _ in range(3):
            self.wire.write(b"x" * 1000)
            self.assertEqual(self.session.ends, 0)
        self.until(lambda: bool(self.session.ends))
        self.wire.write(b"after the end")
        self.turn()
        self.assertTrue(self.session.lost.check(ConnectionLost))
        self.assertEqual(self.session.ends, 1)

    def test_an_error_of_one_is_not_taken_for_anothers(self) -> None:
        """Nothing of it stays in OpenSSL's queue, which all share."""
        client = self.connected()
        client.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.peer.close()
        self.wire.write(b"x" * 1000)
        error = self.assertRaises(SSL.Error, SSL.Context(SSL.TLS_METHOD).set_cipher_list, b"-")
        self.assertEqual([library for library, _, _ in error.args[0]], ["SSL routines"])
        forget_errors()

    def test_a_message_begun_within_the_session_does_not_keep_it_busy(self) -> None:
        """OpenSSL writes nothing before it has heard the rest: that is waited for, and then all arrives."""
        for paused in (False, True):
            client = self.connected()
            records = client.records()
            client.peer.send(records.make(HANDSHAKE, KEY_UPDATE))
            self.turn(3)
            if paused:
                self.wire.pauseProducing()
            self.wire.write(b"an answer")
            self.turn(3)
            self.assertLess(self.reads(), 3)
            client.peer.send(records.make(HANDSHAKE, b"\0"))
            self.until(lambda client=client: client.read() == b"an answer")  # type: ignore[misc]
            self.wire.resumeProducing()
            records.renewed()
            client.peer.send(records.make(DATA, b"go on"))
            self.until(lambda: self.session.data == b"go on")

    def test_a_close_in_that_state_is_waited_for_and_can_be_cut(self) -> None:
        """With what was written before it."""
        for end, expected in (("", b"last words"), ("abortConnection", b"")):
            client = self.connected()
            records = client.records()
            client.peer.send(records.make(HANDSHAKE, KEY_UPDATE))
            self.turn(3)
            self.wire.write(b"last words")
            self.wire.loseConnection()
            self.turn(5)
            self.assertEqual(self.session.ends, 0)
            if end:
                self.wire.abortConnection()
                client.peer.send(records.make(HANDSHAKE, b"\0"))
            else:
                client.peer.send(records.make(HANDSHAKE, b"\0"))
            self.until(lambda: bool(self.session.ends))
            self.until(lambda client=client: bool(client.read() is not None and client.ended))  # type: ignore[misc]
            self.assertEqual(client.read(), expected)


class Reading(TlsCase):
    """From the peer to the protocol."""

    def test_a_large_upload_arrives(self) -> None:
        """Byte for byte, through pauses at any place, with nothing left behind in OpenSSL."""
        client = self.connected()
        data = lots(4 * MEBIBYTE)
        sent = 0
        got = bytearray()
        sizes: list[int] = []

        def take(part: bytes) -> None:
            got.extend(part)
            sizes.append(len(part))
            if len(sizes) % 3 == 0:
                self.wire.pauseProducing()
                self.reactor.callLater(0, self.wire.resumeProducing)

        self.session.dataReceived = take

        def pump() -> bool:
            nonlocal sent
            with contextlib.suppress(SSL.WantWriteError, SSL.WantReadError):
                while sent < len(data):
                    sent += client.tls.send(data[sent : sent + 30000])
            return len(got) == len(data)

        self.until(pump)
        self.assertEqual((bytes(got) == data, max(sizes)), (True, RECORD))

    def test_a_record_of_any_size_is_read_without_another_event(self) -> None:
        """The largest, the smallest, and what ends in the middle of the next."""
        client = self.connected()
        records = client.records()
        for size in (1, RECORD - 1, RECORD, RECORD, 2):
            client.peer.send(records.make(DATA, b"x" * size))
        last = records.make(DATA, b"end")
        client.peer.send(last[:7])
        self.until(lambda: len(self.session.data) == 3 * RECORD + 2)
        self.turn(3)
        client.peer.send(last[7:])
        self.until(lambda: self.session.data.endswith(b"xend"))

    def test_in_bulk_nothing_changes(self) -> None:
        """What is read is the protocol's to keep; what is lent by another wire can be written."""
        client = self.connected()
        self.wire.read_in_bulk()
        client.tls.send(b"hello")
        self.until(lambda: self.session.data == b"hello")
        self.assertIsInstance(self.session.data, bytes)
        lent = bytearray(b"lent" * 100000)
        self.wire.write(memoryview(lent))
        lent[:] = bytes(len(lent))
        self.until(lambda: client.read() == b"lent" * 100000)

    def test_an_error_of_the_protocol_is_not_taken_for_openssls(self) -> None:
        """It is logged as any other is, and ends the connection."""
        client = self.connected()

        def fail(data: bytes) -> None:
            raise SSL.WantReadError("a mistake of ours")

        self.session.dataReceived = fail
        client.tls.send(b"x")
        self.until(lambda: bool(self.session.ends))
        self.assertEqual(len(self.flushLoggedErrors(SSL.WantReadError)), 1)
        self.logged.clear()

    def test_a_record_that_is_not_genuine_ends_it(self) -> None:
        """As a lost connection."""
        client = self.connected()
        client.peer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.until(lambda: bool(self.session.ends))
        self.assertTrue(self.session.lost.check(ConnectionLost))

    def test_a_flood_of_new_keys_ends_it(self) -> None:
        """One peer does not keep all others waiting: a read of it is short, however much it sends."""
        for answered in (False, True):
            client = self.connected()
            records = client.records()
            flood = b"".join(records.key_update(answered) for _ in range(RENEWALS * 20))

            def blast(peer: socket.socket = client.peer, flood: bytes = flood) -> None:
                with contextlib.suppress(OSError):
                    peer.setblocking(True)
                    peer.sendall(flood)

            thread = threading.Thread(target=blast)
            thread.start()
            self.until(lambda: bool(self.session.ends))
            thread.join()
            self.assertEqual(self.session.ends, 1)

    def test_some_new_keys_are_as_it_should_be(self) -> None:
        """While much is on its way in the other direction, too. (Asked for new keys of ours
        while something waits for room, OpenSSL breaks the session at the next renewal.)"""
        client = self.connected()
        records = client.records()
        data = lots()
        self.wire.write(data)
        for number in range(20):
            client.peer.send(records.key_update() + records.make(DATA, b"%d " % number))
        self.until(lambda: self.session.data.endswith(b" 19 "))
        self.until(lambda: len(client.read()) == len(data))
        self.assertEqual(client.read(), data)
        for _ in range(5):
            client.peer.send(records.key_update(answered=True) + records.make(DATA, b"."))
        self.until(lambda: self.session.data.endswith(b"....."))
        self.wire.write(b"end")
        self.until(lambda: client.read().endswith(b"end"))

    def test_renegotiation_is_refused(self) -> None:
        """In TLS 1.2; whoever insists is no more served, and nobody waits in circles."""
        client = self.connected(tls12=True)
        client.tls.renegotiate()

        def insist() -> bool:
            with contextlib.suppress(SSL.WantReadError):
                try:
                    client.tls.do_handshake()
                except SSL.WantReadError:
                    raise
                except SSL.Error:
                    return True
            return False

        self.until(insist)
        client.peer.close()
        self.until(lambda: bool(self.session.ends))
        self.assertEqual((self.session.shaken, self.session.ends), (1, 1))

    def test_what_openssl_wants_to_say_itself_is_waited_for(self) -> None:
        """Reading goes on when there is room, unless it is paused by then."""
        client = self.connected()
        real = self.wire._recv
        answers = [SSL.WantWriteError()]

        def recv(size: int) -> Any:
            if answers:
                raise answers.pop()
            return real(size)

        self.wire._recv = recv
        client.tls.send(b"x")
        self.until(lambda: self.session.data == b"x")
        answers.append(SSL.WantWriteError())
        client.tls.send(b"y")
        self.until(lambda: not answers)
        self.wire.pauseProducing()
        self.turn(5)
        self.assertEqual(self.session.data, b"x")
        self.wire.resumeProducing()
        self.until(lambda: self.session.data == b"xy")


class Ending(TlsCase):
    """How a session ends."""

    def test_losing_it_sends_first_what_was_written(self) -> None:
        """However much that is; then the peer is told that this was all."""
        for tls12 in (False, True):
            client = self.connected(tls12=tls12)
            data = lots()
            self.wire.write(data)
            self.wire.loseConnection()
            self.wire.write(b"too late")
            self.until(lambda client=client: bool(client.read() and client.ended))  # type: ignore[misc]
            self.assertEqual((client.read() == data, client.ended), (True, "notified"))
            self.until(lambda: bool(self.session.ends))
            self.assertTrue(self.session.lost.check(ConnectionDone))

    def full(self, client: TlsClient) -> bytes:
        """Fill the socket to the last byte: data below TLS that the client must take first."""
        handle = self.wire._socket
        record = b"\x17\x03\x03"  # never to be read
        with contextlib.suppress(BlockingIOError):
            while True:
                handle.send(record * 10000)
        with contextlib.suppress(BlockingIOError):
            while True:
                handle.send(b"x")
        return b""

    def test_the_last_word_waits_for_room(self) -> None:
        """A peer that reads slowly cannot take the whole for something cut short."""
        for end in ("loseConnection", "loseWriteConnection"):
            client = self.connected()
            self.full(client)
            getattr(self.wire, end)()
            self.turn(10)
            self.assertEqual((self.session.ends, self.wire._unsent), (0, b"\0"))
            last = bytearray()

            def read(peer: socket.socket = client.peer, last: bytearray = last) -> bool:
                with contextlib.suppress(BlockingIOError):
                    data = peer.recv(MEBIBYTE)
                    last.extend(data)
                    return not data
                return False

            self.until(read)
            self.assertEqual(last[-24:-19], b"\x17\x03\x03\x00\x13")  # an alert within TLS 1.3

    def test_a_half_close_lets_the_peer_go_on(self) -> None:
        """It is told the end of our bytes after all of them, and its own still arrive."""
        client = self.connected()
        data = lots()
        self.wire.write(data)
        self.assertTrue(half_close(self.wire))
        self.wire.write(b"too late")
        self.until(lambda: bool(client.read() and client.ended))
        self.assertEqual((client.read() == data, client.ended), (True, "notified"))
        client.tls.send(b"still here")
        self.until(lambda: self.session.data == b"still here")
        self.wire.loseConnection()
        self.until(lambda: bool(self.session.ends))

    def test_the_last_word_is_said_once(self) -> None:
        """A second one would make OpenSSL read for itself what the peer still says."""
        client = self.connected()
        said = []
        shutdown = self.wire._tls.shutdown

        def say() -> Any:
            said.append(True)
            return shutdown()

        self.wire._tls.shutdown = say
        self.wire.loseWriteConnection()
        self.wire._block_reading()
        self.turn(3)
        self.wire.loseWriteConnection()
        client.tls.send(b"still here")
        self.until(lambda: self.session.data == b"still here")
        self.wire.loseConnection()
        self.until(lambda: bool(self.session.ends))
        self.assertEqual(said, [True])

    def test_the_peers_half_close_is_one(self) -> None:
        """To who knows of it; what is written then still arrives."""
        client = self.connected()
        told: list[str] = []
        self.session.readConnectionLost = lambda: told.append("half-closed")
        alsoProvides(self.session, IHalfCloseableProtocol)
        client.tls.send(b"bye")
        client.tls.shutdown()
        self.until(lambda: bool(told))
        self.assertEqual((told, self.session.data, self.session.ends), (["half-closed"], b"bye", 0))
        self.wire.write(b"and to you")
        self.until(lambda: client.read() == b"and to you")
        self.wire.loseConnection()
        self.until(lambda: bool(self.session.ends))

    def test_to_any_other_it_is_the_end(self) -> None:
        """In good order, and the peer is told the same."""
        client = self.connected()
        client.tls.shutdown()
        self.until(lambda: bool(self.session.ends))
        self.assertTrue(self.session.lost.check(ConnectionDone))
        self.until(lambda: bool(client.read() is not None and client.ended))
        self.assertEqual(client.ended, "notified")

    def test_an_end_without_a_last_word_is_none(self) -> None:
        """It may be an attacker's, and something may be missing."""
        client = self.connected()
        client.tls.send(b"half")
        client.peer.close()
        self.until(lambda: bool(self.session.ends))
        self.assertTrue(self.session.lost.check(ConnectionLost))

    def test_an_abort_is_a_reset(self) -> None:
        """Without a last word, in whatever state it is, and told once."""
        for prepare in ("", "loseConnection", "loseWriteConnection", "pauseProducing", "_block_reading"):
            client = self.connected()
            self.wire.write(lots())
            if prepare:
                getattr(self.wire, prepare)()
            self.wire.abortConnection()
            self.assertEqual(self.session.ends, 0)
            self.until(lambda: bool(self.session.ends))
            self.turn(3)
            for ask in ("loseConnection", "abortConnection", "loseWriteConnection", "resumeProducing", "pauseProducing"):
                getattr(self.wire, ask)()
            self.wire.write(b"x")
            self.turn(3)
            self.assertTrue(self.session.lost.check(ConnectionAborted))
            self.assertEqual((self.session.ends, self.wire.fileno()), (1, -1))
            self.until(lambda client=client: bool(client.read() is not None and client.ended))  # type: ignore[misc]
            self.assertEqual(client.ended, "reset")

    def test_a_connection_that_twisted_ends_leaves_the_socket_alone(self) -> None:
        """OpenSSL knows it by its number, which may be another's a moment later."""
        self.connected()
        wire = self.wire
        wire._transport.connectionLost(Failure(ConnectionLost()))
        calls: list[Any] = []
        wire._tls.send = wire._tls.shutdown = calls.append
        wire.write(b"x")
        wire.loseConnection()
        self.turn(3)
        self.assertEqual((calls, wire.fileno(), self.session.ends), ([], -1, 1))
        self.assertNotIn(wire, poll_of(self.reactor).wires)

    def test_nothing_is_left_to_the_garbage_collector(self) -> None:
        """However it ends: a session is tens of kilobytes."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for end in ("", "loseConnection", "loseWriteConnection", "abortConnection"):
            client = self.connected()
            gone = [ref(self.wire._tls), ref(self.session)]
            if end:
                getattr(self.wire, end)()
            client.peer.close()
            self.until(lambda: bool(self.session.ends))
            self.made.clear()
            self.turn(2)
            self.assertEqual([left() for left in gone], [None, None], end)

    def test_nor_of_a_handshake_that_fails(self) -> None:
        """There may be many of them."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.dial(self.port).close()
        self.until(lambda: bool(self.made and self.session.ends))
        gone = ref(self.session)
        self.made.clear()
        self.turn(2)
        self.assertIsNone(gone())


class Fuzzing(TlsCase):
    """Whatever a client says, no exception comes of it, and it ends or waits."""

    def hello(self) -> bytes:
        tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        tls.set_connect_state()
        with contextlib.suppress(SSL.WantReadError):
            tls.do_handshake()
        return bytes(tls.bio_read(1 << 16))

    def feed(self, parts: list[bytes]) -> None:
        self.made.clear()
        peer = self.dial(self.port)
        for part in parts:
            with contextlib.suppress(OSError):
                peer.send(part)
            self.turn(2)
        self.until(lambda: bool(self.made))
        self.assertIn(self.session.ends, (0, 1))
        self.assertLess(self.reads(10), 4)
        peer.close()
        self.until(lambda: bool(self.session.ends))
        self.assertIsInstance(self.session.lost.value, HandshakeFailed)

    @given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4))
    def test_random_bytes(self, parts: list[bytes]) -> None:
        """Of any kind."""
        self.feed(parts)

    @given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4), st.integers(1, 1 << 16), st.booleans())
    def test_a_clients_first_words_changed(self, changes: list[tuple[int, int]], cut: int, again: bool) -> None:
        """Bytes replaced, the end cut off, said twice."""
        hello = bytearray(self.hello())
        for place, value in changes:
            hello[place % len(hello)] = value
        whole = bytes(hello[: cut % len(hello) or None])
        self.feed([whole, whole] if again else [whole])
