"""Bodies that come when they come, clients that have said all, and what stands behind a body."""

from __future__ import annotations

import hashlib
import json
import socket

from .support import IntegrationTestCase, eventually, fields, read_all, read_exactly, read_head


class StreamTestCase(IntegrationTestCase):
    """A backend behind a balancer."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.backend()
        self.lb = self.balancer(backends=[self.server])

    def send(self, data: bytes) -> socket.socket:
        """A client that has sent this."""
        client = self.socket(self.lb.port)
        client.sendall(data)
        return client

    def get(self, target: str, version: str = "1.1") -> socket.socket:
        """A client that has asked for this."""
        return self.send(f"GET {target} HTTP/{version}\r\nHost: a\r\n\r\n".encode())


class AsTheyComeTests(StreamTestCase):
    """Each part reaches the client before the backend sends the next: it waits until it is told that it has."""

    def test_server_sent_events(self) -> None:
        """In chunks."""
        client = self.get("/events?count=5")
        head = read_head(client)
        self.assertEqual((fields(head)["content-type"], fields(head)["transfer-encoding"]), ("text/event-stream", "chunked"))
        for number in range(5):
            self.assertEqual(read_exactly(client, 14), b"9\r\ndata: %d\n\n\r\n" % number)
            self.server.direct("/step")
        self.assertEqual(read_exactly(client, 5), b"0\r\n\r\n")
        client.sendall(b"GET /big?size=3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.assertTrue(read_all(client).endswith(b"\r\n\r\n\0\1\2"), "the connection was kept")

    def test_events_until_the_connections_end(self) -> None:
        """For clients of both versions."""
        for version, event, end in (("1.1", b"9\r\ndata: %d\n\n\r\n", b"0\r\n\r\n"), ("1.0", b"data: %d\n\n", b"")):
            client = self.get("/events?count=3&how=close", version)
            read_head(client)
            for number in range(3):
                self.assertEqual(read_exactly(client, len(event % number)), event % number)
                self.server.direct("/step")
            self.assertEqual(read_exactly(client, 5) if version == "1.1" else read_all(client), end)

    def test_a_chunk_in_pieces(self) -> None:
        """What is here of it is passed on at once."""
        client = self.get("/chunk")
        read_head(client)
        for part in (b"2\r\non\r\n", b"3\r\ne,t\r\n", b"2\r\nwo\r\n"):
            self.assertEqual(read_exactly(client, len(part)), part)
            self.server.direct("/step")
        self.assertEqual(read_exactly(client, 5), b"0\r\n\r\n")

    def test_an_upload_drips(self) -> None:
        """The backend has each part before the next is sent."""
        client = self.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(1, 6):
            client.sendall(b"3\r\nabc\r\n")
            self.wait_for_received(3 * number)
        client.sendall(b"0\r\n\r\n")
        head = read_head(client)
        self.assertEqual(json.loads(read_exactly(client, int(fields(head)["content-length"])))["size"], 15)

    def wait_for_received(self, size: int) -> None:
        """Wait until the backend has that many bytes of bodies."""
        eventually("it is there", lambda: self.server.seen()["received"] == size)


class HalfClosedTests(StreamTestCase):
    """A client that sends no more still listens (RFC 9112 section 9.6)."""

    def test_a_long_poll(self) -> None:
        """It gets its answer, and is told that the connection ends; with or without a body."""
        requests = (
            b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
            b"GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        )
        for number, request in enumerate(requests, 1):
            client = self.send(request)
            client.shutdown(socket.SHUT_WR)
            self.wait_for_requests(number)
            self.assertEqual(self.lb.pool()["in_flight"], 1)
            self.server.direct("/step")
            got = read_all(client)
            self.assertTrue(got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"}"), got)
            self.assertEqual(fields(got)["connection"], "close")
        self.assertEqual(self.lb.pool()["ends"], {"done": 3})

    def wait_for_requests(self, number: int) -> None:
        """Wait until the backend has that many."""
        eventually("it is there", lambda: len(self.server.seen()["requests"]) == number)

    def test_a_stream(self) -> None:
        """To its end."""
        client = self.get("/events?count=3")
        client.shutdown(socket.SHUT_WR)
        for _ in range(3):
            self.server.direct("/step")
        self.assertTrue(read_all(client).endswith(b"data: 2\n\n\r\n0\r\n\r\n"))

    def test_pipelined_requests(self) -> None:
        """All are answered, in order; after the last the connection ends."""
        targets = ["/hold", *(f"/{number}" for number in range(20)), "/drip", "/last"]
        client = self.send("".join(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n" for target in targets).encode())
        client.shutdown(socket.SHUT_WR)
        self.server.direct("/step")
        got = read_all(client)
        self.assertEqual(got.count(b"HTTP/1.1 200 OK\r\n"), len(targets))
        self.assertEqual([seen.split()[1] for seen in self.server.seen()["requests"]], targets)
        self.assertIn(b'"request": "GET /last HTTP/1.1"', got[-2000:])

    def test_half_a_request_is_none(self) -> None:
        """A head that ends early is dropped, a body that ends early is never taken for whole."""
        self.assertEqual(self.half(b"GET / HTTP/1.1\r\nHost: a\r\n"), b"")
        for framing, body in ((b"Content-Length: 9", b"half"), (b"Transfer-Encoding: chunked", b"4\r\nhalf\r\n")):
            try:
                got = self.half(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + body)
            except ConnectionResetError:
                got = b""
            self.assertNotIn(b" 200 ", got)
            eventually("the backend's end is over", lambda: self.lb.pool()["in_flight"] == 0)

    def half(self, data: bytes) -> bytes:
        """Send that and no more; what comes back."""
        client = self.send(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


class TrailerTests(StreamTestCase):
    """Fields behind a body."""

    def test_both_ways(self) -> None:
        """Whether all came in one packet or byte by byte; the connection is kept."""
        body = b"hello, world"
        request = b"POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Mine\r\n\r\n"
        request += b"5\r\nhello\r\n7\r\n, world\r\n0\r\nX-Mine: of mine\r\nX-Other: 2\r\n\r\n"
        client = self.socket(self.lb.port)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        for step in (len(request), 60, 1):
            for place in range(0, len(request), step):
                client.sendall(request[place : place + step])
            self.assertEqual(fields(read_head(client))["trailer"], "X-Sum, X-Seen")
            self.assertEqual(self.chunks(client), body)
            trailers = fields(b"\r\n" + read_head(client))
            self.assertEqual(trailers, {"x-sum": hashlib.sha256(body).hexdigest(), "x-seen": "X-Mine: of mine; X-Other: 2"})
        got = read_all(self.get("/trailers", "1.0"))  # which knows neither chunks nor what may follow them
        self.assertNotIn(b"X-Sum:", got)

    def chunks(self, client: socket.socket) -> bytes:
        """A chunked body, up to and with the last chunk's size line."""
        body = b""
        while size := self.size(client):
            body += read_exactly(client, size + 2)[:-2]
        return body

    def size(self, client: socket.socket) -> int:
        """A chunk's size line."""
        line = b""
        while not line.endswith(b"\r\n"):
            line += read_exactly(client, 1)
        return int(line, 16)
