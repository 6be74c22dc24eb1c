"""Promises about what is found out of a server's certificate: whatever it is, it is good or not, and why not is said."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.tls.verification import Verification, verify

from .servers import FAR_OFF, LONG_AGO, issued

CODES = SSL.X509VerificationCodes


class Shown:
    """A certificate as pyOpenSSL shows it."""

    def __init__(self, certificate: Any) -> None:
        self._certificate = certificate

    def to_cryptography(self) -> Any:
        if isinstance(self._certificate, Exception):
            raise self._certificate
        return self._certificate


class Asking:
    """A connection in which something is to be verified."""

    def __init__(self, name: str) -> None:
        self.verification = Verification(name)


def shown_for(*names: str, subject: str = "x") -> x509.Certificate:
    """A certificate for whatever its authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, LONG_AGO, FAR_OFF)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
    return (made.add_extension(alternatives, False) if names else made).sign(key, SHA256())


class VerifyTests(SynchronousTestCase):
    """OpenSSL's callback."""

    def found(self, shown: Any, name: str = "a.example", error: int = 0, depth: int = 0) -> Verification:
        asking = Asking(name)
        good = verify(asking, Shown(shown), error, depth, int(not error))
        self.assertEqual(bool(good), not asking.verification.problem)
        return asking.verification

    def certificate(self, *names: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(issued(*names).cert_chain_pems[0].bytes())

    def test_good_ones(self) -> None:
        """By name, in any case, by wildcard and by address."""
        for names, name in (
            (("a.example", "b.example"), "b.example"),
            (("a.example",), "A.Example"),
            (("*.b.example",), "a.b.example"),
            (("127.0.0.1", "::1"), "::1"),
        ):
            self.assertTrue(self.found(self.certificate(*names), name).passed)

    def test_those_for_others(self) -> None:
        """Whose names are told."""
        for names, name, words in (
            (("b.example",), "a.example", "the certificate is for b.example, not for a.example"),
            (("*.example",), "a.b.example", "the certificate is for *.example, not for a.b.example"),
            (("127.0.0.1",), "127.0.0.2", "the certificate is for 127.0.0.1, not for 127.0.0.2"),
            (("127.0.0.1",), "a.example", "the certificate is for 127.0.0.1, not for a.example"),
            (("a.example",), "127.0.0.1", "the certificate is for a.example, not for 127.0.0.1"),
            (("someone@b.example",), "b.example", "the certificate is for no name, not for b.example"),
        ):
            found = self.found(self.certificate(*names), name)
            self.assertEqual((found.passed, found.problem), (False, words))

    def test_an_authoritys_name_is_no_matter(self) -> None:
        """Only the last certificate is the server's; and it must have been seen."""
        found = self.found(self.certificate("b.example"), depth=1)
        self.assertEqual((found.problem, found.passed), ("", False))

    def test_what_openssl_finds(self) -> None:
        """Each in words; of an authority's certificate it is said whose it is."""
        shown = self.certificate("a.example")
        for error, words in (
            (CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "it is signed by itself"),
            (CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "signed by no authority that is trusted here: "),
            (CODES.ERR_CERT_HAS_EXPIRED, "the certificate expired on 3000-01-01"),
            (CODES.ERR_CERT_REVOKED, "the certificate is not good: cert revoked"),
            (4711, "the certificate is not good: error 4711 of OpenSSL"),
        ):
            found = self.found(shown, error=error)
            self.assertFalse(found.passed)
            self.assertIn(words, found.problem)
        self.assertIn("of its authority ", self.found(shown, error=CODES.ERR_CERT_HAS_EXPIRED, depth=1).problem)

    def test_what_nobody_has_thought_of(self) -> None:
        """Whatever goes wrong in looking at it, it is not good."""
        found = self.found(ValueError("what a certificate"))
        self.assertEqual((found.passed, found.problem), (False, "the certificate cannot be read: what a certificate"))

    def test_a_stranger_writes_nothing_in_our_log(self) -> None:
        """No line of its own, nothing that a terminal obeys, and no more than somebody would read."""
        for names, words in (
            (("x\nError: y",), r"the certificate is for x\nError: y, not"),
            (("\x1b[31m\r\0",), r"the certificate is for \x1b[31m\r\x00, not"),
            (("x" * 5000,), f"the certificate is for {'x' * 99}…, not"),
        ):
            self.assertIn(words, self.found(shown_for(*names)).problem)
        authority = self.found(shown_for(subject="a\u2028b" + "c" * 50), error=CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN)
        self.assertIn(r"'CN=a\u2028bccc", authority.problem)
        self.assertIn(r"cannot be read: a\nb", self.found(ValueError("a\nb")).problem)

    def test_without_having_been_asked_nothing_is_good(self) -> None:
        """Unless nothing is to be verified, or a session of before is resumed."""
        self.assertEqual([Verification("a").passed, Verification("").passed, Verification("a", 5.0).passed], [False, True, True])
