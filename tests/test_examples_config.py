"""The configuration files in examples/ run: each as a process of its own, before real backends.

A file is used as it stands, but for places and paths, which are put in its text.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import trustme
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

import lbproxy
from lbproxy import Configuration
from lbproxy.config.reading import read_text
from lbproxy.explaining import explained
from lbproxy.routing.asking import request_of
from lbproxy.site import Site

from .integration.support import (
    LOOPBACK,
    PATIENCE,
    TWISTD,
    Answer,
    Backend,
    IntegrationTestCase,
    Process,
    ask,
    eventually,
    free_port,
    send,
)

EXAMPLES = Path(lbproxy.__file__).resolve().parent.parent / "examples"


def text_of(example: str, put: Mapping[str, str]) -> str:
    """An example's text with other places in it. Each that is replaced must be there."""
    if not EXAMPLES.is_dir():
        raise SkipTest("this is not a checkout: there are no examples")
    text = (EXAMPLES / example).read_text(encoding="utf-8")
    for old, new in put.items():
        if old not in text:
            raise AssertionError(f"{example} has no {old!r}")
        text = text.replace(old, new)
    return text


class Running:
    """An example that runs.

    :param put: what is put in the place of what stands in the file, beside what is listened on.
    :ivar ports: where it listens, by what stands in the file.
    """

    def __init__(self, case: ExampleCase, example: str, listens: Iterable[str], put: Mapping[str, str]) -> None:
        self.case = case
        self.path = case.folder / example
        for _ in range(5):  # what was a free port may be taken a moment later
            self.ports = {place: free_port() for place in listens}
            self.text = text_of(example, put)
            for place, port in self.ports.items():
                written = rf'"{re.escape(place)}(:interface=[0-9.]+)?"'
                self.text, found = re.subn(written, f'"tcp:{port}:interface={LOOPBACK}"', self.text)
                case.assertEqual(found, 1, place)
            self.write(self.text)
            checked = case.run_twistd("--config", str(self.path), "--check")
            case.assertEqual((checked.returncode, ": ok, " in checked.stdout), (0, True), checked.stdout + checked.stderr)
            self.process = Process(case, [*TWISTD, "-n", "--pidfile=", "lbproxy", "--config", str(self.path)])
            eventually("it answers", lambda: self.process.ended or self._answers())
            if not self.process.ended or "in use" not in self.process.output:
                break
        case.assertFalse(self.process.ended, self.process.output)
        case.addCleanup(self.end)

    def write(self, text: str) -> None:
        """Let the file have this text, all at once."""
        written = self.path.with_suffix(".new")
        written.write_text(text, encoding="utf-8")
        os.replace(written, self.path)

    @property
    def admin(self) -> int:
        """The admin listener's port, which is the last one."""
        return list(self.ports.values())[-1]

    def _answers(self) -> bool:
        try:
            ask(self.admin, "/healthz")
        except OSError:
            return False
        return True

    def status(self) -> Any:
        """What operators are shown."""
        return ask(self.admin, "/status").json()

    def up(self) -> int:
        """How many backends are well."""
        backends = [backend for pool in self.status()["pools"] for backend in pool["backends"]]
        return sum(backend["state"] == "up" for backend in backends)

    def reloads(self) -> int:
        """How many went well."""
        return int(self.status()["reload"]["reloads"]["success"])

    def end(self) -> None:
        """It ends in order, and has logged no error."""
        self.process.signal(15)
        self.process.wait()
        self.case.assertNotRegex(self.process.output, "Traceback|Unhandled")


class ExampleCase(IntegrationTestCase):
    """Has what examples need around them."""

    def pem(self, *names: str) -> str:
        """A file with a certificate that :attr:`trust` trusts."""
        authority = trustme.CA()
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        path = self.folder / "certificates" / f"{names[0]}.pem"
        path.parent.mkdir(exist_ok=True)
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    def over_tls(self, port: int, name: str) -> http.client.HTTPSConnection:
        """A connection to an address, by a name."""
        connection = _Named(name, port, timeout=PATIENCE, context=self.trust)
        self.addCleanup(connection.close)
        return connection


class _Named(http.client.HTTPSConnection):
    """Goes to this machine, whatever it is told."""

    def connect(self) -> None:
        sock = socket.create_connection((LOOPBACK, self.port), timeout=PATIENCE)
        self.sock = self._context.wrap_socket(sock, server_hostname=self.host)  # type: ignore[attr-defined]


class ThreeBackends(ExampleCase):
    """three_backends.toml"""

    def test_one_dies_and_nobody_notices(self) -> None:
        """All three answer; when one is killed no request fails, and it is taken out."""
        backends = self.backends("abc")
        put = {f"10.0.0.{number}:8000": backend.place for number, backend in enumerate(backends, 1)}
        running = Running(self, "three_backends.toml", ["tcp:8080", "tcp:8081"], put)
        port = running.ports["tcp:8080"]
        connection = self.connection(port)
        seen = Counter(send(connection, "/x").backend for _ in range(60))
        self.assertEqual(sorted(seen), ["a", "b", "c"])
        backends[1].stop()
        after = [send(connection, "/x") for _ in range(60)]
        self.assertEqual({answer.status for answer in after}, {200})
        eventually("it is taken out", lambda: running.up() == 2)
        self.assertEqual({send(connection, "/x").backend for _ in range(30)}, {"a", "c"})


class AllCores(ExampleCase):
    """all_cores.toml, with two cores."""

    def test_several_processes_answer_as_one(self) -> None:
        """Whoever is asked; when one is killed, the next connections are served by those that are left and by its successor."""
        backends = self.backends("abcd")
        put = {f"10.0.0.{number}:8000": backend.place for number, backend in enumerate(backends, 1)}
        put['workers = "auto"'] = "workers = 2"
        put["/etc/lbproxy/certificates"] = str(Path(self.pem("shop.example")).parent)
        running = Running(self, "all_cores.toml", ["tcp:80", "tcp:443", "tcp:8081"], put)

        def workers() -> list[str]:
            pid = running.process.pid
            return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

        def seen() -> set[str]:
            answers = [send(self.over_tls(running.ports["tcp:443"], "shop.example"), "/x") for _ in range(20)]
            self.assertEqual({answer.status for answer in answers}, {200})
            return {answer.backend for answer in answers}

        first = eventually("there are two workers", lambda: found if len(found := workers()) == 2 else [])
        self.assertLessEqual(seen(), set("abcd"))
        self.assertEqual(ask(running.ports["tcp:80"], "/x", Host="shop.example").status, 308)
        os.kill(int(first[0]), signal.SIGKILL)
        eventually("it is replaced", lambda: len(workers()) == 2 and first[0] not in workers())
        seen()


class Canary(ExampleCase):
    """canary.toml"""

    HOST = "shop.example"

    def setUp(self) -> None:
        super().setUp()
        *shop, canary = self.backends("abcx")
        put = {f"10.0.0.{number}:8000": backend.place for number, backend in enumerate(shop, 1)}
        put["10.0.1.1:8000"] = canary.place
        put["/etc/lbproxy/certificates"] = str(Path(self.pem(self.HOST, "www.shop.example")).parent)
        put["/var/log/lbproxy/access.json"] = str(self.folder / "access.json")
        listens = ["tcp:80", "tcp:443", "unix:/run/lbproxy/admin.sock:mode=660"]
        self.running = Running(self, "canary.toml", listens, put)
        self.client = self.over_tls(self.running.ports["tcp:443"], self.HOST)

    def ask(self, path: str = "/", session: str = "", **fields: str) -> Answer:
        """A request of the client that has this session."""
        if session:
            fields["Cookie"] = f"session={session}"
        return send(self.client, path, "GET", None, **fields)

    def clients(self, count: int = 600) -> dict[str, bool]:
        """Who is at the new version."""
        return {f"s{number}": self.ask(session=f"s{number}").backend == "x" for number in range(count)}

    def test_in_the_clear(self) -> None:
        """Clients are sent to TLS, and from the other name to this one."""
        answer = ask(self.running.ports["tcp:80"], "/a?b", Host=self.HOST)
        self.assertEqual(answer.status, 308)
        self.assertRegex(answer.headers["Location"], r"^https://shop\.example(:\d+)?/a\?b$")
        other = send(self.over_tls(self.running.ports["tcp:443"], "www.shop.example"), "/a?b")
        self.assertEqual((other.status, other.headers["Location"]), (308, "https://shop.example/a?b"))

    def test_what_browsers_are_told(self) -> None:
        """Security headers on all answers, and compression for who takes it."""
        answer = self.ask("/big?size=20000", Accept_Encoding="gzip")
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.assertIn("max-age=31536000", answer.headers["Strict-Transport-Security"])
        text = self.ask("/" + "x" * 2000, Accept_Encoding="gzip")
        self.assertEqual((text.headers["Content-Encoding"], "Accept-Encoding" in text.headers["Vary"]), ("gzip", True))

    def test_shares_and_a_reload(self) -> None:
        """One client in twenty gets the new version and keeps it, also when there are to be more of them."""
        before = self.clients()
        self.assertTrue(10 <= sum(before.values()) <= 60, sum(before.values()))  # 30 are to be expected, 5 deviations off
        self.assertEqual(self.clients(100), dict(list(before.items())[:100]))
        self.running.write(self.running.text.replace("shop = 95, canary = 5", "shop = 70, canary = 30"))
        answer = ask(self.running.admin, "/reload", "POST")
        self.assertEqual(answer.status, 200, answer.body)
        after = self.clients()
        self.assertTrue(120 <= sum(after.values()) <= 240, sum(after.values()))
        self.assertEqual([one for one, at in before.items() if at and not after[one]], [])

    def test_too_many_requests(self) -> None:
        """They are answered 429, and told when to come again; pages are not limited."""
        answers = [self.ask("/api/x", session="a")]
        while answers[-1].status == 200 and len(answers) < 5000:  # a slow machine is given some more meanwhile
            answers.append(self.ask("/api/x", session="a"))
        self.assertGreater(len(answers), 100)
        refused = answers[-1]
        self.assertEqual(refused.status, 429)
        self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
        self.assertIn("r=0", refused.headers["RateLimit"])
        self.assertEqual(self.ask("/page").status, 200)


class Buildbot(ExampleCase):
    """buildbot.toml"""

    HOST = "ci.example"

    def setUp(self) -> None:
        super().setUp()
        self.pages, self.sockets = self.backend(), free_port()
        self.put = {"/etc/lbproxy/ci.example.pem": self.pem(self.HOST), "127.0.0.1:8010": self.pages.place}

    def start(self) -> Running:
        """Run it."""
        running = Running(self, "buildbot.toml", ["tcp:80", "tcp:443", "tcp:8081"], self.put)
        self.client = self.over_tls(running.ports["tcp:443"], self.HOST)
        return running

    def test_the_prefix(self) -> None:
        """It is taken off, Buildbot is told, and who forgets it is sent there."""
        self.start()
        asked = send(self.client, "/buildbot/api/v2/builders?x=1").json()
        self.assertEqual(asked["request"], "GET /api/v2/builders?x=1 HTTP/1.1")
        self.assertIn(["X-Forwarded-Prefix", "/buildbot"], asked["fields"])
        answer = send(self.client, "/")
        self.assertEqual((answer.status, answer.headers["Location"]), (302, "/buildbot/"))
        self.assertEqual(send(self.client, "/elsewhere").status, 404)

    def test_hooks(self) -> None:
        """They are for the forge, by whichever method, and not endless."""
        self.start()
        for method in ("POST", "GET"):
            self.assertEqual(send(self.client, "/buildbot/change_hook/github", method).status, 403, method)
        self.put["192.0.2.0/24"] = f"{LOOPBACK}/32"
        self.start()
        answer = send(self.client, "/buildbot/change_hook/github", "POST", b"{}")
        self.assertEqual(answer.json()["request"], "POST /change_hook/github HTTP/1.1")
        self.assertEqual(send(self.client, "/buildbot/change_hook/github", "POST", bytes((1 << 20) + 1)).status, 413)

    def test_web_sockets_outlive_a_reload(self) -> None:
        """A page stays up to date while the file changes, which is noticed without a word."""
        server = Path(__file__).parent / "integration" / "websocket_server.py"
        Process(self, [sys.executable, str(server), str(self.sockets)])
        eventually("it answers", self._connects)
        probed = {'probe = "http:/"': 'probe = "tcp"', "127.0.0.1:8010": f"{LOOPBACK}:{self.sockets}"}
        self.put |= probed
        running = self.start()
        with self._page(running, "/buildbot/ws") as page:
            page.send("one")
            self.assertEqual(page.recv(PATIENCE), "one")
            running.write(running.text.replace("status = 302", "status = 307"))
            eventually("it is read anew", lambda: running.reloads() == 1)
            page.send("two")
            self.assertEqual(page.recv(PATIENCE), "two")
            self.assertEqual(send(self.over_tls(running.ports["tcp:443"], self.HOST), "/").status, 307)
        with self.assertRaises(InvalidStatus):
            self._page(running, "/buildbot/forbidden")

    def _connects(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.sockets), timeout=1).close()
        except OSError:
            return False
        return True

    def _page(self, running: Running, path: str) -> ClientConnection:
        place = f"wss://{self.HOST}{path}"
        sock = socket.create_connection((LOOPBACK, running.ports["tcp:443"]), timeout=PATIENCE)
        return connect(place, sock=sock, ssl=self.trust, compression=None)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""


class Wsgi(ExampleCase):
    """wsgi.toml"""

    def application(self, name: str) -> Any:
        """A process of the application."""

        def answer(environ: Mapping[str, Any], start: Any) -> list[bytes]:
            start("200 OK", [("Content-Type", "text/plain"), ("X-Backend", name)])
            return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()]

        server = make_server(LOOPBACK, 0, answer, handler_class=_Quiet)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        self.addCleanup(serving.join, PATIENCE)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def test_all_of_it(self) -> None:
        """Processes share the work, files need none of them, what is drained stays so, and a page tells of the end."""
        servers = [self.application(name) for name in "abcd"]
        static = self.folder / "static"
        static.mkdir()
        (static / "site.css").write_text("p {}")
        put = {f"127.0.0.1:800{number}:": f"{LOOPBACK}:{one.server_port}:" for number, one in enumerate(servers, 1)}
        put |= {"/srv/shop/static": str(static), "/var/lib/lbproxy/state.json": str(self.folder / "state.json")}
        running = Running(self, "wsgi.toml", ["tcp:8080", "tcp:8081"], put)
        port = running.ports["tcp:8080"]
        self.assertEqual(sorted({ask(port, "/x").backend for _ in range(12)}), ["a", "b", "c", "d"])
        answers = [future.result(PATIENCE) for future in self.at_once(12, lambda: ask(port, "/y", "POST", b"z"))]
        self.assertEqual({(answer.status, answer.body) for answer in answers}, {(200, b"POST /y")})
        page = ask(port, "/static/site.css")
        self.assertEqual((page.status, page.body, page.headers["Cache-Control"]), (200, b"p {}", "public, max-age=3600"))
        self.assertEqual(ask(port, "/static/nothing").status, 404)
        first = f"{LOOPBACK}:{servers[0].server_port}"
        self.assertEqual(ask(running.admin, f"/backends/{first}/drain", "POST", b"too slow").status, 200)
        eventually("it is kept", lambda: "too slow" in self._kept())
        running.process.signal(15)
        running.process.wait()
        running.process = Process(self, [*TWISTD, "-n", "--pidfile=", "lbproxy", "--config", str(running.path)])
        eventually("it answers again", running._answers)
        self.assertEqual(sorted({ask(port, "/x").backend for _ in range(12)}), ["b", "c", "d"])
        for server in servers:
            server.shutdown()
            server.server_close()
        answer = ask(port, "/x")
        self.assertIn(answer.status, (502, 503))
        self.assertIn(b"The application is being deployed.", answer.body)
        self.assertEqual(ask(port, "/static/site.css").status, 200)

    def _kept(self) -> str:
        path = self.folder / "state.json"
        return path.read_text() if path.exists() else ""


#: What Synapse's documentation says of endpoints, and which pool of the example that means: requests, one of each kind.
C, F = "/_matrix/client", "/_matrix/federation"
SYNAPSE = {
    "sync": (f"GET {C}/v3/sync?since=s1", f"GET {C}/r0/sync?timeout=30000&since=s2", f"GET {C}/v3/events"),
    "initial-sync": (
        f"GET {C}/v3/sync", f"GET {C}/r0/sync?timeout=0", f"GET {C}/v3/initialSync", f"GET {C}/api/v1/rooms/!a:b/initialSync",
    ),
    "federation-inbound": (f"PUT {F}/v1/send/1234",),
    "federation": (
        f"GET {F}/v1/version", f"GET {F}/v1/event/$e", f"GET {F}/v1/state/!r:b", f"GET {F}/v1/state_ids/!r:b",
        f"GET {F}/v1/backfill/!r:b", f"POST {F}/v1/get_missing_events/!r:b", f"GET {F}/v1/publicRooms",
        f"GET {F}/v1/query/profile", f"GET {F}/v1/make_join/!r:b/@u:b", f"GET {F}/v1/make_leave/!r:b/@u:b",
        f"PUT {F}/v2/send_join/!r:b/$e", f"PUT {F}/v1/send_leave/!r:b/$e", f"PUT {F}/v2/invite/!r:b/$e",
        f"GET {F}/v1/event_auth/!r:b/$e", f"GET {F}/v1/timestamp_to_event/!r:b", f"GET {F}/v1/user/devices/@u:b",
        "POST /_matrix/key/v2/query", f"GET {F}/v1/hierarchy/!r:b",
    ),
    "client": (
        f"POST {C}/v3/createRoom", f"GET {C}/v3/publicRooms", f"GET {C}/v3/rooms/!r:b/joined_members",
        f"GET {C}/v3/rooms/!r:b/context/$e", f"GET {C}/v3/rooms/!r:b/members", f"GET {C}/v3/rooms/!r:b/state",
        f"GET {C}/v1/rooms/!r:b/hierarchy", f"GET {C}/v1/rooms/!r:b/relations/$e", f"GET {C}/v1/rooms/!r:b/threads",
        f"GET {C}/v3/account/3pid", f"GET {C}/v3/account/whoami", f"GET {C}/versions", f"GET {C}/v3/voip/turnServer",
        f"GET {C}/v3/rooms/!r:b/event/$e", f"GET {C}/v3/joined_rooms", f"POST {C}/v3/search", f"POST {C}/v3/keys/query",
        f"GET {C}/v3/keys/changes", f"POST {C}/v3/keys/claim", f"PUT {C}/v3/room_keys/keys", f"GET {C}/v3/capabilities",
        f"POST {C}/v3/user/@u:b/filter", f"GET {C}/v3/directory/room/%23a:b", f"POST {C}/v3/user_directory/search",
        f"GET {C}/v3/pushrules/global/", f"GET {C}/v3/presence/@u:b/status", f"GET {C}/v3/user/@u:b/rooms/!r:b/tags",
    ),
    "events": (
        f"PUT {C}/v3/rooms/!r:b/redact/$e/1", f"PUT {C}/v3/rooms/!r:b/send/m.room.message/1",
        f"PUT {C}/v3/rooms/!r:b/state/m.room.name/", f"POST {C}/v3/rooms/!r:b/join", f"POST {C}/v3/join/!r:b",
        f"GET {C}/v3/rooms/!r:b/messages?dir=b", f"POST {C}/v3/knock/!r:b", f"PUT {C}/v3/profile/@u:b/displayname",
        f"PUT {C}/v3/rooms/!r:b/send/m.room.message/typing",
    ),
    "streams": (
        f"PUT {C}/v3/rooms/!r:b/typing/@u:b", f"PUT {C}/v3/sendToDevice/m.x/1", f"POST {C}/v3/rooms/!r:b/receipt/m.read/$e",
        f"POST {C}/v3/rooms/!r:b/read_markers", f"PUT {C}/v3/presence/@u:b/status", f"PUT {C}/v3/pushrules/global/content/x",
        f"PUT {C}/v3/user/@u:b/account_data/m.x", f"PUT {C}/v3/user/@u:b/rooms/!r:b/tags/m.x",
    ),
    "devices": (
        f"POST {C}/v3/delete_devices", f"GET {C}/v3/devices", f"PUT {C}/v3/devices/ABC", f"POST {C}/v3/keys/upload",
        f"POST {C}/v3/keys/device_signing/upload", f"POST {C}/v3/keys/signatures/upload",
    ),
    "login": (f"POST {C}/v3/login", f"POST {C}/v3/register", f"GET {C}/v3/register/available"),
    "media": (
        "POST /_matrix/media/v3/upload", f"GET {C}/v1/media/download/b/x", f"GET {F}/v1/media/download/x",
    ),
    "main": (f"POST {C}/v3/logout", f"GET {F}/v1/openid/userinfo", "GET /_synapse/client/pick_idp", "GET /_matrix/x"),
}  # fmt: skip


class SynapseTable(SynchronousTestCase):
    """synapse_workers.toml, in memory: where each kind of request goes."""

    def setUp(self) -> None:
        self.configuration: Configuration = read_text(text_of("synapse_workers.toml", {})).configuration
        self.site = Site.of(self.configuration, MemoryReactorClock())
        self.pools = {route.name: route.pool for route in self.configuration.routes}

    def pool(self, text: str, headers: Mapping[str, str] | None = None, client: str = "192.0.2.1") -> tuple[str, str]:
        """The pool, and in it the worker, that a request goes to."""
        method, _, target = text.partition(" ")
        asking = Asking(*request_of(f"{method} https://matrix.example{target}", headers or {}, client))
        route = self.site.router.table.find(asking.request, asking.client)
        if route is None:
            return "none", ""
        pool = self.pools[route.name]
        return pool, next(self.site.balancers[pool].pool.candidates(asking)).address

    def test_endpoints(self) -> None:
        """Each goes where the documentation wants it."""
        found = {request: self.pool(request)[0] for requests in SYNAPSE.values() for request in requests}
        self.assertEqual(found, {request: pool for pool, requests in SYNAPSE.items() for request in requests})
        self.assertGreater(len(found), 80)

    def test_endpoints_are_explained(self) -> None:
        """As an operator is told who asks with --explain."""
        for pool, requests in SYNAPSE.items():
            for request in requests:
                method, _, target = request.partition(" ")
                said = explained(self.site, self.configuration, f"{method} https://matrix.example{target}")
                self.assertIn(f"  pool {pool}: 127.0.0.1:", said)

    def test_administration(self) -> None:
        """From inside alone."""
        self.assertEqual(self.pool("GET /_synapse/admin/v1/rooms")[0], "none")
        self.assertEqual(self.pool("GET /_synapse/admin/v1/rooms", client="10.1.2.3")[0], "main")

    def worker(self, text: str, token: str, in_query: bool = False) -> str:
        """Whom a request with this access token goes to."""
        if in_query:
            return self.pool(f"{text}&access_token={token}")[1]
        return self.pool(text, {"Authorization": f"Bearer {token}"})[1]

    def test_all_devices_of_a_user_at_one_worker(self) -> None:
        """However the token is sent; and the users are spread over all of them."""
        sync = f"GET {C}/v3/sync?since=s"
        seen = set()
        for number in range(100):
            user = f"syt_dXNlcj{number}"
            places = {self.worker(sync, f"{user}_abc_1"), self.worker(sync, f"{user}_xyz_2")}
            places.add(self.worker(sync, f"{user}_pqr_3", in_query=True))
            self.assertEqual(len(places), 1, user)
            seen |= places
        self.assertEqual(len(seen), 4)

    def test_a_room_at_one_worker(self) -> None:
        """Whatever is done in it."""
        seen = set()
        for number in range(50):
            room = f"{C}/v3/rooms/!r{number}:b"
            texts = (f"PUT {room}/send/m.x/1", f"PUT {room}/send/m.y/2", f"GET {room}/messages", f"POST {room}/join")
            places = {self.pool(text)[1] for text in texts}
            self.assertEqual(len(places), 1, room)
            seen |= places
        self.assertEqual(len(seen), 2)

    def test_a_homeserver_at_one_worker(self) -> None:
        """By its address."""
        workers = {
            client: {self.pool(f"PUT {F}/v1/send/{turn}", client=client)[1] for turn in range(3)}
            for client in (f"192.0.2.{number}" for number in range(50))
        }
        self.assertEqual({len(one) for one in workers.values()}, {1})
        self.assertEqual(len(set().union(*workers.values())), 2)


class Asking:
    """What policies look at."""

    def __init__(self, request: Any, client: Any) -> None:
        self.request, self.client = request, client


class SynapseRunning(ExampleCase):
    """synapse_workers.toml, over the wire."""

    def test_some_of_it(self) -> None:
        """Workers are asked for what they are for, over TLS alone."""
        workers: list[Backend] = self.backends("msSei")
        places = [("8008", 0), ("8013", 1), ("8037", 2), ("8038", 1), ("8039", 2), ("8020", 3), ("8021", 3), ("8016", 4)]
        put = {f"127.0.0.1:{port}": workers[which].place for port, which in places if port not in ("8038", "8039", "8021")}
        put |= {f', "127.0.0.1:{port}"': "" for port in ("8038", "8039", "8021")}
        put |= {
            "/etc/lbproxy/matrix.example.pem": self.pem("matrix.example"),
            "/var/log/lbproxy/synapse.log": str(self.folder / "synapse.log"),
        }
        put = dict(sorted(put.items(), key=lambda one: not one[0].startswith(", ")))
        running = Running(self, "synapse_workers.toml", ["tcp:80", "tcp:443", "tcp:8448", "tcp:8081"], put)
        connection = self.over_tls(running.ports["tcp:443"], "matrix.example")

        def asked(text: str, token: str = "syt_dXNlcg_abc_1") -> str:
            method, _, path = text.partition(" ")
            return send(connection, path, method, Authorization=f"Bearer {token}").backend

        self.assertEqual(asked(f"POST {C}/v3/logout"), "m")
        self.assertEqual(asked(f"PUT {C}/v3/rooms/!r:b/send/m.x/1"), "e")
        first = asked(f"GET {C}/v3/sync?since=a")
        self.assertIn(first, "sS")
        self.assertEqual({asked(f"GET {C}/v3/sync?since=a", f"syt_dXNlcg_{turn}_x") for turn in range(10)}, {first})
        everybody = {asked(f"GET {C}/v3/sync?since=a", f"syt_u{turn}_a_b") for turn in range(30)}
        self.assertEqual(everybody, {"s", "S"})
        self.assertEqual(asked(f"GET {C}/v3/sync", "syt_i0_a_b"), "i")
        federation = self.over_tls(running.ports["tcp:8448"], "matrix.example")
        self.assertEqual(send(federation, f"{F}/v1/openid/userinfo").backend, "m")
        self.assertEqual(ask(running.ports["tcp:80"], f"{C}/versions", Host="matrix.example").status, 308)
        lines = (self.folder / "synapse.log").read_text
        eventually("it is logged", lambda: "/_matrix/client/v3/logout" in lines())
