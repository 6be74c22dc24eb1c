"""Requests and routes for the tests of routing."""

from __future__ import annotations

from typing import Any

from lbproxy.http1.head import RequestHead
from lbproxy.proxy.client import Client
from lbproxy.routing.model import Match, Route
from lbproxy.routing.table import RouteTable
from tests.support import request as parsed


def asked(target: str, host: str = "shop.example", method: str = "GET", fields: str = "") -> RequestHead:
    """A request's head, as it comes over a connection."""
    return parsed(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode())


def client(address: str = "192.0.2.1", secure: bool = False) -> Client:
    """Who asks."""
    return Client(address, secure, b"")


def route(name: str, **match: Any) -> Route:
    """A route to a pool."""
    return Route(name=name, match=Match(**match), pool="app")


def found(routes: list[Route], head: RequestHead, who: Client | None = None) -> str | None:
    """The name of the route that a request takes."""
    taken = RouteTable(routes).find(head, client() if who is None else who)
    return None if taken is None else taken.name
