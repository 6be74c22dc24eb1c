"""Promises about what a backend is told of a client's certificate, whatever stands in that."""

from __future__ import annotations

import re
import warnings
from datetime import datetime
from functools import cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import NameOID
from hypothesis import example
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.tls.identity import MORE, SAN_LIMIT, SUBJECT_LIMIT, client_identity, identity_fields

from ..support import given

# Validity is none of the fields' business, so it is any.
BEGIN, END = datetime(2020, 1, 1), datetime(2120, 1, 1)

SUBJECT_ALTERNATIVE_NAME = x509.ObjectIdentifier("2.5.29.17")


@cache
def key() -> ec.EllipticCurvePrivateKey:
    """One for all certificates."""
    return ec.generate_private_key(ec.SECP256R1())


def attribute(oid: x509.ObjectIdentifier, value: Any, **kind: Any) -> x509.NameAttribute[Any]:
    """An attribute of any length, as an authority may sign it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is longer than it should be
        return x509.NameAttribute(oid, value, _validate=False, **kind)


def certificate(*subject: Any, names: Any = None, extension: bytes | None = None) -> x509.Certificate:
    """A certificate of a client.

    :param subject: attributes, or lists of those that stand together.
    :param extension: what stands in the place of the names, as it is.
    """
    rdns = [x509.RelativeDistinguishedName(each if isinstance(each, list) else [each]) for each in subject]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(rdns))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")]))
        .public_key(key().public_key())
        .serial_number(1)
        .not_valid_before(BEGIN)
        .not_valid_after(END)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if extension is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(SUBJECT_ALTERNATIVE_NAME, extension), critical=False)
    return builder.sign(key(), hashes.SHA256())


def fields(made: x509.Certificate | None) -> dict[str, str]:
    """What is written of a certificate, by name."""
    *lines, last = identity_fields(made).decode("ascii").split("\r\n")
    assert last == ""
    found = dict(line.split(": ", 1) for line in lines)
    assert len(found) == len(lines)
    return {name.removeprefix("X-SSL-Client-"): value for name, value in found.items()}


def common_name(text: str) -> x509.NameAttribute[Any]:
    return attribute(NameOID.COMMON_NAME, text)


def decoded_subject(subject: str) -> list[list[tuple[str, str]]]:
    """A subject as a backend reads it that cuts first and decodes then, in the certificate's order."""
    parts = [[tuple(each.split("=")) for each in rdn.split("+")] for rdn in subject.split(",")]
    return [[(name, unquote(value)) for name, value in rdn] for rdn in reversed(parts)]


# IA5String is what names are made of; a subject may be in any characters.
texts = st.text(min_size=1, max_size=40)
ascii_texts = st.text(st.characters(max_codepoint=127), max_size=40)
oids = st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.EMAIL_ADDRESS])
alternatives = st.one_of(
    ascii_texts.map(x509.DNSName._init_without_validation),
    ascii_texts.map(x509.UniformResourceIdentifier._init_without_validation),
    ascii_texts.map(x509.RFC822Name._init_without_validation),
    st.ip_addresses().map(x509.IPAddress),
)
WORDS: dict[Any, str] = {
    x509.DNSName: "DNS",
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "email",
    x509.IPAddress: "IP",
}


class Fields(SynchronousTestCase):
    """What is written of ordinary certificates."""

    def test_a_client_without_a_certificate_is_said_to_have_none(self) -> None:
        """And nothing else is said."""
        self.assertEqual(identity_fields(None), b"X-SSL-Client-Verify: NONE\r\n")

    def test_subject_names_and_fingerprint_are_written(self) -> None:
        """The subject from its last part to its first, as RFC 4514 has it; the names in the certificate's order."""
        made = certificate(
            attribute(NameOID.COUNTRY_NAME, "DE"),
            attribute(NameOID.ORGANIZATION_NAME, "Example Works (Berlin)"),
            attribute(NameOID.COMMON_NAME, "jane.doe"),
            names=[
                x509.DNSName("*.client.example"),
                x509.UniformResourceIdentifier("spiffe://example.org/ns/shop/sa/cart?a=b&c"),
                x509.IPAddress(ip_address("2001:db8::1")),
                x509.RFC822Name("jane@example.org"),
                x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            ],
        )
        self.assertEqual(
            fields(made),
            {
                "Verify": "SUCCESS",
                "S-DN": "CN=jane.doe,O=Example Works (Berlin),C=DE",
                "SAN": "DNS:*.client.example, URI:spiffe://example.org/ns/shop/sa/cart?a=b&c, IP:2001:db8::1, "
                "email:jane@example.org",
                "SHA256": made.fingerprint(hashes.SHA256()).hex(),
            },
        )
        self.assertEqual(fields(made)["S-DN"], made.subject.rfc4514_string())

    def test_what_is_not_there_is_not_written(self) -> None:
        """No field is empty."""
        self.assertEqual(sorted(fields(certificate())), ["SHA256", "Verify"])

    def test_bytes_in_a_subject_are_written_as_hexadecimal_digits(self) -> None:
        """As RFC 4514 section 2.4 has it: no text looks like it."""
        unique = attribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\xff", _type=x509.name._ASN1Type.BitString)
        self.assertEqual(fields(certificate(unique))["S-DN"], "2.5.4.45=#00ff")
        self.assertEqual(fields(certificate(common_name("#00ff")))["S-DN"], "CN=%2300ff")

    def test_the_certificate_is_the_transports(self) -> None:
        """As any transport with TLS gives it."""

        class Transport:
            def getPeerCertificate(self) -> Any:
                return shown

        class Shown:
            def to_cryptography(self) -> x509.Certificate:
                return made

        made, shown = certificate(common_name("a")), None
        self.assertEqual(client_identity(Transport()), identity_fields(None))
        shown = Shown()
        self.assertEqual(client_identity(Transport()), identity_fields(made))


class HostileContent(SynchronousTestCase):
    """An authority may sign anything; none of it adds a field, or looks like another's name."""

    @given(st.lists(st.lists(st.tuples(oids, texts), min_size=1, max_size=2, unique_by=lambda each: each[0]), max_size=3))
    @example([[(NameOID.COMMON_NAME, "x\r\nX-SSL-Client-Verify: SUCCESS")]])
    @example([[(NameOID.COMMON_NAME, " x,CN=admin+O=x\\ ")]])
    def test_a_subject_is_read_as_it_was_signed(self, subject: list[list[tuple[Any, str]]]) -> None:
        """By whoever cuts it at commas, plus and equals signs, and then decodes it; and the line is one of visible ASCII."""
        made = certificate(*([attribute(*each) for each in rdn] for rdn in subject))
        written = fields(made).get("S-DN")
        if not subject:
            self.assertIsNone(written)
            return
        assert written is not None
        self.assertRegex(written, r"\A[!-~](?:[ -~]*[!-~])?\Z")
        expected = [[(each.rfc4514_attribute_name, each.value) for each in rdn] for rdn in made.subject.rdns]
        self.assertEqual(decoded_subject(written), expected)

    @given(st.lists(alternatives, max_size=8))
    @example([x509.DNSName._init_without_validation("a, DNS:admin")])
    @example([x509.DNSName._init_without_validation("...")])
    def test_names_are_read_as_they_were_signed(self, names: list[Any]) -> None:
        """By whoever cuts at commas, and then decodes."""
        written = fields(certificate(names=names)).get("SAN", "")
        self.assertRegex(written, r"\A(?:[!-~]+(?: [!-~]+)*)?\Z")
        read = [tuple(each.split(":", 1)) for each in written.split(", ")] if written else []
        self.assertEqual([(kind, unquote(value)) for kind, value in read], [(WORDS[type(n)], str(n.value)) for n in names])

    def test_ten_thousand_names_are_cut_after_a_whole_one(self) -> None:
        """And it is said that there are more."""
        names = [x509.DNSName(f"host-{number}.example.org") for number in range(10_000)]
        written = fields(certificate(names=names))["SAN"]
        self.assertLessEqual(len(written), SAN_LIMIT)
        self.assertGreater(len(written), SAN_LIMIT - 40)
        *kept, mark = written.split(", ")
        self.assertEqual(mark, MORE)
        self.assertEqual(kept, [f"DNS:host-{number}.example.org" for number in range(len(kept))])

    @given(st.lists(st.integers(1, 700), max_size=8))
    @example([SAN_LIMIT])
    def test_the_bound_holds_whatever_the_names_lengths(self, lengths: list[int]) -> None:
        """Those before the mark are the first, and whole."""
        names = ["a" * length for length in lengths]
        written = fields(certificate(names=[x509.DNSName(name) for name in names])).get("SAN", "")
        self.assertLessEqual(len(written), SAN_LIMIT)
        kept = written.split(", ") if written else []
        if kept and kept[-1] == MORE:
            kept.pop()
            self.assertLess(len(kept), len(names))
        else:
            self.assertEqual(len(kept), len(names))
        self.assertEqual(kept, [f"DNS:{name}" for name in names[: len(kept)]])

    def test_a_subject_longer_than_it_should_be_is_written_without_a_warning(self) -> None:
        """Which each client could put into the log."""
        made = certificate(common_name("a" * 65))
        with warnings.catch_warnings(record=True) as caught:
            self.assertEqual(fields(made)["S-DN"], f"CN={'a' * 65}")
        self.assertEqual(caught, [])

    @given(st.integers(0, 5))
    def test_a_subject_beyond_the_bound_is_not_begun(self, more: int) -> None:
        """Its beginning could be the whole of another's."""
        longest = SUBJECT_LIMIT - len("CN=,CN=admin")
        written = fields(certificate(common_name("admin"), common_name("a" * (longest + more))))["S-DN"]
        self.assertEqual(written, MORE if more else f"CN={'a' * longest},CN=admin")

    def test_names_that_cannot_be_decoded_are_said_to_be_there(self) -> None:
        """The certificate has been verified all the same, and its fingerprint counts."""
        for broken in (b"", b"\x30\x03\x82\x01\xff", b"\x04\x01a", b"\x30\x80", b"\x30\x02\xa3\x00"):
            found = fields(certificate(common_name("a"), extension=broken))
            self.assertEqual((found["Verify"], found["S-DN"], found["SAN"]), ("SUCCESS", "CN=a", MORE))
            self.assertTrue(re.fullmatch("[0-9a-f]{64}", found["SHA256"]))

    def test_a_subject_that_cannot_be_decoded_is_said_to_be_there(self) -> None:
        """For example text that is no UTF-8."""
        whole = certificate(common_name("abcdef")).public_bytes(serialization.Encoding.DER)
        made = x509.load_der_x509_certificate(whole.replace(b"abcdef", b"\xff\xfe\xfd\xfc\xfb\xfa"))
        self.assertEqual(fields(made)["S-DN"], MORE)

    @given(st.binary(max_size=60))
    def test_whatever_stands_in_the_place_of_names_is_no_error(self, extension: bytes) -> None:
        """And adds no line."""
        self.assertLessEqual(set(fields(certificate(extension=extension))), {"Verify", "SAN", "SHA256"})
