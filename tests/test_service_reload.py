"""A service goes from one configuration to another while it runs: all of it or nothing, and what stayed is not touched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
from twisted.internet.defer import Deferred

import lbproxy.changes
import lbproxy.service
from lbproxy import Backend, ConfigurationFile, Filter, FilterContext, FixedAnswer, Settings
from lbproxy.config.in_python import completed
from lbproxy.config.model import AccessLogFile, Certificates, Configuration, PoolConfiguration
from lbproxy.errors import ConfigurationError
from lbproxy.reload import ReloadResult
from lbproxy.resource import LoadBalancerResource
from lbproxy.routing.filters.error_pages import ErrorPages
from lbproxy.routing.model import Match, Route
from lbproxy.service import LoadBalancerService
from lbproxy.testing import FakeBackend

from .support import GET, Peer, status
from .test_service import Reactor, ServiceTestCase
from .tls.fake_store import FakeStore, Threads

POOL = PoolConfiguration(backends=(Backend("10.0.0.1", 8000),))
OTHER = PoolConfiguration(name="other", backends=(Backend("10.0.0.2", 8000),))
PLAIN = Configuration(listen=("tcp:80",), pools=(POOL,))
SHOWN = Certificates(files=("/etc/a.pem",))
SECURE = attrs.evolve(PLAIN, tls_listen=("tcp:443",), certificates=SHOWN)


def page_of(answer: bytes) -> bytes:
    """The body of an answer that tells its length."""
    return answer.partition(b"\r\n\r\n")[2]


class Mark(Filter):
    """A filter of an application's, which makes itself."""

    type = "mark"
    made = 0

    def make(self, context: FilterContext) -> Filter:
        """Count it."""
        self.made += 1
        return self

    def response(self, passage: Any, head: Any) -> None:
        """Leave a mark."""
        head.fields += b"X-Mark: yes\r\n"


class ReloadCase(ServiceTestCase):
    """Has a service that is made of a configuration."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor(self.backend, FakeBackend("10.0.0.2:8000"))
        self.threads = Threads()
        self.patch(lbproxy.service, "in_thread_of", lambda reactor, job: self.threads(job))
        self.stores: list[Any] = []
        self.patch(lbproxy.changes, "_store", self.read_store)

    def read_store(self, wanted: Certificates) -> Any:
        """Certificates, unless they are not to be read."""
        if wanted.files == ("/missing",):
            raise ConfigurationError("certificate: '/missing' cannot be read")
        store = FakeStore()
        store.client_auth = wanted.client_auth
        self.stores.append(store)
        return store

    def serving(self, configuration: Configuration = PLAIN) -> LoadBalancerService:
        """A service that goes by it."""
        made = LoadBalancerService.of(configuration, reactor=self.reactor, observers=[self.observer])
        made.startService()
        self.addCleanup(self.end, made)
        return made

    def end(self, service: LoadBalancerService) -> None:
        """Stop it, and see that nothing is left."""
        service.stopService()
        service.stopService()
        self.reactor.advance(3)
        self.assertEqual(self.reactor.open_ports, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def reload(self, service: LoadBalancerService, configuration: Configuration) -> ReloadResult:
        """What comes of going over to it at once."""
        return self.successResultOf(service.reload(configuration))

    def assert_changed(self, service: LoadBalancerService, configuration: Configuration) -> None:
        result = self.reload(service, configuration)
        self.assertTrue(result.ok, result.errors)
        self.assertEqual(service.configuration, completed(configuration))

    def connect(self, number: int = 0) -> Peer:
        """A client of one of the ports that were ever opened."""
        return Peer(self.reactor).attach(self.reactor.ports[number].factory.buildProtocol(None))

    def ask(self, client: Peer, request: bytes = GET) -> bytes:
        """What is answered."""
        client.send(request)
        self.reactor.settle()
        return client.received()


class Making(ReloadCase):
    """A service is made of a configuration."""

    def test_it_serves(self) -> None:
        """What is said there, through its routes."""
        routes = (Route(name="a", match=Match(path=("/",)), pool="default"), Route(name="b", pool="other"))
        self.serving(attrs.evolve(PLAIN, pools=(POOL, OTHER), routes=routes))
        client = self.connect()
        self.assertIn(b"10.0.0.1:8000", self.ask(client))
        self.assertIn(b"10.0.0.2:8000", self.ask(client, GET.replace(b"/ ", b"/b ")))

    def test_what_cannot_be_used_is_said(self) -> None:
        """Before anything is opened."""
        wrong = attrs.evolve(PLAIN, listen=("x",))
        error = self.assertRaises(ConfigurationError, LoadBalancerService.of, wrong, reactor=self.reactor)
        self.assertIn("--listen: 'x' was given", str(error))
        self.assertEqual(self.reactor.ports, [])

    def test_several_workers_are_for_twistd(self) -> None:
        """An application is one process."""
        why = "workers: 2 was given; several workers are for twistd lbproxy; allowed is 1"
        for make in (LoadBalancerService.of, LoadBalancerResource.of):
            error = self.assertRaises(ConfigurationError, make, Configuration(pools=(POOL,), workers=2), reactor=self.reactor)
            self.assertEqual(str(error), why)

    def test_what_is_left_open_is_said(self) -> None:
        """Routes get names, and pools the site's settings, on a reload as well."""
        routes = (Route(match=Match(path=("/a",)), pool="default"), Route(answer=FixedAnswer(body="here")))
        service = self.serving(attrs.evolve(PLAIN, routes=routes))
        self.assertIn(b"10.0.0.1:8000", self.ask(self.connect(), GET.replace(b"/ ", b"/a ")))
        self.assert_changed(service, attrs.evolve(PLAIN, routes=routes, settings=Settings(retries=7)))
        self.assertEqual(service.site.balancers["default"].settings.retries, 7)
        self.assertIn(b"here", self.ask(self.connect()))
        assert service.configuration is not None
        self.assertEqual([route.name for route in service.configuration.routes], ["/a", "*"])

    def test_mistakes_in_python(self) -> None:
        """They are those that a file may have, and they name attributes; a reload with one changes nothing."""
        wrong = attrs.evolve(PLAIN, admin_writable=True, routes=(Route(pool="defualt"),))
        error = self.assertRaises(ConfigurationError, LoadBalancerService.of, wrong, reactor=self.reactor)
        first, second = str(error).splitlines()
        self.assertIn("admin_writable: it was given without admin;", first)
        self.assertIn("routes[0].pool: 'defualt' was given, and there is no pool of that name (did you mean default?)", second)
        service = self.serving()
        result = self.reload(service, wrong)
        self.assertEqual((result.ok, result.errors), (False, (first, second)))
        self.assertIs(service.configuration, PLAIN)

    def test_a_file_that_an_application_reads(self) -> None:
        """It is read anew when the application says so; a mistake in it is told with its line, and changes nothing."""
        path = Path(self.mktemp())
        text = "listen = 'tcp:80'\nbackends = '10.0.0.1:8000'\nretries = {}\n"
        path.write_text(text.format(1))
        file = ConfigurationFile(str(path))
        service = LoadBalancerService.of(file.read(), reactor=self.reactor, source=file)
        service.startService()
        self.addCleanup(self.end, service)
        path.write_text(text.format(4))
        self.assertTrue(self.successResultOf(service.reload()).ok)
        self.assertEqual(service.site.settings.retries, 4)
        path.write_text(text.format("-4"))
        result = self.successResultOf(service.reload())
        self.assertIn(f"{path.resolve()}:3: retries: -4 was given", result.errors[0])
        self.assertEqual(service.site.settings.retries, 4)

    def test_filters_of_the_application(self) -> None:
        """Those that are the same stay; another one takes the place."""
        mark = Mark()
        service = self.serving(attrs.evolve(PLAIN, routes=(Route(pool="default", filters=[mark]),)))
        self.assertIn(b"X-Mark: yes", self.ask(self.connect()))
        self.assert_changed(
            service, attrs.evolve(PLAIN, routes=(Route(pool="default", filters=[mark]),), settings=Settings(retries=1))
        )
        self.assertEqual(mark.made, 1)
        wrong = Mark()
        wrong.make = lambda context: None  # type: ignore[assignment, method-assign, return-value]
        result = self.reload(service, attrs.evolve(PLAIN, routes=(Route(name="a", pool="default", filters=[wrong]),)))
        self.assertEqual(result.errors[0][:40], "routes[0].filters[0]: mark made None; allowed is what"[:40])
        other = Mark()
        result = self.reload(service, attrs.evolve(PLAIN, routes=(Route(pool="default", filters=[other]),)))
        self.assertTrue(result.ok, result.errors)
        self.assertEqual((mark.made, other.made), (1, 1))
        self.assertIn(b"X-Mark: yes", self.ask(self.connect()))

    def test_one_that_was_made_of_a_pool_says_that_it_cannot_change(self) -> None:
        """It has no configuration that another one could be compared with."""
        service = self.started()
        result = self.reload(service, PLAIN)
        self.assertFalse(result.ok)
        self.assertIn("LoadBalancerService.of", result.errors[0])
        self.assertEqual(service.last_reload, result)


class Listening(ReloadCase):
    """Listeners come and leave."""

    def test_one_comes_and_one_leaves(self) -> None:
        """And what stays has the same port; whoever came by what leaves is seen off."""
        service = self.serving(attrs.evolve(PLAIN, listen=("tcp:80", "tcp:0")))
        leaving, staying = self.connect(0), self.connect(1)
        for client in (leaving, staying):
            self.ask(client)
        self.assert_changed(service, attrs.evolve(PLAIN, listen=("tcp:0", "tcp:81")))
        self.reactor.advance(0)
        self.assertEqual(self.reactor.open_ports, [0, 81])
        self.assertEqual((leaving.lost, staying.lost), (True, False))
        self.assertEqual(status(self.ask(self.connect(2))), 200)

    def test_an_occupied_port_changes_nothing(self) -> None:
        """Nothing at all: not what was prepared beside it either."""
        service = self.serving()
        self.reactor.occupied = {82}
        wanted = attrs.evolve(
            PLAIN,
            listen=("tcp:81", "tcp:82"),
            settings=Settings(head_limit=300),
            access_log=AccessLogFile(path=self.mktemp()),
            pools=(attrs.evolve(POOL, backends=(Backend("10.0.0.9", 1),)),),
        )
        result = self.reload(service, wanted)
        message = (
            "cannot listen on tcp:82: Address already in use; new places are opened before old ones are closed: if tcp:80 is in "
            "the way, have it closed by a reload of its own first"
        )
        self.assertEqual(result.errors, (message,))
        self.assertEqual(self.reactor.open_ports, [80])
        self.assertIs(service.configuration, PLAIN)
        self.assertEqual((service.access_log, service.factory.limits.size), (None, 16384))
        self.assertEqual(status(self.ask(self.connect())), 200)

    def test_an_occupied_port_while_nothing_leaves(self) -> None:
        """Then somebody else has it."""
        service = self.serving()
        self.reactor.occupied = {82}
        result = self.reload(service, attrs.evolve(PLAIN, listen=("tcp:80", "tcp:82")))
        self.assertEqual(result.errors, ("cannot listen on tcp:82: Address already in use",))

    def test_every_mistake_is_told_at_once(self) -> None:
        """Of whatever kind, and no port is opened."""
        service = self.serving()
        wanted = attrs.evolve(
            SECURE,
            listen=("tcp:81", "x"),
            certificates=attrs.evolve(SHOWN, files=("/missing",)),
            access_log=AccessLogFile(path=os.path.join(self.mktemp(), "missing", "log")),
        )
        result = self.reload(service, wanted)
        for part in ("certificate: '/missing'", "access-log: ", "listen: 'x'"):
            self.assertTrue(any(part in line for line in result.errors), (part, result.errors))
        self.assertEqual([port.number for port in self.reactor.ports], [80])

    def test_how_many_workers_there_are_stays(self) -> None:
        """It is said beside every other mistake; and how long one may say nothing changes."""
        service = self.serving()
        missing = Certificates(files=("/missing",))
        wanted = attrs.evolve(PLAIN, workers=3, certificates=missing, tls_listen=("tcp:443",), worker_heartbeat=1.0)
        how = "it can be changed by an upgrade (SIGUSR2, POST /upgrade) or a restart, not by a reload"
        self.assertEqual(
            self.reload(service, wanted).errors, (f"workers: {how}", "certificate: '/missing' cannot be read")
        )
        self.assertEqual(service.configuration, completed(PLAIN))
        self.assert_changed(service, attrs.evolve(PLAIN, worker_heartbeat=1.0))

    def test_before_it_is_started(self) -> None:
        """There is nothing to be opened yet; then it listens where it was told last."""
        service = LoadBalancerService.of(PLAIN, reactor=self.reactor)
        self.assert_changed(service, attrs.evolve(PLAIN, listen=("tcp:81",)))
        self.assertEqual(self.reactor.ports, [])
        service.startService()
        self.addCleanup(self.end, service)
        self.assertEqual(self.reactor.open_ports, [81])

    def test_while_it_stops(self) -> None:
        """It is too late for anything to change."""
        service = self.serving(attrs.evolve(PLAIN, settings=Settings(drain_delay=5)))
        service.stopService()
        self.assertIn("it is stopping", self.reload(service, SECURE).errors[0])
        self.assertEqual(self.reactor.open_ports, [80])

    def test_the_admin_listener(self) -> None:
        """Comes, changes its place and leaves as others do; and what may be done there changes at once."""
        service = self.serving()
        self.assertIsNone(service.admin_address())
        self.assert_changed(service, attrs.evolve(PLAIN, admin="tcp:90"))
        post = b"POST /backends/10.0.0.1:8000/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        operator = self.connect(1)
        refused = self.operated(operator, post)
        self.assert_changed(service, attrs.evolve(PLAIN, admin="tcp:90", admin_writable=True))
        self.assertNotEqual(self.operated(operator, post), refused)
        self.assert_changed(service, attrs.evolve(PLAIN, admin="tcp:91"))
        self.assertEqual(self.reactor.open_ports, [80, 91])
        self.assert_changed(service, PLAIN)
        self.reactor.advance(2)
        self.assertEqual((self.reactor.open_ports, operator.lost), ([80], True))

    def operated(self, operator: Peer, request: bytes) -> int:
        """The status of an answer to an operator."""
        operator.send(request)
        self.reactor.advance(0)
        return status(operator.received())

    def test_the_uptime_goes_on(self) -> None:
        """It is the service's."""
        service = self.serving(attrs.evolve(PLAIN, admin="tcp:90"))
        self.reactor.advance(100)
        self.assert_changed(service, attrs.evolve(PLAIN, admin="tcp:90", admin_writable=True))
        operator = self.connect(1)
        operator.send(b"GET /status HTTP/1.0\r\n\r\n")
        self.reactor.advance(0)
        told = json.loads(operator.received().partition(b"\r\n\r\n")[2])
        self.assertGreaterEqual(told["uptime"], 100)


class Living(ReloadCase):
    """Settings that are gone by at once."""

    def test_limits_and_times(self) -> None:
        """Of connections that there are already as well."""
        service = self.serving()
        client = self.connect()
        self.ask(client)
        self.assert_changed(service, attrs.evolve(PLAIN, settings=Settings(head_limit=256, idle_timeout=5)))
        long = GET.replace(b"\r\n\r\n", b"\r\nX-Long: " + b"x" * 300 + b"\r\n\r\n")
        self.assertEqual(status(self.ask(client, long)), 431)
        self.assertEqual(service.resource.limits.size, 256)
        self.assertEqual(service.factory.times.idle, 5)

    def test_how_many_connections_there_may_be(self) -> None:
        """Whoever waited comes in when there may be more; and ports that are new wait with the others."""
        service = self.serving(attrs.evolve(PLAIN, settings=Settings(max_connections=1)))
        self.connect()
        self.assertTrue(self.reactor.ports[0].paused)
        self.assert_changed(service, attrs.evolve(PLAIN, settings=Settings(max_connections=2)))
        self.assertFalse(self.reactor.ports[0].paused)
        self.assert_changed(service, attrs.evolve(PLAIN, listen=("tcp:80", "tcp:81"), settings=Settings(max_connections=1)))
        self.assertEqual([port.paused for port in self.reactor.ports], [True, True])

    def test_pools(self) -> None:
        """Others have their exchanges from now on."""
        service = self.serving()
        client = self.connect()
        self.assertIn(b"10.0.0.1:8000", self.ask(client))
        self.assert_changed(service, attrs.evolve(PLAIN, pools=(OTHER,)))
        self.assertIn(b"10.0.0.2:8000", self.ask(client))
        self.assert_changed(service, PLAIN)
        self.assertIn(b"10.0.0.1:8000", self.ask(client))

    def test_the_access_log(self) -> None:
        """A new one is open before the old one is closed; none at all is possible too."""
        paths = [self.mktemp(), self.mktemp()]
        service = self.serving()
        for path in paths:
            self.assert_changed(service, attrs.evolve(PLAIN, access_log=AccessLogFile(path=path)))
            self.ask(self.connect())
        self.ask(self.connect())
        self.assert_changed(service, PLAIN)
        self.ask(self.connect())
        lines = []
        for path in paths:
            with open(path) as file:
                lines.append(len(file.readlines()))
        self.assertEqual(lines, [1, 2])
        self.assertEqual(len(self.observer.exchanges), 4)

    def test_the_same_file_in_another_format(self) -> None:
        """Each exchange is in it, in the format of its end."""
        path = self.mktemp()
        service = self.serving(attrs.evolve(PLAIN, access_log=AccessLogFile(path=path)))
        self.ask(self.connect())
        self.assert_changed(service, attrs.evolve(PLAIN, access_log=AccessLogFile(path=path, format="json", explain=True)))
        self.ask(self.connect())
        self.assert_changed(service, PLAIN)
        with open(path) as file:
            first, second = file.readlines()
        self.assertFalse(first.startswith("{"))
        self.assertEqual(json.loads(second)["status"], 200)


class Shown(ReloadCase):
    """Certificates come, change and leave."""

    def test_from_none(self) -> None:
        """They are read in a thread; then there is a listener for them, and somebody watches their files."""
        service = self.serving()
        self.threads.held = True
        asked = service.reload(SECURE)
        self.assertNoResult(asked)
        self.assertEqual(self.reactor.open_ports, [80])
        self.threads.finish()
        self.assertTrue(self.successResultOf(asked).ok)
        self.assertEqual(self.reactor.open_ports, [80, 443])
        self.assertEqual((service.certificates, service.reloads), (self.stores[0], True))
        assert service.watch is not None
        self.assertTrue(service.watch.running)
        self.threads.held = False

    def test_others(self) -> None:
        """New connections get them, at the same port; backends hear of clients' certificates where they are asked for."""
        service = self.serving(SECURE)
        watch = service.watch
        wanted = attrs.evolve(SECURE, certificates=attrs.evolve(SHOWN, client_ca="/ca.pem", client_auth="required"))
        self.assert_changed(service, wanted)
        self.assertEqual(self.reactor.open_ports, [80, 443])
        self.assertIs(service.listeners.acceptor.current, self.stores[1])
        self.assertIsNotNone(service.factory.identify)
        assert service.watch is watch is not None
        self.assertIs(watch.store, self.stores[1])
        self.stores[1].put()
        self.reactor.advance(10)
        self.assertIn("changed", self.stores[1].taken())

    def test_the_same_are_not_read_again(self) -> None:
        """What does not differ is not touched."""
        service = self.serving(SECURE)
        self.assert_changed(service, attrs.evolve(SECURE, settings=Settings(retries=1)))
        self.assertEqual(len(self.stores), 1)

    def test_none_any_more(self) -> None:
        """Nor any listener for them."""
        service = self.serving(SECURE)
        self.assert_changed(service, PLAIN)
        self.assertEqual((self.reactor.open_ports, service.certificates), ([80], None))
        self.assertIsNone(service.resource.site.router.https_port())

    def test_that_cannot_be_read(self) -> None:
        """Those that there are go on."""
        service = self.serving(SECURE)
        result = self.reload(service, attrs.evolve(SECURE, certificates=attrs.evolve(SHOWN, files=("/missing",))))
        self.assertEqual(result.errors, ("certificate: '/missing' cannot be read",))
        self.assertIs(service.listeners.acceptor.current, self.stores[0])

    def test_it_is_stopped_meanwhile(self) -> None:
        """Then nothing is changed, and nothing opened."""
        service = self.serving()
        self.threads.held = True
        asked = service.reload(SECURE)
        self.end(service)
        self.threads.finish()
        self.assertFalse(self.reactor.open_ports)
        self.successResultOf(asked)
        self.threads.held = False


class Order(ReloadCase):
    """One at a time."""

    def test_the_last_wish_counts(self) -> None:
        """And the one that runs ends first."""
        service = self.serving()
        self.threads.held = True
        wishes = [SECURE, attrs.evolve(PLAIN, listen=("tcp:81",)), attrs.evolve(PLAIN, listen=("tcp:82",))]
        asked: list[Deferred[ReloadResult]] = [service.reload(wish) for wish in wishes]
        self.threads.finish()
        self.threads.finish()
        self.assertEqual([self.successResultOf(one).ok for one in asked], [True] * 3)
        self.assertEqual(self.reactor.open_ports, [82])
        self.assertEqual(service.reloader.counts, {"failure": 0, "success": 2})
        self.assertIs(service.configuration, wishes[2])
        self.assertNotIn(81, [port.number for port in self.reactor.ports])

    def test_what_takes_long_is_done_in_a_thread(self) -> None:
        """A slow disk, or thousands of routes, keep nobody waiting; nothing is another before it is done."""
        service = self.serving()
        self.threads.held = True
        slow = attrs.evolve(POOL, backends=(), backends_file=self.mktemp())
        with open(slow.backends_file, "w") as file:
            file.write("10.0.0.2:8000\n")
        client = self.connect()
        with patch.object(service.site, "prepare", wraps=service.site.prepare) as prepare:
            asked = service.reload(attrs.evolve(PLAIN, pools=(slow,)))
            self.assertEqual((prepare.called, self.threads.busy), (False, 1))
            self.assertIn(b"10.0.0.1:8000", self.ask(client))
            self.threads.finish()
            self.assertTrue(prepare.called)
        self.threads.held = False
        while self.threads.busy:  # the file's watch looks as well
            self.threads.finish()
        self.assertTrue(self.successResultOf(asked).ok)
        self.assertIn(b"10.0.0.2:8000", self.ask(client))

    def test_a_file_of_a_filter_has_changed(self) -> None:
        """It is read anew though all is said as before; the result tells."""
        page = self.mktemp() + ".html"
        answer = FixedAnswer(status=404)
        filters = {"page": ErrorPages(statuses=("404",), file=page)}
        wanted = attrs.evolve(PLAIN, filters=filters, routes=(Route(name="r", answer=answer, filters=("page",)),))
        with open(page, "w") as file:
            file.write("old")
        service = self.serving(wanted)
        client = self.connect()
        self.assertEqual(page_of(self.ask(client)), b"old")
        self.assertEqual(self.reload(service, wanted).differences, ())
        kept = service.site.router.live["r"]
        with open(page, "w") as file:
            file.write("a new one")
        result = self.reload(service, wanted)
        self.assertEqual(list(map(str, result.differences)), ["filter page: what is in its file is another one, not shown"])
        self.assertEqual(page_of(self.ask(client)), b"a new one")
        self.assertEqual(service.site.router.live["r"].taken, kept.taken + 1)
        os.unlink(page)
        self.assertIn("filters.page.file", self.reload(service, wanted).errors[0])
        self.assertEqual(page_of(self.ask(client)), b"a new one")

    def test_differences(self) -> None:
        """They are told with the result."""
        service = self.serving()
        result = self.reload(service, attrs.evolve(PLAIN, admin="tcp:90"))
        self.assertTrue(any("90" in str(difference) for difference in result.differences), result.differences)
        self.assertEqual(self.reload(service, attrs.evolve(PLAIN, admin="tcp:90")).differences, ())

    def test_a_mistake_of_ours_is_told(self) -> None:
        """Rather than nothing at all."""
        service = self.serving()
        with patch.object(service.site, "prepare", side_effect=ZeroDivisionError("oops")):
            result = self.reload(service, attrs.evolve(PLAIN, admin="tcp:90"))
        self.assertEqual((result.ok, result.errors), (False, ("oops",)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reactor.open_ports, [80])
