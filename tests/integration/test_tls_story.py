"""Over TLS on both sides: what is promised of connections in the clear holds as well."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .backend import BLOCK, REFUSAL, pattern
from .certificates import authority, certificate, write
from .support import (
    LOOPBACK,
    PATIENCE,
    Answer,
    IntegrationTestCase,
    LoadBalancer,
    Process,
    ask,
    eventually,
    fields,
    free_port,
    read_all,
    read_exactly,
    read_head,
    send,
    settled,
)
from .test_proxy_protocol import version_2
from .tls_socket import TlsSocket

MIB = 1 << 20
#: More than all the kernel's buffers on the way can hold.
TOO_MUCH = 64 * MIB
#: What the balancer's memory may grow by meanwhile.
ROOM = 16 * MIB
DIGEST = hashlib.sha256(b"".join(pattern(TOO_MUCH))).hexdigest()
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"


class StoryCase(IntegrationTestCase):
    """A backend and a listener that speak TLS, with certificates for ``localhost``."""

    #: What else the balancer is told.
    options: tuple[str, ...] = ()
    #: Of the listener for TLS.
    tls_listen = f"tcp:{{tls_port}}:interface={LOOPBACK}"

    def setUp(self) -> None:
        super().setUp()
        self.ca = write(self.folder, "ca.pem", authority().cert_pem)
        self.pem = write(self.folder, "localhost.pem", certificate("localhost").private_key_and_cert_chain_pem)
        self.context = ssl.create_default_context(cafile=self.ca)
        self.app = self.backend("a", None, self.pem)
        self.lb = self.start()

    def start(self, *more: str, backends: list[Any] | None = None) -> LoadBalancer:
        """A balancer."""
        tls = ("--tls-listen", self.tls_listen, "--certificate", self.pem, "--backend-ca", self.ca)
        return self.balancer(*tls, *self.options, *more, backends=[self.app] if backends is None else backends)

    def secure(
        self, receive_buffer: int = 0, ahead: bytes = b"", session: Any = None, context: ssl.SSLContext | None = None
    ) -> TlsSocket:
        """A client that has shaken hands.

        :param ahead: is sent before.
        """
        plain = self.socket(self.lb.tls_port, receive_buffer)
        plain.sendall(ahead)
        return TlsSocket.connect(plain, context or self.context, session=session)

    def https(self, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        """A client whose connection is kept."""
        connection = http.client.HTTPSConnection("localhost", self.lb.tls_port, timeout=PATIENCE, context=context or self.context)
        self.addCleanup(connection.close)
        return connection

    def assertNothingLeft(self) -> None:
        """No exchange and no connection of a client."""

        def left() -> bool:
            status = self.lb.admin("/status").json()
            return bool(status["pools"][0]["in_flight"] or status["connections"]["open"])

        eventually("all is over", lambda: not left())


class TunnelTests(StoryCase):
    """Upgrades; the end of one half of a tunnel is that of one half of a session."""

    def tunnel(self, how: str = "echo", receive_buffer: int = 0, ahead: bytes = b"") -> TlsSocket:
        """A client's end, behind the 101."""
        client = self.secure(receive_buffer)
        client.sendall(b"GET /tunnel?how=%b HTTP/1.1\r\n%b%b" % (how.encode(), UPGRADE, ahead))
        self.assertTrue(read_head(client).startswith(b"HTTP/1.1 101 "))  # type: ignore[arg-type]
        return client

    def test_a_clients_half_close(self) -> None:
        """The backend learns of it, and what it says then still comes, and the session's end after it."""
        for ahead in (b"", b"\xff" * 200_000):
            client = self.tunnel(ahead=ahead)
            client.sendall(b"last words, ")
            client.end()
            self.assertTrue(read_all(client) == ahead + b"last words, the end")  # type: ignore[arg-type]
        self.assertNothingLeft()
        self.assertEqual(self.lb.pool()["ends"], {"done": 2})

    def test_a_backends_half_close(self) -> None:
        """The client learns of it, and what it says then still arrives."""
        client = self.tunnel("half")
        self.assertEqual(read_all(client), b"hello")  # type: ignore[arg-type]
        client.sendall(b"x" * MIB)
        client.end()
        eventually("all has arrived", lambda: self.app.seen()["received"] == MIB)
        self.assertNothingLeft()
        self.assertEqual(self.lb.pool()["ends"], {"done": 1})

    def test_a_backends_reset(self) -> None:
        """Ends the client's connection, after what was said before."""
        client = self.tunnel("reset")
        self.assertEqual(read_exactly(client, 5), b"hello")  # type: ignore[arg-type]
        self.app.direct("/step")
        try:
            self.assertEqual(client.recv(1), b"")
        except OSError:
            pass  # it may be told so
        self.assertNothingLeft()
        self.assertEqual(self.lb.pool()["ends"], {"truncated": 1})

    def test_a_client_that_is_reset(self) -> None:
        """Ends the backend's, after what was said before."""
        client = self.tunnel("half")
        client.sendall(b"said")
        eventually("it has arrived", lambda: self.app.seen()["received"] == 4)
        client.reset()
        eventually("the backend's end is over", lambda: not self.app.seen()["tunnels"])
        self.assertNothingLeft()

    def test_a_client_that_does_not_read(self) -> None:
        """Holds the backend back; memory stays bounded, and then all of it comes, and the session's end."""
        before = self.lb.process.rss()
        client = self.tunnel(f"flood&size={TOO_MUCH}", receive_buffer=64 * 1024)
        self.assertLess(settled(lambda: self.app.seen()["sent"]), TOO_MUCH, "the backend was not held up")
        self.assertLess(self.lb.process.rss() - before, ROOM)
        digest = hashlib.sha256()
        while part := client.recv(len(BLOCK)):
            digest.update(part)
        self.assertEqual(digest.hexdigest(), DIGEST)
        self.assertLess(self.lb.process.rss() - before, ROOM)

    def test_both_ways_at_once(self) -> None:
        """A client that sends and reads at the same time gets back what it has sent."""
        client, size = self.tunnel(), 16 * MIB

        def fill() -> None:
            for block in pattern(size):
                client.sendall(block)
            client.end()

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        digest = hashlib.sha256()
        while part := client.recv(len(BLOCK)):
            digest.update(part)
        self.assertEqual(digest.hexdigest(), hashlib.sha256(b"".join(pattern(size)) + b"the end").hexdigest())


class WebSocketTests(StoryCase):
    """WebSocket, with a client and a server that nobody here wrote."""

    def setUp(self) -> None:
        super().setUp()
        self.server_port = free_port()
        server = Path(__file__).with_name("websocket_server.py")
        self.server = Process(self, [sys.executable, str(server), str(self.server_port), self.pem])
        eventually("the WebSocket server listens", lambda: self.server.ended or listens(self.server_port))
        self.assertFalse(self.server.ended, self.server.output)
        place = f"https://{LOOPBACK}:{self.server_port}:verify-name=localhost"
        self.lb = self.start("--probe-interval", "60", backends=[place])

    def connect(self, path: str = "/") -> ClientConnection:
        """A client that has shaken hands."""
        client = connect(
            f"wss://localhost:{self.lb.tls_port}{path}", ssl=self.context, sock=self.socket(self.lb.tls_port), max_size=None,
            compression=None, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE,
        )  # fmt: skip
        self.addCleanup(client.close)
        return client

    def test_messages_of_all_sizes(self) -> None:
        """Both ways, with pings, and the end with its code and reason from either side."""
        client = self.connect()
        for message in ("text, äöü", b"\0\1binary", "", os.urandom(70_000), os.urandom(4 * MIB), "last"):
            client.send(message)
            self.assertTrue(client.recv(PATIENCE) == message)
        self.assertTrue(client.ping(b"are you there").wait(PATIENCE), "the pong came")
        client.close(4000, "thanks")
        self.assertEqual((client.protocol.close_code, client.protocol.close_reason), (4000, "thanks"))
        client = self.connect("/leave")
        client.send("one")
        self.assertEqual(client.recv(PATIENCE), "one")
        with self.assertRaises(ConnectionClosed) as closed:
            client.recv(PATIENCE)
        self.assertEqual((closed.exception.rcvd.code, closed.exception.rcvd.reason), (4001, "enough"))
        self.assertNothingLeft()


class ExchangeTests(StoryCase):
    """Requests and their answers."""

    def get(self, target: str, version: str = "1.1") -> TlsSocket:
        """A client that has asked for this."""
        client = self.secure()
        client.sendall(f"GET {target} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        return client

    def test_server_sent_events(self) -> None:
        """Each reaches the client before the next is sent; the session ends where the body has no other end."""
        client: Any = self.get("/events?count=5")
        self.assertEqual(fields(read_head(client))["content-type"], "text/event-stream")
        for number in range(5):
            self.assertEqual(read_exactly(client, 14), b"9\r\ndata: %d\n\n\r\n" % number)
            self.app.direct("/step")
        self.assertEqual(read_exactly(client, 5), b"0\r\n\r\n")
        client = self.get("/events?count=3&how=close", "1.0")
        read_head(client)
        for number in range(3):
            self.assertEqual(read_exactly(client, 9), b"data: %d\n\n" % number)
            self.app.direct("/step")
        self.assertEqual(read_all(client), b"")

    def test_bodies_that_break_off(self) -> None:
        """However a backend breaks off, the client sees that it is no end."""
        for how in ("sized", "chunked", "reset", "ragged"):
            client: Any = self.get(f"/cut?how={how}")
            read_head(client)
            try:
                got = read_all(client)
            except OSError:
                continue
            self.fail(f"{how}: an end in good order after {got!r}")
        self.assertEqual(self.lb.pool()["ends"], {"truncated": 4})

    def test_the_backend_asks_for_the_body(self) -> None:
        """100-continue, each time over one connection."""
        client: Any = self.secure()
        for number in range(3):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            self.assertEqual(read_head(client), b"HTTP/1.1 100 Continue\r\n\r\n")
            self.assertEqual(self.app.seen()["received"], 4 * number, "the backend has asked before it had the body")
            client.sendall(b"body")
            head = read_head(client)
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            self.assertEqual(json.loads(read_exactly(client, int(fields(head)["content-length"])))["size"], 4)

    def test_an_early_answer_is_read_whole(self) -> None:
        """By a client that goes on sending 64 MiB, which is no error."""
        for _ in range(10):
            client: Any = self.secure()
            target = f"/refuse?code=413&after={MIB}"
            client.sendall(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {TOO_MUCH}\r\n\r\n".encode())
            sending = self.at_once(1, lambda client=client: [client.sendall(block) for block in pattern(TOO_MUCH)])[0]  # type: ignore[misc]
            response = http.client.HTTPResponse(client)
            response.begin()
            self.assertEqual((response.status, response.headers["Connection"]), (413, "close"))
            self.assertTrue(response.read() == REFUSAL)
            sending.result(PATIENCE)
        eventually("nothing is in flight", lambda: self.lb.pool()["in_flight"] == 0)
        self.assertEqual(self.lb.pool()["ends"], {"done": 10})

    def test_a_slow_reader(self) -> None:
        """Holds the backend back; memory stays bounded, and then all of 64 MiB comes."""
        before = self.lb.process.rss()
        client: Any = self.secure(receive_buffer=64 * 1024)
        client.sendall(b"GET /big?size=%d HTTP/1.1\r\nHost: a\r\n\r\n" % TOO_MUCH)
        response = http.client.HTTPResponse(client)
        response.begin()
        digest = hashlib.sha256(response.read(len(BLOCK)))
        self.assertLess(settled(lambda: self.app.seen()["sent"]), TOO_MUCH, "the backend was not held up")
        self.assertLess(self.lb.process.rss() - before, ROOM)
        self.assertAnswered(send(self.https()))  # others are served meanwhile
        while part := response.read(len(BLOCK)):
            digest.update(part)
        self.assertEqual(digest.hexdigest(), DIGEST)
        self.assertLess(self.lb.process.rss() - before, ROOM)

    def test_a_slow_backend(self) -> None:
        """Holds the client back; memory stays bounded, and then all of 64 MiB arrives."""
        before = self.lb.process.rss()
        client: Any = self.secure()
        sent = 0

        def upload() -> None:
            nonlocal sent
            client.sendall(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % TOO_MUCH)
            for block in pattern(TOO_MUCH):
                client.sendall(block)
                sent += len(block)

        sending = self.at_once(1, upload)[0]
        eventually("the upload begins", lambda: sent)
        self.assertLess(settled(lambda: sent), TOO_MUCH, "the client was not held up")
        self.assertLess(self.lb.process.rss() - before, ROOM)
        self.assertAnswered(send(self.https()))
        self.app.direct("/release")
        response = http.client.HTTPResponse(client)
        response.begin()
        self.assertEqual(json.loads(response.read())["sha256"], DIGEST)
        sending.result(PATIENCE)
        self.assertLess(self.lb.process.rss() - before, ROOM)

    def test_many_at_once(self) -> None:
        """Eight clients, up and down at the same time, do not get each other's bytes."""

        def visit() -> bool:
            connection = self.https()
            for size in (1, 16 * 1024 - 1, 16 * 1024 + 1, 100_000, MIB):
                whole = b"".join(pattern(size))
                up = send(connection, "/", "PUT", whole).json()
                if up["sha256"] != hashlib.sha256(whole).hexdigest() or send(connection, f"/big?size={size}").body != whole:
                    return False
            return True

        self.assertEqual([future.result(PATIENCE) for future in self.at_once(8, visit)], [True] * 8)


class Clients:
    """Clients that send one request after the other, each with a number of its own, until none gets through any more.

    :ivar answered: the paths that were answered 200 in full.
    """

    def __init__(self, case: StoryCase, clients: int, keep: bool) -> None:
        self.answered: Counter[str] = Counter()
        self._case, self._keep = case, keep
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]
        for thread in self._threads:
            thread.start()
        case.addCleanup(self.wait)

    def _run(self, client: int) -> None:
        connection = self._case.https()
        number = 0
        while True:
            number += 1
            path = f"/slow?seconds=0.02&of={client}.{number}.{self._keep}"
            fresh = connection.sock is None
            try:
                answer = send(connection, path)
            except OSError:
                connection.close()
                if fresh:
                    return
                continue  # a connection that was closed while it was idle: the request is for another one
            if answer.status == 200:
                self.answered[path] += 1
            if not self._keep:
                connection.close()

    def wait(self) -> None:
        """Wait until none gets through any more."""
        for thread in self._threads:
            thread.join(PATIENCE)


class DrainTests(StoryCase):
    """SIGTERM."""

    def test_under_load_nothing_is_lost(self) -> None:
        """Whatever the backend has seen was answered, over connections that are kept and over new ones alike."""
        kept, single = Clients(self, 4, keep=True), Clients(self, 4, keep=False)
        eventually("there is traffic", lambda: len(kept.answered) > 100 and len(single.answered) > 50)
        self.lb.stop()
        for clients in (kept, single):
            clients.wait()
        seen = {line.split()[1] for line in self.app.seen()["requests"]}
        self.assertEqual(seen - set(kept.answered) - set(single.answered), set())

    def test_handshakes_do_not_keep_it(self) -> None:
        """Who is silent in one is no reason to wait; a tunnel goes on within the grace time and ends in good order."""
        silent = [self.socket(self.lb.tls_port) for _ in range(5)]
        tunnel: Any = self.secure()
        tunnel.sendall(b"GET /tunnel HTTP/1.1\r\n" + UPGRADE)
        read_head(tunnel)
        self.lb.begin_stop()
        eventually("no more connections are taken", lambda: not listens(self.lb.tls_port))
        for client in silent:
            self.assertEqual(read_all(client), b"")
        tunnel.sendall(b"still here, ")
        tunnel.end()
        self.assertEqual(read_all(tunnel), b"still here, the end")
        began = time.monotonic()
        self.lb.stop()
        self.assertLess(time.monotonic() - began, 5)


class CrowdTests(StoryCase):
    """Connections that are not used."""

    options = ("--handshake-timeout", "1")

    def test_silent_handshakes(self) -> None:
        """Two hundred of them, in the middle or before they begin: others are served, and they end after their time."""
        context = ssl.create_default_context()
        out = ssl.MemoryBIO()
        with self.assertRaises(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
        hello = out.read()
        began = time.monotonic()
        silent = [self.socket(self.lb.tls_port) for _ in range(200)]
        for number, client in enumerate(silent):
            client.sendall((b"", hello[:100], hello)[number % 3])
        served = 0
        while time.monotonic() - began < 0.8:
            self.assertEqual(self.visit(), 200)
            served += 1
        self.assertGreater(served, 3)
        for client in silent:
            read_to_the_end(client)
        self.assertGreater(time.monotonic() - began, 0.9)
        self.assertLess(time.monotonic() - began, 6)
        counted = self.lb.metrics()
        self.assertEqual(counted("lbproxy_frontend_tls_handshakes_failed_total", cause="timeout"), 200)
        self.assertNotIn("handshake", self.lb.process.output.lower())

    def visit(self) -> int:
        """The status of an answer on a connection of its own."""
        connection = self.https()
        try:
            return send(connection).status
        finally:
            connection.close()

    def test_the_limit_of_connections(self) -> None:
        """Those in a handshake count; who waits is served when they have ended."""
        self.lb.stop()
        self.lb = self.start("--max-connections", "3")
        silent = [self.socket(self.lb.tls_port) for _ in range(3)]
        eventually("they are there", lambda: self.lb.admin("/status").json()["connections"]["open"] == 3)
        answers = self.at_once(6, self.visit)
        for client in silent:
            read_to_the_end(client)
        for answer in answers:
            self.assertEqual(answer.result(PATIENCE), 200)


class ProxyProtocolTests(StoryCase):
    """``--tls-listen haproxy:tcp:``: the header comes in the clear, and the handshake after it."""

    tls_listen = f"haproxy:tcp:{{tls_port}}:interface={LOOPBACK}"

    def test_the_claimed_client_is_told(self) -> None:
        """Whether the header comes with the handshake or before it; sessions are resumed as ever."""
        headers = (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n", version_2("192.0.2.7", "198.51.100.1"))
        session = None
        for header in headers:
            for _ in range(2):
                client: Any = self.secure(ahead=header, session=session)
                self.assertEqual(client.resumed, session is not None)
                for _ in range(2):
                    client.sendall(GET)
                    head = read_head(client)
                    seen = dict(json.loads(read_exactly(client, int(fields(head)["content-length"])))["fields"])
                    self.assertEqual((seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]), ("192.0.2.7", "https"))
                session = client.session

    def test_a_header_byte_by_byte(self) -> None:
        """And the handshake's first bytes in one piece with its last."""
        out, into = ssl.MemoryBIO(), ssl.MemoryBIO()
        with self.assertRaises(ssl.SSLWantReadError):
            self.context.wrap_bio(into, out, server_hostname="localhost").do_handshake()
        whole = version_2("192.0.2.7", "198.51.100.1") + out.read()
        plain = self.socket(self.lb.tls_port)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        for start in range(27):
            plain.sendall(whole[start : start + 1])
        plain.sendall(whole[27:])
        self.assertEqual(plain.recv(1), b"\x16", "the handshake is answered")

    def test_without_a_header_there_is_no_handshake(self) -> None:
        """Nor with one that is none."""
        for ahead in (b"", b"PROXY TCP4 192.0.2.7\r\n", b"PROXY " + b"x" * 200):
            with self.assertRaises(OSError):
                self.secure(ahead=ahead)
        self.assertEqual(self.app.seen()["requests"], [])

    def test_haproxy_in_front(self) -> None:
        """It passes TLS through (mode tcp, send-proxy-v2), and the backend hears of who came to it."""
        program = shutil.which("haproxy", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
        if program is None:
            raise SkipTest("haproxy is not installed")
        port = free_port()
        configuration = self.folder / "haproxy.cfg"
        configuration.write_text(HAPROXY.format(host=LOOPBACK, port=port, to=self.lb.tls_port))
        process = Process(self, [program, "-db", "-f", str(configuration)])
        eventually("HAProxy listens", lambda: process.ended or listens(port))
        self.assertFalse(process.ended, process.output)
        plain = socket.create_connection((LOOPBACK, port), timeout=PATIENCE, source_address=("127.0.0.9", 0))
        client: Any = TlsSocket.connect(plain, self.context)
        self.addCleanup(client.close)
        for _ in range(3):
            client.sendall(GET)
            head = read_head(client)
            seen = dict(json.loads(read_exactly(client, int(fields(head)["content-length"])))["fields"])
            self.assertEqual(seen["X-Forwarded-For"], "127.0.0.9")
        client.sendall(b"GET /big?size=%d HTTP/1.0\r\n\r\n" % (4 * MIB))
        self.assertEqual(read_all(client).partition(b"\r\n\r\n")[2], b"".join(pattern(4 * MIB)))


HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen tls
    bind {host}:{port}
    server lbproxy {host}:{to} send-proxy-v2
"""


class ClientCertificateTests(StoryCase):
    """``--client-ca``."""

    def start(self, *more: str, backends: list[Any] | None = None) -> LoadBalancer:
        clients = write(self.folder, "clients.pem", authority("clients").cert_pem)
        return super().start("--client-ca", clients, *more, backends=backends)

    def person(self, name: str) -> ssl.SSLContext:
        """A client with a certificate."""
        context = ssl.create_default_context(cafile=self.ca)
        made = certificate(f"{name}@example.com", signed_by="clients", common_name=name)
        context.load_cert_chain(write(self.folder, f"{name}.pem", made.private_key_and_cert_chain_pem))
        return context

    def test_each_request_is_told_of_its_own_client(self) -> None:
        """On connections that are kept, taking turns at a backend's connections that are kept; nobody can say it of himself."""
        people = {name: self.https(self.person(name)) for name in ("Ann", "Bob", "Eve")}
        for _ in range(5):
            for name, connection in people.items():
                forged = {"X-SSL-Client-S-DN": "CN=Ann", "X_SSL_Client_SAN": "email:ann@example.com"}
                answer = send(connection, "/", "POST", b"x", **forged)
                told = [(field, value) for field, value in answer.json()["fields"] if "ssl" in field.lower()]
                self.assertEqual(len(told), 4, told)
                self.assertEqual(dict(told)["X-SSL-Client-SAN"], f"email:{name}@example.com")
                self.assertIn(f"CN={name}", dict(told)["X-SSL-Client-S-DN"])
        self.assertEqual(self.lb.admin("/status").json()["connections"]["accepted"], 3)

    def test_who_has_none_gets_no_answer(self) -> None:
        """In TLS 1.3 he is told after his side of the handshake, and his request goes nowhere."""
        client: Any = self.secure()
        with self.assertRaises(OSError):
            client.sendall(GET)
            client.recv(1)
        self.assertEqual(self.app.seen()["requests"], [])


class StickyTests(StoryCase):
    """Sessions' cookies."""

    options = ("--sticky", "lb")

    def test_the_cookie_is_for_tls_alone(self) -> None:
        """Where it is given over TLS it is Secure; in the clear it cannot be."""
        secure, plain = send(self.https()).headers["Set-Cookie"], ask(self.lb.port).headers["Set-Cookie"]
        self.assertIn("Secure", [word.strip() for word in secure.split(";")])
        self.assertNotIn("Secure", plain)


class UnixTests(StoryCase):
    """``--tls-listen unix:``."""

    def start(self, *more: str, backends: list[Any] | None = None) -> LoadBalancer:
        self.place = f"{self.folder}/tls.sock"
        self.tls_listen = f"unix:{self.place}"
        return super().start(*more, backends=backends)

    def test_it_is_served(self) -> None:
        """As over TCP, over a connection that is kept and by a session that is resumed."""
        session = None
        for _ in range(2):
            plain = socket.socket(socket.AF_UNIX)
            self.addCleanup(plain.close)
            plain.settimeout(PATIENCE)
            plain.connect(self.place)
            client: Any = TlsSocket.connect(plain, self.context, session=session)
            self.assertEqual(client.resumed, session is not None)
            for size in (10, 3 * MIB):
                client.sendall(b"GET /big?size=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % size)
                response = http.client.HTTPResponse(client)
                response.begin()
                self.assertTrue(response.read() == b"".join(pattern(size)))
            session = client.session


class NginxTests(StoryCase):
    """nginx as a backend over TLS."""

    def setUp(self) -> None:
        nginx = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
        if nginx is None:
            raise SkipTest("nginx is not installed")
        super().setUp()
        self.log = self.folder / "nginx.log"
        self.nginx_port = free_port()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            NGINX.format(folder=self.folder, host=LOOPBACK, port=self.nginx_port, certificate=self.pem, log=self.log)
        )
        (self.folder / "large").write_bytes(b"".join(pattern(4 * MIB)))
        process = Process(self, [nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(configuration)])
        eventually("nginx listens", lambda: process.ended or listens(self.nginx_port))
        self.assertFalse(process.ended, process.output)
        place = f"https://{LOOPBACK}:{self.nginx_port}:verify-name=localhost"
        self.lb = self.start("--probe-interval", "3600", backends=[place])

    def logged(self, number: int) -> list[list[str]]:
        """The log's words about so many requests."""
        lines: Callable[[], list[str]] = lambda: self.log.read_text().splitlines()  # noqa: E731
        eventually(f"{number} requests are logged", lambda: len(lines()) >= number)
        return [line.split() for line in lines()]

    def test_kept_connections_and_resumed_sessions(self) -> None:
        """nginx closes a connection after every fifth request; the next one goes on with the session."""
        connection = self.https()
        for _ in range(20):
            self.assertEqual(send(connection, "/").body, b"well")
        seen = self.logged(20)
        self.assertEqual([request for request, _, _ in seen], ["1", "2", "3", "4", "5"] * 4)
        self.assertEqual([reused for _, reused, _ in seen], ["."] * 5 + ["r"] * 15)

    def test_bodies(self) -> None:
        """A file of 4 MiB and an upload, each way over TLS."""
        connection = self.https()
        for _ in range(3):
            self.assertTrue(send(connection, "/large").body == b"".join(pattern(4 * MIB)))
            answer: Answer = send(connection, "/", "PUT", b"x" * MIB)
            self.assertEqual(answer.body, b"well")


NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    log_format tls '$connection_requests $ssl_session_reused $ssl_protocol';
    access_log {log} tls;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 5;
    server {{
        listen {host}:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        default_type text/plain;
        client_max_body_size 0;
        location / {{ return 200 "well"; }}
        location = /large {{ root {folder}; }}
    }}
}}
"""


def listens(port: int) -> bool:
    """Whether anything does there."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def read_to_the_end(client: socket.socket) -> None:
    """Whatever comes until the other side closes, in whatever way."""
    try:
        read_all(client)
    except ConnectionResetError:
        pass
