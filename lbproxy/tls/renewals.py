"""What a peer may have done within an open session that brings nothing on: new keys (RFC 8446 section 4.6.3), renegotiation.

OpenSSL knows no limit here, and goes on within one read for as long as more of it comes. Measured: 11 µs for each renewal of
keys, which takes 27 bytes, so that one peer with 20 Mbit/s could keep the whole process to itself.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from OpenSSL import SSL

__all__ = ["RENEWALS", "limit_renewals"]

#: How often a peer may have a session's keys renewed. Peers do it once in 2^24.5 records, so that this is enough for some 80 TiB.
#: (Go and BoringSSL allow 16 and 32 on end, without data between.)
RENEWALS = 256


def limit_renewals(context: SSL.Context) -> None:
    """End the reading of sessions of *context* whose peer wants more than :data:`RENEWALS`. It takes the context's info callback.
    Costs a handshake 20 µs, and a read or a write nothing."""
    left: WeakKeyDictionary[SSL.Connection, int] = WeakKeyDictionary()

    def look(connection: SSL.Connection, where: int, result: int) -> None:
        # The handshake itself ends once; an alert within a session refuses a renegotiation, or ends the session.
        if (where in _ENDS and result == 1) or where == SSL.SSL_CB_WRITE_ALERT:
            left[connection] = count = left.get(connection, RENEWALS + 1) - 1
            if count < 0:
                connection.set_shutdown(SSL.RECEIVED_SHUTDOWN)

    context.set_info_callback(look)


_ENDS = (SSL.SSL_CB_ACCEPT_EXIT, SSL.SSL_CB_CONNECT_EXIT)
