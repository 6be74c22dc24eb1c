"""A real HTTP/1.1 server for the tests, a process of its own, written without anything of Twisted's or ours.

``python -m tests.integration.backend NAME PLACE [CERTIFICATE [VERSION]]``, where PLACE is ``HOST:PORT``, ``[IPV6]:PORT`` or
``unix:/path``. With CERTIFICATE, a file with a key and its certificates, it speaks TLS alone; with VERSION, such as ``TLSv1_2``,
no other. What it answers:

=================================  ====================================================================================
``/count``                         what it has seen so far, as JSON; asked by the tests directly and not counted itself
``/release``                       lets those go on that wait (``/sink``); not counted either
``/step``                          lets one go on, by one step (``/events``, ``/hints``, ``/hold``); not counted either
``/slow?seconds=``                 the answer to any other path, later
``/drip?parts=&pause=``            a chunked body, part by part
``/big?size=[&chunked=1]``         that many bytes of :func:`pattern`
``/cut?how=sized|chunked|reset``   a body that breaks off in the middle; *reset* has no length and ends with a reset
``/cut?how=ragged``                the same without a length, over TLS: the connection ends and the session does not
``/until-close``                   a body that is ended by the connection's end
``/garbage[?only=NAME]``           bytes that are no HTTP; from the backend of that name alone, if one is given
``/sink``                          reads nothing of the request's body before ``/release``
``/status?code=``                  an answer with that status and no body
``/refuse?code=[&after=][&how=]``  that status before the body is read, or after that many bytes of it, and the connection's
                                   end: *close* it with what is unread, or *linger* (else) and read all
``/hints``                         two interim responses (103), each until ``/step``, and the answer to any other path
``/events?count=[&how=close]``     server-sent events, each until ``/step``, in chunks or until the connection's end
``/chunk``                         one chunk in three pieces, each until ``/step``
``/hold``                          the answer to any other path, after ``/step``
``/trailers``                      the request's body in chunks, and trailer fields after it
``/tunnel?how=``                   an upgrade, to a tunnel that does as said in one of the ``tunnel_`` methods
``/once``                          as any other, and its target is appended as a line to the file ``once`` in the working folder
``/pace?rate=``                    reads the request's body at that many bytes a second
``/upgrade``                       101, then all that comes is sent back until it ends
``/upgrade?size=``                 101, then that many bytes of :func:`pattern` and an end
``/upgrade?rate=``                 101, then all is read at that many bytes a second; at its end its size and digest are told
``/fault?kind=cut|garbage|none``   spoils the answers to all requests from now on; asked directly and not counted
``/fault?kind=slow&seconds=``      lets them come later; likewise
``/fault?kind=status&code=``       gives them that status, and no body; likewise
any other                          JSON: who answers, and what the request was
=================================  ====================================================================================
"""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .tls_socket import TlsSocket

BLOCK = bytes(range(256)) * 256
#: The body of an answer that refuses a request.
REFUSAL = b"no, and this is why\n" * 1000


#: What tests ask behind the balancer's back.
UNCOUNTED = ("/count", "/release", "/step", "/fault")

BAD_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk at all\r\n"
#: What is no answer to anything.
GARBAGE = (
    b"220 mail.example.org ESMTP ready\r\n\r\n",
    bytes(range(256)) + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nwrong",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    BAD_CHUNK,
    b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
)


def pattern(size: int) -> Iterator[bytes]:
    """*size* bytes that a test can compute again, in blocks."""
    for start in range(0, size, len(BLOCK)):
        yield BLOCK[: size - start]


class Pace:
    """Holds whoever takes bytes down to a rate: each call returns when the bytes taken so far are due.

    :param rate: bytes a second; 0: any.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = time.monotonic()

    def took(self, size: int) -> None:
        """So many bytes more have been taken."""
        if not self._rate:
            return
        self._due += size / self._rate
        early = self._due - time.monotonic()
        if early > 0:
            time.sleep(early)


class Seen:
    """What the server has seen.

    :ivar requests: request lines, whatever became of them.
    :ivar connections: connections accepted.
    :ivar left: answers that could not be written because the other side was gone.
    :ivar received: body bytes of requests, while they come.
    :ivar sent: bytes written by ``/big``, while they go.
    :ivar tunnels: open now.
    :ivar active: requests that are being answered now, and *most*: as many as ever at once.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self.left = 0
        self.received = 0
        self.sent = 0
        self.tunnels = 0
        self.active = 0
        self.most = 0


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # A head and a short body leave in one piece, or a kill between the two would cut the answer short.
    wbufsize = 64 * 1024
    timeout = 60
    server: Any
    #: How fast a request's body is read.
    pace = Pace(0)
    #: Whether the connection is to end without the session's having ended.
    broken = False

    def do(self) -> None:
        """Answer a request of any method."""
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.trailers: list[str] = []
        special = getattr(self, "on_" + url.path.strip("/").replace("-", "_"), None)
        if url.path not in UNCOUNTED:
            self.server.seen.requests.append(self.requestline)
            if url.path == "/once":  # it must outlive this process, whatever goes wrong
                with open("once", "ab", buffering=0) as trace:
                    trace.write(self.path.encode() + b"\n")
            self.unspoilt = special or self.echo
            special = getattr(self, f"spoil_{self.server.fault}", special)
            self.count(1)
        try:
            (special or self.echo)()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.server.seen.left += 1
            self.close_connection = self.broken = True
        finally:
            if url.path not in UNCOUNTED:  # before the end of a short answer leaves, so that the next request comes later
                self.count(-1)

    def count(self, more: int) -> None:
        """So many more requests are being answered."""
        seen = self.server.seen
        with self.server.counting:
            seen.active += more
            seen.most = max(seen.most, seen.active)

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
            "trailers": self.trailers,
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
        framing = {"sized": ("Content-Length", "1000"), "chunked": ("Transfer-Encoding", "chunked")}
        self.close_connection = True
        self.broken = how == "ragged"
        self.begin(framing.get(how, ("X-None", "")))
        if how == "reset":  # before anything is written, so that being killed meanwhile does not make an end in good order of it
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile.write(b"a" * 500 if how != "chunked" else b"1f4\r\n" + b"a" * 500 + b"\r\n")
        self.wfile.flush()
        if how == "reset":
            time.sleep(0.2)  # a reset at once would overtake what was written
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

    def on_pace(self) -> None:
        """Take the body slowly."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.pace = Pace(float(self.query["rate"]))
        self.echo()

    # What is spoken after a 101.

    def on_upgrade(self) -> None:
        """Go over to whatever was asked for, and send back, send, or take."""
        self.switch()
        if "size" in self.query:
            for block in pattern(int(self.query["size"])):
                self.connection.sendall(block)
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(64 * 1024):
                pass
        elif "rate" in self.query:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            digest, size, pace = hashlib.sha256(), 0, Pace(float(self.query["rate"]))
            while data := self.rfile.read1(64 * 1024):
                digest.update(data)
                size += len(data)
                pace.took(len(data))
            self.connection.sendall(json.dumps({"size": size, "sha256": digest.hexdigest()}).encode())
        else:
            while data := self.rfile.read1(64 * 1024):
                self.connection.sendall(data)

    # Answers that come before the body, or in parts.

    def handle_expect_100(self) -> bool:
        """Ask for the body at once, unless the page decides first."""
        if urlsplit(self.path).path != "/refuse":
            super().handle_expect_100()
            self.wfile.flush()
        return True

    def on_refuse(self) -> None:
        """Answer without the whole body, and read on only so that no reset follows."""
        wanted = int(self.query.get("after", 0))
        while wanted:
            wanted -= sum(len(data) for data in self.read(min(wanted, 64 * 1024)))
        self.close_connection = True
        self.begin(("Content-Length", str(len(REFUSAL))), code=int(self.query["code"]))
        self.wfile.write(REFUSAL)
        self.wfile.flush()
        if self.query.get("how") != "close":
            self.connection.shutdown(socket.SHUT_WR)
            while data := self.rfile.read1(64 * 1024):
                self.server.seen.received += len(data)

    def on_step(self) -> None:
        """Let one go on that waits."""
        self.server.steps.release()
        self.answer(b"")

    def step(self) -> None:
        """Send what is written, and wait to be let on."""
        self.wfile.flush()
        self.server.steps.acquire(timeout=60)

    def on_hints(self) -> None:
        """Early hints."""
        for number in range(2):
            self.send_response_only(103, "Early Hints")
            self.send_header("Link", f"</{number}.css>; rel=preload")
            self.end_headers()
            self.step()
        self.echo()

    def on_events(self) -> None:
        """Server-sent events."""
        until_close = self.close_connection = self.query.get("how") == "close"
        self.begin(("Content-Type", "text/event-stream"), *([] if until_close else [("Transfer-Encoding", "chunked")]))
        for number in range(int(self.query["count"])):
            event = b"data: %d\n\n" % number
            self.wfile.write(event) if until_close else self.chunk(event)
            self.step()
        if not until_close:
            self.chunk(b"")

    def on_chunk(self) -> None:
        """A chunk that does not come at once."""
        self.begin(("Transfer-Encoding", "chunked"))
        for part in (b"7\r\non", b"e,t", b"wo\r\n0\r\n\r\n"):
            self.wfile.write(part)
            self.step()

    def on_hold(self) -> None:
        """A long poll."""
        self.step()
        self.echo()

    def on_trailers(self) -> None:
        """The body back, with its digest behind it, and what the request had there."""
        digest = hashlib.sha256()
        self.begin(("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum, X-Seen"))
        for block in self.body():
            digest.update(block)
            self.chunk(block)
        seen = "; ".join(self.trailers)
        self.wfile.write(f"0\r\nX-Sum: {digest.hexdigest()}\r\nX-Seen: {seen}\r\n\r\n".encode())

    def switch(self) -> None:
        """The head of a 101; it leaves at once."""
        self.close_connection = True
        self.send_response(101)
        for name, value in (("X-Backend", self.server.name), ("Connection", "Upgrade"), ("Upgrade", self.headers["Upgrade"])):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    # Tunnels.

    def on_tunnel(self) -> None:
        """Switch to what the client asks for."""
        self.switch()
        self.server.seen.tunnels += 1
        try:
            getattr(self, "tunnel_" + self.query.get("how", "echo"))()
        finally:
            self.server.seen.tunnels -= 1

    def tunnel_echo(self) -> None:
        """Give back all that comes, and when no more comes say so."""
        while data := self.rfile.read1(64 * 1024):
            self.server.seen.received += len(data)
            self.connection.sendall(data)
        self.connection.sendall(b"the end")

    def tunnel_flood(self) -> None:
        """Send much; a small buffer, as in ``/big``."""
        self.server.seen.sent = 0
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        for block in pattern(int(self.query["size"])):
            self.connection.sendall(block)
            self.server.seen.sent += len(block)

    def tunnel_sink(self) -> None:
        """Read nothing before ``/release``, then all, and say what it was."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.server.released.wait(60)
        digest = hashlib.sha256()
        while data := self.rfile.read1(64 * 1024):
            digest.update(data)
        self.connection.sendall(digest.hexdigest().encode())

    def tunnel_half(self) -> None:
        """Say all there is to say, and listen."""
        self.connection.sendall(b"hello")
        self.connection.shutdown(socket.SHUT_WR)
        while data := self.rfile.read1(64 * 1024):
            self.server.seen.received += len(data)

    def tunnel_reset(self) -> None:
        """Say something, and after ``/step`` reset the connection."""
        self.connection.sendall(b"hello")
        self.step()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    # Faults: what becomes of all answers once /fault has said so.

    def on_fault(self) -> None:
        """From now on be at fault in this way, or in none."""
        self.server.fault, self.server.fault_query = self.query["kind"], self.query
        self.answer(b"")

    def spoil_slow(self) -> None:
        """Take some time."""
        time.sleep(float(self.server.fault_query["seconds"]))
        self.unspoilt()

    def spoil_status(self) -> None:
        """Read what comes, and have nothing but a status for it."""
        for _ in self.body():
            pass
        self.query["code"] = self.server.fault_query["code"]
        self.on_status()

    def spoil_cut(self) -> None:
        """Begin an answer and break it off, each time in another way; half of the requests are not read to their end."""
        number = next(self.server.spoilt)
        if number % 2:
            for _ in self.body():
                pass
        self.close_connection = True
        if self.command == "HEAD":  # without a body there is nothing to be cut
            self.unspoilt()
        elif self.headers.get("Upgrade"):
            self.switch()
            self.connection.sendall(self.rfile.read1(1000)[:500])
        else:
            hows = ("sized", "chunked", "reset", *(["ragged"] * 2 if self.server.context else []))
            self.query["how"] = hows[number % len(hows)]
            self.on_cut()

    def spoil_garbage(self) -> None:
        """Answer with what is no answer, each time another; half of the requests are not read to their end."""
        number = next(self.server.spoilt)
        if number % 2:
            for _ in self.body():
                pass
        self.close_connection = True
        garbage = (*GARBAGE, b"")[number % (len(GARBAGE) + 1)]
        if self.command == "HEAD" and garbage in (BAD_CHUNK, b""):  # without a body there is nothing wrong with these
            self.unspoilt()
        elif garbage:
            self.wfile.write(garbage)
        else:
            self.begin(("Transfer-Encoding", "chunked"))
            self.chunk(b"good so far")
            self.wfile.flush()
            self.wfile.write(b"no chunk at all\r\n")

    # Writing and reading.

    def finish(self) -> None:
        """The end of the connection; over TLS the session's first, in good order."""
        super().finish()
        if isinstance(self.connection, TlsSocket) and not self.broken and self.connection.fileno() >= 0:
            self.connection.end()

    def answer(self, body: bytes) -> None:
        """A whole answer."""
        self.begin(("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, *fields: tuple[str, str], code: int = 200) -> None:
        """The head of an answer."""
        self.send_response(code)
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
            while line := self.rfile.readline().strip():
                self.trailers.append(line.decode("latin-1"))
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
            self.pace.took(len(data))

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

    def __init__(self, name: str, place: str, certificate: str = "", version: str = "") -> None:
        self.name = name
        self.context = _context(certificate, version) if certificate else None
        self.seen = Seen()
        self.released = threading.Event()
        self.steps = threading.Semaphore(0)
        self.counting = threading.Lock()
        self.fault = "none"
        self.fault_query: dict[str, str] = {}
        self.spoilt = itertools.count()
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

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in its thread; over TLS after a handshake there."""
        if self.context is None:
            super().finish_request(request, client_address)
        else:
            request.settimeout(Handler.timeout)
            Handler(TlsSocket.accept(request, self.context), client_address, self)  # type: ignore[arg-type]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was reset between two requests is nothing to speak of, nor a session that broke; the rest is."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


def _context(certificate: str, version: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["http/1.1"])
    if version:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


if __name__ == "__main__":
    Server(*sys.argv[1:]).serve_forever(poll_interval=60)
