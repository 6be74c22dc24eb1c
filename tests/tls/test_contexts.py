"""Tests for lbproxy.tls.contexts: clients' certificates, Twisted's protocols, and what OpenSSL refuses."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from lbproxy.errors import ConfigurationError
from lbproxy.tls.failures import handshake_failed
from lbproxy.tls.store import CertificateStore

from .support import Client, Handshake, authority, intermediate, issued, parsed, pem, write


class ContextTestCase(SynchronousTestCase):
    """Stores of two names."""

    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        self.paths = [self.file(f"{name}.pem", pem(issued(f"{name}.example"))) for name in "ab"]

    def file(self, name: str, data: bytes) -> str:
        return write(os.path.join(self.directory, name), data)


class ClientCertificateTests(ContextTestCase):
    """Tests for clients that must or may have a certificate."""

    NAMES = (b"a.example", b"b.example", b"nobody.example", None)
    VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)

    def setUp(self) -> None:
        super().setUp()
        self.ca = self.file("ca/roots.pem", authority("clients").cert_pem.bytes())
        self.good = issued("good.client", root="clients")

    def store(self, client_auth: str | None = None) -> CertificateStore:
        return CertificateStore(self.paths, client_ca=self.ca, client_auth=client_auth)

    def refused(self, made: Handshake) -> bool:
        """Whether the server has refused the client for its certificate."""
        return made.refusal is not None and handshake_failed(made.refusal).cause == "client-certificate"

    def test_good(self) -> None:
        """A client with a certificate of the authorities' is let in by every name, and known."""
        for store in (self.store(), self.store("required"), self.store("optional")):
            for name in self.NAMES:
                made = Client(certificate=self.good).connect(store, name)
                self.assertTrue(made.done, made.refusal)
                self.assertEqual(made.server.get_peer_certificate(as_cryptography=True), parsed(self.good))

    def test_none(self) -> None:
        """A client without one is refused by every name, where it must have one; else it is let in as nobody."""
        for version in self.VERSIONS:
            for name in self.NAMES:
                self.assertTrue(self.refused(Client(most=version).connect(self.store(), name)), name)
                made = Client(most=version).connect(self.store("optional"), name)
                self.assertTrue(made.done, made.refusal)
                self.assertIsNone(made.server.get_peer_certificate())

    def test_another_authority(self) -> None:
        """A certificate of anybody else's is refused, even where none would be fine; so is one of our own authority."""
        for certificate in (issued("x.client", root="others"), issued("x.client")):
            for auth in ("required", "optional"):
                for name in self.NAMES:
                    client = Client(certificate=certificate)
                    self.assertTrue(self.refused(client.connect(self.store(auth), name)), (auth, name))

    def test_expired(self) -> None:
        """A certificate that has run out is refused, and one that is not good yet."""
        past, future = datetime(2001, 1, 1, tzinfo=timezone.utc), datetime(2900, 1, 1, tzinfo=timezone.utc)
        for when in ({"not_after": past}, {"not_before": future}):
            certificate = issued("x.client", root="clients", **when)
            self.assertTrue(self.refused(Client(certificate=certificate).connect(self.store("optional"), b"b.example")))

    def test_intermediate_authority(self) -> None:
        """An authority that is given is trusted without its root, and nobody else whom that root vouches for."""
        self.ca = self.file("ca/roots.pem", intermediate("clients").cert_pem.bytes())
        store = self.store()
        self.assertTrue(Client(certificate=issued("x.client", by="clients")).connect(store, b"b.example").done)
        self.assertTrue(self.refused(Client(certificate=issued("x.client", by="others")).connect(store, b"b.example")))

    def test_authorities_are_told(self) -> None:
        """A client hears whose certificates are asked for, by every name."""
        subject = x509.load_pem_x509_certificate(authority("clients").cert_pem.bytes()).subject
        for name in self.NAMES:
            made = Client(certificate=self.good).connect(self.store(), name)
            self.assertEqual(made.client.get_client_ca_list(as_cryptography=True), [subject])

    def test_resumed(self) -> None:
        """A session is resumed with the certificate that it began with."""
        store = self.store()
        for version in self.VERSIONS:
            client = Client(least=version, most=version, certificate=self.good)
            made = client.connect(store, b"b.example")
            again = client.connect(store, b"b.example", made.client.get_session())
            self.assertTrue(again.resumed)
            self.assertEqual(again.server.get_peer_certificate(as_cryptography=True), parsed(self.good))

    def test_chain_is_not_filled_up(self) -> None:
        """Authorities of clients are not sent as if they had signed our own certificate."""
        leaf_only = self.file("leaf.pem", self.good.private_key_pem.bytes() + self.good.cert_chain_pems[0].bytes())
        store = CertificateStore([leaf_only], client_ca=self.ca, client_auth="optional")
        self.assertEqual(len(Client(trusts=["clients"]).connect(store, b"good.client").shown), 1)

    def test_changed(self) -> None:
        """Other authorities count from the swap on; the file is looked at as certificates are."""
        store = self.store()
        self.file("ca/roots.pem", authority("others").cert_pem.bytes())
        self.assertTrue(store.changed())
        store.swap(store.load())
        for name in self.NAMES:
            self.assertTrue(self.refused(Client(certificate=self.good).connect(store, name)))
            self.assertTrue(Client(certificate=issued("x.client", root="others")).connect(store, name).done)

    def test_mistakes(self) -> None:
        """What is wrong with the file is told, under the option's name."""
        for data, what in (
            (b"nothing", "has no certificate in it; give a PEM file with the authorities' certificates"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "has a certificate in it that is damaged"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "has a certificate in it that is damaged"),
        ):
            self.file("ca/roots.pem", data)
            (line,) = str(self.assertRaises(ConfigurationError, self.store)).splitlines()
            self.assertTrue(line.startswith(f"client-ca: {self.ca!r} {what}"), line)


@implementer(IProtocolNegotiationFactory)
class Speaking(Factory):
    """A factory of others, that says what it speaks."""

    protocol = Protocol

    def __init__(self, *protocols: bytes) -> None:
        self._protocols = protocols

    def acceptableProtocols(self) -> list[bytes]:
        return list(self._protocols)


class Transport(StringTransport):
    """One that twisted.web can use."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP here."""


class TwistedTests(ContextTestCase):
    """Tests for stores below Twisted's TLS."""

    def negotiated(self, factory: Any, offered: list[bytes], **kwargs: Any) -> bytes | None:
        """What a client and a factory agree on; None: they do not."""
        store = CertificateStore(self.paths, **kwargs)
        protocol = TLSMemoryBIOFactory(store, False, factory).buildProtocol(None)
        transport = Transport()
        protocol.makeConnection(transport)
        client = SSL.Connection(Client(protocols=offered).context, None)
        client.set_tlsext_host_name(b"b.example")
        client.set_connect_state()
        for _ in range(4):
            try:
                client.do_handshake()
                return client.get_alpn_proto_negotiated()
            except SSL.WantReadError:
                protocol.dataReceived(client.bio_read(1 << 16))
                client.bio_write(transport.value())
                transport.clear()
            except SSL.Error:
                return None
        raise AssertionError("the handshake does not end")

    def test_what_the_factory_speaks(self) -> None:
        """Without protocols of the store's own, it is what the factory says, in its order."""
        factory = Speaking(b"ftp", b"h2", b"http/1.1")
        self.assertEqual(self.negotiated(factory, [b"http/1.1", b"h2"]), b"h2")
        self.assertIsNone(self.negotiated(Speaking(b"ftp"), [b"http/1.1", b"h2"]))

    def test_silent_factories(self) -> None:
        """A factory that says nothing speaks HTTP/1.1, as does one that has nothing to say."""
        for factory in (Factory.forProtocol(Protocol), Speaking()):
            self.assertEqual(self.negotiated(factory, [b"h2", b"http/1.1"]), b"http/1.1")
            self.assertIsNone(self.negotiated(factory, [b"h2"]))

    def test_site(self) -> None:
        """twisted.web's own server says what it speaks."""
        self.assertEqual(self.negotiated(Site(Resource(), timeout=None), [b"http/1.1"]), b"http/1.1")

    def test_the_stores_own(self) -> None:
        """What the store was told comes before what the factory says."""
        self.assertEqual(self.negotiated(Speaking(b"h2"), [b"h2", b"http/1.1"], protocols=[b"http/1.1"]), b"http/1.1")


class RefusedByOpenSSLTests(ContextTestCase):
    """Tests for certificates that could be read, but not be shown."""

    def test_weak_authority(self) -> None:
        """An authority with a key that is too short is found at the start, and not by the first client."""
        weak, key = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())
        above, middle, leaf = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("root", "weak", "leaf")
        )
        data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for one, issuer, subject in ((weak, above, middle), (key, middle, leaf)):
            builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).serial_number(5)
            builder = builder.public_key(one.public_key())
            builder = builder.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2900, 1, 1))
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("weak.example")]), False)
            data += builder.sign(weak, SHA256()).public_bytes(Encoding.PEM)
        path = self.file("weak.pem", data)
        error = self.assertRaises(ConfigurationError, CertificateStore, [self.paths[0], path])
        (line,) = str(error).splitlines()
        self.assertEqual(line, f"certificate: {path!r} is refused by OpenSSL: ca key too small; give one that is stronger")
