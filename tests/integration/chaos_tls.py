"""What TLS adds to the chaos test: who speaks it, certificates that are renewed, and strangers who do not behave."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import NamedTuple

from .certificates import authority
from .support import LOOPBACK, PATIENCE, LoadBalancer, read_all
from .tls_socket import RESET, TlsSocket

#: Seconds, as the test starts the balancer.
HANDSHAKE_TIMEOUT = 1.0
#: How often the balancer looks at the certificates' files.
CERTIFICATE_CHECK = 0.3
#: How certificates are renewed: the balancer is told so, finds out by itself, or is told first of what is none.
RENEWALS = ("told", "found", "spoilt")


class Tls(NamedTuple):
    """Who speaks TLS in a run: what share of the clients, and each backend in which version (empty: in the clear)."""

    clients: float
    backends: tuple[str, ...]
    options: tuple[str, ...]


def secured(seed: int) -> Tls:
    """That of a seed: a pure function."""
    rng = random.Random(f"{seed}:tls")
    clients = rng.choices((0.0, 0.5, 1.0), (1, 3, 2))[0]
    versions = rng.choice((("",), ("TLSv1_2", "TLSv1_3"), ("", "TLSv1_2", "TLSv1_3"), ("", "", "TLSv1_2", "TLSv1_3")))
    backends = tuple(rng.choice(versions) for _ in range(3))
    return Tls(clients, backends, rng.choice(((), (), ("--tls-profile", "modern"))))


def renewals(seed: int, steps: int) -> list[str]:
    """How certificates are renewed in each step, empty: they are not. A pure function."""
    rng = random.Random(f"{seed}:renewals")
    return [rng.choice(("", "", *RENEWALS)) for _ in range(steps)]


class Renewer:
    """Who looks after the balancer's certificate.

    :ivar path: where it is.
    :ivar newest: the one that is there, in DER.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "site.pem"
        self.newest = b""
        self.replace()

    def replace(self) -> None:
        """Put another one there."""
        made = authority().issue_cert("localhost")
        written = self.path.with_suffix(".new")
        written.write_bytes(made.private_key_and_cert_chain_pem.bytes())
        os.replace(written, self.path)
        self.newest = ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())

    def renew(self, how: str, balancer: LoadBalancer) -> None:
        """In that way, which is one of :data:`RENEWALS`; empty: not at all."""
        if how == "spoilt":
            self.path.write_bytes(b"no certificate\n")
            balancer.process.signal(signal.SIGHUP)
        if how:
            self.replace()
        if how == "told":
            balancer.process.signal(signal.SIGHUP)


class Before(NamedTuple):
    """A session from before, and whether it is of TLS 1.2."""

    session: ssl.SSLSession | None
    old: bool


class Door:
    """The listener for TLS, as clients come to it.

    :param ca: a file with whom they trust.
    :param modern: whether it speaks TLS 1.3 alone.
    """

    def __init__(self, port: int, ca: str, modern: bool) -> None:
        self.port = port
        self.modern = modern
        self._contexts = [ssl.create_default_context(cafile=ca) for _ in range(2)]
        self._contexts[0].maximum_version = ssl.TLSVersion.TLSv1_2
        for context in self._contexts:
            context.set_alpn_protocols(["http/1.1"])

    def enter(self, before: Before | None = None, old: bool = False) -> TlsSocket:
        """A session, which goes on with another if there is one.

        :param old: whether it is of TLS 1.2, if it is another.
        """
        session, old = (before.session, before.old) if before is not None else (None, old)
        context = self._contexts[0] if old else self._contexts[1]
        plain = socket.create_connection((LOOPBACK, self.port), timeout=PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        try:
            return TlsSocket.connect(plain, context, "localhost", session)
        except BaseException:
            plain.close()
            raise

    def hello(self, rng: random.Random) -> bytes:
        """What a client says first."""
        out = ssl.MemoryBIO()
        begun = rng.choice(self._contexts).wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            begun.do_handshake()
        return out.read()


class Stranger:
    """Comes to the listener for TLS again and again, from a seed, and does not behave.

    :ivar findings: what the balancer should have done otherwise.
    :ivar visits: how often it was there.
    """

    def __init__(self, door: Door, seed: str) -> None:
        self.findings: list[str] = []
        self.visits = 0
        self._door = door
        self._rng = random.Random(f"{seed}:stranger")
        self._stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Let it go."""
        self._stopping.set()
        self.thread.join(PATIENCE)

    def _run(self) -> None:
        acts = (self._silent, self._garbage, self._plain, self._broken_off, self._spoilt, self._enters_and_leaves)
        while not self._stopping.wait(self._rng.uniform(0, 0.05)):
            act = self._rng.choices(acts, (1, 4, 4, 8, 4, 8))[0]
            self.visits += 1
            with socket.create_connection((LOOPBACK, self._door.port), timeout=PATIENCE) as plain:
                try:
                    act(plain)
                except (TimeoutError, AssertionError) as error:
                    self.findings.append(f"a stranger, {act.__name__}: {error!r}")
                except OSError:
                    pass  # it was thrown out

    def _wait_for_the_end(self, plain: socket.socket, seconds: float) -> bytes:
        began = time.monotonic()
        got = read_all(plain)
        took = time.monotonic() - began
        assert took < seconds, f"it was let stay for {took:.2f} s"
        return got

    def _silent(self, plain: socket.socket) -> None:
        """Says nothing, or begins to."""
        plain.sendall(self._cut(self._door.hello(self._rng)) if self._rng.random() < 0.5 else b"")
        self._wait_for_the_end(plain, HANDSHAKE_TIMEOUT + 3)

    def _garbage(self, plain: socket.socket) -> None:
        """Speaks in tongues."""
        plain.sendall(self._rng.randbytes(self._rng.choice((1, 5, 6, 300, 40_000))))
        if self._rng.random() < 0.3:
            plain.shutdown(socket.SHUT_WR)
        self._wait_for_the_end(plain, HANDSHAKE_TIMEOUT + 3)

    def _plain(self, plain: socket.socket) -> None:
        """Speaks HTTP without TLS."""
        plain.sendall(b"%b / HTTP/1.1\r\nHost: chaos\r\n\r\n" % self._rng.choice((b"GET", b"POST", b"BREW", b"PUT")))
        got = self._wait_for_the_end(plain, 3)
        assert got.startswith(b"HTTP/1.1 400 "), got

    def _broken_off(self, plain: socket.socket) -> None:
        """Leaves in mid-handshake, at any byte, before or after the other side has answered."""
        hello = self._door.hello(self._rng)
        plain.sendall(self._cut(hello) if self._rng.random() < 0.5 else hello)
        if self._rng.random() < 0.5:
            plain.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                plain.recv(self._rng.choice((1, 100, 10_000)))
        if self._rng.random() < 0.5:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _spoilt(self, plain: socket.socket) -> None:
        """A hello with some bytes that are others."""
        hello = bytearray(self._door.hello(self._rng))
        for _ in range(self._rng.randrange(1, 5)):
            hello[self._rng.randrange(len(hello))] = self._rng.randrange(256)
        plain.sendall(hello)
        self._wait_for_the_end(plain, HANDSHAKE_TIMEOUT + 3)

    def _enters_and_leaves(self, plain: socket.socket) -> None:
        """A handshake, perhaps half a request, and an end of some kind."""
        with self._door.enter() as secure:
            if self._rng.random() < 0.5:
                secure.sendall(self._cut(b"GET /slow?seconds=0.1&left HTTP/1.1\r\nHost: chaos\r\n\r\n"))
            if self._rng.random() < 0.3:
                secure.end()
                with contextlib.suppress(ssl.SSLError):
                    secure.recv(1000)
            elif self._rng.random() < 0.5:
                secure.reset()
            elif self._rng.random() < 0.3:
                secure.plain.sendall(self._rng.randbytes(self._rng.choice((3, 200))))

    def _cut(self, data: bytes) -> bytes:
        return data[: self._rng.randrange(1, len(data))]
