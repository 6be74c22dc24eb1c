"""What ``/status`` says: the state of the pools and the connections, as plain values."""

from __future__ import annotations

from typing import Any

from ..balance.state import BackendState
from ..observe.times import iso_time
from ..proxy.balancer import Balancer
from ..proxy.counters import ListenerCounters

__all__ = ["status"]


def status(balancer: Balancer, listener: ListenerCounters, now: float, version: str, *, started: float) -> dict[str, Any]:
    """Everything worth knowing at a glance, ready for JSON.

    :param now: seconds since the epoch, and *started* those when serving began; the difference is ``uptime``.
    :return: ``version``, ``uptime`` in seconds, ``pools`` and ``connections``. Each pool has ``name``, ``policy``, its counters
        and ``backends``; each of these ``address``, ``weight``, ``state`` (``up`` or ``down``), its counters, and since when
        (``last_change``, ISO 8601 in UTC), by whom (``source``) and why (``reason``) it is in that state.
    """
    return {
        "version": version,
        "uptime": round(now - started, 3),
        "pools": [_pool(balancer)],
        "connections": {
            "open": listener.open,
            "accepted": listener.accepted,
            "rejected": dict(listener.rejected),
            "timed_out": dict(listener.timed_out),
        },
    }


def _pool(balancer: Balancer) -> dict[str, Any]:
    pool, counters = balancer.pool, balancer.counters
    return {
        "name": pool.name,
        "policy": pool.policy.name,
        "in_flight": counters.in_flight,
        "requests": sum(counters.statuses.values()),
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
