"""Backends over TLS, real ones: who is connected to, what is said of those who are not the right ones, and what is resumed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import trustme
from twisted.trial.unittest import SkipTest

from .support import LOOPBACK, IntegrationTestCase, LoadBalancer, Process, ask, eventually, free_port, talk

SERVER = Path(__file__).with_name("tls_server.py")
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1;
    server {{
        listen {host}:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols {protocols};
        ssl_session_tickets on;
        default_type text/plain;
        location / {{ return 200 "$ssl_server_name $ssl_session_reused $ssl_protocol"; }}
    }}
}}
"""


class TlsBackendCase(IntegrationTestCase):
    """An authority, another one, and servers with certificates of theirs."""

    def setUp(self) -> None:
        super().setUp()
        self.ours, self.theirs = trustme.CA(), trustme.CA(organization_name="theirs")
        self.ca = self.write("ca.pem", self.ours.cert_pem)

    def write(self, name: str, blob: trustme.Blob) -> str:
        """A file in the test's folder."""
        path = self.folder / name
        blob.write_to_path(path)
        return str(path)

    def certificate(self, *names: str, by: trustme.CA | None = None) -> str:
        """A file with a certificate for these names, and its key."""
        made = (by or self.ours).issue_cert(*names)
        return self.write(f"{names[0]}-{len(os.listdir(self.folder))}.pem", made.private_key_and_cert_chain_pem)

    def run_server(self, port: int, certificate: str, *clients: str) -> Process:
        """Start the server, and wait until it listens."""
        process = Process(self, [sys.executable, str(SERVER), str(port), certificate, *clients])
        eventually("the server listens", lambda: process.ended or listens(port))
        self.assertFalse(process.ended, process.output)
        return process

    def serve(self, certificate: str, *clients: str) -> int:
        """Start a server on a free port."""
        port = free_port()
        self.process = self.run_server(port, certificate, *clients)
        return port

    def before(self, port: int, said: str = ":verify-name=a.example", *options: str) -> LoadBalancer:
        """A balancer with that one backend. It is not probed but at the start, so that what is known of it is from traffic."""
        place = f"https://{LOOPBACK}:{port}{said}"
        return self.balancer("--backend-ca", self.ca, "--probe-interval", "3600", *options, backends=[place])

    def about(self, balancer: LoadBalancer) -> Any:
        """What ``/status`` says of the backend."""
        return balancer.pool()["backends"][0]


def listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


class PythonTests(TlsBackendCase):
    """Python's own ``ssl``."""

    def test_requests_are_answered_and_sessions_resumed(self) -> None:
        """Over new connections and over kept ones; the server is asked for by the name that it must have."""
        port = self.serve(self.certificate("a.example"))
        balancer = self.before(port)
        first, second, third = (ask(balancer.port, path).json() for path in ("/close", "/close", "/"))
        self.assertEqual((first["name"], first["protocol"], first["version"]), ("a.example", "http/1.1", "TLSv1.3"))
        self.assertEqual([one["reused"] for one in (first, second, third)], [False, True, True])
        self.assertEqual(ask(balancer.port, "/").json()["handshakes"], third["handshakes"])
        about = self.about(balancer)
        self.assertEqual((about["scheme"], about["verify"], about["verify_name"]), ("https", True, "a.example"))
        self.assertEqual(about["state"], "up")

    def test_a_wrong_name(self) -> None:
        """It gets no request, and /status says whose certificate it has."""
        balancer = self.before(self.serve(self.certificate("b.example")))
        answer = ask(balancer.port, "/")
        self.assertEqual(answer.status, 503)
        reason = "the certificate is for b.example, not for a.example"
        about = self.about(balancer)
        self.assertEqual(about["state"], "down")
        self.assertIn(reason, about["reason"])

    def test_traffic_finds_it_too(self) -> None:
        """A probe that only connects finds nothing wrong; the exchange does, and says so."""
        balancer = self.before(self.serve(self.certificate("b.example")), ":verify-name=a.example", "--probe", "tcp")
        balancer.wait_probed()
        self.assertEqual(self.about(balancer)["state"], "up")
        self.assertEqual(ask(balancer.port, "/").status, 503)
        about = self.about(balancer)
        self.assertEqual((about["state"], about["source"]), ("down", "traffic"))
        self.assertEqual(about["reason"], "tls: the certificate is for b.example, not for a.example")

    def test_a_wrong_authority(self) -> None:
        """The same; with verify=off it serves, and the log and /status say that anybody would."""
        port = self.serve(self.certificate("a.example", by=self.theirs))
        balancer = self.before(port)
        self.assertEqual(ask(balancer.port, "/").status, 503)
        self.assertIn("signed by no authority that is trusted here", self.about(balancer)["reason"])
        careless = self.before(port, ":verify=off")
        self.assertEqual(ask(careless.port, "/").status, 200)
        self.assertIs(self.about(careless)["verify"], False)
        self.assertIn(f"are not verified (:verify=off), so that anybody could be in their place: {LOOPBACK}:{port}",
                      careless.process.output)  # fmt: skip

    def test_a_server_without_tls(self) -> None:
        """It is never spoken to in the clear."""
        backend = self.backend("a")
        balancer = self.before(int(backend.place.rpartition(":")[2]), ":verify=off")
        self.assertEqual(ask(balancer.port, "/").status, 503)
        self.assertIn("the backend does not speak TLS", self.about(balancer)["reason"])
        self.assertFalse([one for one in backend.seen()["requests"] if "GET" in one and "/count" not in one])

    def test_a_certificate_is_demanded(self) -> None:
        """Without ours the server refuses, and /status says so; with it, it knows us. In TLS 1.3 it refuses while our request is
        on its way, and a reset for that may overtake its reason."""
        clients = self.write("clients.pem", self.theirs.cert_pem)
        port = self.serve(self.certificate("a.example"), clients)
        balancer = self.before(port, ":verify-name=a.example", "--probe", "tcp")


        def told() -> bool:
            self.assertIn(ask(balancer.port, "/").status, (502, 503))
            return "certificate required" in self.about(balancer)["reason"]

        eventually("it is told that a certificate is wanted", told)
        shown = self.certificate("balancer.example", by=self.theirs)
        known = self.before(port, ":verify-name=a.example", "--backend-certificate", shown)
        for reused in (False, True):
            answer = ask(known.port, "/close").json()
            self.assertEqual(answer["client"]["subjectAltName"], [["DNS", "balancer.example"]])
            self.assertEqual(answer["reused"], reused)

    def test_one_that_is_killed_and_comes_back(self) -> None:
        """It is down, and up again, with a session that it does not know any more."""
        port, certificate = free_port(), self.certificate("a.example")
        process = self.run_server(port, certificate)
        place = f"https://{LOOPBACK}:{port}:verify-name=a.example"
        balancer = self.balancer("--backend-ca", self.ca, "--probe-interval", "0.1", backends=[place])
        self.assertEqual(ask(balancer.port, "/").status, 200)
        process.signal(signal.SIGKILL)
        process.wait()
        eventually("it is down", lambda: self.about(balancer)["state"] == "down")
        self.assertEqual(ask(balancer.port, "/").status, 503)
        self.run_server(port, certificate)
        eventually("it is up", lambda: self.about(balancer)["state"] == "up")
        self.assertEqual(self.about(balancer)["reason"], "probe: connected with TLSv1.3")
        self.assertFalse(ask(balancer.port, "/close").json()["reused"])
        self.assertTrue(ask(balancer.port, "/close").json()["reused"])

    def test_bodies_that_end_with_the_connection(self) -> None:
        """With the session's end they are whole; without it the client's connection is reset."""
        balancer = self.before(self.serve(self.certificate("a.example")))
        self.assertIn(b'"a.example"', talk(balancer.port, b"GET /until-close HTTP/1.0\r\nHost: a\r\n\r\n"))
        self.assertRaises(ConnectionResetError, talk, balancer.port, b"GET /cut HTTP/1.0\r\nHost: a\r\n\r\n")

    def test_probes(self) -> None:
        """Of the same certificate, by a handshake and by a page."""
        port = self.serve(self.certificate("a.example"))
        for text, words in (("tls", "probe: connected with TLSv1.3"), ("https:/", "probe: 200 in ")):
            balancer = self.before(port, ":verify-name=a.example", "--probe", text)
            balancer.wait_probed()
            self.assertIn(words, self.about(balancer)["reason"])
            balancer = self.before(port, ":verify-name=b.example", "--probe", text)
            balancer.wait_probed()
            about = self.about(balancer)
            self.assertEqual((about["state"], about["reason"]),
                             ("down", "probe: the certificate is for a.example, not for b.example"))  # fmt: skip


class NginxTests(TlsBackendCase):
    """nginx."""

    def setUp(self) -> None:
        super().setUp()
        nginx = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
        if nginx is None:
            raise SkipTest("nginx is not installed")
        self.nginx = nginx

    def test_sessions_are_resumed(self) -> None:
        """In TLS 1.2 and in 1.3, as nginx sees it."""
        for protocol in ("TLSv1.2", "TLSv1.3"):
            port = free_port()
            configuration = self.folder / f"{protocol}.conf"
            certificate = self.certificate("a.example")
            configuration.write_text(
                CONFIGURATION.format(
                    folder=self.folder, host=LOOPBACK, port=port, certificate=certificate, protocols=protocol
                )
            )
            process = Process(self, [self.nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(configuration)])
            eventually("nginx listens", lambda process=process, port=port: process.ended or listens(port))  # type: ignore[misc]
            self.assertFalse(process.ended, process.output)
            balancer = self.before(port)
            answers = [ask(balancer.port, "/").body.decode() for _ in range(3)]
            self.assertEqual(answers, [f"a.example {reused} {protocol}" for reused in (".", "r", "r")])
