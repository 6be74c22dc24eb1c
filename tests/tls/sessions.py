"""TLS over real loopback sockets: contexts, listeners of the test's own, clients that do not block, and records made by hand."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface import implementer

from lbproxy.polling import poll_of
from lbproxy.tls.certificates import read_certificates
from lbproxy.tls.contexts import ContextMaker
from lbproxy.tls.layer import TlsFactory
from lbproxy.tls.profiles import profile_named

from ..support import ReactorCase, Recorder

#: Content types of records, and the message that renews keys, up to its last byte (RFC 8446 sections 5.1 and 4.6.3).
ALERT, HANDSHAKE, DATA = 21, 22, 23
KEY_UPDATE = b"\x18\0\0\1"


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def pem() -> bytes:
    """A certificate for a.example with its key and chain."""
    made: bytes = authority().issue_cert("a.example").private_key_and_cert_chain_pem.bytes()
    return made


def server_context() -> SSL.Context:
    """As a certificate store makes them."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.pem")
        path.write_bytes(pem())
        certificates = read_certificates(str(path), time.time())
    return ContextMaker(profile_named("intermediate"), None, None).make(certificates)


@implementer(IOpenSSLServerConnectionCreator)
class Acceptor:
    """Makes sessions for a listener, with one context."""

    def __init__(self, context: SSL.Context | None = None) -> None:
        self.context = server_context() if context is None else context

    def accept(self, socket: Any) -> SSL.Connection:
        connection = SSL.Connection(self.context, socket)
        connection.set_accept_state()
        return connection

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self.context, None)


class TlsClient:
    """A TLS client on a socket that does not block.

    :ivar secrets: the session's, by their names in a key log.
    :ivar ended: what its reading has ended with: ``notified``, ``cut``, ``reset`` or OpenSSL's reason.
    """

    def __init__(self, peer: socket.socket, context: SSL.Context | None = None, *, tls12: bool = False) -> None:
        self.secrets: dict[str, bytes] = {}
        self.peer = peer
        context = SSL.Context(SSL.TLS_METHOD) if context is None else context
        if tls12:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
        context.set_keylog_callback(self._keep)
        self.tls = SSL.Connection(context, peer)
        self.tls.set_tlsext_host_name(b"a.example")
        self.tls.set_connect_state()
        self.shaken = False
        self.ended = ""
        self.data = bytearray()

    def _keep(self, connection: SSL.Connection, line: bytes) -> None:
        name, _, secret = line.split()
        self.secrets[name.decode()] = bytes.fromhex(secret.decode())

    def shake(self) -> bool:
        """Go on with the handshake."""
        if not self.shaken and not self.ended:
            with self._ends(), contextlib.suppress(SSL.WantReadError):
                self.tls.do_handshake()
                self.shaken = True
        return self.shaken

    def read(self) -> bytes:
        """Read what is there; gives all that was read so far."""
        with self._ends(), contextlib.suppress(SSL.WantReadError):
            while not self.ended:
                self.data += self.tls.recv(1 << 16)
        return bytes(self.data)

    @contextlib.contextmanager
    def _ends(self) -> Any:
        try:
            yield
        except SSL.ZeroReturnError:
            self.ended = "notified"
        except SSL.SysCallError as error:
            self.ended = "reset" if error.args[0] > 0 else "cut"
        except SSL.WantReadError:
            raise
        except SSL.Error as error:
            self.ended = "; ".join(entry[-1] for entry in error.args[0])

    def records(self) -> Records:
        """By hand from now on; to be asked for before anything is sent within the session."""
        return Records(self.secrets["CLIENT_TRAFFIC_SECRET_0"])


class Records:
    """Records of TLS 1.3 made by hand (RFC 8446 sections 5.2, 5.3 and 7), of TLS_AES_128_GCM_SHA256."""

    def __init__(self, secret: bytes) -> None:
        self._renew(secret)

    def make(self, kind: int, data: bytes) -> bytes:
        inner = data + bytes([kind])
        header = struct.pack("!BHH", DATA, 0x303, len(inner) + 16)
        nonce = (self._iv ^ self._count).to_bytes(12, "big")
        self._count += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def key_update(self, answered: bool = False) -> bytes:
        """New keys for what follows."""
        made = self.make(HANDSHAKE, KEY_UPDATE + bytes([answered]))
        self.renewed()
        return made

    def renewed(self) -> None:
        """What follows has new keys."""
        self._renew(_expand(self._secret, b"traffic upd", 32))

    def _renew(self, secret: bytes) -> None:
        self._secret, self._count = secret, 0
        self._cipher = AESGCM(_expand(secret, b"key", 16))
        self._iv = int.from_bytes(_expand(secret, b"iv", 12), "big")


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    label = b"tls13 " + label
    return HKDFExpand(hashes.SHA256(), size, struct.pack("!HB", size, len(label)) + label + b"\0").derive(secret)


class Session(Recorder):
    """A protocol over TLS that remembers what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.shaken = 0
        self.ends = 0
        self.on_shaken: Callable[[], None] = lambda: None

    def handshakeCompleted(self) -> None:
        self.shaken += 1
        self.on_shaken()

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.ends += 1


class TlsCase(ReactorCase):
    """A listener for TLS on a free loopback port. Whatever happens, nothing is logged that anybody would be woken for."""

    upper: Callable[[], Any] = Session

    def setUp(self) -> None:
        super().setUp()
        self.made: list[Any] = []
        self.logged: list[Any] = []
        self.acceptor = Acceptor()
        self.port = self.listen(self.factory())
        globalLogPublisher.addObserver(self._heed)  # type: ignore[arg-type]
        self.addCleanup(self._nothing_logged)

    def _heed(self, event: Any) -> None:
        if event["log_level"] > LogLevel.debug:
            self.logged.append(event)

    def _nothing_logged(self) -> None:
        globalLogPublisher.removeObserver(self._heed)  # type: ignore[arg-type]
        self.assertEqual(self.logged, [])

    def factory(self) -> Factory:
        """What listens."""
        return TlsFactory(Factory.forProtocol(self.build), self.acceptor)

    def build(self) -> Any:
        self.made.append(type(self).upper())
        return self.made[-1]

    def client(self, **settings: Any) -> TlsClient:
        """One that is connected, before its handshake."""
        return TlsClient(self.dial(self.port), **settings)

    def connected(self, **settings: Any) -> TlsClient:
        """One whose session has come about."""
        client = self.client(**settings)
        self.until(client.shake)
        self.until(lambda: bool(self.made and self.made[-1].shaken))
        return client

    @property
    def session(self) -> Any:
        return self.made[-1]

    @property
    def wire(self) -> Any:
        return self.session.transport

    def reads(self, turns: int = 50) -> int:
        """How many times the wire is called in so many turns of the reactor in which nothing arrives."""
        calls = 0
        poll = poll_of(self.reactor)
        serve = poll.doRead

        def count() -> None:
            nonlocal calls
            calls += 1
            serve()

        self.patch(poll, "doRead", count)
        self.turn(turns)
        return calls
