"""Sending through OpenSSL as through a socket."""

from __future__ import annotations

from errno import EPIPE
from socket import SO_ERROR, SOL_SOCKET, socket

from OpenSSL import SSL

from .failures import forget_errors

__all__ = ["Sender"]


class Sender:
    """OpenSSL's ``send`` with a socket's manners: it takes what fits, and raises a socket's errors.

    :ivar stuck: whether it could not go on for want of bytes from the peer, not of room.
    """

    __slots__ = ("_getsockopt", "_tls_send", "stuck")

    def __init__(self, tls: SSL.Connection, socket: socket) -> None:
        self._tls_send = tls.send
        self._getsockopt = socket.getsockopt
        self.stuck = False

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """Send a record. Once OpenSSL has failed to, it reads no more, and what the peer said before it reset the connection (an
        early answer) would be lost: that it did so must be found out before. (0.3 µs. A reset within the sending is too late.)"""
        broken = self._getsockopt(SOL_SOCKET, SO_ERROR)
        if broken:
            raise OSError(broken, "the connection is broken")
        return self._tls_send(data)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypt and send *data*, a record at a time; empty data is nothing at all.

        :return: how much of it was taken. What was not must come again, and first.
        :raises BlockingIOError: nothing was.
        :raises OSError: the connection is broken.
        """
        size = len(data)
        if not size:
            return 0
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
        except SSL.WantWriteError:
            raise BlockingIOError from None
        except SSL.WantReadError:
            self.stuck = True
            raise BlockingIOError from None
        except SSL.SysCallError as error:
            forget_errors()
            number = error.args[0]
            raise OSError(number if number > 0 else EPIPE, str(error)) from None
        except SSL.Error as error:
            raise OSError(0, str(error)) from None
