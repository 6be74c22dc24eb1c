"""Answers that come before the request is whole: 100, 103, and refusals in mid-upload."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading

from twisted.trial.unittest import SkipTest

from .backend import REFUSAL
from .support import LOOPBACK, PATIENCE, IntegrationTestCase, eventually, fields, read_all, read_exactly, read_head

MIB = 1 << 20


class ContinueTests(IntegrationTestCase):
    """``Expect: 100-continue``, from the client to the backend."""

    def test_the_backend_asks_for_the_body(self) -> None:
        """Each time, over one connection."""
        backend = self.backend()
        client = self.socket(self.balancer(backends=[backend]).port)
        for number in range(3):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            self.assertEqual(read_head(client), b"HTTP/1.1 100 Continue\r\n\r\n")
            self.assertEqual(backend.seen()["received"], 4 * number, "the backend has asked before it had the body")
            client.sendall(b"body")
            head = read_head(client)
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            self.assertEqual(json.loads(read_exactly(client, int(fields(head)["content-length"])))["size"], 4)

    def test_a_refusal_in_its_place(self) -> None:
        """It is whole, says that the connection ends, and the body is asked for by nobody."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        for code in (401, 413, 417):
            client = self.socket(balancer.port)
            client.sendall(b"PUT /refuse?code=%d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" % code)
            client.sendall(b"Content-Length: 1000000\r\n\r\n")
            head = read_head(client)
            self.assertEqual((int(head[9:12]), fields(head)["connection"]), (code, "close"))
            self.assertEqual(read_all(client), REFUSAL)
        self.assertEqual(backend.seen()["received"], 0)
        eventually("nothing is in flight", lambda: balancer.pool()["in_flight"] == 0)

    def test_a_client_that_waits_no_longer(self) -> None:
        """It sends its body unasked, and the 100 that comes yet is not in its way."""
        balancer = self.balancer(backends=[self.backend()])
        client = self.socket(balancer.port)
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
        head = read_head(client)
        if head.startswith(b"HTTP/1.1 100 "):
            head = read_head(client)
        self.assertEqual(json.loads(read_exactly(client, int(fields(head)["content-length"])))["size"], 4)


class HintsTests(IntegrationTestCase):
    """103 Early Hints."""

    def test_each_is_passed_on_as_it_comes(self) -> None:
        """With its fields, and the next one is sent only after the client has it."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        client = self.socket(balancer.port)
        for _ in range(2):
            client.sendall(b"GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
            for number in range(2):
                expected = f"HTTP/1.1 103 Early Hints\r\nLink: </{number}.css>; rel=preload\r\n\r\n"
                self.assertEqual(read_head(client).decode(), expected)
                backend.direct("/step")
            head = read_head(client)
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            read_exactly(client, int(fields(head)["content-length"]))

    def test_http_1_0_is_told_none(self) -> None:
        """It knows no interim responses, and its Expect means nothing."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        for _ in range(2):
            backend.direct("/step")
        for request in (
            b"GET /hints HTTP/1.0\r\n\r\n",
            b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
        ):
            client = self.socket(balancer.port)
            client.sendall(request)
            self.assertTrue(read_all(client).startswith(b"HTTP/1.1 200 "))


class RefusedUploadTests(IntegrationTestCase):
    """A backend that has had enough of a body."""

    def test_the_answer_reaches_a_client_that_still_sends(self) -> None:
        """The whole of it, 20 times, whether the backend reads on or closes at once; and sending it all is no error."""
        balancer = self.balancer(backends=[self.backend()])
        for turn in range(20):
            upload = Upload(self.socket(balancer.port), "linger" if turn % 2 else "close")
            self.addCleanup(upload.thread.join, PATIENCE)
            response = http.client.HTTPResponse(upload.client)
            response.begin()
            self.assertEqual((response.status, response.headers["Connection"]), (413, "close"))
            self.assertTrue(response.read() == REFUSAL)
            upload.thread.join(PATIENCE)
            self.assertEqual((upload.error, upload.sent), (None, Upload.SIZE), f"turn {turn}")
        eventually("nothing is in flight", lambda: balancer.pool()["in_flight"] == 0)
        self.assertEqual(balancer.pool()["ends"], {"done": 20})


class Upload:
    """A client that sends 64 MiB in a thread, and does not look at what comes."""

    SIZE = 64 * MIB

    def __init__(self, client: socket.socket, how: str) -> None:
        self.client = client
        self.sent = 0
        self.error: OSError | None = None
        self._head = f"POST /refuse?code=413&after={MIB}&how={how} HTTP/1.1\r\nHost: a\r\nContent-Length: {self.SIZE}\r\n\r\n"
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        block = bytes(MIB)
        try:
            self.client.sendall(self._head.encode())
            while self.sent < self.SIZE:
                self.client.sendall(block)
                self.sent += len(block)
        except OSError as error:
            self.error = error


class CurlTests(IntegrationTestCase):
    """curl."""

    def setUp(self) -> None:
        super().setUp()
        found = shutil.which("curl")
        if found is None:
            raise SkipTest("curl is not installed")
        self.curl = found
        self.server = self.backend()
        self.lb = self.balancer(backends=[self.server])

    def upload(self, size: int, target: str, *options: str) -> tuple[str, int, int, str]:
        """Upload that many bytes. Returns the answer's body, its status, how many bytes curl has sent, and its words."""
        body = self.folder / "body"
        with body.open("wb") as file:
            file.truncate(size)
        url = f"http://{LOOPBACK}:{self.lb.port}{target}"
        done = subprocess.run(
            [self.curl, "-sv", "-m", str(PATIENCE), "-w", "\n%{http_code} %{size_upload}", "-T", str(body), *options, url],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * PATIENCE,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        answer, _, figures = done.stdout.rpartition("\n")
        status, sent = figures.split()
        return answer, int(status), int(sent), done.stderr

    WAITS = ("-H", "Expect: 100-continue", "--expect100-timeout", str(PATIENCE))

    def test_it_is_asked_for_its_body(self) -> None:
        """By the backend's 100."""
        answer, status, sent, words = self.upload(MIB, "/", *self.WAITS)
        self.assertEqual((status, sent, json.loads(answer)["size"]), (200, MIB, MIB))
        self.assertIn("< HTTP/1.1 100 Continue", words)
        self.assertIn("We are completely uploaded", words)

    def test_it_keeps_a_body_that_is_refused(self) -> None:
        """It gets the answer, and not a byte of the body leaves it."""
        for code in (401, 413):
            answer, status, sent, words = self.upload(MIB, f"/refuse?code={code}", *self.WAITS)
            self.assertEqual((answer.encode(), status, sent), (REFUSAL, code, 0))
            self.assertNotIn("We are completely uploaded", words)
        self.assertEqual(self.server.seen()["received"], 0)

    def test_it_stops_when_it_is_refused_in_mid_upload(self) -> None:
        """The answer is whole; its body is not."""
        for how in ("linger", "close") * 3:
            size = 64 * MIB
            answer, status, sent, words = self.upload(size, f"/refuse?code=413&after={MIB}&how={how}", "-H", "Expect:")
            self.assertEqual((answer.encode(), status), (REFUSAL, 413), words)
            self.assertLess(sent, size)
