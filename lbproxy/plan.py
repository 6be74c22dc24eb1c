"""What runs just now where a reload would change something, as the load balancer itself tells it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import treq
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import Agent
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from .config.model import Configuration

__all__ = ["PATIENCE", "touched"]

#: Seconds for which the answer of what runs is waited for.
PATIENCE = 2.0

_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def touched(reactor: Any, old: Configuration, new: Configuration) -> list[str]:
    """How many exchanges and tunnels run at each pool and route that would be changed, a line each.

    The reactor runs for this, and cannot run once more.
    """
    if old.admin is None:
        return ["what runs there is not known: there is no admin listener"]
    endpoint = client_endpoint(reactor, old.admin)
    if endpoint is None:
        return [f"what runs there is not known: {old.admin} cannot be asked"]
    came: list[Any] = []

    def begin() -> None:
        asking = ensureDeferred(_ask(reactor, endpoint))
        asking.addTimeout(PATIENCE, reactor).addBoth(came.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if not came or not isinstance(came[0], dict):
        return [f"what runs there is not known: the admin listener at {old.admin} does not answer"]
    return list(lines_of(came[0], changed_names(old, new)))


async def _ask(reactor: Any, endpoint: IStreamClientEndpoint) -> Any:
    agent = Agent.usingEndpointFactory(reactor, _Always(endpoint))
    response = await treq.get("http://localhost/status", agent=agent)
    return await response.json()


@implementer(IAgentEndpointFactory)
class _Always:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: object) -> IStreamClientEndpoint:
        """The same one for all."""
        return self._endpoint


def client_endpoint(reactor: Any, description: str) -> IStreamClientEndpoint | None:
    """Where to connect to what listens at a ``tcp:``, ``tcp6:`` or ``unix:`` description; None for others."""
    kind, *arguments = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", description))
    named = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    first = next((argument for argument in arguments[:1] if "=" not in argument), "")
    if kind == "unix":
        return UNIXClientEndpoint(reactor, named.get("address", first))
    port = named.get("port", first)
    if kind not in ("tcp", "tcp6") or not port.isdigit() or port == "0":
        return None
    interface = named.get("interface", "::" if kind == "tcp6" else "")
    return HostnameEndpoint(reactor, _EVERYWHERE.get(interface, interface), int(port))


def changed_names(old: Configuration, new: Configuration) -> dict[str, list[str]]:
    """By kind, what there is now and would be changed, or gone."""
    routes = {route.name: route for route in new.routes}
    return {
        "pools": [pool.name for pool in old.pools if new.pools_by_name.get(pool.name) != pool],
        "routes": [route.name for route in old.routes if routes.get(route.name) != route],
    }


def lines_of(status: dict[str, Any], changed: dict[str, list[str]]) -> Iterator[str]:
    """A line for each pool and each route that is changed, of what ``/status`` tells."""
    for kind, names in changed.items():
        found = {one["name"]: one for one in _listed(status.get(kind))}
        for name in names:
            if name in found:
                running, tunnels = found[name].get("in_flight", 0), found[name].get("tunnels", 0)
                yield f"{kind[:-1]} {name}: {running} exchanges run, {tunnels} of them tunnels (live streams included)"


def _listed(told: Any) -> Iterable[dict[str, Any]]:
    return [one for one in told if isinstance(one, dict) and "name" in one] if isinstance(told, list) else []
