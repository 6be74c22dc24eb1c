"""Certificates for balancers, and what clients must know to speak TLS with them: made anew for each run, into its directory."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.connecting import HOST, Secure

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

# What clients call the balancer: wrk sends the host of its URL as the name (SNI).
NAME = "localhost"

# The first is what most servers had at the time of writing, and costs a server most.
KEY_TYPES = {"rsa": "RSA 2048", "ecdsa": "ECDSA P-256"}

# Days. Longer than any run, and than the time ahead of its end at which lbproxy begins to warn.
VALID_BEFORE, VALID_AFTER = 1, 90

# Servers prefer different suites, and some cannot be told which; so the clients offer one alone, and one group. It is the one
# that RFC 8446 section 9.1 makes mandatory.
VERSION, SUITE, GROUP = "TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519"

CLIENT_CONFIG = f"""\
openssl_conf = bench
[bench]
ssl_conf = libraries
[libraries]
system_default = clients
[clients]
MinProtocol = {VERSION}
Ciphersuites = {SUITE}
Groups = {GROUP}
"""


def make_key(key_type: str) -> Key:
    """Make a key of one of :data:`KEY_TYPES`."""
    return rsa.generate_private_key(65537, 2048) if key_type == "rsa" else ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Issuer:
    """An authority: its name, its key, and what must come after a certificate that it signed.

    :ivar chain: its own certificate, and not that of the root.
    """

    name: str
    key: Key
    chain: Sequence[x509.Certificate] = ()

    def sign(self, subject: str, key: Key, hosts: Sequence[str] = ()) -> x509.Certificate:
        """Return a certificate for ``key``: a server's where there are ``hosts``, else an authority's."""
        now, public = datetime.now(timezone.utc), key.public_key()
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            x509.CertificateBuilder(issuer_name(self.name), issuer_name(subject), public, x509.random_serial_number())
            .not_valid_before(now - timedelta(VALID_BEFORE))
            .not_valid_after(now + timedelta(VALID_AFTER))
            .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
            .add_extension(key_usage(authority=not hosts), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(identifier, critical=False)
        )
        if hosts:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            names = x509.SubjectAlternativeName([general_name(host) for host in hosts])
            builder = builder.add_extension(usage, critical=False).add_extension(names, critical=False)
        return builder.sign(self.key, SHA256())

    def write(self, path: Path, key_type: str, hosts: Sequence[str]) -> Path:
        """Make a key and a certificate for ``hosts``; write both and the chain into one PEM file, and return its path."""
        key = make_key(key_type)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        certificates = (self.sign(hosts[0], key, hosts), *self.chain)
        path.write_bytes(private + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates))
        return path


def issuer_name(common_name: str) -> x509.Name:
    """Return a distinguished name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def general_name(host: str) -> x509.GeneralName:
    """Return a host's name, or its address, as certificates hold it."""
    return x509.IPAddress(ip_address(host)) if host == HOST else x509.DNSName(host)


def key_usage(authority: bool) -> x509.KeyUsage:
    """Return what a key is for: to sign certificates, or handshakes."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Tls:
    """All that a run with TLS needs.

    As on the web, a root that clients know has signed an authority, and that one the servers' certificates.

    :ivar directory: for the files.
    :ivar key_type: of the certificate for :data:`NAME`.
    :ivar names_key_type: of each one where there are many.
    """

    directory: Path
    key_type: str = "rsa"
    names_key_type: str = "ecdsa"

    @cached_property
    def issuer(self) -> Issuer:
        """The authority; the root's certificate is written for clients."""
        root, key = Issuer("Bench Root", make_key("ecdsa")), make_key("ecdsa")
        own = root.sign(root.name, root.key)
        self.root.write_bytes(own.public_bytes(Encoding.PEM))
        name = "Bench Authority"
        return Issuer(name, key, (root.sign(name, key),))

    @property
    def root(self) -> Path:
        """Where the root's certificate is."""
        return self.directory / "root.pem"

    @cached_property
    def certificate(self) -> Path:
        """Key and chain for :data:`NAME`, in one file: every balancer takes it so."""
        return self.issuer.write(self.directory / "server.pem", self.key_type, (NAME, HOST))

    def named(self, count: int) -> Path:
        """Return a folder of so many certificates, each for one name of its own, made when first asked for."""
        folder = self.directory / f"names-{count}"
        if not folder.exists():
            folder.mkdir()
            for name in map(numbered_name, range(1, count + 1)):
                self.issuer.write(folder / f"{name}.pem", self.names_key_type, (name,))
        return folder

    def secure(self, name: str = NAME) -> Secure:
        """Return what a client needs that verifies the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        assert self.issuer.chain
        context.load_verify_locations(self.root)
        return Secure(context, name)

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """What clients with OpenSSL have in their environment, wrk among them, to offer one suite alone."""
        path = self.directory / "clients.cnf"
        path.write_text(CLIENT_CONFIG)
        return {"OPENSSL_CONF": str(path)}

    def note(self) -> str:
        """Say in a line for the report what was spoken."""
        key, names = KEY_TYPES[self.key_type], KEY_TYPES[self.names_key_type]
        return f"TLS with clients, plain HTTP to backends: {VERSION}, {SUITE}, {GROUP}; key: {key} (tls-names: {names})"


def numbered_name(number: int) -> str:
    """Return one of many names; they sort as they are numbered."""
    return f"name-{number:05}.example"
