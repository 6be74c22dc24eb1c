"""A wire that speaks TLS: OpenSSL reads from and writes to the socket itself, and nothing is queued between the two.

Twisted's TLS passes every byte through two memory buffers and a transport below. pyOpenSSL's ``Connection`` straight on the
socket spares both.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from errno import EPIPE
from socket import MSG_PEEK, socket
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet import main
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.tcp import Connection as TcpConnection
from twisted.python.failure import Failure
from zope.interface import implementer

from ..wire import READ_SIZE, Wire
from .failures import handshake_failed, session_lost

__all__ = ["RECORD", "Sender", "TlsWire"]

#: The most that a TLS record carries (RFC 8446 section 5.1).
RECORD = 16 * 1024
#: What is looked at of a connection's beginning in the clear.
CLEAR = 4096

_IN_CLEAR, _SHAKING, _OPEN = range(3)


class Sender:
    """OpenSSL's ``send`` with a socket's manners: it takes what fits, and raises a socket's errors."""

    __slots__ = ("_send",)

    def __init__(self, tls: SSL.Connection) -> None:
        self._send = tls.send

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypt and send *data*, a record at a time.

        :return: how much of it was taken. What was not must come again, and first.
        :raises BlockingIOError: nothing was.
        :raises OSError: the connection is broken.
        """
        size = len(data)
        try:
            sent = self._send(data)
            if sent < size:
                rest = memoryview(data)
                try:
                    while sent < size:
                        sent += self._send(rest[sent:])
                except (SSL.WantWriteError, SSL.WantReadError):
                    pass
                finally:
                    rest.release()
            return sent
        except (SSL.WantWriteError, SSL.WantReadError):
            raise BlockingIOError from None
        except SSL.SysCallError as error:
            number = error.args[0]
            raise OSError(number if number > 0 else EPIPE, str(error)) from None
        except SSL.Error as error:
            raise OSError(0, str(error)) from None


@implementer(ISSLTransport)
class TlsWire(Wire):  # type: ignore[misc, override]  # of ITCPTransport it has what our protocols use
    """The connected socket of *transport* with a TLS session on it.

    The protocol's ``handshakeCompleted`` is called when the session has come about; it may not write before. Where it does not,
    the connection is lost for a :class:`~.failures.HandshakeFailed`. A peer that closes the connection without having ended the
    session is one whose last bytes may be missing: that is a lost connection and not an end of data.

    :param connect: makes the session's ``Connection``, in the state to accept or to connect.
    :param in_clear: whether the connection begins with something in the clear. The protocol's ``clear_data`` gets what there is
        of it, and says how many of these bytes are none of the session's; it calls :meth:`start_tls` when the session may begin.
    :param to_http: what a peer is told, in the clear, that speaks HTTP without TLS.
    """

    __slots__ = ("_connect", "_phase", "_read_blocked", "_socket", "_tls", "_to_http")

    def __init__(
        self,
        transport: TcpConnection,
        protocol: Any,
        connect: Callable[[socket], SSL.Connection],
        *,
        in_clear: bool = False,
        to_http: bytes = b"",
    ) -> None:
        super().__init__(transport, protocol)
        self._socket: socket = transport.getHandle()
        self._connect: Callable[[socket], SSL.Connection] | None = connect
        self._to_http = to_http
        self._read_blocked = False  # whether reading has to wait for the socket to take what OpenSSL answers by itself
        self._tls: SSL.Connection | None = None
        self._phase = _IN_CLEAR
        if not in_clear:
            self.start_tls()

    def start_tls(self) -> None:
        """From the next byte on it is TLS."""
        assert self._connect is not None
        self._tls = tls = self._connect(self._socket)
        self._connect = None
        self._recv = tls.recv
        self._send = Sender(tls).send  # type: ignore[assignment]  # who calls it gives no flags
        self._phase = _SHAKING

    def begin(self) -> None:
        """Say hello first, as the side does that connects."""
        why = self._shake_hands()
        if why is not None:
            self._later(why)

    # IReadWriteDescriptor.

    def doRead(self) -> Exception | None:
        """Go on with the handshake, or hand on what has come: a record, or a few if there are more."""
        if self._phase != _OPEN:
            return self._shake_hands() if self._phase == _SHAKING else self._read_clear()
        try:
            data = self._recv(RECORD)
            self._protocol.dataReceived(data)
            left = READ_SIZE
            while len(data) == RECORD and self._reading and left > RECORD:
                left -= RECORD
                data = self._recv(RECORD)
                self._protocol.dataReceived(data)
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError:
            return self._end_of_data()
        except SSL.WantWriteError:
            self._block_reading()
            return None
        except SSL.Error as error:
            return session_lost(error)
        return None

    def _read_clear(self) -> Exception | None:
        try:
            data = self._socket.recv(CLEAR, MSG_PEEK)
            if not data:
                return cast(Exception, main.CONNECTION_DONE)
            self._socket.recv(cast(Any, self._protocol).clear_data(data))
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return cast(Exception, main.CONNECTION_LOST)
        return None

    def _shake_hands(self) -> Exception | None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._poll.removeWriter(self)
            return None
        except SSL.WantWriteError:
            self._poll.addWriter(self)
            return None
        except Exception as error:  # verification raises errors of its own
            failed = handshake_failed(error)
            if failed.cause == "plain-http" and self._to_http:
                with suppress(OSError):
                    self._socket.send(self._to_http)
            return failed
        self._poll.removeWriter(self)
        self._phase = _OPEN
        cast(Any, self._protocol).handshakeCompleted()
        return None

    def _block_reading(self) -> None:
        """OpenSSL has something to say of its own (RFC 8446 section 4.6.3), which does not fit: read on when it does."""
        self._read_blocked = True
        self._poll.removeReader(self)
        self._poll.addWriter(self)

    def doWrite(self) -> Exception | None:
        """Go on with what has waited for room."""
        if self._phase == _SHAKING:
            return self._shake_hands()
        if self._read_blocked:
            self._read_blocked = False
            if self._reading:
                self._poll.addReader(self)
        return super().doWrite()

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended. Where it has not been cut, the peer is told so within the session."""
        if not self._lost and not self._write_closed and reason.check(ConnectionDone):
            self._notify_close()
        super().connectionLost(reason)

    # What the protocol calls.

    def write(self, data: bytes) -> None:
        """Send *data*; empty data is nothing at all."""
        if data:
            super().write(data)

    def read_in_bulk(self) -> None:
        """Nothing changes: what is read has been decrypted into memory of its own."""

    def _shut_down_writing(self) -> None:
        self._notify_close()
        super()._shut_down_writing()

    def _notify_close(self) -> None:
        if self._phase == _OPEN and self._tls is not None:
            with suppress(SSL.Error):  # it does not fit, or the peer is gone
                self._tls.shutdown()

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._read_blocked = False
        super().pauseProducing()

    # What the transport knows.

    def getPeerCertificate(self) -> Any:
        """The peer's certificate; None if it has none."""
        return None if self._tls is None else self._tls.get_peer_certificate()

    @property
    def tls(self) -> SSL.Connection | None:
        """The session's connection; None while the connection is still in the clear."""
        return self._tls
