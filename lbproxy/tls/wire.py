"""A wire that speaks TLS: OpenSSL reads from and writes to the socket itself, and nothing is queued between the two.

Twisted's TLS passes every byte through two memory buffers and a transport below. pyOpenSSL's ``Connection`` straight on the
socket spares both.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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
from .failures import HandshakeFailed, forget_errors, handshake_failed, session_lost
from .sender import Sender

__all__ = ["RECORD", "TlsWire"]

#: The most that a TLS record carries (RFC 8446 section 5.1). Whoever reads so much at once leaves nothing of a record in OpenSSL,
#: where no event would tell of it.
RECORD = 16 * 1024
#: What is looked at of a connection's beginning in the clear.
CLEAR = 4096

# Stuck: writing waits for what the peer has begun to say and OpenSSL must hear first.
_IN_CLEAR, _SHAKING, _OPEN, _STUCK = range(4)


def _not_yet(data: bytes | bytearray | memoryview) -> int:
    """As a socket that takes nothing: what is written before the session has come about waits for it."""
    if data:
        raise BlockingIOError
    return 0


@implementer(ISSLTransport)
class TlsWire(Wire):  # type: ignore[misc, override]  # of ITCPTransport it has what our protocols use
    """The connected socket of *transport* with a TLS session on it.

    The protocol's ``handshakeCompleted`` is called when the session has come about; what is written before is kept until then.
    Where it does not come about, the connection is lost for a :class:`~.failures.HandshakeFailed`. A peer that closes the
    connection without having ended the session is one whose last bytes may be missing: that is a lost connection and not an end
    of data.

    :param connect: makes the session's ``Connection``, in the state to accept or to connect.
    :param in_clear: whether the connection begins with something in the clear. The protocol's ``clear_data`` gets what there is
        of it, and says how many of these bytes are none of the session's; it calls :meth:`start_tls` when the session may begin.
    :param to_http: what a peer is told, in the clear, that speaks HTTP without TLS.
    """

    __slots__ = ("_connect", "_phase", "_read_blocked", "_sender", "_socket", "_tls", "_to_http")

    def __init__(
        self,
        transport: TcpConnection,
        protocol: Any,
        connect: Callable[[socket], SSL.Connection],
        *,
        in_clear: bool = False,
        to_http: bytes = b"",
    ) -> None:
        self._socket: socket = transport.getHandle()
        self._connect: Callable[[socket], SSL.Connection] | None = connect
        self._tls: SSL.Connection | None = None
        self._phase = _IN_CLEAR
        if not in_clear:
            self.start_tls()  # first of all: where it raises, nothing watches the socket yet
        super().__init__(transport, protocol)
        self._send = _not_yet  # type: ignore[assignment]  # who calls it gives no flags
        self._sender: Sender | None = None
        self._to_http = to_http
        self._read_blocked = False  # whether reading has to wait for the socket to take what OpenSSL answers by itself

    def start_tls(self) -> None:
        """From the next byte on it is TLS."""
        assert self._connect is not None
        self._tls = self._connect(self._socket)
        self._connect = None
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
            return self._read_otherwise()
        left = READ_SIZE
        while True:
            try:
                data = self._recv(RECORD)
            except SSL.Error as error:
                return self._not_read(error)
            self._protocol.dataReceived(data)
            left -= RECORD
            if len(data) < RECORD or not (left and self._reading):
                return None

    def _not_read(self, error: SSL.Error) -> Exception | None:
        """What OpenSSL says in place of data."""
        if isinstance(error, SSL.WantReadError):
            return None
        if isinstance(error, SSL.ZeroReturnError):
            return self._end_of_data()
        if isinstance(error, SSL.WantWriteError):
            self._block_reading()
            return None
        forget_errors()
        return session_lost(error)

    def _read_otherwise(self) -> Exception | None:
        if self._phase == _SHAKING:
            return self._shake_hands()
        if self._phase == _IN_CLEAR:
            return self._read_clear()
        self._phase = _OPEN  # something has come, perhaps what writing has waited for
        self._poll.addWriter(self)
        if self._reading:
            return self.doRead()
        self._poll.removeReader(self)
        return None

    def _read_clear(self) -> Exception | None:
        try:
            data = self._socket.recv(CLEAR, MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return cast(Exception, main.CONNECTION_LOST)
        if not data:
            return cast(Exception, main.CONNECTION_DONE)
        taken = cast(Any, self._protocol).clear_data(data)
        with suppress(OSError):  # it was reset meanwhile: what is done next says so
            self._socket.recv(taken)
        return None

    def _shake_hands(self) -> Exception | None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._wait(self._reading, False)
            return None
        except SSL.WantWriteError:
            self._wait(False, True)  # whatever comes meanwhile would not bring it on
            return None
        except Exception as error:  # verification raises errors of its own
            return self._refuse(handshake_failed(error))
        self._open(self._tls)
        return None

    def _wait(self, to_read: bool, to_write: bool) -> None:
        """Be told from now on of this and no more."""
        (self._poll.addReader if to_read else self._poll.removeReader)(self)
        (self._poll.addWriter if to_write else self._poll.removeWriter)(self)

    def _refuse(self, failed: HandshakeFailed) -> HandshakeFailed:
        """The handshake has failed. What waits is read, or a reset would overtake the alert that OpenSSL has sent."""
        waiting = b""
        with suppress(OSError):
            waiting = self._socket.recv(READ_SIZE)
        if failed.cause == "not-tls" and b" HTTP/1." in waiting:  # OpenSSL knows some methods only
            failed = HandshakeFailed("plain-http", str(failed))
        if failed.cause == "plain-http" and self._to_http:
            with suppress(OSError):
                self._socket.send(self._to_http)
        return failed

    def _open(self, tls: SSL.Connection) -> None:
        self._sender = sender = Sender(tls, self._socket)
        self._recv = tls.recv
        self._send = sender.send  # type: ignore[assignment]
        self._phase = _OPEN
        self._wait(self._reading, self._unsent is not None)
        if self._write_closed:  # which was asked for too early
            self._write_closed = False
            self.loseWriteConnection()
        cast(Any, self._protocol).handshakeCompleted()

    def _block_reading(self) -> None:
        """OpenSSL has something to say of its own (RFC 8446 section 4.6.3), which does not fit: read on when it does."""
        self._read_blocked = True
        self._poll.removeReader(self)
        self._poll.addWriter(self)

    def doWrite(self) -> Exception | None:
        """Go on with what has waited for room."""
        if self._sender is None:
            return self._write_too_early()
        if self._read_blocked:
            self._read_blocked = False
            if self._reading:
                self._poll.addReader(self)
        self._sender.stuck = False
        why = super().doWrite()
        if self._sender.stuck and why is None and self._unsent:
            self._phase = _STUCK
            self._wait(True, False)
        return why

    def _write_too_early(self) -> Exception | None:
        if self._phase == _SHAKING and not self.disconnecting:
            return self._shake_hands()
        self._poll.removeWriter(self)
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended. Where it has not been cut, the peer is told so within the session."""
        if self._sender is not None and not (self._lost or self._write_closed) and reason.check(ConnectionDone):
            with suppress(SSL.Error):  # it does not fit, or the peer is gone
                cast(SSL.Connection, self._tls).shutdown()
        super().connectionLost(reason)

    # What the protocol calls.

    def read_in_bulk(self) -> None:
        """Nothing changes: what is read has been decrypted into memory of its own."""

    def loseConnection(self) -> None:
        """End the session and close when everything written has been sent; close at once where there is no session yet."""
        if self._lost or self.disconnecting:
            return
        if self._sender is None:
            self._unsent = None
        elif not self._write_closed:
            self._end_session()
            self._write_closed = True
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        """End our half of the session, and half-close, when everything written has been sent; reading goes on."""
        if self._lost or self._write_closed:
            return
        if self._sender is None:
            self._write_closed = True
            return
        self._end_session()
        super().loseWriteConnection()

    def _end_session(self) -> None:
        """Tell the peer, after all that was written, that it was all: it waits for room as data do, for which a byte stands."""
        self._send = self._send_last  # type: ignore[assignment]
        super().write(b"\0")

    def _send_last(self, data: bytes | bytearray) -> int:
        """Send what is left, and in place of its last byte the end of the session."""
        size = len(data) - 1
        if size:
            with memoryview(data)[:size] as left:
                return cast(Sender, self._sender).send(left)
        try:
            cast(SSL.Connection, self._tls).shutdown()
        except SSL.WantWriteError:
            raise BlockingIOError from None
        except SSL.Error:
            forget_errors()  # the peer is gone, or in the middle of a message: there is nobody to be told
        return 1

    def abortConnection(self) -> None:
        """Drop the connection with a reset; what is unsent is lost."""
        if self._phase == _STUCK:
            self._phase = _OPEN
            self._poll.removeReader(self)
        super().abortConnection()

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._read_blocked = False
        super().pauseProducing()
        if self._phase == _STUCK:
            self._poll.addReader(self)  # for writing's sake

    # What the transport knows.

    def getPeerCertificate(self) -> Any:
        """The peer's certificate; None if it has none."""
        return None if self._tls is None else self._tls.get_peer_certificate()

    @property
    def tls(self) -> SSL.Connection | None:
        """The session's connection; None while the connection is still in the clear."""
        return self._tls
