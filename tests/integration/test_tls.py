"""Over TLS: what real clients get, OpenSSL's own, curl and Python's."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
from typing import Any
from unittest import SkipTest

from .certificates import authority, certificate, write
from .support import LOOPBACK, PATIENCE, Answer, IntegrationTestCase, eventually, read_all, send


def program(name: str) -> str:
    """Where a program is; skips the test where it is missing."""
    found = shutil.which(name)
    if found is None:
        raise SkipTest(f"{name} is not installed")
    return found


class TlsCase(IntegrationTestCase):
    """A balancer with certificates for ``localhost``, ``shop.example`` (RSA and ECDSA) and ``*.shop.example``."""

    #: What else it is told.
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.app = self.backends("a")[0]
        self.ca = write(self.folder, "ca.pem", authority().cert_pem)
        localhost = certificate("localhost", "127.0.0.1")
        paths = [
            self.pem("localhost.pem", localhost),
            self.pem("shop-rsa.pem", certificate("shop.example", key_type="rsa")),
            self.pem("shop-ecdsa.pem", certificate("shop.example")),
            self.pem("wild.pem", certificate("*.shop.example")),
        ]
        given = [word for path in paths for word in ("--certificate", path)]
        listening = ("--tls-listen", "tcp:{tls_port}:interface=127.0.0.1")
        self.lb = self.balancer(*listening, *given, *self.more(), backends=[self.app])

    def more(self) -> tuple[str, ...]:
        """Further options."""
        return self.options

    def pem(self, name: str, made: object) -> str:
        """A key and its certificates in one file."""
        return write(self.folder, name, made.private_key_and_cert_chain_pem)  # type: ignore[attr-defined]

    def context(self) -> ssl.SSLContext:
        """A client's, which trusts the authority."""
        return ssl.create_default_context(cafile=self.ca)

    def connect(self, name: str | None = "localhost", context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A client that has shaken hands; without a name it asks for none."""
        context = context or self.context()
        if name is None:
            context.check_hostname = False
        plain = socket.create_connection((LOOPBACK, self.lb.tls_port), timeout=PATIENCE)
        secure = context.wrap_socket(plain, server_hostname=name)
        self.addCleanup(secure.close)
        return secure

    def ask(self, secure: ssl.SSLSocket, path: str = "/", **fields: str) -> Answer:
        """One request and its answer."""
        connection = http.client.HTTPSConnection("localhost")
        connection.sock = secure
        return send(connection, path, "GET", None, **fields)

    def names(self, secure: ssl.SSLSocket) -> set[str]:
        """For which names the certificate is that was shown."""
        shown: Any = secure.getpeercert()
        return {value for kind, value in shown["subjectAltName"] if kind == "DNS"}

    def s_client(self, *options: str, ending: bytes = b"") -> str:
        """What ``openssl s_client`` prints."""
        command = [program("openssl"), "s_client", "-connect", f"{LOOPBACK}:{self.lb.tls_port}", "-CAfile", self.ca]
        done = subprocess.run([*command, *options], input=ending, capture_output=True, timeout=PATIENCE, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")


class NameTests(TlsCase):
    """Which certificate a client is shown."""

    def test_each_name_has_its_own(self) -> None:
        """The exact name, then the wildcard for one level, and otherwise the first; case and a last dot mean nothing."""
        lax = self.context()
        lax.check_hostname = False
        for asked, shown in (
            ("localhost", "localhost"),
            ("shop.example", "shop.example"),
            ("SHOP.example", "shop.example"),
            ("www.shop.example", "*.shop.example"),
            ("a.www.shop.example", "localhost"),
            ("unknown.example", "localhost"),
            (None, "localhost"),
        ):
            secure = self.connect(asked, lax)
            self.assertEqual(self.names(secure), {shown}, asked)
            self.assertEqual(self.ask(secure).backend, self.app.name)

    def test_both_kinds_of_key(self) -> None:
        """A client that can only verify RSA gets that certificate, all others ECDSA's."""
        for suite in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
            printed = self.s_client("-servername", "shop.example", "-tls1_2", "-cipher", suite)
            self.assertIn("Verify return code: 0 (ok)", printed)
            self.assertIn(f"Cipher is {suite}", printed)

    def test_curl(self) -> None:
        """curl verifies, and says that it speaks HTTP/1.1 by ALPN although it would rather speak HTTP/2."""
        url = f"https://shop.example:{self.lb.tls_port}/"
        command = [program("curl"), "-sv", "--cacert", self.ca, "--connect-to", f"::{LOOPBACK}:", "--http2", url]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True, text=True)
        self.assertIn("HTTP/1.1 200 OK", done.stderr)
        self.assertIn("SSL certificate verify ok", done.stderr)


class VersionTests(TlsCase):
    """What is spoken."""

    def test_tls_1_2_and_1_3(self) -> None:
        """Both are taken."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context()
            context.minimum_version = context.maximum_version = version
            secure = self.connect(context=context)
            self.assertEqual(secure.version(), version.name.replace("v1_", "v1."))
            self.assertEqual(self.ask(secure).status, 200)

    def test_tls_1_1_is_refused(self) -> None:
        """Even by a client that would take any suite; it is counted."""
        printed = self.s_client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.assertIn("alert protocol version", printed)
        failed = self.lb.metrics()
        self.assertEqual(failed("lbproxy_frontend_tls_handshakes_failed_total", cause="version"), 1)

    def test_renegotiation_is_refused(self) -> None:
        """OpenSSL's client asks for it with an R on a line of its own."""
        printed = self.s_client("-tls1_2", ending=b"R\n")
        self.assertIn("no renegotiation", printed.lower())

    def test_plain_http_is_told_so(self) -> None:
        """In the clear, since nothing else would be understood."""
        with socket.create_connection((LOOPBACK, self.lb.tls_port), timeout=PATIENCE) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = read_all(plain)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        self.assertIn(b"https", answer)


class ResumptionTests(TlsCase):
    """A client that was here before."""

    def test_sessions_are_resumed(self) -> None:
        """In TLS 1.2 and 1.3, by tickets, also for another name's certificate than the first."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for name in ("localhost", "shop.example"):
                context = self.context()
                context.minimum_version = context.maximum_version = version
                first = self.connect(name, context)
                self.assertEqual(self.ask(first).status, 200)  # the tickets of TLS 1.3 come with it
                plain = socket.create_connection((LOOPBACK, self.lb.tls_port), timeout=PATIENCE)
                again = context.wrap_socket(plain, server_hostname=name, session=first.session)
                self.addCleanup(again.close)
                self.assertTrue(again.session_reused, (version, name))
                self.assertEqual(self.ask(again).status, 200)


class HeaderTests(TlsCase):
    """What backends and clients are told."""

    options = (
        *("--hsts", "31536000", "--redirect-to-https", "--forwarded"),
        *("--access-log", "access", "--access-log-format", "json"),
    )

    def test_backends_hear_of_https(self) -> None:
        """In X-Forwarded-Proto and Forwarded."""
        seen = self.ask(self.connect()).json()["fields"]
        self.assertEqual(dict(seen)["X-Forwarded-Proto"], "https")
        self.assertIn("proto=https", dict(seen)["Forwarded"])

    def test_the_log_tells_who_came_so(self) -> None:
        """Of the listeners, at the start; of each exchange, in the JSON access log."""
        self.assertIn(f"tcp:{self.lb.tls_port}:interface=127.0.0.1 (TLS)", self.lb.process.output)
        self.assertEqual(self.ask(self.connect()).status, 200)
        self.assertIn('"scheme":"https"', eventually("a line in the log", lambda: (self.folder / "access").read_text()))

    def test_browsers_are_told_to_stay(self) -> None:
        """Strict-Transport-Security stands in answers over TLS, and only in those."""
        self.assertEqual(self.ask(self.connect()).headers["Strict-Transport-Security"], "max-age=31536000")

    def test_the_plain_listener_sends_them_here(self) -> None:
        """With 308, so that a POST stays one; no backend is asked."""
        connection = http.client.HTTPConnection(LOOPBACK, self.lb.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        answer = send(connection, "/cart?x=1", "POST", b"body", Host="shop.example")
        self.assertEqual(answer.status, 308)
        self.assertEqual(answer.headers["Location"], "https://shop.example/cart?x=1")
        self.assertIsNone(answer.headers["Strict-Transport-Security"])
        self.assertEqual(self.app.seen()["requests"], [])


class UnknownNameTests(TlsCase):
    """Who asks for nobody here."""

    options = ("--reject-unknown-names",)

    def test_the_handshake_ends(self) -> None:
        """For another name and for none, and it is counted; those that are known are served."""
        lax = self.context()
        lax.check_hostname = False
        for asked in ("unknown.example", "a.b.shop.example", None):
            self.assertRaises(ssl.SSLError, self.connect, asked, lax)
        self.assertEqual(self.ask(self.connect("www.shop.example")).status, 200)
        counted = self.lb.metrics()
        self.assertEqual(counted("lbproxy_frontend_tls_handshakes_failed_total", cause="name"), 3)
        self.assertEqual(counted("lbproxy_frontend_tls_handshakes_total"), 1)


class ClientCertificateTests(TlsCase):
    """Who must show one."""

    def more(self) -> tuple[str, ...]:
        return ("--client-ca", write(self.folder, "clients.pem", authority("clients").cert_pem), "--client-auth", "optional")

    def client(self, signed_by: str) -> ssl.SSLContext:
        """A client that has a certificate."""
        context = self.context()
        made = certificate("ann@example.com", signed_by=signed_by, common_name="Ann")
        context.load_cert_chain(self.pem(f"{signed_by}-client.pem", made))
        return context

    def test_the_backend_is_told(self) -> None:
        """Who it is, on a full handshake and on a resumed one; nobody can say it of themselves."""
        context = self.client("clients")
        first = self.connect(context=context)
        seen = dict(self.ask(first, X_SSL_Client_Verify="NONE").json()["fields"])
        self.assertEqual(seen["X-SSL-Client-Verify"], "SUCCESS")
        self.assertIn("CN=Ann", seen["X-SSL-Client-S-DN"])
        self.assertIn("email:ann@example.com", seen["X-SSL-Client-SAN"])
        self.assertRegex(seen["X-SSL-Client-SHA256"], "^[0-9a-f]{64}$")
        plain = socket.create_connection((LOOPBACK, self.lb.tls_port), timeout=PATIENCE)
        again = context.wrap_socket(plain, server_hostname="localhost", session=first.session)
        self.addCleanup(again.close)
        self.assertTrue(again.session_reused)
        self.assertEqual(dict(self.ask(again).json()["fields"])["X-SSL-Client-SHA256"], seen["X-SSL-Client-SHA256"])

    def test_none_is_said_to_be_none(self) -> None:
        """A client without one is let in, and cannot pretend."""
        forged = {"X_SSL_Client_Verify": "SUCCESS", "X_SSL_Client_S_DN": "CN=Ann"}
        seen = dict(self.ask(self.connect(), **forged).json()["fields"])
        self.assertEqual(seen["X-SSL-Client-Verify"], "NONE")
        self.assertNotIn("X-SSL-Client-S-DN", seen)

    def test_a_strangers_is_refused(self) -> None:
        """One that another authority has signed ends the handshake, and is counted."""
        secure = self.connect(context=self.client("strangers"))
        self.assertRaises((ssl.SSLError, ConnectionError, http.client.BadStatusLine), self.ask, secure)
        counted = self.lb.metrics()
        self.assertEqual(counted("lbproxy_frontend_tls_handshakes_failed_total", cause="client-certificate"), 1)
