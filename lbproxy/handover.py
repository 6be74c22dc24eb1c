"""A place that goes from one listener to another while it is open: nobody who connects is refused meanwhile."""

from __future__ import annotations

from errno import EADDRINUSE
from typing import Any, Protocol

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorSocket

__all__ = ["Handover", "Leaving"]


class Leaving(Protocol):
    """A listener that is to be closed."""

    port: Any
    """Its port; None: it has none."""


class Handover:
    """A reactor for endpoints. Where a TCP place is taken by a listener that is to leave, it opens another port on the same
    socket, so that both accept from the same queue until the other one is closed. (A UNIX socket goes with the listener that
    leaves, since it takes its name away.)

    :ivar leaving: the listeners that are to be closed, each of whose sockets goes to one successor.
    :ivar shared: those whose socket has got one.
    """

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
            socket = self._socket(port, interface) if getattr(error.socketError, "errno", 0) == EADDRINUSE else None
            if socket is None:
                raise
            opened = self._reactor.adoptStreamPort(*socket, factory)
        return opened

    def _socket(self, port: int, interface: str) -> tuple[int, int] | None:
        """The descriptor and the family of the socket at a place, if it is one of ours that is free to go."""
        for listener in self.leaving if IReactorSocket.providedBy(self._reactor) else ():
            host = None if listener.port is None else listener.port.getHost()
            if (getattr(host, "host", None), getattr(host, "port", 0)) == (interface or "0.0.0.0", port):
                self.leaving.remove(listener)
                self.shared.append(listener)
                return listener.port.fileno(), listener.port.addressFamily
        return None
