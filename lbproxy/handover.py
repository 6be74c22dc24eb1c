"""A place that goes from one listener to another while it is open: nobody who connects is refused meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EADDRINUSE
from typing import Any, Protocol

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorSocket

from .ports import PortGroup, adopt, adopt_all, descriptors, ports_of

__all__ = ["Handover", "Leaving"]


class Leaving(Protocol):
    """A listener that is to be closed."""

    port: Any
    """Its port; None: it has none."""


class Handover:
    """A reactor for endpoints. Where a TCP place is taken by a listener that is to leave, it opens other ports on the same
    sockets; they accept from the same queues from when they are told to until the old ones are closed. (A UNIX socket goes with
    the listener that leaves, since it takes its name away.)

    :ivar leaving: the listeners that are to be closed, each of whose places goes to one successor.
    :ivar shared: those whose sockets have got one.
    """

    @classmethod
    def of(cls, reactor: Any) -> Handover:
        """One for this reactor, which may be one already."""
        return reactor if isinstance(reactor, Handover) else cls(reactor)

    def __init__(self, reactor: Any) -> None:
        self.leaving: list[Leaving] = []
        self.shared: list[Leaving] = []
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Listen.

        :raises CannotListenError: somebody else listens there.
        """
        try:
            opened: IListeningPort = self._reactor.listenTCP(port, factory, backlog, interface)
        except CannotListenError as error:
            taken = self.take(port, interface) if getattr(error.socketError, "errno", 0) == EADDRINUSE else []
            if not taken:
                raise
            return PortGroup(adopt_all(self._reactor, taken, factory), "")
        return opened

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """A port on a duplicate of this socket; whoever is to leave and has the same socket hands it on."""
        self._hand_on(lambda port: any(_same(fileDescriptor, one) for one in ports_of(port)))
        return adopt(self._reactor, fileDescriptor, addressFamily, factory)

    def take(self, port: int, interface: str) -> list[tuple[int, int]]:
        """The descriptors and families of all the sockets at a place, if they are ours and free to go. They stay those of the
        listener that leaves, which closes its own."""
        if not IReactorSocket.providedBy(self._reactor):
            return []
        place = (interface or "0.0.0.0", port)
        return descriptors(found) if (found := self._hand_on(lambda one: _place(one) == place)) is not None else []

    def _hand_on(self, wanted: Callable[[Any], bool]) -> Any:
        """The port of the first listener that is to leave and has such a one; it is shared from now on."""
        for listener in self.leaving:
            if listener.port is not None and wanted(listener.port):
                self.leaving.remove(listener)
                self.shared.append(listener)
                return listener.port
        return None


def _place(port: Any) -> tuple[str, int]:
    host = port.getHost()
    return getattr(host, "host", ""), getattr(host, "port", 0)


def _same(fd: int, port: Any) -> bool:
    """Whether a descriptor is of a port's socket."""
    try:
        return os.path.samestat(os.fstat(fd), os.fstat(port.fileno()))
    except OSError:
        return False
