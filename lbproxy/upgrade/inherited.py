"""Listening sockets that the old program has handed on."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.unix import Port as UnixPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.lockfile import FilesystemLock
from zope.interface import implementer

from ..workers.sockets import Holding, PortGroup
from .document import Descriptor

__all__ = ["Inherited"]


class Inherited:
    """Sockets by the descriptions of their endpoints. Each goes to the first listener that wants it.

    :param sockets: numbered as this process has them.
    """

    def __init__(self, sockets: dict[str, list[Descriptor]]) -> None:
        self._left = {place: list(found) for place, found in sockets.items()}
        self._places = frozenset(sockets)
        self._locks: list[UnixPort] = []  # whose names are locked by the old program

    def has(self, description: str) -> bool:
        """Whether there were sockets of this description, which may have been taken since."""
        return description in self._places

    def endpoint(self, reactor: Any, description: str, processes: int = 0) -> IStreamServerEndpoint:
        """An endpoint that listens with what was handed on, as long as there is something left; then it binds as any other.

        :param processes: for how many the sockets are held; 0: it is listened here.
        :raises Exception: for a description that cannot be read.
        """
        if description.startswith("systemd:"):  # of which nothing can be read in a process that systemd has not started
            return _Handed(reactor, self, description, processes)
        taking: Any = _Taking(reactor, self, description, processes)
        endpoint: IStreamServerEndpoint = serverFromString(taking, description)
        return endpoint

    def take(self, description: str) -> list[Descriptor]:
        """The sockets of one listener, which are its own from now on. Where several have the same description, for the system
        chooses their ports, each gets those of one port."""
        left = self._left.get(description, [])
        taken = [one for one in left if _name(one) == _name(left[0])]
        self._left[description] = [one for one in left if one not in taken]
        return taken

    def locked(self, port: UnixPort) -> None:
        """The name of this port's socket is to be locked as soon as the old program leaves it to us."""
        self._locks.append(port)

    def settle(self) -> None:
        """The old program has left: close what nobody has wanted, and lock what it had locked."""
        for fd, _ in (one for found in self._left.values() for one in found):
            os.close(fd)
        self._left = {}
        locks, self._locks = self._locks, []
        for port in locks:
            port.lockFile = _lock(os.fsdecode(port.getHost().name) + ".lock")


def _name(one: Descriptor) -> Any:
    fd, family = one
    with socket.socket(family, fileno=os.dup(fd)) as known:
        return known.getsockname()


def _lock(path: str) -> Any:
    """A lock as Twisted makes them, in the place of another process's."""
    own = f"{path}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.remove(own)
    os.symlink(str(os.getpid()), own)
    os.replace(own, path)
    lock = FilesystemLock(path)
    lock.locked = True
    return lock


class _Taking:
    """A reactor for endpoints, that listens with what was handed on for a description."""

    def __init__(self, reactor: Any, inherited: Inherited, description: str, processes: int) -> None:
        self._reactor = reactor
        self._inherited = inherited
        self._description = description
        self._binding = Holding(reactor, processes, description) if processes else reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._binding, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Listen with sockets that were handed on, or bind."""
        taken = self._inherited.take(self._description)
        bound: IListeningPort = (
            self.adopt(taken, factory) if taken else self._binding.listenTCP(port, factory, backlog, interface)
        )
        return bound

    def listenSSL(self, port: int, factory: Any, context: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """The same, with Twisted's TLS."""
        secure = TLSMemoryBIOFactory(context, False, factory)
        return self.listenTCP(port, secure, backlog, interface)

    def listenUNIX(self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0) -> IListeningPort:
        """The same of a Unix socket, which keeps its rights."""
        taken = self._inherited.take(self._description)
        if not taken:
            bound: IListeningPort = self._binding.listenUNIX(address, factory, backlog, mode, wantPID)
            return bound
        if self._binding is not self._reactor:
            return self.adopt(taken, factory)
        (fd, family), *more = taken
        port = UnixPort(address, factory, backlog, mode, self._reactor)
        port._preexistingSocket = socket.fromfd(fd, family, socket.SOCK_STREAM)
        port.startListening()
        if wantPID:
            self._inherited.locked(port)
        for number, _ in [(fd, family), *more]:
            os.close(number)
        return port

    def adopt(self, taken: list[Descriptor], factory: Any) -> IListeningPort:
        """Listen with these, or hold them."""
        if self._binding is not self._reactor:
            held: IListeningPort = self._binding.hold(taken, factory)
            return held
        ports = [self._reactor.adoptStreamPort(fd, family, factory) for fd, family in taken]
        for fd, _ in taken:
            os.close(fd)
        return ports[0] if len(ports) == 1 else PortGroup(ports, self._description)


@implementer(IStreamServerEndpoint)
class _Handed:
    """Listens with what was handed on, and can do nothing else."""

    def __init__(self, reactor: Any, inherited: Inherited, description: str, processes: int) -> None:
        self._taking = _Taking(reactor, inherited, description, processes)
        self._inherited = inherited
        self._description = description

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """Listen; fails with a ``CannotListenError`` where nothing is left."""
        return maybeDeferred(self._listen, protocolFactory)

    def _listen(self, factory: Any) -> IListeningPort:
        taken = self._inherited.take(self._description)
        if not taken:
            raise CannotListenError("", self._description, "it has been taken already")
        return self._taking.adopt(taken, factory)
