"""Listening sockets of a process that this one is the successor of."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import implementer

from ..listener import place_of
from ..ports import AdoptedUnixPort, ports_of, server_endpoint
from .given import Given, given_endpoint
from .sockets import Descriptor, close_all, held_endpoint

__all__ = ["Inherited"]

_Sockets = Sequence[Descriptor]

_SYSTEMD = re.compile(r"\Asystemd:", re.IGNORECASE)


class Inherited:
    """What was inherited, by the descriptions of the listeners that had it. The descriptors are this one's to close.

    All of a listener's sockets are used again, and no others are opened: who has connected to a new one would be lost if this
    process were given up. With more workers than sockets, several accept at each, until the service is started anew.

    :param sockets: descriptors with their families (:func:`lbproxy.listener.descriptors_of`), by the listeners' descriptions.
        Where several are described alike, for the system chooses their ports, each gets those of one port.
    """

    def __init__(self, sockets: Mapping[str, _Sockets]) -> None:
        self._left = [(place_of(said), group) for said, given in sockets.items() for group in _by_place(given)]
        self._known = {description for description, _ in self._left}
        self._taken: list[IListeningPort] = []
        self._owned = False

    def endpoint(self, reactor: Any, description: str, hold: bool = False, count: int = 1) -> IStreamServerEndpoint:
        """One that listens at the sockets that were inherited for this description, or the ordinary one if there were none.

        :param description: as a :class:`~lbproxy.role.Role` gets it, or as the operator wrote it.
        :param hold: whether the sockets are held for workers.
        :param count: how many workers there are.
        :raises Exception: for what cannot be read. Of a description whose sockets were inherited nothing is read that they
            replace: ``systemd:`` means nothing to this process.
        """
        description = place_of(description)
        if description not in self._known:
            return _ordinary(reactor, description, hold, count)
        if not _SYSTEMD.match(description):
            _ordinary(reactor, description, hold, count)  # where it is seen whether it can be used
        return _Endpoint(self, reactor, description, hold, count)

    def take(self, description: str) -> _Sockets:
        """The sockets of the first listener that is so described; whoever takes them closes them."""
        found = next((pair for pair in self._left if pair[0] == description), None)
        if found is None:
            return []
        self._left.remove(found)
        return found[1]

    def taken(self, port: IListeningPort) -> IListeningPort:
        """They are in use."""
        self._taken.append(port)
        if self._owned:
            _own(port)
        return port

    def take_over(self) -> None:
        """The predecessor leaves, and removes nothing: from now on the files of Unix sockets are this process's to remove when
        they are closed, and their locks name it. Those of systemd stay systemd's."""
        self._owned = True
        for port in self._taken:
            _own(port)

    def close_unused(self) -> None:
        """Close what no listener has taken."""
        left, self._left = self._left, []
        for _, sockets in left:
            close_all(sockets)


def _by_place(sockets: _Sockets) -> list[list[Descriptor]]:
    """Those that listen at the same place, together, in order."""
    groups: dict[Any, list[Descriptor]] = {}
    for fd, family in sockets:
        with socket.fromfd(fd, family, socket.SOCK_STREAM) as one:
            groups.setdefault(one.getsockname(), []).append((fd, family))
    return list(groups.values())


def _own(port: IListeningPort) -> None:
    for one in ports_of(port):
        if isinstance(one, AdoptedUnixPort) and not _SYSTEMD.match(getattr(port, "description", "")):
            one.take_over()


def _ordinary(reactor: Any, description: str, hold: bool, count: int) -> IStreamServerEndpoint:
    if hold:
        return held_endpoint(reactor, description, count)
    return server_endpoint(reactor, description)


@implementer(IStreamServerEndpoint)
class _Endpoint:
    """Listens at inherited sockets; when they are in use or gone, as the description says."""

    def __init__(self, inherited: Inherited, reactor: Any, description: str, hold: bool, count: int) -> None:
        self._inherited = inherited
        self._arguments = reactor, description, hold, count

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """Listen."""
        return maybeDeferred(self._listen, protocolFactory)

    def _listen(self, factory: Any) -> Any:
        reactor, description, hold, _ = self._arguments
        sockets = self._inherited.take(description)
        if not sockets:
            return _ordinary(*self._arguments).listen(factory)
        if hold:
            return self._inherited.taken(Given(reactor, description, lambda: sockets).group(factory, held=True))
        endpoint = given_endpoint(reactor, description, lambda _: sockets)
        return endpoint.listen(factory).addCallback(self._inherited.taken)
