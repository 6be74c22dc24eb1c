"""What ``/status`` says: the state of the pools and the connections, as plain values."""

from __future__ import annotations

from math import isfinite
from typing import Any

from ..balance.pool import Pool
from ..proxy.balancer import Balancer
from ..proxy.counters import ListenerCounters
from ..settings import Settings
from ..tls.watch import CertificateWatch
from .backend_status import backend_status, tier_name
from .tls_status import tls_status

__all__ = ["status"]


def status(
    balancer: Balancer,
    listener: ListenerCounters,
    now: float,
    version: str,
    *,
    started: float,
    draining: bool = False,
    watch: CertificateWatch | None = None,
) -> dict[str, Any]:
    """Everything worth knowing at a glance, ready for JSON.

    :param now: seconds since the epoch, and *started* those when serving began; the difference is ``uptime``.
    :param draining: whether it has been told to stop.
    :param watch: of certificates; None: there are none.
    :return: ``version``, ``uptime`` in seconds, ``draining``, ``pools``, ``connections`` and ``tls``
        (:func:`.tls_status.tls_status`; null: no file was given for it). Connections are clients', with ``limits`` (what is
        allowed; null: anything) and what limits, strictness and time-outs did. Each pool has ``name``, ``policy``, whether its
        backends' health is ignored (``panicking``), its counters, ``tiers`` with the share of exchanges that each takes, and
        ``backends`` (:func:`.backend_status.backend_status`).
    """
    return {
        "version": version,
        "uptime": round(now - started, 3),
        "draining": draining,
        "pools": [_pool(balancer, now)],
        "connections": {
            "open": listener.open,
            "accepted": listener.accepted,
            "limits": _limits(balancer.settings, listener),
            "limited": dict(sorted(listener.limited.items())),
            "rejected": dict(sorted(listener.rejected.items())),
            "timed_out": dict(sorted(listener.timed_out.items())),
            "fields_dropped": listener.fields_dropped,
        },
        "tls": None if watch is None else tls_status(watch, listener, now),
    }


def _limits(settings: Settings, listener: ListenerCounters) -> dict[str, Any]:
    """What is allowed; None where anything is."""
    return {
        "connections": listener.connections_limit or None,
        "requests": settings.connection_requests or None,
        "head": settings.head_limit,
        "fields": settings.field_limit,
        "target": settings.target_limit,
        "body": settings.body_limit or None,
    }


def _pool(balancer: Balancer, now: float) -> dict[str, Any]:
    pool, counters = balancer.pool, balancer.counters
    return {
        "name": pool.name,
        "policy": pool.policy.name,
        "panicking": pool.panicking,
        "in_flight": counters.in_flight,
        "requests": sum(counters.statuses.values()),
        "tunnels": counters.tunnels,
        "tunnels_total": counters.tunnels_total,
        "interim": counters.interim,
        "retries": counters.retries,
        "hedges": counters.hedges,
        "retry_budget": _budget(balancer),
        "queue": _queue(balancer),
        "ejections": dict(sorted(balancer.traffic.ejections.items())),
        "ejections_withheld": balancer.traffic.withheld,
        "statuses": {str(code): count for code, count in sorted(counters.statuses.items())},
        "ends": dict(sorted(counters.ends.items())),
        "tiers": _tiers(pool),
        "backends": [backend_status(balancer, member, now) for member in pool.members.values()],
    }


def _budget(balancer: Balancer) -> dict[str, Any]:
    """Of the retry budget: places taken, had for nothing and so not yet free, and to be had (null: any number), who waits for
    one, who got none."""
    budget = balancer.budget
    allowed = budget.allowed(balancer.counters.in_flight)
    return {
        "active": budget.active,
        "cooling": len(budget.cooling),
        "allowed": int(allowed) if isfinite(allowed) else None,
        "waiting": budget.waiting,
        "refused": budget.refused,
    }


def _queue(balancer: Balancer) -> dict[str, Any]:
    """Of the waiting line: who waits now, how many may, how many have, how many found it full."""
    line = balancer.line
    return {
        "waiting": len(line.waiting),
        "limit": balancer.settings.queue,
        "queued": line.joined,
        "turned_away": line.turned_away,
    }


def _tiers(pool: Pool) -> list[dict[str, Any]]:
    """Of all exchanges, the share that each tier takes, as the pool shares them out."""
    return [
        {
            "tier": tier_name(number),
            "backends": len(tier.members),
            "fit": sum(member.fit for member in tier.members),
            "share": round(tier.share, 4),
        }
        for number, tier in pool.tiers.items()
    ]
