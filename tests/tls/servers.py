"""What tests of TLS with backends share: authorities, certificates in files, and servers on real loopback sockets."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from ..support import OK

LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)
FAR_OFF = datetime(2999, 1, 1, tzinfo=timezone.utc)


@cache
def authority(name: str = "ours") -> trustme.CA:
    """An authority; others by other names."""
    return trustme.CA(organization_name=name)


@cache
def issued(*names: str, by: str = "ours", **times: Any) -> trustme.LeafCert:
    """A certificate for *names*."""
    return authority(by).issue_cert(*names, **times)


def authority_file(case: Any, name: str = "ours") -> str:
    """A file with the authority's certificate."""
    path = Path(case.mktemp())
    authority(name).cert_pem.write_to_path(path)
    return str(path)


def replace(path: str, blob: trustme.Blob) -> None:
    """Put something else into a file, as a new one, so that its state differs from that of any before it."""
    written = Path(f"{path}.new")
    blob.write_to_path(written)
    written.replace(path)


def certificate_file(case: Any, certificate: trustme.LeafCert) -> str:
    """A file with a certificate and its key."""
    path = Path(f"{case.mktemp()}.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    return str(path)


class Server(Protocol):
    """Answers each request, and remembers what it was sent."""

    factory: ServerFactory

    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.received += data
        if self.received.endswith(b"\r\n\r\n"):
            self.transport.write(self.factory.answer)
            if self.factory.close:
                self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.lost.append(reason)


class ServerFactory(Factory):
    """A backend over TLS.

    :ivar connections: all that there have been; ``lost``: why they have ended.
    """

    noisy = False
    protocol = Server  # type: ignore[assignment]

    def __init__(self) -> None:
        self.connections: list[Any] = []
        self.lost: list[Any] = []
        self.answer = OK
        self.close = False

    @property
    def received(self) -> list[bytes]:
        """What each connection was sent."""
        return [connection.received for connection in self.connections]


@implementer(IOpenSSLServerConnectionCreator)
class Acceptor:
    """Makes a server's sessions, as an :class:`~twisted.internet.interfaces.IOpenSSLServerConnectionCreator`, and remembers the
    names that were asked for."""

    def __init__(self, certificate: trustme.LeafCert, *, clients: str = "", newest: int = SSL.TLS1_3_VERSION) -> None:
        self.context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(newest)
        context.set_session_id(b"backend")
        self.names: list[bytes | None] = []
        context.set_tlsext_servername_callback(lambda connection: self.names.append(connection.get_servername()))
        certificate.configure_cert(context)
        if clients:
            context.load_verify_locations(clients)
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self.context, None)


def over_tls(factory: Factory, acceptor: Acceptor, reactor: Any) -> TLSMemoryBIOFactory:
    """The same factory, its connections over TLS."""
    return TLSMemoryBIOFactory(acceptor, False, factory, reactor)
