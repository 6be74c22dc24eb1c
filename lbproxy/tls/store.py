"""The certificates that clients are shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from .profiles import PROFILES

__all__ = ["CLIENT_AUTH", "CertificateStore"]

#: Whether a client must have a certificate, where there are authorities for them.
CLIENT_AUTH = ("required", "optional")


@implementer(IOpenSSLServerConnectionCreator)
class CertificateStore:
    """Certificates by the names that they are for.

    :ivar client_auth: whether a client must have a certificate (:data:`CLIENT_AUTH`); None: it is not asked for one.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        default: str | None = None,
        reject_unknown_names: bool = False,
        profile: str = PROFILES[0],
        client_ca: str | None = None,
        client_auth: str | None = None,
        protocols: Sequence[bytes] = (b"http/1.1",),
        now: Callable[[], float] = time.time,
    ) -> None:
        path = paths[0]
        self.client_auth = (client_auth or CLIENT_AUTH[0]) if client_ca is not None else None
        self._front = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(b"lbproxy")
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.use_certificate_chain_file(path)
        context.use_privatekey_file(path)
        context.set_alpn_select_callback(self._protocol)
        context.set_tlsext_servername_callback(self._name)

    def _name(self, connection: SSL.Connection) -> None:
        connection.get_servername()

    def _protocol(self, connection: SSL.Connection, offered: list[bytes]) -> bytes:
        return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS  # type: ignore[return-value]

    def accept(self, socket: Any) -> SSL.Connection:
        """A session on a connected socket, in the state to accept."""
        connection = SSL.Connection(self._front, socket)
        connection.set_accept_state()
        return connection

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A session for Twisted's TLS."""
        return SSL.Connection(self._front, None)
