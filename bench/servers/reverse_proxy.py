"""``ReverseProxyResource`` as Twisted has it: one backend, a new connection to it for every request."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.web.proxy import ReverseProxyResource

from bench.servers.serving import serve


def make_resource(reactor: Any, backends: Sequence[str]) -> ReverseProxyResource:
    """Forward everything to the first backend."""
    host, _, port = backends[0].rpartition(":")
    return ReverseProxyResource(host, int(port), b"", reactor=reactor)


if __name__ == "__main__":
    serve(make_resource)
