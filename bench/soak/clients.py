"""Clients that know exactly what became of each request: a thread each, on blocking sockets.

They are honest HTTP clients (RFC 9112 section 9.3.1): before a kept-alive connection is used again they look whether it has been
closed, and a request of an idempotent method that is on its way on a connection which has served before, and ends without a
byte of an answer, is sent again on a new one, once.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from bench.connecting import HOST
from bench.soak.ledger import Failure, Ledger

# Seconds that a client waits for anything at most.
PATIENCE = 20.0

# Bytes of an upload, and of its parts, between which the client rests, in seconds.
UPLOAD, PART, REST = 200_000, 20_000, 0.002
DOWNLOAD = 400_000

# Seconds between two messages through a tunnel.
BETWEEN_MESSAGES = 0.03


class Broken(Exception):
    """The other side has ended the connection, or says what it should not. With how many bytes of an answer had come."""

    def __init__(self, why: str, answered: int = 0) -> None:
        super().__init__(why)
        self.answered = answered


class Client:
    """One of them, which asks until it is told to stop.

    :param life: requests for which a connection is kept, from and to; 0: as long as it lasts.
    :param rest: seconds between two requests.
    """

    kind = "get"

    def __init__(
        self, port: int, number: int, ledger: Ledger, stopping: threading.Event, life: tuple[int, int] = (0, 0), rest: float = 0.005
    ) -> None:
        self._port, self._ledger, self._stopping = port, ledger, stopping
        self._random = random.Random(f"{self.kind} {number}")
        self._name = f"{self.kind}-{number}"
        self._life, self._rest = life, rest
        self._asked = self._left = 0
        self._socket: socket.socket | None = None
        self._used = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def target(self, name: str) -> str:
        """What is asked for; a moment is taken, so that there is always something under way."""
        return f"/slow?seconds=0.01&n={name}"

    def parts(self, target: str) -> Iterator[bytes]:
        """The request."""
        yield f"GET {target} HTTP/1.1\r\nHost: soak.example\r\n\r\n".encode()

    def check(self, body: bytes) -> bool:
        """Whether it is the right answer."""
        return bool(body)

    def _run(self) -> None:
        while not self._stopping.wait(self._rest):
            self._asked += 1
            target = self.target(f"{self._name}-{self._asked}")
            if self.ask(target, may_repeat=True):
                self._ledger.succeeded(self.kind)
        self._leave()

    def ask(self, target: str, may_repeat: bool) -> bool:
        """Ask and read the answer; again if that may be done. Whether all went well."""
        sent = time.monotonic()
        try:
            connection = self._connected()
            used = self._used
        except OSError as error:
            self._fail(target, sent, f"cannot connect: {error!r}", 0, False)
            self._stopping.wait(0.05)
            return False
        try:
            self._exchange(connection, target)
            return True
        except Broken as error:
            why, answered = str(error), error.answered
        except OSError as error:
            why, answered = repr(error), 0
        self._leave()
        repeated = used and may_repeat and not answered
        self._fail(target, sent, why, answered, repeated)
        return repeated and self.ask(target + "-again", may_repeat=False)

    def _fail(self, target: str, sent: float, why: str, answered: int, repeated: bool) -> None:
        self._ledger.failed(Failure(self.kind, target, sent, time.monotonic(), answered, repeated, why))

    def _connected(self) -> socket.socket:
        """The connection that is kept, if it still stands, or a new one."""
        if self._socket is not None and self._has_ended(self._socket):
            self._ledger.broke()
            self._leave()
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port), PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._used, self._left = False, self._random.randint(*self._life)
        return self._socket

    def _has_ended(self, connection: socket.socket) -> bool:
        connection.setblocking(False)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(PATIENCE)
        return True  # an end, or something that was not asked for

    def _leave(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, connection: socket.socket, target: str) -> None:
        try:
            for part in self.parts(target):
                connection.sendall(part)
            head, body = self._answer(connection)
        except (Broken, OSError):
            self._ledger.broke()
            raise
        status = head.split(b" ", 2)[1]
        if status != b"200" or not self.check(body):
            raise Broken(f"status {status.decode()}, {body[:200]!r}", len(head))
        self._used = True
        self._left -= 1
        if b"\r\nconnection: close" in head.lower() or self._left == 0:
            self._leave()

    def _answer(self, connection: socket.socket) -> tuple[bytes, bytes]:
        """Head and body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more(connection, len(data))
        head, _, body = data.partition(b"\r\n\r\n")
        length = length_of(head)
        parts, size = [body], len(body)
        while size < length:
            part = self._more(connection, len(head) + size)
            parts.append(part)
            size += len(part)
        return head, b"".join(parts)

    def _more(self, connection: socket.socket, answered: int) -> bytes:
        try:
            part = connection.recv(65536)
        except OSError as error:
            raise Broken(repr(error), answered) from error
        if not part:
            raise Broken(f"an end after {answered} bytes of an answer", answered)
        return part


def length_of(head: bytes) -> int:
    """Return the body's length that a head announces; all backends here do.

    :raises Broken: it does not.
    """
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise Broken(f"no length in {head!r}", len(head))


class Upload(Client):
    """Sends a body, which takes a while."""

    kind = "upload"

    def target(self, name: str) -> str:
        return f"/?n={name}"

    def parts(self, target: str) -> Iterator[bytes]:
        yield f"PUT {target} HTTP/1.1\r\nHost: soak.example\r\nContent-Length: {UPLOAD}\r\n\r\n".encode()
        for _ in range(UPLOAD // PART):
            yield bytes(PART)
            time.sleep(REST)

    def check(self, body: bytes) -> bool:
        return bool(json.loads(body)["size"] == UPLOAD)


class Download(Client):
    """Receives a large body."""

    kind = "download"

    def target(self, name: str) -> str:
        return f"/big?size={DOWNLOAD}&n={name}"

    def check(self, body: bytes) -> bool:
        return len(body) == DOWNLOAD


class Anew(Client):
    """Has a new connection for each request."""

    kind = "anew"

    def parts(self, target: str) -> Iterator[bytes]:
        yield f"GET {target} HTTP/1.1\r\nHost: soak.example\r\nConnection: close\r\n\r\n".encode()


class Tunnel(Client):
    """Has messages come back through a WebSocket's tunnel. *life* is how many; 0: until the other side ends it."""

    kind = "tunnel"

    def _run(self) -> None:
        while not self._stopping.wait(self._rest):
            self._asked += 1
            if self.ask(f"/upgrade?n={self._name}-{self._asked}", may_repeat=False):
                self._ledger.succeeded(self.kind)
            self._leave()

    def _exchange(self, connection: socket.socket, target: str) -> None:
        fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c29hayBzb2FrIHNvYWs="
        try:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: soak.example\r\n{fields}\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self._more(connection, len(head))
            if not head.startswith(b"HTTP/1.1 101"):
                raise Broken(f"not switched: {head!r}", len(head))
            self._converse(connection, len(head))
        except (Broken, OSError):
            self._ledger.broke()
            raise

    def _converse(self, connection: socket.socket, answered: int) -> None:
        left = self._left
        while not self._stopping.wait(BETWEEN_MESSAGES):
            message = self._random.randbytes(self._random.randint(1, 2000))
            connection.sendall(message)
            echo = b""
            while len(echo) < len(message):
                echo += self._more(connection, answered)
            if echo != message:
                raise Broken("another message came back", answered)
            left -= 1
            if left == 0:
                break
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(65536):
            raise Broken("more came than was sent", answered)


class Crowd:
    """Clients of several kinds at the same time.

    :param made: makes each, of the port, its number, the ledger, and what tells it to stop.
    """

    def __init__(self, port: int, made: Sequence[Callable[[int, int, Ledger, threading.Event], Client]]) -> None:
        self.ledger = Ledger()
        self._stopping = threading.Event()
        self._clients = [make(port, number, self.ledger, self._stopping) for number, make in enumerate(made)]

    def stop(self) -> None:
        """Let each end what it does.

        :raises RuntimeError: one does not.
        """
        self._stopping.set()
        deadline = time.monotonic() + PATIENCE
        for client in self._clients:
            client.thread.join(max(deadline - time.monotonic(), 0))
        hanging = [client.kind for client in self._clients if client.thread.is_alive()]
        if hanging:
            raise RuntimeError(f"clients that do not end: {hanging}")
