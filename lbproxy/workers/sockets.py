"""Listening sockets that several processes have: the supervisor holds them, and its workers accept at those that it gives them
(:mod:`.given`).

A TCP listener has a socket for each worker (``SO_REUSEPORT``), so that the kernel spreads connections and wakes one process for
each; what waits at a dead worker's socket is taken up by its successor, for the supervisor still has it. Linux takes the socket
by a hash of both addresses and ports, whatever the workers have to do: each connection falls to any of N sockets with the same
probability, so that of n connections a socket gets n / N, give or take a few times the square root of that. Other listeners, and
TCP ones where the system knows no such option, have one socket that all workers accept at: whoever is first gets what waits.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from errno import EADDRINUSE
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import implementer

from ..errors import ListenError
from ..handover import Handover
from ..ports import PortGroup, adopt_all, server_endpoint
from .messages import Socket

__all__ = [
    "Descriptor",
    "Holding",
    "close_all",
    "connected_pair",
    "give",
    "held_endpoint",
    "open_sockets",
    "share",
]

#: A listening socket's descriptor, and its family.
Descriptor = tuple[int, int]

#: Of listeners whose sockets are given.
_numbers = itertools.count()

_T = TypeVar("_T")


def connected_pair() -> tuple[int, int]:
    """The descriptors of two Unix sockets that are connected with each other; both are closed when another program is run."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def share(sockets: Sequence[_T], number: int, count: int) -> list[_T]:
    """Those of a listener's sockets at which one of several workers accepts: all are somebody's, and everybody has one.

    :param number: the worker's; from 0 on.
    :param count: how many workers there are.
    """
    return list(sockets[number::count]) if len(sockets) >= count else [sockets[number % len(sockets)]]


def open_sockets(interface: str, port: int, backlog: int, count: int) -> list[socket.socket]:
    """Sockets that listen at one place, one for each of *count* processes, or a single one where the system cannot have several.

    The first one is opened as if it were to be the only one, so that another program at the place is an error, even one that
    would share it.

    :raises OSError: somebody else listens there, for one.
    """
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    opened: list[socket.socket] = []
    try:
        first = _open(opened, family, _resolved(family, interface, port), backlog)
        if count > 1 and _sharing(first):
            for _ in range(count - 1):
                _open(opened, family, first.getsockname(), backlog, sharing=True)
    except BaseException:
        for one in opened:
            one.close()
        raise
    return opened


def _resolved(family: int, interface: str, port: int) -> Any:
    """As Twisted does: names are for IPv4, and IPv6 addresses may have a scope."""
    if family == socket.AF_INET:
        return interface, port
    return socket.getaddrinfo(interface, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)[0][4]


def _open(opened: list[socket.socket], family: int, place: Any, backlog: int, *, sharing: bool = False) -> socket.socket:
    one = socket.socket(family)
    opened.append(one)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sharing:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(place)
    one.listen(backlog)
    return one


def _sharing(first: socket.socket) -> bool:
    """Let others of this user listen there as well, if that is possible."""
    option = getattr(socket, "SO_REUSEPORT", None)
    try:
        if option is not None:
            first.setsockopt(socket.SOL_SOCKET, option, 1)
    except OSError:
        return False
    return option is not None


def close_all(sockets: Sequence[Descriptor]) -> None:
    """Close all of them."""
    for fd, _ in sockets:
        with suppress(OSError):
            os.close(fd)


def held_endpoint(reactor: Any, description: str, count: int) -> IStreamServerEndpoint:
    """The endpoint of a description. It holds its sockets for *count* workers (a held :class:`~lbproxy.ports.PortGroup`).

    :raises ValueError: workers cannot listen there; and what else parsers raise.
    """
    if description.lower().startswith("stdio"):
        raise ValueError("standard input cannot be shared out among workers; it needs --workers 1")
    return _Held(server_endpoint(Holding(reactor, count, description), description))


@implementer(IStreamServerEndpoint)
class _Held:
    """Sees to it that there are sockets."""

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        self._endpoint = endpoint

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """Have the sockets."""
        listening: Deferred[IListeningPort] = self._endpoint.listen(protocolFactory)
        return listening.addCallback(_held)


def _held(port: IListeningPort) -> IListeningPort:
    if not isinstance(port, PortGroup):
        port.stopListening()
        raise ListenError("it is of a kind whose sockets cannot be given to workers; use tcp: or unix:, or --workers 1")
    return port


class Holding:
    """A reactor for endpoints that holds the sockets they would listen on, and accepts nothing.

    :param count: how many processes are to accept.
    """

    def __init__(self, reactor: Any, count: int, description: str) -> None:
        self._reactor = Handover.of(reactor)
        self._count = count
        self._description = description

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Hold the sockets of a place.

        :raises CannotListenError: somebody else listens there.
        """
        try:
            opened = open_sockets(interface, port, backlog, self._count)
        except OSError as error:
            taken = self._reactor.take(port, interface) if error.errno == EADDRINUSE else []
            if not taken:
                raise CannotListenError(interface, port, error) from None
            return self._hold(taken, factory)
        families = [one.family for one in opened]
        return self.hold([(one.detach(), family) for one, family in zip(opened, families, strict=True)], factory)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """The same: workers speak TLS."""
        return self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0) -> IListeningPort:
        """Hold Twisted's one socket, with its file, its lock, and what becomes of them."""
        return PortGroup([self._reactor.listenUNIX(address, factory, backlog, mode, wantPID)], self._description, held=True)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> IListeningPort:
        """Hold one that systemd has opened."""
        return self._hold([(fileDescriptor, addressFamily)], factory)

    def hold(self, sockets: Sequence[Descriptor], factory: Any) -> PortGroup:
        """Hold these, which are closed after they were duplicated."""
        try:
            return self._hold(sockets, factory)
        finally:
            close_all(sockets)

    def _hold(self, sockets: Sequence[Descriptor], factory: Any) -> PortGroup:
        return PortGroup(adopt_all(self._reactor, sockets, factory), self._description, held=True)


def give(worker: Any, listeners: Iterable[Any], count: int) -> None:
    """Give a worker its share of the sockets of these listeners, those of each under a number of its own.

    What is sent is a duplicate that is kept until the worker has it: Twisted sends descriptors when it can, and the listener may
    be closed before.

    :param worker: has a ``number``, and a ``call`` that sends it a command.
    :param count: how many workers there are.
    """
    for listener in listeners:
        group = listener.port
        if group is not None:
            number = next(_numbers)
            for fd, family in share(group.descriptors(), worker.number, count):
                copy = os.dup(fd)
                sent = maybeDeferred(
                    worker.call, Socket, listener=number, description=group.description, family=int(family), fd=copy
                )
                sent.addBoth(_close, copy)  # who has ended meanwhile needs none


def _close(_: object, fd: int) -> None:
    os.close(fd)
