"""The clients of the chaos test: a mixture of everything, from a seed, and a look at every byte of what comes back."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from .backend import pattern
from .chaos_tls import Before, Door
from .support import LOOPBACK, PATIENCE, fields
from .tls_socket import TlsSocket

#: The balancer's own, in seconds, as the test starts it.
RESPONSE_TIMEOUT, IDLE_TIMEOUT = 1.5, 2.0
#: Bytes of a request's body that a balancer keeps for another attempt (the default).
REPLAY_LIMIT = 64 * 1024

REPEATABLE = frozenset(("GET", "HEAD", "PUT"))

Connected: TypeAlias = "socket.socket | TlsSocket"


class Ask(NamedTuple):
    """One request: what it is, and how its body is framed (``sized``, ``chunked``, ``asked``: only after a 100)."""

    method: str
    path: str
    body: bytes | None = None
    framing: str = "sized"
    key: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether a balancer can and may send it again."""
        return (self.method in REPEATABLE or self.key) and len(self.body or b"") <= REPLAY_LIMIT

    def head(self, name: str, cookie: str = "") -> bytes:
        """Its head. *name* stands in a field, so that an answer to another request is found out."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: chaos", f"X-Ask: {name}"]
        if cookie:
            lines.append(f"Cookie: {cookie}")
        if self.key:
            lines.append(f"Idempotency-Key: {name}")
        if self.body is not None:
            chunked = self.framing == "chunked"
            lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(self.body)}")
            if self.framing == "asked":
                lines.append("Expect: 100-continue")
        return "\r\n".join([*lines, "", ""]).encode()

    def parts(self) -> Iterator[bytes]:
        """Its body on the wire, in parts."""
        body = self.body or b""
        for start in range(0, len(body), 20_000):
            part = body[start : start + 20_000]
            yield b"%x\r\n%b\r\n" % (len(part), part) if self.framing == "chunked" else part
        if self.framing == "chunked":
            yield b"0\r\n\r\n"


def choose(rng: random.Random, name: str) -> Ask:
    """What is asked next."""
    size = rng.choice((0, rng.randrange(2000), rng.randrange(2000, REPLAY_LIMIT), REPLAY_LIMIT, REPLAY_LIMIT + 1, 300_000))
    body = rng.randbytes(size)
    framing = rng.choice(("sized", "sized", "chunked", "asked" if body else "sized"))
    large = rng.randrange(1, 400_000)
    asks = (
        (4, Ask("GET", f"/?{name}")),
        (2, Ask("GET", f"/slow?seconds=0.05&{name}")),
        (2, Ask("GET", f"/big?size={large}")),
        (2, Ask("GET", f"/big?size={large}&chunked=1")),
        (2, Ask("GET", "/drip?parts=20&pause=0.02")),
        (1, Ask("HEAD", f"/?{name}")),
        (1, Ask("HEAD", f"/big?size={large}")),
        (3, Ask("PUT", f"/?{name}", body, framing)),
        (3, Ask("POST", f"/once?{name}", body, framing)),
        (2, Ask("POST", f"/?{name}", body, framing, key=True)),
    )
    return rng.choices([ask for _, ask in asks], [weight for weight, _ in asks])[0]


def mistake(ask: Ask, name: str, headers: http.client.HTTPMessage, body: bytes) -> str:
    """What is wrong with a whole answer of status 200; empty: nothing."""
    path = ask.path.partition("?")[0]
    wanted = b""
    if path == "/big":
        size = int(ask.path.partition("size=")[2].partition("&")[0])
        if ask.method == "GET":
            wanted = b"".join(pattern(size))
        elif headers["Content-Length"] != str(size):
            return f"Content-Length {headers['Content-Length']} for {size}"
    elif path == "/drip":
        wanted = b"".join(b"part %d\n" % number for number in range(20))
    elif ask.method != "HEAD":
        return _echo_mistake(ask, name, headers, body)
    return "" if body == wanted else f"a body of {len(body)} bytes that is another than the one of {len(wanted)}"


def _echo_mistake(ask: Ask, name: str, headers: http.client.HTTPMessage, body: bytes) -> str:
    about = json.loads(body)
    sent = ask.body or b""
    wanted = {
        "name": headers["X-Backend"],
        "request": f"{ask.method} {ask.path} HTTP/1.1",
        "size": len(sent),
        "sha256": hashlib.sha256(sent).hexdigest(),
    }
    got = {field: about[field] for field in wanted}
    if got != wanted:
        return f"{got} for {wanted}"
    named = [value for field, value in about["fields"] if field == "X-Ask"]
    return "" if named == [name] else f"X-Ask is {named}"


class Outcome(NamedTuple):
    """What became of a request.

    :ivar how: ``whole``; ``refused``: with the balancer's own status; ``reset``: in mid-body; ``ended``: in mid-body as if in
        good order; ``silent``: without an answer, or a tunnel without an end; ``wrong``: a whole answer to another question;
        ``tunnel``: a tunnel that ended too early.
    :ivar backend: which began to answer.
    """

    ask: Ask
    name: str
    how: str
    began: float
    ended: float
    status: int = 0
    backend: str | None = None
    detail: str = ""


class _Reader(io.BufferedReader):
    """Reads a connection for one response after the other; a response that closes what it read from takes nothing along."""

    def __init__(self, connected: Connected) -> None:
        super().__init__(connected.raw() if isinstance(connected, TlsSocket) else socket.SocketIO(connected, "rb"))

    def makefile(self, mode: str) -> _Reader:
        """Itself, for a response that asks a socket for a file."""
        return self

    def close(self) -> None:
        """Nothing: the socket is closed by its owner."""


class Client:
    """Asks one thing after the other over a kept connection, from a seed, until it is told to stop; at times it sends several
    requests at once, goes over to a tunnel, or leaves without waiting.

    :param door: where it speaks TLS; None: it does not.
    :ivar outcomes: what became of each request.
    :ivar resumed: how many of its sessions went on with another.
    """

    def __init__(self, port: int, seed: str, stopping: threading.Event, door: Door | None = None) -> None:
        self.outcomes: list[Outcome] = []
        self.resumed = 0
        self._port, self._seed, self._stopping, self._door = port, seed, stopping, door
        self._rng = random.Random(seed)
        self._socket: Connected | None = None
        self._used = 0.0
        self._before: Before | None = None
        self._cookie = ""
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stopping.wait(self._rng.uniform(0, 0.02)):
            number += 1
            name = f"n{self._seed}-{number}".replace(":", "-")
            act = self._rng.choices((self._exchange, self._pipeline, self._tunnel, self._abandon), (16, 2, 2, 1))[0]
            began = time.monotonic()
            try:
                act(name)
            except Exception as error:
                self._leave()
                self.outcomes.append(Outcome(Ask("?", name), name, "wrong", began, time.monotonic(), detail=repr(error)))
        self._leave()

    def _leave(self) -> None:
        if isinstance(self._socket, TlsSocket) and self._rng.random() < 0.5:
            with contextlib.suppress(OSError):
                self._socket.end()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> Connected:
        if self._door is not None:
            return self._enter(self._door)
        connected = socket.create_connection((LOOPBACK, self._port), timeout=PATIENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return connected

    def _enter(self, door: Door) -> TlsSocket:
        """Over TLS, where the connection that is kept may lend its session."""
        before = self._before if self._rng.random() < 0.7 else None
        secure = door.enter(before, old=not door.modern and self._rng.random() < 0.4)
        self.resumed += secure.resumed
        return secure

    def _kept(self) -> Connected:
        """The connection that is kept, or a new one."""
        if isinstance(self._socket, TlsSocket):
            self._before = Before(self._socket.session, self._socket.version == "TLSv1.2")
        if time.monotonic() - self._used > IDLE_TIMEOUT / 2:  # a tunnel took long, and the balancer may be about to close it
            self._leave()
        if self._socket is None:
            self._socket = self._connect()
            self._reader = _Reader(self._socket)
        return self._socket

    def _exchange(self, name: str) -> None:
        """A request and its response."""
        ask = choose(self._rng, name)
        connected, began = self._kept(), time.monotonic()
        broken = self._send(connected, ask, name)
        self.outcomes.append(self._receive(ask, name, began, broken))
        if broken:
            self._leave()

    def _pipeline(self, name: str) -> None:
        """Several requests at once; their answers come in their order."""
        asks = [(Ask("GET", f"/?{name}-{number}"), f"{name}-{number}") for number in range(self._rng.randrange(2, 5))]
        connected, began = self._kept(), time.monotonic()
        broken: Exception | None = None
        try:
            connected.sendall(b"".join(ask.head(each, self._cookie) for ask, each in asks))
        except OSError as error:
            broken = error
        for ask, each in asks:
            if self._socket is not None:  # what follows a last answer is not answered
                self.outcomes.append(self._receive(ask, each, began, broken))

    def _abandon(self, name: str) -> None:
        """A request whose answer is not waited for."""
        ask = choose(self._rng, name)
        with self._connect() as connected, contextlib.suppress(OSError):
            connected.sendall(ask.head(name) + b"".join(ask.parts())[:30_000])
            time.sleep(self._rng.uniform(0, 0.1))
            if isinstance(connected, TlsSocket) and self._rng.random() < 0.5:
                connected.reset()

    def _receive(self, ask: Ask, name: str, began: float, broken: Exception | None) -> Outcome:
        """The answer.

        :param broken: what sending has run into.
        """

        def outcome(how: str, detail: object = "", status: int = 0, backend: str | None = None) -> Outcome:
            if how not in ("whole", "refused"):
                self._leave()
            self._used = time.monotonic()
            return Outcome(ask, name, how, began, self._used, status, backend, str(detail))

        response = http.client.HTTPResponse(self._reader, method=ask.method)  # type: ignore[arg-type]
        try:
            response.begin()
        except (OSError, http.client.HTTPException) as error:
            return outcome("silent", f"{error!r}, having sent {broken or 'all'!r}")
        status, backend = response.status, response.headers["X-Backend"]
        self._cookie = response.headers.get("Set-Cookie", self._cookie).partition(";")[0]
        try:
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            # A reset that sending has run into is told only once.
            reset = isinstance(error, ConnectionResetError) or isinstance(broken, ConnectionError)
            return outcome("reset" if reset else "ended", repr(error), status, backend)
        if response.will_close:
            self._leave()
        if status != 200:
            return outcome("refused", body[:200], status, backend)
        wrong = mistake(ask, name, response.headers, body)
        return outcome("wrong" if wrong else "whole", wrong, status, backend)

    def _send(self, connected: Connected, ask: Ask, name: str) -> Exception | None:
        """Send it; gives why not all of it went out, if so. What is to be thought of that is for the answer to say."""
        try:
            connected.sendall(ask.head(name, self._cookie))
            if ask.framing == "asked" and not self._reader.peek(12).startswith(b"HTTP/1.1 100"):
                return EOFError("the body was not asked for")
            for part in ask.parts():
                connected.sendall(part)
        except OSError as error:
            return error
        return None

    def _tunnel(self, name: str) -> None:
        """An upgrade, some messages and their echoes, and an end in good order."""
        ask = Ask("GET", f"/upgrade?{name}")
        began = time.monotonic()
        with self._connect() as connected:
            connected.sendall(f"GET {ask.path} HTTP/1.1\r\nHost: chaos\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
            how, detail, status, backend = self._through(connected)
        self.outcomes.append(Outcome(ask, name, how, began, time.monotonic(), status, backend, detail))

    def _through(self, connected: Connected) -> tuple[str, str, int, str | None]:
        """How the tunnel was, in what detail, and the head's status and backend."""
        reader = connected.makefile("rb")
        lines = []
        try:
            while (line := reader.readline()) not in (b"\r\n", b""):
                lines.append(line)
        except OSError as error:
            return "silent", repr(error), 0, None
        if not line:
            return "silent", f"an end after {lines}", 0, None
        head = b"".join(lines) + line
        status, backend = int(head[9:12]), fields(head).get("x-backend")
        if status == 200:  # only a spoilt backend answers so
            return "tunnel", "it was not switched to", status, backend
        if status != 101:
            return "refused", str(head), status, backend
        try:
            wrong = self._echoes(connected, reader)
        except TimeoutError:
            return "silent", "a tunnel without an end", status, backend
        except (OSError, EOFError) as error:
            return "tunnel", repr(error), status, backend
        return "wrong" if wrong else "whole", wrong, status, backend

    def _echoes(self, connected: Connected, reader: io.BufferedReader) -> str:
        for _ in range(self._rng.randrange(1, 8)):
            message = self._rng.randbytes(self._rng.choice((1, 100, 20_000)))
            connected.sendall(message)
            echo = reader.read(len(message))
            if echo != message[: len(echo)]:
                return "an echo of something else"
            if len(echo) < len(message):
                raise EOFError("in mid-echo")
            time.sleep(self._rng.uniform(0, 0.05))
        connected.shutdown(socket.SHUT_WR)
        return "more than the echo" if reader.read() else ""


class Crowd:
    """Clients at the same time.

    :param seed: of the run; each client's own follows from it.
    :param door: where a share of them speaks TLS.
    """

    def __init__(self, port: int, seed: int, clients: int = 12, door: Door | None = None, share: float = 0.0) -> None:
        self._stopping = threading.Event()
        over_tls = round(clients * share)
        self._clients = [
            Client(port, f"{seed}:{number}", self._stopping, door if number < over_tls else None) for number in range(clients)
        ]

    def stop(self) -> list[Outcome]:
        """Let each end what it does, and gather what became of all."""
        self._stopping.set()
        for client in self._clients:
            client.thread.join(PATIENCE)
        return [outcome for client in self._clients for outcome in client.outcomes]

    @property
    def resumed(self) -> int:
        """Sessions that went on with another."""
        return sum(client.resumed for client in self._clients)

    @property
    def alive(self) -> int:
        """Clients that still run."""
        return sum(client.thread.is_alive() for client in self._clients)
