"""Where the load balancer listens: from an endpoint's description to a service that binds or says why it cannot."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.protocols.haproxy import proxyEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from .errors import ConfigurationError, ListenError
from .http1.answers import last_answer
from .http1.factory import ProxyProtocolFactory, SecureFactory
from .ports import PortGroup, accepting, descriptors, let_go
from .role import Role
from .tls.layer import Acceptor, TlsFactory

__all__ = ["DEFAULT_LISTEN", "DEFAULT_TLS_LISTEN", "Listener", "check_endpoints", "descriptors_of", "place_of", "where_to_listen"]

#: Connections that wait to be accepted, where a description does not say (``backlog=``). Twisted's 50 makes a burst of clients
#: that reconnect wait a second or more for a lost SYN (nginx: 511). The system's own limit (net.core.somaxconn) holds as well.
BACKLOG = 1024

DEFAULT_LISTEN = "tcp:8080"
DEFAULT_TLS_LISTEN = "tcp:8443"

# As Twisted finds a plugin: in capitals, too.
_PROXIED = re.compile(r"\Ahaproxy:", re.IGNORECASE)

# What has a handshake of its own.
_WITH_TLS = re.compile(r"\A(?:ssl|tls|txacme|le|lets):", re.IGNORECASE)

#: What a client is told that speaks HTTP where TLS is spoken.
_NOT_TLS = last_answer(400, "this listener speaks TLS only: ask for https")

_log = Logger()


def where_to_listen(
    listen: Sequence[str] | str | None, tls_listen: Sequence[str] | str | None, *, certificates: bool, redirect: bool
) -> tuple[list[str], list[str]]:
    """The descriptions of endpoints for plain HTTP and for TLS, where an operator may have left them to us.

    :param listen: what was said; None: nothing. *tls_listen* likewise.
    :param certificates: whether there are any: then TLS is what is meant.
    :param redirect: whether clients in the clear are sent to TLS.
    """
    if tls_listen is None:
        tls_listen = DEFAULT_TLS_LISTEN if certificates else ()
    # Who has asked for TLS alone is not to serve in the clear beside it, but may send clients from there.
    if listen is None:
        listen = DEFAULT_LISTEN if redirect or not tls_listen else ()
    return _several(listen), _several(tls_listen)


def _several(descriptions: Sequence[str] | str) -> list[str]:
    return [descriptions] if isinstance(descriptions, str) else list(descriptions)


def check_endpoints(
    reactor: Any,
    listen: Sequence[str],
    admin: str | None = None,
    *,
    tls_listen: Sequence[str] = (),
    acceptor: Acceptor | None = None,
    role: Role | None = None,
) -> list[IStreamServerEndpoint]:
    """Make the endpoints of their descriptions, in order: those for plain HTTP, those for TLS, the admin listener's. Nothing is
    opened yet, but certificates are read that descriptions name.

    Descriptions are Twisted's. ``haproxy:`` before one means what it means there: each connection begins with a PROXY protocol
    header, over TLS (``haproxy:ssl:``, ``haproxy:tls:``) inside the session, after its handshake. But clients' connections read
    it themselves: Twisted's wrapper would take the socket and half-closing from them. So such an endpoint takes a
    :class:`~lbproxy.http1.factory.ServerFactory` only, and so does one for TLS. The admin listener, where neither matters, has
    the wrapper.

    :param tls_listen: descriptions of plain endpoints, such as ``tcp:8443``, on which *acceptor*'s sessions are spoken. Behind
        ``haproxy:`` the header comes before the handshake, in the clear, as balancers send it that do not end TLS themselves.
    :param role: makes the plain endpoints; by default they are Twisted's.
    :raises ConfigurationError: with a line for each that cannot be used: the option, what was given, and what is allowed.
    """
    role = Role() if role is None else role
    wanted = [("--listen", description) for description in listen]
    wanted += [("--tls-listen", description) for description in tls_listen]
    if admin is not None:
        wanted.append(("--admin", admin))
    problems = [] if listen or tls_listen else ["--listen: nothing was given; at least one endpoint description is needed"]
    endpoints: list[IStreamServerEndpoint] = []
    for option, description in wanted:
        try:
            if option == "--tls-listen":
                endpoints.append(_tls_endpoint(partial(role.endpoint, reactor), description, acceptor))
            elif option == "--listen":
                endpoints.append(_endpoint(partial(role.endpoint, reactor), description, _ProxyProtocolEndpoint))
            else:
                endpoints.append(_endpoint(partial(role.operators_endpoint, reactor), description, proxyEndpoint))
        except Exception as error:  # parsers, plugins' among them, raise what they like
            port = 8443 if option == "--tls-listen" else 8080
            problems.append(
                f"{option}: {description!r} was given, which cannot be used ({error}); allowed is a Twisted server endpoint "
                f"description, such as tcp:{port}, tcp:{port}:interface=127.0.0.1 or unix:/run/lbproxy.sock"
            )
    if problems:
        raise ConfigurationError("\n".join(problems))
    return endpoints


_Make = Callable[[str], IStreamServerEndpoint]


def _endpoint(make: _Make, description: str, behind_proxy: Callable[[Any], IStreamServerEndpoint]) -> IStreamServerEndpoint:
    """:param make: makes the endpoint of a description.
    :param behind_proxy: makes an endpoint that reads PROXY protocol headers of one that does not.
    """
    # What follows is escaped once, as a description of its own would be: Twisted takes the escapes off and puts them on again.
    inner = _PROXIED.sub("", description, count=1)
    if _PROXIED.match(inner):
        raise ValueError("a connection has one PROXY protocol header")
    endpoint = make(_with_backlog(inner))
    return endpoint if inner == description else behind_proxy(endpoint)


def _tls_endpoint(make: _Make, description: str, acceptor: Acceptor | None) -> IStreamServerEndpoint:
    plain = _PROXIED.sub("", description, count=1)
    if _PROXIED.match(plain):
        raise ValueError("a connection has one PROXY protocol header")
    if _WITH_TLS.match(plain):
        raise ValueError("TLS is spoken here anyway, with what --certificate names; give the place alone")
    if acceptor is None:
        raise ValueError("there is no certificate for it")
    return _TlsEndpoint(make(_with_backlog(plain)), acceptor, plain != description)


@implementer(IStreamServerEndpoint)
class _TlsEndpoint:
    """Listens where another does, for TLS."""

    def __init__(self, endpoint: IStreamServerEndpoint, acceptor: Acceptor, proxied: bool) -> None:
        self._endpoint = endpoint
        self._acceptor = acceptor
        self._proxied = proxied

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """Listen; the books of these connections are kept by *protocolFactory* itself."""
        secure = SecureFactory(protocolFactory, self._proxied)
        return self._endpoint.listen(TlsFactory(secure, self._acceptor, in_clear=self._proxied, to_http=_NOT_TLS))


@implementer(IStreamServerEndpoint)
class _ProxyProtocolEndpoint:
    """Listens where another does, for connections that begin with a PROXY protocol header."""

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        self._endpoint = endpoint

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """Listen; the books of these connections are kept by *protocolFactory* itself."""
        return self._endpoint.listen(ProxyProtocolFactory(protocolFactory))


def place_of(description: str) -> str:
    """That of the plain endpoint, by which :class:`~lbproxy.role.Role` is asked for it: without ``haproxy:`` before it, and with
    the backlog."""
    return _with_backlog(_PROXIED.sub("", description, count=1))


def _with_backlog(description: str) -> str:
    kind, *arguments = re.split(r"(?<!\\):", description)
    if kind not in ("tcp", "tcp6", "ssl", "unix") or not all("=" in argument for argument in arguments[1:]):
        return description
    return description if "backlog=" in description else f"{description}:backlog={BACKLOG}"


class Listener(Service):
    """One listening port.

    :func:`twisted.application.strports.service` makes the like, and raises when it cannot bind, as this does; but its error does
    not name the description, and its port cannot be asked for its address.

    :param endpoint: where to listen.
    :param description: the same as the operator wrote it, for errors.
    :param factory: makes its connections.
    :param clock: runs what is to happen in the next turn.
    :ivar port: what listens; None while nothing does.
    :ivar shared: whether others have the same sockets, and go on with them: then what waits is theirs to accept, and the file of
        a Unix socket, with its lock, is theirs as well.
    """

    def __init__(self, endpoint: IStreamServerEndpoint, description: str, factory: IProtocolFactory, clock: IReactorTime) -> None:
        self.description = description
        self.port: IListeningPort | None = None
        self.shared = False
        self.factory = factory
        self._endpoint = endpoint
        self._clock = clock
        self._listening: Deferred[None] | None = None
        self._failure: Failure | None = None

    @property
    def address(self) -> IAddress | None:
        """Where it listens, with the port that the system chose for port 0; None while it does not listen."""
        return None if self.port is None else self.port.getHost()

    @property
    def bound(self) -> bool:
        """Whether it listens, or is about to."""
        return self._listening is not None

    def privilegedStartService(self) -> None:
        """Bind, unless that has been done.

        :raises ListenError: names the description and the cause.
        """
        if self.bound:
            return
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._failure = None
        self.shared = False
        listening: Deferred[IListeningPort] = maybeDeferred(self._endpoint.listen, self.factory)
        self._listening = listening.addCallbacks(self._opened, self._not_opened)
        if self._failure is not None:
            self._listening = None
            error = self._failure.value
            cause = getattr(error, "socketError", error)
            reason = str(getattr(cause, "strerror", None) or cause).rstrip(".")
            raise ListenError(f"cannot listen on {self.description}: {reason}") from error

    def startService(self) -> None:
        """Bind, unless that has been done, and accept."""
        self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        if isinstance(self.port, PortGroup):
            self.port.startListening()

    def stopService(self) -> Deferred[None]:
        """Close the port, if it is open. Fires when it is closed. Connections that wait in its queue are accepted before, unless
        it is :attr:`shared`: they have been made as far as their clients know, and would be reset otherwise."""
        super().stopService()  # type: ignore[no-untyped-call]
        listening, self._listening = self._listening, None
        if listening is None:
            return succeed(None)
        listening.cancel()
        return listening.addCallback(self._close)

    def _opened(self, port: IListeningPort) -> None:
        self.port = port

    def _not_opened(self, failure: Failure) -> None:
        self._failure = failure
        if self._listening is not None and not failure.check(CancelledError):
            # Twisted's own endpoints fail at once; here it is too late to be raised.
            _log.failure("cannot listen on {description}", failure, description=self.description)

    def _close(self, _: None) -> Deferred[None] | None:
        port: Any = self.port
        self.port = None
        if port is None:
            return None
        if self.shared:
            let_go(port)
            return None
        if hasattr(port, "doRead"):
            # Twisted closes its ports in the next turn: this comes right before, so that next to nobody can come between.
            self._clock.callLater(0, _accept_waiting, port)
        closing: Deferred[None] | None = port.stopListening()
        return closing


def descriptors_of(listener: Listener) -> list[tuple[int, int]]:
    """The sockets at which it listens, each with its family, for another process; they stay the listener's. There are none
    while it does not listen."""
    return [] if listener.port is None else descriptors(listener.port)


def _accept_waiting(port: Any) -> None:
    """Accept what waits in a port's queue. Each ``doRead`` of :class:`twisted.internet.tcp.Port` takes ``numberAccepts`` at most,
    and 20 more the next time; the second call finds what has come during the first."""
    for one in [*accepting(port), *accepting(port)]:
        if one.connected:
            one.numberAccepts = BACKLOG
            one.doRead()
