"""A whole site in an application: what a configuration file says, said in Python, with parts that only an application has.

    python examples/site_in_an_application.py [PORT] [BACKENDS]

serves on PORT (8080). /orders is a resource of twisted.web in this process, everything else goes to BACKENDS
(127.0.0.1:8000,127.0.0.1:8001), and a filter of its own marks every answer. POST /orders/move?to=BACKENDS lets the site go by
another configuration while it runs: open connections, and what is known of the backends that stay, are not touched.
"""

import sys

from lbproxy import Configuration, Filter, LoadBalancerService, Match, PoolConfiguration, Route, Settings, filter_spec
from lbproxy.errors import ConfigurationError
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET


class Mark(Filter):
    """Makes a filter, and is one: it keeps nothing, so one object does for all routes that pass it."""

    type = "mark"

    def make(self, context) -> Filter:
        """Called when the site comes to this filter; the context has the reactor, a clock, and more."""
        return self

    def response(self, passage, head) -> None:
        """Called for each response's head: lines are added, each ended by CRLF."""
        head.fields += b"X-Site: orders and more\r\n"


class Orders(Resource):
    """The application's own part; the route's prefix is taken off before it is asked."""

    def __init__(self, mover) -> None:
        super().__init__()
        self.putChild(b"", self)
        self.putChild(b"move", mover)

    def render_GET(self, request) -> bytes:
        """Called for each request."""
        return b"no orders yet\n"


class Mover(Resource):
    """Lets the service go by a configuration with other backends."""

    isLeaf = True
    service: LoadBalancerService

    def render_POST(self, request) -> int:
        """Answer when it has been done, or has been refused."""
        backends = request.args.get(b"to", [b""])[0].decode()
        try:
            configuration = make_configuration(self.service.configuration.listen, backends)
        except ConfigurationError as error:
            self.answer(request, 400, [str(error)])
            return NOT_DONE_YET
        self.service.reload(configuration).addCallback(
            lambda result: self.answer(request, 200 if result.ok else 409, result.differences if result.ok else result.errors)
        )
        return NOT_DONE_YET

    def answer(self, request, status: int, lines) -> None:
        """Say what has changed, or what is wrong."""
        request.setResponseCode(status)
        request.write("".join(f"{line}\n" for line in lines).encode())
        request.finish()


MARK = Mark()


def make_configuration(listen, backends: str) -> Configuration:
    """What a file would say, as values; whatever is wrong with them is said by a ConfigurationError."""
    return Configuration(
        listen=listen,
        # Said of the whole, and of pools that have no settings of their own.
        settings=Settings(retries=2, connect_timeout=1.0),
        pools=[PoolConfiguration(name="app", backends=backends.split(","), policy="two-choices")],
        filters={"mark": MARK, "limit": filter_spec("rate-limit", rate=100, burst=200)},
        default_filters=["mark"],
        routes=[
            Route(match=Match(path_prefix="/orders"), resource="orders"),
            Route(match=Match(path="/old"), redirect="/orders"),
            Route(pool="app", filters=["limit", filter_spec("compression")]),
        ],
    )


def make_service(port: str, backends: str) -> LoadBalancerService:
    """Build the service; nothing listens before it is started. It goes into any application with setServiceParent."""
    mover = Mover()
    resources = {"orders": Orders(mover)}
    configuration = make_configuration([f"tcp:{port}:interface=127.0.0.1"], backends)
    mover.service = LoadBalancerService.of(configuration, reactor=reactor, resources=resources)
    return mover.service


if __name__ == "__main__":
    port, backends = [*sys.argv[1:], *["8080", "127.0.0.1:8000,127.0.0.1:8001"][len(sys.argv) - 1 :]]
    try:
        service = make_service(port, backends)
    except ConfigurationError as error:
        sys.exit(str(error))
    service.startService()
    # On a signal the service stops listening, lets running exchanges end, and only then does the reactor stop.
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    print(f"listening on http://127.0.0.1:{service.addresses()[0].port}/", flush=True)
    reactor.run()
