"""The way to a service that a filter asks over HTTP."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, platformTrust, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ...balance.backend import Backend
from ...endpoints import client_endpoint
from ...errors import ConfigurationError
from ...files import opened

__all__ = ["Way"]

#: Bytes of a file with authorities that are read: more than any system's.
_LARGEST = 4 << 20


@implementer(IAgentEndpointFactory)
class Way:
    """Connects to where a URL leads.

    :param ca: PEM file with the authorities of its certificate; empty: the system's.
    :raises ConfigurationError: where that cannot be read.
    """

    def __init__(self, reactor: Any, ca: str = "") -> None:
        self._reactor = reactor
        self._tls = BrowserLikePolicyForHTTPS(trustRoot=_authorities(ca) if ca else platformTrust())

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """An IP address is connected to as it is: looked up is a name only."""
        endpoint = client_endpoint(self._reactor, Backend(uri.host.decode("ascii"), uri.port))
        if uri.scheme != b"https":
            return endpoint
        return _Secure(endpoint, self._tls.creatorForNetloc(uri.host, uri.port), self._reactor)


@implementer(IStreamClientEndpoint)
class _Secure:
    """Twisted's ``wrapClientTLS``, with the reactor that was given instead of the one that is imported."""

    def __init__(self, endpoint: IStreamClientEndpoint, creator: IOpenSSLClientConnectionCreator, reactor: Any) -> None:
        self._creator = creator
        self._endpoint = endpoint
        self._reactor = reactor

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        """Connect, and begin to shake hands."""
        secure = TLSMemoryBIOFactory(self._creator, True, factory, self._reactor)
        connecting: Deferred[Any] = self._endpoint.connect(secure)
        return connecting.addCallback(lambda layer: layer.wrappedProtocol)


def _authorities(path: str) -> Any:
    try:
        with opened(path) as file:
            certificates = load_pem_x509_certificates(file.read(_LARGEST))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"ca: {path!r} was given, which cannot be read ({error}); allowed is a PEM file with certificates"
        ) from None
    return trustRootFromCertificates([Certificate.load(one.public_bytes(Encoding.DER)) for one in certificates])
