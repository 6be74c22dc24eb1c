"""The options about TLS: the files that they name are read, and what they say must go together."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from .balance.backend import Backend
from .errors import ConfigurationError
from .health.spec import ProbeSpec
from .tls.backends import BackendTls
from .tls.profiles import PROFILES
from .tls.store import CertificateStore

__all__ = ["tls_problems"]

#: Listeners on which it is certain that no TLS is spoken.
_IN_CLEAR = re.compile(r"(?:haproxy:)?(?:tcp6?|unix|systemd):", re.IGNORECASE)

#: What goes with certificates, and what it is where it was not given.
_OF_CERTIFICATES: dict[str, Any] = {
    "tls-listen": [],
    "default-certificate": None,
    "reject-unknown-names": 0,
    "tls-profile": PROFILES[0],
    "client-ca": None,
    "client-auth": None,
}


def tls_problems(options: MutableMapping[str, Any]) -> list[str]:
    """Everything that is wrong with them, a line each. Puts what it reads into the options: ``certificates`` (None without any)
    and ``backend-tls``.

    :param options: of which backends and probe have been read already; where these were mistaken they are still texts.
    """
    return [*_with_clients(options), *_with_backends(options), *_unused(options)]


def _with_clients(options: MutableMapping[str, Any]) -> list[str]:
    if not options["certificate"]:
        return _without_certificates(options)
    try:
        options["certificates"] = CertificateStore(
            options["certificate"],
            default=options["default-certificate"],
            reject_unknown_names=bool(options["reject-unknown-names"]),
            profile=options["tls-profile"],
            client_ca=options["client-ca"],
            client_auth=options["client-auth"],
        )
    except ConfigurationError as error:
        return [f"--{line}" for line in str(error).splitlines()]
    return []


def _without_certificates(options: MutableMapping[str, Any]) -> list[str]:
    """What goes with certificates is a mistake."""
    if options["tls-profile"] not in PROFILES:
        return [f"--tls-profile: {options['tls-profile']!r} was given; allowed are {' and '.join(PROFILES)}"]
    given = [name for name, unused in _OF_CERTIFICATES.items() if options[name] != unused]
    problems = [f"--{name}: it was given without --certificate; say which certificate to show as well" for name in given]
    return problems or _without_secure_requests(options)


def _without_secure_requests(options: MutableMapping[str, Any]) -> list[str]:
    """Where no request can come over TLS, nothing could ever reach a backend, or nobody be told to come so."""
    if options["trusted-proxies"] or not all(map(_IN_CLEAR.match, options["listen"])):
        return []
    given = [name for name in ("redirect-to-https", "hsts") if options[name] and not isinstance(options[name], str)]
    return [
        f"--{name}: it was given, but no request can come over TLS; say which --certificate to show as well, or, where TLS ends "
        "before lbproxy, who the --trusted-proxies are"
        for name in given
    ]


def _with_backends(options: MutableMapping[str, Any]) -> list[str]:
    try:
        options["backend-tls"] = BackendTls(ca=options["backend-ca"], certificate=options["backend-certificate"])
    except ConfigurationError as error:
        return [f"--{line}" for line in str(error).splitlines()]
    return []


def _unused(options: MutableMapping[str, Any]) -> list[str]:
    """What is said of TLS with backends needs some that it is spoken with."""
    probe, backends = options["probe"], options["backends"]
    if not isinstance(probe, ProbeSpec) or not all(isinstance(backend, Backend) for backend in backends):
        return []  # which has been said already
    probed = probe.scheme in ("tls", "https")
    if probed and options["demo"]:
        return [f"--probe: {probe.scheme} was given, but the backends of --demo speak no TLS; allowed are tcp and http:/path"]
    if probed or any(backend.tls for backend in backends):
        return []
    given = [name for name in ("backend-ca", "backend-certificate") if options[name] is not None]
    return [f"--{name}: it was given, but TLS is spoken with no backend; give it as https://HOST:PORT" for name in given]
