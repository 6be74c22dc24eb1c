"""``twistd lbproxy --demo``: three small example backends in the same process, and what to try with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from .balance.backend import Backend

__all__ = ["AWAY", "DemoService", "ExampleBackend", "instructions"]

#: How many example backends there are: with two it would not show that requests go round.
COUNT = 3
#: Seconds for which a backend's port stays closed after ``POST /fail``: longer than a probe interval, so that a probe sees it,
#: and short enough to wait for its return.
AWAY = 10.0
#: Seconds until it tries again if something else has taken its port meanwhile.
_TRY_AGAIN = 1.0
#: Seconds that ``/slow`` takes at most, well below the default response time-out.
_SLOWEST = 20.0

_log = Logger()


class BalancerService(Protocol):
    """What is needed of a :class:`~lbproxy.service.LoadBalancerService`."""

    def addresses(self) -> list[IAddress]:
        """Where clients connect."""

    def tls_addresses(self) -> list[IAddress]:
        """Those of them where TLS is spoken."""

    def admin_address(self) -> IAddress | None:
        """Where operators look."""

    def setServiceParent(self, parent: Any) -> None:
        """Become a part of *parent*."""

    def privilegedStartService(self) -> None:
        """Open its ports."""

    def stopService(self) -> Deferred[Any] | None:
        """Let what runs end, and close."""


class _Page(Resource):
    """Says who answers, for whatever path."""

    isLeaf = True

    def __init__(self, backend: ExampleBackend) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._backend = backend

    def render_GET(self, request: Any) -> bytes | int:
        """The pages: ``/headers``, ``/slow``, and any other."""
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        if request.path == b"/headers":
            return _headers(request)
        if request.path == b"/slow":
            return self._slow(request)
        return self._backend.says(f"{request.method.decode('latin-1')} {request.uri.decode('latin-1')}")

    def render_POST(self, request: Any) -> bytes:
        """``/fail``, or what was sent, counted."""
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        if request.path == b"/fail":
            self._backend.go_away()
            return self._backend.says(f"I close my port for {AWAY:g} seconds. Ask again: the others take over.")
        return self._backend.says(f"POST with {len(request.content.read())} bytes")

    def _slow(self, request: Any) -> int:
        try:
            seconds = min(max(0.0, float(request.args.get(b"seconds", [b"1"])[0])), _SLOWEST)
        except ValueError:
            seconds = 1.0
        waiting: Deferred[None] = deferLater(self._backend.reactor, seconds)
        request.notifyFinish().addErrback(lambda _: waiting.cancel())

        def answer(_: None) -> None:
            request.write(self._backend.says(f"that took {seconds:g} seconds"))
            request.finish()

        waiting.addCallbacks(answer, lambda _: None)  # cancelled: nobody waits any more
        return NOT_DONE_YET


def _headers(request: Any) -> bytes:
    """The request's fields, a line each."""
    fields = request.requestHeaders.getAllRawHeaders()
    return b"".join(b"%b: %b\n" % (name, value) for name, values in fields for value in values)


class ExampleSite(Site):
    """Without a log line for each request."""

    noisy = False

    def log(self, request: Request) -> None:
        """Not here: that is the load balancer's business."""


class ExampleBackend(Service):
    """A small web server on a free loopback port, which can be told to go away for a while.

    :param number: its number among :data:`COUNT`, which its pages show.
    :ivar site: what it serves.
    :ivar port: its port, which it keeps when it comes back; 0 before it has started.
    """

    def __init__(self, number: int, reactor: Any) -> None:
        self.number = number
        self.reactor = reactor
        self.port = 0
        self._listening: IListeningPort | None = None
        self._returning: Any = None
        self.site = ExampleSite(_Page(self), reactor=reactor)  # type: ignore[no-untyped-call]
        self._factory: Any = WrappingFactory(self.site)  # wrapped: a Site does not know its connections
        self._factory.noisy = False

    @property
    def backend(self) -> Backend:
        """What the pool is told of it."""
        return Backend("127.0.0.1", self.port)

    def says(self, text: str) -> bytes:
        """A page's text."""
        return f"backend {self.number} of {COUNT}, {self.backend.address}: {text}\n".encode()

    def privilegedStartService(self) -> None:
        """Open its port."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._listen()

    def stopService(self) -> Deferred[Any]:
        """Close its port and its connections."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._returning is not None and self._returning.active():
            self._returning.cancel()
        return self._close()

    def go_away(self) -> None:
        """Close the port and all connections once the answer that is being made is written; come back :data:`AWAY` later."""
        if self._listening is not None:
            self.reactor.callLater(0, self._close)
            self._returning = self.reactor.callLater(AWAY, self._come_back)

    def _listen(self) -> None:
        self._listening = listening = self.reactor.listenTCP(self.port, self._factory, interface="127.0.0.1")
        self.port = listening.getHost().port

    def _come_back(self) -> None:
        try:
            self._listen()
        except CannotListenError as error:
            _log.warn("example backend {number} cannot come back yet: {error}", number=self.number, error=error)
            self._returning = self.reactor.callLater(_TRY_AGAIN, self._come_back)

    def _close(self) -> Deferred[Any]:
        listening, self._listening = self._listening, None
        for wrapper in list(self._factory.protocols):
            wrapper.transport.loseConnection()
        return maybeDeferred(lambda: None if listening is None else listening.stopListening())


class DemoService(MultiService):
    """Example backends, and a load balancer in front of them.

    :param make_balancer: makes a load balancer's service for backends. It is called when the backends' ports are known.
    :param reactor: listens, and gives the time.
    :param write: takes the text on what to try, once everything listens. By default standard output: not ``sys.stdout``, which
        twistd has made a source of its log by then.
    """

    def __init__(
        self,
        make_balancer: Callable[[list[Backend]], BalancerService],
        reactor: Any,
        write: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._make_balancer = make_balancer
        self._write = write
        self.backends = [ExampleBackend(number, reactor) for number in range(1, COUNT + 1)]
        self.balancer: BalancerService | None = None
        for backend in self.backends:
            backend.setServiceParent(self)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """Open the backends' ports, then the load balancer's."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self.balancer = balancer = self._make_balancer([backend.backend for backend in self.backends])
        try:
            balancer.setServiceParent(self)
            balancer.privilegedStartService()
        except Exception:
            for backend in self.backends:
                backend.stopService()
            raise

    def startService(self) -> None:
        """Start, and say what to try."""
        if self.balancer is None:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        assert self.balancer is not None
        text = instructions(self.balancer.addresses(), self.balancer.admin_address(), self.balancer.tls_addresses())
        (_to_standard_output if self._write is None else self._write)(text)

    def stopService(self) -> Deferred[Any]:
        """Stop the load balancer, and its backends when no exchange needs them any more."""
        Service.stopService(self)
        stopping: Deferred[Any] = succeed(None) if self.balancer is None else maybeDeferred(self.balancer.stopService)
        return stopping.addBoth(lambda _: DeferredList([backend.stopService() for backend in self.backends]))


def _to_standard_output(text: str) -> None:
    if sys.__stdout__ is not None:
        sys.__stdout__.write(text)
        sys.__stdout__.flush()


def instructions(listening: list[IAddress], admin: IAddress | None, over_tls: Sequence[IAddress] = ()) -> str:
    """What to try, for people.

    :param listening: where clients connect; the first is shown.
    :param admin: where operators look, if anywhere.
    :param over_tls: where clients connect that speak TLS; the first is shown instead.
    """
    lines = [f"lbproxy demo: {COUNT} example backends behind one load balancer. Try, in another terminal:", ""]
    scheme, options = ("https", "-k ") if over_tls else ("http", "")  # who tries it out has no certificate that curl knows
    for address in (over_tls or listening)[:1]:
        lines += [
            _line(_curl(address, "/", options, scheme), "each backend in turn"),
            _line(_curl(address, "/headers", options, scheme), "what a backend gets to see"),
            _line(_curl(address, "/slow?seconds=2", options, scheme), "an answer that takes its time"),
            _line(_curl(address, "/fail", f"{options}-X POST ", scheme), f"the backend that gets it goes away for {AWAY:g} s:"),
            _line("", "try the first line meanwhile, nobody notices"),
        ]
    if admin is not None:
        lines += [
            _line(_curl(admin, "/status"), "each backend's state, and why it is so"),
            _line(_curl(admin, "/events"), "what changed, when and why; with --admin-writable,"),
            _line("", "POST /backends/ADDRESS/drain takes a backend out"),
            _line(_curl(admin, "/metrics"), "counters, for Prometheus"),
            _line(_curl(admin, "/healthz"), "200 while at least one backend is up"),
        ]
    lines += ["", "Ctrl-C stops it. With your own servers: twistd -n lbproxy --backends HOST:PORT,HOST:PORT", ""]
    return "\n".join(lines)


def _line(command: str, remark: str) -> str:
    return f"  {command:<48}  {'# ' if command else '  '}{remark}"


def _curl(address: Any, path: str, options: str = "", scheme: str = "http") -> str:
    """The command that asks *address* for *path*."""
    host: str | None = getattr(address, "host", None)
    if host is None:  # a Unix socket
        name = address.name
        where = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        return f"curl {options}--unix-socket {where} {_quoted(f'{scheme}://localhost{path}')}"
    if host in ("0.0.0.0", "::", "127.0.0.1", "::1"):
        host = "localhost"
    host = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{host}:{address.port}{path}"
    return f"curl {options}{_quoted(url)}"


def _quoted(url: str) -> str:
    """*url* as a shell takes it."""
    return f"'{url}'" if "?" in url else url
