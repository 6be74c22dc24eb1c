"""A transport on the connected socket: the one module that knows of sockets.

A Twisted transport queues what is written and sends it in the reactor's next turn, and passes each read through several calls.
A wire takes the connected socket over from such a transport, sends at once, and keeps only what did not fit. Measured for a
proxied small GET: 72 to 81 µs of CPU with wires on both sides against 92 to 113 with plain transports; half of what remains is
the kernel's ``send``.

Only public interfaces of Twisted are used: ``stopReading``, ``getHandle``, ``IReactorFDSet`` and the transport's own
``connectionLost`` at the end, so that listeners, endpoints and connection counts stay Twisted's. Where there is no such socket
(TLS, wrapped transports, in-memory tests, other reactors) :func:`adopt` gives the transport back and the protocols run on it
unchanged.
"""

from __future__ import annotations

from contextlib import suppress
from errno import ECONNRESET, EPIPE
from fcntl import ioctl
from socket import SHUT_WR
from struct import unpack
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Any, cast

from twisted.internet import main
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorFDSet,
    IReactorTime,
    IReadWriteDescriptor,
    ISSLTransport,
    ITransport,
)
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from .polling import poll_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from socket import socket

    from twisted.internet.protocol import Protocol

__all__ = ["HIGH_WATER", "READ_SIZE", "Wire", "adopt", "half_close", "unsent_bytes"]

#: Unsent bytes at which the producer is paused (Twisted's transports: 64 KiB); it goes on when all of them are sent.
HIGH_WATER = 64 * 1024
#: Bytes read at once. Small enough that a paused side holds little, large enough that a 1 MiB body takes few turns. With 128 KiB
#: and more, malloc maps fresh memory for every read, which was measured at 13 µs.
READ_SIZE = 64 * 1024
#: Bytes read at once in bulk (:meth:`Wire.read_in_bulk`), into one buffer that all wires share.
BULK_SIZE = 256 * 1024
_bulk = memoryview(bytearray(BULK_SIZE))


def adopt(transport: Any, protocol: Protocol) -> Any:
    """Give *protocol* a wire on the socket of its *transport*, or *transport* itself where that cannot be.

    To be called in ``connectionMade``. Twisted's own TCP and Unix sockets are taken over; a transport that encrypts, wraps or
    imitates one is not (a wrapper passes ``getHandle`` through, so that its interfaces cannot be asked).
    """
    if not isinstance(transport, Connection) or transport.TLS or not IReactorFDSet.providedBy(transport.reactor):
        return transport
    return Wire(transport, protocol)


def half_close(transport: Any) -> bool:
    """Send the peer an end of our bytes while its own are still read, where the transport can: over Twisted's TLS it cannot (a
    wrapper passes the method of what it wraps through, which would cut the session short). Gives whether it could."""
    if (ISSLTransport.providedBy(transport) and not isinstance(transport, Wire)) or not hasattr(transport, "loseWriteConnection"):
        return False
    transport.loseWriteConnection()
    return True


def unsent_bytes(transport: Any) -> int:
    """Bytes that a transport's peer has not taken yet; 0 for a transport that cannot tell."""
    unsent: int = getattr(transport, "unsent", 0)
    return unsent


@implementer(IReadWriteDescriptor, ITransport, IConsumer, IPushProducer)
class Wire:
    """The connected socket of *transport*, read into *protocol*, written to at once.

    Errors of ``send`` never surface in the caller: the protocol's ``connectionLost`` reports them in a later turn, after what
    the peer had sent before has been read.
    """

    __slots__ = (
        "_failed", "_fd", "_lost", "_poll", "_producer", "_producer_paused", "_protocol", "_reactor", "_read_closed", "_reading",
        "_recv", "_send", "_transport", "_unsent", "_write_closed", "disconnecting",
    )  # fmt: skip

    def __init__(self, transport: Connection, protocol: Protocol) -> None:
        transport.stopReading()
        handle: socket = transport.getHandle()
        self._transport = transport
        self._protocol = protocol
        self._reactor: Any = transport.reactor
        self._poll = poll_of(transport.reactor)
        self._fd = handle.fileno()
        self._recv: Callable[[int], Any] = handle.recv
        self._send = handle.send
        self._unsent: bytearray | None = None
        self._producer: IPushProducer | None = None
        self._producer_paused = False
        self._write_closed = False
        self._failed = False  # whether send has failed, which reading is to report
        self._lost = False
        self.disconnecting = False
        self._reading = True
        self._read_closed = False
        self._poll.addReader(self)

    # IReadWriteDescriptor: what the reactor calls.

    def fileno(self) -> int:
        """The socket's file descriptor; -1 when the connection is gone."""
        return self._fd

    def logPrefix(self) -> str:
        """What log lines of this connection begin with; a constant, since the reactor asks on every event."""
        return "lbproxy"

    def doRead(self) -> Exception | None:  # type: ignore[override]  # as Twisted's own transports do
        """Read once and hand it on. Returns the reason when the connection has ended."""
        try:
            data = self._recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return cast(Exception, main.CONNECTION_LOST)
        if not data:
            return self._end_of_data()
        self._protocol.dataReceived(data)
        return None

    def _end_of_data(self) -> Exception | None:
        """The peer sends no more. A protocol that knows of half-closing goes on writing; for any other this is the end."""
        if self._failed:
            return cast(Exception, main.CONNECTION_LOST)  # where send has taken a reset's error away, reading does not show it
        if not IHalfCloseableProtocol.providedBy(self._protocol):
            return cast(Exception, main.CONNECTION_DONE)
        self._read_closed = True
        self._reading = False
        self._poll.removeReader(self)
        cast(IHalfCloseableProtocol, self._protocol).readConnectionLost()
        return None

    def doWrite(self) -> Exception | None:  # type: ignore[override]
        """Send what did not fit before. Returns the reason when the connection has ended."""
        unsent = self._unsent
        if unsent:
            try:
                del unsent[: self._send(unsent)]
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as error:
                self._unsent = None
                self._poll.removeWriter(self)
                self._broken(error)
                return None
            if unsent:
                return None
        self._unsent = None
        self._poll.removeWriter(self)
        if self.disconnecting:
            return cast(Exception, main.CONNECTION_DONE)
        if self._write_closed:
            self._shut_down_writing()
        if self._producer_paused and self._producer is not None:
            self._producer_paused = False
            self._producer.resumeProducing()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended: hand the socket back to its transport, which closes it and tells the protocol."""
        if not self._lost:
            self.let_go()
            self._transport.connectionLost(reason)

    def let_go(self) -> None:
        """The socket is this wire's no more. It forgets the protocol, which knows it: nothing of it is left to the collector."""
        if self._lost:
            return
        self._lost = True
        self._reading = False
        self._unsent = self._producer = None
        self._poll.removeReader(self)
        self._poll.removeWriter(self)
        self._fd = -1
        del self._protocol, self._recv, self._send

    def read_in_bulk(self) -> None:
        """From now on the protocol is *lent* what is read, as a view of a buffer that the next read of any wire overwrites: for
        who passes all of it on at once, to a wire or to nobody. (Measured for tunnels: see :mod:`lbproxy.proxy.tunnel`.)"""
        recv_into = self._transport.getHandle().recv_into

        def receive(_: int) -> memoryview:
            return _bulk[: recv_into(_bulk)]

        self._recv = receive

    # ITransport and IConsumer: what the protocol calls.

    def write(self, data: bytes) -> None:
        """Send *data* now; what the socket does not take is kept and sent when it can be."""
        unsent = self._unsent
        if unsent is None:
            if self._lost or self._write_closed:
                return
            try:
                sent = self._send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._broken(error)
                return
            if sent == len(data):
                return
            self._unsent = unsent = bytearray(memoryview(data)[sent:])
            self._poll.addWriter(self)
        elif not self._write_closed:
            unsent += data
        if len(unsent) > HIGH_WATER and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send the parts as one."""
        self.write(b"".join(iovec))

    def _broken(self, error: OSError) -> None:
        """``send`` failed. What the peer sent before it closed may still be read; then the end is reported. Other errors than
        the peer's do not show in reading, and are reported now."""
        self._write_closed = self._failed = True
        if not self._reading or error.errno not in (EPIPE, ECONNRESET):
            self._later(ConnectionLost())

    def loseConnection(self) -> None:
        """Close when everything written has been sent."""
        if self._lost or self.disconnecting:
            return
        self.disconnecting = True
        self.pauseProducing()
        if self._unsent is None:
            self._later(main.CONNECTION_DONE)

    def loseWriteConnection(self) -> None:
        """Half-close when everything written has been sent; reading goes on."""
        if self._lost or self._write_closed:
            return
        self._write_closed = True
        if self._unsent is None:
            self._shut_down_writing()

    def _shut_down_writing(self) -> None:
        # Not the transport's loseWriteConnection, which would register the transport with the reactor in the wire's place.
        with suppress(OSError):  # the peer is gone: reading says so
            self._transport.getHandle().shutdown(SHUT_WR)

    def abortConnection(self) -> None:
        """Drop the connection with a reset; what is unsent is lost."""
        if self._lost:
            return
        self.disconnecting = True
        self.pauseProducing()
        self._poll.removeWriter(self)
        self._later(ConnectionAborted())

    def _later(self, reason: Exception) -> None:
        # Not at once: a protocol must not lose its connection inside its own call.
        cast(IReactorTime, self._reactor).callLater(0, self.connectionLost, Failure(reason))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause *producer* while more than :data:`HIGH_WATER` bytes are unsent. Only push producers are known here."""
        if not streaming:
            raise ValueError("a wire takes push producers only (streaming=True)")
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer}: {self._producer} is registered already")
        self._producer = producer
        self._producer_paused = False

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None

    # IPushProducer: reading, paused and resumed.

    def pauseProducing(self) -> None:
        """Stop reading."""
        if self._reading:
            self._reading = False
            self._poll.removeReader(self)
            if self._failed:
                self._later(ConnectionLost())

    def resumeProducing(self) -> None:
        """Go on reading."""
        if not (self._reading or self._read_closed or self._lost or self.disconnecting):
            self._reading = True
            self._poll.addReader(self)

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    # What the transport knows.

    @property
    def unsent(self) -> int:
        """Bytes written that have not reached the peer, here and in the kernel: what falls shows that the peer reads, byte by
        byte, when the socket has long not been writable again."""
        kept = 0 if self._unsent is None else len(self._unsent)
        with suppress(OSError, ValueError):  # the connection is gone
            kept += int(unpack("i", ioctl(self._fd, TIOCOUTQ, bytes(4)))[0])
        return kept

    def getPeer(self) -> IAddress:
        """The other end's address."""
        return cast(IAddress, self._transport.getPeer())

    def getHost(self) -> IAddress:
        """This end's address."""
        return cast(IAddress, self._transport.getHost())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small segments at once. Without effect on Unix sockets."""
        if hasattr(self._transport, "setTcpNoDelay"):
            self._transport.setTcpNoDelay(enabled)
