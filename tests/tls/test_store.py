"""Tests for lbproxy.tls.store, with real handshakes."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.errors import ConfigurationError
from lbproxy.tls.failures import handshake_failed
from lbproxy.tls.store import CertificateStore

from .support import Client, Handshake, issued, parsed, pem, write


class StoreTestCase(SynchronousTestCase):
    """Stores of files in a directory of the test's own."""

    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())

    def file(self, name: str, *names: str, **kwargs: Any) -> str:
        """A file with a certificate for *names*."""
        return write(os.path.join(self.directory, name), pem(issued(*names, **kwargs)))

    def refusal(self, made: Handshake) -> str:
        """The cause for which a server refused a handshake."""
        self.assertIsNotNone(made.refusal)
        return handshake_failed(made.refusal).cause


class NameTests(StoreTestCase):
    """Tests for which certificate is shown for which name."""

    def setUp(self) -> None:
        super().setUp()
        self.paths = [
            self.file("first.pem", "first.example"),
            self.file("wild.pem", "*.wild.example", "wild.example"),
            self.file("one.pem", "one.wild.example"),
        ]
        self.store = CertificateStore(self.paths)

    def shown(self, name: bytes | None, store: CertificateStore | None = None) -> list[str]:
        made = Client().connect(store or self.store, name)
        self.assertTrue(made.done, (made.failure, made.refusal))
        return made.names

    def test_interface(self) -> None:
        """Whatever of Twisted's takes a connection creator takes a store."""
        self.assertTrue(verifyObject(IOpenSSLServerConnectionCreator, self.store))

    def test_exact(self) -> None:
        """A name's own certificate is shown, before that of a wildcard."""
        self.assertEqual(self.shown(b"first.example"), ["first.example"])
        self.assertEqual(self.shown(b"one.wild.example"), ["one.wild.example"])

    def test_wildcard(self) -> None:
        """A wildcard's certificate is shown for one label more."""
        self.assertEqual(self.shown(b"two.wild.example")[0], "*.wild.example")
        self.assertEqual(self.shown(b"a.two.wild.example"), ["first.example"])

    def test_default(self) -> None:
        """The first certificate is shown for names that are nobody's, for no name, and for what is no name."""
        for name in (b"nobody.example", None, b"192.0.2.1", b"*.wild.example", b"\xff"):
            self.assertEqual(self.shown(name), ["first.example"], name)

    def test_given_default(self) -> None:
        """Another one can be the default."""
        store = CertificateStore(self.paths, default=self.paths[2])
        self.assertEqual(self.shown(b"nobody.example", store), ["one.wild.example"])
        self.assertEqual(store.default.source, self.paths[2])
        self.assertEqual([one.source for one in store.certificates], self.paths)

    def test_default_beside_the_others(self) -> None:
        """A default that is none of them is served as they are, and takes no name from them."""
        further = self.file("further.pem", "further.example", "first.example")
        store = CertificateStore(self.paths, default=further)
        self.assertEqual(self.shown(None, store)[0], "further.example")
        self.assertEqual(self.shown(b"further.example", store)[0], "further.example")
        self.assertEqual(self.shown(b"first.example", store), ["first.example"])

    def test_case_and_dot(self) -> None:
        """Case and a dot at the end make no difference."""
        self.assertEqual(self.shown(b"ONE.Wild.example."), ["one.wild.example"])

    def test_directory(self) -> None:
        """A directory is as good as all that is in it, and one of its files can be the default."""
        store = CertificateStore([self.directory], default=self.paths[1])
        self.assertEqual(self.shown(b"first.example", store), ["first.example"])
        self.assertEqual(self.shown(None, store)[0], "*.wild.example")
        self.assertEqual([one.names[0] for one in store.certificates], ["first.example", "one.wild.example", "*.wild.example"])

    def test_accept(self) -> None:
        """On a socket, the session is in the state to accept."""
        with open(os.devnull, "rb") as file:
            connection = self.store.accept(file)
            self.assertEqual(connection.get_servername(), None)
            self.assertRaises(SSL.Error, connection.do_handshake)


class RejectTests(StoreTestCase):
    """Tests for unknown names that are refused."""

    def setUp(self) -> None:
        super().setUp()
        paths = [self.file("a.pem", "a.example"), self.file("b.pem", "b.example")]
        self.store = CertificateStore(paths, reject_unknown_names=True)
        self.patch(sys, "excepthook", lambda *error: self.fail(f"printed: {error}"))

    def test_known_names(self) -> None:
        """Names that are served are served."""
        for name in (b"a.example", b"b.example"):
            self.assertEqual(Client().connect(self.store, name).names, [name.decode()])

    def test_unknown_names(self) -> None:
        """In either version an unknown name ends the handshake, and so does none; the cause is told, and nothing is printed."""
        for most in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for name in (b"c.example", None, b"192.0.2.1"):
                made = Client(most=most).connect(self.store, name)
                self.assertEqual(self.refusal(made), "name", (most, name))
                self.assertEqual(made.shown, [])

    def test_resumed_for_an_unknown_name(self) -> None:
        """A session of a known name opens no door for an unknown one, though it needs no certificate."""
        client = Client(least=SSL.TLS1_3_VERSION)
        session = client.connect(self.store, b"a.example").client.get_session()
        self.assertEqual(self.refusal(client.connect(self.store, b"c.example", session)), "name")
        self.assertEqual(self.refusal(client.connect(self.store, None, session)), "name")

    def test_other_failures(self) -> None:
        """What fails for another reason is not taken for a wrong name."""
        self.assertEqual(self.refusal(Client(protocols=[b"h2"]).connect(self.store, b"a.example")), "alpn")


class KeyTypeTests(StoreTestCase):
    """Tests for RSA and ECDSA side by side."""

    RSA = b"ECDHE-RSA-AES128-GCM-SHA256"
    ECDSA = b"ECDHE-ECDSA-AES128-GCM-SHA256"

    def setUp(self) -> None:
        super().setUp()
        self.paths = [
            self.file("rsa.pem", "both.example", key="RSA", by="another"),
            self.file("ecdsa.pem", "both.example"),
            self.file("other.pem", "other.example"),
        ]

    def shown(self, store: CertificateStore, name: bytes | None, suites: bytes) -> list[str]:
        made = Client(most=SSL.TLS1_2_VERSION, suites=suites).connect(store, name)
        self.assertTrue(made.done, (made.failure, made.refusal))
        return [one.subject.rfc4514_string() for one in made.shown]

    def check(self, store: CertificateStore, name: bytes | None) -> None:
        for suites, certificate in ((self.RSA, self.paths[0]), (self.ECDSA, self.paths[1])):
            expected = next(one for one in store.certificates if one.source == certificate)
            chain = [one.subject.rfc4514_string() for one in expected.chain]
            self.assertEqual(len(chain), 2)
            self.assertEqual(self.shown(store, name, suites), chain)

    def test_each_with_its_own_chain(self) -> None:
        """A client that can do one of them only gets that one, with its chain and not the other's."""
        self.check(CertificateStore(self.paths), b"both.example")

    def test_by_another_name(self) -> None:
        """It is the same where the handshake began with another certificate."""
        self.check(CertificateStore(self.paths, default=self.paths[2]), b"both.example")

    def test_default(self) -> None:
        """Both are the default, if one is."""
        self.check(CertificateStore(self.paths), None)
        self.check(CertificateStore(self.paths, default=self.paths[1]), b"nobody.example")

    def test_same_key_type(self) -> None:
        """Of two with the same name and key type the first is shown, and an operator is told of the other."""
        again = self.file("again.pem", "other.example", "again.example", common_name="again")
        store = CertificateStore([*self.paths, again])
        self.assertEqual(
            store.warnings,
            (f"certificate: {again!r} is not shown for other.example: {self.paths[2]!r} comes before it",),
        )
        self.assertEqual(Client().connect(store, b"other.example").names, ["other.example"])
        self.assertEqual(Client().connect(store, b"again.example").names, ["other.example", "again.example"])

    def test_same_one_twice(self) -> None:
        """A certificate that is given twice is one."""
        store = CertificateStore([self.paths[1], self.directory])
        self.assertEqual(store.warnings, ())
        self.assertEqual([one.key_type for one in store.certificates], ["ECDSA", "ECDSA", "RSA"])


class SpokenTests(StoreTestCase):
    """Tests for versions and protocols, which are the same for every name."""

    NAMES = (b"a.example", b"b.example", b"nobody.example", None)

    def setUp(self) -> None:
        super().setUp()
        self.paths = [self.file("a.pem", "a.example"), self.file("b.pem", "b.example")]

    def test_old_versions(self) -> None:
        """TLS 1.1 is refused."""
        store = CertificateStore(self.paths)
        for name in self.NAMES:
            client = Client(least=SSL.TLS1_1_VERSION, most=SSL.TLS1_1_VERSION, suites=b"ALL:@SECLEVEL=0")
            self.assertEqual(self.refusal(client.connect(store, name)), "version")

    def test_modern(self) -> None:
        """The modern profile refuses TLS 1.2, and speaks 1.3."""
        store = CertificateStore(self.paths, profile="modern")
        for name in self.NAMES:
            self.assertEqual(self.refusal(Client(most=SSL.TLS1_2_VERSION).connect(store, name)), "version")
            self.assertEqual(Client().connect(store, name).client.get_protocol_version_name(), "TLSv1.3")

    def test_weak_suites(self) -> None:
        """A client that knows suites without forward secrecy only is refused."""
        client = Client(most=SSL.TLS1_2_VERSION, suites=b"AES128-SHA:ECDHE-ECDSA-AES128-SHA")
        self.assertEqual(self.refusal(client.connect(CertificateStore(self.paths), b"a.example")), "cipher")

    def test_protocol(self) -> None:
        """Every name answers ALPN in the same way; a client that does not use it is as welcome."""
        store = CertificateStore(self.paths)
        for name in self.NAMES:
            for offered in ([b"http/1.1"], [b"h2", b"http/1.1"]):
                made = Client(protocols=offered).connect(store, name)
                self.assertEqual(made.client.get_alpn_proto_negotiated(), b"http/1.1")
            self.assertEqual(Client(protocols=()).connect(store, name).client.get_alpn_proto_negotiated(), b"")

    def test_other_protocols(self) -> None:
        """A client that offers none of ours is refused by every name, and told why."""
        store = CertificateStore(self.paths)
        for name in self.NAMES:
            made = Client(protocols=[b"h2", b"ftp"]).connect(store, name)
            self.assertEqual(self.refusal(made), "alpn")
            self.assertIn("alert no application protocol", str(made.failure))

    def test_given_protocols(self) -> None:
        """Who embeds it says what is spoken, and what is liked best."""
        store = CertificateStore(self.paths, protocols=[b"h2", b"http/1.1"])
        made = Client(protocols=[b"http/1.1", b"h2"]).connect(store, b"b.example")
        self.assertEqual(made.client.get_alpn_proto_negotiated(), b"h2")

    def test_no_renegotiation(self) -> None:
        """A client that asks for a second handshake does not get it."""
        made = Client(most=SSL.TLS1_2_VERSION).connect(CertificateStore(self.paths), b"a.example")
        made.client.renegotiate()
        self.assertRaises(SSL.WantReadError, made.client.do_handshake)
        made.server.bio_write(made.client.bio_read(1 << 14))
        self.assertRaises(SSL.Error, made.server.recv, 1)
        self.assertEqual(made.server.total_renegotiations(), 0)


class ResumptionTests(StoreTestCase):
    """Tests for sessions that are resumed."""

    VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)

    def setUp(self) -> None:
        super().setUp()
        self.paths = [self.file("a.pem", "a.example"), self.file("b.pem", "b.example")]
        self.store = CertificateStore(self.paths)

    def test_resumed(self) -> None:
        """A session is resumed by its ticket, for the first name as for another, again and again."""
        for version in self.VERSIONS:
            for name in (b"a.example", b"b.example", None):
                client = Client(least=version, most=version)
                made = client.connect(self.store, name)
                self.assertFalse(made.resumed)
                for _ in range(2):
                    made = client.connect(self.store, name, made.client.get_session())
                    self.assertTrue(made.resumed, (version, name))
                self.assertEqual(made.say(b"hello"), b"hello")

    def test_same_secret(self) -> None:
        """In TLS 1.2 the secret of a resumed session is that of the first, which shows that it was."""
        client = Client(most=SSL.TLS1_2_VERSION)
        made = client.connect(self.store, b"b.example")
        again = client.connect(self.store, b"b.example", made.client.get_session())
        self.assertEqual(again.client.master_key(), made.client.master_key())

    def test_for_another_name(self) -> None:
        """A session of TLS 1.2 goes on under the name that it began with, whatever is asked for; in TLS 1.3 what is asked for
        counts."""
        for version, served in ((SSL.TLS1_2_VERSION, b"a.example"), (SSL.TLS1_3_VERSION, b"b.example")):
            client = Client(least=version, most=version)
            session = client.connect(self.store, b"a.example").client.get_session()
            self.assertEqual(client.connect(self.store, b"b.example", session).server.get_servername(), served)

    def test_rotated(self) -> None:
        """After a rotation tickets from before are worth nothing; a full handshake works, and its ticket does."""
        for version in self.VERSIONS:
            client = Client(least=version, most=version)
            made = client.connect(self.store, b"b.example")
            self.store.rotate()
            again = client.connect(self.store, b"b.example", made.client.get_session())
            self.assertTrue(again.done)
            self.assertFalse(again.resumed)
            self.assertTrue(client.connect(self.store, b"b.example", again.client.get_session()).resumed)
            self.assertEqual(made.say(b"still there"), b"still there")

    def test_another_store(self) -> None:
        """A ticket is worth nothing elsewhere."""
        client = Client()
        session = client.connect(self.store, b"a.example").client.get_session()
        made = client.connect(CertificateStore(self.paths), b"a.example", session)
        self.assertTrue(made.done)
        self.assertFalse(made.resumed)


class ReloadTests(StoreTestCase):
    """Tests for files that change."""

    def setUp(self) -> None:
        super().setUp()
        self.a = self.file("a.pem", "a.example")
        self.b = self.file("b.pem", "b.example")
        self.time = datetime(2030, 1, 1, tzinfo=timezone.utc).timestamp()
        self.store = CertificateStore([self.directory], now=lambda: self.time)

    def test_nothing_changed(self) -> None:
        """Files that stay are no change, and are not parsed again."""
        self.assertFalse(self.store.changed())
        loaded = self.store.load()
        self.assertEqual(loaded.certificates, self.store.certificates)

    def test_swap(self) -> None:
        """What has been loaded is served from the swap on, and not before. Connections from before keep what they have."""
        before = self.store.certificates
        old = Client().connect(self.store, b"b.example")
        self.file("b.pem", "b.example", "more.example")
        self.assertTrue(self.store.changed())
        loaded = self.store.load()
        self.assertFalse(self.store.changed())
        self.assertEqual(Client().connect(self.store, b"b.example").names, ["b.example"])
        self.assertEqual(self.store.certificates, before)
        self.store.swap(loaded)
        self.assertEqual(Client().connect(self.store, b"b.example").names, ["b.example", "more.example"])
        self.assertEqual(Client().connect(self.store, b"more.example").names, ["b.example", "more.example"])
        self.assertIs(self.store.certificates[0], before[0])
        self.assertEqual(old.say(b"still here"), b"still here")

    def test_in_the_middle_of_a_handshake(self) -> None:
        """A handshake that began before a swap goes on with what there was."""
        client = SSL.Connection(Client().context, None)
        client.set_tlsext_host_name(b"b.example")
        client.set_connect_state()
        server = self.store.serverConnectionForTLS(None)
        server.set_accept_state()
        os.remove(self.b)
        self.store.swap(self.store.load())
        made = Handshake(client, server)
        self.assertEqual(made.names, ["b.example"])
        self.assertEqual(Client().connect(self.store, b"b.example").names, ["a.example"])

    def test_files_come_and_go(self) -> None:
        """In a directory a new file is a change, and one that has gone."""
        self.file("c.pem", "c.example")
        self.assertTrue(self.store.changed())
        self.store.swap(self.store.load())
        self.assertEqual(Client().connect(self.store, b"c.example").names, ["c.example"])
        os.remove(self.b)
        self.assertTrue(self.store.changed())
        self.store.swap(self.store.load())
        self.assertEqual([one.source for one in self.store.certificates], [self.a, os.path.join(self.directory, "c.pem")])

    def test_same_size_and_time(self) -> None:
        """A file that is put in another's place is a change, even if it is as old and as long."""
        state = os.stat(self.a)
        with open(self.a, "rb") as file:
            write(self.a, file.read())
        os.utime(self.a, ns=(state.st_atime_ns, state.st_mtime_ns))
        self.assertTrue(self.store.changed())

    def test_written_in_place(self) -> None:
        """A file that was written over is a change, even if it was made to look as before."""
        state = os.stat(self.a)
        while os.stat(self.a).st_ctime_ns == state.st_ctime_ns:  # the file system's clock has coarse ticks
            with open(self.a, "r+b") as file:
                file.write(b"#")
            os.utime(self.a, ns=(state.st_atime_ns, state.st_mtime_ns))
        self.assertTrue(self.store.changed())

    def test_mistake(self) -> None:
        """Mistakes are told, and what is served stays; that they are there still is no further change."""
        write(self.b, b"nothing")
        write(self.a, pem(issued("a.example", not_after=datetime(2029, 1, 1, tzinfo=timezone.utc))))
        error = self.assertRaises(ConfigurationError, self.store.load)
        self.assertEqual(
            str(error).splitlines(),
            [
                f"certificate: {self.a!r} has expired, at 2029-01-01 00:00:00 UTC; give a newer one",
                f"certificate: {self.b!r} is no PEM file; give one with lines -----BEGIN CERTIFICATE-----",
            ],
        )
        self.assertFalse(self.store.changed())
        self.assertEqual(Client().connect(self.store, b"b.example").names, ["b.example"])
        self.file("a.pem", "a.example")
        self.assertTrue(self.store.changed())
        self.assertRaises(ConfigurationError, self.store.load)
        self.file("b.pem", "b.example", "more.example")
        self.store.swap(self.store.load())
        self.assertEqual(len(Client().connect(self.store, b"b.example").names), 2)

    def test_expired_meanwhile(self) -> None:
        """One that runs out while it is served does not keep others from being renewed."""
        self.file("b.pem", "b.example", not_after=datetime(2031, 1, 1, tzinfo=timezone.utc))
        self.store.swap(self.store.load())
        self.assertEqual(self.store.warnings, ())
        self.time = datetime(2032, 1, 1, tzinfo=timezone.utc).timestamp()
        self.file("a.pem", "a.example", "more.example")
        self.store.swap(self.store.load())
        self.assertEqual(len(self.store.default.names), 2)
        self.assertEqual(
            self.store.warnings, (f"certificate: {self.b!r} has expired, and is served on until there is a newer one",)
        )

    def test_gone_directory(self) -> None:
        """A directory that has gone is a mistake, and not no certificates."""
        os.rename(self.directory, f"{self.directory}.gone")
        self.assertTrue(self.store.changed())
        error = self.assertRaises(ConfigurationError, self.store.load)
        self.assertIn("No such file or directory", str(error))

    def test_relative(self) -> None:
        """A path stands for the same place wherever the process goes."""
        store = CertificateStore([os.path.relpath(self.a), os.path.relpath(self.directory)])
        self.assertEqual([one.source for one in store.certificates], [self.a, self.b])


class SettingTests(StoreTestCase):
    """Tests for what cannot be."""

    def mistakes(self, *args: Any, **kwargs: Any) -> list[str]:
        return str(self.assertRaises(ConfigurationError, CertificateStore, *args, **kwargs)).splitlines()

    def test_nothing_to_show(self) -> None:
        """A store has a certificate."""
        self.assertEqual(self.mistakes([]), ["certificate: [] was given; allowed is a list of paths"])
        self.assertEqual(self.mistakes("/x.pem"), ["certificate: '/x.pem' was given; allowed is a list of paths"])
        self.assertEqual(self.mistakes([""]), ["certificate: '' was given; allowed is a path"])

    def test_what_is_no_path(self) -> None:
        """A number is none, not even that of an open file, and all that is wrong is told at once."""
        self.assertEqual(self.mistakes(5), ["certificate: 5 was given; allowed is a list of paths"])
        self.assertEqual(
            self.mistakes([5, None, b"x"], default=0, client_ca=1),
            [
                *(f"certificate: {given!r} was given; allowed is a path" for given in (5, None, b"x")),
                "default-certificate: 0 was given; allowed is a path",
                "client-ca: 1 was given; allowed is a path",
            ],
        )
        self.assertIn("/nowhere.pem' cannot be read", self.mistakes([Path("/nowhere.pem")])[0])
        for protocols in ("http/1.1", ["http/1.1"], 5, [b""], []):
            (line,) = self.mistakes(["/x.pem"], protocols=protocols)
            self.assertEqual(line, f"protocols: {protocols!r} was given; allowed is a list of names, as bytes")

    def test_words(self) -> None:
        """Words are of those that there are, and all that is wrong is told at once."""
        self.assertEqual(
            self.mistakes(["/x"], profile="old", client_auth="maybe"),
            [
                "tls-profile: 'old' was given; allowed are intermediate and modern",
                "client-auth: 'maybe' was given; allowed are required and optional",
            ],
        )
        self.assertEqual(
            self.mistakes(["/x"], client_auth="optional"),
            ["client-auth: it was given without --client-ca; say whose certificates clients may have as well"],
        )

    def test_all_at_once(self) -> None:
        """Every mistake in every file is told, each with the option that it came by."""
        paths = [os.path.join(self.directory, name) for name in ("x.pem", "y.pem", "z.pem")]
        lines = self.mistakes(paths[:2], default=paths[2], client_ca=f"{self.directory}/ca.pem")
        self.assertEqual(
            [line.split(":")[0] for line in lines], ["client-ca", "certificate", "certificate", "default-certificate"]
        )
        for line in lines:
            self.assertIn("cannot be read: No such file or directory; give a PEM file that lbproxy may read", line)

    def test_nobody_can_ask_for_it(self) -> None:
        """A certificate without DNS names can be the default, and nothing else."""
        a, nameless = self.file("a.pem", "a.example"), self.file("ip.pem", "192.0.2.1", "2001:db8::1")
        (line,) = self.mistakes([a, nameless])
        self.assertIn(f"certificate: {nameless!r} is for no DNS name", line)
        store = CertificateStore([nameless, a])
        self.assertEqual(store.default.names, ("192.0.2.1", "2001:db8::1"))
        made = Client().connect(store, None)
        self.assertEqual(made.shown[0], parsed(issued("192.0.2.1", "2001:db8::1")))
