"""TLS with backends: whom to trust, what to show, which sessions to resume."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from ..balance.backend import Backend
from ..errors import ConfigurationError
from .backend_loading import BackendFiles, LoadedBackendTls, load_backend_tls
from .certificates import Certificate
from .files import absolute
from .verification import Verification, VerifiedConnection, is_address

__all__ = ["SESSION_LIFE", "BackendPeer", "BackendTls", "warn_of_unverified"]

_log = Logger()

#: Seconds for which sessions may follow from one that began with a certificate that was verified: then it is to be shown again.
SESSION_LIFE = 3600.0


class BackendTls:
    """How TLS is spoken with backends: TLS 1.2 or 1.3, HTTP/1.1, no renegotiation.

    What it needs of the system's authorities is read when it is first used, and all of it that the operator has named at once.
    When these files change, somebody has to read them anew: a :class:`~lbproxy.service.LoadBalancerService` does; a
    :class:`~lbproxy.resource.LoadBalancerResource` alone does not, but goes by what a :class:`~.watch.CertificateWatch` reads
    that was given the same object: ``CertificateWatch(None, reactor, 10, backend_tls=tls)``.

    :param ca: a PEM file with the authorities of their certificates; None: the system's.
    :param certificate: what they are shown, as for a :class:`~.store.CertificateStore`; None: nothing.
    :param now: seconds since the epoch.
    :raises ConfigurationError: for what cannot be read, a line each.
    """

    def __init__(
        self, *, ca: str | None = None, certificate: str | None = None, now: Callable[[], float] = time.time
    ) -> None:
        empty = [option for option, path in (("backend-ca", ca), ("backend-certificate", certificate)) if path == ""]
        if empty:
            raise ConfigurationError("\n".join(f"{option}: '' was given; allowed is a path" for option in empty))
        self.files = BackendFiles(
            None if ca is None else os.path.abspath(ca), None if certificate is None else absolute(certificate)
        )
        self.now = now
        self._loaded: LoadedBackendTls | None = None
        self._peers: dict[tuple[str, bool, str], BackendPeer] = {}
        self._seen = self.files.stamps()
        if self.files:
            self._loaded = load_backend_tls(self.files, now())

    @property
    def context(self) -> SSL.Context:
        """What every session with a backend is made of: one for all, since sessions are resumed within one alone."""
        if self._loaded is None:
            self._loaded = load_backend_tls(self.files, self.now())
        return self._loaded.context

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """What backends are shown just now: nothing, or one of each key type."""
        return () if self._loaded is None else self._loaded.certificates

    def changed(self) -> bool:
        """Whether any file has changed since it was looked at last, for better or worse. Blocking; safe in a thread."""
        return self.files.stamps() != self._seen

    def load(self) -> LoadedBackendTls:
        """Read the files, if they are others than those in use, and make a whole new context. What is in use stays as it is.
        Blocking; safe in a thread.

        :raises ConfigurationError: as at the start; but a certificate that has expired is no mistake while its file has not
            changed.
        """
        self._seen = self.files.stamps()
        return load_backend_tls(self.files, self.now(), self._loaded)

    def swap(self, loaded: LoadedBackendTls) -> None:
        """Make sessions of *loaded* from now on. Exchanges that run are ended as they began; after them no session from before is
        resumed, and no connection used: who vouched for its backend may not be trusted any more."""
        if loaded is self._loaded:
            return
        self._loaded = loaded
        peers, self._peers = self._peers, {}
        for peer in peers.values():
            peer.retire()

    def peer(self, backend: Backend) -> BackendPeer:
        """The backend as it is to be verified. It is the same object for the same backend, verified in the same way, until other
        files are gone by.

        :raises ConfigurationError: when it is not known for whom its certificate should be.
        """
        name = (backend.verify_name or backend.host).removesuffix(".")
        key = (backend.address, backend.verify, name)
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = BackendPeer(self, *_wanted(backend, name))
        return peer

    def forget_backend(self, address: str) -> None:
        """Keep no session of a backend that has left."""
        for key in [key for key in self._peers if key[0] == address]:
            del self._peers[key]

    def prober(self, backend: Backend) -> BackendPeer:
        """The same for a probe: its certificate is to be shown each time."""
        return BackendPeer(self, *_wanted(backend, (backend.verify_name or backend.host).removesuffix(".")), resume=False)


@implementer(IOpenSSLClientConnectionCreator)
class BackendPeer:
    """One backend to speak TLS with.

    :param name: the name it is asked for, and must have a certificate for; empty: neither.
    :param verified: whether its certificate is verified.
    :param resume: whether sessions are resumed.
    :ivar tls: how it is spoken.
    :ivar retired: whether other files are gone by since: what was made for it is not to be used again.
    """

    retired = False

    def __init__(self, tls: BackendTls, name: str, verified: bool, *, resume: bool = True) -> None:
        self.tls = tls
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
        connection = VerifiedConnection(self.tls.context, socket, Verification(self._verify, until))
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
        if self._session is not None and self._session[1] <= self.tls.now():
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
            until = min(self.tls.now() + SESSION_LIFE, verification.expires or float("inf"))
        session = connection.get_session()
        if session is not None:
            self._session = (session, until)

    def forget(self) -> None:
        """Resume no session from before: a handshake has failed."""
        self._session = None

    def retire(self) -> None:
        """Resume none at all any more, and have no connection used again."""
        self.retired = True
        self._resume = False
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
