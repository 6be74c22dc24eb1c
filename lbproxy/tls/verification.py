"""Whether a server is who it should be: what is found out of its certificate within the handshake, in words for people.

OpenSSL verifies the chain; the name is verified in its callback, before the handshake goes on, so that nothing is ever sent to a
server that is not the right one.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from ..balance.backend import is_address

__all__ = ["Verification", "VerifiedConnection", "is_address", "verify"]

#: Names of a certificate that are shown where it is for another.
SHOWN_NAMES = 3
#: Characters of one of them that are.
SHOWN_LENGTH = 100

_CODES = SSL.X509VerificationCodes
_UNKNOWN_ISSUER = frozenset(
    (
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT,
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN,
    )
)
#: What OpenSSL calls the others, by its numbers.
_NAMES = {
    number: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, number in vars(_CODES).items()
    if name.startswith("ERR_")
}


class Verification:
    """What is to be verified in one handshake, and what was found.

    :param name: for whom the certificate must be, a name or an IP address; empty: anybody's will do.
    :param until: seconds since the epoch until which it is known to be his, if a session from before is resumed, in which the
        certificate is not shown again; None: it is not known.
    :ivar problem: what is wrong with it; empty: nothing, so far.
    :ivar expires: the end of a certificate that has been verified in this handshake; None: none has been.
    """

    __slots__ = ("expires", "name", "problem", "until")

    def __init__(self, name: str, until: float | None = None) -> None:
        self.name = name
        self.until = until
        self.problem = ""
        self.expires: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the server may be sent anything, once the handshake is over."""
        return not self.name or (not self.problem and (self.expires is not None or self.until is not None))


class VerifiedConnection(SSL.Connection):
    """A session that knows what is to be verified in it. (Twisted has a use of its own for the ``app_data``.)"""

    def __init__(self, context: SSL.Context, socket: Any, verification: Verification) -> None:
        super().__init__(context, socket)
        self.verification = verification


def verify(connection: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
    """OpenSSL's verify callback of a context of :class:`VerifiedConnection`.

    It must not raise: whatever goes wrong here is a certificate that is not good.
    """
    verification: Verification = connection.verification
    try:
        shown: x509.Certificate = certificate.to_cryptography()
        if not ok:
            verification.problem = _chain_problem(shown, error, depth)
        elif depth == 0:
            verification.problem = _name_problem(shown, verification.name)
            verification.expires = shown.not_valid_after_utc.timestamp()
    except Exception as unexpected:  # a certificate may hold anything
        verification.problem = f"the certificate cannot be read: {_shown(str(unexpected))}"
    return not verification.problem


def _name_problem(certificate: x509.Certificate, name: str) -> str:
    check = verify_certificate_ip_address if is_address(name) else verify_certificate_hostname
    try:
        check(certificate, name)
    except (VerificationError, CertificateError):
        return f"the certificate is for {_names(certificate)}, not for {name}"
    return ""


def _names(certificate: x509.Certificate) -> str:
    """For whom a certificate is."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "no name"
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    shown = map(_shown, found[:SHOWN_NAMES])
    more = f" and {len(found) - SHOWN_NAMES} more" if len(found) > SHOWN_NAMES else ""
    return ", ".join(shown) + more or "no name"


def _chain_problem(certificate: x509.Certificate, error: int, depth: int) -> str:
    which = "the certificate" if depth == 0 else f"the certificate of its authority {_text(certificate.subject)}"
    if error == _CODES.ERR_CERT_HAS_EXPIRED:
        return f"{which} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if error == _CODES.ERR_CERT_NOT_YET_VALID:
        return f"{which} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    if error == _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return "the certificate is signed by no authority that is trusted here: it is signed by itself"
    if error in _UNKNOWN_ISSUER:
        return f"the certificate is signed by no authority that is trusted here: {_text(certificate.issuer)} is not"
    return f"{which} is not good: {_NAMES.get(error, f'error {error} of OpenSSL')}"


def _text(name: x509.Name) -> str:
    return f"'{_shown(name.rfc4514_string())}'"


def _shown(text: str) -> str:
    """What a stranger has written, for a line of the log: no line break, nothing that a terminal obeys, and not too long."""
    cut = text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 1]}…"
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in cut)
