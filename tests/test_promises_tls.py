"""Promises to operators about TLS: what cannot be decided is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.factory import ProxyProtocolFactory, SecureFactory
from lbproxy.tls.layer import TlsFactory

from .support import GET, OK, Peer, Rig, split, status, values
from .tls.sessions import Acceptor


@cache
def certificate(name: str) -> PrivateCertificate:
    """A certificate for *name*, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime(2020, 1, 1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(pem)
    return loaded


class Browser:
    """A TLS client in memory, connected with a listener.

    :param context: what it knows and shows; nothing, if there is none.
    """

    def __init__(
        self, rig: Rig, listener: Any, name: str, context: SSL.Context | None = None, address: str = "192.0.2.7"
    ) -> None:
        self._rig = rig
        self._tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD) if context is None else context, None)
        self._tls.set_tlsext_host_name(name.encode())
        self._tls.set_connect_state()
        self.shaken = False
        self.refused = False
        self.ended = False  # with TLS's own word of farewell
        self.data = b""
        self.peer = Peer(rig.reactor, address).attach(listener.buildProtocol(None))
        self.pump()

    def pump(self) -> None:
        """Carry bytes to and fro until there are none."""
        for _ in range(20):
            self._progress()
            try:
                self.peer.send(self._tls.bio_read(1 << 16))
            except SSL.WantReadError:
                pass
            self._rig.turn()
            data = self.peer.received()
            if data:
                self._tls.bio_write(data)

    def _progress(self) -> None:
        try:
            if not self.shaken and not self.refused:
                self._tls.do_handshake()
                self.shaken = True
            while self.shaken:
                self.data += self._tls.recv(1 << 16)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            if not self.ended:
                self.ended = True
                self._tls.shutdown()
        except SSL.Error:
            self.refused = True

    def send(self, data: bytes) -> None:
        self._tls.send(data)
        self.pump()

    @property
    def shown(self) -> str:
        """Whose certificate was shown."""
        shown = self._tls.get_peer_certificate(as_cryptography=True)
        return "" if shown is None else shown.subject.rfc4514_string()


class SniFailureFailsClosed(SynchronousTestCase):
    """A name for which no certificate can be found is not served with another's."""

    def setUp(self) -> None:
        self.default = certificate("default.example")
        self.other = certificate("other.example")
        self.rig = Rig()

    def connect(self, name: str, choose: Any) -> Browser:
        options = CertificateOptions(
            privateKey=self.default.privateKey.original, certificate=self.default.original, contextForServerName=choose
        )
        listener = TLSMemoryBIOFactory(options, False, self.rig.factory, self.rig.reactor)
        return Browser(self.rig, listener, name)

    def test_a_callback_that_raises_fails_the_handshake(self) -> None:
        """No default certificate is shown, no request is read, and the error is logged."""

        def choose(name: bytes | None) -> SSL.Context | None:
            raise LookupError("no certificate for that name")

        browser = self.connect("unknown.example", choose)
        self.assertEqual((browser.shaken, browser.shown), (False, ""))
        self.assertTrue(browser.peer.closed)
        self.assertEqual((self.rig.connects, self.rig.listener.open), ([], 0))
        self.assertTrue(self.flushLoggedErrors(LookupError))

    def test_a_name_that_is_known_is_served_with_its_certificate(self) -> None:
        """And its requests reach the backend, which is told that they came over TLS."""
        context = CertificateOptions(privateKey=self.other.privateKey.original, certificate=self.other.original).getContext()
        browser = self.connect("other.example", lambda name: context)
        self.assertEqual((browser.shaken, browser.shown), (True, "CN=other.example"))
        browser.send(GET)
        backend = self.rig.accept()
        self.assertEqual(values(backend.received(), b"X-Forwarded-Proto"), [b"https"])
        backend.send(OK)
        browser.pump()
        self.assertEqual((status(browser.data), split(browser.data)[2]), (200, b"ok"))

    def test_a_truncated_body_is_no_end_over_tls_either(self) -> None:
        """The connection is reset without TLS's own word of farewell."""
        browser = self.connect("default.example", lambda name: None)
        browser.send(b"GET / HTTP/1.0\r\n\r\n")
        backend = self.rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        backend.hang_up()
        self.rig.turn()
        self.assertTrue(browser.peer.aborted)

    def test_a_refused_upload_is_answered_over_tls_too(self) -> None:
        """Where there is no half-close, the answer still reaches the client, and the connection ends."""
        browser = self.connect("default.example", lambda name: None)
        browser.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        self.rig.accept().send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        browser.pump()
        self.assertEqual((status(browser.data), split(browser.data)[2]), (413, b"no"))
        self.rig.wait(7)
        browser.pump()
        self.assertEqual((browser.ended, browser.peer.closed), (True, True))

    def test_a_refused_client_that_says_no_farewell_is_dropped(self) -> None:
        """TLS waits for it, but not for ever."""
        browser = self.connect("default.example", lambda name: None)
        browser.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        self.rig.accept().send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        self.rig.wait(7)
        self.assertFalse(browser.peer.lost)
        self.rig.wait(62)
        self.assertTrue(browser.peer.lost)


class ProxyProtocolInsideTls(SynchronousTestCase):
    """A listener described as ``haproxy:ssl:`` reads the PROXY protocol's header inside the session."""

    def test_the_claimed_client_came_over_tls(self) -> None:
        """The header's word on where it came from, the session's on how."""
        made = certificate("default.example")
        options = CertificateOptions(privateKey=made.privateKey.original, certificate=made.original)
        rig = Rig()
        browser = Browser(
            rig, TLSMemoryBIOFactory(options, False, ProxyProtocolFactory(rig.factory), rig.reactor), "default.example"
        )
        self.assertTrue(browser.shaken)
        browser.send(b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n" + GET)
        asked = rig.accept().received()
        self.assertEqual(values(asked, b"X-Forwarded-For"), [b"203.0.113.9"])
        self.assertEqual(values(asked, b"X-Forwarded-Proto"), [b"https"])


class WithoutSockets(SynchronousTestCase):
    """Where a transport has no socket that a wire could take over, Twisted's TLS does the same, and is counted alike."""

    def setUp(self) -> None:
        made = certificate("default.example")
        context = CertificateOptions(privateKey=made.privateKey.original, certificate=made.original).getContext()
        self.rig = Rig()
        self.factory = TlsFactory(SecureFactory(self.rig.factory, False), Acceptor(context))
        self.counters = self.rig.listener

    def counted(self) -> tuple[int, dict[str, int], dict[str, int], int]:
        counters = self.counters
        return counters.handshakes, counters.handshakes_failed, counters.timed_out, counters.open

    def test_a_request_reaches_a_backend(self) -> None:
        """After one handshake."""
        browser = Browser(self.rig, self.factory, "default.example")
        browser.send(GET)
        backend = self.rig.accept()
        self.assertEqual(values(backend.received(), b"X-Forwarded-Proto"), [b"https"])
        backend.send(OK)
        browser.pump()
        self.assertEqual(status(browser.data), 200)
        self.assertEqual(self.counted(), (1, {}, {}, 1))

    def test_a_client_that_leaves_is_counted(self) -> None:
        """However it does."""
        for leave in ("hang_up", "reset"):
            peer = Peer(self.rig.reactor).attach(self.factory.buildProtocol(None))
            getattr(peer, leave)()
            self.rig.turn()
        self.assertEqual(self.counted(), (0, {"closed": 2}, {}, 0))

    def test_a_silent_one_is_dropped(self) -> None:
        """After ten seconds."""
        self.rig.balancer.sweep.start()
        peer = Peer(self.rig.reactor).attach(self.factory.buildProtocol(None))
        self.rig.wait(9)
        self.assertFalse(peer.aborted)
        self.rig.wait(3)
        self.assertTrue(peer.aborted)
        self.assertEqual(self.counted(), (0, {"timeout": 1}, {"handshake": 1}, 0))

    def test_one_that_speaks_no_tls_is_counted_once(self) -> None:
        """By what it speaks."""
        Peer(self.rig.reactor).attach(self.factory.buildProtocol(None)).send(GET)
        self.rig.turn()
        self.assertEqual(self.counted(), (0, {"plain-http": 1}, {}, 0))
