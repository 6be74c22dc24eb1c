"""The metrics of TLS: handshakes with clients, and how old the certificates are that they and backends get to see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..proxy.counters import ListenerCounters
from ..tls.certificates import Certificate
from ..tls.failures import CAUSES
from ..tls.watch import CertificateWatch
from .families import from_zero, with_samples

__all__ = ["tls_families"]

_PREFIX = "lbproxy_frontend_tls_"

#: Clients do not end a handshake by our own doubts about a backend.
_CLIENT_CAUSES = tuple(cause for cause in CAUSES if cause != "certificate")


def tls_families(watch: CertificateWatch, listener: ListenerCounters) -> Iterator[Metric]:
    """All of them, with the values of now."""
    if watch.store is not None:
        yield from _handshakes(listener)
        yield _ends(_PREFIX, watch.store.certificates)
    yield from _reloads(watch)
    if watch.backend_tls is not None:
        yield _ends("lbproxy_backend_tls_", watch.backend_tls.certificates)


def _handshakes(listener: ListenerCounters) -> Iterator[Metric]:
    yield CounterMetricFamily(f"{_PREFIX}handshakes_total", "TLS sessions that came about.", value=listener.handshakes)
    yield with_samples(
        CounterMetricFamily(f"{_PREFIX}handshakes_failed_total", "TLS handshakes that failed, by why.", labels=["cause"]),
        from_zero(_CLIENT_CAUSES, listener.handshakes_failed),
    )


def _reloads(watch: CertificateWatch) -> Iterator[Metric]:
    yield with_samples(
        CounterMetricFamily(
            f"{_PREFIX}reloads_total", "How often certificates were read anew, by how that ended.", labels=["result"]
        ),
        from_zero((), watch.reloads),
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}last_reload_successful",
        "Whether the last time that certificates were read went well: 1 or 0, and then those from before are served.",
        value=watch.last is None or watch.last.ok,
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}last_reload_success_timestamp_seconds",
        "When the certificates that are served were read.",
        value=watch.read_at,
    )


def _ends(prefix: str, certificates: Iterable[Certificate]) -> Metric:
    """Of certificates with the same labels the end that comes first: a series may stand there once only."""
    ends: dict[tuple[str, str], float] = {}
    for certificate in certificates:
        about = (certificate.source, certificate.names[0] if certificate.names else "")
        ends[about] = min(certificate.not_after, ends.get(about, certificate.not_after))
    family = GaugeMetricFamily(
        f"{prefix}certificate_not_after_seconds",
        "When a certificate expires, in seconds since the epoch, by its file and the first of its names.",
        labels=["source", "name"],
    )
    return with_samples(family, ends.items())
