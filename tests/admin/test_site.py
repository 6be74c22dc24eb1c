"""The administration site answers people, monitoring systems and orchestrators, and its pages change nothing."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import readBody

from lbproxy import __version__
from lbproxy.admin import admin_site
from lbproxy.balance.state import Change
from lbproxy.observe.events import EventLog

from ..support import START, Rig


class AdminSiteTests(SynchronousTestCase):
    """``admin_site`` over an in-memory connection."""

    def setUp(self) -> None:
        """The site of a balancer with two backends."""
        self.rig = Rig("10.0.0.1:8000,10.0.0.2:8000")
        self.clock = Clock()
        self.site = admin_site(self.rig.resource.site, self.rig.listener, self.rig.reactor.seconds, reactor=self.clock)
        self.agent = RequestTraversalAgent(self.site.resource)

    def ask(self, path: str, method: bytes = b"GET") -> Any:
        """The response to one request."""
        asking = self.agent.request(method, f"http://127.0.0.1:8081{path}".encode())
        self.agent.flush()
        return self.successResultOf(asking)

    def body(self, response: Any) -> str:
        """A response's body."""
        reading = readBody(response)
        self.agent.flush()
        return self.successResultOf(reading).decode()

    def field(self, response: Any, name: str) -> str | None:
        """A response's only field of that name."""
        values = response.headers.getRawHeaders(name)
        return values[0] if values else None

    def test_contents(self) -> None:
        """The root is a list of what there is."""
        response = self.ask("/")
        self.assertEqual((response.code, self.field(response, "Content-Type")), (200, "text/plain; charset=utf-8"))
        text = self.body(response)
        for path in ("/status", "/events", "/metrics", "/healthz", "/backends/ADDRESS/drain", "--admin-writable"):
            self.assertIn(path, text)

    def test_status(self) -> None:
        """/status is a JSON object that a person can read."""
        self.rig.reactor.advance(3)
        response = self.ask("/status")
        self.assertEqual((response.code, self.field(response, "Content-Type")), (200, "application/json"))
        text = self.body(response)
        self.assertTrue(text.startswith('{\n  "version"'))
        self.assertTrue(text.endswith("}\n"))
        report = json.loads(text)
        self.assertEqual((report["version"], report["uptime"]), (__version__, 3.0))

    def test_the_uptime_is_that_of_serving(self) -> None:
        """A site that is made anew goes on with it."""
        site = admin_site(
            self.rig.resource.site, self.rig.listener, self.rig.reactor.seconds, reactor=self.clock, started=START - 60
        )
        self.agent = RequestTraversalAgent(site.resource)
        self.assertEqual(json.loads(self.body(self.ask("/status")))["uptime"], 60.0)

    def test_metrics(self) -> None:
        """/metrics is what Prometheus takes."""
        response = self.ask("/metrics")
        self.assertTrue(str(self.field(response, "Content-Type")).startswith("text/plain; version="))
        names = {family.name for family in text_string_to_metric_families(self.body(response))}
        self.assertIn("lbproxy_pool_in_flight", names)

    def events(self, query: str = "", limit: int = 1000) -> Any:
        """What /events says of a backend that goes down, up and down again."""
        log = EventLog(self.clock, limit)
        for number, (was, now) in enumerate((("up", "down"), ("down", "up"), ("up", "down"))):
            log(Change(START + number, "default", "10.0.0.1:8000", was, now, "refused", "probe"))
        site = admin_site(self.rig.resource.site, self.rig.listener, self.rig.reactor.seconds, reactor=self.clock, events=log)
        self.agent = RequestTraversalAgent(site.resource)
        return self.ask(f"/events{query}")

    def test_events(self) -> None:
        """/events is a JSON object with what has changed, the oldest first."""
        response = self.events()
        self.assertEqual((response.code, self.field(response, "Content-Type")), (200, "application/json"))
        report = json.loads(self.body(response))
        self.assertEqual((report["last"], report["dropped"]), (3, 0))
        self.assertEqual([(event["number"], event["now"]) for event in report["events"]], [(1, "down"), (2, "up"), (3, "down")])
        self.assertEqual(report["events"][0]["time"], "1970-01-01T00:16:40.000Z")

    def test_events_since(self) -> None:
        """Who has seen some asks for the rest, and is told when some of it is lost."""
        report = json.loads(self.body(self.events("?since=2")))
        self.assertEqual(([event["number"] for event in report["events"]], report["dropped"]), ([3], 0))
        report = json.loads(self.body(self.events("?since=1", limit=1)))
        self.assertEqual(([event["number"] for event in report["events"]], report["dropped"]), ([3], 1))

    def test_events_since_what_is_no_number(self) -> None:
        """The answer says what is allowed."""
        for query in ("?since=", "?since=-1", "?since=x", "?since=1&since=2", "?since=1.5", "?since=" + "9" * 5000):
            response = self.events(query)
            self.assertEqual(response.code, 400, query)
            self.assertIn("/events?since=17", self.body(response))

    def test_no_events(self) -> None:
        """Where nobody keeps them there are none to be had."""
        self.assertEqual(self.ask("/events").code, 404)

    def test_healthy(self) -> None:
        """/healthz is 200 while any backend is up, and says how many are."""
        self.rig.mark("10.0.0.1:8000", up=False)
        response = self.ask("/healthz")
        self.assertEqual((response.code, self.body(response)), (200, "ok, 1 of 2 backends up\n"))
        self.assertEqual(self.field(response, "Cache-Control"), "no-store")

    def test_unhealthy(self) -> None:
        """/healthz is 503 when no backend is up."""
        for address in list(self.rig.pool.members):
            self.rig.mark(address, up=False)
        response = self.ask("/healthz")
        self.assertEqual((response.code, self.body(response)), (503, "unavailable, 0 of 2 backends up\n"))
        self.assertEqual(self.field(response, "Cache-Control"), "no-store")

    def test_draining(self) -> None:
        """/healthz is 503 from when the listener is told to stop, however many backends are up, and /status says so too."""
        draining = [False]
        site = admin_site(
            self.rig.resource.site,
            self.rig.listener,
            self.rig.reactor.seconds,
            reactor=self.clock,
            draining=lambda: draining[0],
        )
        self.agent = RequestTraversalAgent(site.resource)
        self.assertEqual(self.ask("/healthz").code, 200)
        draining[0] = True
        response = self.ask("/healthz")
        self.assertEqual((response.code, self.body(response)), (503, "draining\n"))
        self.assertIs(json.loads(self.body(self.ask("/status")))["draining"], True)

    def test_query(self) -> None:
        """A query string is no other page."""
        self.assertEqual(self.ask("/healthz?x=1").code, 200)

    def test_unknown(self) -> None:
        """Where there is nothing, a 404 says what there is elsewhere."""
        for path in ("/nothing", "/status/more", "/nothing/more", "/status/"):
            response = self.ask(path)
            self.assertEqual(response.code, 404, path)
            self.assertIn("/metrics", self.body(response))

    def test_read_only(self) -> None:
        """Every method but GET and HEAD is refused with the list of those two."""
        for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"):
            response = self.ask("/status", method)
            self.assertEqual((response.code, self.field(response, "Allow")), (405, "GET, HEAD"), method)

    def test_head(self) -> None:
        """HEAD gives the fields of GET and no body, and nothing is complained of in the log."""
        for path in ("/", "/status", "/metrics", "/healthz", "/nothing"):
            expected = self.ask(path)
            size = len(self.body(expected))
            with capturedLogs() as events:
                response = self.ask(path, b"HEAD")
            self.assertEqual((response.code, self.body(response)), (expected.code, ""), path)
            if path != "/metrics":  # which differs at each look: CPU seconds
                self.assertEqual(self.field(response, "Content-Length"), str(size), path)
            self.assertEqual(events, [])

    def test_not_logged(self) -> None:
        """Requests leave no trace in Twisted's log, and the site itself runs no timer."""
        with capturedLogs() as events:
            self.site.doStart()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            transport = StringTransport()
            channel: Any = self.site.buildProtocol(None)
            channel.makeConnection(transport)
            channel.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            self.site.doStop()
        self.assertIn(b"200 OK", transport.value())
        self.assertEqual(events, [])
