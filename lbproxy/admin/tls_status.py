"""What ``/status`` says of TLS with clients, as plain values: who is shown what until when, and what went wrong."""

from __future__ import annotations

from typing import Any

from ..observe.times import iso_time
from ..proxy.counters import ListenerCounters
from ..tls.certificates import Certificate
from ..tls.watch import CertificateWatch, Reload

__all__ = ["tls_status"]

_DAY = 86400


def tls_status(watch: CertificateWatch, listener: ListenerCounters, now: float) -> dict[str, Any]:
    """Everything that is known of certificates and of handshakes, ready for JSON.

    :param now: seconds since the epoch.
    :return: ``profile``, ``client_auth`` (``required`` or ``optional``; null: clients are asked for no certificate), counts of
        ``handshakes`` that came about and of ``handshakes_failed`` by cause, ``last_reload`` with its time, whether it was
        ``ok``, and its ``errors`` (null: certificates are those of the start), ``warnings`` that are no mistakes, and
        ``certificates`` in the operator's order. Each has ``names``, ``issuer``, ``key_type``, ``not_before`` and ``not_after``
        (ISO 8601 in UTC), ``days_left`` (less than 0: it has expired), ``source`` (the file), ``fingerprint`` (SHA-256), and
        whether it is the ``default`` for clients that ask for no name that is served.
    """
    store = watch.store
    default = store.default
    return {
        "profile": store.profile,
        "client_auth": store.client_auth,
        "handshakes": listener.handshakes,
        "handshakes_failed": dict(sorted(listener.handshakes_failed.items())),
        "last_reload": None if watch.last is None else _reload(watch.last),
        "warnings": list(store.warnings),
        "certificates": [_certificate(one, one is default, now) for one in store.certificates],
    }


def _reload(last: Reload) -> dict[str, Any]:
    return {"time": iso_time(last.when), "ok": last.ok, "errors": list(last.errors)}


def _certificate(certificate: Certificate, default: bool, now: float) -> dict[str, Any]:
    return {
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "key_type": certificate.key_type,
        "not_before": iso_time(certificate.not_before),
        "not_after": iso_time(certificate.not_after),
        "days_left": round((certificate.not_after - now) / _DAY, 2),
        "source": certificate.source,
        "fingerprint": certificate.fingerprint,
        "default": default,
    }
