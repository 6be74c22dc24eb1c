"""How a client of the benchmark connects: plainly, or with TLS."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass

HOST = "127.0.0.1"

# Seconds for one answer while a server starts.
LONGEST_LOOK = 2.0


@dataclass(frozen=True)
class Secure:
    """What a connection with TLS needs.

    :ivar name: of the server, sent to it (SNI) and looked for in its certificate where ``context`` verifies.
    """

    context: ssl.SSLContext
    name: str


def connect(
    port: int, timeout: float, secure: Secure | None = None, session: ssl.SSLSession | None = None
) -> socket.socket:
    """Connect to a port of the loopback address; with ``secure``, TLS is spoken when this returns.

    :param session: to resume, of an earlier connection with the same context.
    :raises OSError: also for a failed handshake or a certificate that does not verify.
    """
    connection = socket.create_connection((HOST, port), timeout)
    # As browsers and wrk do: a request would wait for the end of the handshake to be acknowledged.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if secure is None:
        return connection
    try:
        return secure.context.wrap_socket(connection, server_hostname=secure.name, session=session)
    except BaseException:
        connection.close()
        raise


def answer_status(port: int, path: str = "/", secure: Secure | None = None) -> int | None:
    """Return the status with which a GET on this port is answered, or None when there is no answer."""
    connection = http.client.HTTPConnection(secure.name if secure else HOST, port)
    try:
        connection.sock = connect(port, LONGEST_LOOK, secure)
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
