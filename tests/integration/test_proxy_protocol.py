"""The PROXY protocol, from whoever stands before us and to backends."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import struct
import subprocess

from twisted.trial.unittest import SkipTest

from .support import (
    LOOPBACK,
    PATIENCE,
    IntegrationTestCase,
    LoadBalancer,
    Process,
    eventually,
    fields,
    free_port,
    read_all,
    read_exactly,
    read_head,
    send,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\n"


def version_2(source: str, destination: str, ports: tuple[int, int] = (40000, 80)) -> bytes:
    """A binary header."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!HH", *ports)
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x21 if ":" in source else 0x11, len(addresses)) + addresses


class FromClientsTests(IntegrationTestCase):
    """``--listen haproxy:tcp:…``."""

    HEADERS = (
        ("192.0.2.7", b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\n"),
        ("2001:db8::7", b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 80\r\n"),
        ("192.0.2.8", version_2("192.0.2.8", "198.51.100.1")),
        ("2001:db8::8", version_2("2001:db8::8", "2001:db8::1")),
        (LOOPBACK, SIGNATURE + b"\x21\x00\x00\x00"),  # not known: so do they here
        (LOOPBACK, SIGNATURE + b"\x20\x00\x00\x00"),  # LOCAL: the connection's own ends count
    )

    def setUp(self) -> None:
        super().setUp()
        self.log = self.folder / "access.log"
        self.server = self.backend()
        self.lb = self.balancer(
            "--access-log", str(self.log), "--access-log-format", "json",
            backends=[self.server], listen="haproxy:tcp:{port}:interface=127.0.0.1",
        )  # fmt: skip

    def seen_as(self, client: socket.socket) -> str:
        """Read an answer; whom the backend has taken the client for."""
        head = read_head(client)
        about = json.loads(read_exactly(client, int(fields(head)["content-length"])))
        return ", ".join(value for name, value in about["fields"] if name == "X-Forwarded-For")

    def test_the_claimed_client_is_told_and_logged(self) -> None:
        """Whether the header comes with the request or before it, and for each request on the connection."""
        for claimed, header in self.HEADERS:
            for parts in ((header + GET,), (header, GET), (header + GET[:20], GET[20:])):
                client = self.socket(self.lb.port)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                for part in parts:
                    client.sendall(part)
                self.assertEqual(self.seen_as(client), claimed)
                client.sendall(GET)
                self.assertEqual(self.seen_as(client), claimed)
        expected = [claimed for claimed, _ in self.HEADERS for _ in range(6)]
        eventually("all is logged", lambda: len(self.logged()) == len(expected))
        self.assertEqual([line["client"] for line in self.logged()], expected)

    def logged(self) -> list[dict[str, str]]:
        """The access log's lines."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def test_without_a_header_there_is_no_service(self) -> None:
        """The connection is closed, and the request is nobody's; the same with a header that is none."""
        for data in (
            GET,
            b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n" + GET,
            b"PROXY " + b"x" * 200,
            SIGNATURE + b"\x21\x11\x00\x02ab" + GET,
        ):
            client = self.socket(self.lb.port)
            client.sendall(data)
            try:
                got = read_all(client)
            except ConnectionResetError:
                got = b""
            self.assertNotIn(b" 200 ", got, data)
        self.assertEqual(self.server.seen()["requests"], [])

    def test_nobody_claims_twice(self) -> None:
        """Within a connection a second header is no request."""
        client = self.socket(self.lb.port)
        client.sendall(self.HEADERS[0][1] * 2 + GET)
        self.assertRegex(read_all(client), rb"\AHTTP/1.1 (400|501) ")
        self.assertEqual(self.server.seen()["requests"], [])

    def test_a_claimed_address_is_one(self) -> None:
        """What is none gets no further: at most the connection's own address is told."""
        for claimed in (b"one", b"6.6.6.6,7.7.7.7", b"a\nEvil:\tx", b"a\rb", b"\0", b'a"b'):
            client = self.socket(self.lb.port)
            client.sendall(b"PROXY TCP4 " + claimed + b" 198.51.100.1 40000 80\r\n" + GET)
            try:
                head = read_head(client)
            except ConnectionError:
                continue
            if head.startswith(b"HTTP/1.1 200 "):
                seen = json.loads(read_exactly(client, int(fields(head)["content-length"])))["fields"]
                told = dict(seen)
                self.assertIn(told.get("X-Forwarded-For"), ("unknown", "127.0.0.1"), f"{claimed!r} became {seen}")

    def test_large_bodies_and_a_tunnel(self) -> None:
        """Both ways, behind such a header."""
        client = self.socket(self.lb.port)
        client.sendall(self.HEADERS[2][1] + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        self.assertEqual(self.seen_as(client), "192.0.2.8")
        client.sendall(b"GET /big?size=1000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.assertEqual(len(read_all(client).partition(b"\r\n\r\n")[2]), 1_000_000)
        client = self.socket(self.lb.port)
        client.sendall(self.HEADERS[0][1] + b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        self.assertTrue(read_head(client).startswith(b"HTTP/1.1 101 "))
        client.sendall(b"x" * 1_000_000)
        self.assertEqual(read_exactly(client, 1_000_000), b"x" * 1_000_000)

    def test_curl(self) -> None:
        """``--haproxy-protocol`` sends version 1 with curl's own address."""
        curl = shutil.which("curl")
        if curl is None:
            raise SkipTest("curl is not installed")
        if "haproxy-protocol" not in subprocess.run([curl, "--help", "all"], capture_output=True, text=True).stdout:
            raise SkipTest("this curl knows no --haproxy-protocol")
        url = f"http://{LOOPBACK}:{self.lb.port}/"
        command = [curl, "-sS", "-m", str(PATIENCE), "--haproxy-protocol", url, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count(f'["X-Forwarded-For", "{LOOPBACK}"]'), 2, done.stdout)


NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{first} proxy_protocol;
        listen {host}:{second} proxy_protocol;
        location / {{
            set $from "$proxy_protocol_addr:$proxy_protocol_port";
            return 200 "$from $proxy_protocol_server_addr:$proxy_protocol_server_port $server_port";
        }}
    }}
}}
"""


class AsAnyListenerTests(IntegrationTestCase):
    """Behind its header a connection is one like any other."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.backend()
        self.lb: LoadBalancer = self.balancer(backends=[self.server], listen="haproxy:tcp:{port}:interface=127.0.0.1")

    def test_a_half_close_is_no_disconnect(self) -> None:
        """The client gets its answer."""
        client = self.socket(self.lb.port)
        client.sendall(HEADER + b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        eventually("it is there", lambda: self.server.seen()["requests"])
        self.server.direct("/step")
        self.assertTrue(read_all(client).startswith(b"HTTP/1.1 200 "))

    def test_a_half_close_in_a_tunnel(self) -> None:
        """The backend's last words come."""
        client = self.socket(self.lb.port)
        client.sendall(HEADER + b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        read_head(client)
        client.sendall(b"mine, ")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"mine, the end")

    def test_unknown_is_served(self) -> None:
        """As the specification asks (section 2.1), and as lbproxy itself writes it."""
        client = self.socket(self.lb.port)
        client.sendall(b"PROXY UNKNOWN\r\n" + GET)
        self.assertTrue(read_head(client).startswith(b"HTTP/1.1 200 "))

    def test_a_header_that_is_none_is_no_error_of_ours(self) -> None:
        """The connection is closed, and no traceback fills the log (the balancer's end looks for one)."""
        for header in (b"PROXY TCP4 192.0.2.7 198.51.100.1 x 80\r\n", b"PROXY TCP4 \xff\xff 198.51.100.1 1 80\r\n"):
            client = self.socket(self.lb.port)
            client.sendall(header + GET)
            self.assertEqual(read_all(client), b"")


class ToBackendsTests(IntegrationTestCase):
    """``--backends HOST:PORT:proxy-protocol=…``, with nginx, which refuses connections without a header."""

    def setUp(self) -> None:
        super().setUp()
        nginx = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
        if nginx is None:
            raise SkipTest("nginx is not installed")
        self.ports = [free_port(), free_port()]
        configuration = self.folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=self.folder, host=LOOPBACK, first=self.ports[0], second=self.ports[1]))
        process = Process(self, [nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(configuration)])
        eventually("nginx listens", lambda: process.ended or self.listens())
        self.assertFalse(process.ended, process.output)

    def listens(self) -> bool:
        """Whether nginx takes connections."""
        try:
            socket.create_connection((LOOPBACK, self.ports[-1]), timeout=1).close()
        except OSError:
            return False
        return True

    def start(self, **more: str) -> LoadBalancer:
        """A balancer that tells the first place by version 1 and the second by version 2."""
        places = [f"{LOOPBACK}:{port}:proxy-protocol={version}" for port, version in zip(self.ports, ("v1", "v2"))]
        return self.balancer(backends=places, **more)

    def test_clients_are_told_apart(self) -> None:
        """Each request comes under its own client's name, also where clients take turns on connections that are kept."""
        balancer = self.start()
        clients = [self.connection(balancer.port) for _ in range(3)]
        told = set()
        for client in clients * 4:
            answer = send(client)
            self.assertAnswered(answer)
            source, destination, port = answer.body.decode().split()
            self.assertEqual((source, destination), (self.place_of(client), f"{LOOPBACK}:{balancer.port}"))
            told.add(int(port))
        self.assertEqual(told, set(self.ports), "by either version")

    def place_of(self, client: http.client.HTTPConnection) -> str:
        """A client's own address and port."""
        host, port = client.sock.getsockname()
        return f"{host}:{port}"

    def test_it_is_passed_through(self) -> None:
        """What a listener was told of a client, the backend is told, by whichever version."""
        balancer = self.start(listen="haproxy:tcp:{port}:interface=127.0.0.1")
        for source, destination, header in (
            ("192.0.2.7:40000", "198.51.100.1:80", b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\n"),
            ("2001:db8::7:40000", "2001:db8::1:80", version_2("2001:db8::7", "2001:db8::1")),
        ):
            client = self.socket(balancer.port)
            client.sendall(header)
            told = set()
            for _ in range(2):
                client.sendall(GET)
                head = read_head(client)
                *ends, port = read_exactly(client, int(fields(head)["content-length"])).decode().split()
                self.assertEqual(ends, [source, destination])
                told.add(int(port))
            self.assertEqual(told, set(self.ports), "by either version")
