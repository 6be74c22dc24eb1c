"""The opening handshake of a WebSocket (RFC 6455 section 4), as far as our client and our backend need it."""

from __future__ import annotations

import base64
import hashlib
import os
import socket

from bench.connecting import HOST

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# Bytes of a response's head, and seconds for it; more of either is a failure.
LONGEST_HEAD, LONGEST_WAIT = 64 * 1024, 10.0


class NotSwitched(Exception):
    """The answer to an upgrade was not the right 101; the message is what it was."""


def accept_value(key: bytes) -> bytes:
    """Return what ``Sec-WebSocket-Accept`` must be for this ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def upgrade_request(path: str, key: bytes) -> bytes:
    """Return a client's handshake."""
    lines = [
        b"GET %b HTTP/1.1" % path.encode(),
        b"Host: bench.example",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: " + key,
        b"Sec-WebSocket-Version: 13",
    ]
    return b"\r\n".join([*lines, b"", b""])


def check_answer(head: bytes, key: bytes) -> None:
    """Raise :class:`NotSwitched` unless a response's head accepts the handshake that had this key."""
    status, *lines = head.split(b"\r\n")
    if status.split(b" ")[1:2] != [b"101"]:
        raise NotSwitched(status.decode("latin-1"))
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    accepted = fields.get(b"sec-websocket-accept", b"")
    if accepted != accept_value(key):
        raise NotSwitched(f"101 with the wrong Sec-WebSocket-Accept {accepted.decode('latin-1')!r}")


def open_tunnel(port: int, path: str) -> socket.socket:
    """Connect, shake hands, and return the socket, blocking, from which the first payload byte is next.

    :raises NotSwitched: when the answer is not a right 101.
    :raises OSError: when no whole head comes in time.
    """
    key = base64.b64encode(os.urandom(16))
    connection = socket.create_connection((HOST, port), LONGEST_WAIT)
    try:
        connection.sendall(upgrade_request(path, key))
        check_answer(read_head(connection), key)
    except BaseException:
        connection.close()
        raise
    connection.settimeout(None)
    return connection


def read_head(connection: socket.socket) -> bytes:
    """Read to the empty line that ends a head, and not a byte further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # Byte by byte, so that payload which comes along stays in the socket; once a tunnel, this costs nothing.
        received = connection.recv(1)
        if not received or len(head) > LONGEST_HEAD:
            raise ConnectionError(f"no whole head came, but {head[:80]!r}")
        head += received
    return head
