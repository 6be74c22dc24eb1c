"""What ``/healthz`` answers to an orchestrator, or to a balancer before this one."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.web.server import Request

from ..balance.pool import Pool
from ..observe.running import Running
from .pages import Answer
from .route_status import pools_of

__all__ = ["POOLS_SHOWN", "health"]

#: Pools that are named at most where they are unavailable.
POOLS_SHOWN = 100


def health(running: Running, draining: bool, request: Request) -> Answer:
    """200 while a pool is available that a route leads to, 503 otherwise and from when it is told to stop; with ``?pool=NAME``,
    of that pool alone. The text says which pools are not available. Where no route leads to a pool, nothing needs one: 200."""
    if draining:
        return Answer("draining\n", code=503)
    asked: list[bytes] = (request.args or {}).get(b"pool", [])
    if asked:
        return _of_one(running, asked)
    live = running.site.router.live
    named = set(pools_of(live.values()))
    pools = [one.pool for one in running.balancers if not live or one.pool.name in named]
    if not pools:
        return Answer("ok, no route leads to a pool\n")
    return _of_pool(pools[0]) if len(running.balancers) == 1 else _of_several(pools)


def _of_one(running: Running, asked: list[bytes]) -> Answer:
    balancer = running.site.balancers.get(asked[0].decode("utf-8", "replace")) if len(asked) == 1 else None
    if balancer is None:
        return Answer("There is no such pool. There is\n" + "".join(f"{name}\n" for name in running.site.balancers), code=404)
    return _of_pool(balancer.pool)


def _of_pool(pool: Pool) -> Answer:
    return Answer(f"ok, {_counted(pool)}\n") if pool.available else Answer(f"unavailable, {_counted(pool)}\n", code=503)


def _counted(pool: Pool) -> str:
    serving = sum(member.state == "up" for member in pool.members.values())
    return f"{serving} of {len(pool.members)} backends up"


def _of_several(pools: list[Pool]) -> Answer:
    away = [pool for pool in pools if not pool.available]
    available = len(pools) - len(away)
    text = f"{available} of {len(pools)} pools available\n" + "".join(_named(away))
    return Answer(f"ok, {text}") if available else Answer(f"unavailable, {text}", code=503)


def _named(away: list[Pool]) -> Iterable[str]:
    for pool in away[:POOLS_SHOWN]:
        yield f"{pool.name}: unavailable, {_counted(pool)}\n"
    if len(away) > POOLS_SHOWN:
        yield f"and {len(away) - POOLS_SHOWN} more\n"
