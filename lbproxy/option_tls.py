"""The options about TLS: the files that they name are read, and what is wrong with them is said."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from .errors import ConfigurationError
from .tls.backends import BackendTls
from .tls.profiles import PROFILES
from .tls.store import CertificateStore

__all__ = ["tls_problems"]


def tls_problems(options: MutableMapping[str, Any]) -> list[str]:
    """Everything that is wrong with them, a line each. Puts what it reads into the options: ``certificates`` (None without any)
    and ``backend-tls``.
    """
    return [*_with_clients(options), *_with_backends(options)]


def _with_clients(options: MutableMapping[str, Any]) -> list[str]:
    if not options["certificate"]:
        wrong = options["tls-profile"] not in PROFILES
        return [f"--tls-profile: {options['tls-profile']!r} was given; allowed are {' and '.join(PROFILES)}"] if wrong else []
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


def _with_backends(options: MutableMapping[str, Any]) -> list[str]:
    try:
        options["backend-tls"] = BackendTls(ca=options["backend-ca"], certificate=options["backend-certificate"])
    except ConfigurationError as error:
        return [f"--{line}" for line in str(error).splitlines()]
    return []
