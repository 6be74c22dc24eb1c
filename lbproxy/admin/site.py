"""The administration site: what a person, a monitoring system and an orchestrator may ask. It is read-only, unless the operator
allows that backends are drained here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from .. import __version__
from ..balance.pool import Pool
from ..observe.events import EventLog
from ..observe.metrics import CONTENT_TYPE, metrics_registry, render_metrics
from ..proxy.balancer import Balancer
from ..proxy.counters import ListenerCounters
from ..tls.watch import CertificateWatch
from .backend_status import backend_status
from .pages import CONTENTS, JSON, Answer, Node, Page, PartsPage, json_answer, json_parts
from .status import status
from .wishes import WishPages

__all__ = ["AdminSite", "admin_site"]


def admin_site(
    balancer: Balancer,
    counters: ListenerCounters,
    seconds: Callable[[], float],
    *,
    reactor: IReactorTime | None = None,
    draining: Callable[[], bool] = lambda: False,
    events: EventLog | None = None,
    writable: bool = False,
    watch: CertificateWatch | None = None,
) -> AdminSite:
    """The site for a balancer and the listener whose connections are counted in *counters*.

    :param seconds: the time, in seconds since the epoch; the present is taken for the beginning of the uptime.
    :param reactor: runs the time-outs of the site's own connections; without one ``twisted.web`` takes the installed one.
    :param draining: whether the listener has been told to stop.
    :param events: the changes of the pool's state, which somebody else lets it observe; without it there are none to be shown.
    :param writable: whether the operator may tell here what is wanted of a backend.
    :param watch: of the certificates that clients are shown; None: there are none.
    """
    started = seconds()
    registry = metrics_registry(balancer, counters, __version__, watch)

    def show_status() -> Iterator[bytes]:
        return json_parts(status(balancer, counters, seconds(), __version__, started=started, draining=draining(), watch=watch))

    wishes = WishPages(balancer.pool, lambda member: backend_status(balancer, member, seconds()), writable)
    root = Node()
    root.putChild(b"", Page(lambda request: Answer(CONTENTS)))
    root.putChild(b"status", PartsPage(show_status, JSON, reactor))
    root.putChild(b"events", Page(lambda request: _events(events, request)))
    root.putChild(b"metrics", PartsPage(lambda: render_metrics(registry), CONTENT_TYPE, reactor))
    root.putChild(b"healthz", Page(lambda request: _health(balancer.pool, draining())))
    root.putChild(b"backends", wishes)
    return AdminSite(root, reactor)


def _health(pool: Pool, draining: bool) -> Answer:
    if draining:
        return Answer("draining\n", code=503)
    serving = sum(member.state == "up" for member in pool.members.values())
    counted = f"{serving} of {len(pool.members)} backends up"
    return Answer(f"ok, {counted}\n") if pool.available else Answer(f"unavailable, {counted}\n", code=503)


def _events(log: EventLog | None, request: Request) -> Answer:
    """The changes that are kept; ``last`` is the number to ask for next time as ``since``, and ``dropped`` says how many after
    the one asked for are kept no more."""
    if log is None:
        return Answer("No events are kept here.\n", code=404)
    given: list[bytes] = (request.args or {}).get(b"since", [b"0"])
    if len(given) != 1 or len(given[0]) > 18 or not given[0].isdigit():
        return Answer("since is no number; allowed is a whole number from 0 on, such as /events?since=17\n", code=400)
    since = int(given[0])
    return json_answer({"last": log.last, "dropped": log.dropped(since), "events": log.events(since)})


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
