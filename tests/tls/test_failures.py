"""Promises about what a failed handshake is called."""

from __future__ import annotations

from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.tls.failures import CAUSES, HandshakeFailed, forget_errors, handshake_failed

from .sessions import Acceptor, authority, server_context


def shake(server: SSL.Context, client: SSL.Context) -> HandshakeFailed | None:
    """What becomes of a handshake, as the server has it."""
    near, far = SSL.Connection(server, None), SSL.Connection(client, None)
    near.set_accept_state()
    far.set_connect_state()
    for _ in range(10):
        for one, other in ((far, near), (near, far)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            except Exception as error:
                if one is near:
                    return handshake_failed(error)
            try:
                other.bio_write(one.bio_read(1 << 16))
            except SSL.WantReadError:
                pass
    return None


class Causes(SynchronousTestCase):
    """From OpenSSL's words to ours."""

    def cause(self, server: SSL.Context, client: SSL.Context) -> str:
        failed = shake(server, client)
        assert failed is not None
        self.assertIn(failed.cause, CAUSES)
        return failed.cause

    def test_no_common_protocol(self) -> None:
        """Where the store refuses it by an error of its own, and where by an alert of OpenSSL's."""

        def refuse(connection: SSL.Connection, offered: list[bytes]) -> Any:
            raise HandshakeFailed("alpn", "none of the protocols is spoken here")

        server, client = server_context(), SSL.Context(SSL.TLS_METHOD)
        server.set_alpn_select_callback(refuse)
        client.set_alpn_protos([b"ftp"])
        self.assertEqual(self.cause(server, client), "alpn")

    def test_a_client_without_a_certificate(self) -> None:
        """Or with one that nobody known has signed."""
        for certificate in (None, trustme.CA().issue_cert("c.example"), trustme.CA().issue_cert("d.example")):
            server, client = server_context(), SSL.Context(SSL.TLS_METHOD)
            authority().configure_trust(server)
            server.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, None)
            if certificate is not None:
                certificate.configure_cert(client)
            self.assertEqual(self.cause(server, client), "client-certificate")

    def test_nothing_to_show(self) -> None:
        """A context without a certificate has no cipher in common with anybody."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            client = SSL.Context(SSL.TLS_METHOD)
            client.set_max_proto_version(version)
            self.assertEqual(self.cause(SSL.Context(SSL.TLS_SERVER_METHOD), client), "cipher")

    def test_an_old_version(self) -> None:
        """Ours are newer than all of the client's."""
        server, client = server_context(), SSL.Context(SSL.TLS_METHOD)
        server.set_min_proto_version(SSL.TLS1_3_VERSION)
        client.set_max_proto_version(SSL.TLS1_2_VERSION)
        self.assertEqual(self.cause(server, client), "version")

    def test_words_that_are_no_hello(self) -> None:
        """HTTP of the commonest methods is known by itself."""
        for words, cause in (
            (b"GET / HTTP/1.1\r\n\r\n", "plain-http"),
            (b"POST / HTTP/1.1\r\n\r\n", "plain-http"),
            (b"CONNECT a:1 HTTP/1.1\r\n\r\n", "plain-http"),
            (b"SSH-2.0-x\r\n", "not-tls"),
            (b"\x16\x03\x01\xff\xff" + bytes(100), "not-tls"),
            (b"\x17\x03\x03\x00\x10" + bytes(16), "not-tls"),
        ):
            session = Acceptor().serverConnectionForTLS(None)
            session.set_accept_state()
            session.bio_write(words)
            error = self.assertRaises(SSL.Error, session.do_handshake)
            self.assertEqual(handshake_failed(error).cause, cause, words)

    def test_an_end(self) -> None:
        """Whoever tells of it."""
        ends: tuple[Any, ...] = (SSL.SysCallError(-1, "Unexpected EOF"), SSL.ZeroReturnError())
        for error in (*ends, ConnectionDone(), ConnectionLost(), ConnectionAborted()):
            self.assertEqual(handshake_failed(error).cause, "closed", error)

    def test_whatever_else(self) -> None:
        """It has a name too, and words for people."""
        for error in (None, ValueError("odd"), SSL.Error(), SSL.Error([("", "", "decryption failed or bad record mac")])):
            failed = handshake_failed(error)
            self.assertEqual(failed.cause, "other")
            self.assertTrue(str(failed))

    def test_one_that_has_been_told_is_passed_on(self) -> None:
        """Without the frames through which it came, which would know it in turn."""
        try:
            raise HandshakeFailed("name", "nobody is called that")
        except HandshakeFailed as error:
            failed = handshake_failed(error)
        self.assertEqual((failed.cause, failed.__traceback__), ("name", None))

    def test_errors_are_forgotten(self) -> None:
        """And there need not be any."""
        forget_errors()
        forget_errors()
