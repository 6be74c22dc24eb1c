"""A server over TLS for the tests, of Python's own ``ssl``: it answers every request with what it knows of the session.

Run as ``python tls_server.py PORT CERTIFICATE [CLIENTS]``: a file with certificate and key, and one with the authorities of
clients' certificates, which are then demanded.
"""

from __future__ import annotations

import http.server
import json
import socketserver
import ssl
import sys
from typing import Any


class Handler(http.server.BaseHTTPRequestHandler):
    """Says what it knows."""

    protocol_version = "HTTP/1.1"
    connection: ssl.SSLSocket

    def do_GET(self) -> None:
        """``/`` keeps the connection, ``/close`` ends it, ``/until-close`` ends the body with it, ``/cut`` breaks that off."""
        about = {
            "reused": self.connection.session_reused,
            "version": self.connection.version(),
            "protocol": self.connection.selected_alpn_protocol(),
            "name": self.server.names[-1],  # type: ignore[attr-defined]
            "client": self.connection.getpeercert(),
            "handshakes": len(self.server.names),  # type: ignore[attr-defined]
        }
        body = json.dumps(about).encode()
        self.send_response(200)
        if self.path in ("/until-close", "/cut"):
            self.close_connection = True
            self.end_headers()
        else:
            self.close_connection = self.path == "/close"
            if self.close_connection:
                self.send_header("Connection", "close")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if self.path != "/cut" and self.close_connection:
            self.connection.unwrap()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: str, certificate: str, clients: str = "") -> None:
        self.names: list[str | None] = []
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = lambda connection, name, _: self.names.append(name)
        if clients:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
        super().__init__(("127.0.0.1", int(port)), Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread."""
        with self.context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Its socket has gone into the session's."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Failed handshakes and connections that were reset are what is tested."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    Server(*sys.argv[1:]).serve_forever(poll_interval=60)
