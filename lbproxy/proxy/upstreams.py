"""Connections to backends: idle ones kept for the next exchange, new ones made. Each leads to one backend and stays with it."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectBindError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ..balance.backend import Backend
from ..balance.state import BackendState
from ..deadlines import DeadlineSweep
from ..endpoints import client_endpoint
from ..errors import ConnectFailed, ConnectTimedOut, NoSocket, TlsFailed
from ..http1.client import UpstreamConnection
from ..http1.head import MessageLimits
from ..http1.upstream import UpstreamTimes
from ..proxy_protocol import proxy_header
from ..settings import Settings
from ..tls.backends import BackendPeer, BackendTls
from ..tls.connecting import connect_tls, session_of
from ..tls.failures import HandshakeFailed
from .client import Client

__all__ = ["Upstreams"]


class Upstreams:
    """All connections to the backends of a pool.

    Idle ones are taken newest first (the oldest is the likeliest to be closed by its backend just now); beyond
    ``settings.upstream_idle`` for one backend the oldest is closed.

    :param reactor: connects.
    :param sweep: watches each connection's deadline.
    :param clock: gives the time; the reactor does if there is none.
    :param tls: how TLS is spoken with backends; by default they must be known to the system's authorities.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        sweep: DeadlineSweep,
        *,
        clock: IReactorTime | None = None,
        tls: BackendTls | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock: IReactorTime = reactor if clock is None else clock
        self._settings = settings
        self._sweep = sweep
        self._idle: dict[str, deque[UpstreamConnection]] = {}
        self._endpoints: dict[str, IStreamClientEndpoint] = {}
        self._limits = MessageLimits.of(settings)
        self._times = UpstreamTimes(*_times(settings))
        self._tls = BackendTls() if tls is None else tls
        self._closing = False

    def configure(self, settings: Settings) -> None:
        """Go by these from now on, with the connections that are open as well. Of idle ones, those are closed that are too many
        now."""
        self._settings = settings
        self._limits.configure(settings)
        self._times.configure(*_times(settings))
        latest = self._clock.seconds() + settings.upstream_idle_timeout
        for kept in self._idle.values():
            while len(kept) > settings.upstream_idle:
                kept.popleft().close()
            for connection in kept:
                connection.deadline = min(connection.deadline, latest)

    def set_tls(self, tls: BackendTls) -> None:
        """Speak TLS in another way from now on. Who was verified in the way before is not taken for verified: idle connections
        are closed at once, and those in use when their exchange is over."""
        self._tls = tls
        for kept in self._idle.values():
            for connection in [one for one in kept if one.peer is not None]:
                kept.remove(connection)
                connection.close()

    def idle(self, member: BackendState) -> UpstreamConnection | None:
        """An idle connection to the backend, or None. One that is to be told by a PROXY protocol header who asks gets none: what
        may be kept was made before its operator wanted that. Nor is one given that was made with other words on TLS, or by other
        files."""
        kept = self._idle.get(member.address)
        backend = member.backend
        if not kept or backend.proxy_protocol:
            return None
        while kept:
            connection = kept.pop()
            peer = connection.peer
            if (connection.backend is backend and (peer is None or not peer.retired)) or self._fits(connection, backend):
                return connection
            connection.close()
        return None

    def _fits(self, connection: UpstreamConnection, backend: Backend) -> bool:
        """Whether a connection that was made before its backend was configured anew is what would be made now."""
        if connection.peer is not (self._tls.peer(backend) if backend.tls else None):
            return False
        connection.backend = backend
        return True

    def idle_count(self, address: str) -> int:
        """How many idle connections are kept for the backend."""
        return len(self._idle.get(address, ()))

    def idle_counts(self) -> dict[str, int]:
        """The same of all backends that have any."""
        return {address: len(kept) for address, kept in self._idle.items() if kept}

    def connect(self, member: BackendState, client: Client) -> Deferred[UpstreamConnection]:
        """Make a new connection.

        :param client: who asks, for a backend that is told so by a PROXY protocol header. Its connection then carries one
            exchange only.
        :return: fires with it, over TLS when that has come about, or errbacks with :class:`ConnectFailed`,
            :class:`ConnectTimedOut` or :class:`TlsFailed`. Can be cancelled.
        """
        member.connects += 1
        address = member.address
        endpoint = self._endpoints.get(address)
        if endpoint is None:
            endpoint = self._endpoints[address] = client_endpoint(self._reactor, member.backend)
        version = member.backend.proxy_protocol
        header = proxy_header(version, client.source, client.destination) if version else b""
        connecting = self._begin(endpoint, member, header)
        connecting.addTimeout(self._settings.connect_timeout, self._clock, _timed_out)
        connecting.addCallbacks(self._connected, self._not_connected, callbackArgs=(header,))
        return connecting

    def _begin(self, endpoint: IStreamClientEndpoint, member: BackendState, header: bytes) -> Deferred[Any]:
        backend = member.backend
        if backend.tls:
            peer = self._tls.peer(backend)
            return connect_tls(endpoint, lambda: self._make(backend, peer), peer, header)
        factory = Factory.forProtocol(lambda: self._make(backend, None))
        factory.noisy = False
        return endpoint.connect(factory)

    def _make(self, backend: Backend, peer: BackendPeer | None) -> UpstreamConnection:
        connection = UpstreamConnection(self, backend.address, self._limits, self._times, self._clock.seconds)
        connection.backend = backend
        connection.peer = peer
        return connection

    def _connected(self, connection: UpstreamConnection, header: bytes) -> UpstreamConnection:
        self._sweep.watched.add(connection)
        transport = connection.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        if header:
            connection.single = True
            if connection.peer is None:  # over TLS it has gone out before
                transport.write(header)
        return connection

    def _not_connected(self, failure: Failure) -> None:
        if failure.check(HandshakeFailed):
            raise TlsFailed(failure.getErrorMessage())
        if failure.check(DeferredTimeoutError, ConnectTimeoutError):
            raise ConnectTimedOut(f"no connection within {self._settings.connect_timeout:g} s")
        if failure.check(ConnectBindError):
            raise NoSocket(failure.getErrorMessage())
        if failure.check(CancelledError):
            raise ConnectFailed("the attempt was given up")
        raise ConnectFailed(failure.getErrorMessage() or repr(failure.value))

    def release(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose exchange is over."""
        if connection.peer is not None:
            _keep_session(connection, connection.peer)
            if connection.peer.tls is not self._tls:
                connection.close()
                return
        if self._closing or not self._settings.upstream_idle:
            connection.close()
            return
        kept = self._idle.get(connection.address)
        if kept is None:
            kept = self._idle[connection.address] = deque()
        kept.append(connection)
        if len(kept) > self._settings.upstream_idle:
            kept.popleft().close()

    def lost(self, connection: UpstreamConnection) -> None:
        """Forget a connection that has ended."""
        self._sweep.watched.discard(connection)
        self._forget(connection)
        if connection.peer is not None:
            _keep_session(connection, connection.peer, over=True)

    def open(self) -> None:
        """Keep connections (again)."""
        self._closing = False

    def closing(self, connection: UpstreamConnection) -> None:
        """Hand out a connection no more that is about to be closed."""
        self._forget(connection)
        if connection.peer is not None:
            _keep_session(connection, connection.peer)

    def _forget(self, connection: UpstreamConnection) -> None:
        kept = self._idle.get(connection.address)
        if kept and connection in kept:
            kept.remove(connection)

    def forget_backend(self, address: str) -> None:
        """A backend has left: close its idle connections, and keep nothing of it."""
        self._endpoints.pop(address, None)
        kept = self._idle.pop(address, deque())
        while kept:
            kept.pop().close()
        self._tls.forget_backend(address)

    def close(self) -> None:
        """Close the idle connections, and each of the others when its exchange is over."""
        self._closing = True
        for kept in self._idle.values():
            while kept:
                kept.pop().close()


def _times(settings: Settings) -> tuple[float, float, float]:
    return settings.response_timeout, settings.idle_timeout, settings.upstream_idle_timeout


def _keep_session(connection: UpstreamConnection, peer: BackendPeer, *, over: bool = False) -> None:
    """Let the next connection to the same backend resume the TLS session of a connection that has had its first exchange.

    :param over: whether the connection has ended: then the session must have had its own end, without which it is void.
    """
    if connection.uses != 1:
        return
    tls = session_of(connection.transport)
    if tls is not None and (not over or tls.get_shutdown()):
        peer.keep(tls)


def _timed_out(result: object, timeout: float) -> object:
    """What a connect that was cancelled for its time-out ends with. Endpoints have errors of their own for being cancelled."""
    if isinstance(result, Failure):
        raise DeferredTimeoutError(timeout, "connect")
    return result
