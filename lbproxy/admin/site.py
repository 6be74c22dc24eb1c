"""The administration site: what a person, a monitoring system and an orchestrator may ask. It is read-only, unless the operator
allows that something is changed here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.server import Site as WebSite

from .. import __version__
from ..errors import ConfigurationError
from ..members import Memberships
from ..membership import Members
from ..observe.events import EventLog
from ..observe.metrics import CONTENT_TYPE, metrics_registry, render_metrics
from ..observe.processes import Workers
from ..observe.running import Reloader, Running
from ..proxy.counters import ListenerCounters
from ..site import Site
from ..state_file import StateFile
from ..tls.watch import CertificateWatch
from .backend_status import backend_status
from .health import health
from .json_parts import Lazily, json_parts
from .pages import CONTENTS, JSON, Answer, Fresh, Node, Page, PartsPage, json_answer
from .pools import PoolPages
from .reload import ReloadPage
from .route_status import route_status
from .status import pool_status, status
from .upgrade import UpgradePage
from .wishes import WishPages

__all__ = ["AdminSite", "admin_site"]


def admin_site(
    site: Site,
    counters: ListenerCounters,
    seconds: Callable[[], float],
    *,
    reactor: IReactorTime | None = None,
    draining: Callable[[], bool] = lambda: False,
    events: EventLog | None = None,
    writable: bool = False,
    watch: CertificateWatch | None = None,
    memberships: Memberships | None = None,
    state_file: StateFile | None = None,
    reloader: Reloader | None = None,
    configuration: Callable[[], str | None] = lambda: None,
    explain: Callable[[str], Any] | None = None,
    upgrader: Callable[[], Any] = lambda: None,
    started: float | None = None,
    refresh: Callable[[], Deferred[None]] = lambda: succeed(None),
    processes: Callable[[], Workers | None] = lambda: None,
) -> AdminSite:
    """The administration of a site and of the listeners whose connections are counted in *counters*.

    :param seconds: the time, in seconds since the epoch.
    :param reactor: runs the time-outs of the administration's own connections; without one ``twisted.web`` takes the installed
        one.
    :param draining: whether the listeners have been told to stop.
    :param events: the changes of the pools' states, which somebody else lets it observe; without it there are none to be shown.
    :param writable: whether the operator may change here who is a member, what is wanted of it, and have the configuration read.
    :param watch: of the certificates that clients are shown; None: there are none.
    :param memberships: who the pools' members are; None: what is said here of them is kept nowhere.
    :param state_file: keeps what is said here; None: nothing does.
    :param reloader: reads the configuration anew; None: nothing does.
    :param configuration: gives the text of ``/config``, without secrets, or None: there is none to be shown.
    :param explain: gives, of a request such as ``GET https://shop.example/``, a text or a value for JSON that says which way it
        takes; raises :class:`~lbproxy.errors.ConfigurationError` for one that cannot be read. None: it cannot be asked.
    :param upgrader: gives who can go over to a new program without loss; None: nobody can.
    :param started: when serving began, in seconds since the epoch; None: just now.
    :param refresh: fires when the figures are those of now; whoever asks for a page of figures waits for it. By default they
        always are.
    :param processes: gives the other processes that carry exchanges; None: this one does.
    """
    running = Running(
        site=site,
        listener=counters,
        version=__version__,
        started=seconds() if started is None else started,
        watch=watch,
        memberships=memberships,
        state_file=state_file,
        reloader=reloader,
        processes=processes,
        upgrader=upgrader,
    )
    pages = _Pages(running, seconds)
    registry = metrics_registry(running)
    root = Node()
    root.putChild(b"", Page(lambda request: Answer(CONTENTS)))
    root.putChild(b"status", Fresh(refresh, PartsPage(lambda: pages.status(draining()), JSON, reactor)))
    root.putChild(b"routes", Fresh(refresh, PartsPage(pages.routes, JSON, reactor)))
    root.putChild(b"events", Page(lambda request: _events(events, request)))
    root.putChild(b"metrics", Fresh(refresh, PartsPage(lambda: render_metrics(registry), CONTENT_TYPE, reactor)))
    root.putChild(b"healthz", Page(lambda request: health(running, draining(), request)))
    root.putChild(b"config", Page(lambda request: _configuration(configuration)))
    root.putChild(b"explain", Page(lambda request: _explain(explain, request)))
    root.putChild(b"backends", WishPages(pages.all_members, pages.backend, writable))
    pools = PoolPages(pages.members, lambda: list(site.balancers), pages.pool, pages.backend, writable)
    root.putChild(b"pools", Fresh(refresh, pools))
    root.putChild(b"reload", ReloadPage(reloader, writable))
    root.putChild(b"upgrade", UpgradePage(upgrader, writable))
    return AdminSite(root, reactor)


class _Pages:
    """What the pages say of what runs, at the time that they are asked."""

    def __init__(self, running: Running, seconds: Callable[[], float]) -> None:
        self._running = running
        self._site = running.site
        self._seconds = seconds
        self._membership = Members if running.memberships is None else running.memberships.of

    def status(self, draining: bool) -> Iterator[bytes]:
        return json_parts(status(self._running, self._seconds(), draining=draining, listed=Lazily))

    def routes(self) -> Iterator[bytes]:
        return json_parts(Lazily(map(route_status, self._running.site.router.live.values())))

    def pool(self, name: str) -> dict[str, Any]:
        return pool_status(self._running, self._site.balancers[name], self._seconds())

    def backend(self, members: Members, address: str) -> dict[str, Any]:
        pool = members.pool
        return {"pool": pool.name, **backend_status(self._site.balancers[pool.name], pool.members[address], self._seconds())}

    def members(self, name: str) -> Members | None:
        balancer = self._site.balancers.get(name)
        return None if balancer is None else self._membership(balancer.pool)

    def all_members(self) -> Iterator[Members]:
        return (self._membership(balancer.pool) for balancer in self._site.balancers.values())


def _configuration(configuration: Callable[[], str | None]) -> Answer:
    text = configuration()
    return Answer("There is no configuration to be shown.\n", code=404) if text is None else Answer(text)


def _explain(explain: Callable[[str], Any] | None, request: Request) -> Answer:
    if explain is None:
        return Answer("Nothing can be explained: there are no routes.\n", code=404)
    given: list[bytes] = (request.args or {}).get(b"request", [])
    if len(given) != 1:
        return Answer("One request is explained, such as /explain?request=GET%20https://shop.example/cart\n", code=400)
    try:
        said = explain(given[0].decode("utf-8", "replace"))
    except ConfigurationError as error:
        return Answer(f"{error}\n", code=400)
    return Answer(f"{said.rstrip()}\n") if isinstance(said, str) else json_answer(said)


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


class AdminSite(WebSite):
    """A site that keeps no access log: who polls a health check fills one with nothing."""

    noisy = False

    def __init__(self, root: Resource, reactor: IReactorTime | None = None) -> None:
        options: dict[str, Any] = {"reactor": reactor}
        if "parsePOSTFormSubmission" in inspect.signature(WebSite.__init__).parameters:  # newer than the oldest Twisted we take
            options["parsePOSTFormSubmission"] = False
        super().__init__(root, **options)  # type: ignore[no-untyped-call]

    def startFactory(self) -> None:
        """Nothing to start: the base class opens its log here, and spells the date for it every second."""

    def log(self, request: http.Request) -> None:
        """Log nothing."""
