"""A load balancer as one part of a web site.

    python examples/resource_in_a_site.py [PORT] [BACKENDS]

serves a page of its own at / and hands everything at and below /api to the backends. PORT is 8080 and BACKENDS is
127.0.0.1:8000,127.0.0.1:8001 if they are not given.
"""

import sys

from lbproxy import LoadBalancerResource, Pool, Settings, parse_backends
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data


def make_balancer(reactor, backends: str) -> LoadBalancerResource:
    """The part of the site that is served elsewhere."""
    pool = Pool(parse_backends([backends]), name="api")
    return LoadBalancerResource(pool, reactor=reactor, settings=Settings(retries=2, connect_timeout=1.0))


def make_site(balancer: LoadBalancerResource) -> Site:
    """The whole site."""
    root = Resource()
    root.putChild(b"", Data(b"<p>Served here. The rest is at <a href='/api/'>/api/</a>.</p>\n", "text/html"))
    # The request target goes to the backends as it came: they see /api/users, not /users.
    root.putChild(b"api", balancer)
    return Site(root)


async def main(reactor, port: str = "8080", backends: str = "127.0.0.1:8000,127.0.0.1:8001") -> None:
    """Serve until a signal ends it."""
    balancer = make_balancer(reactor, backends)
    listening = await serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1").listen(make_site(balancer))
    # Probes would begin with the first request; this way a dead backend is known before that.
    balancer.start()
    reactor.addSystemEventTrigger("before", "shutdown", balancer.stop)
    # Port 0 lets the system choose one, so say which it is.
    print(f"listening on http://127.0.0.1:{listening.getHost().port}/", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
