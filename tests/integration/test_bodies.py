"""Large bodies: whole, in both directions, and never held in memory."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import threading

from .backend import BLOCK, pattern
from .support import LOOPBACK, PATIENCE, Answer, IntegrationTestCase, ask, eventually, send, settled

MIB = 1 << 20
SIZE = 16 * MIB
#: More than all the kernel's buffers on the way can hold, so that it is the slow side that holds the transfer up.
TOO_MUCH = 64 * MIB
#: What the balancer's memory may grow by meanwhile.
ROOM = 16 * MIB

DIGEST = hashlib.sha256(b"".join(pattern(SIZE))).hexdigest()


class WholeBodyTests(IntegrationTestCase):
    """16 MiB arrive as they were sent."""

    def test_up_sized_and_chunked(self) -> None:
        """The backend has got every byte."""
        balancer = self.balancer(backends=[self.backend()])
        connection = self.connection(balancer.port)
        before = balancer.process.rss()
        for framing in ({"Content-Length": str(SIZE)}, {"Transfer-Encoding": "chunked"}):
            answer = send(connection, "/", "POST", pattern(SIZE), **framing)
            self.assertAnswered(answer)
            self.assertEqual((answer.json()["size"], answer.json()["sha256"]), (SIZE, DIGEST))
            names = [name.lower() for name, _ in answer.json()["fields"]]
            self.assertEqual(names.count("content-length") + names.count("transfer-encoding"), 1, names)
        self.assertLess(balancer.process.rss() - before, ROOM)

    def test_down_sized_and_chunked(self) -> None:
        """The client gets every byte, in the backend's own framing."""
        balancer = self.balancer(backends=[self.backend()])
        connection = self.connection(balancer.port)
        before = balancer.process.rss()
        for path, field, value in (
            (f"/big?size={SIZE}", "Content-Length", str(SIZE)),
            (f"/big?size={SIZE}&chunked=1", "Transfer-Encoding", "chunked"),
        ):
            answer = send(connection, path)
            self.assertEqual(answer.headers[field], value)
            self.assertEqual(hashlib.sha256(answer.body).hexdigest(), DIGEST)
        self.assertLess(balancer.process.rss() - before, ROOM)

    def test_many_at_once(self) -> None:
        """Eight clients, up and down at the same time, do not get each other's bytes."""
        balancer = self.balancer(backends=self.backends("ab"))
        wrong: list[object] = []

        def client(number: int) -> None:
            size = MIB + number
            whole = hashlib.sha256(b"".join(pattern(size))).hexdigest()
            for _ in range(3):
                up = ask(balancer.port, "/", "PUT", b"".join(pattern(size))).json()
                down = ask(balancer.port, f"/big?size={size}").body
                if up["sha256"] != whole or hashlib.sha256(down).hexdigest() != whole:
                    wrong.append((number, up["size"], len(down)))

        threads = [threading.Thread(target=client, args=[number], daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(wrong, [])
        self.assertEqual(balancer.pool()["ends"], {"done": 48})


class SlowSideTests(IntegrationTestCase):
    """A slow side pauses the fast one; memory stays bounded."""

    def test_a_client_that_is_slow_to_read(self) -> None:
        """The backend is held up while the client does not read; then all of it comes."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        before = balancer.process.rss()
        client = self.socket(balancer.port, receive_buffer=64 * 1024)
        client.sendall(b"GET /big?size=%d HTTP/1.1\r\nHost: a\r\n\r\n" % TOO_MUCH)
        response = http.client.HTTPResponse(client)
        response.begin()
        digest = hashlib.sha256(response.read(len(BLOCK)))
        sent = settled(lambda: backend.seen()["sent"])
        self.assertLess(sent, TOO_MUCH, "the backend was not held up")
        self.assertLess(balancer.process.rss() - before, ROOM)
        self.assertAnswered(ask(balancer.port))  # others are served meanwhile
        while part := response.read(len(BLOCK)):
            digest.update(part)
        self.assertEqual(digest.hexdigest(), hashlib.sha256(b"".join(pattern(TOO_MUCH))).hexdigest())
        self.assertLess(balancer.process.rss() - before, ROOM)

    def test_a_client_that_pipelines_and_never_reads(self) -> None:
        """It is read no further once its answers do not leave; neither its requests nor the answers pile up."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        before = balancer.process.rss()
        client = self.socket(balancer.port, receive_buffer=64 * 1024)
        client.setblocking(False)
        requests = b"GET /big?size=100000 HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000
        sent = 0

        def send_more() -> int:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                sent += client.send(requests) if sent < TOO_MUCH else 0
            return sent

        self.assertLess(settled(send_more), TOO_MUCH, "the client was not held up")
        self.assertLess(settled(lambda: len(backend.seen()["requests"])), 1000)
        self.assertLess(balancer.process.rss() - before, ROOM)
        self.assertAnswered(ask(balancer.port))

    def test_a_backend_that_is_slow_to_read(self) -> None:
        """The client is held up while the backend does not read; then all of it arrives."""
        for framing in ({"Content-Length": str(TOO_MUCH)}, {"Transfer-Encoding": "chunked"}):
            backend = self.backend()
            balancer = self.balancer(backends=[backend])
            before = balancer.process.rss()
            upload = Upload(balancer.port, framing)
            self.addCleanup(upload.thread.join, PATIENCE)
            eventually("the upload begins", upload.how_much)
            sent = settled(upload.how_much)
            self.assertLess(sent, TOO_MUCH, "the client was not held up")
            self.assertLess(balancer.process.rss() - before, ROOM)
            self.assertAnswered(ask(balancer.port))
            backend.direct("/release")
            answer = eventually("the upload is answered", upload.what_answer)
            self.assertEqual(answer.json()["sha256"], hashlib.sha256(b"".join(pattern(TOO_MUCH))).hexdigest())
            self.assertLess(balancer.process.rss() - before, ROOM)


class Upload:
    """A client that sends a large body to ``/sink`` in a thread of its own."""

    def __init__(self, port: int, framing: dict[str, str]) -> None:
        self.sent = 0
        self.answer: Answer | None = None
        self._port, self._framing = port, framing
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def how_much(self) -> int:
        """Bytes sent so far."""
        return self.sent

    def what_answer(self) -> Answer | None:
        """The answer, once there is one."""
        return self.answer

    def _run(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=PATIENCE)
        self.answer = send(connection, "/sink", "POST", self._body(), **self._framing)
        connection.close()

    def _body(self):
        for block in pattern(TOO_MUCH):
            yield block
            self.sent += len(block)
