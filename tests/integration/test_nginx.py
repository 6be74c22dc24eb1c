"""In front of nginx, whose HTTP nobody here wrote."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket

from twisted.trial.unittest import SkipTest

from .support import LOOPBACK, IntegrationTestCase, Process, ask, eventually, free_port, send

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


class NginxTests(IntegrationTestCase):
    """Files that nginx serves, through the balancer, are what nginx serves."""

    def setUp(self) -> None:
        super().setUp()
        nginx = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
        if nginx is None:
            raise SkipTest("nginx is not installed")
        self.small, self.large = b"small file\n", os.urandom(1 << 20)
        (self.folder / "files").mkdir()
        (self.folder / "files" / "small").write_bytes(self.small)
        (self.folder / "files" / "large").write_bytes(self.large)
        self.nginx_port = free_port()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(folder=self.folder, host=LOOPBACK, port=self.nginx_port))
        process = Process(self, [nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(configuration)])
        eventually("nginx listens", lambda: process.ended or self.listens())
        self.assertFalse(process.ended, process.output)
        self.port = self.balancer(backends=[f"{LOOPBACK}:{self.nginx_port}"]).port

    def listens(self) -> bool:
        """Whether nginx takes connections."""
        try:
            socket.create_connection((LOOPBACK, self.nginx_port), timeout=1).close()
        except OSError:
            return False
        return True

    def test_files_are_equal_byte_for_byte(self) -> None:
        """Small and large, over one connection."""
        connection = self.connection(self.port)
        for _ in range(5):
            self.assertEqual(send(connection, "/small").body, self.small)
            self.assertEqual(hashlib.sha256(send(connection, "/large").body).digest(), hashlib.sha256(self.large).digest())

    def test_fields_are_those_of_nginx(self) -> None:
        """In their order, none added and none lost but those of the connection."""
        through, direct = ask(self.port, "/small"), ask(self.nginx_port, "/small")
        ours = [(name, value) for name, value in through.headers.items() if name not in ("Connection", "Date")]
        theirs = [(name, value) for name, value in direct.headers.items() if name not in ("Connection", "Date")]
        self.assertEqual(ours, theirs)

    def test_head(self) -> None:
        """With the file's length, without the file."""
        connection = self.connection(self.port)
        for _ in range(3):
            answer = send(connection, "/large", "HEAD")
            self.assertEqual((answer.status, answer.headers["Content-Length"], answer.body), (200, str(1 << 20), b""))

    def test_not_modified(self) -> None:
        """304 on If-Modified-Since and on If-None-Match, and the connection goes on."""
        connection = self.connection(self.port)
        first = send(connection, "/large")
        for condition in ({"If-Modified-Since": first.headers["Last-Modified"]}, {"If-None-Match": first.headers["ETag"]}):
            answer = send(connection, "/large", **condition)
            self.assertEqual((answer.status, answer.body), (304, b""))
        self.assertAnswered(send(connection, "/small"))

    def test_ranges(self) -> None:
        """One range, several, and one that cannot be."""
        connection = self.connection(self.port)
        answer = send(connection, "/large", Range="bytes=1000-1999")
        self.assertEqual((answer.status, answer.body), (206, self.large[1000:2000]))
        answer = send(connection, "/large", Range="bytes=0-9,100-109")
        self.assertEqual(answer.status, 206)
        self.assertIn(self.large[100:110], answer.body)
        self.assertAnswered(send(connection, "/large", Range="bytes=9999999-"), 416)

    def test_chunked_answers(self) -> None:
        """nginx compresses on the fly, without a length."""
        connection = self.connection(self.port)
        answer = send(connection, "/small", Accept_Encoding="gzip")
        self.assertEqual((answer.headers["Transfer-Encoding"], answer.headers["Content-Encoding"]), ("chunked", "gzip"))
        self.assertEqual(answer.body[:2], b"\x1f\x8b")

    def test_errors_and_redirects_are_passed_on(self) -> None:
        """They are the backend's answers like any other, and say nothing against it."""
        connection = self.connection(self.port)
        for path, method, status in (("/none", "GET", 404), ("/small", "POST", 405), ("/moved", "GET", 301)):
            answer = send(connection, path, method, b"" if method == "POST" else None)
            self.assertAnswered(answer, status)
            self.assertIn("nginx", answer.headers["Server"])
        self.assertAnswered(ask(self.port, "/small"))
