"""Promises about TLS with backends as a whole balancer sees it, and about what an operator says of it."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as some
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.errors import ConfigurationError
from lbproxy.tls.backends import BackendTls

from ..support import GET, OK, Peer, Rig, given, status
from .servers import LONG_AGO, Acceptor, authority, authority_file, certificate_file, issued, replace

A = "https://10.0.0.1:8000:verify-name=a.example"
B = "https://10.0.0.2:8000:verify-name=b.example"


class TlsServer:
    """A backend's end of a connection in memory."""

    def __init__(self, rig: Rig, acceptor: Acceptor) -> None:
        self._rig = rig
        self.peer: Peer = rig.accept()
        self.tls = acceptor.serverConnectionForTLS(None)
        self.tls.set_accept_state()
        self.received = b""
        self.pump()

    def pump(self) -> None:
        """Carry bytes to and fro until there are none."""
        for _ in range(20):
            data = self.peer.received()
            if data:
                self.tls.bio_write(data)
            try:
                self.received += self.tls.recv(1 << 16)
            except SSL.Error:
                pass
            try:
                self.peer.send(self.tls.bio_read(1 << 16))
            except SSL.WantReadError:
                pass
            self._rig.turn()

    def answer(self, data: bytes) -> None:
        """Send a response."""
        self.tls.send(data)
        self.pump()


class InMemory(SynchronousTestCase):
    """Where there is no socket, Twisted's TLS does the same."""

    def setUp(self) -> None:
        self.tls = BackendTls(ca=authority_file(self))

    def test_the_right_one_answers(self) -> None:
        """And keeps its connection for the next exchange."""
        rig = Rig(A, backend_tls=self.tls)
        client = rig.client()
        client.send(GET)
        backend = TlsServer(rig, Acceptor(issued("a.example")))
        for number in range(2):
            self.assertEqual(backend.received.count(b"GET / HTTP/1.1\r\n"), number + 1)
            backend.answer(OK)
            self.assertTrue(client.received().endswith(b"ok"))
            client.send(GET)
            backend.pump()
        self.assertEqual(rig.connects, [])


    def test_a_wrong_one_is_down_and_another_takes_over(self) -> None:
        """At once: what its certificate says it will say again. It was sent nothing, and the reason is its state's."""
        rig = Rig(f"{A},{B}", backend_tls=self.tls)
        client = rig.client()
        client.send(GET)
        wrong = TlsServer(rig, Acceptor(issued("c.example")))
        right = TlsServer(rig, Acceptor(issued("b.example")))
        right.answer(OK)
        self.assertTrue(client.received().endswith(b"ok"))
        self.assertEqual((wrong.received, rig.connects), (b"", []))
        member = rig.member()
        self.assertEqual((member.up, member.reason), (False, "tls: the certificate is for c.example, not for a.example"))

    def test_a_post_goes_on_too(self) -> None:
        """Nothing of it was sent to the wrong one."""
        rig = Rig(f"{A},{B}", backend_tls=self.tls)
        rig.client().send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        wrong = TlsServer(rig, Acceptor(issued("c.example")))
        right = TlsServer(rig, Acceptor(issued("b.example")))
        self.assertEqual((wrong.received, right.received[-5:]), (b"", b"hello"))

    def test_nobody_right_is_503(self) -> None:
        """With a hint at when to come again, as for those that cannot be connected to."""
        rig = Rig(A, backend_tls=self.tls)
        client = rig.client()
        client.send(GET)
        TlsServer(rig, Acceptor(issued("c.example")))
        self.assertEqual(status(client.received()), 503)

    def test_silence_in_the_handshake_ends(self) -> None:
        """With the time to connect."""
        rig = Rig(A, backend_tls=self.tls, connect_timeout=2)
        client = rig.client()
        client.send(GET)
        peer = rig.accept()
        rig.wait(3)
        self.assertEqual((status(client.received()), peer.aborted), (504, True))

    @given(some.lists(some.binary(max_size=200), max_size=5), some.booleans(), some.booleans())
    def test_nothing_ever_goes_out_in_the_clear(self, answers: list[bytes], verified: bool, hangs_up: bool) -> None:
        """Whatever the other side sends, or when it leaves: of a request there is nothing to be read."""
        backends = A if verified else "https://10.0.0.1:8000:verify=off"
        rig = Rig(backends, backend_tls=BackendTls() if not verified else self.tls, retries=1)
        client = rig.client()
        client.send(b"GET /secret HTTP/1.1\r\nHost: secret.example\r\nCookie: secret\r\n\r\n")
        sent = b""
        for _ in range(3):
            if not rig.connects:
                break
            connect = rig.connect()
            if connect.cancelled:
                continue
            peer = connect.accept()
            for answer in answers:
                peer.send(answer)
                rig.turn()
            if hangs_up:
                peer.hang_up()
            else:
                rig.wait(4)
            rig.turn()
            got = peer.received()
            self.assertEqual(got[:2], b"\x16\x03")  # a record of a TLS handshake
            sent += got
        self.assertNotIn(b"GET", sent)
        self.assertNotIn(b"ecret", sent)


class Renewed(SynchronousTestCase):
    """Files that are gone by from some moment on."""

    def setUp(self) -> None:
        self.ca = authority_file(self)
        self.tls = BackendTls(ca=self.ca)
        self.rig = Rig(A, backend_tls=self.tls)
        self.client = self.rig.client()
        self.client.send(GET)
        self.backend = TlsServer(self.rig, Acceptor(issued("a.example")))

    def renew(self, name: str = "ours") -> None:
        """Trust this authority alone."""
        replace(self.ca, authority(name).cert_pem)
        self.tls.swap(self.tls.load())

    def test_an_exchange_that_runs(self) -> None:
        """It is answered; its connection, made by the old ones, is used no more."""
        self.renew()
        self.backend.answer(OK)
        self.assertTrue(self.client.received().endswith(b"ok"))
        self.client.send(GET)
        TlsServer(self.rig, Acceptor(issued("a.example"))).answer(OK)
        self.assertTrue(self.client.received().endswith(b"ok"))
        self.assertEqual(self.backend.received.count(b"GET / HTTP/1.1\r\n"), 1)
        self.backend.pump()
        self.assertTrue(self.backend.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN)

    def test_a_kept_connection(self) -> None:
        """Nor is one that was idle: its backend may be vouched for by nobody who is trusted."""
        self.backend.answer(OK)
        self.client.received()
        self.renew("theirs")
        self.client.send(GET)
        TlsServer(self.rig, Acceptor(issued("a.example")))
        self.assertEqual(status(self.client.received()), 503)
        self.assertEqual(self.backend.received.count(b"GET / HTTP/1.1\r\n"), 1)
        self.assertIn("signed by no authority that is trusted here", self.rig.member().reason)

    def test_files_that_have_not_changed(self) -> None:
        """They take nothing away, however often they are read."""
        self.backend.answer(OK)
        self.client.received()
        self.tls.swap(self.tls.load())
        self.client.send(GET)
        self.backend.pump()
        self.assertEqual((self.backend.received.count(b"GET / HTTP/1.1\r\n"), self.rig.connects), (2, []))


class Said(SynchronousTestCase):
    """What is not verified is said."""

    def test_at_the_start(self) -> None:
        """In one line of the log, which names all of them."""
        rig = Rig(f"{A},https://10.0.0.2:8000:verify=off,10.0.0.3:8000,https://c:1:verify=off")
        events: list[Any] = []
        observe: Any = events.append
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        rig.balancer.start()
        (said,) = [event for event in events if "verify=off" in event.get("log_format", "")]
        self.assertEqual(said["log_level"].name, "warn")
        self.assertEqual((said["pool"], said["backends"]), ("default", "10.0.0.2:8000, c:1"))

    def test_of_one_that_comes_later(self) -> None:
        """When it comes, and of it alone."""
        rig = Rig("https://10.0.0.2:8000:verify=off")
        rig.balancer.start()
        events: list[Any] = []
        observe: Any = events.append
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        rig.pool.set_backends(parse_backends(["https://10.0.0.2:8000:verify=off,https://c:1:verify=off,d:1"]))
        self.assertEqual([event["backends"] for event in events if "verify=off" in event.get("log_format", "")], ["c:1"])

    def test_nothing_is_said_where_there_is_nothing_to_say(self) -> None:
        """All are verified, or speak no TLS."""
        rig = Rig(f"{A},10.0.0.3:8000")
        events: list[Any] = []
        observe: Any = events.append
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        rig.balancer.start()
        self.assertEqual([event for event in events if "verify=off" in event.get("log_format", "")], [])


class Files(SynchronousTestCase):
    """What the operator names is read at the start."""

    def problems(self, **given: str) -> list[str]:
        return str(self.assertRaises(ConfigurationError, BackendTls, **given)).splitlines()

    def file(self, data: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(data)
        return str(path)

    def test_what_cannot_be_read(self) -> None:
        """Each is one line, with the option, the file and the cause."""
        ours = certificate_file(self, issued("balancer.example"))
        old = certificate_file(
            self, issued("balancer.example", not_before=LONG_AGO, not_after=LONG_AGO.replace(year=2002))
        )
        for option, path, words in (
            ("ca", "/none.pem", "cannot be read: No such file"),
            ("ca", self.file(b"nothing"), "no certificate"),
            ("ca", self.file(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "damaged"),
            ("certificate", "/none.pem", "cannot be read: No such file"),
            ("certificate", authority_file(self), "key"),
            ("certificate", old, "2002"),
        ):
            (problem,) = self.problems(**{option: path})
            self.assertTrue(problem.startswith(f"backend-{option}: "), problem)
            self.assertIn(path, problem)
            self.assertIn(words, problem)
        self.assertEqual(len(self.problems(ca="/none.pem", certificate="/none.pem")), 2)
        self.assertIsNotNone(BackendTls(certificate=ours).context)

    def test_no_path(self) -> None:
        """It is no file's name, nor that of the directory that the process is in."""
        self.assertEqual(
            self.problems(ca="", certificate=""),
            ["backend-ca: '' was given; allowed is a path", "backend-certificate: '' was given; allowed is a path"],
        )

    def test_one_certificate_alone(self) -> None:
        """Of several nobody could know which is meant."""
        directory = Path(self.mktemp())
        directory.mkdir()
        for name in ("a.pem", "b.pem"):
            issued(name).private_key_and_cert_chain_pem.write_to_path(directory / name)
        (problem,) = self.problems(certificate=str(directory))
        self.assertIn("holds 2 certificates; give one", problem)

    def test_the_systems_authorities_are_read_when_they_are_needed(self) -> None:
        """A balancer without https backends never does."""
        with patch.object(SSL.Context, "set_default_verify_paths") as read:
            tls = BackendTls()
            tls.peer(Backend.parse("https://a:1"))
            read.assert_not_called()
            for _ in range(2):
                tls.peer(Backend.parse("https://a:1")).connect()
            read.assert_called_once_with()
            BackendTls(ca=authority_file(self))
            read.assert_called_once_with()


class Peers(SynchronousTestCase):
    """A backend as it is to be verified."""

    def setUp(self) -> None:
        self.tls = BackendTls(ca=authority_file(self))

    def test_it_makes_sessions_for_twisted(self) -> None:
        """As whatever takes such an object there wants it."""
        peer = self.tls.peer(Backend.parse("https://a.example:1"))
        verifyObject(IOpenSSLClientConnectionCreator, peer)
        connection = peer.clientConnectionForTLS(None)
        self.assertEqual(connection.get_servername(), b"a.example")
        self.assertIs(connection.get_context(), self.tls.context)

    def test_it_is_one_for_one_way_to_verify(self) -> None:
        """Whatever else is said of the backend."""
        first = self.tls.peer(Backend.parse("https://a:1"))
        self.assertIs(self.tls.peer(Backend.parse("https://a:1:weight=5:verify-name=a")), first)
        for other in ("https://a:2", "https://a:1:verify=off", "https://a:1:verify-name=b"):
            self.assertIsNot(self.tls.peer(Backend.parse(other)), first)

    def test_one_that_has_left_its_pool_is_forgotten(self) -> None:
        """However many come and go, there is something to be known of those alone that are there."""
        tls = BackendTls(ca=authority_file(self))
        rig = Rig(f"{A},{B}", backend_tls=tls)
        rig.balancer.start()
        stays, leaves = (tls.peer(Backend.parse(text)) for text in (A, B))
        rig.pool.set_backends(parse_backends([A]))
        self.assertIs(tls.peer(Backend.parse(A)), stays)
        self.assertIsNot(tls.peer(Backend.parse(B)), leaves)

    def test_for_whom_a_certificate_should_be_must_be_known(self) -> None:
        """Which is not, of an address that was given without https."""
        error = self.assertRaises(ConfigurationError, self.tls.prober, Backend.parse("10.0.0.1:80"))
        self.assertIn("give the backend as https:// with :verify-name=", str(error))
        self.tls.prober(Backend.parse("a.example:80"))


class Reads(SynchronousTestCase):
    """Files that are read anew."""

    def setUp(self) -> None:
        self.ca = authority_file(self)
        self.ours = certificate_file(self, issued("balancer.example"))
        self.time = datetime(2030, 1, 1, tzinfo=timezone.utc).timestamp()
        self.tls = BackendTls(ca=self.ca, certificate=self.ours, now=lambda: self.time)

    def test_nothing_has_changed(self) -> None:
        """Then what is loaded is what is in use, and nothing is forgotten for it."""
        peer = self.tls.peer(Backend.parse("https://a:1"))
        self.assertFalse(self.tls.changed())
        context = self.tls.context
        self.tls.swap(self.tls.load())
        self.assertIs(self.tls.context, context)
        self.assertIs(self.tls.peer(Backend.parse("https://a:1")), peer)

    def test_each_file(self) -> None:
        """A change in either is one; it is in use from the swap on, and not before."""
        for path, blob in (
            (self.ca, authority("theirs").cert_pem),
            (self.ours, issued("new.example").private_key_and_cert_chain_pem),
        ):
            context, peer = self.tls.context, self.tls.peer(Backend.parse("https://a:1"))
            replace(path, blob)
            self.assertTrue(self.tls.changed())
            loaded = self.tls.load()
            self.assertFalse(self.tls.changed())
            self.assertIs(self.tls.context, context)
            self.tls.swap(loaded)
            self.assertIsNot(self.tls.context, context)
            self.assertIsNot(self.tls.peer(Backend.parse("https://a:1")), peer)
        self.assertEqual([one.names for one in self.tls.certificates], [("new.example",)])

    def test_a_mistake(self) -> None:
        """Each is told, and what is in use stays; that they are there still is no further change."""
        before, shown = self.tls.context, self.tls.certificates
        Path(self.ca).write_text("nothing")
        Path(self.ours).write_text("nothing")
        error = self.assertRaises(ConfigurationError, self.tls.load)
        self.assertEqual([line.split(":")[0] for line in str(error).splitlines()], ["backend-ca", "backend-certificate"])
        self.assertFalse(self.tls.changed())
        self.assertIs(self.tls.context, before)
        self.assertEqual(self.tls.certificates, shown)

    def test_expired_meanwhile(self) -> None:
        """Our certificate's end does not keep new authorities from being trusted."""
        soon = issued("balancer.example", not_after=datetime(2031, 1, 1, tzinfo=timezone.utc))
        replace(self.ours, soon.private_key_and_cert_chain_pem)
        self.tls.swap(self.tls.load())
        self.time = datetime(2032, 1, 1, tzinfo=timezone.utc).timestamp()
        replace(self.ca, authority("theirs").cert_pem)
        context = self.tls.context
        self.tls.swap(self.tls.load())
        self.assertIsNot(self.tls.context, context)
        self.assertEqual(len(self.tls.certificates), 1)

    def test_relative(self) -> None:
        """A path stands for the same place wherever the process goes."""
        tls = BackendTls(ca=os.path.relpath(self.ca), certificate=os.path.relpath(self.ours))
        self.assertEqual(tls.files.ca, os.path.abspath(self.ca))
        self.assertEqual([one.source for one in tls.certificates], [os.path.abspath(self.ours)])

    def test_no_files(self) -> None:
        """There is nothing that could change, or be shown."""
        tls = BackendTls()
        self.assertEqual((bool(tls.files), tls.changed(), tls.certificates), (False, False, ()))

    def test_one_that_was_made_for_what_is_no_more(self) -> None:
        """Whoever has it still connects by what is in use now, and leaves no session behind."""
        peer = self.tls.peer(Backend.parse("https://a:1"))
        replace(self.ca, authority("theirs").cert_pem)
        self.tls.swap(self.tls.load())
        self.assertIs(peer.connect().get_context(), self.tls.context)
        self.assertTrue(peer.retired)
