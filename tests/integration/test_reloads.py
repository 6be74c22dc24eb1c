"""A hundred reloads under load, each changing another thing: nobody notices whom it does not concern."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trustme
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from .support import (
    LOOPBACK,
    PATIENCE,
    TWISTD,
    Backend,
    IntegrationTestCase,
    Process,
    ask,
    eventually,
    free_port,
    send,
)

#: How many reloads; in how many seconds at most.
RELOADS = int(os.environ.get("LBPROXY_RELOADS", "100"))
SECONDS = 60
#: Seconds from one reload to the next, if it does not take longer.
PACE = 0.16
#: After so many that go well, one that does not.
MISTAKE_EVERY = 20
#: Connections that requests at the same time may need more than there were when the first reload came.
CLIENTS = 10
NAME = "www.example.com"
MIB = 1 << 20

#: What an edit of the file is to make known: of each difference a pattern.
Expected = tuple[str, ...]


class Site:
    """A configuration file that changes, one thing at a time."""

    def __init__(self, case: ReloadsCase) -> None:
        self.case = case
        self.backends = [f"{backend.place}:weight=2" for backend in case.app]
        self.retries = 3
        self.routes = ["/never"]
        self.value = "0"
        self.rate = 1000
        self.listeners = [case.port]
        self.tls_listeners = [case.tls_port]
        self.certificate = case.new_certificate()
        self.policy = "round-robin"
        self.log = ""
        self.extra = False
        self.mirrored = 0
        self.careful = False
        self.mistake = ""

    def write(self) -> None:
        """Put it where it is read, all at once."""
        written = self.case.folder / "lb.toml.new"
        written.write_text("\n".join([*self._top(), *self._pools(), *self._filters(), *self._routes(), ""]))
        os.replace(written, self.case.config)

    def _top(self) -> Iterator[str]:
        yield f"listen = {json.dumps([described(port) for port in self.listeners])}"
        yield f"tls-listen = {json.dumps([described(port) for port in self.tls_listeners])}"
        yield f"certificate = {json.dumps(self.certificate)}"
        yield f"admin = {json.dumps(described(self.case.admin_port))}"
        yield "admin-writable = true"
        yield f"retries = {self.retries}"
        if self.log:
            yield f"access-log = {json.dumps(self.log)}"
        if self.careful:
            yield "default-filters = ['careful']"
        yield self.mistake

    def _pools(self) -> Iterator[str]:
        yield f"[pools.app]\nbackends = {json.dumps(self.backends)}\npolicy = {json.dumps(self.policy)}"
        yield f"[pools.sockets]\nbackends = ['{LOOPBACK}:{self.case.socket_port}']"
        yield f"[pools.still]\nbackends = ['{self.case.still.place}']"
        if self.extra:
            yield f"[pools.extra]\nbackends = ['{self.case.other.place}']"

    def _filters(self) -> Iterator[str]:
        yield f"[filters.limit]\ntype = 'rate-limit'\nrate = {self.rate}\nburst = 100000"
        yield f"[filters.mark]\ntype = 'headers'\nresponse-set = {{ X-Mark = {json.dumps(self.value)} }}"
        yield "[filters.careful]\ntype = 'security-headers'"

    def _routes(self) -> Iterator[str]:
        yield "[[routes]]\nname = 'sockets'\npath-prefix = '/socket'\npool = 'sockets'"
        yield "[[routes]]\nname = 'still'\npath-prefix = '/still'\npool = 'still'"
        if self.extra:
            yield "[[routes]]\nname = 'extra'\npath-prefix = '/extra'\npool = 'extra'"
        for path in self.routes:
            yield f"[[routes]]\nname = 'at {path}'\npath = '{path}'\nanswer = {{ status = 204 }}"
        yield "[[routes]]\nname = 'app'\nfilters = ['limit', 'mark']\npool = 'app'"
        if self.mirrored:
            yield f"mirror = {{ pool = 'still', share = {self.mirrored} }}"

    def changes(self) -> Iterator[Callable[[int], Expected]]:
        """One change after the other, each of another kind than the one before it."""
        return itertools.cycle(
            (
                self.change_weight,
                self.change_routes,
                self.change_filter,
                self.change_backends,
                self.change_certificate,
                self.change_limit,
                self.change_listeners,
                self.change_pools,
                self.change_setting,
                self.change_log,
                self.change_policy,
                self.change_tls_listeners,
                self.change_default_filters,
                self.change_mirror,
            )
        )

    def change_weight(self, turn: int) -> Expected:
        """Another share for the first backend."""
        place = self.case.app[0].place
        self.backends[0] = f"{place}:weight={turn + 3}"
        return (rf"pool app: backend {place}: weight \d+ -> weight {turn + 3}",)

    def change_routes(self, turn: int) -> Expected:
        """A route in the place of the others."""
        gone, self.routes = self.routes, [f"/never/{turn}"] if turn % 2 else [f"/never/{turn}", f"/nowhere/{turn}"]
        return tuple(f"route at {path} (leaves|comes) .*" for path in (*gone, *self.routes))

    def change_filter(self, turn: int) -> Expected:
        """Another value in a filter."""
        self.value = str(turn)
        return (r"filter mark: response-set\.X-Mark .*",)

    def change_limit(self, turn: int) -> Expected:
        """A larger limit."""
        self.rate = 1000 + turn
        return (f"filter limit: rate .* -> {self.rate}",)

    def change_backends(self, turn: int) -> Expected:
        """One backend leaves, or comes back."""
        last = self.case.app[-1].place
        kept = [text for text in self.backends if not text.startswith(last)]
        leaves = len(kept) < len(self.backends)
        self.backends = kept if leaves else [*kept, last]
        return (f"pool app: backend {last} {'leaves' if leaves else 'comes'}",)

    def change_certificate(self, turn: int) -> Expected:
        """Another certificate, in another file."""
        self.certificate = self.case.new_certificate()
        return (f"certificates: files .* -> {self.certificate}",)

    def change_listeners(self, turn: int) -> Expected:
        """A further listener, or none."""
        return self._change_listeners(self.listeners, "")

    def change_tls_listeners(self, turn: int) -> Expected:
        """The same for TLS."""
        return self._change_listeners(self.tls_listeners, r" \(TLS\)")

    def _change_listeners(self, ports: list[int], kind: str) -> Expected:
        if len(ports) > 1:
            return (f"listener {described(ports.pop())}{kind} is closed",)
        ports.append(free_port())
        return (f"listener {described(ports[-1])}{kind} is opened",)

    def change_pools(self, turn: int) -> Expected:
        """A pool with a route to it comes, or leaves."""
        self.extra = not self.extra
        verb = "comes" if self.extra else "leaves"
        return (f"pool extra {verb} .*", rf"route extra {verb} \(to extra\)")

    def change_setting(self, turn: int) -> Expected:
        """A setting of all pools."""
        before, self.retries = self.retries, 4 if self.retries == 3 else 3
        told = f"retries {before} -> {self.retries}"
        pools = ["app", "sockets", "still", *(["extra"] if self.extra else [])]
        return (f"settings: {told}", *(f"pool {pool}: {told}" for pool in pools))

    def change_log(self, turn: int) -> Expected:
        """A log, another one, or none."""
        self.log = "" if self.log.endswith("b.log") else f"{self.case.folder}/{'b' if self.log else 'a'}.log"
        return (f"access-log: .*{re.escape(self.log)}",)

    def change_policy(self, turn: int) -> Expected:
        """Another policy."""
        self.policy = {"round-robin": "two-choices", "two-choices": "least-connections"}.get(self.policy, "round-robin")
        return (f"pool app: policy .* -> {self.policy}",)

    def change_default_filters(self, turn: int) -> Expected:
        """A filter for all routes, or for none."""
        self.careful = not self.careful
        return (f"default-filters: {'none -> careful' if self.careful else 'careful -> none'}",)

    def change_mirror(self, turn: int) -> Expected:
        """A share of what one route gets goes elsewhere as well, or does not."""
        self.mirrored = 0 if self.mirrored else 5
        return ("route app: mirror .*",)

    def mistakes(self) -> Iterator[tuple[str, Any, str]]:
        """What is wrong in a file: which attribute is to be what, and what is said of it."""
        yield "mistake", "retires = 2", r"lb\.toml:\d+: retires: .*retries"
        yield "mistake", "retry-budget = 'much'", r"lb\.toml:\d+: retry-budget: .*much"
        yield "certificate", "/no/such/file.pem", r"/no/such/file\.pem"
        yield "mistake", "[[routes]", r"lb\.toml:\d+"
        yield "listeners", [self.case.port, self.case.socket_port], f"{self.case.socket_port}.*in use"

    def check_in_use(self) -> None:
        """What runs is what the file says."""
        case = self.case
        status = json.loads(ask(case.admin_port, "/status").body)
        app, *others = status["pools"]
        told = {f"{one['address']}:weight={one['weight']}" for one in app["backends"]}
        case.assertEqual(told, {text if "=" in text else f"{text}:weight=1" for text in self.backends})
        case.assertEqual(app["policy"], self.policy)
        case.assertEqual([pool["name"] for pool in others], ["sockets", "still", *(["extra"] if self.extra else [])])
        case.assertEqual({route["name"] for route in status["routes"]}, self._names())
        case.assertEqual([r["mirror"] for r in status["routes"] if r["name"] == "app"], ["still" if self.mirrored else None])
        for port in self.listeners:
            answer = ask(port, "/extra/x")
            case.assertEqual(answer.backend, "other") if self.extra else case.assertIn(answer.backend, "abc")
            case.assertEqual(answer.headers["X-Mark"], None if self.extra else self.value)
            case.assertEqual(answer.headers["X-Frame-Options"], "DENY" if self.careful else None)
        certificate = ssl.PEM_cert_to_DER_cert(certificate_in(Path(self.certificate).read_text()))
        for port in self.tls_listeners:
            case.assertEqual(certificate_at(port, case.trust), certificate)

    def _names(self) -> set[str]:
        return {"sockets", "still", "app", *(f"at {path}" for path in self.routes), *(["extra"] if self.extra else [])}


def certificate_in(text: str) -> str:
    """The first one in a file that begins with its key."""
    return text[text.index("-----BEGIN CERTIFICATE") :]


def certificate_at(port: int, trust: ssl.SSLContext) -> bytes | None:
    """The one that is shown there."""
    with socket.create_connection((LOOPBACK, port), PATIENCE) as plain, trust.wrap_socket(plain, server_hostname=NAME) as secure:
        return secure.getpeercert(binary_form=True)


def described(port: int) -> str:
    """A listener."""
    return f"tcp:{port}:interface={LOOPBACK}"


class Grown:
    """What may only grow, and what must stay, of the backends that no change concerns."""

    def __init__(self, case: ReloadsCase) -> None:
        self._case = case
        self._backends = [case.app[1].place, case.still.place, f"{LOOPBACK}:{case.socket_port}"]
        self._before = self._first = self._now()

    def check_connections(self, most: int) -> None:
        """Those that were kept for the next request have been used for it, whatever was changed meanwhile."""
        for backend, (_, connects) in self._before.items():
            self._case.assertLessEqual(connects - self._first[backend][1], most, backend)

    def _now(self) -> dict[str, list[float]]:
        names = [f"lbproxy_backend_{name}" for name in ("requests_total", "connects_total")]
        found: dict[str, list[float]] = {backend: [] for backend in self._backends}
        changed: dict[str, list[float]] = {backend: [] for backend in self._backends}
        for family in text_string_to_metric_families(ask(self._case.admin_port, "/metrics").body.decode()):
            for sample in family.samples:
                backend = sample.labels.get("backend", "")
                if backend in found and sample.name in names:
                    found[backend].append(sample.value)
                elif backend in found and sample.name in ("lbproxy_backend_up", "lbproxy_backend_last_change_timestamp_seconds"):
                    changed[backend].append(sample.value)
        self._health = changed
        return found

    def check(self, what: str) -> None:
        """They are at least what they were, and nobody's health has been forgotten."""
        health = self._health
        before, self._before = self._before, self._now()
        for backend, counts in self._before.items():
            self._case.assertEqual(len(counts), 2)
            self._case.assertTrue(all(map(float.__le__, before[backend], counts)), (what, backend, before[backend], counts))
        self._case.assertEqual(self._health, health, what)


class Load:
    """Clients that ask without a pause, until they are told to stop.

    :ivar answered: whole answers so far.
    :ivar failed: what went wrong.
    """

    def __init__(self, case: ReloadsCase) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._case = case
        self._counting = threading.Lock()
        self._stopping = threading.Event()
        kinds = (self._get, self._get, self._over_tls, self._upload, self._anew, self._still)
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]
        self._threads += [threading.Thread(target=self._socket, daemon=True) for _ in range(5)]
        for thread in self._threads:
            thread.start()
        case.addCleanup(self.stop)

    def stop(self) -> None:
        """Let each end what it does."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self, kind: Callable[[http.client.HTTPConnection], int]) -> None:
        connection = self._connection(kind)
        while not self._stopping.wait(0.003):
            try:
                status = kind(connection)
            except Exception as error:
                self.failed.append(f"{kind.__name__}: {error!r}")
                connection.close()
                connection = self._connection(kind)
                continue
            if status != 200:
                self.failed.append(f"{kind.__name__}: {status}")
            with self._counting:
                self.answered += 1
        connection.close()

    def _connection(self, kind: Callable[[http.client.HTTPConnection], int]) -> http.client.HTTPConnection:
        if kind == self._over_tls:
            trust = self._case.trust
            return _Named(LOOPBACK, self._case.tls_port, timeout=PATIENCE, context=trust)
        return http.client.HTTPConnection(LOOPBACK, self._case.port, timeout=PATIENCE)

    def _get(self, connection: http.client.HTTPConnection) -> int:
        return send(connection, "/slow?seconds=0.01").status

    def _over_tls(self, connection: http.client.HTTPConnection) -> int:
        return send(connection, "/").status

    def _upload(self, connection: http.client.HTTPConnection) -> int:
        return send(connection, "/", "PUT", bytes(300_000)).status

    def _still(self, connection: http.client.HTTPConnection) -> int:
        return send(connection, "/still").status

    def _anew(self, connection: http.client.HTTPConnection) -> int:
        return ask(self._case.port, "/").status

    def _socket(self) -> None:
        """One WebSocket, from the beginning to the end."""
        try:
            with connect(f"ws://{LOOPBACK}:{self._case.port}/socket", compression=None) as talking:
                for turn in itertools.count():
                    talking.send(str(turn))
                    if talking.recv(PATIENCE) != str(turn):
                        raise AssertionError("another message came back")
                    with self._counting:
                        self.answered += 1
                    if self._stopping.wait(0.05):
                        return
        except Exception as error:
            self.failed.append(f"WebSocket: {error!r}")


class _Named(http.client.HTTPSConnection):
    """Goes to an address, and asks for a name."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=NAME)  # type: ignore[attr-defined]


class ReloadsCase(IntegrationTestCase):
    """A site with everything that can change."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = trustme.CA()
        self.trust = ssl.create_default_context()
        self.authority.configure_trust(self.trust)
        *self.app, self.still, self.other = self.started()
        self.port, self.tls_port, self.admin_port, self.socket_port = (free_port() for _ in range(4))
        server = Path(__file__).with_name("websocket_server.py")
        Process(self, [sys.executable, str(server), str(self.socket_port)])
        self.config = self.folder / "lb.toml"
        self._certificates = itertools.count()

    def started(self) -> list[Backend]:
        """Three backends that all share, one that no change concerns, and one for a pool that comes and leaves."""
        starting = [Backend(self, name) for name in ("a", "b", "c", "still", "other")]
        return [backend.ready() for backend in starting]

    def new_certificate(self) -> str:
        """A certificate for the site in a file of its own."""
        path = self.folder / f"site{next(self._certificates)}.pem"
        self.authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    def start(self) -> Process:
        """Start it, and wait until it answers."""
        process = Process(self, [*TWISTD, "-n", "--pidfile=", "lbproxy", "--config", str(self.config)])
        eventually("the load balancer answers", lambda: process.ended or self._answers())
        self.assertFalse(process.ended, process.output)
        eventually("the WebSocket server answers", lambda: self._connects(self.socket_port))
        return process

    def _answers(self) -> bool:
        try:
            return ask(self.admin_port, "/healthz").status == 200
        except OSError:
            return False

    def _connects(self, port: int) -> bool:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            return False
        return True

    def reloaded(self) -> Any:
        """What ``/status`` says of reloads."""
        return json.loads(ask(self.admin_port, "/status").body)["reload"]

    def metric(self, name: str, **labels: str) -> float:
        """One of all that there are."""
        for family in text_string_to_metric_families(ask(self.admin_port, "/metrics").body.decode()):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        raise AssertionError(f"there is no {name}")


class UnderLoad(ReloadsCase):
    """The promise of a reload: who is not concerned does not notice."""

    def by_post(self) -> tuple[bool, list[str]]:
        """Ask for a reload: how it ended, and the differences or the errors."""
        answer = ask(self.admin_port, "/reload", "POST")
        if answer.status == 200:
            return True, answer.json()["differences"]
        self.assertEqual(answer.status, 422, answer.body)
        return False, answer.body.decode().splitlines()

    def by_signal(self) -> tuple[bool, list[str]]:
        """Signal for one, and see what ``/status`` makes known."""
        before = self.reloaded()["reloads"]
        self.process.signal(signal.SIGHUP)
        last = eventually("it is read anew", lambda: (now := self.reloaded())["reloads"] != before and now["last"])
        return last["ok"], last["differences"] or last["errors"]

    def reload(self, site: Site, change: Callable[[int], Expected], turn: int) -> None:
        """One change that is gone over to, as it says, and nothing else with it."""
        expected = change(turn)
        site.write()
        ok, differences = self._ask()
        self.assertTrue(ok, differences)
        self.assertEqual(len(differences), len(expected), (differences, expected))
        for pattern in expected:
            self.assertTrue(any(re.fullmatch(pattern, one) for one in differences), (pattern, differences))
        site.check_in_use()

    def fail_to_reload(self, site: Site, attribute: str, value: Any, pattern: str) -> None:
        """A file with a mistake is one that changes nothing, and everybody is told."""
        before, right = self.reloaded(), getattr(site, attribute)
        setattr(site, attribute, value)
        site.write()
        setattr(site, attribute, right)
        ok, errors = self._ask()
        self.assertFalse(ok)
        self.assertRegex("\n".join(errors), pattern)
        after = self.reloaded()
        self.assertEqual((after["last"]["ok"], after["last"]["errors"], after["last"]["differences"]), (False, errors, []))
        self.assertEqual(after["reloads"], {**before["reloads"], "failure": before["reloads"]["failure"] + 1})
        self.assertEqual(self.metric("lbproxy_config_reloads_total", result="failure"), after["reloads"]["failure"])
        self.assertEqual(self.metric("lbproxy_config_last_reload_success"), 0)
        site.check_in_use()

    def check_reloads(self, number: int, ask_for_it: Callable[[], tuple[bool, list[str]]]) -> None:
        """So many, under load."""
        self._ask = ask_for_it
        site = Site(self)
        site.write()
        self.process = self.start()
        load = Load(self)
        eventually("the clients are at work", lambda: load.answered > 100 or load.failed)
        grown, mistakes, changes, failures = Grown(self), site.mistakes(), site.changes(), 0
        began, memory = time.monotonic(), []
        for turn in range(1, number + 1):
            if turn % MISTAKE_EVERY == 0 and (mistake := next(mistakes, None)) is not None:
                what, failures = f"mistake {mistake}", failures + 1
                self.fail_to_reload(site, *mistake)
            else:
                change = next(changes)
                what = change.__name__
                self.reload(site, change, turn)
            self.assertEqual(load.failed, [], f"after {turn} reloads, the last one {what}")
            grown.check(what)
            memory.append(self.process.rss())
            time.sleep(max(0.0, began + turn * PACE - time.monotonic()))
        took = time.monotonic() - began
        grown.check_connections(CLIENTS)
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertLess(took, SECONDS * number / 100)
        self.assertEqual(self.reloaded()["reloads"], {"failure": failures, "success": number - failures})
        third = len(memory) // 3
        if third >= 10:
            self.assertLess(max(memory[-third:]), max(memory[:third]) + 8 * MIB, memory)
        self.process.signal(signal.SIGTERM)
        self.process.wait()
        self.assertNotRegex(self.process.output, "Traceback|Unhandled")

    def test_a_hundred_reloads_lose_nothing(self) -> None:
        """No request fails, no WebSocket breaks, memory stays level, and none of them takes long; those with a mistake change
        nothing."""
        self.check_reloads(RELOADS, self.by_post)

    def test_reloads_by_signal_lose_nothing(self) -> None:
        """The same, asked for by SIGHUP."""
        self.check_reloads(RELOADS * 2 // 5, self.by_signal)
