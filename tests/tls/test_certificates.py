"""Tests for lbproxy.tls.certificates and lbproxy.tls.files."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from functools import cache
from time import process_time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.tls import files
from lbproxy.tls.certificates import Certificate, CertificateReader, read_certificates
from lbproxy.tls.files import FILE_LIMIT

from ..support import given
from .support import authority, intermediate, issued, parsed, pem, private_key, write

NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc).timestamp()


def key_pem(key: Any, password: bytes | None = None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """A key as it stands in a file."""
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    data: bytes = key.private_bytes(Encoding.PEM, form, encryption)
    return data


def self_signed(key: Any, *names: x509.GeneralName, common_name: str = "self.example") -> bytes:
    """A certificate that is signed by itself, without SAN if there are no names."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2040, 1, 1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()).public_bytes(Encoding.PEM)


@cache
def weak_rsa() -> rsa.RSAPrivateKey:
    """A key that was long enough in the nineties."""
    return rsa.generate_private_key(65537, 1024)


class CertificateTestCase(SynchronousTestCase):
    """Files in a directory of the test's own."""

    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        self.leaf = issued("a.example")
        self.key, self.chain = self.leaf.private_key_pem.bytes(), b"".join(one.bytes() for one in self.leaf.cert_chain_pems)

    def file(self, name: str, data: bytes) -> str:
        return write(os.path.join(self.directory, name), data)

    def one(self, path: str, now: float = NOW) -> Certificate:
        (certificate,) = read_certificates(path, now)
        return certificate

    def mistake(self, path: str, now: float = NOW) -> str:
        """The one line that says what is wrong with *path*."""
        error = self.assertRaises(ConfigurationError, read_certificates, path, now)
        (line,) = str(error).splitlines()
        return line


class FactsTests(CertificateTestCase):
    """Tests for what is known of a certificate."""

    def test_facts(self) -> None:
        """Names are in lower case, times in seconds since the epoch, the fingerprint is that of SHA-256."""
        leaf = issued("WWW.Facts.Example", "*.facts.example", "192.0.2.1", "2001:DB8::1", common_name="facts")
        path = self.file("a.pem", pem(leaf))
        one, certificate = self.one(path), parsed(leaf)
        self.assertEqual(one.source, path)
        self.assertEqual(one.names, ("www.facts.example", "*.facts.example", "192.0.2.1", "2001:db8::1"))
        self.assertEqual(one.key_type, "ECDSA")
        self.assertEqual(one.subject, certificate.subject.rfc4514_string())
        self.assertIn("CN=facts", one.subject)
        self.assertEqual(one.issuer, certificate.issuer.rfc4514_string())
        self.assertEqual(one.not_before, datetime(2000, 1, 1, tzinfo=timezone.utc).timestamp())
        self.assertEqual(one.not_after, datetime(3000, 1, 1, tzinfo=timezone.utc).timestamp())
        self.assertEqual(one.fingerprint, certificate.fingerprint(SHA256()).hex())

    def test_key_is_not_shown(self) -> None:
        """A certificate that is printed shows no key."""
        self.assertNotIn("key=", repr(self.one(self.file("a.pem", pem(self.leaf)))))

    def test_key_types(self) -> None:
        """Keys of RSA, of NIST's curves and Ed25519 are taken."""
        for name, key in (
            ("ECDSA", ec.generate_private_key(ec.SECP384R1())),
            ("ECDSA", ec.generate_private_key(ec.SECP521R1())),
            ("Ed25519", ed25519.Ed25519PrivateKey.generate()),
            ("RSA", private_key(issued("rsa.example", key="RSA"))),
        ):
            path = self.file("k.pem", key_pem(key) + self_signed(key, x509.DNSName("k.example")))
            self.assertEqual(self.one(path).key_type, name)

    def test_no_names(self) -> None:
        """Without subjectAltName there are no names; a common name is none."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.assertEqual(self.one(self.file("a.pem", key_pem(key) + self_signed(key))).names, ())


class OrderTests(CertificateTestCase):
    """Tests for files in which all is there in some order."""

    def expected(self) -> list[x509.Certificate]:
        return [x509.load_pem_x509_certificate(one.bytes()) for one in self.leaf.cert_chain_pems]

    def test_any_order(self) -> None:
        """The leaf is the one with the key's public half, wherever it stands; who signed it comes after it."""
        leaf, above = [one.bytes() for one in self.leaf.cert_chain_pems]
        for parts in ((self.key, leaf, above), (above, leaf, self.key), (leaf, self.key, above), (above, self.key, leaf)):
            self.assertEqual(list(self.one(self.file("a.pem", b"".join(parts))).chain), self.expected())

    def test_root_is_left_out(self) -> None:
        """The root is not sent, nor is what has nothing to do with the chain."""
        root, other = authority("root").cert_pem.bytes(), intermediate("another").cert_pem.bytes()
        self.assertEqual(list(self.one(self.file("a.pem", root + other + pem(self.leaf))).chain), self.expected())

    def test_signed_by_itself(self) -> None:
        """A certificate that is its own root is sent."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.assertEqual(len(self.one(self.file("a.pem", self_signed(key) + key_pem(key))).chain), 1)

    def test_same_subject(self) -> None:
        """Of two authorities of the same name, the one that signed is taken."""
        subject = x509.load_pem_x509_certificate(intermediate("intermediate").cert_pem.bytes()).subject
        key = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        builder = builder.serial_number(9).not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2040, 1, 1))
        other = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
        self.assertEqual(list(self.one(self.file("a.pem", other + pem(self.leaf))).chain), self.expected())

    def test_text_between(self) -> None:
        """What stands between the blocks, and blocks of other kinds, make no difference."""
        parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        data = b"Bag Attributes\n" + parameters + self.key + b"\nissuer=x\n" + self.chain.replace(b"\n", b"\r\n")
        self.assertEqual(list(self.one(self.file("a.pem", data)).chain), self.expected())

    def test_forms_of_keys(self) -> None:
        """A key may be in PKCS 8's form or in that of its kind."""
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            self.one(self.file("a.pem", key_pem(private_key(self.leaf), form=form) + self.chain))


class PathTests(CertificateTestCase):
    """Tests for what an operator's path comprises."""

    def sources(self) -> list[str]:
        """What is found in the directory, below it."""
        found = read_certificates(self.directory, NOW)
        return [one.source.replace(f"{self.directory}/", "") for one in found]

    def test_pair(self) -> None:
        """Two files with a comma between them."""
        path = f"{self.file('cert.pem', self.chain)},{self.file('key.pem', self.key)}"
        self.assertEqual(self.one(path).source, path)

    def test_pair_with_all_in_one(self) -> None:
        """Of a pair each file is read for its own part, whatever else is in it."""
        self.one(f"{self.file('cert.pem', self.chain)},{self.file('all.pem', self.chain + self.key)}")

    def test_comma_in_a_name(self) -> None:
        """A file that there is comes before a pair."""
        self.one(self.file("a,b.pem", pem(self.leaf)))

    def test_directory(self) -> None:
        """Files with all in them and pairs, in alphabetical order."""
        self.file("b.pem", pem(self.leaf))
        self.file("a.crt", self.chain)
        self.file("a.key", self.key)
        self.file("c.cert", self.chain)
        self.file("c.key", self.key)
        self.assertEqual(self.sources(), ["a.crt,a.key", "b.pem", "c.cert,c.key"])

    def test_certbot(self) -> None:
        """The directory that certbot keeps for a name, as links into another."""
        for name, data in (
            ("fullchain", self.chain),
            ("privkey", self.key),
            ("cert", self.leaf.cert_chain_pems[0].bytes()),
            ("chain", self.leaf.cert_chain_pems[1].bytes()),
        ):
            path = write(f"{self.directory}.archive/{name}1.pem", data)
            os.makedirs(self.directory, exist_ok=True)
            os.symlink(path, os.path.join(self.directory, f"{name}.pem"))
        self.file("README", b"This directory contains your keys and certificates.")
        self.assertEqual(self.sources(), ["fullchain.pem,privkey.pem"])
        self.assertEqual(len(read_certificates(self.directory, NOW)[0].chain), 2)

    def test_what_else_lies_there(self) -> None:
        """Hidden files, directories, halves of pairs, and files of other kinds are passed over."""
        self.file("a.pem", pem(self.leaf))
        for name, data in (
            (".hidden.pem", b"-----BEGIN"), ("sub.pem/x", b""), ("lonely.crt", self.chain), ("lonely2.key", self.key),
            ("chain.pem", self.chain), ("key.pem", self.key), ("dhparam.pem", b"x"), ("notes.txt", b"x"),
        ):  # fmt: skip
            self.file(name, data)
        self.assertEqual(self.sources(), ["a.pem"])

    def test_broken_beside_good(self) -> None:
        """A file that cannot be used is a mistake, however good the others are."""
        self.file("a.pem", pem(self.leaf))
        os.symlink("/nonexistent/b.pem", os.path.join(self.directory, "b.pem"))
        line = self.mistake(self.directory)
        self.assertIn(f"{self.directory}/b.pem' cannot be read: No such file or directory", line)

    def test_nothing_usable(self) -> None:
        """A directory with nothing in it to be used is a mistake, and what could be used is told."""
        self.file("chain.pem", self.chain)
        self.assertEqual(
            self.mistake(self.directory),
            f"{self.directory!r} has no certificate with its key in it; usable are *.pem with a certificate and its key, "
            f"NAME.crt or NAME.cert with NAME.key, fullchain.pem with privkey.pem",
        )

    def test_directories_in_a_directory(self) -> None:
        """Who gives what holds certbot's directories is told to give each of them."""
        for name in (".hidden", "b.example", "a.example"):
            os.makedirs(os.path.join(self.directory, name))
        self.assertTrue(
            self.mistake(self.directory).endswith(
                f"; directories in it are not looked at: give each by itself, as {self.directory}/a.example"
            )
        )

    def test_too_many_files(self) -> None:
        """A directory that is too large is no directory of certificates."""
        self.patch(files, "DIRECTORY_LIMIT", 2)
        for name in ("a.pem", "b.pem"):
            self.file(name, pem(self.leaf))
        read_certificates(self.directory, NOW)
        self.file("c.txt", b"")
        self.assertIn("has more than 2 files", self.mistake(self.directory))


class MistakeTests(CertificateTestCase):
    """Tests for what is wrong: one line, with the file, the cause, and what to do."""

    def test_unreadable(self) -> None:
        """The system's words say why a file cannot be read."""
        path = os.path.join(self.directory, "none.pem")
        expected = f"{path!r} cannot be read: No such file or directory; give a PEM file that lbproxy may read"
        self.assertEqual(self.mistake(path), expected)
        self.assertIn("cannot be read: ", self.mistake("a\0b"))

    def test_no_file(self) -> None:
        """A pipe is not waited for, and a device is not read."""
        path = os.path.join(self.directory, "pipe")
        os.makedirs(self.directory)
        os.mkfifo(path)
        for one in (path, "/dev/zero"):
            self.assertIn(f"{one!r} is no file", self.mistake(one))

    def test_too_large(self) -> None:
        """A file with more than 1 MiB is not read."""
        self.assertEqual(FILE_LIMIT, 1048576)
        self.one(self.file("a.pem", pem(self.leaf) + b"\n" * (FILE_LIMIT - len(pem(self.leaf)))))
        self.assertIn("is larger than 1 MiB", self.mistake(self.file("a.pem", b"x" * (FILE_LIMIT + 1))))

    def test_no_pem(self) -> None:
        """What has no block in it is no PEM file."""
        for data in (b"", b"\x30\x82", b"-----BEGIN CERTIFICATE-----\nMII"):
            path = self.file("a.pem", data)
            self.assertEqual(self.mistake(path), f"{path!r} is no PEM file; give one with lines -----BEGIN CERTIFICATE-----")

    def test_many_beginnings(self) -> None:
        """However many blocks of a file have no end, it is read at once, and those that have one are found."""
        beginnings = b"-----BEGIN A-----\n" * 10_000
        path = self.file("a.pem", beginnings + pem(self.leaf) + beginnings)
        began = process_time()
        self.one(path)
        self.assertLess(process_time() - began, 2)  # it takes some 20 ms; a search from each beginning takes minutes

    def test_no_certificate(self) -> None:
        """A key alone is not enough."""
        path = self.file("a.pem", self.key)
        self.assertIn(f"{path!r} has no certificate in it", self.mistake(path))

    def test_no_key(self) -> None:
        """Certificates alone are not enough, and how to give two files is told."""
        path = self.file("a.pem", self.chain)
        self.assertEqual(
            self.mistake(path),
            f"{path!r} has no private key in it; give one with the certificate's key, or both files as {path},KEY",
        )

    def test_pair_the_wrong_way_round(self) -> None:
        """Both files of a pair are named."""
        certificate, key = self.file("c.pem", self.chain), self.file("k.pem", self.key)
        error = self.assertRaises(ConfigurationError, read_certificates, f"{key},{certificate}", NOW)
        first, second = str(error).splitlines()
        self.assertIn(f"{key!r} has no certificate in it", first)
        self.assertIn(f"{certificate!r} has no private key in it", second)

    def test_several_keys(self) -> None:
        """Which key is meant is not guessed."""
        path = self.file("a.pem", pem(self.leaf) + pem(issued("b.example")))
        self.assertIn(f"{path!r} has 2 private keys in it; give each certificate a file of its own", self.mistake(path))

    def test_encrypted(self) -> None:
        """A key that is encrypted in either form is told apart from a damaged one."""
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            path = self.file("a.pem", key_pem(private_key(self.leaf), b"secret", form) + self.chain)
            self.assertIn(f"{path!r} has an encrypted private key", self.mistake(path))

    def test_another_key(self) -> None:
        """A key that is not the certificate's is named, with the certificate's file."""
        certificate, key = self.file("c.pem", self.chain), self.file("k.pem", issued("b.example").private_key_pem.bytes())
        self.assertEqual(
            self.mistake(f"{certificate},{key}"),
            f"{key!r} has a private key that is not the certificate's in {certificate!r}; give the key that it was made with",
        )

    def test_another_key_in_the_same_file(self) -> None:
        """In one file there is no other to be named."""
        path = self.file("a.pem", self.chain + issued("b.example").private_key_pem.bytes())
        self.assertEqual(
            self.mistake(path),
            f"{path!r} has a private key that is not that of the certificate beside it; give the key that it was made with",
        )

    def test_damaged(self) -> None:
        """Blocks with something else in them are damaged."""
        for label, what in ((b"CERTIFICATE", "a certificate"), (b"PRIVATE KEY", "a private key")):
            block = b"-----BEGIN %b-----\nAAAA\n-----END %b-----\n" % (label, label)
            data = block + (self.key if label == b"CERTIFICATE" else self.chain)
            path = self.file("a.pem", data)
            self.assertIn(f"{path!r} has {what} in it that is damaged", self.mistake(path))

    def test_damaged_rsa_key(self) -> None:
        """An RSA key with the right modulus that signs wrongly is damaged."""
        leaf = issued("rsa.example", key="RSA")
        numbers = private_key(leaf).private_numbers()
        wrong = rsa.RSAPrivateNumbers(
            numbers.p, numbers.q, numbers.d + 2, numbers.dmp1 + 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
        )
        key = wrong.private_key(unsafe_skip_rsa_key_validation=True)
        path = self.file("a.pem", key_pem(key) + b"".join(one.bytes() for one in leaf.cert_chain_pems))
        self.assertEqual(self.mistake(path), f"{path!r} has a private key in it that is damaged")

    def test_weak(self) -> None:
        """Keys that OpenSSL or TLS 1.3 would refuse are refused, and those that are allowed are told."""
        allowed = "; allowed are RSA with 2048 bits or more, ECDSA on P-256, P-384 or P-521, Ed25519 and Ed448"
        for key, what in (
            (weak_rsa(), "is too weak, with 1024 bits"),
            (ec.generate_private_key(ec.SECP256K1()), "is on the curve secp256k1"),
            (dsa.generate_private_key(1024), "is of a type that TLS cannot sign with"),
        ):
            path = self.file("a.pem", key_pem(key) + self.chain)
            self.assertEqual(self.mistake(path), f"{path!r} has a private key that {what}{allowed}")

    def test_expired(self) -> None:
        """A certificate is good until the second that stands in it, and no longer."""
        end = datetime(2026, 4, 1, 12, tzinfo=timezone.utc)
        path = self.file("a.pem", pem(issued("old.example", not_after=end)))
        self.one(path, end.timestamp() - 1)
        self.assertEqual(self.mistake(path), f"{path!r} has expired, at 2026-04-01 12:00:00 UTC; give a newer one")
        self.assertIn("has expired", self.mistake(path, end.timestamp()))

    def test_not_yet_valid(self) -> None:
        """A certificate is good from the second that stands in it."""
        begin = datetime(2026, 6, 1, tzinfo=timezone.utc)
        path = self.file("a.pem", pem(issued("new.example", not_before=begin, not_after=begin + timedelta(days=9))))
        self.assertEqual(
            self.mistake(path),
            f"{path!r} is not yet valid, but from 2026-06-01 00:00:00 UTC on; give one that is, or set the clock",
        )
        self.one(path, begin.timestamp())

    def test_all_at_once(self) -> None:
        """Every mistake in a directory is told."""
        for name in ("a", "b", "c"):
            self.file(f"{name}.crt", self.chain)
            self.file(f"{name}.key", issued("b.example").private_key_pem.bytes())
        error = self.assertRaises(ConfigurationError, read_certificates, self.directory, NOW)
        self.assertEqual(len(str(error).splitlines()), 3)

    @given(st.data())
    def test_any_file(self, data: st.DataObject) -> None:
        """Whatever is wrong with a file, it is one message of lines that name it, and no other error."""
        whole = bytearray(pem(self.leaf))
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(whole)))
            whole[start : start + data.draw(st.integers(0, 99))] = data.draw(st.binary(max_size=9))
        path = self.file("a.pem", bytes(whole))
        try:
            self.one(path)
        except ConfigurationError as error:
            for line in str(error).splitlines():
                self.assertIn(repr(path), line)


class ReaderTests(CertificateTestCase):
    """Tests for reading again."""

    def test_only_what_changed(self) -> None:
        """A file that stays is not parsed again; one that is written anew is."""
        path, other = self.file("a.pem", pem(self.leaf)), self.file("b.pem", pem(issued("b.example")))
        first = CertificateReader(NOW)
        before = first.read(self.directory)
        self.file("b.pem", pem(issued("c.example")))
        after = CertificateReader(NOW, first).read(self.directory)
        self.assertIs(after[0], before[0])
        self.assertEqual([one.source for one in after], [path, other])
        self.assertEqual(after[1].names, ("c.example",))

    def test_pair(self) -> None:
        """Either file of a pair is looked at."""
        certificate, key = self.file("c.pem", self.chain), self.file("k.pem", self.key)
        first = CertificateReader(NOW)
        before = first.read(f"{certificate},{key}")
        self.assertIs(CertificateReader(NOW, first).read(f"{certificate},{key}")[0], before[0])
        self.file("k.pem", self.key)
        self.assertIsNot(CertificateReader(NOW, first).read(f"{certificate},{key}")[0], before[0])

    def test_half_written(self) -> None:
        """A file of a directory that had a certificate is not passed over when there is none in it any more."""
        self.file("a.pem", pem(self.leaf))
        self.file("b.pem", pem(issued("b.example")))
        first = CertificateReader(NOW)
        first.read(self.directory)
        path = self.file("b.pem", self.key)
        error = self.assertRaises(ConfigurationError, CertificateReader(NOW, first).read, self.directory)
        self.assertIn(f"{path!r} has no certificate in it", str(error))
        os.remove(path)
        self.assertEqual(len(CertificateReader(NOW, first).read(self.directory)), 1)
