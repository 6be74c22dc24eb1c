"""What tests of TLS share: an authority, certificates that are made once, and handshakes in memory, without a socket."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509

from lbproxy.tls.store import CertificateStore

HTTP = (b"http/1.1",)


@cache
def authority(name: str) -> trustme.CA:
    """A root that clients trust, where they are told to; others by other names."""
    return trustme.CA(organization_name=name)


@cache
def intermediate(name: str) -> trustme.CA:
    """An authority that the root vouches for; others by other names."""
    return authority("root").create_child_ca()


@cache
def issued(
    *names: str,
    key: str = "ECDSA",
    by: str = "intermediate",
    root: str | None = None,
    common_name: str | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> trustme.LeafCert:
    """A certificate with its key and its chain, good from the year 2000 to the year 3000.

    :param key: ``ECDSA`` or ``RSA``; the latter takes long to make.
    :param by: the name of the intermediate authority that signs it.
    :param root: the name of the root that signs it itself.
    """
    signer = intermediate(by) if root is None else authority(root)
    return signer.issue_cert(
        *names,
        common_name=common_name,
        not_before=not_before,
        not_after=not_after,
        key_type=trustme.KeyType[key],
    )


def pem(certificate: trustme.LeafCert) -> bytes:
    """All of it as it stands in a file: the key, the certificate, its chain."""
    return certificate.private_key_and_cert_chain_pem.bytes()


def parsed(certificate: trustme.LeafCert) -> x509.Certificate:
    """The certificate itself."""
    return x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())


def private_key(certificate: trustme.LeafCert) -> Any:
    """Its key."""
    return load_pem_private_key(certificate.private_key_pem.bytes(), None)


def write(path: str, data: bytes) -> str:
    """Write a file, as a new one, so that its state differs from that of any before it. Returns its path."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.new", "wb") as file:
        file.write(data)
    os.replace(f"{path}.new", path)
    return path


class Client:
    """A client of TLS, with whatever sessions it has had.

    :param most: the highest version that it speaks, as OpenSSL numbers them; 0: any. *least* is the lowest.
    :param suites: of TLS 1.2, as OpenSSL names them.
    :param certificate: what it shows when it is asked.
    :param trusts: the names of the roots that it trusts.
    :ivar seen: the subjects of the certificates that it has verified. One that is resumed shows none.
    """

    def __init__(
        self,
        *,
        protocols: Sequence[bytes] = HTTP,
        least: int = 0,
        most: int = 0,
        suites: bytes = b"",
        certificate: trustme.LeafCert | None = None,
        trusts: Sequence[str] = ("root",),
    ) -> None:
        self.context = context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.seen: list[str] = []
        # OpenSSL takes a session for broken once its connection is freed without having been shut down.
        self._kept: list[Handshake] = []
        context.set_min_proto_version(least)
        context.set_max_proto_version(most)
        context.set_verify(SSL.VERIFY_PEER, self._verified)
        store = context.get_cert_store()
        assert store is not None
        for name in trusts:
            root = x509.load_pem_x509_certificate(authority(name).cert_pem.bytes())
            store.add_cert(X509.from_cryptography(root))
        if protocols:
            context.set_alpn_protos(list(protocols))
        if suites:
            context.set_cipher_list(suites)
        if certificate is not None:
            context.use_certificate(parsed(certificate))
            context.use_privatekey(private_key(certificate))
            for above in certificate.cert_chain_pems[1:]:
                context.add_extra_chain_cert(x509.load_pem_x509_certificate(above.bytes()))

    def _verified(self, connection: SSL.Connection, certificate: X509, error: int, depth: int, good: int) -> bool:
        self.seen.append(certificate.to_cryptography().subject.rfc4514_string())
        return bool(good)

    def connect(self, store: CertificateStore, name: bytes | None, session: SSL.Session | None = None) -> Handshake:
        """Make a handshake.

        :param name: the one that is asked for.
        :param session: one that is to be resumed.
        """
        connection = SSL.Connection(self.context, None)
        connection.set_connect_state()
        if name is not None:
            connection.set_tlsext_host_name(name)
        if session is not None:
            connection.set_session(session)
        server = store.serverConnectionForTLS(None)
        server.set_accept_state()
        before = len(self.seen)
        made = Handshake(connection, server)
        made.resumed = made.done and len(self.seen) == before
        self._kept.append(made)
        return made


class Handshake:
    """A handshake, as far as it came.

    :ivar client: the client's side.
    :ivar server: the server's.
    :ivar failure: what either made of its end; None: it is well so far. The server's is *refusal*.
    :ivar resumed: whether no certificate was shown.
    """

    resumed = False

    def __init__(self, client: SSL.Connection, server: SSL.Connection) -> None:
        self.client = client
        self.server = server
        self._ended: dict[SSL.Connection, SSL.Error | None] = {}
        for _ in range(8):
            self._step(client, server)
            self._step(server, client)
        if self.done:
            self.say(b"tickets come with the first data")

    def _step(self, one: SSL.Connection, other: SSL.Connection) -> None:
        if one not in self._ended:
            try:
                one.do_handshake()
                self._ended[one] = None
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                self._ended[one] = error
        _carry(one, other)

    @property
    def done(self) -> bool:
        """Whether both sides take it for done."""
        return self._ended.get(self.client, self) is None and self._ended.get(self.server, self) is None

    @property
    def failure(self) -> SSL.Error | None:
        """Why the client takes it for failed."""
        return self._ended.get(self.client)

    @property
    def refusal(self) -> SSL.Error | None:
        """Why the server takes it for failed."""
        return self._ended.get(self.server)

    @property
    def shown(self) -> list[x509.Certificate]:
        """The server's certificate and chain, as they came."""
        return self.client.get_peer_cert_chain(as_cryptography=True) or []

    @property
    def names(self) -> list[str]:
        """The names of the server's certificate."""
        names = self.shown[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)

    def say(self, data: bytes) -> bytes:
        """What comes to the client of what the server says."""
        self.server.send(data)
        _carry(self.server, self.client)
        return self.client.recv(1 << 14)


def _carry(one: SSL.Connection, other: SSL.Connection) -> None:
    try:
        while True:
            other.bio_write(one.bio_read(1 << 16))
    except SSL.WantReadError:
        pass
