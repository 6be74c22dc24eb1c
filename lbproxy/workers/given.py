"""Listening sockets that a process was given: where it accepts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from ..errors import ListenError
from ..handover import Handover
from ..ports import PortGroup, adopt_all, server_endpoint
from .sockets import Descriptor, close_all

__all__ = ["Given", "Waiting", "given_endpoint"]

# What is a place alone, at which a given socket is listened at without anything else.
_PLACE = re.compile(r"\A(?:tcp6?|unix|systemd):", re.IGNORECASE)


class Waiting:
    """The sockets that were given to a worker, and that no listener has taken so far. They are this one's to close."""

    def __init__(self) -> None:
        self._groups: list[tuple[int, str, list[Descriptor]]] = []

    def add(self, listener: int, description: str, fd: int, family: int) -> None:
        """One has come.

        :param listener: tells apart those of several listeners that are described alike.
        """
        os.set_inheritable(fd, False)
        group = next((sockets for one, _, sockets in self._groups if one == listener), None)
        if group is None:
            group = []
            self._groups.append((listener, description, group))
        group.append((fd, family))

    def take(self, description: str) -> list[Descriptor]:
        """Those of the first listener that is so described; whoever takes them closes them."""
        found = next((group for group in self._groups if group[1] == description), None)
        if found is None:
            return []
        self._groups.remove(found)
        return found[2]

    def close(self) -> None:
        """Nobody will take what is left."""
        groups, self._groups = self._groups, []
        for _, _, sockets in groups:
            close_all(sockets)


def given_endpoint(reactor: Any, description: str, take: Callable[[str], Sequence[Descriptor]]) -> IStreamServerEndpoint:
    """An endpoint at sockets that were given. Places alone are not even read: only the supervisor knows what a ``systemd:`` one
    means; but the certificates of a ``tls:`` one are.

    :param take: gives the sockets when it is listened, for whoever listens to close.
    :raises Exception: what parsers raise.
    """
    given = Given(reactor, description, partial(take, description))
    return given if _PLACE.match(description) else server_endpoint(given, description)


@implementer(IStreamServerEndpoint)
class Given:
    """Listens at sockets which it was given: as an endpoint, or as a reactor for one.

    :param take: gives the sockets.
    """

    def __init__(self, reactor: Any, description: str, take: Callable[[], Sequence[Descriptor]]) -> None:
        self._reactor = Handover.of(reactor)
        self._description = description
        self._take = take

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """Be an endpoint."""
        listening: Deferred[IListeningPort] = execute(self.group, protocolFactory)
        return listening

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Be a reactor, whatever the place."""
        return self.group(factory)

    def listenUNIX(self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0) -> IListeningPort:
        """The same."""
        return self.group(factory)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """With TLS, as Twisted does it."""
        return self.group(TLSMemoryBIOFactory(contextFactory, False, factory))

    def group(self, factory: Any, *, held: bool = False) -> PortGroup:
        """Ports on the sockets, which are closed after they were duplicated.

        :raises ListenError: there are none.
        """
        sockets = self._take()
        if not sockets:
            raise ListenError("no socket was given for it")
        try:
            return PortGroup(adopt_all(self._reactor, sockets, factory), self._description, held=held)
        finally:
            close_all(sockets)
