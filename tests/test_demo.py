"""The demo: backends to look at, and instructions that are true."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from typing import Any

from treq.testing import StubTreq
from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

import lbproxy
from lbproxy import Backend
from lbproxy.demo import AWAY, COUNT, DemoService, ExampleBackend, instructions
from lbproxy.errors import ListenError

from .test_service import Reactor

HOME = os.path.dirname(os.path.dirname(os.path.abspath(lbproxy.__file__)))
PATIENCE = 60


class FreePorts(Reactor):
    """Gives a port of its own to each who asks for any."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        return super().listenTCP(port or 49152 + len(self.ports), factory, backlog, interface)


class ExampleBackendTests(SynchronousTestCase):
    """One example backend."""

    def setUp(self) -> None:
        self.reactor = FreePorts()
        self.backend = ExampleBackend(2, self.reactor)
        self.backend.privilegedStartService()
        self.client: Any = StubTreq(self.backend.site.resource)

    def ask(self, path: str, method: str = "GET", **options: Any) -> str:
        """What it answers."""
        answer = self.successResultOf(self.client.request(method, f"http://shop.example{path}", **options))
        self.assertEqual(answer.code, 200)
        return str(self.successResultOf(answer.text()))

    def test_names_itself(self) -> None:
        """Any page says who answers, so that one sees requests go round."""
        self.assertEqual(self.ask("/any?thing"), "backend 2 of 3, 127.0.0.1:49152: GET /any?thing\n")

    def test_headers(self) -> None:
        """/headers gives back the request's fields."""
        self.assertIn("X-Thing: one\nX-Thing: two\n", self.ask("/headers", headers={"X-Thing": ["one", "two"]}))

    def test_post(self) -> None:
        """A body arrives."""
        self.assertEqual(self.ask("/", "POST", data=b"12345"), "backend 2 of 3, 127.0.0.1:49152: POST with 5 bytes\n")

    def test_slow(self) -> None:
        """/slow takes as long as it is asked to, within bounds."""
        for asked, seconds in (("?seconds=2", 2), ("", 1), ("?seconds=x", 1), ("?seconds=9999", 20), ("?seconds=nan", 0)):
            asking = self.client.get(f"http://shop.example/slow{asked}")
            self.client.flush()
            self.assertEqual([call.getTime() - self.reactor.seconds() for call in self.reactor.getDelayedCalls()], [seconds])
            self.reactor.advance(seconds)
            self.client.flush()
            self.assertEqual(self.successResultOf(asking).code, 200)

    def test_fail(self) -> None:
        """POST /fail closes the port once the answer is on its way, and opens the same one again later."""
        self.assertIn("I close my port for 10 seconds", self.ask("/fail", "POST"))
        self.assertEqual(self.reactor.open_ports, [49152])
        self.reactor.advance(0)
        self.assertEqual(self.reactor.open_ports, [])
        self.reactor.advance(AWAY)
        self.assertEqual(self.reactor.open_ports, [49152])

    def test_port_taken_meanwhile(self) -> None:
        """If something else has the port when it wants to come back, it tries until it has it."""
        self.ask("/fail", "POST")
        self.reactor.occupied.add(49152)
        self.reactor.advance(AWAY)
        self.assertEqual(self.reactor.open_ports, [])
        self.reactor.occupied.clear()
        self.reactor.advance(1)
        self.assertEqual(self.reactor.open_ports, [49152])

    def test_stop_while_away(self) -> None:
        """It does not come back after the end."""
        self.ask("/fail", "POST")
        self.reactor.advance(0)
        self.successResultOf(self.backend.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class StubBalancer(MultiService):
    """Takes the load balancer's place.

    :ivar stopping: fires when it has stopped; set by a test.
    """

    error: Exception | None = None

    def __init__(self, backends: list[Backend]) -> None:
        super().__init__()
        self.backends = backends
        self.stopping: Deferred[None] = succeed(None)

    def addresses(self) -> list[Any]:
        return [IPv4Address("TCP", "0.0.0.0", 8080)]

    def tls_addresses(self) -> list[Any]:
        return []

    def admin_address(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 8081)

    def privilegedStartService(self) -> None:
        if self.error is not None:
            raise self.error

    def stopService(self) -> Deferred[None]:
        return self.stopping


class DemoServiceTests(SynchronousTestCase):
    """The backends with a load balancer in front of them."""

    def setUp(self) -> None:
        self.reactor = FreePorts()
        self.written: list[str] = []
        self.balancers: list[StubBalancer] = []
        self.demo = DemoService(self.make, self.reactor, self.written.append)

    def make(self, backends: list[Backend]) -> StubBalancer:
        self.balancers.append(StubBalancer(backends))
        return self.balancers[-1]

    def test_pool(self) -> None:
        """The load balancer gets the backends with the ports that they have."""
        self.demo.privilegedStartService()
        (balancer,) = self.balancers
        addresses = balancer.backends
        self.assertEqual(addresses, [Backend("127.0.0.1", port) for port in self.reactor.open_ports])
        self.assertEqual(len(addresses), COUNT)

    def test_instructions(self) -> None:
        """What to try is told when it can be tried."""
        self.demo.privilegedStartService()
        self.assertEqual(self.written, [])
        self.demo.startService()
        self.assertEqual(self.written, [instructions(*self.where())])

    def where(self) -> tuple[list[Any], Any]:
        return self.balancers[0].addresses(), self.balancers[0].admin_address()

    def test_occupied(self) -> None:
        """If the load balancer cannot start, the backends are gone as well."""
        self.patch(StubBalancer, "error", ListenError("cannot listen on tcp:8080: Address already in use"))
        self.assertRaises(ListenError, self.demo.startService)
        self.assertEqual((self.reactor.open_ports, self.written), ([], []))

    def test_stop(self) -> None:
        """The backends stay until the load balancer has ended what it had begun."""
        self.demo.startService()
        self.balancers[0].stopping = Deferred()
        stopping = self.demo.stopService()
        self.assertEqual(len(self.reactor.open_ports), COUNT)
        self.balancers[0].stopping.callback(None)
        self.assertEqual(self.reactor.open_ports, [])
        self.successResultOf(stopping)

    def test_port_of_a_backend(self) -> None:
        """That a backend finds no port is an error like any other."""
        self.reactor.occupied.add(49152)
        self.assertRaises(CannotListenError, self.demo.privilegedStartService)


class InstructionsTests(SynchronousTestCase):
    """What to try, for any kind of listener."""

    def test_tcp(self) -> None:
        """All interfaces and the loopback one are called localhost."""
        text = instructions([IPv4Address("TCP", "0.0.0.0", 8080)], IPv4Address("TCP", "127.0.0.1", 8081))
        self.assertIn("  curl http://localhost:8080/  ", text)
        self.assertIn("  curl 'http://localhost:8080/slow?seconds=2'  ", text)
        self.assertIn("  curl -X POST http://localhost:8080/fail  ", text)
        self.assertIn("  curl http://localhost:8081/status  ", text)

    def test_other_addresses(self) -> None:
        """Others are called as they are."""
        text = instructions([IPv6Address("TCP", "2001:db8::1", 80)], UNIXAddress(b"/run/admin.sock"))
        self.assertIn("  curl http://[2001:db8::1]:80/  ", text)
        self.assertIn("  curl --unix-socket /run/admin.sock http://localhost/status  ", text)

    def test_tls(self) -> None:
        """Where TLS is spoken, that is what is tried."""
        tcp, tls = IPv4Address("TCP", "0.0.0.0", 8080), IPv4Address("TCP", "0.0.0.0", 8443)
        text = instructions([tcp, tls], None, [tls])
        self.assertIn("  curl -k https://localhost:8443/  ", text)
        self.assertIn("  curl -k -X POST https://localhost:8443/fail  ", text)
        self.assertIn("curl -k --unix-socket /x https://localhost/  ", instructions([], None, [UNIXAddress(b"/x")]))

    def test_no_admin(self) -> None:
        """Nothing is promised that is not there."""
        self.assertNotIn("/status", instructions([IPv4Address("TCP", "0.0.0.0", 8080)], None))


class ProcessTests(SynchronousTestCase):
    """The README's first command, on free ports."""

    def setUp(self) -> None:
        directory = self.mktemp()
        os.makedirs(directory)
        free = "tcp:0:interface=127.0.0.1"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n"),
                *("lbproxy", "--demo", "--listen", free, "--admin", free),
            ],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": HOME},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        self.addCleanup(self.end)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def read_until(self, word: str) -> str:
        """What it says, up to the line with *word*."""
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if word in line:
                return "".join(lines)
        raise self.failureException(f"{word!r} was not said:\n{''.join(lines)}")

    def test_try_it(self) -> None:
        """What the instructions say to try works, each backend answers, and an interrupt ends it at once."""
        said = self.read_until("Ctrl-C stops it")
        urls = re.findall(r"^  curl '?(http\S+?)'? .*#", said, re.MULTILINE)
        self.assertEqual(len(urls), 7, said)
        for url in urls:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                self.assertEqual(answer.status, 200, url)
        answers = set()
        for _ in range(COUNT):
            with urllib.request.urlopen(urls[0], timeout=PATIENCE) as answer:
                answers.add(answer.read())
        self.assertEqual(len(answers), COUNT)
        self.process.send_signal(signal.SIGINT)
        self.read_until("Server Shut Down")
        self.process.wait(PATIENCE)
