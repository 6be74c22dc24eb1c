"""Where backends may be and where clients may connect: Unix sockets, IPv6, names, TLS."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SkipTest

from .support import LOOPBACK, PATIENCE, IntegrationTestCase, LoadBalancer, ask, free_port, read_all, send, settled


def require_ipv6() -> None:
    """Skip the test where there is no IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        raise SkipTest("this machine has no IPv6 loopback address") from None


class BackendAddressTests(IntegrationTestCase):
    """Kinds of backends."""

    def test_a_unix_socket(self) -> None:
        """It is balanced, probed and shown like any other."""
        backend = self.backend("u", f"unix:{self.folder}/backend.sock")
        balancer = self.balancer("--probe-interval", "0.5", backends=[backend])
        for _ in range(3):
            self.assertEqual(ask(balancer.port, "/", "POST", b"x").json()["name"], "u")
        self.assertEqual(balancer.of(backend)["state"], "up")
        backend.stop()
        balancer.wait_state(backend, "down")
        self.assertAnswered(ask(balancer.port), 503)
        (self.folder / "backend.sock").unlink()
        backend.start()
        balancer.wait_state(backend, "up")
        self.assertAnswered(ask(balancer.port))

    def test_an_ipv6_address(self) -> None:
        """In brackets, as in a URL."""
        require_ipv6()
        backend = self.backend("six", f"[::1]:{free_port()}")
        balancer = self.balancer(backends=[backend])
        self.assertEqual(ask(balancer.port).backend, "six")
        self.assertEqual(balancer.of(backend)["state"], "up")

    def test_a_host_name(self) -> None:
        """It is resolved."""
        port = free_port()
        backend = self.backend("n", f"{LOOPBACK}:{port}")
        balancer = self.balancer(backends=[f"localhost:{port}"])
        self.assertEqual(ask(balancer.port).backend, "n")
        self.assertEqual(balancer.pool()["backends"][0]["address"], f"localhost:{port}")
        self.assertEqual(balancer.pool()["backends"][0]["state"], "up")
        self.assertEqual(len(backend.seen()["requests"]), 1)

    def test_a_host_name_that_does_not_exist(self) -> None:
        """It is a backend that is down, and why is said; the others serve."""
        good = self.backend()
        balancer = self.balancer(backends=[good, "nowhere.invalid:80"])
        about = balancer.pool()["backends"][1]
        self.assertEqual((about["state"], about["address"]), ("down", "nowhere.invalid:80"))
        self.assertTrue(about["reason"])
        for _ in range(4):
            self.assertEqual(ask(balancer.port).backend, "a")

    def test_all_kinds_at_once(self) -> None:
        """As a URL, with and without options, from several lists."""
        require_ipv6()
        plain, six = self.backend("p"), self.backend("s", f"[::1]:{free_port()}")
        unix = self.backend("u", f"unix:{self.folder}/u.sock")
        balancer = self.balancer(
            "--backends", f"{unix.place}:weight=2", "-b", six.place, backends=[f"http://{plain.place}:weight=3"]
        )
        self.assertEqual(sorted(ask(balancer.port).backend for _ in range(12)), ["p"] * 6 + ["s"] * 2 + ["u"] * 4)


class ListenerTests(IntegrationTestCase):
    """Kinds of listeners."""

    def test_several_at_once(self) -> None:
        """A Unix socket and an IPv6 address beside the usual one; each client is named to the backend as far as known."""
        require_ipv6()
        path, port = self.folder / "listen.sock", free_port()
        balancer = self.balancer(
            "--listen", f"unix:{path}", "--listen", f"tcp6:{port}:interface=\\:\\:1", backends=[self.backend()]
        )
        told = {}
        for name, family, address in (("unix", socket.AF_UNIX, str(path)), ("six", socket.AF_INET6, ("::1", port))):
            with socket.socket(family) as client:
                client.settimeout(PATIENCE)
                client.connect(address)
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                told[name] = dict(json.loads(read_all(client).partition(b"\r\n\r\n")[2])["fields"])["X-Forwarded-For"]
        self.assertEqual(told["six"], "::1")
        self.assertIn("unix", told["unix"])
        self.assertAnswered(ask(balancer.port))

    def test_tls(self) -> None:
        """Through Twisted's own description of a TLS endpoint; the backend is told that the client came over it."""
        balancer, context = self.tls_balancer()
        connection = http.client.HTTPSConnection(LOOPBACK, balancer.port, timeout=PATIENCE, context=context)
        self.addCleanup(connection.close)
        for _ in range(2):
            about = send(connection).json()
            self.assertEqual(dict(about["fields"])["X-Forwarded-Proto"], "https")
        self.assertEqual(len(send(connection, "/big?size=3000000").body), 3_000_000)
        self.assertEqual(send(connection, "/", "POST", b"x" * 3_000_000).json()["size"], 3_000_000)
        with self.assertRaises((http.client.IncompleteRead, OSError)):
            send(connection, "/cut?how=sized")
        self.assertEqual(balancer.pool()["ends"], {"done": 4, "truncated": 1})

    def test_tls_bodies_ended_by_the_connection(self) -> None:
        """What has no other end is ended by TLS's own closure alert, which nobody between can forge."""
        balancer, context = self.tls_balancer()
        for request in (b"GET /drip HTTP/1.0\r\n\r\n", b"GET /drip HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
            self.assertIn(b"part 2\n", self.read_to_closure(balancer, context, request))

    def test_tls_refusals_end_with_a_closure_alert(self) -> None:
        """An answer of our own that ends the connection is followed by TLS's proper end, as over TCP by FIN."""
        balancer, context = self.tls_balancer()
        self.assertIn(b" 400 ", self.read_to_closure(balancer, context, b"GET / HTTP/1.1\r\n\r\n"))

    def read_to_closure(self, balancer: LoadBalancer, context: ssl.SSLContext, request: bytes) -> bytes:
        """What comes until the closure alert; its lack is an error."""
        connected = self.socket(balancer.port)
        with context.wrap_socket(connected, server_hostname=LOOPBACK, suppress_ragged_eofs=False) as client:
            client.sendall(request)
            return read_all(client)

    def test_tls_with_a_slow_reader(self) -> None:
        """Over TLS too, a client that does not read holds its backend up, and not the balancer's memory."""
        balancer, context = self.tls_balancer()
        before, size = balancer.process.rss(), 64 << 20
        client = context.wrap_socket(self.socket(balancer.port, receive_buffer=64 * 1024), server_hostname=LOOPBACK)
        self.addCleanup(client.close)
        client.sendall(b"GET /big?size=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % size)
        self.assertIn(b" 200 ", client.recv(100))
        self.assertLess(settled(lambda: self.tls_backend.seen()["sent"]), size, "the backend was not held up")
        self.assertLess(balancer.process.rss() - before, 16 << 20)
        got = 0
        while part := client.recv(1 << 20):
            got += len(part)
        self.assertGreater(got, size)
        self.assertLess(balancer.process.rss() - before, 16 << 20)

    def tls_balancer(self) -> tuple[LoadBalancer, ssl.SSLContext]:
        """A balancer with a TLS listener, and what its clients trust."""
        key, certificate = self_signed(self.folder)
        self.tls_backend = self.backend()
        listen = f"ssl:{{port}}:interface={LOOPBACK}:privateKey={key}:certKey={certificate}"
        balancer = self.balancer(backends=[self.tls_backend], listen=listen)
        return balancer, ssl.create_default_context(cafile=str(certificate))


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1: the paths of its key and of itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lbproxy test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "key.pem", folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    unencrypted = serialization.NoEncryption()
    paths[0].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted))
    paths[1].write_bytes(certificate.public_bytes(pem))
    return paths
