"""Where a site's routes lead: from what is said of a route to what carries its exchanges."""

from __future__ import annotations

from collections.abc import Mapping

from .config.problems import below
from .errors import ConfigurationError
from .http1.keys import request_key
from .proxy.balancer import Balancer
from .routing.model import Route
from .routing.resources import ResourceTarget, static_target
from .routing.router import Target
from .routing.split import SplitTarget
from .routing.targets import AnswerTarget, RedirectTarget
from .site_parts import Around

__all__ = ["pools_of", "target_of"]


def pools_of(route: Route) -> list[str]:
    """The names of all pools that a route leads to, or that get copies."""
    names = [route.pool] if route.pool else []
    if route.split is not None:
        names += route.split.pools
    if route.mirror is not None:
        names.append(route.mirror.pool)
    return names


def target_of(route: Route, balancers: Mapping[str, Balancer], around: Around) -> Target:
    """Where a route leads.

    :raises ConfigurationError: there is nothing there.
    """
    router = around.router
    if route.pool:
        return balancers[route.pool]
    if route.split is not None:
        parts = [(name, balancers[name], float(weight)) for name, weight in route.split.pools.items()]
        return SplitTarget(parts, request_key(route.split.by) if route.split.by else None, around.random)
    if route.redirect is not None:
        return RedirectTarget(route.redirect, router)
    if route.answer is not None:
        return AnswerTarget(route.answer, router)
    if route.static is not None:
        with below("static", known=("directory", "index")):
            return static_target(route.static, router, route.match.path_prefix)
    if route.resource not in around.resources:
        known = ", ".join(around.resources) or "none: the application gives no resource"
        raise ConfigurationError(f"resource: {route.resource!r} was given; allowed are {known}")
    return ResourceTarget(around.resources[route.resource], router, route.match.path_prefix)
