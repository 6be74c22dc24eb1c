"""A real HTTP/1.1 server for the tests, a process of its own, written without anything of Twisted's or ours.

``python backend.py NAME PLACE``, where PLACE is ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:/path``. What it answers:

=================================  ====================================================================================
``/count``                         what it has seen so far, as JSON; asked by the tests directly and not counted itself
``/release``                       lets those go on that wait (``/sink``); not counted either
``/slow?seconds=``                 the answer to any other path, later
``/drip?parts=&pause=``            a chunked body, part by part
``/big?size=[&chunked=1]``         that many bytes of :func:`pattern`
``/cut?how=sized|chunked|reset``   a body that breaks off in the middle; *reset* has no length and ends with a reset
``/until-close``                   a body that is ended by the connection's end
``/garbage[?only=NAME]``           bytes that are no HTTP; from the backend of that name alone, if one is given
``/sink``                          reads nothing of the request's body before ``/release``
``/status?code=``                  an answer with that status and no body
any other                          JSON: who answers, and what the request was
=================================  ====================================================================================
"""

from __future__ import annotations

import hashlib
import json
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

BLOCK = bytes(range(256)) * 256


def pattern(size: int) -> Iterator[bytes]:
    """*size* bytes that a test can compute again, in blocks."""
    for start in range(0, size, len(BLOCK)):
        yield BLOCK[: size - start]


class Seen:
    """What the server has seen.

    :ivar requests: request lines, whatever became of them.
    :ivar connections: connections accepted.
    :ivar left: answers that could not be written because the other side was gone.
    :ivar received: body bytes of requests, while they come.
    :ivar sent: bytes written by ``/big``, while they go.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self.left = 0
        self.received = 0
        self.sent = 0


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # A head and a short body leave in one piece, or a kill between the two would cut the answer short.
    wbufsize = 64 * 1024
    timeout = 60
    server: Any

    def do(self) -> None:
        """Answer a request of any method."""
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        special = getattr(self, "on_" + url.path.strip("/").replace("-", "_"), None)
        if url.path not in ("/count", "/release"):
            self.server.seen.requests.append(self.requestline)
        try:
            (special or self.echo)()
        except (BrokenPipeError, ConnectionResetError):
            self.server.seen.left += 1
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do

    # Pages.

    def echo(self) -> None:
        """Say who answers and what the request was."""
        digest, size = hashlib.sha256(), 0
        for block in self.body():
            digest.update(block)
            size += len(block)
        about = {
            "name": self.server.name,
            "request": self.requestline,
            "fields": self.headers.items(),
            "size": size,
            "sha256": digest.hexdigest(),
        }
        self.answer(json.dumps(about).encode())

    def on_count(self) -> None:
        """Say what was seen."""
        self.answer(json.dumps(vars(self.server.seen)).encode())

    def on_release(self) -> None:
        """Let those go on that wait."""
        self.server.released.set()
        self.answer(b"")

    def on_slow(self) -> None:
        """Take some time."""
        time.sleep(float(self.query.get("seconds", 1)))
        self.echo()

    def on_drip(self) -> None:
        """A chunked body, part by part."""
        self.begin(("Transfer-Encoding", "chunked"))
        for number in range(int(self.query.get("parts", 3))):
            self.chunk(b"part %d\n" % number)
            self.wfile.flush()
            time.sleep(float(self.query.get("pause", 0)))
        self.chunk(b"")

    def on_big(self) -> None:
        """A large body."""
        size, chunked = int(self.query["size"]), "chunked" in self.query
        self.begin(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size)))
        if self.command == "HEAD":
            return
        self.server.seen.sent = 0
        # A small buffer, so that what is under way says something about the balancer and not about the kernel.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        for block in pattern(size):
            self.chunk(block) if chunked else self.wfile.write(block)
            self.server.seen.sent += len(block)
        if chunked:
            self.chunk(b"")

    def on_cut(self) -> None:
        """A body that breaks off."""
        how = self.query["how"]
        framing = {"sized": ("Content-Length", "1000"), "chunked": ("Transfer-Encoding", "chunked"), "reset": ("X-None", "")}
        self.close_connection = True
        self.begin(framing[how])
        self.wfile.write(b"a" * 500 if how != "chunked" else b"1f4\r\n" + b"a" * 500 + b"\r\n")
        self.wfile.flush()
        if how == "reset":
            time.sleep(0.2)  # a reset at once would overtake what was written
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def on_until_close(self) -> None:
        """A body without a length."""
        self.close_connection = True
        self.begin()
        self.wfile.write(b"until the end")

    def on_garbage(self) -> None:
        """No HTTP at all."""
        if self.query.get("only", self.server.name) != self.server.name:
            self.echo()
            return
        self.close_connection = True
        self.wfile.write(b"220 mail.example.org ESMTP ready\r\n\r\n")

    def on_sink(self) -> None:
        """Take the body late."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.server.released.wait(60)
        self.echo()

    def on_status(self) -> None:
        """A status without a body."""
        code = int(self.query["code"])
        self.send_response(code)
        self.send_header("X-Backend", self.server.name)
        if code not in (204, 304):
            self.send_header("Content-Length", "0")
        self.end_headers()

    # Writing and reading.

    def answer(self, body: bytes) -> None:
        """A whole answer."""
        self.begin(("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, *fields: tuple[str, str]) -> None:
        """The head of an answer with status 200."""
        self.send_response(200)
        for name, value in (("X-Backend", self.server.name), *fields):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        """One chunk; the last one if empty."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def body(self) -> Iterator[bytes]:
        """The request's body, in blocks."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield from self.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield from self.read(int(self.headers.get("Content-Length", 0)))

    def read(self, size: int) -> Iterator[bytes]:
        """Exactly *size* bytes, in blocks."""
        while size:
            data = self.rfile.read1(min(size, 64 * 1024))
            if not data:
                raise ConnectionResetError("the body broke off")
            self.server.seen.received += len(data)
            size -= len(data)
            yield data

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing; :class:`Seen` remembers."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Remember what could not be read, and answer."""
        self.server.seen.requests.append(f"unreadable: {getattr(self, 'raw_requestline', b'')!r}")
        super().send_error(code, message, explain)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.seen = Seen()
        self.released = threading.Event()
        host, _, port = place.rpartition(":")
        address: Any = (host.strip("[]"), int(port)) if port.isdigit() else port
        self.address_family = socket.AF_UNIX if host == "unix" else socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count, and serve in a thread."""
        self.seen.connections += 1
        if self.address_family != socket.AF_UNIX:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was reset between two requests is nothing to speak of; the rest is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    Server(*sys.argv[1:]).serve_forever(poll_interval=60)
