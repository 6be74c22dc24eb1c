"""What ``/status`` says: the state of the pools and the connections, as plain values."""

from __future__ import annotations

from typing import Any

from ..balance.state import BackendState
from ..observe.times import iso_time
from ..proxy.balancer import Balancer
from ..proxy.counters import ListenerCounters
from ..settings import Settings

__all__ = ["status"]


def status(
    balancer: Balancer,
    listener: ListenerCounters,
    now: float,
    version: str,
    *,
    started: float,
    draining: bool = False,
) -> dict[str, Any]:
    """Everything worth knowing at a glance, ready for JSON.

    :param now: seconds since the epoch, and *started* those when serving began; the difference is ``uptime``.
    :param draining: whether it has been told to stop.
    :return: ``version``, ``uptime`` in seconds, ``draining``, ``pools`` and ``connections``. These are clients' connections, with
        ``limits`` (what is allowed; null: anything) and what limits, strictness and time-outs did. Each pool has ``name``,
        ``policy``, its counters and ``backends``; each of these ``address``, ``weight``, ``state`` (``up`` or ``down``), its
        counters, and since when (``last_change``, ISO 8601 in UTC), by whom (``source``) and why (``reason``) it is so.
    """
    return {
        "version": version,
        "uptime": round(now - started, 3),
        "draining": draining,
        "pools": [_pool(balancer)],
        "connections": {
            "open": listener.open,
            "accepted": listener.accepted,
            "limits": _limits(balancer.settings, listener),
            "limited": dict(sorted(listener.limited.items())),
            "rejected": dict(sorted(listener.rejected.items())),
            "timed_out": dict(sorted(listener.timed_out.items())),
            "fields_dropped": listener.fields_dropped,
        },
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


def _pool(balancer: Balancer) -> dict[str, Any]:
    pool, counters = balancer.pool, balancer.counters
    return {
        "name": pool.name,
        "policy": pool.policy.name,
        "in_flight": counters.in_flight,
        "requests": sum(counters.statuses.values()),
        "tunnels": counters.tunnels,
        "tunnels_total": counters.tunnels_total,
        "interim": counters.interim,
        "retries": counters.retries,
        "statuses": {str(code): count for code, count in sorted(counters.statuses.items())},
        "ends": dict(sorted(counters.ends.items())),
        "backends": [_backend(member, balancer.upstreams.idle_count(member.address)) for member in pool.members.values()],
    }


def _backend(member: BackendState, idle_connections: int) -> dict[str, Any]:
    return {
        "address": member.address,
        "weight": member.backend.weight,
        "state": "up" if member.up else "down",
        "reason": member.reason,
        "source": member.source,
        "last_change": iso_time(member.last_change),
        "in_flight": member.in_flight,
        "requests": member.requests,
        "failures": member.failures,
        "idle_connections": idle_connections,
    }
