"""All the listeners of a service: opened and closed together, and exchanged while they are in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.protocols.policies import WrappingFactory

from .drain import FIRST_REQUEST
from .errors import ListenError
from .handover import Handover
from .http1.factory import Door, ServerFactory
from .listener import Listener, check_endpoints, where_to_listen
from .role import Role
from .tls.layer import Acceptor, ReplaceableAcceptor

__all__ = ["AdminDoor", "Listeners", "Opening", "Places", "addresses_of", "close_all"]


@attrs.frozen
class Places:
    """Where is listened: endpoint descriptions.

    :ivar plain: for clients in the clear; *secure*: for those that speak TLS.
    :ivar admin: for operators; None: nowhere.
    """

    plain: tuple[str, ...] = ()
    secure: tuple[str, ...] = ()
    admin: str | None = None

    @classmethod
    def of(
        cls,
        listen: Sequence[str] | str | None,
        tls_listen: Sequence[str] | str | None,
        admin: str | None,
        *,
        certificates: bool,
        redirect: bool,
    ) -> Places:
        """What an operator has said, and what :func:`~lbproxy.listener.where_to_listen` says where they have not."""
        plain, secure = where_to_listen(listen, tls_listen, certificates=certificates, redirect=redirect)
        return cls(tuple(plain), tuple(secure), admin)

    def kinds(self) -> list[tuple[str, str]]:
        """What is said of each, and its description."""
        admin = [] if self.admin is None else [("admin", self.admin)]
        return [*(("plain", one) for one in self.plain), *(("secure", one) for one in self.secure), *admin]


class AdminDoor(WrappingFactory):
    """Makes operators' connections, and knows them, which a :class:`twisted.web.server.Site` does not."""

    noisy = False

    def leave(self) -> None:
        """They end with :meth:`close_idle`: until then an answer can be given, such as that to what has closed the listener."""

    def close_idle(self) -> None:
        """Close them; what is being answered is sent."""
        for wrapper in list(self.protocols):
            wrapper.transport.loseConnection()

    def abort(self) -> None:
        """Drop them all."""
        for wrapper in list(self.protocols):
            wrapper.transport.abortConnection()


@attrs.frozen
class Opening:
    """What is to be from now on, with the ports open that are new.

    :ivar opened: those that were opened for it.
    :ivar shared: those that are to leave and whose socket one of these has.
    """

    plain: list[Listener]
    secure: list[Listener]
    admin: Listener | None
    opened: list[Listener]
    shared: Sequence[Any] = ()

    @property
    def all(self) -> list[Listener]:
        """Those for clients, in order, and then the operators'."""
        return [*self.plain, *self.secure, *([] if self.admin is None else [self.admin])]


class Listeners:
    """The listeners of a service, as its children.

    A listener that is described as it was stays as it is, with its port, even where the system chose that (``tcp:0``).

    :param parent: whose children they are.
    :param book: keeps the books of all clients' connections.
    :param admin_site: makes what serves operators.
    :param role: what this process has to do with them.
    :ivar acceptor: makes the TLS sessions of all.
    :ivar plain: those for clients in the clear; *secure*: over TLS.
    :ivar admin: the operators'; None: there is none.
    """

    def __init__(
        self,
        parent: MultiService,
        reactor: Any,
        clock: IReactorTime,
        book: ServerFactory,
        admin_site: Callable[[], Any],
        role: Role | None = None,
    ) -> None:
        self.acceptor = ReplaceableAcceptor()
        self.plain: list[Listener] = []
        self.secure: list[Listener] = []
        self.admin: Listener | None = None
        self._parent = parent
        self._reactor = reactor
        self._clock = clock
        self._book = book
        self._admin_site = admin_site
        self._role = Role() if role is None else role
        self._leaving: list[Any] = []  # calls that are to close what is left idle

    # What they are.

    @property
    def all(self) -> list[Listener]:
        """Those for clients, in order, and then the operators'."""
        return [*self.clients, *([] if self.admin is None else [self.admin])]

    @property
    def clients(self) -> list[Listener]:
        """Those for clients, in order."""
        return [*self.plain, *self.secure]

    def ports(self) -> list[IListeningPort]:
        """What listens for clients just now."""
        return [listener.port for listener in self.clients if listener.port is not None]

    def https_port(self) -> int | None:
        """The first port at which TLS is listened for just now."""
        ports = (getattr(listener.address, "port", None) for listener in self.secure)
        return next((port for port in ports if port is not None), None)

    def described(self) -> str:
        """Those for clients, for people."""
        secure = [f"{listener.description} (TLS)" for listener in self.secure]
        return ", ".join([*(listener.description for listener in self.plain), *secure])

    def left_by(self, places: Places) -> list[str]:
        """The descriptions of those that would leave for *places*."""
        now = Places(
            tuple(listener.description for listener in self.plain),
            tuple(listener.description for listener in self.secure),
            None if self.admin is None else self.admin.description,
        )
        left = Counter(now.kinds())
        left.subtract(places.kinds())
        return [description for (_, description), count in left.items() if count > 0]

    # Exchanging them.

    def open(self, places: Places, acceptor: Acceptor | None, *, bind: bool = True) -> Opening:
        """Open what is new of *places*. Until :meth:`replace` nothing else changes. A TCP place may be that of a listener that is
        to leave, if it is the same address and port: for TLS instead of in the clear, say.

        :param acceptor: makes the TLS sessions then; None: nobody does.
        :param bind: whether ports are opened; otherwise listeners are only made.
        :raises ConfigurationError: for descriptions that cannot be read; it names all of them.
        :raises ListenError: when a port cannot be opened; it names it. What this call has opened is closed again.
        """
        opening = self._opening(places, acceptor)
        if bind:
            bind_all(opening.opened)
        return opening

    def _opening(self, places: Places, acceptor: Acceptor | None) -> Opening:
        handover = Handover(self._reactor)
        endpoints = iter(
            check_endpoints(
                handover,
                places.plain,
                places.admin,
                tls_listen=places.secure,
                acceptor=None if acceptor is None else self.acceptor,
                role=self._role,
            )
        )
        opened: list[Listener] = []

        def listeners(descriptions: Sequence[str], there: Sequence[Listener], door: Callable[[], Any]) -> list[Listener]:
            free = list(there)
            made = []
            for description, endpoint in zip(descriptions, endpoints, strict=False):
                kept = next((listener for listener in free if listener.description == description), None)
                if kept is None:
                    kept = Listener(endpoint, description, door(), self._clock)
                    opened.append(kept)
                else:
                    free.remove(kept)
                made.append(kept)
            return made

        plain = listeners(places.plain, self.plain, self._door)
        secure = listeners(places.secure, self.secure, self._door)
        there = [] if self.admin is None else [self.admin]
        admin = listeners([] if places.admin is None else [places.admin], there, self._admin_door)
        opening = Opening(plain, secure, admin[0] if admin else None, opened, handover.shared)
        handover.leaving += [listener for listener in self.all if listener not in opening.all]
        return opening

    def _door(self) -> Door:
        return Door(self._book)

    def _admin_door(self) -> AdminDoor:
        return AdminDoor(self._admin_site())  # type: ignore[no-untyped-call]

    def replace(self, opening: Opening, acceptor: Acceptor | None) -> None:
        """Have these listeners, and close those that are not among them: what waits in their queues is accepted, and their
        connections end with the exchange they have. Connections keep the TLS session that they have."""
        left = [listener for listener in self.all if listener not in opening.all]
        self.acceptor.current = acceptor
        self.plain, self.secure, self.admin = opening.plain, opening.secure, opening.admin
        for listener in opening.opened:
            listener.setServiceParent(self._parent)  # type: ignore[no-untyped-call]
        for listener in left:
            listener.shared = listener in opening.shared
            listener.disownServiceParent()  # type: ignore[no-untyped-call]
            self._leave(listener)

    def _leave(self, listener: Listener) -> None:
        if listener.bound:
            listener.stopService()
        door: Any = listener.factory
        door.leave()
        self._leaving = [call for call in self._leaving if call.active()]
        self._leaving.append(self._clock.callLater(FIRST_REQUEST, door.close_idle))

    def abandon(self, opening: Opening) -> None:
        """Close what was opened for what is not to be."""
        close_all(opening.opened)

    # Their ends.

    def close_clients(self) -> Deferred[Any]:
        """Close those for clients. Fires when they are closed. What waits in their queues is accepted before; sockets that are
        only held for others are closed at once, for whoever accepts is to have the last one."""
        return DeferredList([listener.stopService() for listener in self.clients], consumeErrors=True)

    def hand_over(self) -> None:
        """Listen nowhere any more; another process has the sockets of all, the operators' too, and goes on with them: nothing
        that waits is accepted, and the files of Unix sockets stay, with their locks. Operators' connections end with the answer
        that is being given."""
        for listener in self.all:
            listener.shared = True
            listener.stopService()
        if self.admin is not None:
            self._leave(self.admin)

    def end(self) -> None:
        """Drop the operators' connections, and wait for nothing."""
        leaving, self._leaving = self._leaving, []
        for call in leaving:
            if call.active():
                call.cancel()
        if self.admin is not None:
            door: Any = self.admin.factory
            door.abort()


def bind_all(listeners: Sequence[Listener]) -> None:
    """Open all of them or none.

    :raises ListenError: names the one that cannot be opened.
    """
    try:
        for listener in listeners:
            listener.privilegedStartService()
    except ListenError:
        close_all(listeners)
        raise


def close_all(listeners: Sequence[Listener]) -> None:
    """Close those that are open, the last one first."""
    for listener in reversed(listeners):
        if listener.bound:
            listener.stopService()


def addresses_of(listeners: Sequence[Listener]) -> list[IAddress]:
    """Where they listen just now."""
    return [address for listener in listeners if (address := listener.address) is not None]
