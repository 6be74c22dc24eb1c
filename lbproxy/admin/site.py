"""The administration site: what a person, a monitoring system and an orchestrator may ask. It is read-only."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from .. import __version__
from ..balance.pool import Pool
from ..observe.metrics import CONTENT_TYPE, metrics_registry, render_metrics
from ..proxy.balancer import Balancer
from ..proxy.counters import ListenerCounters
from .status import status

__all__ = ["AdminSite", "admin_site"]

_TEXT = "text/plain; charset=utf-8"
_METHODS = (b"GET", b"HEAD")

_CONTENTS = """\
/status   the pools, their backends and the client connections, as JSON
/metrics  the same and more for Prometheus
/healthz  200 while a backend is up, otherwise 503; also 503 from when it is told to stop
"""


@attrs.frozen
class _Answer:
    """What a page says: the body as text or bytes, its media type, the status, further header fields."""

    body: str | bytes
    kind: str = _TEXT
    code: int = 200
    fields: tuple[tuple[bytes, bytes], ...] = ()


_READ_ONLY = _Answer(
    "Only GET and HEAD are served here: the administration is read-only.\n", code=405, fields=((b"Allow", b"GET, HEAD"),)
)


def admin_site(
    balancer: Balancer,
    counters: ListenerCounters,
    seconds: Callable[[], float],
    *,
    reactor: IReactorTime | None = None,
    draining: Callable[[], bool] = lambda: False,
) -> AdminSite:
    """The site for a balancer and the listener whose connections are counted in *counters*.

    :param seconds: the time, in seconds since the epoch; the present is taken for the beginning of the uptime.
    :param reactor: runs the time-outs of the site's own connections; without one ``twisted.web`` takes the installed one.
    :param draining: whether the listener has been told to stop.
    """
    started = seconds()
    registry = metrics_registry(balancer, counters, __version__)

    def show_status() -> _Answer:
        report = status(balancer, counters, seconds(), __version__, started=started, draining=draining())
        return _Answer(json.dumps(report, indent=2) + "\n", "application/json")

    root = _Node()
    root.putChild(b"", _Page(lambda: _Answer(_CONTENTS)))
    root.putChild(b"status", _Page(show_status))
    root.putChild(b"metrics", _Page(lambda: _Answer(render_metrics(registry), CONTENT_TYPE)))
    root.putChild(b"healthz", _Page(lambda: _health(balancer.pool, draining())))
    return AdminSite(root, reactor)


def _health(pool: Pool, draining: bool) -> _Answer:
    if draining:
        return _Answer("draining\n", code=503)
    up = sum(member.up for member in pool.members.values())
    counted = f"{up} of {len(pool.members)} backends up"
    return _Answer(f"ok, {counted}\n") if pool.available else _Answer(f"unavailable, {counted}\n", code=503)


class AdminSite(Site):
    """A site that keeps no access log: who polls a health check fills one with nothing."""

    noisy = False

    def __init__(self, root: Resource, reactor: IReactorTime | None = None) -> None:
        options: dict[str, Any] = {"reactor": reactor}
        if "parsePOSTFormSubmission" in inspect.signature(Site.__init__).parameters:  # newer than the oldest Twisted we take
            options["parsePOSTFormSubmission"] = False
        super().__init__(root, **options)  # type: ignore[no-untyped-call]

    def startFactory(self) -> None:
        """Nothing to start: the base class opens its log here, and spells the date for it every second."""

    def log(self, request: http.Request) -> None:
        """Log nothing."""


class _Node(Resource):
    """A place in the tree where there is nothing, which says what there is elsewhere."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def getChild(self, path: bytes, request: Request) -> Resource:
        return _Node()

    def render(self, request: Request) -> bytes:
        return _send(request, _Answer("There is nothing here. There is\n" + _CONTENTS, code=404))


class _Page(_Node):
    """A page that is made anew each time it is asked for.

    :param make: makes it.
    """

    def __init__(self, make: Callable[[], _Answer]) -> None:
        super().__init__()
        self._make = make

    def render(self, request: Request) -> bytes:
        if request.method not in _METHODS:
            return _send(request, _READ_ONLY)
        return _send(request, self._make())


def _send(request: Request, answer: _Answer) -> bytes:
    body = answer.body.encode() if isinstance(answer.body, str) else answer.body
    fields = [(b"Content-Type", answer.kind.encode("ascii")), (b"Cache-Control", b"no-store"), *answer.fields]
    if request.method == b"HEAD":
        fields.append((b"Content-Length", b"%d" % len(body)))
        body = b""
    request.setResponseCode(answer.code)
    for name, value in fields:
        request.setHeader(name, value)
    return body
