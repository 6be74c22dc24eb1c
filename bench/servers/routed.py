"""lbproxy with as many routes as are asked for, all to one pool."""

# mypy: allow-untyped-calls

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.connecting import HOST
from bench.routing import routes_of
from bench.servers.serving import installed_reactor
from lbproxy import LoadBalancerService, parse_backends
from lbproxy.config.model import Configuration, PoolConfiguration


def make_service(port: int, hosts: int, backends: Sequence[str]) -> LoadBalancerService:
    """Make the service; with no host there are no routes."""
    configuration = Configuration(
        listen=(f"tcp:{port}:interface={HOST}:backlog=4096",),
        pools=(PoolConfiguration(backends=tuple(parse_backends(backends))),),
        routes=tuple(routes_of(hosts)),
    )
    return LoadBalancerService.of(configuration, reactor=installed_reactor())


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
