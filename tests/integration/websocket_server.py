"""A real WebSocket server for the tests, which is that of the ``websockets`` package: ``python websocket_server.py PORT
[CERTIFICATE]``; with a file that has a key and its certificate it speaks TLS.

It gives every message back. At ``/leave`` it closes after the first, at ``/forbidden`` it refuses the upgrade.
"""

from __future__ import annotations

import ssl
import sys
from http import HTTPStatus

from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve


def converse(connection: ServerConnection) -> None:
    """Give back what comes."""
    for message in connection:
        connection.send(message)
        if connection.request is not None and connection.request.path == "/leave":
            connection.close(4001, "enough")


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    """Who is not to come in."""
    return connection.respond(HTTPStatus.FORBIDDEN, "not you\n") if request.path == "/forbidden" else None


def secure(*certificates: str) -> ssl.SSLContext | None:
    """With the first of them; in the clear without."""
    if not certificates:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates[0])
    return context


if __name__ == "__main__":
    more = {"process_request": refuse, "max_size": None, "compression": None, "ssl": secure(*sys.argv[2:])}
    with serve(converse, "127.0.0.1", int(sys.argv[1]), **more) as server:  # type: ignore[arg-type]
        server.serve_forever()
