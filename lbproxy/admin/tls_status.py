"""What ``/status`` says of TLS, as plain values: who is shown what until when, and what went wrong."""

from __future__ import annotations

from typing import Any

from ..observe.times import iso_time
from ..proxy.counters import ListenerCounters
from ..tls.backends import BackendTls
from ..tls.certificates import Certificate
from ..tls.store import CertificateStore
from ..tls.watch import CertificateWatch, Reload

__all__ = ["tls_status"]

_DAY = 86400


def tls_status(watch: CertificateWatch, listener: ListenerCounters, now: float) -> dict[str, Any]:
    """Everything that is known of certificates and of handshakes, ready for JSON.

    :param now: seconds since the epoch.
    :return: ``profile`` (null: clients are shown no certificate), ``client_auth`` (``required`` or ``optional``; null: clients
        are asked for none), counts of ``handshakes`` that came about and of ``handshakes_failed`` by cause, ``last_reload`` with
        its time, whether it was ``ok``, and its ``errors`` (null: certificates are those of the start), ``warnings`` that are no
        mistakes, and ``certificates`` in the operator's order. Each has ``names``, ``issuer``, ``key_type``, ``not_before`` and
        ``not_after`` (ISO 8601 in UTC), ``days_left`` (less than 0: it has expired), ``source`` (the file), ``fingerprint``
        (SHA-256), and whether it is the ``default`` for clients that ask for no name that is served. ``backends`` has what TLS
        with backends goes by (null: no file was given for it): the file of the authorities as ``ca`` (null: the system's), and
        the ``certificates`` that backends are shown, like those above but without ``default``.
    """
    store = watch.store
    return {
        "profile": None if store is None else store.profile,
        "client_auth": None if store is None else store.client_auth,
        "handshakes": listener.handshakes,
        "handshakes_failed": dict(sorted(listener.handshakes_failed.items())),
        "last_reload": None if watch.last is None else _reload(watch.last),
        "warnings": [] if store is None else list(store.warnings),
        "certificates": [] if store is None else _of_clients(store, now),
        "backends": None if watch.backend_tls is None else _of_backends(watch.backend_tls, now),
    }


def _of_clients(store: CertificateStore, now: float) -> list[dict[str, Any]]:
    default = store.default
    return [{**_certificate(one, now), "default": one is default} for one in store.certificates]


def _of_backends(tls: BackendTls, now: float) -> dict[str, Any]:
    return {"ca": tls.files.ca, "certificates": [_certificate(one, now) for one in tls.certificates]}


def _reload(last: Reload) -> dict[str, Any]:
    return {"time": iso_time(last.when), "ok": last.ok, "errors": list(last.errors)}


def _certificate(certificate: Certificate, now: float) -> dict[str, Any]:
    return {
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "key_type": certificate.key_type,
        "not_before": iso_time(certificate.not_before),
        "not_after": iso_time(certificate.not_after),
        "days_left": round((certificate.not_after - now) / _DAY, 2),
        "source": certificate.source,
        "fingerprint": certificate.fingerprint,
    }
