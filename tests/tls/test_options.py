"""Tests for what lbproxy.options makes of the certificates that clients are shown."""

from __future__ import annotations

import os

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.listener import DEFAULT_TLS_LISTEN
from lbproxy.options import Options
from lbproxy.tls.store import CertificateStore

from .support import authority, issued, pem, write


class TlsOptionsTests(SynchronousTestCase):
    """Tests for the options about TLS with clients."""

    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        self.a, self.b = [self.file(f"{name}.pem", pem(issued(f"{name}.example"))) for name in "ab"]

    def file(self, name: str, data: bytes) -> str:
        return write(os.path.join(self.directory, name), data)

    def parse(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(["--backends", "10.0.0.1:8000", *words])
        return options

    def mistakes(self, *words: str) -> list[str]:
        return str(self.assertRaises(UsageError, self.parse, *words)).splitlines()

    def store(self, *words: str) -> CertificateStore:
        store: CertificateStore = self.parse(*words)["certificates"]
        return store

    def test_none(self) -> None:
        """Without certificates there is no store and no listener for TLS."""
        options = self.parse()
        self.assertIsNone(options["certificates"])
        self.assertEqual(options["tls-listen"], [])

    def test_certificates(self) -> None:
        """The option is repeated for several, and the first is the default; a listener comes with them."""
        options = self.parse("--certificate", self.a, "--certificate", self.b)
        self.assertEqual([one.source for one in options["certificates"].certificates], [self.a, self.b])
        self.assertEqual(options["certificates"].default.source, self.a)
        self.assertEqual(options["tls-listen"], [DEFAULT_TLS_LISTEN])

    def test_default(self) -> None:
        """Another one can be the default."""
        self.assertEqual(self.store("--certificate", self.directory, "--default-certificate", self.b).default.source, self.b)

    def test_mistakes_in_files(self) -> None:
        """Everything that is wrong with any file is told at once, a line each, under the option that named it."""
        broken = self.file("k.pem", b"nothing")
        lines = self.mistakes("--certificate", "/nonexistent/x.pem", "--certificate", broken, "--client-ca", "/nonexistent/ca")
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[0].startswith("--client-ca: '/nonexistent/ca' cannot be read: No such file or directory;"), lines)
        self.assertTrue(lines[1].startswith("--certificate: '/nonexistent/x.pem' cannot be read: No such file"), lines)
        self.assertTrue(lines[2].startswith(f"--certificate: '{self.directory}/k.pem' is no PEM file;"), lines)

    def test_beside_other_mistakes(self) -> None:
        """They stand beside the mistakes in other options."""
        lines = self.mistakes("--certificate", "/nonexistent/x.pem", "--retries", "many")
        self.assertEqual(len(lines), 2)

    def test_empty(self) -> None:
        """A variable that is not set is not taken for the directory that one is in."""
        self.assertEqual(self.mistakes("--certificate", ""), ["--certificate: '' was given; allowed is a path"])
        lines = self.mistakes("--certificate", self.a, "--default-certificate", "", "--client-ca", "")
        self.assertEqual(
            lines, [f"--{option}: '' was given; allowed is a path" for option in ("default-certificate", "client-ca")]
        )

    def test_profile(self) -> None:
        """There are two profiles."""
        self.store("--certificate", self.a, "--tls-profile", "modern")
        expected = ["--tls-profile: 'old' was given; allowed are intermediate and modern"]
        self.assertEqual(self.mistakes("--certificate", self.a, "--tls-profile", "old"), expected)
        self.assertEqual(self.mistakes("--tls-profile", "old"), expected)

    def test_client_certificates(self) -> None:
        """Whether clients must have one goes with whose they may have."""
        ca = self.file("ca.crt", authority("clients").cert_pem.bytes())
        for words in ((), ("--client-auth", "required"), ("--client-auth", "optional")):
            self.store("--certificate", self.a, "--client-ca", ca, *words)
        self.assertEqual(
            self.mistakes("--certificate", self.a, "--client-ca", ca, "--client-auth", "none"),
            ["--client-auth: 'none' was given; allowed are required and optional"],
        )
        self.assertEqual(
            self.mistakes("--certificate", self.a, "--client-auth", "optional"),
            ["--client-auth: it was given without --client-ca; say whose certificates clients may have as well"],
        )

    def test_without_certificates(self) -> None:
        """What goes with certificates is a mistake without any, each time that it is said."""
        for words in (
            ("--tls-listen", "tcp:0"), ("--default-certificate", self.a), ("--reject-unknown-names",), ("--client-ca", self.a),
            ("--client-auth", "required"),
        ):  # fmt: skip
            self.assertEqual(
                self.mistakes(*words), [f"{words[0]}: it was given without --certificate; say which certificate to show as well"]
            )

    def test_modern_by_itself(self) -> None:
        """A profile other than the default is of no use without certificates."""
        self.assertEqual(
            self.mistakes("--tls-profile", "modern"),
            ["--tls-profile: it was given without --certificate; say which certificate to show as well"],
        )
