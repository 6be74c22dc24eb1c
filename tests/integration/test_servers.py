"""In front of servers whose HTTP nobody here wrote: files through the balancer are the files that they serve."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import socket
import sys

from twisted.trial.unittest import SkipTest

from .support import LOOPBACK, TWISTD, IntegrationTestCase, Process, ask, eventually, free_port, send

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
    gzip on;
    gzip_types text/plain;
    gzip_min_length 1;
    server {{
        listen {host}:{port};
        root {folder}/files;
        default_type text/plain;
        location /moved {{ return 301 /small; }}
    }}
}}
"""


class FileServerTestCase(IntegrationTestCase):
    """A folder with two files, and a server for it behind a balancer."""

    def setUp(self) -> None:
        super().setUp()
        self.small, self.large = b"small file\n", os.urandom(1 << 20)
        self.files = self.folder / "files"
        self.files.mkdir()
        (self.files / "small").write_bytes(self.small)
        (self.files / "large").write_bytes(self.large)
        self.server_port = free_port()

    def serve(self, command: list[str]) -> None:
        """Start the server, which listens on ``server_port``, and a balancer, on ``port``."""
        process = Process(self, command)
        eventually(f"{command[0]} listens", lambda: process.ended or self.listens())
        self.assertFalse(process.ended, process.output)
        self.port = self.balancer(backends=[f"{LOOPBACK}:{self.server_port}"]).port

    def listens(self) -> bool:
        """Whether the server takes connections."""
        try:
            socket.create_connection((LOOPBACK, self.server_port), timeout=1).close()
        except OSError:
            return False
        return True

    def check_files(self) -> None:
        """GET, HEAD, a condition and an error, over one connection."""
        connection = self.connection(self.port)
        for _ in range(3):
            self.assertEqual(send(connection, "/small").body, self.small)
            first = send(connection, "/large")
            self.assertEqual(hashlib.sha256(first.body).digest(), hashlib.sha256(self.large).digest())
            answer = send(connection, "/large", "HEAD")
            self.assertEqual((answer.status, answer.headers["Content-Length"], answer.body), (200, str(1 << 20), b""))
            answer = send(connection, "/large", "GET", None, **{"If-Modified-Since": str(first.headers["Last-Modified"])})
            self.assertEqual((answer.status, answer.body), (304, b""))
            self.assertAnswered(send(connection, "/none"), 404)

    def check_ranges(self) -> None:
        """One range, several, and one that cannot be."""
        connection = self.connection(self.port)
        answer = send(connection, "/large", Range="bytes=1000-1999")
        self.assertEqual((answer.status, answer.body), (206, self.large[1000:2000]))
        answer = send(connection, "/large", Range="bytes=0-9,100-109")
        self.assertEqual(answer.status, 206)
        self.assertIn(self.large[100:110], answer.body)
        self.assertAnswered(send(connection, "/large", Range="bytes=9999999-"), 416)


class PythonServerTests(FileServerTestCase):
    """Servers that are at hand wherever this runs."""

    def test_python_http_server(self) -> None:
        """It speaks HTTP/1.0 and closes each connection; clients keep theirs."""
        self.serve([sys.executable, "-m", "http.server", str(self.server_port), "--bind", LOOPBACK, "-d", str(self.files)])
        self.check_files()

    def test_twisted_web(self) -> None:
        """As ``twistd web`` serves files."""
        listen = f"tcp:{self.server_port}:interface={LOOPBACK}"
        self.serve([*TWISTD, "-n", "--pidfile=", "web", "--listen", listen, "--path", str(self.files)])
        self.check_files()
        self.check_ranges()


class NginxTests(FileServerTestCase):
    """nginx."""

    def setUp(self) -> None:
        super().setUp()
        nginx = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
        if nginx is None:
            raise SkipTest("nginx is not installed")
        configuration = self.folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(folder=self.folder, host=LOOPBACK, port=self.server_port))
        self.serve([nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(configuration)])

    def test_files_conditions_and_ranges(self) -> None:
        """Byte for byte, over one connection; 304 also on If-None-Match."""
        self.check_files()
        self.check_ranges()
        connection = self.connection(self.port)
        answer = send(connection, "/large", "GET", None, **{"If-None-Match": str(send(connection, "/large").headers["ETag"])})
        self.assertEqual((answer.status, answer.body), (304, b""))

    def test_fields_are_those_of_nginx(self) -> None:
        """In their order, none added and none lost but those of the connection."""
        through, direct = ask(self.port, "/small"), ask(self.server_port, "/small")
        ours = [(name, value) for name, value in through.headers.items() if name not in ("Connection", "Date")]
        theirs = [(name, value) for name, value in direct.headers.items() if name not in ("Connection", "Date")]
        self.assertEqual(ours, theirs)

    def test_chunked_answers(self) -> None:
        """nginx compresses on the fly, without a length."""
        connection = self.connection(self.port)
        for _ in range(3):
            answer = send(connection, "/small", Accept_Encoding="gzip")
            self.assertEqual((answer.headers["Transfer-Encoding"], answer.headers["Content-Encoding"]), ("chunked", "gzip"))
            self.assertEqual(gzip.decompress(answer.body), self.small)

    def test_errors_and_redirects_are_passed_on(self) -> None:
        """They are the backend's answers like any other, and say nothing against it."""
        connection = self.connection(self.port)
        for path, method, status in (("/none", "GET", 404), ("/small", "POST", 405), ("/moved", "GET", 301)):
            answer = send(connection, path, method, b"" if method == "POST" else None)
            self.assertAnswered(answer, status)
            self.assertIn("nginx", answer.headers["Server"])
        self.assertAnswered(ask(self.port, "/small"))
