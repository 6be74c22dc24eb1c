"""The certificates that clients are shown, by the names that they ask for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from ..errors import ConfigurationError
from .certificates import Certificate
from .contexts import NamedConnection, ServerConnection
from .files import StrPath, absolute
from .loading import LoadedCertificates, Wanted, load
from .profiles import PROFILES

__all__ = ["CLIENT_AUTH", "Certificate", "CertificateStore", "LoadedCertificates"]

#: Whether a client must have a certificate, where there are authorities for them.
CLIENT_AUTH = ("required", "optional")


@implementer(IOpenSSLServerConnectionCreator)
class CertificateStore:
    """Certificates by the names that they are for: as they are, then with ``*`` for the first label, then the default.

    It makes the TLS sessions of any listener: of ``twistd lbproxy``, and of every endpoint and factory of Twisted's that takes an
    :class:`twisted.internet.interfaces.IOpenSSLServerConnectionCreator`.

    A session can be resumed (RFC 8446 section 2.2, RFC 5077) until :meth:`rotate` or :meth:`swap`. One of TLS 1.2 goes on under
    the name that it began with, whatever name is asked for; in TLS 1.3 the name that is asked for counts, and it is for the
    client to know whether the certificate that it saw is good for it (RFC 8446 section 4.2.11). What clients must have is the
    same for all names, so nobody comes by anything in this way.

    All contexts are made at the start, so that no handshake waits for one. Measured with 1,000 files, each with a certificate of
    two names and its intermediate: ready in 1.5 s with ECDSA, 1.9 s with RSA; 41 and 46 KiB of memory a certificate, of which 29
    are OpenSSL's; 20 ms to read anew where nothing has changed; a handshake for the last name costs what one for the first does.

    :param paths: of certificates and directories of them: see :func:`~.files.find_sources`.
    :param default: the one of them, or a further one, for clients that ask for no name or for one that is nobody's; None: the
        first.
    :param reject_unknown_names: refuse those clients instead, those among them that ask for no name.
    :param profile: one of :data:`~.profiles.PROFILES`.
    :param client_ca: a PEM file with the authorities of clients' certificates; None: clients are not asked for any.
    :param client_auth: one of :data:`CLIENT_AUTH`; None: the first.
    :param protocols: what may be spoken within TLS, the one that is liked best first; None: what Twisted's protocol says, or else
        HTTP/1.1. A client that offers other ones alone is refused; one that offers none is not.
    :param now: seconds since the epoch.
    :raises ConfigurationError: a line a mistake, each beginning with the option's name without its dashes.
    """

    def __init__(
        self,
        paths: Sequence[StrPath],
        *,
        default: StrPath | None = None,
        reject_unknown_names: bool = False,
        profile: str = PROFILES[0],
        client_ca: StrPath | None = None,
        client_auth: str | None = None,
        protocols: Sequence[bytes] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        _check(paths, default, profile, client_ca, client_auth, protocols)
        self._wanted = Wanted(
            paths=tuple(map(absolute, paths)),
            default=None if default is None else absolute(default),
            reject_unknown_names=reject_unknown_names,
            profile=profile,
            client_ca=None if client_ca is None else os.path.abspath(os.fspath(client_ca)),
            client_required=client_auth != "optional",
            protocols=None if protocols is None else tuple(protocols),
        )
        self._now = now
        self._connection: type[SSL.Connection] = NamedConnection if reject_unknown_names else ServerConnection
        self._seen = self._wanted.stamps()
        self._loaded = load(self._wanted, now())
        self._front = self._loaded.front

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """What is served just now, in the operator's order."""
        return self._loaded.certificates

    @property
    def default(self) -> Certificate:
        """What is shown to clients that ask for no name, or for one that is nobody's."""
        return self._loaded.default

    @property
    def profile(self) -> str:
        """One of :data:`~.profiles.PROFILES`."""
        return self._wanted.profile

    @property
    def client_auth(self) -> str | None:
        """One of :data:`CLIENT_AUTH`; None: clients are not asked for certificates."""
        if self._wanted.client_ca is None:
            return None
        return CLIENT_AUTH[0] if self._wanted.client_required else CLIENT_AUTH[1]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know of the certificates that are served, a line each."""
        return self._loaded.warnings

    def changed(self) -> bool:
        """Whether any file has changed since it was looked at last, for better or worse. Blocking; safe in a thread."""
        return self._wanted.stamps() != self._seen

    def load(self) -> LoadedCertificates:
        """Read what has changed, and make whole new contexts. What is served stays as it is. Blocking; safe in a thread.

        :raises ConfigurationError: as at the start; but one that has expired is no mistake while its file has not changed.
        """
        self._seen = self._wanted.stamps()  # before it is read: what changes meanwhile is seen the next time
        return load(self._wanted, self._now(), self._loaded)

    def swap(self, loaded: LoadedCertificates) -> None:
        """Serve *loaded* from now on. Sessions that there are keep what they have."""
        self._loaded = loaded
        self._front = loaded.front

    def rotate(self) -> None:
        """Forget the keys of all tickets, and make new ones: whoever learns a key can read no session from before. Clients with
        tickets from before make a full handshake."""
        self._front = self._loaded.make_front()

    def accept(self, socket: Any) -> SSL.Connection:
        """A session on a connected socket, in the state to accept."""
        connection = self._connection(self._front, socket)
        connection.set_accept_state()
        return connection

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A session for Twisted's TLS."""
        return self._connection(self._front, None)


def _check(paths: Any, default: Any, profile: str, client_ca: Any, client_auth: str | None, protocols: Any) -> None:
    mistakes = []
    listed = paths if isinstance(paths, Sequence) and not isinstance(paths, (str, bytes)) else ()
    if not listed:
        mistakes.append(f"certificate: {paths!r} was given; allowed is a list of paths")
    given = [("certificate", path) for path in listed]
    given += [(option, path) for option, path in (("default-certificate", default), ("client-ca", client_ca)) if path is not None]
    mistakes += [f"{option}: {path!r} was given; allowed is a path" for option, path in given if not _is_path(path)]
    if profile not in PROFILES:
        mistakes.append(f"tls-profile: {profile!r} was given; allowed are {' and '.join(PROFILES)}")
    if client_auth is not None and client_auth not in CLIENT_AUTH:
        mistakes.append(f"client-auth: {client_auth!r} was given; allowed are {' and '.join(CLIENT_AUTH)}")
    elif client_auth is not None and client_ca is None:
        mistakes.append("client-auth: it was given without --client-ca; say whose certificates clients may have as well")
    if protocols is not None and not _are_protocols(protocols):
        mistakes.append(f"protocols: {protocols!r} was given; allowed is a list of names, as bytes")
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))


def _is_path(given: object) -> bool:
    return isinstance(given, os.PathLike) or (isinstance(given, str) and given != "")


def _are_protocols(given: object) -> bool:
    """Names as RFC 7301 has them (section 3.1)."""
    names = given if isinstance(given, Sequence) else ()
    return bool(names) and all(isinstance(name, bytes) and 0 < len(name) < 256 for name in names)
