"""What was known of backends goes on to be known: what operators said, and who is down."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from ..balance.overlay import Overlay
from ..balance.pool import Pool
from ..balance.state import Verdict, Wish
from ..errors import LBProxyError
from ..state_file import state_of
from ..workers.calls import tell

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["hold", "learn"]

_log = Logger()


def hold(service: LoadBalancerService, said: str) -> None:
    """Let all hold that operators said to the old program, and nothing else, whatever a state file says."""
    members = service.members
    if members is None:
        return
    try:
        overlays = state_of(said)
    except LBProxyError as error:
        _log.error("what operators said before the upgrade is not known: {error}", error=str(error))
        return
    before = members.overlays
    members.restore({**dict.fromkeys(before, Overlay()), **overlays})
    for name, overlay in before.items():
        held = overlays.get(name, Overlay()).wishes
        for address in overlay.wishes.keys() - held.keys():
            members.members[name].pool.wish(Wish(address, "ready"))


def learn(service: LoadBalancerService, calls: list[list[Any]]) -> None:
    """Let those be down that were. Whom pools consist of is the configuration's affair, and the operators'."""
    pools = {name: balancer.pool for name, balancer in service.site.balancers.items()}
    for call in calls:
        name, what, value = call
        if what == "apply" and not value["up"] and name in pools:
            tell(pools, call)
            _end_ejection(service, pools[name], Verdict(**value))


def _end_ejection(service: LoadBalancerService, pool: Pool, verdict: Verdict) -> None:
    """An ejection is ended by whoever made it, who is gone; so it is ended here, at the latest when it would be if it had begun
    now. Who could not be connected to is not ejected: it is down until a probe has found it well."""
    if verdict.source != "traffic" or verdict.about == "connect":
        return
    settings = service.site.settings if pool.settings is None else pool.settings
    service.clock.callLater(settings.eject_time, partial(_readmit, pool, verdict))


def _readmit(pool: Pool, verdict: Verdict) -> None:
    member = pool.members.get(verdict.address)
    if member is not None and member.evidence.get("traffic") == verdict.reason:
        pool.apply(Verdict(verdict.address, True, "ejected before the upgrade; the time is over", "traffic"))
