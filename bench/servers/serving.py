"""What the small servers share: their command line and their site."""

# mypy: allow-untyped-calls

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from bench.connecting import HOST


class QuietSite(Site):
    """A site that keeps no access log: Twisted's own composes each line even with no file to write it to."""

    def log(self, request: Request) -> None:
        """Write nothing."""


def serve(make_resource: Callable[[Any, Sequence[str]], Resource]) -> None:
    """Serve what ``make_resource`` makes of the reactor and the backends, until a signal ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--access-log")
    parser.add_argument("backends", nargs="+", metavar="HOST:PORT")
    options = parser.parse_args()
    reactor = installed_reactor()
    resource = make_resource(reactor, options.backends)
    site = Site(resource, logPath=options.access_log) if options.access_log else QuietSite(resource)
    endpoint = serverFromString(reactor, f"tcp:{options.port}:interface={HOST}:backlog=4096")
    listening = endpoint.listen(site)
    listening.addErrback(give_up, reactor)
    reactor.run()


def installed_reactor() -> Any:
    """Return the reactor; imported here, as importing it installs it."""
    from twisted.internet import reactor

    return reactor


def give_up(failure: Failure, reactor: Any) -> None:
    """Say why the port cannot be listened on, and end."""
    print(failure.getErrorMessage(), file=sys.stderr)
    reactor.callWhenRunning(reactor.stop)
