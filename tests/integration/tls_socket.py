"""TLS connections for the tests that can do what a socket can: half-close, be read and written at once, and be reset.

Python's own ``SSLSocket`` ends reading with writing, and is not for two threads at once.
"""

from __future__ import annotations

import io
import socket
import ssl
import struct
import threading
from typing import Any

__all__ = ["RESET", "TlsSocket"]

#: For ``SO_LINGER``: what is closed is reset.
RESET = struct.pack("ii", 1, 0)


class _Raw(io.RawIOBase):
    """A :class:`TlsSocket` as a file."""

    def __init__(self, connected: TlsSocket) -> None:
        self._connected = connected

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer) -> int:
        """What comes first."""
        data = self._connected.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def writable(self) -> bool:
        """That, too."""
        return True

    def write(self, data) -> int:
        """All of it."""
        self._connected.sendall(data)
        return len(data)


class TlsSocket:
    """A session on a connected socket, after the handshake; it is made by :meth:`connect` or :meth:`accept`.

    :param plain: the socket. It is this one's from now on, unless it fails.
    :raises ssl.SSLError: and a socket's errors: the handshake has failed.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, **how: Any) -> None:
        self.plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, **how)
        self._read = b""  # and not asked for yet
        self._state, self._sending = threading.Lock(), threading.Lock()
        self._shake_hands()

    @classmethod
    def connect(
        cls, plain: socket.socket, context: ssl.SSLContext, name: str | None = "localhost", session: Any = None
    ) -> TlsSocket:
        """A client's.

        :param name: whom to ask for.
        :param session: one to resume.
        """
        return cls(plain, context, server_hostname=name, session=session)

    @classmethod
    def accept(cls, plain: socket.socket, context: ssl.SSLContext) -> TlsSocket:
        """A server's."""
        return cls(plain, context, server_side=True)

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except OSError:
                self._flush()  # the alert
                raise
            else:
                self._flush()
                return

    def _flush(self) -> None:
        with self._sending:  # records keep their order
            with self._state:
                data = self._out.read()
            if data:
                self.plain.sendall(data)

    def _feed(self) -> None:
        data = self.plain.recv(256 * 1024)
        with self._state:
            self._in.write(data) if data else self._in.write_eof()

    def recv(self, size: int) -> bytes:
        """What comes; nothing when the session has ended.

        :raises ssl.SSLEOFError: the connection has ended, and the session has not.
        """
        while True:
            try:
                with self._state:
                    if self._read:
                        data, self._read = self._read[:size], self._read[size:]
                        return data
                    return self._tls.read(size)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return b""
            self._feed()

    def sendall(self, data: bytes) -> None:
        """Send it all."""
        with memoryview(data) as view:
            for start in range(0, len(view), 256 * 1024):
                with self._state:
                    self._tls.write(view[start : start + 256 * 1024])
                self._flush()

    def end(self) -> None:
        """Say within the session that no more will come, and go on reading."""
        with self._state:
            self._half_close()
        self._flush()

    def _half_close(self) -> None:
        """OpenSSL sends the word, and then looks for the other side's in what has been received, where data would be an error: it
        must find nothing there."""
        while self._tls.pending():
            self._read += self._tls.read(self._tls.pending())
        received = b"" if self._in.eof else self._in.read()
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # there is nothing
        if received:
            self._in.write(received)

    def shutdown(self, how: int) -> None:
        """As a socket's; what is said last is the end of the session."""
        if how != socket.SHUT_RD:
            self.end()
        self.plain.shutdown(how)

    def reset(self) -> None:
        """Close it, as who crashes."""
        self.plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.plain.close()

    def close(self) -> None:
        """Close it without a word."""
        self.plain.close()

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's."""
        self.plain.settimeout(seconds)

    def setsockopt(self, *option: Any) -> None:
        """As a socket's."""
        self.plain.setsockopt(*option)

    def raw(self) -> io.RawIOBase:
        """To be read as a file without a buffer."""
        return _Raw(self)

    def makefile(self, mode: str = "rb", buffering: int = -1) -> Any:
        """To be read or written as a file, with a buffer of that many bytes."""
        size = io.DEFAULT_BUFFER_SIZE if buffering < 0 else buffering
        return io.BufferedWriter(_Raw(self), size) if "w" in mode else io.BufferedReader(_Raw(self), size)

    def fileno(self) -> int:
        """The socket's."""
        return self.plain.fileno()

    def __enter__(self) -> TlsSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session, for another connection to resume."""
        return self._tls.session

    @property
    def resumed(self) -> bool:
        """Whether it went on with a session from before."""
        return bool(self._tls.session_reused)

    @property
    def version(self) -> str:
        """The version of TLS."""
        return str(self._tls.version())

    def certificate(self) -> bytes:
        """The one that was shown, in DER."""
        return self._tls.getpeercert(binary_form=True) or b""
