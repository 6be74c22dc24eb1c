"""Listening ports on sockets that were made elsewhere, and that others may have as well."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = [
    "AdoptedUnixPort",
    "PortGroup",
    "accepting",
    "adopt",
    "adopt_all",
    "descriptors",
    "let_go",
    "ports_of",
    "server_endpoint",
]

_log = Logger()


class AdoptedUnixPort(unix.Port):
    """Accepts at a Unix socket that was made elsewhere.

    Twisted's own would give its file other rights, take it away at the end, and shut the socket down for whoever else has it.

    :ivar owns: whether the socket's file, and its lock, are to be removed at the end.
    """

    owns = False

    def __init__(self, adopted: socket.socket, factory: Any, reactor: Any) -> None:
        self.path = os.fsencode(adopted.getsockname())
        self._adopted = adopted
        super().__init__(self.path, factory, reactor=reactor)

    def startListening(self) -> None:
        """Accept; all else has been done."""
        tcp._reservedFD.reserve()  # as each of Twisted's ports does: what can be given up to accept when no descriptor is free
        self.factory.doStart()  # type: ignore[union-attr]
        self.socket = self._adopted
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.numberAccepts = 100
        self.connected = True
        self.startReading()  # type: ignore[no-untyped-call]

    def take_over(self) -> None:
        """Be the one who removes the file. Its lock, if it has one, says from now on that this process is the owner."""
        self.owns = self.path[:1] not in (b"", b"\0")
        lock, ours = self.path + b".lock", self.path + b".lock.%d" % os.getpid()
        if not (self.owns and os.path.islink(lock)):
            return
        try:
            os.symlink(b"%d" % os.getpid(), ours)
            os.replace(ours, lock)
        except OSError as error:
            _log.warn("the lock of {path!r} still names the process that has ended: {error}", path=self.path, error=error)

    def connectionLost(self, reason: Failure) -> None:
        """Close it, and only that."""
        self.socket.close()  # Twisted would shut it down otherwise
        if self.owns:
            self._remove()
        tcp.Port.connectionLost(self, reason)

    def _remove(self) -> None:
        lock = self.path + b".lock"
        with suppress(OSError):
            os.unlink(self.path)
        with suppress(OSError):
            if os.readlink(lock) == b"%d" % os.getpid():
                os.unlink(lock)


def server_endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """The endpoint of a description. What systemd has given stays open, for the next listener that is so described: Twisted would
    close it after its first use, and take for it at the second one whatever has got its number meanwhile.

    :raises Exception: for what cannot be read.
    """
    endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    if isinstance(endpoint, AdoptedStreamServerEndpoint):
        endpoint.__dict__["_close"] = _keep  # an attribute that Twisted has for its tests
    return endpoint


def _keep(fd: int) -> None:
    """It is duplicated where it is used."""


def adopt(reactor: Any, fd: int, family: int, factory: Any) -> Any:
    """A port that accepts at a duplicate of a listening socket, which is never shut down."""
    if family != socket.AF_UNIX:
        return reactor.adoptStreamPort(fd, family, factory)
    port = AdoptedUnixPort(socket.fromfd(fd, family, socket.SOCK_STREAM), factory, reactor)
    port.startListening()
    return port


def adopt_all(reactor: Any, given: Iterable[tuple[int, int]], factory: Any) -> list[Any]:
    """The same of several, or of none if one of them fails.

    :param reactor: of Unix sockets, its ``adoptStreamPort`` must be :func:`adopt` (:class:`lbproxy.handover.Handover`).
    """
    ports: list[Any] = []
    try:
        for fd, family in given:
            ports.append(reactor.adoptStreamPort(fd, family, factory))
    except BaseException:
        for port in ports:
            let_go(port)
        raise
    return ports


@implementer(IListeningPort)
class PortGroup:
    """Twisted's ports on several sockets of one place, as one. It closes its sockets without shutting them down: others may have
    them too.

    It accepts nothing before :meth:`startListening`.

    :param ports: at least one; open.
    :param description: of the endpoint that they are of, by which a worker finds its own.
    :param held: whether the sockets are only held, for others who accept.
    :ivar accepting: whether it has begun to accept.
    """

    def __init__(self, ports: Iterable[Any], description: str, *, held: bool = False) -> None:
        self.ports = list(ports)
        self.description = description
        self.held = held
        self.accepting = False
        self.pauseProducing()

    @property
    def addressFamily(self) -> int:
        """That of all."""
        return int(self.ports[0].addressFamily)

    @property
    def socket(self) -> Any:
        """The first one's."""
        return self.ports[0].socket

    @property
    def connected(self) -> bool:
        """Whether it is open."""
        return any(port.connected for port in self.ports)

    @property
    def numberAccepts(self) -> int:
        """How many connections one turn of the reactor may bring. What is set is shared out, at least one to each port."""
        return sum(port.numberAccepts for port in self.ports)

    @numberAccepts.setter
    def numberAccepts(self, number: int) -> None:
        for port in self.ports:
            port.numberAccepts = max(1, int(number) // len(self.ports))

    def fileno(self) -> int:
        """The first one's."""
        return int(self.ports[0].fileno())

    def descriptors(self) -> list[tuple[int, int]]:
        """The sockets, each with its family."""
        return descriptors(self)

    def getHost(self) -> IAddress:
        """Where they listen."""
        host: IAddress = self.ports[0].getHost()
        return host

    def startListening(self) -> None:
        """Accept from now on, unless they are only held."""
        self.accepting = not self.held
        self.resumeProducing()

    def doRead(self) -> None:
        """Accept what waits, as far as :attr:`numberAccepts` goes."""
        for port in accepting(self):
            port.doRead()

    def pauseProducing(self) -> None:
        """Accept no more for the time being."""
        for port in self.ports:
            port.pauseProducing()

    def resumeProducing(self) -> None:
        """Accept again, if it had begun to."""
        for port in accepting(self):
            port.resumeProducing()

    def stopReading(self) -> None:
        """Accept no more."""
        for port in self.ports:
            port.stopReading()

    def stopListening(self) -> Deferred[Any]:
        """Close them here: at once those that are only held, so that whoever accepts has the last one, and the others in the next
        turn, as Twisted's ports do. Fires when they are closed."""
        if self.held:
            for port in self.ports:
                _end(port)
            return succeed(None)
        return gatherResults([maybeDeferred(port.stopListening) for port in self.ports])


def _end(port: Any) -> None:
    """Close it, with what its class does then: Twisted's removes the file of a Unix socket, and the lock."""
    if port.connected:
        port.stopReading()
        port.socket.close()  # before it is shut down
        port.connectionLost(Failure(ConnectionDone()))


def ports_of(port: Any) -> Sequence[Any]:
    """Twisted's, of which a listening port consists."""
    return port.ports if isinstance(port, PortGroup) else [port]


def accepting(port: Any) -> Sequence[Any]:
    """Those of them that accept."""
    return ports_of(port) if getattr(port, "accepting", True) else []


def descriptors(port: Any) -> list[tuple[int, int]]:
    """The sockets of a listening port, each with its family."""
    return [(int(one.fileno()), int(one.addressFamily)) for one in ports_of(port)]


def let_go(port: Any) -> None:
    """Close what this process has of a listening port, and nothing else: whoever else has its sockets goes on with them, and the
    file of a Unix socket stays, with its lock."""
    for one in ports_of(port):
        one.stopReading()
        one.socket.close()
        one.connected = False  # so that Twisted does nothing more about it
        one.factory.doStop()
