"""A load balancer as one service of an application, with limits and an observer of its own.

    python examples/service_in_an_application.py [PORT] [BACKENDS]

serves on PORT (8080), balances over BACKENDS (127.0.0.1:8000,127.0.0.1:8001), and prints every exchange that needed more than
one attempt. In a .tac file for ``twistd -ny`` the last block would be ``application = make_application(8080, "…")``.
"""

import sys

from lbproxy import LoadBalancerService, Pool, Settings, parse_backends
from lbproxy.interfaces import IExchangeObserver
from twisted.application.service import Application, IService, IServiceCollection
from twisted.internet import reactor
from zope.interface import implementer


@implementer(IExchangeObserver)
class RetryPrinter:
    """Prints what a client never learns: which backends were tried before one answered."""

    def exchange_finished(self, exchange) -> None:
        """Called for each exchange when it is over; must be quick, as all exchanges wait meanwhile."""
        if len(exchange.attempts) > 1:
            tried = ", ".join(f"{a.member.address} ({a.failure.cause if a.failure else 'answered'})" for a in exchange.attempts)
            print(f"{exchange.request.target.decode('latin-1')} → {exchange.status} after {tried}", flush=True)


def make_application(port: int, backends: str) -> Application:
    """Build the application; nothing listens before it is started."""
    application = Application("shop")
    balancer = LoadBalancerService(
        Pool(parse_backends([backends])),
        listen=(f"tcp:{port}:interface=127.0.0.1",),
        reactor=reactor,
        # Sizes are bytes, times seconds; what is not said here has the default that the README gives.
        settings=Settings(body_limit=10 * 1024 * 1024, max_connections=1000, tunnel_timeout=600, drain=10),
        observers=(RetryPrinter(),),
    )
    balancer.setName("balancer")
    # Other services of the application are added in the same way, and start and stop with this one.
    balancer.setServiceParent(IServiceCollection(application))
    return application


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    application = make_application(port, sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:8000,127.0.0.1:8001")
    service = IService(application)
    service.startService()
    # On a signal the service stops listening, lets running exchanges end, and only then does the reactor stop.
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    listeners = service.getServiceNamed("balancer").addresses()
    print(f"listening on http://127.0.0.1:{listeners[0].port}/", flush=True)
    reactor.run()
