"""lbproxy with as many routes as are asked for, all to one pool."""

# mypy: allow-untyped-calls

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.connecting import HOST
from bench.routing import routes_of
from bench.servers.serving import installed_reactor
from lbproxy import Backend, LoadBalancerService, Pool
from lbproxy.routing.router import LiveRoute
from lbproxy.routing.table import RouteTable


def make_service(port: int, hosts: int, backends: Sequence[str]) -> LoadBalancerService:
    """Make the service; with no host there are no routes."""
    pool = Pool([Backend.parse(backend) for backend in backends])
    listen = [f"tcp:{port}:interface={HOST}:backlog=4096"]
    service = LoadBalancerService(pool, listen, reactor=installed_reactor())
    routes = routes_of(hosts)
    if routes:
        site, target = service.resource.site, service.resource.balancer
        live = {route.name: LiveRoute(route, site.router, (), target) for route in routes}
        site.router.route(RouteTable(routes), live)
        site.forward = site.router.forward
    return service


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("backends", nargs="+", metavar="HOST:PORT")
    options = parser.parse_args()
    service = make_service(options.port, options.hosts, options.backends)
    service.startService()
    reactor = installed_reactor()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
