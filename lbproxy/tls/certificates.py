"""Certificates with their keys, as they are read from an operator's files, and what can be wrong with them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

import attrs
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..errors import ConfigurationError
from .files import Source, find_sources, read_file, stamp

__all__ = ["Certificate", "CertificateReader", "read_certificates"]

Key: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

#: The least that OpenSSL's security level 2, the default since 3.2, lets an RSA key have (112 bits of security).
RSA_BITS = 2048
#: The curves that TLS 1.3 can sign with (RFC 8446 section 4.2.3).
CURVES = ("secp256r1", "secp384r1", "secp521r1")

_EDGE = re.compile(rb"-----(?:BEGIN ([A-Z0-9 ]{1,40})-----\s|END ([A-Z0-9 ]{1,40})-----)")
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE")
_USABLE = "*.pem with a certificate and its key, NAME.crt or NAME.cert with NAME.key, fullchain.pem with privkey.pem"


@attrs.frozen(eq=False)
class Certificate:
    """A certificate with its key.

    :ivar source: where it came from, as an operator would name it: the path, or ``cert.pem,key.pem``.
    :ivar names: what it is for: DNS names in lower case without a dot at the end, IP addresses as text.
    :ivar key_type: ``RSA``, ``ECDSA``, ``Ed25519`` or ``Ed448``.
    :ivar issuer: who signed it (RFC 4514).
    :ivar subject: RFC 4514.
    :ivar not_before: from when on it is good, in seconds since the epoch.
    :ivar not_after: until when.
    :ivar fingerprint: SHA-256, in hexadecimal digits.
    :ivar chain: itself, then who signed it, and so on, without the root: who does not have that cannot trust it anyway (RFC 8446
        section 4.4.2).
    """

    source: str
    names: tuple[str, ...]
    key_type: str
    issuer: str
    subject: str
    not_before: float
    not_after: float
    fingerprint: str
    chain: tuple[x509.Certificate, ...] = attrs.field(repr=False)
    key: Key = attrs.field(repr=False)


def read_certificates(path: str, now: float) -> list[Certificate]:
    """All that an operator's path comprises.

    :param now: seconds since the epoch.
    :raises ConfigurationError: a line a mistake, each naming file and cause.
    """
    return CertificateReader(now).read(path)


def _below(path: str) -> str:
    """The hint that directories in a directory are not looked at, if there are any."""
    inner = sorted(entry.path for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    return f"; directories in it are not looked at: give each by itself, as {inner[0]}" if inner else ""


class CertificateReader:
    """Reads certificates, but not those again that have not changed.

    What has been read stays as it is while its files do, even when it has run out meanwhile: who changes one of many is not to be
    refused for another.

    :param now: seconds since the epoch.
    :param known: what another one has read.
    :ivar known: what there is to know for the next one.
    """

    def __init__(self, now: float, known: CertificateReader | None = None) -> None:
        self._now = now
        self._before = {} if known is None else known.known
        self.known: dict[Source, tuple[object, Certificate | None]] = {}

    def read(self, path: str) -> list[Certificate]:
        """As :func:`read_certificates`."""
        found: list[Certificate] = []
        mistakes: list[str] = []
        for source in find_sources(path):
            try:
                certificate = self._one(source)
            except ConfigurationError as error:
                mistakes.append(str(error))
            else:
                found += [] if certificate is None else [certificate]
        if not found and not mistakes:
            mistakes.append(f"{path!r} has no certificate with its key in it; usable are {_USABLE}{_below(path)}")
        if mistakes:
            raise ConfigurationError("\n".join(mistakes))
        return found

    def _one(self, source: Source) -> Certificate | None:
        stamps = tuple(map(stamp, source.paths))
        kept = self._before.get(source)
        if kept is None or kept[0] != stamps:
            # A file of a directory that had a certificate in it is one that is meant, and may be half written.
            meant = not source.found or (kept is not None and kept[1] is not None)
            kept = (stamps, _read(source, self._now, meant))
        self.known[source] = kept
        return kept[1]


def _read(source: Source, now: float, meant: bool) -> Certificate | None:
    """The certificate; None where there is none, and none is meant to be."""
    blocks = [_blocks(read_file(path)) for path in source.paths]
    # Of a pair, each file is read for its own part: some write the chain behind the key.
    certificates = [block for label, block in blocks[0] if label in _CERTIFICATES]
    keys = [block for label, block in blocks[-1] if label.endswith(b"PRIVATE KEY")]
    if not meant and not (certificates and keys):
        return None
    _expect(certificates, keys, source.paths, [bool(found) for found in blocks])
    chain = [_certificate(block, source.paths[0]) for block in certificates]
    return _made(source, chain, _key(keys[0], source.paths[-1]), now)


def _blocks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The blocks of a PEM file (RFC 7468), each with its label. Each line is looked at once: in a file with many beginnings, the
    search for an end from each of them would take minutes, in which nothing else runs."""
    edges = list(_EDGE.finditer(data))
    last = {edge[2]: edge.start() for edge in edges if edge[2]}
    blocks = []
    begin: re.Match[bytes] | None = None
    for edge in edges:
        if begin is None:
            begin = edge if edge[1] and last.get(edge[1], -1) > edge.start() else None
        elif edge[2] == begin[1]:
            blocks.append((begin[1], data[begin.start() : edge.end()]))
            begin = None
    return blocks


def _expect(certificates: list[bytes], keys: list[bytes], paths: Sequence[str], are_pem: list[bool]) -> None:
    """:raises ConfigurationError: there is not what is looked for."""
    mistakes = []
    if not certificates:
        what = "has no certificate in it" if are_pem[0] else "is no PEM file"
        mistakes.append(f"{paths[0]!r} {what}; give one with lines -----BEGIN CERTIFICATE-----")
    if not keys and (certificates or len(paths) > 1):
        pair = "" if len(paths) > 1 else f", or both files as {paths[0]},KEY"
        what = "has no private key in it" if are_pem[-1] else "is no PEM file"
        mistakes.append(f"{paths[-1]!r} {what}; give one with the certificate's key{pair}")
    if len(keys) > 1:
        mistakes.append(f"{paths[-1]!r} has {len(keys)} private keys in it; give each certificate a file of its own")
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))


def _certificate(block: bytes, path: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except ValueError as error:
        raise ConfigurationError(f"{path!r} has a certificate in it that is damaged: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _key(block: bytes, path: str) -> Key:
    if b"ENCRYPTED" in block[:200]:
        raise ConfigurationError(
            f"{path!r} has an encrypted private key, for which there is nobody to ask; decrypt it, as with openssl pkey"
        )
    try:
        # Whether an RSA key's primes are primes takes 56 ms to find out. That it signs for its certificate is tried, and enough.
        key = load_pem_private_key(block, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = _first_line(error)
        raise ConfigurationError(f"{path!r} has a private key in it that is damaged or of no known type: {reason}") from None
    mistake = _weakness(key)
    if mistake or _key_type(key) is None:
        mistake = mistake or "is of a type that TLS cannot sign with"
        raise ConfigurationError(
            f"{path!r} has a private key that {mistake}; allowed are RSA with {RSA_BITS} bits or more, ECDSA on P-256, P-384 or "
            f"P-521, Ed25519 and Ed448"
        )
    assert isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return key


def _weakness(key: object) -> str:
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < RSA_BITS:
        return f"is too weak, with {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVES:
        return f"is on the curve {key.curve.name}"
    return ""


def _key_type(key: object) -> str | None:
    types = {
        "RSA": rsa.RSAPrivateKey,
        "ECDSA": ec.EllipticCurvePrivateKey,
        "Ed25519": ed25519.Ed25519PrivateKey,
        "Ed448": ed448.Ed448PrivateKey,
    }
    return next((name for name, kind in types.items() if isinstance(key, kind)), None)


def _made(source: Source, certificates: list[x509.Certificate], key: Key, now: float) -> Certificate:
    leaf = _leaf(source, certificates, key)
    try:
        made = _facts(source, leaf, tuple(_chain(leaf, certificates)), key)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ConfigurationError(f"{source.name!r} has a certificate in it that is damaged: {_first_line(error)}") from None
    mistakes = list(_out_of_time(made, now))
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return made


def _leaf(source: Source, certificates: list[x509.Certificate], key: Key) -> x509.Certificate:
    for certificate in certificates:
        if _belongs(key, certificate):
            _try_key(source, key)
            return certificate
    whose = f"the certificate's in {source.paths[0]!r}" if len(source.paths) > 1 else "that of the certificate beside it"
    raise ConfigurationError(
        f"{source.paths[-1]!r} has a private key that is not {whose}; give the key that it was made with"
    )


def _belongs(key: Key, certificate: x509.Certificate) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False  # an authority's key may be what it likes


def _try_key(source: Source, key: Key) -> None:
    """:raises ConfigurationError: what an RSA key signs is not good."""
    if isinstance(key, rsa.RSAPrivateKey):
        try:
            key.public_key().verify(key.sign(b"lbproxy", padding.PKCS1v15(), SHA256()), b"lbproxy", padding.PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature, InternalError):
            raise ConfigurationError(f"{source.paths[-1]!r} has a private key in it that is damaged") from None


def _chain(leaf: x509.Certificate, certificates: list[x509.Certificate]) -> Iterator[x509.Certificate]:
    """The leaf and who signed it, up to the root or to the last that there is; the root is left out, unless it is the leaf."""
    yield leaf
    left = [one for one in certificates if one != leaf]
    below = leaf
    while below.issuer != below.subject:
        above = next((one for one in left if one.subject == below.issuer and _signed_by(below, one)), None)
        if above is None or above.issuer == above.subject:
            return
        yield above
        left.remove(above)
        below = above


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _facts(source: Source, leaf: x509.Certificate, chain: tuple[x509.Certificate, ...], key: Key) -> Certificate:
    return Certificate(
        source=source.name,
        names=_names(leaf),
        key_type=_key_type(key) or "",
        issuer=leaf.issuer.rfc4514_string(),
        subject=leaf.subject.rfc4514_string(),
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        fingerprint=leaf.fingerprint(SHA256()).hex(),
        chain=chain,
        key=key,
    )


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """A certificate's names. A common name is none (RFC 9525 section 2)."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = [name.lower().removesuffix(".") for name in names.get_values_for_type(x509.DNSName)]
    return tuple(dict.fromkeys((*hosts, *map(str, names.get_values_for_type(x509.IPAddress)))))


def _out_of_time(certificate: Certificate, now: float) -> Iterator[str]:
    leaf = certificate.chain[0]
    if now >= certificate.not_after:
        yield f"{certificate.source!r} has expired, at {_said(leaf.not_valid_after_utc)}; give a newer one"
    if now < certificate.not_before:
        since = _said(leaf.not_valid_before_utc)
        yield f"{certificate.source!r} is not yet valid, but from {since} on; give one that is, or set the clock"


def _said(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
