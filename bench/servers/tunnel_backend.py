"""A backend that switches to a WebSocket and then sends without end (``/down``) or only receives (``/up``).

What it sends are no WebSocket frames: a balancer that tunnels does not look into them. Anything else is
answered with the small body that health checks and the start of a measurement want; how many bytes came
through all tunnels so far is told at ``/received``. It ends by itself after five minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.backends import SMALL_BODY
from bench.clients.bounds import MOST_SECONDS, end_in_time
from bench.clients.tunnel import DOWN, UP, look_up_often, receive, send
from bench.connecting import HOST
from bench.handshake import accept_value

RECEIVED = "/received"


class Backend(ThreadingHTTPServer):
    """The server; a thread a connection, and for each tunnel a count that only its own thread changes."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        """Listen on ``port``."""
        super().__init__((HOST, port), Handler)
        self.counts: list[list[int]] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone: TCP health checks do so, and tunnels are cut when time is up."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Backend

    def do_GET(self) -> None:
        """Answer, or switch where a handshake asks for it."""
        key = self.headers.get("Sec-WebSocket-Key")
        if key and self.headers.get("Upgrade") and self.path in (DOWN, UP):
            self.switch(key.encode())
        elif self.path == RECEIVED:
            self.answer(b"%d" % sum(count[0] for count in self.server.counts))
        else:
            self.answer(SMALL_BODY)

    def answer(self, body: bytes) -> None:
        """Send an ordinary response."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def switch(self, key: bytes) -> None:
        """Answer 101, then move bytes until the other side has gone."""
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept_value(key).decode())
        self.end_headers()
        self.close_connection = True
        look_up_often(self.connection)
        count = [0]
        self.server.counts.append(count)
        with suppress(OSError):
            self.move(count)

    def move(self, count: list[int]) -> None:
        """Send or receive; count what is received."""
        end = time.monotonic() + MOST_SECONDS
        if self.path == DOWN:
            for _ in send(self.connection, end):
                pass
        else:
            for received in receive(self.connection, end):
                count[0] += received

    def log_message(self, format: str, *args: Any) -> None:
        """Keep no access log."""


def main() -> None:
    """Serve until a signal or :data:`MOST_SECONDS` end it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    end_in_time(MOST_SECONDS)
    Backend(parser.parse_args().port).serve_forever()


if __name__ == "__main__":
    main()
