"""OpenSSL's contexts, all made alike but for the certificates: a handshake may go from one to another when the name is known.

What OpenSSL takes from the context that a handshake goes to: certificates, trusted authorities, the choice of protocols. What
it keeps of the one that it began with: versions, suites, options, and the keys of tickets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tempfile import NamedTemporaryFile
from typing import Any, NoReturn

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from twisted.internet.interfaces import IProtocolNegotiationFactory

from ..errors import ConfigurationError
from .certificates import Certificate
from .files import read_file
from .profiles import Profile, apply_profile
from .renewals import limit_renewals

__all__ = ["ClientAuthorities", "ContextMaker", "NamedConnection", "ServerConnection", "fail", "show"]

HTTP = (b"http/1.1",)


@attrs.frozen(eq=False)
class ClientAuthorities:
    """Whose certificates clients may have.

    :ivar required: whether they must have one.
    """

    certificates: tuple[x509.Certificate, ...]
    trusted: tuple[X509, ...]
    required: bool

    @classmethod
    def read(cls, path: str, required: bool) -> ClientAuthorities:
        """:raises ConfigurationError: the file cannot be read, or is not what it should be."""
        data = read_file(path)
        if b"-----BEGIN CERTIFICATE-----" not in data:
            raise ConfigurationError(f"{path!r} has no certificate in it; give a PEM file with the authorities' certificates")
        try:
            certificates = tuple(x509.load_pem_x509_certificates(data))
            # Each is kept in memory once, and counted by OpenSSL for every context.
            trusted = tuple(map(X509.from_cryptography, certificates))
        except (ValueError, SSL.Error) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise ConfigurationError(f"{path!r} has a certificate in it that is damaged: {reason}") from None
        return cls(certificates, trusted, required)


class ContextMaker:
    """Makes the contexts of a store.

    :param protocols: what is chosen from, of what a client offers (RFC 7301), the first that fits; None: what Twisted's protocol
        says, or else HTTP/1.1. A client that offers other ones alone is refused (RFC 7301 section 3.2): it may have been led here
        from who speaks them with the same certificate (https://alpaca-attack.com).
    """

    def __init__(self, profile: Profile, protocols: Sequence[bytes] | None, clients: ClientAuthorities | None) -> None:
        self._profile = profile
        self._clients = clients
        self._choose_protocol = _chooser(None if protocols is None else tuple(protocols))

    def make(
        self, certificates: Sequence[Certificate], choose_certificate: Callable[[SSL.Connection], None] | None = None
    ) -> SSL.Context:
        """A context that shows *certificates*, which are of different key types.

        :param choose_certificate: is called in a handshake once the name is known, if there is one.
        :raises ConfigurationError: OpenSSL does not take one of them.
        """
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        apply_profile(context, self._profile)
        context.set_alpn_select_callback(self._choose_protocol)
        limit_renewals(context)
        self._ask_for_certificates(context)
        for certificate in certificates:
            show(context, certificate)
        if choose_certificate is not None:
            context.set_tlsext_servername_callback(choose_certificate)
        return context

    def _ask_for_certificates(self, context: SSL.Context) -> None:
        clients = self._clients
        if clients is None:
            return
        context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if clients.required else 0))
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(X509StoreFlags.PARTIAL_CHAIN)  # who is given is trusted, be it a root or not
        for certificate, trusted in zip(clients.certificates, clients.trusted, strict=True):
            store.add_cert(trusted)
            context.add_client_ca(certificate)


def show(context: SSL.Context, certificate: Certificate) -> None:
    """Add a certificate with its chain and its key.

    A chain that is read from a file is that of its certificate, and OpenSSL checks it; ``add_extra_chain_cert`` would add to one
    that certificates of all key types share, unchecked until a handshake fails for it.

    :raises ConfigurationError: OpenSSL does not take it.
    """
    try:
        with NamedTemporaryFile(suffix=".pem") as file:
            file.writelines(one.public_bytes(Encoding.PEM) for one in certificate.chain)
            file.flush()
            context.use_certificate_chain_file(file.name)
        context.use_privatekey(certificate.key)
    except SSL.Error as error:
        reasons = "; ".join(dict.fromkeys(entry[-1] for entry in error.args[0])) if error.args else str(error)
        raise ConfigurationError(f"{certificate.source!r} is refused by OpenSSL: {reasons}; give one that is stronger") from None
    except OSError as error:
        raise ConfigurationError(f"{certificate.source!r} cannot be used without a temporary file: {error}") from None


def _chooser(protocols: tuple[bytes, ...] | None) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    def choose(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in protocols or _protocols_of(connection.get_app_data()):
            if protocol in offered:
                return protocol
        fail("no application protocol in common")

    return choose


def _protocols_of(tls_protocol: Any) -> Sequence[bytes]:
    """What a factory behind Twisted's TLS can speak, if it says so."""
    factory = getattr(getattr(tls_protocol, "factory", None), "wrappedFactory", None)
    negotiating = IProtocolNegotiationFactory(factory, None)
    return HTTP if negotiating is None else negotiating.acceptableProtocols() or HTTP


def fail(reason: str) -> NoReturn:
    """:raises SSL.Error: with a reason, as OpenSSL has them."""
    raise SSL.Error([("lbproxy", "", reason)])


class ServerConnection(SSL.Connection):
    """A session that keeps the context which it began with, also when it goes on with another one for its name: OpenSSL calls
    that one's callbacks to the end of the handshake, and pyOpenSSL frees them with it. (Seen to end the process, where a store
    was read anew in the middle of a handshake.)

    :ivar begun_with: that context.
    """

    def __init__(self, context: SSL.Context, socket: Any = None) -> None:
        super().__init__(context, socket)
        self.begun_with = context


class NamedConnection(ServerConnection):
    """A session that ends when the client has asked for a name which is not served.

    pyOpenSSL has one way to end it in the callback itself, which is to raise there; it prints a traceback for it. So the
    handshake goes on with a context without a certificate, and fails for lack of one; or it fails here, since a session of
    another name that is resumed needs no certificate.

    :ivar name_refused: set by that callback.
    """

    name_refused = False

    def do_handshake(self) -> None:
        """As OpenSSL's."""
        try:
            super().do_handshake()
        except (SSL.WantReadError, SSL.WantWriteError):
            raise
        except SSL.Error:
            if not self.name_refused:
                raise
        if self.name_refused:
            fail("the name is not served")
