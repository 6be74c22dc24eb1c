"""What ``/status`` says: the state of the pools, the routes and the connections, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from math import isfinite
from typing import Any

from ..balance.backend_values import backend_text
from ..balance.overlay import Overlay
from ..balance.pool import Pool
from ..discovery.file import MembersFile
from ..observe.running import Running
from ..observe.times import iso_time
from ..proxy.balancer import Balancer
from ..proxy.counters import ListenerCounters
from ..settings import Settings
from ..state_file import StateFile
from .backend_status import backend_status, tier_name
from .reload import reload_status
from .route_status import route_status, unrouted_status
from .tls_status import tls_status
from .upgrade import upgrade_status
from .worker_status import worker_status

__all__ = ["ROUTES_SHOWN", "pool_status", "status"]

#: Routes that ``/status`` shows; ``/routes`` has all of them.
ROUTES_SHOWN = 100


#: Makes a list of values, or, for a page that is made in parts, :class:`.json_parts.Lazily`.
Listed = Callable[[Iterable[Any]], Any]


def status(running: Running, now: float, *, draining: bool = False, listed: Listed = list) -> dict[str, Any]:
    """Everything worth knowing at a glance, ready for JSON.

    :param now: seconds since the epoch; since serving began it is ``uptime``.
    :param draining: whether it has been told to stop.
    :param listed: makes the lists that may be long.
    :return: ``version``, ``uptime`` in seconds, ``draining``, ``pools`` (:func:`pool_status`), ``routes`` (the first
        :data:`ROUTES_SHOWN`, :func:`.route_status.route_status`; ``routes_total`` says how many there are), ``unrouted``
        (exchanges that no pool got, :func:`.route_status.unrouted_status`), ``connections``, ``tls``
        (:func:`.tls_status.tls_status`; null: no file was given for it), ``reload`` (:func:`.reload.reload_status`; null: nothing
        reads the configuration anew), ``state_file`` (null: there is none), ``upgrade``
        (:func:`.upgrade.upgrade_status`; null: there was none), and the processes that carry exchanges
        (:func:`.worker_status.worker_status`). Connections are clients', with ``limits`` (what is allowed; null: anything) and
        what limits, strictness and time-outs did. Figures of pools, routes and connections are those of all processes together.
    """
    site, listener = running.site, running.listener
    return {
        "version": running.version,
        "uptime": round(now - running.started, 3),
        "draining": draining,
        "pools": listed(pool_status(running, balancer, now, listed) for balancer in running.balancers),
        "routes": [route_status(live) for live in islice(site.router.live.values(), ROUTES_SHOWN)],
        "routes_total": len(site.router.live),
        "unrouted": unrouted_status(site.router),
        "connections": {
            "open": listener.open,
            "accepted": listener.accepted,
            "limits": _limits(site.settings, listener),
            "limited": dict(sorted(listener.limited.items())),
            "rejected": dict(sorted(listener.rejected.items())),
            "timed_out": dict(sorted(listener.timed_out.items())),
            "fields_dropped": listener.fields_dropped,
        },
        "tls": None if running.watch is None else tls_status(running.watch, listener, now),
        "reload": None if running.reloader is None else reload_status(running.reloader),
        "state_file": None if running.state_file is None else _state_file(running.state_file),
        **worker_status(running.processes(), now),
        "upgrade": upgrade_status(running.upgrader()),
    }


def _state_file(file: StateFile) -> dict[str, Any]:
    """Where it is, when it was written last (null: not since the start), and why it cannot be (null: it can)."""
    written = None if file.written_at is None else iso_time(file.written_at)
    return {"path": file.path, "written": written, "error": file.error or None}


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


def pool_status(running: Running, balancer: Balancer, now: float, listed: Listed = list) -> dict[str, Any]:
    """Everything that is known of a pool, ready for JSON.

    :param listed: makes the list of its backends.
    :return: ``name``, ``policy``, whether its backends' health is ignored (``panicking``), its counters, ``tiers`` with the share
        of exchanges that each takes, ``backends`` (:func:`.backend_status.backend_status`), ``backends_file`` (of the file that
        lists them its ``path``, and of the last reading its ``time``, whether it was ``ok``, and ``errors``; null: there is
        none), and ``said``: what operators said at run time over what the configuration says (null: nothing).
    """
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
        "backends": listed(backend_status(balancer, member, now) for member in pool.members.values()),
        **_membership(running, pool.name),
    }


def _membership(running: Running, name: str) -> dict[str, Any]:
    known = running.memberships
    file = None if known is None else known.files.get(name)
    members = None if known is None else known.members.get(name)
    return {
        "backends_file": None if file is None else _members_file(file),
        "said": _said(members.overlay) if members is not None and members.overlay else None,
    }


def _members_file(file: MembersFile) -> dict[str, Any]:
    last = file.last
    return {
        "path": file.path,
        "time": iso_time(file.read_at if last is None else last.when),
        "ok": last is None or last.ok,
        "errors": [] if last is None else list(last.errors),
    }


def _said(overlay: Overlay) -> dict[str, Any]:
    """What is wanted of its backends stands with these."""
    return {
        "added": [backend_text(backend) for backend in overlay.added],
        "removed": list(overlay.removed),
        "weights": dict(overlay.weights),
    }


def _budget(balancer: Balancer) -> dict[str, Any]:
    """Of the retry budget: places taken, had for nothing and so not yet free, and to be had (null: any number), who waits for
    one, who got none."""
    gauges, allowed = balancer.gauges(), balancer.retries_allowed()
    return {
        "active": gauges.active,
        "cooling": gauges.cooling,
        "allowed": int(allowed) if isfinite(allowed) else None,
        "waiting": gauges.waiting,
        "refused": balancer.budget.refused,
    }


def _queue(balancer: Balancer) -> dict[str, Any]:
    """Of the waiting line: who waits now, how many may, how many have, how many found it full."""
    line = balancer.line
    return {
        "waiting": balancer.gauges().queued,
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
