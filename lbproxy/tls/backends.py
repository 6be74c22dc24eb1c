"""TLS with backends: whom to trust, what to show, which sessions to resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509StoreFlags
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from ..balance.backend import Backend
from ..errors import ConfigurationError
from .certificates import read_certificates
from .contexts import ClientAuthorities, show
from .renewals import limit_renewals
from .verification import Verification, VerifiedConnection, is_address, verify

__all__ = ["SESSION_LIFE", "BackendPeer", "BackendTls", "warn_of_unverified"]

_log = Logger()

#: Seconds for which sessions may follow from one that began with a certificate that was verified: then it is to be shown again.
SESSION_LIFE = 3600.0


class BackendTls:
    """How TLS is spoken with backends: TLS 1.2 or 1.3, HTTP/1.1, no renegotiation.

    What it needs of the system's authorities is read when it is first used, and all of it that the operator has named at once.

    :param ca: a PEM file with the authorities of their certificates; None: the system's.
    :param certificate: what they are shown, as for a :class:`~.store.CertificateStore`; None: nothing.
    :param now: seconds since the epoch.
    :raises ConfigurationError: for what cannot be read, a line each.
    """

    def __init__(
        self, *, ca: str | None = None, certificate: str | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.ca = ca
        self.certificate = certificate
        self.now = now
        self._context: SSL.Context | None = None
        self._peers: dict[tuple[str, bool, str], BackendPeer] = {}
        if ca is not None or certificate is not None:
            self._context = self._make_context()

    @property
    def context(self) -> SSL.Context:
        """What every session with a backend is made of: one for all, since sessions are resumed within one alone."""
        if self._context is None:
            self._context = self._make_context()
        return self._context

    def peer(self, backend: Backend) -> BackendPeer:
        """The backend as it is to be verified. It is the same object for the same backend, verified in the same way.

        :raises ConfigurationError: when it is not known for whom its certificate should be.
        """
        name = (backend.verify_name or backend.host).removesuffix(".")
        key = (backend.address, backend.verify, name)
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = BackendPeer(self, *_wanted(backend, name))
        return peer

    def prober(self, backend: Backend) -> BackendPeer:
        """The same for a probe: its certificate is to be shown each time."""
        return BackendPeer(self, *_wanted(backend, (backend.verify_name or backend.host).removesuffix(".")), resume=False)

    def _make_context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # we keep them by backend
        context.set_alpn_protos([b"http/1.1"])
        limit_renewals(context)
        context.set_verify(SSL.VERIFY_PEER, verify)
        problems = [*self._trust(context), *self._show(context)]
        if problems:
            raise ConfigurationError("\n".join(problems))
        return context

    def _trust(self, context: SSL.Context) -> list[str]:
        if self.ca is None:
            context.set_default_verify_paths()
            return []
        try:
            authorities = ClientAuthorities.read(self.ca, True).trusted
        except ConfigurationError as error:
            return [f"backend-ca: {error}"]
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(X509StoreFlags.PARTIAL_CHAIN)  # who is given is trusted, be it a root or not
        for authority in authorities:
            store.add_cert(authority)
        return []

    def _show(self, context: SSL.Context) -> list[str]:
        if self.certificate is None:
            return []
        try:
            certificates = read_certificates(self.certificate, self.now())
            if len({certificate.key_type for certificate in certificates}) < len(certificates):
                raise ConfigurationError(f"{self.certificate!r} holds {len(certificates)} certificates; give one")
            for certificate in certificates:
                show(context, certificate)
        except ConfigurationError as error:
            return [f"backend-certificate: {line}" for line in str(error).splitlines()]
        return []


@implementer(IOpenSSLClientConnectionCreator)
class BackendPeer:
    """One backend to speak TLS with.

    :param name: the name it is asked for, and must have a certificate for; empty: neither.
    :param verified: whether its certificate is verified.
    :param resume: whether sessions are resumed.
    """

    def __init__(self, tls: BackendTls, name: str, verified: bool, *, resume: bool = True) -> None:
        self._tls = tls
        self._verify = name if verified else ""
        self._verified = verified
        self._sni = b"" if is_address(name) else name.encode("ascii")
        self._resume = resume
        self._session: tuple[SSL.Session, float] | None = None

    def connect(self, socket: Any = None) -> VerifiedConnection:
        """A session with it, in the state to connect.

        :param socket: the connected socket; None: bytes go through memory.
        """
        session, until = self._resumable()
        connection = VerifiedConnection(self._tls.context, socket, Verification(self._verify, until))
        if self._sni:
            connection.set_tlsext_host_name(self._sni)
        if not self._verified:
            connection.set_verify(SSL.VERIFY_NONE)
        connection.set_connect_state()
        if session is not None:
            connection.set_session(session)
        return connection

    def clientConnectionForTLS(self, tlsProtocol: Any) -> VerifiedConnection:
        """The same for Twisted's TLS."""
        return self.connect()

    def _resumable(self) -> tuple[SSL.Session | None, float | None]:
        if self._session is not None and self._session[1] <= self._tls.now():
            self._session = None
        return (None, None) if self._session is None else self._session

    def keep(self, connection: VerifiedConnection) -> None:
        """Let the next connection resume this one's session, after something has been read on it: TLS 1.3 tells the tickets with
        the first bytes."""
        verification = connection.verification
        if not self._resume or not verification.passed:
            return
        until = verification.until
        if verification.expires is not None or until is None:  # the certificate was shown, or is no matter
            until = min(self._tls.now() + SESSION_LIFE, verification.expires or float("inf"))
        session = connection.get_session()
        if session is not None:
            self._session = (session, until)

    def forget(self) -> None:
        """Resume no session from before: a handshake has failed."""
        self._session = None


def _wanted(backend: Backend, name: str) -> tuple[str, bool]:
    if backend.verify and not backend.verify_name and is_address(name):
        raise ConfigurationError(
            f"certificates are for names, and {name} is an address: give the backend as https:// with :verify-name="
        )
    return name, backend.verify


def warn_of_unverified(pool: str, backends: Iterable[Backend]) -> None:
    """Say in the log, in one line, of which backends nobody can be sure that they are."""
    unverified = [backend.address for backend in backends if backend.tls and not backend.verify]
    if unverified:
        _log.warn(
            "pool {pool}: the certificates of these backends are not verified (:verify=off), so that anybody could be in their "
            "place: {backends}",
            pool=pool,
            backends=", ".join(unverified),
        )
