"""The new program as a process of the old one's."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from socket import AF_UNIX
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure

from .. import __version__
from ..workers.sockets import connected_pair
from .command import environment
from .document import Descriptor, document_file, document_of, said_at, sockets_of
from .link import Link
from .upgrader import Upgrader

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["NewProgram", "numbered"]

_LINK, _DOCUMENT, _FIRST_SOCKET = 3, 4, 5


def numbered(sockets: dict[str, list[Descriptor]]) -> tuple[dict[str, list[Descriptor]], dict[int, int]]:
    """The sockets as the new program has them, and which of ours is which of its descriptors."""
    theirs: dict[str, list[Descriptor]] = {}
    ours: dict[int, int] = {}
    for place, found in sockets.items():
        theirs[place] = []
        for fd, family in found:
            number = _FIRST_SOCKET + len(ours)
            ours[number] = fd
            theirs[place].append((number, family))
    return theirs, ours


class NewProgram(ProcessProtocol):
    """The new program. It writes to the same standard output and standard error as this one.

    :param upgrader: is told what it says, and its end.
    :param service: whose sockets it gets, and what is known there.
    """

    def __init__(self, upgrader: Upgrader, service: LoadBalancerService) -> None:
        self._upgrader = upgrader
        self._service = service
        self._link = Link(self._said, self._link_lost)
        self._pid = 0  # of the daemon
        self._said_before = ""  # what operators have said until the start
        self._open = True
        self._exited = ""

    def start(self, command: Sequence[str], directory: str) -> NewProgram:
        """Start it.

        :raises OSError: it cannot be.
        """
        reactor: Any = self._service.reactor
        theirs, fds = numbered(sockets_of(self._service))
        document = document_of(self._service, __version__, theirs)
        self._said_before = document.said
        near, far = connected_pair()
        file = document_file(document)
        try:
            env = environment(os.environ, _LINK, _DOCUMENT)
            fds = {0: 0, 1: 1, 2: 2, _LINK: far, _DOCUMENT: file, **fds}
            reactor.spawnProcess(self, command[0], list(command), env=env, path=directory, childFDs=fds)
            reactor.adoptStreamConnection(near, AF_UNIX, Factory.forProtocol(lambda: self._link))
        finally:
            for fd in (near, far, file):
                os.close(fd)
        return self

    def kill(self, name: str) -> None:
        """Send it a signal, to the daemon as well if it is one by now."""
        if self.transport is not None and not self._exited:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(name)
        if self._pid and self._open:
            with suppress(ProcessLookupError):
                os.kill(self._pid, getattr(signal, f"SIG{name}"))

    def leave(self) -> None:
        """Tell it what operators have said since the start, if anything."""
        said = said_at(self._service)
        self._link.say(yours=None if said == self._said_before else said)
        self._link.close()

    def _said(self, message: dict[str, Any]) -> None:
        if "pid" in message:
            self._pid = int(message["pid"])
        self._upgrader.said(message)

    # Its end. A daemon's first process ends before the daemon does: it is over when nobody has the link any more, either.

    def _link_lost(self) -> None:
        self._open = False
        self._perhaps_over()

    def processEnded(self, reason: Failure) -> None:
        self._exited = _how(reason.value)
        self._perhaps_over()

    def _perhaps_over(self) -> None:
        if self._exited and not self._open:
            self._upgrader.lost(self._exited)


def _how(end: Any) -> str:
    if getattr(end, "signal", None) is not None:
        return f"it was ended by signal {end.signal}"
    return f"it ended with status {getattr(end, 'exitCode', 0)}; what it wrote to its log or standard error may tell more"
