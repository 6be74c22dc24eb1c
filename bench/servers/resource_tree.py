"""An application of ``twisted.web`` with a page of its own, and lbproxy's resource for everything else."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.static import Data

from bench.servers.serving import serve
from lbproxy import Backend, LoadBalancerResource, Pool


class Application(Resource):
    """The root of the tree."""

    def __init__(self, balancer: LoadBalancerResource) -> None:
        super().__init__()
        self.balancer = balancer
        about: Any = Data(b"not balanced\n", "text/plain")
        self.putChild(b"about", about)

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Leave to the balancer what is not ours."""
        return self.balancer


def make_resource(reactor: Any, backends: Sequence[str]) -> Application:
    """Make the tree."""
    pool = Pool([Backend.parse(backend) for backend in backends])
    return Application(LoadBalancerResource(pool, reactor=reactor))


if __name__ == "__main__":
    serve(make_resource)
