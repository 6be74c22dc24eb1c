"""What would become of a request, in words: its route and those passed over, the filters, the pool and its candidates."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from .config.model import Configuration
from .http1.head import RequestHead
from .proxy.client import Client
from .routing.asking import request_of
from .routing.explain import explain_route
from .routing.model import Route
from .site import Site

__all__ = ["explained"]


@attrs.define
class _Asking:
    """Of an exchange, what policies look at (:class:`lbproxy.balance.policy.Asking`)."""

    request: RequestHead
    client: Client


def explained(site: Site, configuration: Configuration, text: str) -> str:
    """What would become of a request just now, a line each thing.

    :param text: the request, such as ``GET https://shop.example/cart?x=1``.
    :param configuration: what *site* goes by.
    :raises ConfigurationError: for what is no request.
    """
    request, client = request_of(text)
    asking = _Asking(request, client)
    return "\n".join(_lines(site, configuration, asking, text))


def _lines(site: Site, configuration: Configuration, asking: _Asking, text: str) -> Iterator[str]:
    if not configuration.routes:
        (pool,) = configuration.pools
        yield f"{text}\n  there are no routes: all goes to pool {pool.name}"
        yield _candidates(site, pool.name, asking)
        return
    decision = explain_route(site.router.table, asking.request, asking.client)
    yield str(decision)
    route = next((route for route in configuration.routes if route.name == decision.route), None)
    if route is not None:
        names = [one if isinstance(one, str) else one.type for one in (*configuration.default_filters, *route.filters)]
        yield f"  filters: {', '.join(names) or 'none'}"
        yield from _shares(route)
        yield from (_candidates(site, pool, asking) for pool in _pools(route))


def _shares(route: Route) -> Iterator[str]:
    """What is not sure of where it goes."""
    if route.split is not None:
        shares = ", ".join(f"{pool} {weight}" for pool, weight in route.split.pools.items())
        yield f"  split: {shares}, {f'by {route.split.by}' if route.split.by else 'by chance'}"
    if route.mirror is not None:
        yield f"  mirror: {route.mirror.share:g} % to pool {route.mirror.pool} as well"


def _pools(route: Route) -> list[str]:
    if route.split is not None:
        return list(route.split.pools)
    return [route.pool] if route.pool else []


def _candidates(site: Site, name: str, asking: _Asking) -> str:
    """The backends in the order in which the policy would have them tried."""
    addresses = [member.address for member in site.balancers[name].pool.candidates(asking)]
    return f"  pool {name}: {', '.join(addresses) or 'no backend can take it'}"
