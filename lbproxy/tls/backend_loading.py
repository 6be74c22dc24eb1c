"""From what an operator says of TLS with backends to what sessions with them are made of."""

from __future__ import annotations

import attrs
from OpenSSL import SSL
from OpenSSL.crypto import X509StoreFlags

from ..errors import ConfigurationError
from .certificates import Certificate, CertificateReader
from .contexts import ClientAuthorities, show
from .files import Stamp, stamp, stamps
from .renewals import limit_renewals
from .verification import verify

__all__ = ["BackendFiles", "LoadedBackendTls", "load_backend_tls"]


@attrs.frozen
class BackendFiles:
    """What an operator names.

    :ivar ca: the authorities of backends' certificates; None: the system's.
    :ivar certificate: what backends are shown; None: nothing.
    """

    ca: str | None
    certificate: str | None

    def __bool__(self) -> bool:
        return self.ca is not None or self.certificate is not None

    def stamps(self) -> tuple[object, ...]:
        """The state of all of them."""
        ca: Stamp = stamp(self.ca) if self.ca else None
        return (ca, stamps(self.certificate) if self.certificate else ())


@attrs.frozen(eq=False)
class LoadedBackendTls:
    """What sessions with backends can be made of.

    :ivar stamps: the state of the files when they were read, or before.
    :ivar certificates: what backends are shown: none, or one of each key type.
    """

    stamps: tuple[object, ...]
    certificates: tuple[Certificate, ...]
    context: SSL.Context = attrs.field(repr=False)
    reader: CertificateReader = attrs.field(repr=False)


def load_backend_tls(files: BackendFiles, now: float, before: LoadedBackendTls | None = None) -> LoadedBackendTls:
    """Read the files and make a whole new context; where nothing has changed, it is *before*.

    :param before: what has been loaded of the same before.
    :raises ConfigurationError: a line a mistake, each beginning with the option's name.
    """
    state = files.stamps()  # before they are read: what changes meanwhile is seen the next time
    if before is not None and before.stamps == state:
        return before
    context = _make_context()
    reader = CertificateReader(now, before.reader if before else None)
    problems = _trust(context, files.ca)
    certificates: list[Certificate] = []
    try:
        certificates = _show(context, files.certificate, reader)
    except ConfigurationError as error:
        problems += [f"backend-certificate: {line}" for line in str(error).splitlines()]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return LoadedBackendTls(state, tuple(certificates), context, reader)


def _make_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # we keep them by backend
    context.set_alpn_protos([b"http/1.1"])
    limit_renewals(context)
    context.set_verify(SSL.VERIFY_PEER, verify)
    return context


def _trust(context: SSL.Context, ca: str | None) -> list[str]:
    if ca is None:
        context.set_default_verify_paths()
        return []
    try:
        authorities = ClientAuthorities.read(ca, True).trusted
    except ConfigurationError as error:
        return [f"backend-ca: {error}"]
    store = context.get_cert_store()
    assert store is not None
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)  # who is given is trusted, be it a root or not
    for authority in authorities:
        store.add_cert(authority)
    return []


def _show(context: SSL.Context, path: str | None, reader: CertificateReader) -> list[Certificate]:
    """:raises ConfigurationError: it cannot be shown."""
    if path is None:
        return []
    certificates = reader.read(path)
    if len({certificate.key_type for certificate in certificates}) < len(certificates):
        raise ConfigurationError(f"{path!r} holds {len(certificates)} certificates; give one")
    for certificate in certificates:
        show(context, certificate)
    return certificates
