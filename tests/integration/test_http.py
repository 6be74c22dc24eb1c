"""HTTP/1.1 as clients speak it, on real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import time

from .support import PATIENCE, IntegrationTestCase, ask, eventually, fields, read_all, send, talk

HOST = b"Host: example.org\r\n"


class ConnectionTests(IntegrationTestCase):
    """How long a client's connection lasts."""

    def test_keep_alive(self) -> None:
        """One connection carries whatever comes, one after the other."""
        balancer = self.balancer(backends=[self.backend()])
        connection = self.connection(balancer.port)
        for path, method, body in (
            ("/", "GET", None),
            ("/", "POST", b"sized"),
            ("/", "POST", iter([b"chun", b"ked"])),
            ("/drip", "GET", None),
            ("/big?size=100000", "GET", None),
            ("/big?size=100000", "HEAD", None),
            ("/status?code=204", "GET", None),
            ("/status?code=304", "GET", None),
            ("/", "DELETE", None),
            ("/", "OPTIONS", None),
        ):
            answer = send(connection, path, method, body)
            self.assertIn(answer.status, (200, 204, 304))
            self.assertIsNotNone(connection.sock, f"{method} {path} ended the connection")
        self.assertEqual(balancer.admin("/status").json()["connections"]["accepted"], 1)

    def test_close_is_heeded(self) -> None:
        """Who asks for the end gets it, however that is said."""
        balancer = self.balancer(backends=[self.backend()])
        for value in (b"close", b"Close", b"keep-alive, close", b"x,close"):
            got = talk(balancer.port, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: " + value + b"\r\n\r\n")
            self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)
            self.assertEqual(fields(got)["connection"], "close")
            self.assertTrue(got.endswith(b"}"), "the body is whole")

    def test_http_1_0(self) -> None:
        """No Host, no chunks, and the connection's end ends the body; unless the client asks to keep it."""
        balancer = self.balancer(backends=[self.backend()])
        got = talk(balancer.port, b"GET /drip HTTP/1.0\r\n\r\n")
        self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)
        self.assertNotIn("transfer-encoding", fields(got))
        self.assertTrue(got.endswith(b"\r\n\r\npart 0\npart 1\npart 2\n"), got)
        client = self.socket(balancer.port)
        for _ in range(2):
            client.sendall(b"GET /big?size=3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            response = http.client.HTTPResponse(client)
            response.begin()
            self.assertEqual(response.headers["Connection"], "keep-alive")
            self.assertEqual(response.read(), b"\0\1\2")

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        """Also when the first takes longest."""
        balancer = self.balancer(backends=self.backends("ab"))
        paths = ["/slow?seconds=0.3", *(f"/{number}" for number in range(1, 19)), "/last"]
        requests = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths]
        requests[5] = "POST /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /"
        requests[6] = "POST /6 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n"
        client = self.socket(balancer.port)
        client.sendall("".join(requests).encode())
        asked = []
        with client.makefile("rb") as stream:
            for _ in paths:
                head = b"".join(iter(stream.readline, b"\r\n"))
                asked.append(json.loads(stream.read(int(fields(head)["content-length"])))["request"].split()[1])
        self.assertEqual(asked, paths)

    def test_a_client_that_half_closes_leaves_nothing_behind(self) -> None:
        """It gets its whole answer or is taken for gone; either way nothing hangs."""
        balancer = self.balancer(backends=[self.backend()])
        client = self.socket(balancer.port)
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        client.shutdown(socket.SHUT_WR)
        got = read_all(client)
        self.assertTrue(not got or got.endswith(b"}"), got)
        eventually("nothing is in flight", lambda: balancer.pool()["in_flight"] == 0)

    def test_a_silent_client_is_let_go(self) -> None:
        """An idle connection is closed after the idle time-out; a half-sent head is answered 408."""
        balancer = self.balancer("--idle-timeout", "0.5", "--header-timeout", "0.5", backends=[self.backend()])
        began = time.monotonic()
        self.assertEqual(talk(balancer.port, b""), b"")
        self.assertIn(b" 408 ", talk(balancer.port, b"GET / HTTP/1.1\r\n"))
        self.assertLess(time.monotonic() - began, 8)
        self.assertEqual(balancer.admin("/status").json()["connections"]["timed_out"], {"idle": 1, "head": 1})

    def test_a_head_that_drips_is_not_waited_for(self) -> None:
        """The time for a head runs from its first byte: a byte now and then does not prolong it."""
        balancer = self.balancer("--header-timeout", "0.5", backends=[self.backend()])
        client = self.socket(balancer.port)
        client.settimeout(0.1)
        client.sendall(b"GET / HTTP/1.1\r\n")

        def drip() -> bytes:
            with contextlib.suppress(TimeoutError):
                return client.recv(100)
            client.sendall(b"X")
            return b""

        self.assertIn(b" 408 ", eventually("the client is refused", drip, 5))


class MessageTests(IntegrationTestCase):
    """What goes on to the backend, and what comes back."""

    def test_head_has_the_fields_and_no_body(self) -> None:
        """The length is told, the body is not sent, and the connection goes on."""
        balancer = self.balancer(backends=[self.backend()])
        connection = self.connection(balancer.port)
        for path, field, value in (
            ("/big?size=12345", "Content-Length", "12345"),
            ("/big?size=12345&chunked=1", "Transfer-Encoding", "chunked"),
        ):
            answer = send(connection, path, "HEAD")
            self.assertEqual((answer.status, answer.body), (200, b""))
            if field == "Content-Length":
                self.assertEqual(answer.headers[field], value)
            self.assertEqual(send(connection).status, 200)

    def test_the_backend_gets_the_request_as_it_came(self) -> None:
        """Target, Host, repeated fields, their order and case; without what belongs to one connection alone."""
        balancer = self.balancer(backends=[self.backend()])
        request = (
            b"GET /a//b/../%7Ec?q=a+b%20c&&?#x HTTP/1.1\r\nHost: Example.ORG:81\r\nX-Two: 1\r\nx-LOWER: y\r\nX-Two: 2\r\n"
            b"Cookie: a=b\r\nConnection: keep-alive, X-Mine\r\nX-Mine: secret\r\nKeep-Alive: 5\r\nTE: gzip\r\n"
            b"Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\n"
            b"X-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n"
        ).replace(b"#x", b"")
        seen = json.loads(talk(balancer.port, request).partition(b"\r\n\r\n")[2])
        self.assertEqual(seen["request"], "GET /a//b/../%7Ec?q=a+b%20c&&? HTTP/1.1")
        name, request_id = seen["fields"].pop()
        self.assertEqual(name, "X-Request-ID")
        self.assertRegex(request_id, r"\A[0-9a-f]{32}\Z")
        self.assertEqual(
            [tuple(pair) for pair in seen["fields"]],
            [
                ("Host", "Example.ORG:81"), ("X-Two", "1"), ("x-LOWER", "y"), ("X-Two", "2"), ("Cookie", "a=b"),
                ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "Example.ORG:81"),
            ],
        )  # fmt: skip

    def test_expect_continue(self) -> None:
        """A client that waits for 100 before it sends its body gets it, and then its answer."""
        balancer = self.balancer(backends=[self.backend()])
        client = self.socket(balancer.port)
        client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
        self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 100 "))
        client.sendall(b"body")
        got = read_all(client)
        while got.startswith(b"HTTP/1.1 100 "):
            got = got.partition(b"\r\n\r\n")[2]
        self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)
        self.assertEqual(json.loads(got.partition(b"\r\n\r\n")[2])["size"], 4)

    def test_an_early_answer_reaches_a_client_in_mid_upload(self) -> None:
        """A backend may answer before it has all of the body. A client that sends on first still gets that answer, and no
        reset in its place."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        size = 4 << 20
        client = self.socket(balancer.port)
        client.sendall(b"POST /status?code=413 HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size)
        eventually("the answer is here", lambda: client.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 413")
        client.sendall(b"x" * size)
        got = read_all(client)
        self.assertTrue(got.startswith(b"HTTP/1.1 413 "), got)
        self.assertEqual(fields(got)["connection"], "close")
        self.assertAnswered(ask(balancer.port))


class MalformedTests(IntegrationTestCase):
    """Requests that are none."""

    def test_they_are_refused_and_no_backend_sees_them(self) -> None:
        """Each gets its status and the connection's end."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        get, post, chunked = b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"Transfer-Encoding: chunked\r\n"
        cases = {
            "no Host": (400, get),
            "two Hosts": (400, get + HOST + HOST),
            "a Host that is none": (400, get + b"Host: a/b\r\n"),
            "Content-Length and Transfer-Encoding": (400, post + HOST + b"Content-Length: 3\r\n" + chunked),
            "two Content-Lengths": (400, post + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n"),
            "a list of Content-Lengths": (400, post + HOST + b"Content-Length: 3, 3\r\n"),
            "a negative Content-Length": (400, post + HOST + b"Content-Length: -3\r\n"),
            "a signed Content-Length": (400, post + HOST + b"Content-Length: +3\r\n"),
            "Transfer-Encoding twice": (400, post + HOST + chunked + chunked),
            "chunked not last": (400, post + HOST + b"Transfer-Encoding: chunked, gzip\r\n"),
            "an unknown coding": (400, post + HOST + b"Transfer-Encoding: xchunked\r\n"),
            "HTTP/1.0 with Transfer-Encoding": (400, b"POST / HTTP/1.0\r\n" + chunked),
            "a folded field": (400, get + HOST + b"X-A: b\r\n c\r\n"),
            "a space before the colon": (400, get + HOST + b"X-A : b\r\n"),
            "a field without a colon": (400, get + HOST + b"nonsense\r\n"),
            "a bare line feed": (400, b"GET / HTTP/1.1\nHost: a\n"),
            "a NUL in a value": (400, get + HOST + b"X-A: b\0c\r\n"),
            "a bare carriage return": (400, get + HOST + b"X-A: b\rc\r\n"),
            "no version": (400, b"GET /\r\n" + HOST),
            "two spaces": (400, b"GET  / HTTP/1.1\r\n" + HOST),
            "a TLS hello": (400, bytes.fromhex("160301002f0100002b0303") + b"\r\n"),
            "HTTP/2's preface": (505, b"PRI * HTTP/2.0\r\n"),
            "version 1.2": (505, b"GET / HTTP/1.2\r\n" + HOST),
            "a long target": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST),
            "a large head": (431, get + HOST + b"X-A: " + b"a" * 20000 + b"\r\n"),
            "many fields": (431, get + HOST + b"X-A: b\r\n" * 101),
        }
        statuses = {}
        for what, (_, head) in cases.items():
            got = talk(balancer.port, head + b"\r\n" + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            statuses[what] = int(got[9:12]) if got.startswith(b"HTTP/1.1 ") else got
            self.assertEqual(len(re.findall(rb"HTTP/1\.1 \d", got)), 1, what)
        self.assertEqual(statuses, {what: status for what, (status, _) in cases.items()})
        self.assertEqual(backend.seen()["requests"], [])
        self.assertEqual(sum(balancer.admin("/status").json()["connections"]["rejected"].values()), len(cases))
        self.assertAnswered(ask(balancer.port))

    def test_a_bad_chunk_is_refused(self) -> None:
        """In the first packet no backend sees the request; later on none takes it for whole, and it is not repeated."""
        backends = self.backends("ab")
        balancer = self.balancer(backends=backends)
        head = b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        for chunk in (
            b"zz\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"11111111111111111\r\n",
            b"5\nhello\r\n",
        ):
            self.assertIn(b" 400 ", talk(balancer.port, head + chunk)[:20], chunk)
        self.assertEqual([backend.seen()["requests"] for backend in backends], [[], []])
        client = self.socket(balancer.port)
        client.sendall(head + b"5\r\nhello\r\n")
        eventually("a backend has the first chunk", lambda: sum(backend.seen()["received"] for backend in backends) == 5)
        client.sendall(b"zz\r\n")
        self.assertIn(b" 400 ", read_all(client)[:20])
        eventually("that backend notices", lambda: sum(backend.seen()["left"] for backend in backends) == 1, PATIENCE)
        self.assertEqual(sum(len(backend.seen()["requests"]) for backend in backends), 1)
