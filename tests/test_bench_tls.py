"""``python -m bench tls`` gives everyone the same certificate, speaks with all in the same way, and counts handshakes rightly."""

# mypy: allow-untyped-calls

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store
from twisted.trial.unittest import SynchronousTestCase

from bench import handshakes
from bench.backends import SMALL_BODY
from bench.balancers import Order, base
from bench.balancers.base import Balancer, Launch
from bench.balancers.classic import launch_haproxy, launch_nginx
from bench.balancers.envoy import envoy_listener
from bench.balancers.go import launch_caddy, launch_traefik
from bench.balancers.python import launch_lbproxy
from bench.certificates import NAME, SUITE, VERSION, Tls, numbered_name
from bench.chart import UNITS, panels_of
from bench.clients import handshakes as client
from bench.clients.handshakes import LAST_REQUEST, Shaker, again_and_again, check_negotiated
from bench.command_line import parse
from bench.connecting import HOST, answer_status, connect
from bench.goals import TLS_GOALS
from bench.handshakes import Shaken, first_and_last, handshake_values, read_names, together
from bench.idle import REQUEST, ask
from bench.measure import Reading
from bench.processes import CHECKOUT, Cores, FreePorts, Invalid, run_client
from bench.report import COLUMNS, Run, text_report
from bench.scenarios import SCENARIOS, TLS_SCENARIOS
from bench.suites import PLAIN, TLS
from bench.turns import IN_SHORT, Spread, Summary, plan, summarise

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(SMALL_BODY), SMALL_BODY)


def certificates_in(path: Path) -> list[x509.Certificate]:
    """Read all that a PEM file has."""
    return x509.load_pem_x509_certificates(path.read_bytes())


class WithTls(SynchronousTestCase):
    """Has certificates, with keys that are made quickly."""

    def setUp(self) -> None:
        """Choose a folder for them."""
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        self.tls = Tls(directory, key_type="ecdsa")


class CertificateTests(WithTls):
    """What balancers show, and what clients know."""

    def test_one_file_for_all(self) -> None:
        """A certificate's file has its key, then the certificate, then the authority's, as every balancer takes it."""
        key = load_pem_private_key(self.tls.certificate.read_bytes(), None)
        own, authority = certificates_in(self.tls.certificate)
        self.assertEqual(key.public_key(), own.public_key())
        own.verify_directly_issued_by(authority)

    def test_trusted(self) -> None:
        """Who knows the root only finds the chain to be in order, for the name that clients use."""
        own, authority = certificates_in(self.tls.certificate)
        store = Store(certificates_in(self.tls.root))
        chain = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(NAME)).verify(own, [authority])
        self.assertEqual(len(chain), 3)

    def test_key_types(self) -> None:
        """RSA of 2048 bits unless asked otherwise."""
        rsa_key = certificates_in(Tls(self.tls.directory).certificate)[0].public_key()
        assert isinstance(rsa_key, rsa.RSAPublicKey)
        self.assertEqual(rsa_key.key_size, 2048)
        other = certificates_in(Tls(self.tls.directory, "ecdsa").certificate)[0].public_key()
        self.assertIsInstance(other, ec.EllipticCurvePublicKey)

    def test_many(self) -> None:
        """Each of many certificates has a name of its own; files sort as names are numbered."""
        files = sorted(self.tls.named(12).iterdir())
        self.assertEqual([file.stem for file in files], [numbered_name(number) for number in range(1, 13)])
        for file in files:
            names = certificates_in(file)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            self.assertEqual(names.get_values_for_type(x509.DNSName), [file.stem])

    def test_made_once(self) -> None:
        """Whoever asks again gets the same."""
        before = {file: file.read_bytes() for file in self.tls.named(2).iterdir()}
        self.assertEqual({file: file.read_bytes() for file in self.tls.named(2).iterdir()}, before)

    def test_note(self) -> None:
        """The report's reader is told what was spoken and with which keys."""
        note = Tls(self.tls.directory).note()
        for said in (VERSION, SUITE, "key: RSA 2048 ", "tls-names: ECDSA P-256"):
            self.assertIn(said, note)


class LaunchTests(WithTls):
    """Every balancer is told to speak TLS with clients where that is measured, and only there."""

    def order(self) -> Order:
        """Make an order for one backend."""
        return Order(8443, 8081, ["127.0.0.1:9001"], self.tls.directory, certificate=Path("/made/server.pem"))

    def written(self, launch: Callable[[Order], Launch], file: str) -> tuple[str, str]:
        """Return a balancer's configuration with TLS and without."""
        # It need not be installed here.
        self.patch(base, "find_program", lambda name: f"/usr/bin/{name}")
        orders = self.order(), replace(self.order(), certificate=None)
        texts = []
        for order in orders:
            launch(order)
            texts.append((self.tls.directory / file).read_text())
        return texts[0], texts[1]

    def test_lbproxy(self) -> None:
        """It gets a listener for TLS in place of the other, and the certificate."""
        command = launch_lbproxy(self.order()).command
        self.assertIn("--tls-listen=tcp:8443:interface=127.0.0.1", command)
        self.assertIn("--certificate=/made/server.pem", command)
        self.assertFalse([option for option in command if option.startswith("--listen")])

    def test_files(self) -> None:
        """The others find in their files what makes them speak TLS, and without TLS nothing of it."""
        for launch, file, needed in [
            (launch_nginx, "nginx.conf", "listen 127.0.0.1:8443 ssl backlog"),
            (launch_haproxy, "haproxy.cfg", "bind 127.0.0.1:8443 ssl crt /made/server.pem "),
            (launch_caddy, "Caddyfile", "https://:8443 {\n  bind 127.0.0.1\n  tls /made/server.pem /made/server.pem\n"),
            (launch_traefik, "routes.yaml", '"certFile": "/made/server.pem", "keyFile": "/made/server.pem"'),
        ]:
            secure, plain = self.written(launch, file)
            self.assertIn(needed, secure)
            self.assertNotIn("server.pem", plain)
            self.assertNotIn(needed, plain)

    def test_envoy(self) -> None:
        """Envoy has its own way to say it."""
        (chain,) = envoy_listener(self.order())["filter_chains"]
        self.assertIn("/made/server.pem", json.dumps(chain["transport_socket"]))
        self.assertNotIn("transport_socket", json.dumps(envoy_listener(replace(self.order(), certificate=None))))


class Server:
    """Answers each connection's requests over TLS, until told to stop.

    :ivar accepted: how many handshakes there were.
    """

    def __init__(self, certificate: Path, tickets: int = 2, closes: bool = True, port: int = 0) -> None:
        """Listen, on any port unless told which.

        :param tickets: for a session.
        :param closes: whether a connection ends after one answer.
        """
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.num_tickets = tickets
        self.closes, self.accepted = closes, 0
        self.listener = socket.create_server((HOST, port))
        self.port: int = self.listener.getsockname()[1]

    def serve(self) -> None:
        """Serve one connection after the other; one that fails is the client's to complain of."""
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with contextlib.suppress(OSError), closing(connection):
                self.answer(self.context.wrap_socket(connection, server_side=True))

    def answer(self, connection: ssl.SSLSocket) -> None:
        """Answer until the client, or this server, has enough."""
        with closing(connection):
            self.accepted += 1
            while connection.recv(65536):
                connection.sendall(ANSWER)
                if self.closes:
                    # Says that it was the end, and does not wait to hear the same.
                    connection.settimeout(0)
                    with contextlib.suppress(OSError):
                        connection.unwrap()
                    return


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run a server for a ``with`` block."""
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        # Closing alone does not wake who waits in accept.
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join()


class ClientTests(WithTls):
    """The client that shakes hands."""

    def run_client(self, server: Server, *options: str) -> dict[str, float]:
        """Run it as a process for a moment."""
        given = [f"--port={server.port}", "--connections=1", "--seconds=0.3", *options]
        result: dict[str, float] = run_client("nginx", "handshakes", given, 1, self.tls.environment)
        return result

    def test_full(self) -> None:
        """Each connection is a new session unless asked otherwise, and each is counted."""
        with serving(Server(self.tls.certificate)) as server:
            result = self.run_client(server)
        self.assertEqual((result["handshakes"], result["resumed"]), (server.accepted, 0))
        self.assertGreater(result["handshakes"], 0)
        self.assertGreaterEqual(result["seconds"], 0.3)

    def test_resumed(self) -> None:
        """Asked to resume, all but the first connection do, and that they did is what the session says."""
        with serving(Server(self.tls.certificate)) as server:
            result = self.run_client(server, "--resume")
        self.assertEqual((result["handshakes"], result["resumed"]), (server.accepted, server.accepted - 1))
        self.assertGreater(result["resumed"], 0)

    def test_not_resumed(self) -> None:
        """Where the server gives no tickets, nothing counts as resumed."""
        with serving(Server(self.tls.certificate, tickets=0)) as server:
            result = self.run_client(server, "--resume")
        self.assertEqual(result["resumed"], 0)

    def test_suite(self) -> None:
        """Whatever a server prefers, clients offer only the suite that all are measured with; each connection is looked at."""
        with serving(Server(self.tls.certificate)) as server:
            self.run_client(server)
        config = Path(self.tls.environment["OPENSSL_CONF"]).read_text()
        self.assertIn(f"Ciphersuites = {SUITE}\n", config)

    def test_other_suite(self) -> None:
        """Without that a figure with another suite would not be used."""
        for version, cipher in [("TLSv1.2", (SUITE, "", 128)), (VERSION, ("TLS_AES_256_GCM_SHA384", "", 256)), (None, None)]:
            self.assertRaises(ConnectionError, check_negotiated, version, cipher)
        check_negotiated(VERSION, (SUITE, VERSION, 128))

    def test_kept_alive(self) -> None:
        """A request says that it is the last."""
        self.assertEqual(LAST_REQUEST.count(b"\r\n\r\n"), 1)
        self.assertIn(b"\r\nConnection: close\r\n", LAST_REQUEST)

    def test_no_tls(self) -> None:
        """What a client complains of is said of the balancer."""
        with socket.create_server((HOST, 0)) as listener:
            port = listener.getsockname()[1]
        options = [f"--port={port}", "--connections=2", "--seconds=1"]
        error = self.assertRaises(Invalid, run_client, "nginx", "handshakes", options, 1)
        self.assertTrue(str(error).startswith("nginx did not shake hands and answer: "), str(error))

    def test_silent(self) -> None:
        """A server that never answers ends the client, with an error."""
        self.patch(client, "LONGEST_ANSWER", 0.05)
        with socket.create_server((HOST, 0)) as listener:
            self.assertRaises(OSError, Shaker(listener.getsockname()[1], NAME, False))

    def test_bounded(self) -> None:
        """It acts until its time is over or it has done enough, whichever comes first."""
        for end, most, expected in [(4.5, 100, 3), (1000.0, 7, 7)]:
            clock = itertools.count()
            took = list(again_and_again(lambda: None, end, most, clock.__next__))
            self.assertEqual(took, [1.0] * expected)


class ConnectTests(WithTls):
    """How clients connect that verify."""

    def test_verified(self) -> None:
        """A balancer counts as started once it answers with the right certificate."""
        with serving(Server(self.tls.certificate)) as server:
            self.assertEqual(answer_status(server.port, secure=self.tls.secure()), 200)

    def test_wrong_certificate(self) -> None:
        """One that shows another certificate has not answered."""
        with serving(Server(self.tls.certificate)) as server:
            self.assertIsNone(answer_status(server.port, secure=self.tls.secure("elsewhere.example")))

    def test_plain(self) -> None:
        """An answer without TLS is none where there should be TLS."""
        with serving(Server(self.tls.certificate)) as server:
            self.assertIsNone(answer_status(server.port))

    def test_idle(self) -> None:
        """Idle connections over TLS are asked as plain ones are, again and again."""
        server = Server(self.tls.certificate, closes=False)
        with serving(server), connect(server.port, 10.0, self.tls.secure()) as connection:
            for _ in range(2):
                self.assertTrue(ask(connection, REQUEST).startswith(b"HTTP/1.1 200"))


class ValuesTests(SynchronousTestCase):
    """What becomes of counts."""

    result = {"handshakes": 1000.0, "resumed": 990.0, "seconds": 2.0, "p50_us": 800.0, "p99_us": 1500.0}

    def test_values(self) -> None:
        """CPU time is divided by the connections, and the share that was resumed stands beside it."""
        values = handshake_values(self.result, 0.5, True)
        self.assertEqual((values["handshake_us"], values["resumed"]), (500.0, 99.0))
        self.assertEqual((values["per_second"], values["core"]), (500.0, 0.25))

    def test_not_resumed(self) -> None:
        """Resumption is not measured where too few sessions were."""
        error = self.assertRaises(Invalid, handshake_values, {**self.result, "resumed": 500.0}, 0.5, True)
        self.assertEqual(str(error), "of 1000 connections 50.0% were resumed")

    def test_resumed_unasked(self) -> None:
        """A full handshake is not measured where one was spared."""
        self.assertRaises(Invalid, handshake_values, {**self.result, "resumed": 1.0}, 0.5, False)
        self.assertEqual(handshake_values({**self.result, "resumed": 0.0}, 0.5, False)["resumed"], 0.0)

    def test_nothing(self) -> None:
        """No handshakes, or no CPU time for them, are no figure."""
        self.assertRaises(Invalid, handshake_values, {**self.result, "handshakes": 0.0}, 0.5, False)
        self.assertRaises(Invalid, handshake_values, self.result, 0.0, False)

    def test_together(self) -> None:
        """Two windows for a name count as one."""
        self.assertEqual(together([Shaken(100, 0, 1.0, 0.1), Shaken(300, 0, 1.0, 0.3)]), Shaken(400, 0, 2.0, 0.4))
        self.assertAlmostEqual(Shaken(400, 0, 2.0, 0.4).each_us, 1000.0)


def serve_names() -> None:
    """Be a balancer with a folder of certificates, which knows the first name only: the arguments are port and folder."""
    Server(sorted(Path(sys.argv[2]).iterdir())[0], port=int(sys.argv[1])).serve()


def launch_names(order: Order) -> Launch:
    """Start that."""
    code = "from tests.test_bench_tls import serve_names; serve_names()"
    return Launch([sys.executable, "-c", code, str(order.port), str(order.certificate)], {"PYTHONPATH": str(CHECKOUT)})


class NamesTests(WithTls):
    """Many names."""

    def setUp(self) -> None:
        """Have handshakes that only the clock of CPU time notices, half as dear again for the last of five names."""
        super().setUp()
        self.hosts: list[str] = []
        self.used = 0.0
        self.patch(handshakes, "shake", self.shake)
        self.patch(handshakes, "cpu_seconds", lambda pid: self.used)

    def shake(self, name: str, port: int, tls: Tls, host: str, seconds: int) -> dict[str, float]:
        """Pretend to shake hands a thousand times."""
        self.hosts.append(host)
        self.used += 1.5 if host == numbered_name(5) else 1.0
        return {"handshakes": 1000.0, "resumed": 0.0, "seconds": 1.0}

    def test_first_and_last(self) -> None:
        """Each name has a window early and one late, so that what drifts meanwhile is the same for both."""
        first, last = first_and_last("fake", 1, 8443, self.tls, 5, 1)
        self.assertEqual([host[5:10] for host in self.hosts[1:]], ["00001", "00005", "00005", "00001"])
        self.assertAlmostEqual(first, 1000.0)
        self.assertAlmostEqual(last, 1500.0)

    def test_read(self) -> None:
        """The balancer is started with one certificate and then with all; its memory is the difference, by name."""
        memory = iter([50_000, 50_400])
        self.patch(handshakes, "private_kib", lambda pid: next(memory))
        self.patch(handshakes, "settled", lambda look: look())
        (port,) = FreePorts().take(1)
        order = Order(port, 0, [], self.tls.directory)
        fake = Balancer("fake", "no balancer", launch_names, lambda: "", lambda: "1")
        cores = frozenset(os.sched_getaffinity(0))
        values = read_names(fake, order, self.tls, 5, Cores(cores, cores), 1)
        self.assertEqual((values["kib_name"], values["name_ratio"]), (100.0, 1.5))
        self.assertGreater(min(values["start_s"], values["start_one_s"]), 0)


class SuiteTests(SynchronousTestCase):
    """What is measured with TLS, and how it is told."""

    def test_names(self) -> None:
        """No scenario of either suite has another's name: reports keep them apart by it."""
        names = [scenario.name for scenario in (*SCENARIOS, *TLS_SCENARIOS)]
        self.assertEqual(len(names), len(set(names)))

    def test_scenarios(self) -> None:
        """All of them, and only they, speak TLS."""
        self.assertTrue(all(scenario.tls for scenario in TLS_SCENARIOS))
        self.assertFalse([scenario.name for scenario in SCENARIOS if scenario.tls])

    def test_who_takes_part(self) -> None:
        """Every server does, but with many names lbproxy alone."""
        turns = plan(TLS.balancers, TLS_SCENARIOS, 1)
        servers = ["lbproxy", "nginx", "haproxy", "envoy", "traefik", "caddy"]
        self.assertEqual([balancer.name for balancer in TLS.balancers], servers)
        for scenario in TLS_SCENARIOS:
            names = [turn.balancer.name for turn in turns if turn.scenario is scenario]
            self.assertEqual(names, ["lbproxy"] if scenario.names else servers)

    def test_goals_name_what_exists(self) -> None:
        """Every goal compares what there is, by a value that has a column; every scenario's is told in short."""
        figures = [figure for goal in TLS_GOALS for figure in (goal.figure, goal.against) if figure]
        self.assertLessEqual({figure.balancer for figure in figures}, {balancer.name for balancer in TLS.balancers})
        self.assertLessEqual({figure.scenario for figure in figures}, {scenario.name for scenario in TLS_SCENARIOS})
        columns = {column.value for column in COLUMNS}
        self.assertLessEqual({figure.value for figure in figures}, columns)
        compared = {scenario.compared for scenario in TLS_SCENARIOS}
        self.assertLessEqual(compared, columns & IN_SHORT.keys())
        self.assertLessEqual({scenario.compared for scenario in TLS_SCENARIOS if not scenario.alone}, UNITS.keys())

    def test_command_line(self) -> None:
        """The first word chooses; the suite brings its scenarios, goals and chart."""
        self.assertIs(parse([]).suite, PLAIN)
        request = parse(["tls", "--quick", "--key-type", "ecdsa"])
        self.assertIs(request.suite, TLS)
        self.assertEqual((request.scenarios, request.balancers), (TLS_SCENARIOS, TLS.balancers))
        self.assertEqual((request.key_type, request.names_key_type, request.rounds), ("ecdsa", "ecdsa", 1))
        self.assertEqual(parse(["tls"]).key_type, "rsa")
        self.assertEqual(TLS.chart, CHECKOUT / "docs" / "tls.png")

    def test_key_type_without_tls(self) -> None:
        """Where no TLS is spoken there is no key to choose, nor one that nobody has."""
        for arguments in (["--key-type", "rsa"], ["tls", "--key-type", "dsa"]):
            self.patch(sys, "stderr", io.StringIO())
            self.assertEqual(self.assertRaises(SystemExit, parse, arguments).code, 2)

    def test_report(self) -> None:
        """A report says what was spoken, and has a table for what was measured."""
        reading = Reading("nginx", "tls-full", 1, {"handshake_us": 800.0, "resumed": 0.0})
        run = Run("2026-01-02", 1, 3, {"nginx": "1"}, {}, [reading], summarise([reading]), [], "TLS: this one")
        text = text_report(run, {"cores": 2})
        self.assertIn("\nTLS: this one\n", text)
        self.assertIn("\ntls-full: a full handshake", text)
        self.assertIn("800 (800 to 800)", text)

    def test_chart(self) -> None:
        """There is a panel for what compares balancers, and none for what lbproxy does alone."""
        values = {"handshake_us": Spread(1.0, 1.0, 1.0), "start_s": Spread(1.0, 1.0, 1.0)}
        summaries = [Summary("lbproxy", scenario, values, 1, ()) for scenario in ("tls-full", "tls-names")]
        self.assertEqual([value for value, _, _ in panels_of(summaries)], ["handshake_us"])
