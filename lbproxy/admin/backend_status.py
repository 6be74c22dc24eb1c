"""What ``/status`` says of one backend, as plain values: what it is, how it is, and why."""

from __future__ import annotations

from typing import Any

from ..balance.backend import BACKUP_TIER, Backend
from ..balance.state import BackendState
from ..observe.times import iso_time
from ..proxy.balancer import Balancer

__all__ = ["backend_status", "tier_name"]


def backend_status(balancer: Balancer, member: BackendState, now: float) -> dict[str, Any]:
    """Everything that is known of a backend, ready for JSON.

    :param now: seconds since the epoch.
    :return: what the operator said of it: ``address``, ``scheme`` (``http`` or ``https``), of the latter whether its
        certificate is verified (``verify``) and for which name (``verify_name``), both null for the former; ``weight``,
        ``tier`` (a number, or ``backup``), ``max_in_flight`` (null: any number). How it is: ``state`` (``up``, ``down``,
        ``draining`` or ``maintenance``), its health alone (``up``), what the operator wants of it (``want``). Why: who says so
        (``source``) and with which evidence (``reason``), what each of them has to say (``evidence``), since when
        (``last_change``, ISO 8601 in UTC), and the last ``probe`` (null: none yet). What it gets: ``effective_weight``, and for
        how many more seconds that is less than its whole one (``warming``; null: it is not). Its counters; ``failing`` is
        failures in a row, ``latency`` the mean of seconds to a response's head (null: no response yet).
    """
    source, reason = _why(member)
    return {
        "address": member.address,
        **_tls(member.backend),
        "state": member.state,
        "up": member.up,
        "want": member.want,
        "reason": reason,
        "source": source,
        "evidence": dict(sorted(member.evidence.items())),
        "last_change": iso_time(member.last_change),
        "probe": _probe(balancer, member),
        "weight": member.backend.weight,
        "effective_weight": round(member.weight, 3),
        "warming": _warming(balancer, member, now),
        "tier": tier_name(member.backend.tier),
        "max_in_flight": member.backend.max_in_flight or None,
        "in_flight": member.in_flight,
        "requests": member.requests,
        "statuses": {str(code): count for code, count in sorted(member.statuses.items())},
        "latency": _latency(member),
        "failures": member.failures,
        "failing": member.failing,
        "ejected": member.ejected or None,
        "ejections": member.ejections,
        "idle_connections": balancer.idle_connections(member.address),
    }


def _why(member: BackendState) -> tuple[str, str]:
    """Who says that its state is what it is, and with which evidence."""
    if member.state in ("draining", "maintenance"):
        return "operator", member.evidence.get("operator") or f"the operator wants it so: {member.want}"
    return member.source, member.reason


def _tls(backend: Backend) -> dict[str, Any]:
    if not backend.tls:
        return {"scheme": "http", "verify": None, "verify_name": None}
    return {"scheme": "https", "verify": backend.verify, "verify_name": backend.verify_name or backend.host}


def tier_name(tier: int) -> int | str:
    """A tier as the operator wrote it."""
    return "backup" if tier == BACKUP_TIER else tier


def _probe(balancer: Balancer, member: BackendState) -> dict[str, Any] | None:
    found = balancer.probes.last(member.address)
    if found is None:
        return None
    return {
        "up": found.up,
        "evidence": found.evidence,
        "time": iso_time(found.time),
        "seconds": round(found.seconds, 6),
        "in_a_row": found.in_a_row,
    }


def _warming(balancer: Balancer, member: BackendState, now: float) -> float | None:
    settings = balancer.pool.settings
    if member.warm_from is None or settings is None:
        return None
    return max(0.0, round(member.warm_from + settings.slow_start - now, 3))


def _latency(member: BackendState) -> float | None:
    responses = sum(member.buckets)
    return round(member.latency_sum / responses, 6) if responses else None
