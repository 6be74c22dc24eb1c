"""Probes of real servers over real sockets: what is found is what an operator would say of them."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SkipTest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.util import Redirect

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.health.http_probe import make_probe
from lbproxy.health.schedule import Finding, ProbeSchedule
from lbproxy.health.spec import ProbeSpec
from lbproxy.settings import Settings

from ..support import ReactorCase
from .support import LOOPBACK, PATIENCE, IntegrationTestCase, Process, eventually, free_port
from .test_addresses import require_ipv6

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{plain};
        listen {host}:{proxied} proxy_protocol;
        default_type text/plain;
        location = /health {{ return 200 "ready at $host\\n"; }}
        location = /moved {{ return 301 /health; }}
    }}
}}
"""


class ProbeTestCase(IntegrationTestCase, ReactorCase):
    """A pool whose backends are probed by a reactor of the test's own."""

    def setUp(self) -> None:
        IntegrationTestCase.setUp(self)
        ReactorCase.setUp(self)

    def make_reactor(self) -> Any:
        return SelectReactor()

    def schedule(self, place: str, text: str, interval: float = 60, timeout: float = PATIENCE, **options: Any) -> ProbeSchedule:
        """Begin to probe one backend."""
        self.pool = Pool(parse_backends([place]))
        settings = Settings(probe_interval=interval, probe_timeout=timeout)
        schedule = ProbeSchedule(self.pool, self.reactor, settings, make_probe(ProbeSpec.parse(text, **options), self.reactor))
        schedule.start()
        self.addCleanup(schedule.stop)
        return schedule

    def found(self, place: str, text: str, **options: Any) -> Finding:
        """What a probe finds."""
        schedule = self.schedule(place, text, **options)
        self.turns_until(lambda: schedule.counts)
        schedule.stop()
        (member,) = self.pool.members.values()
        found = schedule.last(member.address)
        assert found is not None
        self.assertEqual((member.up, member.reason), (found.up, found.evidence))
        self.turns_until(lambda: set(self.reactor.getReaders()) <= self.own)  # none of its connections is left
        self.turn()
        return found

    def turns_until(self, condition: Any) -> None:
        """Let the reactor work until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it did not come to pass")
            self.reactor.iterate(0.005)

    @property
    def own(self) -> set[Any]:
        """What the reactor reads from besides the probes' connections: its own pipe."""
        return set(self.reactor._internalReaders)

    def assertWell(self, finding: Finding, evidence: str = "probe: 200 in ") -> None:
        self.assertTrue(finding.up, finding)
        self.assertIn(evidence, finding.evidence)

    def assertNotWell(self, finding: Finding, evidence: str) -> None:
        self.assertFalse(finding.up, finding)
        self.assertIn(evidence, finding.evidence)


class ServerTests(ProbeTestCase):
    """A server that answers whatever it is asked for."""

    def test_it_is_well(self) -> None:
        """Answers of all framings, and what is found in their bodies."""
        place = self.backend("a").place
        self.assertWell(self.found(place, "tcp"), "probe: connected")
        self.assertWell(self.found(place, "http:/", body='"name": "a"'))
        self.assertWell(self.found(place, "http:/drip?parts=5&pause=0.01", body="part 4"))
        self.assertWell(self.found(place, "http:/until-close", body="^until the end$"))
        self.assertWell(self.found(place, "http:/status?code=204", status="204"), "probe: 204 in ")
        self.assertWell(self.found(place, "http:/status?code=302"), "probe: 302 in ")

    def test_it_is_not(self) -> None:
        """Statuses, bodies that break off, garbage, silence, and nobody there: each is said in words."""
        backend = self.backend("a")
        place = backend.place
        for text, words in (
            ("http:/status?code=500", "probe: status 500; allowed is 200-399"),
            ("http:/cut?how=sized", "the answer's body is cut short"),
            ("http:/cut?how=chunked", "the answer's body is cut short"),
            ("http:/garbage", "the answer's head cannot be read"),
        ):
            self.assertNotWell(self.found(place, text), words)
        self.assertNotWell(self.found(place, "http:/", body="no such thing"), "the body does not match 'no such thing'")
        self.assertNotWell(self.found(place, "http:/slow?seconds=60", timeout=0.3), "probe: no answer within 0.3 s")
        self.assertNotWell(self.found(place, "http:/drip?parts=600&pause=0.1", timeout=0.5), "probe: no answer within 0.5 s")
        backend.stop()
        self.assertNotWell(self.found(place, "http:/"), "refused")

    def test_a_body_without_end_is_cut_off(self) -> None:
        """256 KiB are read of a gibibyte; the server notices, and has not sent much more than fits into the sockets."""
        backend = self.backend("a")
        self.assertWell(self.found(backend.place, f"http:/big?size={1 << 30}"))
        self.assertNotWell(self.found(backend.place, f"http:/big?size={1 << 30}&chunked=1", body="none"), "first 262144 bytes")
        eventually("the server notices", lambda: backend.seen()["left"] == 2)
        self.assertLess(backend.seen()["sent"], 1 << 26)

    def test_it_is_found_behind_a_unix_socket(self) -> None:
        """Where it is asked for as localhost."""
        place = self.backend("a", f"unix:{self.folder}/a.sock").place
        self.assertWell(self.found(place, "tcp"), "probe: connected")
        self.assertWell(self.found(place, "http:/", body='"Host", "localhost"'))

    def test_it_is_found_at_an_ipv6_address(self) -> None:
        """Which stands in brackets."""
        require_ipv6()
        place = self.backend("a", f"[::1]:{free_port()}").place
        self.assertWell(self.found(place, "http:/", body=r'"Host", "\[::1\]:[0-9]+"'))

    def test_it_is_down_when_it_is_gone_and_up_when_it_is_back(self) -> None:
        """Within an interval each."""
        backend = self.backend("a")
        schedule = self.schedule(backend.place, "http:/", interval=0.1)
        (member,) = self.pool.members.values()
        self.turns_until(lambda: schedule.counts.get((member.address, True), 0) > 2)
        backend.stop()
        self.turns_until(lambda: not member.up)
        backend.start()
        self.turns_until(lambda: member.up)
        schedule.stop()


class Endless(Resource):
    """A page that never ends, or never begins."""

    isLeaf = True

    def __init__(self, begins: bool) -> None:
        super().__init__()
        self._begins = begins

    def render_GET(self, request: Request) -> int:
        request.notifyFinish().addErrback(lambda failure: None)
        if self._begins:
            request.write(b"once upon a time")
        return NOT_DONE_YET


class Echo(Resource):
    """Says who was asked for."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"host %b, token %b" % (request.getHeader(b"host") or b"", request.getHeader(b"x-token") or b"")


class QuietSite(Site):
    """Keeps no access log."""

    def log(self, request: Any) -> None:
        """Nobody reads it."""


class TwistedWebTests(ProbeTestCase):
    """A ``twisted.web`` server in the same process."""

    def setUp(self) -> None:
        super().setUp()
        root = Resource()
        root.putChild(b"echo", Echo())
        root.putChild(b"moved", Redirect(b"/echo"))
        root.putChild(b"story", Endless(True))
        root.putChild(b"mute", Endless(False))
        site = QuietSite(root, reactor=self.reactor)
        self.port = self.listen(site)
        self.addCleanup(site.stopFactory)
        self._listening = set(self.reactor.getReaders())

    @property
    def own(self) -> set[Any]:
        return super().own | self._listening

    def test_pages(self) -> None:
        """One that is there, one that is not, one that has moved, and those that never end."""
        place = f"{LOOPBACK}:{self.port}"
        self.assertWell(self.found(place, "http:/echo"))
        self.assertNotWell(self.found(place, "http:/none"), "status 404")
        self.assertWell(self.found(place, "http:/moved"), "probe: 302")
        self.assertNotWell(self.found(place, "http:/moved", status="200-299"), "status 302; allowed is 200-299")
        for path in ("story", "mute"):
            self.assertNotWell(self.found(place, f"http:/{path}", timeout=0.2), "no answer within 0.2 s")

    def test_another_port_host_and_field(self) -> None:
        """The backend serves nothing where it is: its health is asked elsewhere, by another name."""
        elsewhere = f"{LOOPBACK}:{free_port()}"
        self.assertNotWell(self.found(elsewhere, "http:/echo"), "refused")
        self.assertWell(self.found(elsewhere, "http:/echo", port=self.port, body=f"host {LOOPBACK}:{self.port}, token $"))
        options: dict[str, Any] = {"port": self.port, "host": "a.example", "headers": ["X-Token: s"]}
        self.assertWell(self.found(elsewhere, "http:/echo", body="host a.example, token s$", **options))


class NginxTests(ProbeTestCase):
    """nginx, with and without the PROXY protocol."""

    def setUp(self) -> None:
        super().setUp()
        nginx = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
        if nginx is None:
            raise SkipTest("nginx is not installed")
        self.plain, self.proxied = free_port(), free_port()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(folder=self.folder, host=LOOPBACK, plain=self.plain, proxied=self.proxied))
        process = Process(self, [nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(configuration)])
        place = f"{LOOPBACK}:{self.plain}"
        eventually("nginx serves", lambda: process.ended or self.found(place, "tcp").up)
        self.assertFalse(process.ended, process.output)

    def test_it_is_well(self) -> None:
        """By its page, at its default and at a virtual host; a page that is not there is not well."""
        place = f"{LOOPBACK}:{self.plain}"
        self.assertWell(self.found(place, "http:/health", body=f"ready at {LOOPBACK}"))
        self.assertWell(self.found(place, "http:/health", host="www.example.org", body="ready at www.example.org"))
        self.assertWell(self.found(place, "http:/moved"), "probe: 301")
        self.assertNotWell(self.found(place, "http:/none"), "status 404")

    def test_the_proxy_protocol(self) -> None:
        """A listener that wants its header is well with it, in either version, and not without."""
        place = f"{LOOPBACK}:{self.proxied}"
        for version in ("v1", "v2"):
            self.assertWell(self.found(f"{place}:proxy-protocol={version}", "http:/health"))
        self.assertFalse(self.found(place, "http:/health").up)
