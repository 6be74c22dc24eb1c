"""What a backend is told of a client's certificate: four lines of a request's head. Pure.

A certificate says whatever its authority has signed, and an authority may sign what its customers write. So a value that stands
in a field is percent-encoded (RFC 3986 section 2.1, of UTF-8) but for the characters that names are mostly made of: it can hold
no line break, and none of the commas and signs by which backends cut the field apart. What is written is bounded, as heads are.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes

__all__ = ["MORE", "SAN_LIMIT", "SUBJECT_LIMIT", "client_identity", "identity_fields"]

#: Bytes of ``X-SSL-Client-S-DN``. RFC 5280 appendix A.1 bounds a common name at 64 characters. A subject that is longer is not
#: written at all: its beginning could be another's name.
SUBJECT_LIMIT = 1024
#: Bytes of ``X-SSL-Client-SAN``: many servers take no more than 8 KiB of fields in all. What follows whole names is left out.
SAN_LIMIT = 2048
#: Stands where there was more than can be said. No name looks like it.
MORE = "..."

# What goes unencoded beside letters, digits and ``-._~``. In a subject: none of RFC 4514's special characters, and no ``=``.
_IN_SUBJECT = " !$&'()*/:?@[]"
_IN_NAME = "*@"
_IN_URI = "!#$&'()*+/:;=?@[]"

# Those at a value's ends would be none of its own (RFC 4514 section 2.4), and those at the line's end none of the field's.
_OUTER_SPACES = re.compile(r"\A +| +\Z")

_NONE = b"X-SSL-Client-Verify: NONE\r\n"


def identity_fields(certificate: x509.Certificate | None) -> bytes:
    """The lines about a client whose certificate has been verified, each ended by CRLF; of one without any that it has none.

    ``X-SSL-Client-S-DN`` is the subject as RFC 4514 writes it, but each value percent-encoded where RFC 4514 has backslashes;
    ``X-SSL-Client-SAN`` the alternative names, ``DNS:…``, ``URI:…``, ``IP:…`` and ``email:…``, with a comma and a space between
    them. Both are left out when there is nothing to say. ``X-SSL-Client-SHA256`` is the hash of the whole certificate. Never
    raises for what stands in a certificate.
    """
    if certificate is None:
        return _NONE
    lines = ["X-SSL-Client-Verify: SUCCESS"]
    for name, value in (("S-DN", _subject(certificate)), ("SAN", _names(certificate))):
        if value:
            lines.append(f"X-SSL-Client-{name}: {value}")
    lines.append(f"X-SSL-Client-SHA256: {certificate.fingerprint(hashes.SHA256()).hex()}")
    return "".join([line + "\r\n" for line in lines]).encode("ascii")


def client_identity(transport: Any) -> bytes:
    """The same of a connection.

    :param transport: provides :class:`twisted.internet.interfaces.ISSLTransport`; its session takes no certificate that has not
        been verified.
    """
    certificate = transport.getPeerCertificate()
    return identity_fields(None if certificate is None else certificate.to_cryptography())


def _subject(certificate: x509.Certificate) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a part that is longer than RFC 5280 has it is no news for the log
            rdns = certificate.subject.rdns
    except Exception:  # whatever does not decode, be it nested as it likes
        return MORE
    # From the last to the first (RFC 4514 section 2.1).
    subject = ",".join(["+".join(map(_attribute, rdn)) for rdn in reversed(rdns)])
    return subject if len(subject) <= SUBJECT_LIMIT else MORE


def _attribute(attribute: x509.NameAttribute[Any]) -> str:
    value = attribute.value
    if isinstance(value, bytes):
        return f"{attribute.rfc4514_attribute_name}=#{value.hex()}"  # RFC 4514 section 2.4
    return f"{attribute.rfc4514_attribute_name}={_OUTER_SPACES.sub(_encoded, quote(value, _IN_SUBJECT))}"


def _encoded(spaces: re.Match[str]) -> str:
    return "%20" * len(spaces[0])


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ""
    except Exception:  # whatever does not decode, or stands twice
        return MORE
    names: list[str] = []
    left = SAN_LIMIT - len(f", {MORE}")
    for name in _alternatives(found.value):
        left -= len(name) + 2
        if left < 0:
            names.append(MORE)
            break
        names.append(name)
    return ", ".join(names)


def _alternatives(names: x509.SubjectAlternativeName) -> Iterator[str]:
    """Those of the kinds that backends know."""
    for name in names:
        if isinstance(name, x509.DNSName):
            yield f"DNS:{quote(name.value, _IN_NAME)}"
        elif isinstance(name, x509.UniformResourceIdentifier):
            yield f"URI:{quote(name.value, _IN_URI)}"
        elif isinstance(name, x509.IPAddress):
            yield f"IP:{name.value}"
        elif isinstance(name, x509.RFC822Name):
            yield f"email:{quote(name.value, _IN_NAME)}"
