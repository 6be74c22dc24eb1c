"""Listening sockets that several processes have: the supervisor holds them, and its workers accept.

A TCP listener has a socket for each worker (``SO_REUSEPORT``), so that the kernel spreads connections and wakes one process for
each; what waits at a dead worker's socket is taken up by its successor, for the supervisor still has it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from zope.interface import implementer

__all__ = ["Given", "Holding", "PortGroup", "connected_pair", "open_sockets"]


def connected_pair() -> tuple[int, int]:
    """The descriptors of two Unix sockets that are connected with each other; both are closed when another program is run."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def open_sockets(interface: str, port: int, backlog: int, count: int) -> list[socket.socket]:
    """Sockets that listen at one place, one for each of *count* processes.

    The first one is bound as if it were to be the only one: another program at the place is an error, even one that would share.

    :raises OSError: somebody else listens there, for one.
    """
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    opened: list[socket.socket] = []
    try:
        for number in range(count):
            one = socket.socket(family)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if number:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                port = opened[0].getsockname()[1]
            one.bind((interface, port))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.setblocking(False)
        for one in opened:
            one.listen(backlog)
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened


@implementer(IListeningPort)
class PortGroup:
    """Twisted's ports on several sockets of one place, as one.

    :param ports: at least one.
    :ivar description: of the endpoint that they are of, by which a worker finds its own.
    """

    def __init__(self, ports: Iterable[Any], description: str) -> None:
        self.ports = list(ports)
        self.description = description

    def startListening(self) -> None:
        """They do already."""

    def getHost(self) -> IAddress:
        """Where they listen."""
        host: IAddress = self.ports[0].getHost()
        return host

    def descriptors(self) -> list[tuple[int, int]]:
        """The sockets, each with its family."""
        return [(port.fileno(), port.addressFamily) for port in self.ports]

    def stopReading(self) -> None:
        """Accept no more."""
        for port in self.ports:
            port.stopReading()

    def stopListening(self) -> Any:
        """Close them here; whoever else has them goes on."""
        for port in self.ports:
            port.stopReading()
            port.socket.close()


class Holding:
    """A reactor for endpoints that holds the sockets they would listen on, and accepts nothing.

    :param count: how many processes are to accept.
    """

    def __init__(self, reactor: Any, count: int, description: str) -> None:
        self._reactor = reactor
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
            raise CannotListenError(interface, port, error) from None
        families = [one.family for one in opened]
        return self.hold([(one.detach(), family) for one, family in zip(opened, families, strict=True)], factory)

    def hold(self, descriptors: Sequence[tuple[int, int]], factory: Any) -> PortGroup:
        """Have these, which are closed after they were duplicated."""
        group = PortGroup(_adopt(self._reactor, descriptors, factory), self._description)
        group.stopReading()
        return group


class Given:
    """A reactor for endpoints that listens on sockets which it was given.

    :param sockets: descriptors with their families.
    """

    def __init__(self, reactor: Any, sockets: list[tuple[int, int]], description: str) -> None:
        self._reactor = reactor
        self._description = description
        self._sockets = sockets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Accept at the sockets of a place."""
        return PortGroup(_adopt(self._reactor, self._sockets, factory), self._description)


def _adopt(reactor: Any, descriptors: Sequence[tuple[int, int]], factory: Any) -> list[Any]:
    """Ports on duplicates; the given ones are closed."""
    ports = []
    for fd, family in descriptors:
        ports.append(reactor.adoptStreamPort(fd, family, factory))
        os.close(fd)
    return ports
