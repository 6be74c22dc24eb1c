"""What a client has asked for is answered, and what has been said to it arrives, however it ends its side."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
import threading

from .support import (
    PATIENCE,
    IntegrationTestCase,
    eventually,
    fields,
    read_all,
    read_head,
    settled,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\n"


def send_all(client: socket.socket, data: bytes) -> None:
    """Send as much as is taken."""
    with contextlib.suppress(OSError):
        client.sendall(data)


class PipelinedTests(IntegrationTestCase):
    """Answers that wait for their client."""

    def test_a_half_close_does_not_drop_what_waits(self) -> None:
        """A client that has pipelined its requests, reads none of the answers, and only then half-closes."""
        balancer = self.balancer(backends=[self.backend()])
        client = self.socket(balancer.port, receive_buffer=64 * 1024)
        number = 400
        client.sendall(b"GET /big?size=30000 HTTP/1.1\r\nHost: a\r\n\r\n" * number)
        settled(lambda: balancer.pool()["ends"])
        client.shutdown(socket.SHUT_WR)
        settled(lambda: balancer.pool()["ends"])
        self.assertEqual(read_all(client).count(b"HTTP/1.1 200 "), number)

    def test_half_a_pipelined_request_is_not_waited_for(self) -> None:
        """A client that has half-closed cannot send the rest of a body."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        client = self.socket(balancer.port)
        hold, half = (b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
        client.sendall(hold + half)
        client.shutdown(socket.SHUT_WR)
        eventually("it is there", lambda: backend.seen()["requests"])
        backend.direct("/step")
        eventually("all is over", lambda: not balancer.pool()["in_flight"], 5)

    def test_what_waits_is_bounded(self) -> None:
        """However much a client pipelines that reads its answers, little of it is read before its turn."""
        balancer = self.balancer(backends=[self.backend()])
        before = balancer.process.rss()
        client = self.socket(balancer.port)
        threading.Thread(target=send_all, args=[client, GET * 1_000_000], daemon=True).start()
        with client.makefile("rb") as stream:
            for _ in range(900):
                head = b"".join(iter(stream.readline, b"\r\n"))
                stream.read(int(fields(head)["content-length"]))
        self.assertLess((balancer.process.rss() - before) >> 20, 16)


class EndTests(IntegrationTestCase):
    """The last answer on a connection, of which the client still sends something."""

    def test_what_is_unread_does_not_eat_the_answer(self) -> None:
        """A client that asks for the end and has more on the way gets its whole answer all the same (RFC 9112 section 9.6)."""
        balancer = self.balancer(backends=[self.backend()])
        client = self.socket(balancer.port, receive_buffer=64 * 1024)
        client.sendall(b"GET /big?size=300000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET * 8000)
        settled(lambda: balancer.pool()["ends"])
        self.assertEqual(len(read_all(client).partition(b"\r\n\r\n")[2]), 300_000)

    def test_the_last_of_many_pipelined_requests(self) -> None:
        """A connection's thousandth request is its last; a client that has sent more of them, and is slow to read the
        last, gets a thousand whole answers."""
        balancer = self.balancer(backends=[self.backend()])
        client = self.socket(balancer.port, receive_buffer=32 * 1024)
        request = b"GET /big?size=1000 HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 200 + b"\r\n\r\n"
        threading.Thread(target=send_all, args=[client, request * 3000], daemon=True).start()
        got = b""
        while got.count(b"HTTP/1.1 200 ") < 850:
            got += client.recv(65536)
        settled(lambda: balancer.pool()["ends"])
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(65536):
                got += part
        self.assertEqual((got.count(b"HTTP/1.1 200 "), got.count(b"Connection: close"), got[-1:]), (1000, 1, b"\xe7"))


class TunnelTests(IntegrationTestCase):
    """Ends of tunnels."""

    def test_last_words_reach_a_client_that_still_sends(self) -> None:
        """What the backend has said before it ended, and the balancer has taken, is not lost with a reset."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        balancer = self.balancer(backends=[f"127.0.0.1:{listening.getsockname()[1]}"])
        client = self.socket(balancer.port, receive_buffer=32 * 1024)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        listening.settimeout(PATIENCE)
        backend = listening.accept()[0]
        while backend.recv(1000, socket.MSG_PEEK)[:1] != b"G":  # a probe
            backend.close()
            backend = listening.accept()[0]
        self.addCleanup(backend.close)
        read_head(backend)
        backend.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        read_head(client)
        backend.sendall(b"x" * 400_000)
        unsent = struct.Struct("i")
        eventually(
            "all of it is with the balancer", lambda: not unsent.unpack(fcntl.ioctl(backend, termios.TIOCOUTQ, bytes(4)))[0]
        )
        client.setblocking(False)
        sent = 0

        def send_more() -> int:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                sent += client.send(bytes(1 << 20))
            return sent

        settled(send_more)
        backend.close()  # with what is unread, as the kernel does for a process that is killed
        eventually("the balancer knows", lambda: not balancer.pool()["in_flight"])
        client.settimeout(PATIENCE)
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(65536):
                got += len(part)
        self.assertEqual(got, 400_000)
