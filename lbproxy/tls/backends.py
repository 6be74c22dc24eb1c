"""TLS with backends: whom to trust, what to show, which sessions to resume."""

from __future__ import annotations

__all__ = ["BackendTls"]


class BackendTls:
    """How TLS is spoken with backends.

    :param ca: a PEM file with the authorities of their certificates; None: the system's.
    :param certificate: what they are shown, as for a :class:`~.store.CertificateStore`; None: nothing.
    """

    def __init__(self, *, ca: str | None = None, certificate: str | None = None) -> None:
        self.ca = ca
        self.certificate = certificate
