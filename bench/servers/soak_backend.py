"""A backend for the soak: a thread a connection, one process.

``/slow?seconds=`` answers after a while, ``/big?size=`` with so many bytes, ``/upgrade`` with a 101 and then with all that comes,
``/count`` with the targets that it has seen of late, and anything else with how large the request's body was. It ends by itself
after the time that it was given.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.connecting import HOST

COUNT = "/count"

# Targets that are remembered: more than come between two looks.
REMEMBERED = 100_000


class Backend(ThreadingHTTPServer):
    """The server.

    :ivar seen: targets, the latest last.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), Handler)
        self.seen: deque[str] = deque(maxlen=REMEMBERED)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a balancer's worker that was killed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    server: Backend

    def do_GET(self) -> None:
        """Answer a request."""
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == COUNT:
            self.answer(json.dumps(list(self.server.seen)).encode())
            return
        self.server.seen.append(self.path)
        if url.path == "/upgrade":
            self.tunnel()
        elif url.path == "/big":
            self.answer(bytes(int(query["size"])))
        else:
            time.sleep(float(query.get("seconds", 0)))
            self.answer(json.dumps({"size": self.take()}).encode())

    do_PUT = do_GET

    def take(self) -> int:
        """Read the request's body; return its size."""
        wanted = left = int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read1(min(left, 65536))
            if not data:
                raise ConnectionResetError("the body broke off")
            left -= len(data)
        return wanted

    def answer(self, body: bytes) -> None:
        """Send a whole answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def tunnel(self) -> None:
        """Switch, and send back what comes."""
        self.close_connection = True
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", self.headers["Upgrade"])
        self.end_headers()
        self.wfile.flush()
        while data := self.rfile.read1(65536):
            self.connection.sendall(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep no access log."""


def main() -> None:
    """Serve until a signal or the end of the time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    options = parser.parse_args()
    signal.alarm(options.seconds)
    Backend(options.port).serve_forever()


if __name__ == "__main__":
    main()
