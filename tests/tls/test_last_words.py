"""What a peer said before it reset the connection, when we were still sending: an early answer to an upload, most of all."""

from __future__ import annotations

import socket
import struct

from twisted.internet.error import ConnectionLost

from .sessions import TlsCase

RESET = struct.pack("ii", 1, 0)


class LastWordsTests(TlsCase):
    """A wire that speaks TLS reads them, although OpenSSL reads nothing more once it has failed to send."""

    def check(self, size: int, **settings: bool) -> None:
        """The peer speaks and resets; before the reactor has seen either, so many bytes are written."""
        client = self.connected(**settings)
        client.read()
        self.assertEqual(client.tls.send(b"an early answer" * 1000), 15_000)
        client.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.peer.close()
        self.wire.write(b"x" * size)
        self.wire.write(b"x" * size)
        self.assertEqual((self.session.data, self.session.ends), (b"", 0))
        self.until(lambda: bool(self.session.ends))
        self.assertEqual(self.session.data, b"an early answer" * 1000)
        self.assertTrue(self.session.lost.check(ConnectionLost))

    def test_tls_1_3(self) -> None:
        """Whether little or much is written."""
        for size in (1, 300_000):
            self.check(size)

    def test_tls_1_2(self) -> None:
        """The same."""
        for size in (1, 300_000):
            self.check(size, tls12=True)
